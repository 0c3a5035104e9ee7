"""Experiments beside each other: a ranked table with intervals, what can't be told from the best, the Pareto front.

    python -m tools.sweep                                   the last commit and the experiments that start from it
    python -m tools.sweep --plot sweep.png main v1          those of several commits, with a picture
    python -m tools.sweep --metric val.int8                 ranked by another metric of metrics/*.json

In: `dvc exp show --json`. Out: Markdown on stdout, and the picture.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from stages.core import errors
from tools import differences, figures, history, pareto

SIZE, LATENCY, GAIN, VAL = "int8.size_mb", "int8.latency_ms", "distillation.gain", "val.int8"
TEST, VAL_IMAGES = "data/prepared/test", "data/prepared/val"
SCORED_ON = {"metrics/quality.json": TEST, "metrics/quantisation.json": VAL_IMAGES}


class Row(NamedTuple):
    """A commit or an experiment. params, metrics: flat; metrics of all files together, quality.json's first."""

    name: str
    params: Mapping[str, object]
    metrics: Mapping[str, object]
    images: Mapping[str, tuple[str, str | None]] = {}  # metric → what it was scored on, if on images: folder and md5

    def score(self, metric: str) -> figures.Score | None:
        return figures.score(self.metrics, metric)

    def comparable(self, other: "Row", metric: str) -> bool | None:
        """Whether both were scored on the same images, if on any; None where dvc.lock doesn't say."""
        (_, own), (_, others) = (row.images.get(metric, ("", "")) for row in (self, other))
        return None if None in (own, others) else own == others


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.sweep", description="Rank experiments.")
    parser.add_argument("revisions", nargs="*", metavar="REV", help="commits whose experiments are shown (the last)")
    parser.add_argument("-A", "--all-commits", action="store_true", help="the experiments of every commit")
    parser.add_argument("--metric", help="what to rank by, as in metrics/*.json (int8.<the task's leading score>)")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the score against size and latency")
    asked = parser.parse_args()
    history.check_place()
    if unknown := [revision for revision in asked.revisions if history.commit(revision) is None]:
        raise errors.UserError(f"{unknown[0]!r} is no commit known here")
    chosen = ["--all-commits"] if asked.all_commits else [f"--rev={revision}" for revision in asked.revisions]
    rows, others = gather(differences.dvc("exp", "show", *chosen))
    metric = asked.metric or leading(rows)
    ranked = rank(rows, metric)
    others |= {row.name: f"without {metric}" for row in rows if row not in ranked}
    fronts = {cost: front(ranked, metric, cost) for cost in pareto.LABELS}
    differences.show([table(ranked, metric, fronts), *sentences(ranked, metric), left_out(others)])
    if asked.plot:
        pareto.draw([row.name for row in ranked], [row.score(metric) for row in ranked], metric,
                    {cost: [row.score(cost) for row in ranked] for cost in fronts}, fronts, asked.plot)


def gather(shown: Sequence[Mapping]) -> tuple[list[Row], dict[str, str]]:
    """Rows of what has run, and the state of each experiment that hasn't. shown: as `dvc exp show --json` has it.

    A failed, running or queued experiment holds the metrics of the commit it started from: they are not its own. The
    workspace's may be any run's beside any params.
    """
    rows, others = [], {}
    for commit in shown:
        if commit["rev"] == "workspace":
            continue
        _take(commit["name"] or commit["rev"][:7], commit, "success", rows, others)
        for experiment in commit["experiments"] or ():
            last = experiment["revs"][0]
            state = (experiment["executor"] or {}).get("state") or "success"
            _take(experiment["name"] or last["rev"][:7], last, state.lower(), rows, others)
    return rows, others


def _take(name: str, entry: Mapping, state: str, rows: list[Row], others: dict[str, str]) -> None:
    if state != "success":
        others[name] = state
    elif entry["error"] or not entry["data"]:
        others[name] = f"unreadable ({errors.one_line(Exception((entry['error'] or {}).get('msg', '')))})"
    else:
        data = entry["data"]
        rows.append(Row(name, _merged(data["params"]), _merged(data["metrics"]), _images(data)))


def _merged(files: Mapping[str, Mapping]) -> dict[str, object]:
    """All files' entries in one flat mapping; of entries of one name quality.json's holds."""
    found = {}
    for path in sorted(files, key=lambda path: path.endswith("quality.json")):
        found |= figures.flat(files[path].get("data") or {})
    return found


def _images(data: Mapping) -> dict[str, tuple[str, str | None]]:
    """Row.images of what `dvc exp show --json` has of an experiment."""
    md5s = {folder: data["deps"].get(folder, {}).get("hash") for folder in SCORED_ON.values()}
    return {metric: (folder, md5s[folder]) for path, folder in SCORED_ON.items()
            for metric in figures.flat(data["metrics"].get(path, {}).get("data") or {})}


