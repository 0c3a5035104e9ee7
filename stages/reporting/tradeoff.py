"""What a score costs: score against size and latency. In: metrics as mappings. Out: one CSV for DVC, one PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from stages.core import files
from stages.evaluation.plotting import COLOURS, figure
from stages.reporting.curves import logarithmic
from stages.reporting.numbers import bounds, called

COSTS = {"size_mb": "size of the file, MB", "latency_ms": "latency, ms"}
WIDTHS = {"baseline": 4}  # of bars, in points: the student's, at the same size, is drawn over it
MARGIN = 1.6  # of an axis, so that it holds a labelled tick however near the models are
SHAPES = {"teacher": "s", "baseline": "^", "student": "o", "int8": "D"}
Row = Mapping[str, object]


def rows(models: Sequence[str], quality: Mapping, size: Mapping, speed: Mapping) -> list[dict[str, object]]:
    """A row a model: model, score, size_mb, latency_ms."""
    return [{"model": name, "score": quality[name][quality["test"]["primary"]], "size_mb": size[name]["size_mb"],
             "latency_ms": speed[name]["latency_ms"]} for name in models]


def write(found: Sequence[Row], path: Path) -> None:
    files.write_csv(path, ("model", "score", *COSTS), found)


def front(found: Sequence[Row], cost: str) -> list[Row]:
    """The rows that no other beats: cheaper ones score less. Sorted by cost, which is to be small; score: large."""
    best, kept = float("-inf"), []
    for row in sorted(found, key=lambda row: (row[cost], -row["score"])):
        if row["score"] > best:
            best = row["score"]
            kept.append(row)
    return kept


def error(row: Mapping[str, float], metric: str) -> tuple[float, float] | None:
    """How far below and above the score its bar reaches: its interval, else a standard deviation."""
    if found := bounds(row, metric):
        return max(0.0, row[metric] - found[0]), max(0.0, found[1] - row[metric])
    std = row.get(f"{metric}_std")
    return None if std is None else (std, std)


def draw(found: Sequence[Row], quality: Mapping, path: Path) -> None:
    """A panel a cost, on a logarithmic axis; a dotted line joins what nothing beats."""
    metric, named = quality["test"]["primary"], quality["test"]["named"]
    with figure(path, 10, 4, layout="constrained") as drawn:
        for axes, (cost, label) in zip(drawn.subplots(1, 2, sharey=True), COSTS.items(), strict=True):
            best = front(found, cost)
            axes.plot([row[cost] for row in best], [row["score"] for row in best], ":", color="tab:gray", zorder=1)
            for row in found:
                reach = error(quality[row["model"]], metric)
                axes.errorbar(row[cost], row["score"], yerr=reach and [[part] for part in reach], capsize=4,
                              fmt=SHAPES[row["model"]], color=COLOURS[row["model"]], markersize=8,
                              elinewidth=WIDTHS.get(row["model"], 1.5), label=called(row["model"]))
            axes.set(xlabel=label)
            axes.grid(alpha=0.3)
            logarithmic(axes, "x")
            costs = [row[cost] for row in found]
            axes.set_xlim(min(costs) / MARGIN, max(costs) * MARGIN)
        drawn.axes[0].set_ylabel(f"{named}, %")
        drawn.legend(*drawn.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(found),
                     frameon=False)
