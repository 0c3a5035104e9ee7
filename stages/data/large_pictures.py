"""Large files and pictures are read and decoded one at a time, so that memory follows one of them and not the number of
workers.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from stages.core import workdir
from stages.data.annotations import outlines
from stages.data.archive import Raw
from stages.data.decode import LARGE, pixel_count

LARGE_FILE = 2**26  # bytes


@contextmanager
def room_for(raw: Raw, *names: str) -> Iterator[None]:
    """While the block reads and decodes these files, no other process or thread of the project is in such a block with
    a large one, if one of these is large: memory follows one of them, not their number times that of the workers. A
    file of a few bytes may claim 178 million pixels, and one in a sparse archive 10⁹ bytes.

    names: of files of raw.zip; those that aren't there, and files of outlines, which are read as a whole once, don't
    count.
    """
    if not any(_is_large(raw, name) for name in names):
        yield
        return
    workdir.ROOT.mkdir(exist_ok=True)
    with open(workdir.ROOT / "large.lock", "a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_large(raw: Raw, name: str) -> bool:
    if name not in raw.NameToInfo or outlines.is_outlines(name):
        return False
    if raw.getinfo(name).file_size > LARGE_FILE:
        return True
    with raw.open(name) as file:
        return pixel_count(file) > LARGE
