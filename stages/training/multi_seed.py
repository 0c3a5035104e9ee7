"""Training with several seeds: side by side where there are cores for it; and what comes of it: which did best on val,
their learning curves, the time that they took.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from stages.core import ranks
from stages.core.device import peak_memory_mb, set_up_torch, thread_count
from stages.core.files import write_csv, write_json
from stages.data import parallel, prepared
from stages.evaluation.seeds import path
from stages.training.optim import Recipe
from stages.training.trainer import History


class Trained(NamedTuple):
    histories: dict[int, History]  # by seed
    peak_memory_mb: float  # of the largest process
    processes: int  # that trained side by side, or together


def train(train_seed: Callable[[int], History], seeds: Sequence[int], device: torch.device) -> Trained:
    """train_seed(seed) for each seed: on a CPU, in as many processes side by side as there are seeds and cores.

    train_seed: a module-level function or a `partial` of one, which leaves the network in a file. Two processes of one
    thread train faster than one process of two. The same number of cores gives the same bytes. Where this is one of
    several processes that train together, one seed after the other.
    """
    side_by_side = device.type == "cpu" and ranks.world() == 1
    workers = min(len(seeds), thread_count()) if side_by_side else 1
    runs = list(parallel.map_in_processes(partial(_train, train_seed), seeds, workers, chunk=1))
    return Trained({seed: history for seed, (history, _) in zip(seeds, runs, strict=True)}, max(run[1] for run in runs),
                   max(workers, ranks.world()))


def _train(train_seed: Callable[[int], History], seed: int) -> tuple[History, float]:
    """Its history and this process's peak memory in MB; the process is one of its own, or the stage's."""
    set_up_torch()
    return train_seed(seed), max(ranks.numbers(peak_memory_mb()))


def ranking(histories: dict[int, History], recipe: Recipe, primary: str) -> dict:
    """{"best": the seed to deploy, "val": {seed: its val numbers at the epoch that was kept}}.

    Best is the highest val score, of equals the lowest val loss, then the first.
    """
    val = {}
    for seed, rows in histories.items():
        kept = rows[-1] if recipe.keep == "last" else max(rows, key=lambda row: row[f"val_{primary}"])
        val[seed] = {key.removeprefix("val_"): round(value, 4) for key, value in kept.items() if key.startswith("val_")}
    return {"best": max(val, key=lambda seed: (val[seed][primary], -val[seed]["loss"])), "val": val}


def write_results(role: str, stage: str, trained: Trained, recipe: Recipe, primary: str, device: torch.device) -> None:
    """What baseline and student leave beside their weights: the ranking, the curves, the timing."""
    write_json(path(role), ranking(trained.histories, recipe, primary))
    write_curves(Path("plots", f"{role}.csv"), trained.histories, primary)
    write_timing(stage, trained, device)


def write_curves(path: Path, histories: dict[int, History], primary: str) -> None:
    """A row an epoch a seed: seed, epoch, learning_rate, parts of the loss, scores in %. No times: two runs agree.

    The primary score is called train_score and val_score in every task: dvc.yaml draws columns by their names.
    """
    names = {f"{split}_{primary}": f"{split}_score" for split in ("train", "val")}
    rows = [{"seed": seed} | {names.get(key, key): f"{value:.6g}" if isinstance(value, float) else value
                              for key, value in row.items() if not key.endswith("seconds")}
            for seed, history in histories.items() for row in history]
    write_csv(path, list(rows[0]), rows)


def write_timing(stage: str, trained: Trained, device: torch.device, before: float = 0.0) -> None:
    """metrics/timing/<stage>.json: what the training cost, on which device; seconds of all seeds added up, also where
    they ran side by side, interruptions left out; memory and threads of a process, and how many processes there were.

    before: seconds spent ahead of the first epoch, which count to the total and not to an epoch. cpu_seconds are those
    of the epochs, of all threads: what else runs on the machine hardly changes them.
    """
    rows = [row for history in trained.histories.values() for row in history]
    seconds = [row["seconds"] for row in rows]
    per_epoch = sum(seconds) / len(seconds)
    write_json(Path(f"metrics/timing/{stage}.json"), {
        "seconds": round(before + sum(seconds), 3), "seconds_per_epoch": round(per_epoch, 4),
        "cpu_seconds": round(sum(row["cpu_seconds"] for row in rows), 3),
        "images_per_s": round(prepared.labelled_count() / per_epoch, 1), "seeds": len(trained.histories),
        "peak_memory_mb": round(trained.peak_memory_mb, 1), "device": device.type,
        "threads": max(1, thread_count() * ranks.world() // trained.processes), "processes": trained.processes})
