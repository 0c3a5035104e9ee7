"""The plot of a sweep: score against size and latency, with error bars and the Pareto front."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from stages.core.errors import UserError
from stages.evaluation import pareto, plotting
from tools.comparison.metric_values import MetricValue

LABELS = {"int8.size_mb": "size of the int8 file, MB", "int8.latency_ms": "latency of one image, ms"}
STEP, MAX_SHIFT = 4, 8  # points (1/72 inch) between markers of equal cost, and from their true place


def draw(names: Sequence[str], scores: Sequence[MetricValue], metric: str,
         costs: Mapping[str, Sequence[MetricValue | None]], fronts: Mapping[str, Sequence[bool]], path: Path) -> None:
    """A panel for each cost that any experiment has: a marker an experiment, the front as a line with names. PNG."""
    if path.suffix != ".png":
        raise UserError(f"--plot {path}: it should end in .png")
    panels = {cost: values for cost, values in costs.items() if any(values)}
    if not panels:
        raise UserError("no experiment here has a size or a latency, so there is nothing to draw")
    with plotting.figure(path, 5.5 * len(panels), 4.5, layout="constrained") as figure:
        row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (cost, values) in zip(row, panels.items(), strict=True):
            _panel(axes, names, scores, values, fronts[cost])
            axes.set_xlabel(f"{LABELS[cost]} (equal ones side by side)")
        bars = "95 % interval" if any(score.low is not None for score in scores) else "± over seeds"
        row[0].set_ylabel(f"{metric} (bar: {bars})")


def _panel(axes, names: Sequence[str], scores: Sequence[MetricValue], costs: Sequence[MetricValue | None],
           on_front: Sequence[bool]) -> None:
    from matplotlib.transforms import ScaledTranslation

    rows = [row for row, cost in enumerate(costs) if cost]
    x, y = (np.array([values[row].value for row in rows]) for values in (costs, scores))
    bars = np.array([pareto.error_bar(*scores[row]) or (0, 0) for row in rows]).T  # (2,N): below, above
    front = np.array([on_front[row] for row in rows])
    if x.max() > 8 * x.min() > 0:
        axes.set_xscale("log")
    axes.errorbar(x, y, bars, fmt="none", alpha=0)  # sets the axes' limits, which ignore shifted markers
    line = np.flatnonzero(front)[np.lexsort((y[front], x[front]))]
    axes.step(x[line], y[line], where="post", color="tab:orange", linewidth=1, alpha=0.6)
    for at, shift in enumerate(shifts(x, front)):
        shifted = axes.transData + ScaledTranslation(shift / 72, 0, axes.figure.dpi_scale_trans)
        axes.errorbar(x[at], y[at], bars[:, at:at + 1], fmt="o", color="tab:orange" if front[at] else "tab:gray",
                      elinewidth=0.8, markersize=5, alpha=0.8, transform=shifted)
    for place in sorted({(x[at], y[at]) for at in line}):
        labels = [names[rows[at]] for at in line if (x[at], y[at]) == place]
        axes.annotate(", ".join(labels), place, (-5, 3), textcoords="offset points", fontsize=8, ha="right")
    axes.margins(x=0.3)
    axes.grid(alpha=0.3)


def shifts(x: np.ndarray, front: np.ndarray) -> np.ndarray:
    """(N,): points by which markers of equal cost are moved apart, so that their bars can be told apart.

    x (N,): costs. front (N,): bool; markers on the front are moved least.
    """
    moved = np.zeros(len(x))
    for cost in np.unique(x):
        equal = np.flatnonzero(x == cost)
        half = min(STEP * (len(equal) - 1) / 2, MAX_SHIFT)
        offsets = sorted(np.linspace(-half, half, len(equal)), key=abs)
        moved[equal[np.argsort(~front[equal], kind="stable")]] = offsets
    return moved