def leading(rows: Sequence[Row]) -> str:
    """int8.<the leading score>. Raises UserError where there is none, or several."""
    found = {row.metrics["test.primary"] for row in rows if "test.primary" in row.metrics}
    if len(found) != 1:
        raise errors.UserError("no experiment here has a metrics/quality.json; dvc exp run makes one" if not found else
                           f"these are judged by {' and '.join(sorted(found))}; choose with --metric")
    return f"int8.{found.pop()}"


def rank(rows: Sequence[Row], metric: str) -> list[Row]:
    """Those that have the metric, the best first; of equals the smaller file, then by name."""
    scored = [row for row in rows if row.score(metric)]
    if not scored:
        known = sorted({name for row in rows for name in row.metrics if row.score(name)
                        and figures.whole_of(name, row.metrics) == name and name.startswith("int8.")})
        raise errors.UserError(f"no experiment here has the metric {metric}; known are, for example, {', '.join(known)}")
    sign, none = 1 if figures.lower_is_better(metric) else -1, figures.Score(0)
    return sorted(scored, key=lambda row: (sign * row.score(metric).value, (row.score(SIZE) or none).value, row.name))


def front(rows: Sequence[Row], metric: str, cost: str) -> list[bool]:
    """Whether each row is on the front of those that may be compared with the first."""
    pairs = [(row.score(cost) if row.comparable(rows[0], metric) else None, row.score(metric)) for row in rows]
    return pareto.front(pairs, figures.lower_is_better(metric), pareto.EQUAL.get(cost, 0))


def differing(rows: Sequence[Row]) -> list[str]:
    """Parameters that are not the same in all rows, in the order of params.yaml; 4 and 4.0 are the same."""
    names = dict.fromkeys(name for row in rows for name in row.params)
    return [name for name in names if any(row.params.get(name) != rows[0].params.get(name) for row in rows)]


def table(rows: Sequence[Row], metric: str, fronts: Mapping[str, Sequence[bool]]) -> str:
    """Markdown. Columns that no row has anything for are left out."""
    tested = sorted({f"int8.{row.metrics['test.primary']}" for row in rows if "test.primary" in row.metrics})
    shown = {metric: metric, **{name: name for name in tested}, VAL: "int8 on val", GAIN: "gain of distillation",
             SIZE: "size, MB", LATENCY: "latency, ms"}
    scores = {title: [_cell(row, name) for row in rows] for name, title in shown.items()}
    parameters = {f"`{name}`": [_short(row.params.get(name)) for row in rows] for name in differing(rows)}
    marks = [" and ".join(shown[cost].partition(",")[0] for cost in fronts if fronts[cost][number])
             for number in range(len(rows))]
    columns = {"": [str(number) for number in range(1, len(rows) + 1)], "experiment": [row.name for row in rows],
               **parameters, **scores, "on the front of": marks}
    kept = {title: cells for title, cells in columns.items() if any(cells)}
    return differences.table(list(kept), list(zip(*kept.values(), strict=True)))


def _cell(row: Row, name: str) -> str:
    score = row.score(name)
    return "" if score is None else score.rounded(2) if name == GAIN else str(score)


def _short(value: object) -> str:
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def sentences(rows: Sequence[Row], metric: str) -> list[str]:
    """What the numbers allow to be said of the order."""
    best, *rest = rows
    if not rest:
        return []
    groups = {}
    for row in rest:
        groups.setdefault(_standing(best, row, metric), []).append(row.name)
    said = [how.format(best=best.name, names=", ".join(groups[how])) for how in STANDINGS.values() if how in groups]
    if best.images.get(metric, ("",))[0] == TEST:
        said.append(f"The first of {len(rows)} on the test images owes part of its place to chance: choose on val "
                    f"(--metric {VAL}), and read off that one's test score.")
    if any(row.score(LATENCY) for row in rows):
        said.append("Each experiment's latency was measured at a time of its own: within "
                    f"{100 * pareto.EQUAL[LATENCY]:g} % they count as equal.")
    return [" ".join(said)]


# What an order rests on, if on anything; by Row.comparable where that isn't True, else by figures.Evidence.
STANDINGS = {
    False: "Scored on other images than {best}, so not comparable with it: {names}.",
    None: "Whether these were scored on the same images as {best}, dvc.lock doesn't say: {names}.",
    (False, ""): "Without ± or interval on both sides, nothing tells these from {best}: {names}.",
    (False, "interval"): "No difference from {best} is shown by the 95 % intervals, which overlap: {names}.",
    (False, "seeds"): "No difference from {best} is shown, being within the ± of the seeds: {names}.",
    (True, "interval"): "Behind {best}, the 95 % intervals apart: {names}.",
    (True, "seeds"): "Behind {best} by more than both ± together, which speak of seeds alone and not of the choice of "
                     "images, so this is a hint and no proof: {names}.",
}


def _standing(best: Row, row: Row, metric: str) -> str:
    same = row.comparable(best, metric)
    return STANDINGS[same if same is not True else tuple(figures.evidence(best.score(metric), row.score(metric)))]


def left_out(others: Mapping[str, str]) -> str:
    said = ", ".join(f"{name} ({state})" for name, state in sorted(others.items()))
    return said and f"Not in the table: {said}."


if __name__ == "__main__":
    errors.run(main)
