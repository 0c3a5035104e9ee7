"""Many items, one function, all cores. Work that holds Python's lock needs processes; Pillow and hashlib let go of it
while they decode, resize and hash, so that threads do, which start at once.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from stages.core.device import thread_count
from stages.core.errors import UserError

WORKERS = min(16, thread_count())
CHUNK = 16  # items that travel together
Item, Result = TypeVar("Item"), TypeVar("Result")


def map_in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """function(item) for each item, in their order, with few of them in memory at a time."""
    with ThreadPoolExecutor(WORKERS) as pool:
        waiting = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 4 * WORKERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def map_in_processes(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """function(item) for each item, in their order, with few of them in memory at a time.

    function: one of a module's, or a `partial` of it. Processes are started anew, not forked: they inherit no threads,
    locks or open files, and import what the function needs. On one core this process does all itself.
    Raises what the function raises, and UserError where the system ends a process.
    """
    if WORKERS == 1:
        yield from map(function, items)
        return
    pool = ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn"), _begin)
    items, waiting = iter(items), deque()
    try:
        while chunk := list(islice(items, CHUNK)):
            waiting.append(_submitted(pool, function, chunk))
            if len(waiting) > 4 * WORKERS:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    except BrokenProcessPool:
        raise UserError("the system ended one of the processes at work, most likely for want of memory; close other "
                    "programs and run again, with OMP_NUM_THREADS=1 for one process alone") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _submitted(pool: ProcessPoolExecutor, function: Callable[[Item], Result], chunk: list[Item]) -> Future:
    """The results to be. Processes start here, at need; they inherit that SIGINT is blocked: the parent tells of it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(_all, function, chunk)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _all(function: Callable[[Item], Result], chunk: list[Item]) -> list[Result]:
    return [function(item) for item in chunk]


def _begin() -> None:
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    """End with the parent, however that ends: a killed one can't say so, and its processes would wait for ever."""
    multiprocessing.parent_process().join()
    os._exit(1)
