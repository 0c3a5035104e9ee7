"""Which experiments no other beats at once in score and in cost, and a picture of them. In: scores and costs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from stages.core import errors
from stages.deployment import explore
from stages.evaluation import plotting
from tools.figures import Score

LABELS = {"int8.size_mb": "size of the int8 file, MB", "int8.latency_ms": "latency of one image, ms"}
EQUAL = {"int8.latency_ms": explore.EQUAL}  # share by which two costs differ by chance; of others: 0
ASIDE, WIDEST = 4, 8  # points (1/72 inch) between what costs the same, and from the true place at most


def front(pairs: Sequence[tuple[Score | None, Score | None]], lower: bool = False, equal: float = 0) -> list[bool]:
    """For each (cost, score): no other costs at most as much and scores at least as well, and is better in one.

    lower: of two scores the lower is better. equal: share by which two costs may differ and count as the same. What
    lacks either is on no front.
    """
    sign, reach = -1 if lower else 1, 1 + equal
    known = [None if None in pair else (pair[0].value, sign * pair[1].value) for pair in pairs]

    def beaten(own: tuple[float, float]) -> bool:
        return any(cost <= reach * own[0] and score >= own[1] and (score > own[1] or reach * cost < own[0])
                   for cost, score in filter(None, known))

    return [own is not None and not beaten(own) for own in known]


def draw(names: Sequence[str], scores: Sequence[Score], metric: str, costs: Mapping[str, Sequence[Score | None]],
         fronts: Mapping[str, Sequence[bool]], path: Path) -> None:
    """A panel for each cost: a point an experiment, its 95 % interval (or its ±), the front as a line with names."""
    if path.suffix != ".png":
        raise errors.UserError(f"--plot {path}: it should end in .png")
    panels = {cost: values for cost, values in costs.items() if any(values)}
    if not panels:
        raise errors.UserError("no experiment here has a size or a latency, so there is nothing to draw")
    with plotting.figure(path, 5.5 * len(panels), 4.5, layout="constrained") as drawn:
        row = drawn.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (cost, values) in zip(row, panels.items(), strict=True):
            _panel(axes, names, scores, values, fronts[cost])
            axes.set_xlabel(f"{LABELS[cost]} (equal ones side by side)")
        bars = "95 % interval" if any(score.low is not None for score in scores) else "± over seeds"
        row[0].set_ylabel(f"{metric} (bar: {bars})")


def _panel(axes, names: Sequence[str], scores: Sequence[Score], costs: Sequence[Score | None],
           best: Sequence[bool]) -> None:
    from matplotlib.transforms import ScaledTranslation

    known = [number for number, cost in enumerate(costs) if cost]
    x, y = (np.array([table[number].value for number in known]) for table in (costs, scores))
    reach = np.array([_reach(scores[number]) for number in known]).T  # (2,N): below, above
    front = np.array([best[number] for number in known])
    if x.max() > 8 * x.min() > 0:
        axes.set_xscale("log")
    axes.errorbar(x, y, reach, fmt="none", alpha=0)  # for the axes' limits, which take no shifted points
    line = np.flatnonzero(front)[np.lexsort((y[front], x[front]))]
    axes.step(x[line], y[line], where="post", color="tab:orange", linewidth=1, alpha=0.6)
    for number, shift in enumerate(shifts(x, front)):
        colour = "tab:orange" if front[number] else "tab:gray"
        axes.errorbar(x[number], y[number], reach[:, number:number + 1], fmt="o", color=colour, elinewidth=0.8,
                      markersize=5, alpha=0.8, transform=axes.transData + ScaledTranslation(
                          shift / 72, 0, axes.figure.dpi_scale_trans))
    for place in sorted({(x[number], y[number]) for number in line}):
        there = [names[known[number]] for number in line if (x[number], y[number]) == place]
        axes.annotate(", ".join(there), place, (-5, 3), textcoords="offset points", fontsize=8, ha="right")
    axes.margins(x=0.3)
    axes.grid(alpha=0.3)


def shifts(x: np.ndarray, front: np.ndarray) -> np.ndarray:
    """Points by which what costs the same is drawn aside of its place, the front least, so that bars can be told apart.

    x, front: (N,), and so is what comes back.
    """
    aside = np.zeros(len(x))
    for cost in np.unique(x):
        there = np.flatnonzero(x == cost)
        half = min(ASIDE * (len(there) - 1) / 2, WIDEST)
        places = sorted(np.linspace(-half, half, len(there)), key=abs)
        aside[there[np.argsort(~front[there], kind="stable")]] = places
    return aside


def _reach(score: Score) -> tuple[float, float]:
    """How far down and up a score's bar goes."""
    if score.low is not None:
        return max(score.value - score.low, 0), max(score.high - score.value, 0)
    return (score.std or 0,) * 2
