"""Files that are written completely or not at all."""

import contextlib
import itertools
import os
from pathlib import Path
from typing import IO

from stages.core.errors import UserError

COUNTER = itertools.count()  # numbers half-written files: in one folder, masks and --output may be open at a time


@contextlib.contextmanager
def atomic_output(path: Path, mode: str = "w"):
    """An open file that appears under `path` only when the block has ended well. Raises UserError where it can't."""
    if path.exists() and not path.is_file():  # a device, a pipe; of a folder, open says so
        with _opened(path, mode, path) as file:
            yield file
        return
    target = path.resolve()
    half = target.with_name(f".{os.getpid()}-{next(COUNTER)}.half")
    try:
        with _opened(half, mode, path) as file:
            yield file
        os.replace(half, target)
    finally:
        with contextlib.suppress(OSError):  # it may be in place, or never have been made
            half.unlink()


def _opened(path: Path, mode: str, named: Path) -> IO:
    """named: the path that an error names."""
    text = {} if "b" in mode else {"encoding": "utf-8", "errors": "surrogateescape", "newline": "\n"}
    try:
        return open(path, mode, **text)
    except OSError as error:
        raise UserError(f"{named} can't be written ({error.strerror}); name a file in a folder that is there and may "
                        "be written to") from None
