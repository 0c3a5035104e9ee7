"""Whether `make search` finds what training everything finds: each student of the last search that keeps to the budget,
trained by the whole recipe, beside the one that was found.

    make search                                     in a project whose teacher has answered, benchmark.budget set
    python -m benchmarks.search_grid [--seeds 2]

In: plots/search.csv, metrics/search.json, and all that the search read. Out: plots/search_grid.csv, and as a Markdown
table on stdout, the best on test first. Scores are of the float networks on test, where the search saw none. The grid's
best is the highest of several that differ by chance too, so its lead is overstated. Stopped, it goes on where it was.
"""

import argparse
from pathlib import Path
from statistics import mean

import torch

from stages.core import errors, files, workdir
from stages.core.device import choose_device, thread_count
from stages.data import prepared
from stages.distillation import student, teacher_logits
from stages.models import factory
from stages.sizing import measure, table, trials
from stages.sizing.space import named
from stages.training import batches

CSV = Path("plots/search_grid.csv")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search_grid", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    count, device, own = parser.parse_args().seeds, choose_device("search_grid"), student.settings()
    found, rows = files.read_json(table.RESULT, ("searched", "student")), fitting()
    inputs = [*(prepared.FOLDER / split for split in ("train", "val", "test", "unlabelled")), factory.TEACHER,
              teacher_logits.LOGITS]
    with workdir.folder("search_grid", [found["searched"], own, thread_count(), device], inputs) as folder:
        jobs = [trials.Job(own.student.options | row.options, row.weights, own.recipe.epochs, seed)
                for seed in range(count) for row in rows]
        scores = dict(zip(((named(job.options), job.seed) for job in jobs),
                          trials.side_by_side(on_test, jobs, device, folder), strict=True))
    cells = [{"student": named(row.options), "starts_from": row.weights, **row.cost._asdict(),
              **{f"seed_{seed}": scores[named(row.options), seed] for seed in range(count)},
              "mean": mean(scores[named(row.options), seed] for seed in range(count)),
              "found": int(named(row.options) == named(found["student"]["options"]))} for row in rows]
    cells.sort(key=lambda row: -row["mean"])
    files.write_csv(CSV, list(cells[0]), cells)
    print("|", " | ".join(cells[0]), "|\n|---|---|" + "---:|" * (len(cells[0]) - 2))
    for row in cells:
        texts = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()]
        print("|", " | ".join(texts), "|")


def fitting() -> list[table.Row]:
    """The students that the search might have chosen: the widest of each family that keeps to the budget, and the one
    in params.yaml. Their options are the axes alone. Raises UserError where a limit or the table is missing.
    """
    limits = measure.limits()
    return [row for row in table.read() if not measure.missed(row.cost, limits) and row.note != "a wider one fits"]


def on_test(folder: Path, device: torch.device, job: trials.Job) -> float:
    """In %."""
    network, _, own = trials.train_one(folder, device, job)
    score = own.metric()
    with torch.inference_mode():
        for batch in batches.in_order("test", device):
            score.update(network.eval()(batch.images).float(), batch.labels)
    return score.values()[own.metric.primary]


if __name__ == "__main__":
    errors.run(main)
