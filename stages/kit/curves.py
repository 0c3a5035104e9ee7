"""Pictures of training. In: rows of plots/<model>.csv (seed, epoch, val_<metric>, val_loss, …). Out: one PNG."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from stages.kit.tables import whole

COLOURS = {"teacher": "tab:gray", "baseline": "tab:blue", "student": "tab:orange"}


def draw(models: Mapping[str, list[dict[str, str]]], metric: str, name: str, path: Path) -> None:
    """Validation score and loss over the epochs: a line is the mean over the seeds, its band lowest to highest."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    shown = {f"val_{metric}": f"{name} on val, %", "val_loss": "cross-entropy on val"}
    for axes, (column, title) in zip(panels, shown.items(), strict=True):
        for model, rows in models.items():
            epochs, values = by_epoch(rows, column)
            axes.plot(epochs, [sum(found) / len(found) for found in values], color=COLOURS[model], label=model)
            axes.fill_between(epochs, list(map(min, values)), list(map(max, values)), color=COLOURS[model], alpha=0.2,
                              linewidth=0)
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    panels[0].legend()
    panels[1].set_yscale("log")
    with whole(path, "wb") as file:
        figure.savefig(file, dpi=110, format="png", metadata={"Software": None})
    pyplot.close(figure)


def by_epoch(rows: list[dict[str, str]], column: str) -> tuple[list[int], list[list[float]]]:
    """The epochs, and for each the column's value of every seed that got so far."""
    values = defaultdict(list)
    for row in rows:
        values[int(row["epoch"])].append(float(row[column]))
    epochs = sorted(values)
    return epochs, [values[epoch] for epoch in epochs]
