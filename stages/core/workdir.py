"""A stage's private folder `.work/<stage>/`: survives a kill, serves one process at a time, goes when the work is done.

DVC deletes a stage's outs before it runs, so a checkpoint has to live elsewhere. What is found there is used only
if it was made by the same code from the same params and inputs: otherwise it is thrown away.
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
    """The folder for this run of `stage`, empty or holding what an interrupted run with the same key left.

    params: what the result depends on, each with a stable `repr`. inputs: files, or folders (all files below them);
    what is not there counts as empty.
    Raises UserError when another process holds the stage: the kernel frees the lock with the process, however it ends.
    """
    ROOT.mkdir(exist_ok=True)
    with open(ROOT / f"{stage}.lock", "a", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another {stage} is still running in this folder (it holds {lock.name}); "
                        "wait for it or stop it, then run again") from None
        place = ROOT / stage
        key = _key(params, inputs)
        if _read(place / "key") != key:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            (place / "key").write_text(key, encoding="utf-8")
        yield place
        shutil.rmtree(place)


def _key(params: Iterable[object], inputs: Iterable[Path]) -> str:
    # All our code, for a module chosen by name may not be loaded yet; and the library that does the arithmetic.
    code = sorted(Path(__file__).parents[1].rglob("*.py"))
    torch = getattr(sys.modules.get("torch"), "__version__", "")
    return json.dumps([torch, [repr(value) for value in params], [sha256(path) for path in [*code, *_files(inputs)]]])


def _files(inputs: Iterable[Path]) -> Iterator[Path]:
    for path in map(Path, inputs):
        yield from (found for found in [path, *sorted(path.rglob("*"))] if found.is_file())


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None
