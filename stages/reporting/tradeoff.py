"""Score against size and latency. In: metrics as mappings. Out: one CSV for DVC, one PNG."""

from collections.abc import Mapping, Sequence
from itertools import compress
from pathlib import Path

from stages.evaluation import pareto
from stages.evaluation.plotting import COLOURS, figure
from stages.reporting.curves import logarithmic
from stages.reporting.numbers import display_name

COSTS = {"size_mb": "size of the file, MB", "latency_ms": "latency, ms"}
WIDTHS = {"baseline": 4}  # of bars, in points: the student's, at the same size, is drawn over it
MARGIN = 1.6  # factor beyond the outermost models, so that the axis holds a tick label however close they are
SHAPES = {"teacher": "s", "baseline": "^", "student": "o", "int8": "D", "teacher_int8": "d"}
Row = Mapping[str, object]


def rows(models: Sequence[str], quality: Mapping, size: Mapping, speed: Mapping) -> list[dict[str, object]]:
    """A row per model: model, score, size_mb, latency_ms."""
    return [{"model": name, "score": quality[name][quality["test"]["primary"]], "size_mb": size[name]["size_mb"],
             "latency_ms": speed[name]["latency_ms"]} for name in models]


def draw(points: Sequence[Row], quality: Mapping, path: Path) -> None:
    """A panel per cost, its axis logarithmic; a dotted line joins the Pareto front."""
    metric, label = quality["test"]["primary"], quality["test"]["named"]
    with figure(path, 10, 4, layout="constrained") as drawn:
        for axes, (cost, cost_label) in zip(drawn.subplots(1, 2, sharey=True), COSTS.items(), strict=True):
            pairs = [(row[cost], row["score"]) for row in points]
            line = sorted(compress(pairs, pareto.front(pairs)))
            axes.plot(*zip(*line, strict=True), ":", color="tab:gray", zorder=1)
            for row in points:
                model, scores = row["model"], quality[row["model"]]
                bar = pareto.error_bar(*(scores.get(f"{metric}{part}") for part in ("", "_std", "_low", "_high")))
                axes.errorbar(row[cost], row["score"], yerr=bar and [[length] for length in bar], capsize=4,
                              fmt=SHAPES[model], color=COLOURS[model], markersize=8, elinewidth=WIDTHS.get(model, 1.5),
                              label=display_name(model))
            axes.set(xlabel=cost_label)
            axes.grid(alpha=0.3)
            logarithmic(axes, "x")
            axes.set_xlim(min(pairs)[0] / MARGIN, max(pairs)[0] * MARGIN)
        drawn.axes[0].set_ylabel(f"{label}, %")
        drawn.legend(*drawn.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(points),
                     frameon=False)
