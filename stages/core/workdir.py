"""A stage's private folder `.work/<stage>/` for checkpoints: it survives a kill and is removed when the stage is done.

DVC deletes a stage's outs before it runs, so checkpoints cannot live among them. They are used only where code, params
and inputs are still the same; otherwise the folder is emptied. A file of it is used only where it has the hash that was
noted when it was written: after a power loss it may be empty, cut or full of zeros.
"""

import fcntl
import hashlib
import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from stages.core import ranks
from stages.core.errors import UserError
from stages.core.files import CHUNK, sha256, write_json

ROOT = Path(".work")


@contextmanager
def lock(stage: str) -> Iterator[None]:
    """Also as a decorator of a function. Raises UserError while another process runs the stage: the kernel frees
    the lock with the process, however it ends.
    """
    ROOT.mkdir(exist_ok=True)
    with open(ROOT / f"{stage}.lock", "a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another {stage} is still running in this folder (it holds {file.name}); "
                            "wait for it or stop it, then run again") from None
        yield


@contextmanager
def folder(stage: str, params: Iterable[object], inputs: Iterable[Path]) -> Iterator[Path]:
    """The folder of this run of `stage`: empty, or as an interrupted run with the same params, inputs and code left it.

    params: what the result depends on, each with a stable `repr`. inputs: files or folders (with all files below them);
    missing ones are ignored. Holds the stage's lock. Of several processes that train together the main one does so, and
    the block begins for all when the folder is there.
    """
    path = ROOT / stage
    if not ranks.is_main():
        ranks.barrier()
        yield path
        return
    with lock(stage):
        key = _key(params, inputs)
        key_file = path / "key"
        if not key_file.exists() or key_file.read_bytes() != key.encode():
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
            key_file.write_text(key, encoding="utf-8")
        ranks.barrier()
        yield path
        shutil.rmtree(path)


class Sealed(NamedTuple):
    """The start of a file that is as it was written."""

    size: int  # bytes
    digest: "hashlib._Hash"  # SHA-256 of them, which goes on where the file does
    seconds: float  # what writing them took


def seal(path: Path, size: int, digest: "hashlib._Hash", seconds: float) -> None:
    """Notes, in a file beside `path`, what its first `size` bytes are."""
    write_json(_seal(path), {"size": size, "sha256": digest.hexdigest(), "seconds": seconds})


def seal_whole(path: Path, seconds: float) -> Sealed:
    """Seals a complete file. Of several processes the main one does, and for all it is complete and sealed then."""
    if not ranks.is_main():
        ranks.barrier()
    with open(path, "rb") as file:
        done = Sealed(path.stat().st_size, hashlib.file_digest(file, "sha256"), seconds)
    seal(path, *done)
    if ranks.is_main():
        ranks.barrier()
    return done


def sealed(path: Path) -> Sealed | None:
    """What of `path` is as it was when it was sealed; None, with a line on stderr if there was something, where that
    isn't so.
    """
    if not path.exists() and not _seal(path).exists():
        return None
    digest = hashlib.sha256()
    try:
        note = json.loads(_seal(path).read_text(encoding="utf-8"))
        with open(path, "rb") as file:
            left = note["size"]
            while part := file.read(min(left, CHUNK)):
                digest.update(part)
                left -= len(part)
        if digest.hexdigest() == note["sha256"]:
            return Sealed(note["size"], digest, float(note["seconds"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    print(f"{path} is damaged, so it is made anew", file=sys.stderr)
    return None


def _seal(path: Path) -> Path:
    return path.with_name(f"{path.name}.seal")


def _key(params: Iterable[object], inputs: Iterable[Path]) -> str:
    # All our code, since a module chosen by name may not be loaded yet; and the version of the library that computes.
    code = sorted(Path(__file__).parents[1].rglob("*.py"))
    files = [file for path in map(Path, inputs) for file in (path, *sorted(path.rglob("*"))) if file.is_file()]
    torch = getattr(sys.modules.get("torch"), "__version__", "")
    return json.dumps([torch, [repr(value) for value in params], [sha256(path) for path in [*code, *files]]])
