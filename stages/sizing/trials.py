"""Training the candidates of a search: how long an epoch of each takes, and a whole training of some of them. In: rows.
Out: seconds; scores on val.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from stages.core import params
from stages.core.device import set_up_torch, thread_count
from stages.data import parallel, prepared
from stages.distillation import student
from stages.models import factory
from stages.setup import measuring, timing
from stages.sizing import halving
from stages.sizing.measure import Notebook
from stages.sizing.space import Options, named
from stages.sizing.table import Row
from stages.training import multi_seed
from stages.training.trainer import History, NotFinite


class Job(NamedTuple):
    """One training."""

    options: Options
    weights: str
    epochs: int
    seed: int


class Result(NamedTuple):
    score: float  # on val, in %
    seconds: float  # of its epochs, an interrupted run's too: on a CPU of the processor, on a GPU by the clock


def epoch_seconds(own: student.Settings, many: Sequence[Options], notes: Notebook, device: torch.device,
                  folder: Path) -> list[float]:
    """Of training each of these students for an epoch, validation aside: on a CPU processor seconds, of all threads of
    one training together, on a GPU seconds. folder: for nothing that stays.
    """
    watch, steps = measuring.Stopwatch(device), max(1, prepared.labelled_count() // own.recipe.batch_size)
    threads = timing.threads_each(len(own.recipe.seeds), device) if device.type == "cpu" else 1

    def step(options: Options) -> float:
        network = own.student.model_copy(update={"options": options, "weights": "none"})
        return measuring.training_step("student", params.load_all() | {"student": network.model_dump()},
                                       len(prepared.classes()), watch, folder, with_teacher=True)

    return [steps * threads * notes.get(f"step of {named(options)}", partial(step, options)) for options in many]


def train(rows: Sequence[Row], epochs: int, seed: int, device: torch.device, folder: Path) -> list[Result]:
    """Each by the student's recipe in so many epochs, on a CPU as many side by side as there are cores.

    folder: for checkpoints; what was trained before, or in part, goes on from there.
    """
    return list(side_by_side(_score, [Job(row.options, row.weights, epochs, seed) for row in rows], device, folder))


def side_by_side(function: Callable[[Path, torch.device, Job], object], jobs: Sequence[Job], device: torch.device,
                 folder: Path) -> Iterator:
    """function(folder, device, job) of each, in order; on a CPU as many at a time as there are cores."""
    workers = min(len(jobs), thread_count()) if device.type == "cpu" else 1
    return parallel.map_in_processes(partial(function, folder, device), jobs, workers, chunk=1)


def train_one(folder: Path, device: torch.device, job: Job) -> tuple[factory.Normalised, History, student.Settings]:
    """The student of a job, its epochs, and the settings that it was trained by."""
    set_up_torch()
    own = student.settings()
    own = own._replace(recipe=halving.shortened(own.recipe, job.epochs),
                       student=own.student.model_copy(update={"options": job.options, "weights": job.weights}))
    name = f"{named(job.options)}, {job.epochs} epochs, seed {job.seed}"
    print(f"search: {name}", file=sys.stderr)
    return *student.train(own, device, job.seed, folder / name), own


def _score(folder: Path, device: torch.device, job: Job) -> Result:
    began = time.process_time()
    try:
        _, history, own = train_one(folder, device, job)
    except NotFinite as error:
        print(f"search: {named(job.options)}: {error}", file=sys.stderr)
        return Result(0.0, time.process_time() - began)  # others go on
    kept = multi_seed.ranking({job.seed: history}, own.recipe, own.metric.primary)["val"][job.seed]
    clock = "cpu_seconds" if device.type == "cpu" else "seconds"
    return Result(kept[own.metric.primary], sum(row[clock] for row in history))
