"""Pictures of training. In: rows of plots/<model>.csv. Out: PNGs.

Columns: seed, epoch, learning_rate, loss, its parts (cross_entropy the first of them), and what begins with train_ or
val_: scores, and the loss on val.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from stages.evaluation.plotting import COLOURS, figure

NO_PARTS = ("seed", "epoch", "learning_rate", "loss")  # nor is what begins with train_ or val_
STYLES = ("-", "--", ":", "-.")  # of the parts, and last of their sum


def draw(models: Mapping[str, list[dict[str, str]]], name: str, path: Path) -> None:
    """Score and cross-entropy over the epochs, on val (solid) and in training (dashed): means over the seeds.

    The band of val reaches from the lowest seed to the highest.
    """
    from matplotlib.lines import Line2D

    shown = {f"{name}, %": ("val_score", "train_score"), "cross-entropy": ("val_loss", "cross_entropy")}
    with figure(path, 10, 3.9, layout="constrained") as drawn:
        panels = drawn.subplots(1, 2)
        for axes, (title, (solid, dashed)) in zip(panels, shown.items(), strict=True):
            for model, rows in models.items():
                band(axes, rows, solid, color=COLOURS[model])
                epochs, values = by_epoch(rows, dashed)
                axes.plot(epochs, means(values), color=COLOURS[model], linestyle="--", linewidth=0.9)
            axes.set(title=title, xlabel="epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
        logarithmic(panels[1], "y")
        lines = [Line2D([], [], color=COLOURS[model], label=model) for model in models]
        lines += [Line2D([], [], color="black", label="on val"),
                  Line2D([], [], color="black", linestyle="--", linewidth=0.9, label="in training")]
        drawn.legend(handles=lines, loc="outside lower center", ncols=len(lines), frameon=False)


def draw_losses(models: Mapping[str, list[dict[str, str]]], path: Path) -> None:
    """What each model's loss is made of in training, unweighted, and the learning rate: means and bands as above.

    A part that is nowhere above 0 can't stand on a logarithmic axis, and is left out.
    """
    with figure(path, 10, 6.4, layout="constrained") as drawn:
        *panels, last = drawn.subplots(2, 2).flat
        for axes, (model, rows) in zip(panels, models.items(), strict=True):
            found = parts(rows[0])
            shown = [name for name in (*found, *(["loss"] if len(found) > 1 else [])) if positive(rows, name)]
            for name, style in zip(shown, STYLES, strict=False):
                label = "loss, weighted sum" if name == "loss" else name.replace("_", "-")
                band(axes, rows, name, color=COLOURS[model], linestyle=style, label=label)
            axes.set(title=f"{model}: loss in training")
            if shown:
                logarithmic(axes, "y")
                axes.legend(frameon=False)
            band(last, rows, "learning_rate", color=COLOURS[model], label=model)
        last.set(title="learning rate")
        last.legend(frameon=False)
        for axes in (*panels, last):
            axes.set(xlabel="epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)


def parts(columns: Iterable[str]) -> list[str]:
    """Those that hold a part of the loss in training."""
    return [name for name in columns if name not in NO_PARTS and not name.startswith(("train_", "val_"))]


def band(axes, rows: list[dict[str, str]], column: str, **style) -> None:
    """The mean over the seeds as a line, and around it from the lowest to the highest."""
    epochs, values = by_epoch(rows, column)
    axes.plot(epochs, means(values), **style)
    axes.fill_between(epochs, list(map(min, values)), list(map(max, values)), color=style["color"], alpha=0.2,
                      linewidth=0)


def logarithmic(axes, which: Literal["x", "y"]) -> None:
    """Makes an axis logarithmic, with plain numbers at 1, 2 and 5 times each power of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set(**{f"{which}scale": "log"})
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def positive(rows: list[dict[str, str]], column: str) -> bool:
    return all(float(row[column]) > 0 for row in rows)


def means(values: list[list[float]]) -> list[float]:
    return [sum(found) / len(found) for found in values]


def by_epoch(rows: list[dict[str, str]], column: str) -> tuple[list[int], list[list[float]]]:
    """The epochs, and for each the column's value of every seed that got so far."""
    values = defaultdict(list)
    for row in rows:
        values[int(row["epoch"])].append(float(row[column]))
    epochs = sorted(values)
    return epochs, [values[epoch] for epoch in epochs]
