"""What a search found, for people and for programs: a table, a CSV file, a plot. In: rows. Out: text and files."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from stages.core.files import METRICS, read_csv, write_csv
from stages.deployment.budget import BudgetParams
from stages.evaluation import pareto, plotting
from stages.sizing.halving import Rung
from stages.sizing.measure import Cost
from stages.sizing.space import AXES, Options

CSV, PLOT, RESULT = Path("plots/search.csv"), Path("plots/search.png"), METRICS / "search.json"
NOTHING = "nothing"  # what a student without pre-trained weights starts from
COSTS = {"size_mb": "size of the int8 file, MB", "latency_ms": "latency of one image, ms"}


class Row(NamedTuple):
    """A student that was measured."""

    options: Options
    parameters: int
    weights: str  # that it starts from: a file's name, or none
    cost: Cost
    scores: list[float]  # on val, in %, one a rung that it reached
    note: str  # why it went no further

    @property
    def standing(self) -> tuple[int, float]:
        """Orders the trained ones: a later rung, then a higher score there."""
        return len(self.scores), self.scores[-1] if self.scores else 0.0


def ranked(fitting: Sequence[Row], others: Sequence[Row], scores: Sequence[list[float]], plan: Sequence[Rung],
           present: Options) -> list[Row]:
    """Those that fit with their scores and why they went no further, the best first, of equals the faster; then others.

    scores: of the first of those that fit; the rest was not trained. present: the options in params.yaml.
    """
    rows = [row._replace(scores=own, note=f"behind after {plan[len(own) - 1].epochs} epochs")
            for row, own in zip(fitting, scores, strict=False)]
    rows.sort(key=lambda row: (*row.standing, -row.cost.latency_ms), reverse=True)
    rows += [row._replace(note="no time to train it") for row in fitting[len(scores):]]
    rows[0] = rows[0]._replace(note="best" if scores else "the only one that fits" if len(fitting) == 1
                               else "nothing was trained")
    return [row._replace(note=f"in params.yaml now; {row.note}") if row.options == present else row
            for row in [*rows, *others]]


def front(rows: Sequence[Row], cost: str) -> list[bool]:
    """For each row whether it is on the Pareto front of a field of Cost and its standing: two are compared by the last
    rung that both reached, since more epochs make any score higher.
    """
    places = sorted({row.standing for row in rows})
    return pareto.front([(getattr(row.cost, cost), places.index(row.standing) if row.scores else None)
                         for row in rows])


def text(rows: Sequence[Row], plan: Sequence[Rung]) -> str:
    """In columns."""
    lines = list(_lines(rows, plan))
    wide = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) if place < len(wide) - 1 else cell for place, (cell, width)
                               in enumerate(zip(line, wide, strict=True))).rstrip() for line in lines)


def _lines(rows: Sequence[Row], plan: Sequence[Rung]) -> Iterator[list[str]]:
    axes = _axes(rows)
    yield [*axes, "starts from", "parameters", "MB", "ms", "memory, MB",
           *(f"val, {rung.epochs} epochs" for rung in plan), "front", ""]
    for row, is_best in zip(rows, front(rows, "latency_ms"), strict=True):
        scores = [f"{score:.2f}" for score in row.scores]
        yield [*(str(row.options[axis]) for axis in axes), _start(row), f"{row.parameters / 1e6:.3f} M",
               f"{row.cost.size_mb:.3f}", f"{row.cost.latency_ms:.3f}", f"{row.cost.peak_memory_mb:.0f}",
               *scores, *[""] * (len(plan) - len(scores)), "*" * is_best, row.note]


def write(rows: Sequence[Row], plan: Sequence[Rung], limits: BudgetParams) -> None:
    """plots/search.csv, a row a student; plots/search.png, score against cost."""
    fronts = {cost: front(rows, cost) for cost in COSTS}
    cells = [{axis: row.options[axis] for axis in _axes(rows)}
             | {"starts_from": _start(row), "parameters": row.parameters} | row.cost._asdict()
             | {f"val_score_{rung.epochs}_epochs": row.scores[place] if place < len(row.scores) else ""
                for place, rung in enumerate(plan)}
             | {f"on_front_of_{cost}": int(fronts[cost][number]) for cost in COSTS} | {"note": row.note}
             for number, row in enumerate(rows)]
    write_csv(CSV, list(cells[0]), cells)
    with plotting.figure(PLOT, 5.5 * len(COSTS), 4.5, layout="constrained") as figure:
        panels = figure.subplots(1, len(COSTS), sharey=True)
        for panel, (cost, label) in zip(panels, COSTS.items(), strict=True):
            _draw(panel, rows, plan, cost, fronts[cost], getattr(limits, cost))
            panel.set_xlabel(label)
        panels[0].set_ylabel("score on val, %, at the end of so many epochs")
        panels[0].legend(fontsize=8, loc="lower right")


def read() -> list[Row]:
    """The table as it was written, without scores; options hold the axes alone. Raises UserError where it is missing.
    """
    return [Row({axis: int(row[axis]) if row[axis].isdigit() else row[axis] for axis in AXES if axis in row},
                int(row["parameters"]), "none" if row["starts_from"] == NOTHING else row["starts_from"],
                Cost(*(float(row[field]) for field in Cost._fields)), [], row["note"])
            for row in read_csv(CSV, ("starts_from", "parameters", *Cost._fields, "note"))]


def _draw(panel, rows: Sequence[Row], plan: Sequence[Rung], cost: str, on_front: Sequence[bool],
          limit: float | None) -> None:
    """The students of each rung, the front of where each ended, the limit."""
    for place, rung in enumerate(plan):
        there = [row for row in rows if len(row.scores) > place]
        panel.plot([getattr(row.cost, cost) for row in there], [row.scores[place] for row in there], "o", markersize=5,
                   color=f"C{place}", label=f"{rung.epochs} epochs", alpha=0.8)
    best = sorted((getattr(row.cost, cost), row.scores[-1]) for row, is_best in zip(rows, on_front, strict=True)
                  if is_best)
    panel.step([x for x, _ in best], [y for _, y in best], where="post", color="tab:gray", linewidth=1,
               label="Pareto front")
    for row in rows:
        if row.scores:
            name = "-".join(str(row.options[axis]) for axis in _axes(rows))
            panel.annotate(name, (getattr(row.cost, cost), row.scores[-1]), (4, 3), textcoords="offset points",
                           fontsize=7)
    if limit is not None:
        panel.axvline(limit, color="tab:red", linewidth=1, label="benchmark.budget")
    panel.grid(alpha=0.3)


def _axes(rows: Sequence[Row]) -> list[str]:
    return [axis for axis in AXES if axis in rows[0].options]


def _start(row: Row) -> str:
    return NOTHING if row.weights == "none" else row.weights
