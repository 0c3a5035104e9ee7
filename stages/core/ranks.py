"""Which of the processes this is that train one network together, and what they tell each other. A process that isn't
one of several is the main one, number 0 of 1, and hears only itself; torch is imported where there are others.

All of them run the same code on the same files. Only the main one writes: see core/files.py.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from datetime import timedelta
from pathlib import Path

from stages.core.errors import UserError, one_line, out_of_memory

TIMEOUT = timedelta(hours=2)  # while the main process hashes a large set, the others wait for it
_rank, _world = 0, 1


class Lost(UserError):
    """Another of the processes has ended, or can't be reached."""


def rank() -> int:
    """Of this process, from 0."""
    return _rank


def world() -> int:
    """How many processes there are."""
    return _world


def is_main() -> bool:
    return _rank == 0


@contextmanager
def joined(number: int, count: int, local: int, rendezvous: str) -> Iterator[None]:
    """A block in which this process is one of several, which all are there when it begins. What the others than the
    main one print on sys.stderr is thrown away; errors that leave the block are not.

    number: its rank. count: of all, on all machines. local: its number on its machine, that of its GPU where there are
    some. rendezvous: where they find each other, as torch.distributed takes it: env://, or file:// and a path.
    Raises UserError where the machine has too few GPUs.
    """
    global _rank, _world
    import torch
    from torch import distributed

    on_gpus = torch.cuda.is_available()
    if on_gpus:
        if local >= torch.cuda.device_count():
            raise UserError(f"process {local + 1} of this machine has no GPU of its own, since there are "
                            f"{torch.cuda.device_count()}; lower training.processes in params.yaml (or torchrun's "
                            "--nproc-per-node)")
        torch.cuda.set_device(local)
    elif torch.backends.mps.is_available():
        raise UserError("several processes can't share Apple's GPU; set training.processes to 1 in params.yaml")
    with _or_lost():
        distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo", init_method=rendezvous,
                                       rank=number, world_size=count, timeout=TIMEOUT)
    _rank, _world = number, count
    try:
        if is_main():
            yield
        else:
            with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
                yield
    finally:
        _rank, _world = 0, 1
    distributed.destroy_process_group()


def bounds(total: int, number: int) -> tuple[int, int]:
    """Of `total` things in a row: from where to where they are the share of process `number`. Shares differ by one
    thing at most.
    """
    return total * number // _world, total * (number + 1) // _world


def share(total: int) -> slice:
    """This process's share of `total` ≥ 1 rows. Where there are fewer rows than processes, those without a share take a
    row as well, so that each has something to compute; `gather` leaves it out.
    """
    start, stop = bounds(total, _rank)
    start = min(start, total - 1)
    return slice(start, max(stop, start + 1))


def shares(count: int, size: int) -> Iterator[tuple[slice, int]]:
    """Of `count` rows, in batches with up to `size` a process: this process's share of each, and how many rows the
    whole batch has.
    """
    for start in range(0, count, size * _world):
        total = min(size * _world, count - start)
        own = share(total)
        yield slice(start + own.start, start + own.stop), total


def gather(rows, total: int):
    """This process's share of `total` rows, a tensor (n,…) → all of them, (total,…), without a gradient."""
    if _world == 1:
        return rows
    import torch
    from torch.nn import functional

    sizes = [stop - start for start, stop in (bounds(total, number) for number in range(_world))]
    own = rows[:sizes[_rank]]
    padded = functional.pad(own, (0, 0) * (own.ndim - 1) + (0, max(sizes) - len(own)))
    return torch.cat([part[:size] for part, size in zip(all_gather(padded), sizes, strict=True)])


def all_gather(tensor) -> list:
    """A tensor of every process, by rank. All have the same shape."""
    from torch import distributed

    parts = [tensor.new_empty(tensor.shape) for _ in range(_world)]
    with _or_lost():
        distributed.all_gather(parts, tensor.contiguous())
    return parts


def add_up(tensor) -> None:
    """Put the sum over all processes into the tensor: the same bits in each, whichever ended first."""
    from torch import distributed

    with _or_lost():
        distributed.all_reduce(tensor)


def numbers(own: float) -> list[float]:
    """A number of every process, by rank."""
    if _world == 1:
        return [own]
    import torch

    return [float(number) for number in all_gather(torch.tensor([own], dtype=torch.float64))]


def barrier() -> None:
    """Wait until all processes are here."""
    numbers(0.0)


def check_same(number: int, what: str, folder: Path) -> None:
    """Wait until all processes are here, each with how far its files in a folder reach. Raises UserError, in all of
    them, where these numbers differ: their machines don't share the folder. what: the files, in the plural.
    """
    if len(set(numbers(number))) > 1:
        raise UserError(f"the processes find different {what} in {folder}: several machines need one folder that they "
                        "share")


@contextmanager
def _or_lost() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if out_of_memory(error):
            raise
        raise Lost(f"another process of this run has ended or can't be reached ({one_line(error)[:200]}), so this one "
                   "stops; run the same command again (training resumes from its checkpoint)") from error
