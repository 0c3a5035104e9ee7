"""Training the candidates of a search: how long an epoch of each takes, and a whole training of some of them. In: rows.
Out: seconds; scores on val.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from stages.core import params
from stages.core.device import set_up_torch, thread_count
from stages.data import parallel, prepared
from stages.distillation import student
from stages.setup import measuring
from stages.sizing import halving
from stages.sizing.measure import Notebook
from stages.sizing.space import Options, named
from stages.sizing.table import Row
from stages.training import multi_seed


class Job(NamedTuple):
    """One training."""

    options: Options
    weights: str
    epochs: int


class Result(NamedTuple):
    score: float  # on val, in %
    cpu_seconds: float  # of its epochs, an interrupted run's too


def epoch_seconds(own: student.Settings, many: Sequence[Options], notes: Notebook, device: torch.device,
                  folder: Path) -> list[float]:
    """Of training each of these students, validation aside. folder: for nothing that stays."""
    watch, steps = measuring.Stopwatch(device), max(1, prepared.labelled_count() // own.recipe.batch_size)

    def step(options: Options) -> float:
        network = own.student.model_copy(update={"options": options, "weights": "none"})
        return measuring.training_step("student", params.load_all() | {"student": network.model_dump()},
                                       len(prepared.classes()), watch, folder, with_teacher=True)

    return [steps * notes.get(f"step of {named(options)}", partial(step, options)) for options in many]


def train(rows: Sequence[Row], epochs: int, device: torch.device, folder: Path) -> list[Result]:
    """Each by the student's recipe in so many epochs, on a CPU as many side by side as there are cores.

    folder: for checkpoints; what was trained before, or in part, goes on from there.
    """
    jobs = [Job(row.options, row.weights, epochs) for row in rows]
    workers = min(len(jobs), thread_count()) if device.type == "cpu" else 1
    return list(parallel.map_in_processes(partial(_train_one, folder, device), jobs, workers, chunk=1))


def _train_one(folder: Path, device: torch.device, job: Job) -> Result:
    set_up_torch()
    own = student.settings()
    own = own._replace(recipe=halving.shortened(own.recipe, job.epochs),
                       student=own.student.model_copy(update={"options": job.options, "weights": job.weights}))
    seed, name = own.recipe.seeds[0], f"{named(job.options)}, {job.epochs} epochs"
    print(f"search: {name}", file=sys.stderr)
    _, history = student.train(own, device, seed, folder / name)
    kept = multi_seed.ranking({seed: history}, own.recipe, own.metric.primary)["val"][seed]
    return Result(kept[own.metric.primary], sum(row["cpu_seconds"] for row in history))
