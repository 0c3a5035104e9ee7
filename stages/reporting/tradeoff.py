"""What a score costs: score against size and latency. In: metrics as mappings. Out: one CSV for DVC, one PNG."""

from collections.abc import Mapping, Sequence
from itertools import compress
from pathlib import Path

from stages.core import files
from stages.evaluation import pareto
from stages.evaluation.plotting import COLOURS, figure
from stages.reporting.curves import logarithmic
from stages.reporting.numbers import called

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


def error_bar(row: Mapping[str, float], metric: str) -> tuple[float, float] | None:
    """Lengths of the score's error bar below and above it; None where neither interval nor deviation is known."""
    return pareto.error_bar(*(row.get(f"{metric}{part}") for part in ("", "_std", "_low", "_high")))


def draw(found: Sequence[Row], quality: Mapping, path: Path) -> None:
    """A panel a cost, on a logarithmic axis; a dotted line joins what nothing beats."""
    metric, named = quality["test"]["primary"], quality["test"]["named"]
    with figure(path, 10, 4, layout="constrained") as drawn:
        for axes, (cost, label) in zip(drawn.subplots(1, 2, sharey=True), COSTS.items(), strict=True):
            on_front = pareto.front([(row[cost], row["score"]) for row in found])
            line = sorted((row[cost], row["score"]) for row in compress(found, on_front))
            axes.plot(*zip(*line, strict=True), ":", color="tab:gray", zorder=1)
            for row in found:
                reach = error_bar(quality[row["model"]], metric)
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
