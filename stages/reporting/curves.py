"""Training curves. In: rows of plots/<model>.csv. Out: PNGs.

Columns: seed, epoch, learning_rate, loss, its parts (cross_entropy the first of them), and those that begin with train_
or val_: scores, and the loss on val.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from stages.evaluation.plotting import COLOURS, figure

NO_PARTS = ("seed", "epoch", "learning_rate", "loss")
PANELS = ((("val_score", "train_score"), "{metric}, %"), (("val_loss", "cross_entropy"), "cross-entropy"))
STYLES = ("-", "--", ":", "-.", (0, (1, 4)))  # of the parts and, behind them, of their sum
DASHED = {"linestyle": "--", "linewidth": 0.9}
Curves = Mapping[str, list[dict[str, str]]]  # the rows of each model


def draw(models: Curves, metric: str, path: Path) -> None:
    """Score and cross-entropy over the epochs, on val (solid) and in training (dashed): means over the seeds.

    The band of val reaches from the lowest seed to the highest.
    """
    from matplotlib.lines import Line2D

    with figure(path, 10, 3.9, layout="constrained") as drawn:
        panels = drawn.subplots(1, 2)
        for axes, ((solid, dashed), title) in zip(panels, PANELS, strict=True):
            for model, rows in models.items():
                band(axes, rows, solid, color=COLOURS[model])
                axes.plot(*by_epoch(rows, dashed)[:2], color=COLOURS[model], **DASHED)
            axes.set(title=title.format(metric=metric))
            over_epochs(axes)
        logarithmic(panels[1], "y")
        lines = [Line2D([], [], color=COLOURS[model], label=model) for model in models]
        lines += [Line2D([], [], color="black", label="on val"),
                  Line2D([], [], color="black", label="in training", **DASHED)]
        drawn.legend(handles=lines, loc="outside lower center", ncols=len(lines), frameon=False)


def draw_losses(models: Curves, path: Path) -> None:
    """The unweighted parts of each model's training loss, and the learning rate: means and bands as above.

    A part that is not above 0 throughout is left out, since the axis is logarithmic.
    """
    with figure(path, 10, 6.4, layout="constrained") as drawn:
        *panels, last = drawn.subplots(2, 2).flat
        for axes, (model, rows) in zip(panels, models.items(), strict=True):
            columns = parts(rows[0])
            columns = [*columns, "loss"] if len(columns) > 1 else columns
            columns = [name for name in columns if all(float(row[name]) > 0 for row in rows)]
            for name, style in zip(columns, STYLES[:len(columns)], strict=True):
                label = "loss, weighted sum" if name == "loss" else name.replace("_", "-")
                band(axes, rows, name, color=COLOURS[model], linestyle=style, label=label)
            axes.set(title=f"{model}: loss in training")
            if columns:
                logarithmic(axes, "y")
                axes.legend(frameon=False)
            band(last, rows, "learning_rate", color=COLOURS[model], label=model)
        last.set(title="learning rate")
        last.legend(frameon=False)
        for axes in (*panels, last):
            over_epochs(axes)


def parts(columns: Iterable[str]) -> list[str]:
    """Those columns that hold a part of the training loss."""
    return [name for name in columns if name not in NO_PARTS and not name.startswith(("train_", "val_"))]


def band(axes, rows: list[dict[str, str]], column: str, **style) -> None:
    """The mean over the seeds as a line, and around it a band from the lowest to the highest."""
    epochs, means, lows, highs = by_epoch(rows, column)
    axes.plot(epochs, means, **style)
    axes.fill_between(epochs, lows, highs, color=style["color"], alpha=0.2, linewidth=0)


def over_epochs(axes) -> None:
    axes.set(xlabel="epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)


def logarithmic(axes, which: Literal["x", "y"]) -> None:
    """Makes an axis logarithmic, with plain numbers at 1, 2 and 5 times each power of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set(**{f"{which}scale": "log"})
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def by_epoch(rows: list[dict[str, str]], column: str) -> tuple[list[int], list[float], list[float], list[float]]:
    """The epochs, and of each the column's mean, lowest and highest value over the seeds that got so far."""
    values = defaultdict(list)
    for row in rows:
        values[int(row["epoch"])].append(float(row[column]))
    scores = [values[epoch] for epoch in sorted(values)]
    return sorted(values), [sum(some) / len(some) for some in scores], [*map(min, scores)], [*map(max, scores)]
