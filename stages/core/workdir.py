"""A stage's private folder `.work/<stage>/` for checkpoints: it survives a kill and is removed when the stage is done.

DVC deletes a stage's outs before it runs, so checkpoints cannot live among them. They are used only where code, params
and inputs are still the same; otherwise the folder is emptied.
"""

import fcntl
import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.core.errors import UserError
from stages.core.files import sha256

ROOT = Path(".work")


@contextmanager
def folder(stage: str, params: Iterable[object], inputs: Iterable[Path]) -> Iterator[Path]:
    """The folder of this run of `stage`: empty, or as an interrupted run with the same params, inputs and code left it.

    params: what the result depends on, each with a stable `repr`. inputs: files or folders (with all files below them);
    missing ones are ignored.
    Raises UserError while another process runs the stage: the kernel frees the lock with the process, however it ends.
    """
    ROOT.mkdir(exist_ok=True)
    with open(ROOT / f"{stage}.lock", "a", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another {stage} is still running in this folder (it holds {lock.name}); "
                            "wait for it or stop it, then run again") from None
        path, key = ROOT / stage, _key(params, inputs)
        key_file = path / "key"
        if not key_file.exists() or key_file.read_text(encoding="utf-8") != key:
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
            key_file.write_text(key, encoding="utf-8")
        yield path
        shutil.rmtree(path)


def _key(params: Iterable[object], inputs: Iterable[Path]) -> str:
    # All our code, since a module chosen by name may not be loaded yet; and the version of the library that computes.
    code = sorted(Path(__file__).parents[1].rglob("*.py"))
    files = [file for path in map(Path, inputs) for file in (path, *sorted(path.rglob("*"))) if file.is_file()]
    torch = getattr(sys.modules.get("torch"), "__version__", "")
    return json.dumps([torch, [repr(value) for value in params], [sha256(path) for path in [*code, *files]]])
