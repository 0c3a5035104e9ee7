"""One function over many items on all cores, results in the order of the items. Work that holds Python's interpreter
lock needs processes; decoding, resizing and hashing release it, so threads do, which start at once.
"""

import multiprocessing
import os
import re
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TypeVar

from stages.core.device import thread_count
from stages.core.errors import UserError

WORKERS = min(16, thread_count())
CHUNK = 16  # items sent to a process together
AHEAD = 2**28  # bytes of arrays that may wait for their turn
Item, Result = TypeVar("Item"), TypeVar("Result")


def map_in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """function(item) for each item, in order. Few items are in memory at a time."""
    with ThreadPoolExecutor(WORKERS) as pool:
        yield from _in_order(partial(pool.submit, function), items)


def prefetch(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """function(item) for each item, in order, as many of them ahead of the caller's work as there are threads.

    threads: 0 computes each when it is asked for.
    """
    if not threads:
        yield from map(function, items)
        return
    items = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        ahead = deque(pool.submit(function, item) for item in islice(items, threads))
        while ahead:
            result = ahead.popleft().result()
            ahead.extend(pool.submit(function, item) for item in islice(items, 1))
            yield result


def map_in_processes(function: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None,
                     chunk: int = CHUNK) -> Iterator[Result]:
    """function(item) for each item, in order. Few items are in memory at a time; with one core, no process is started.

    function: a module-level function or a `partial` of one, since it is pickled. workers: processes, among which the
    cores are divided; None: one a core. chunk: items sent to a process together.

    Processes are spawned, not forked, so they inherit no threads, locks or open files. Raises what the function raises,
    and UserError if the system kills a process.
    """
    workers = workers or WORKERS
    if workers == 1:
        yield from map(function, items)
        return
    items = iter(items)
    with _pool(workers, "again, with OMP_NUM_THREADS=1 for one process alone") as pool:
        for results in _in_order(partial(_submit, pool, function), iter(lambda: list(islice(items, chunk)), [])):
            yield from results


def together(function: Callable[[int], Result], count: int, remedy: str) -> list[Result]:
    """function(0) … function(count − 1), each in a process of its own, all at the same time: they may wait for each
    other. function, and what is raised: as with `map_in_processes`, as soon as the first of them fails.

    remedy: ends the UserError where a process was killed, after "run".
    """
    with _pool(count, remedy) as pool:
        running = deque(_submit(pool, function, [number]) for number in range(count))
        return [_first(running)[0] for _ in range(count)]


@contextmanager
def _pool(workers: int, remedy: str) -> Iterator[ProcessPoolExecutor]:
    """Processes among which the cores are divided; ended where the block raises."""
    context, threads = multiprocessing.get_context("spawn"), max(1, thread_count() // workers)
    pool = ProcessPoolExecutor(workers, context, _begin, (threads,))
    try:
        yield pool
    except BaseException as error:
        for process in multiprocessing.active_children():  # the others' work may take an hour
            process.terminate()
        if not isinstance(error, BrokenProcessPool):
            raise
        raise UserError("the system ended one of the processes at work, most likely for want of memory; close other "
                        f"programs and run {remedy}") from None
    finally:
        pool.shutdown(cancel_futures=True)


def worker_number() -> int:
    """Of this process among those of `map_in_processes`, from 0; 0 too where there are no others."""
    name = multiprocessing.current_process().name  # SpawnProcess-1, SpawnProcess-2 …; below Process-5 SpawnProcess-5:1
    return int(re.search(r"\d+$", name)[0]) - 1 if multiprocessing.parent_process() else 0


def _in_order(submit: Callable[[Item], Future], items: Iterable[Item]) -> Iterator:
    """The results of the futures that submit(item) returns; it runs at most 4 × WORKERS items ahead, and down to
    WORKERS where their arrays would take more than AHEAD bytes.
    """
    pending, ahead, largest = deque(), WORKERS, 0
    for item in items:
        pending.append(submit(item))
        while len(pending) > ahead:
            result = _first(pending)
            largest = max(largest, getattr(result, "nbytes", 0))
            ahead = max(WORKERS, min(4 * WORKERS, AHEAD // max(1, largest)))
            yield result
    while pending:
        yield _first(pending)


def _first(pending: deque[Future]):
    """Takes out the first and returns its result. Raises what any of them raises, as soon as it does."""
    while not pending[0].done():
        wait([future for future in pending if not future.done()], return_when=FIRST_COMPLETED)
        for future in filter(Future.done, pending):
            future.result()
    return pending.popleft().result()


def _submit(pool: ProcessPoolExecutor, function: Callable[[Item], Result], chunk: list[Item]) -> Future:
    """Submits a chunk. Processes start here, with SIGINT blocked, so that only the parent reports an interrupt."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(_apply, function, chunk)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _apply(function: Callable[[Item], Result], chunk: list[Item]) -> list[Result]:
    return [function(item) for item in chunk]


def _begin(threads: int) -> None:
    """Gives this process so many threads, and ends it when its parent ends: one that is killed can't stop it."""
    from tqdm import tqdm

    tqdm.set_lock(threading.RLock())  # its own is a semaphore of the system's, left behind where this process is killed
    os.environ["OMP_NUM_THREADS"] = str(threads)

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
