"""Large pictures are decoded one at a time, so that memory follows one of them and not the number of workers."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from stages.core import workdir
from stages.data.decode import pixel_count

LARGE = 2**24  # pixels


@contextmanager
def room_for(content: bytes) -> Iterator[None]:
    """While the block decodes this file, no other process or thread of the project is in such a block with a picture of
    more than LARGE pixels, if this is one: memory follows one of them, not their number times that of the workers. A
    file of a few bytes may claim 178 million pixels.
    """
    if pixel_count(content) <= LARGE:
        yield
        return
    workdir.ROOT.mkdir(exist_ok=True)
    with open(workdir.ROOT / "large.lock", "a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
