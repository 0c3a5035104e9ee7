"""Whether `make search` finds what training everything finds: each student of the last search that keeps to the budget,
trained by the whole recipe, beside the one that was found.

    make search                                     in a project whose teacher has answered, benchmark.budget set
    python -m benchmarks.search_grid [--seeds 2]

In: plots/search.csv, metrics/search.json, and all that the search read. Out: a Markdown table on stdout, the best
first. Scores are of the float networks, on test and val together, since val alone is small. Stopped, it goes on where
it was: plots/search_grid.csv holds what is done.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import torch

from stages.core import errors, files
from stages.core.device import choose_device, set_up_torch, thread_count
from stages.core.errors import UserError
from stages.data import parallel
from stages.distillation import student
from stages.search import RESULT
from stages.sizing import measure, table
from stages.sizing.space import AXES, Options, named
from stages.training import batches

DONE = Path("plots/search_grid.csv")
COLUMNS = ("student", "seed", "score")


class Job(NamedTuple):
    """One training."""

    options: Options
    weights: str
    seed: int


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search_grid", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    seeds, found, device = range(parser.parse_args().seeds), files.read_json(RESULT), choose_device("search_grid")
    rows = fitting()
    done = {(row["student"], int(row["seed"])): float(row["score"])
            for row in (files.read_csv(DONE, COLUMNS) if DONE.exists() else ())}
    jobs = [Job(options, weights, seed) for seed in seeds for options, weights, _ in rows
            if (named(options), seed) not in done]
    workers = min(len(jobs), thread_count()) if device.type == "cpu" else 1
    scores = parallel.map_in_processes(partial(train, device), jobs, workers, chunk=1) if jobs else ()
    for job, score in zip(jobs, scores, strict=True):
        done[named(job.options), job.seed] = score
        files.write_csv(DONE, COLUMNS, [dict(zip(COLUMNS, (*key, value), strict=True)) for key, value in done.items()])
    print("| student | starts from | MB | ms | " + " | ".join(f"seed {seed}" for seed in seeds) + " | mean | |")
    print("|---|---|" + "---:|" * (len(seeds) + 3) + "---|")
    for options, weights, cost in sorted(rows, key=lambda row: -mean(done[named(row[0]), seed] for seed in seeds)):
        own = [done[named(options), seed] for seed in seeds]
        numbers = [f"{cost.size_mb:.2f}", f"{cost.latency_ms:.2f}", *(f"{score:.2f}" for score in [*own, mean(own)])]
        is_found = options == {axis: found["student"]["options"][axis] for axis in options}
        print("|", " | ".join([named(options), weights, *numbers, "**found**" if is_found else ""]), "|")


def fitting() -> list[tuple[Options, str, measure.Cost]]:
    """The students that the search might have chosen: the widest of each family that keeps to the budget, and the one
    in params.yaml. Options hold the axes alone.
    """
    limits, rows = measure.limits(), []
    for row in files.read_csv(table.CSV, ("starts_from", "size_mb", "latency_ms", "peak_memory_mb", "note")):
        cost = measure.Cost(*(float(row[field]) for field in measure.Cost._fields))
        if not measure.missed(cost, limits) and row["note"] != "a wider one fits":
            weights = "none" if row["starts_from"] == "nothing" else row["starts_from"]
            rows.append(({axis: int(row[axis]) if row[axis].isdigit() else row[axis] for axis in AXES if axis in row},
                         weights, cost))
    if not rows:
        raise UserError(f"{table.CSV} has no student within benchmark.budget; run make search again")
    return rows


def train(device: torch.device, job: Job) -> float:
    """The score in %, of test and val together."""
    set_up_torch()
    own = student.settings()
    options = own.student.options | job.options
    own = own._replace(student=own.student.model_copy(update={"options": options, "weights": job.weights}))
    folder = Path(".work/search_grid") / f"{named(job.options)}, seed {job.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    print(f"search_grid: {folder.name}", file=sys.stderr)
    network, _ = student.train(own, device, job.seed, folder)
    score = own.metric()
    with torch.inference_mode():
        for batch in (batch for split in ("test", "val") for batch in batches.in_order(split, device)):
            score.update(network.eval()(batch.images).float(), batch.labels)
    return score.values()[own.metric.primary]


if __name__ == "__main__":
    errors.run(main)
