"""One recipe, several seeds: trains each, writes their curves and the time they took, says which did best on val."""

from collections.abc import Callable
from pathlib import Path

from torch import nn

from stages.core.device import peak_memory_mb, thread_count
from stages.core.files import write_csv, write_json
from stages.training.optim import Recipe
from stages.training.trainer import Lesson, Loss, fit

# A row an epoch, as `fit` returns them.
History = list[dict[str, float]]


def train(name: str, recipe: Recipe, work: Path, attempt: Callable[[int], tuple[nn.Module, Lesson, Loss]],
          keep: Callable[[int, nn.Module], None]) -> dict[int, History]:
    """Train a network for each seed, hand it to `keep`, and return each seed's history."""
    histories = {}
    for seed in recipe.seeds:
        network, lesson, loss = attempt(seed)
        histories[seed] = fit(network, lesson, loss, recipe, seed, work, name)
        keep(seed, network)
    return histories


def ranking(histories: dict[int, History], recipe: Recipe, primary: str) -> dict:
    """{"best": the seed to deploy, "val": {seed: its val numbers at the epoch kept}}.

    Best is the highest val score, of equals the lowest val loss, then the first.
    """
    val = {}
    for seed, rows in histories.items():
        kept = rows[-1] if recipe.keep == "last" else max(rows, key=lambda row: row[f"val_{primary}"])
        val[seed] = {key.removeprefix("val_"): round(value, 4) for key, value in kept.items() if key.startswith("val_")}
    return {"best": max(val, key=lambda seed: (val[seed][primary], -val[seed]["loss"])), "val": val}


def write_curves(path: Path, histories: dict[int, History], primary: str) -> None:
    """A row an epoch a seed: seed, epoch, learning_rate, parts of the loss, scores in %. No times: two runs agree.

    The score that counts is called train_score and val_score in every task: dvc.yaml draws columns by their names.
    """
    rows = [{"seed": seed} | {_column(key, primary): value for key, value in row.items() if key != "seconds"}
            for seed, history in histories.items() for row in history]
    write_csv(path, list(rows[0]), [{key: f"{value:.6g}" if isinstance(value, float) else value
                                     for key, value in row.items()} for row in rows])


def _column(key: str, primary: str) -> str:
    return key.replace(primary, "score") if key in (f"train_{primary}", f"val_{primary}") else key


def write_timing(path: Path, histories: dict[int, History], images_per_epoch: int, device,
                 before: float = 0.0) -> None:
    """What the training cost, on which device; seconds over all seeds, interruptions left out; memory of the process.

    before: what was spent ahead of the first epoch, which counts to the whole and not to an epoch.
    """
    seconds = [row["seconds"] for history in histories.values() for row in history]
    each = sum(seconds) / len(seconds)
    write_json(path, {"seconds": round(before + sum(seconds), 3), "seconds_per_epoch": round(each, 4),
                      "images_per_s": round(images_per_epoch / each, 1), "seeds": len(histories),
                      "peak_memory_mb": round(peak_memory_mb(), 1), "device": device.type,
                      "threads": thread_count()})
