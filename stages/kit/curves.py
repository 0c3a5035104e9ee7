"""Pictures of training. In: rows of plots/<model>.csv. Out: one PNG.

Columns that count: seed, epoch, cross_entropy, train_score, val_loss, val_score.
"""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from stages.kit.pictures import COLOURS, figure


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
                epochs, values = by_epoch(rows, solid)
                axes.plot(epochs, means(values), color=COLOURS[model])
                axes.fill_between(epochs, list(map(min, values)), list(map(max, values)), color=COLOURS[model],
                                  alpha=0.2, linewidth=0)
                epochs, values = by_epoch(rows, dashed)
                axes.plot(epochs, means(values), color=COLOURS[model], linestyle="--", linewidth=0.9)
            axes.set(title=title, xlabel="epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
        panels[1].set_yscale("log")
        lines = [Line2D([], [], color=COLOURS[model], label=model) for model in models]
        lines += [Line2D([], [], color="black", label="on val"),
                  Line2D([], [], color="black", linestyle="--", linewidth=0.9, label="in training")]
        drawn.legend(handles=lines, loc="outside lower center", ncols=len(lines), frameon=False)


def means(values: list[list[float]]) -> list[float]:
    return [sum(found) / len(found) for found in values]


def by_epoch(rows: list[dict[str, str]], column: str) -> tuple[list[int], list[list[float]]]:
    """The epochs, and for each the column's value of every seed that got so far."""
    values = defaultdict(list)
    for row in rows:
        values[int(row["epoch"])].append(float(row[column]))
    epochs = sorted(values)
    return epochs, [values[epoch] for epoch in epochs]
