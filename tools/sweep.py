"""Experiments side by side: a ranked table with intervals, which differ from the best, and the Pareto front.

    python -m tools.sweep                                   the last commit and the experiments that start from it
    python -m tools.sweep --plot sweep.png main v1          those of several commits, with a plot
    python -m tools.sweep --metric val.int8                 ranked by another metric of metrics/*.json

In: `dvc exp show --json`. Out: Markdown on stdout, and the plot.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from stages.core import errors
from stages.deployment import explore
from stages.evaluation import pareto
from tools.comparison import differences, git, metric_values, pareto_plot
from tools.comparison.metric_values import MetricValue

SIZE, LATENCY, GAIN, VAL = "int8.size_mb", "int8.latency_ms", "distillation.gain", "val.int8"
TEST_IMAGES, VAL_IMAGES = "data/prepared/test", "data/prepared/val"
SCORED_ON = {"metrics/quality.json": TEST_IMAGES, "metrics/quantisation.json": VAL_IMAGES}


class Row(NamedTuple):
    """A commit or an experiment."""

    name: str
    params: Mapping[str, object]  # flat
    metrics: Mapping[str, object]  # flat, of all files
    images: Mapping[str, tuple[str, str | None]] = {}  # metric → folder and md5 of the images it was scored on, if any

    def value(self, metric: str) -> MetricValue | None:
        return metric_values.find(self.metrics, metric)

    def same_images(self, other: "Row", metric: str) -> bool | None:
        """Whether both were scored on the same images, if on any; None if dvc.lock doesn't tell."""
        (_, own), (_, others) = (row.images.get(metric, ("", "")) for row in (self, other))
        return None if None in (own, others) else own == others


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.sweep", description="Rank experiments.")
    parser.add_argument("revisions", nargs="*", metavar="REV", help="commits whose experiments are shown (the last)")
    parser.add_argument("-A", "--all-commits", action="store_true", help="the experiments of every commit")
    parser.add_argument("--metric", help="what to rank by, as in metrics/*.json (int8.<the task's primary score>)")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="plot the score against size and latency")
    options = parser.parse_args()
    git.check_project_folder()
    for revision in options.revisions:
        if git.commit_hash(revision) is None:
            raise errors.UserError(f"{revision!r} is no commit in this clone")
    commits = ["--all-commits"] if options.all_commits else [f"--rev={revision}" for revision in options.revisions]
    rows, left_out = gather(differences.dvc("exp", "show", *commits))
    metric = options.metric or primary_metric(rows)
    ranked = rank(rows, metric)
    left_out |= {row.name: f"without {metric}" for row in rows if row not in ranked}
    fronts = {cost: front(ranked, metric, cost) for cost in pareto_plot.LABELS}
    print(table(ranked, metric, fronts))
    if conclusions := sentences(ranked, metric):
        print(f"\n{conclusions}")
    if left_out:
        print(f"\nNot in the table: {', '.join(f'{name} ({state})' for name, state in sorted(left_out.items()))}.")
    if options.plot:
        pareto_plot.draw([row.name for row in ranked], [row.value(metric) for row in ranked], metric,
                         {cost: [row.value(cost) for row in ranked] for cost in fronts}, fronts, options.plot)


def gather(commits: Sequence[Mapping]) -> tuple[list[Row], dict[str, str]]:
    """Rows of what has run, and the state of each experiment that hasn't. commits: as `dvc exp show --json` has them.

    A failed, running or queued experiment carries the metrics of the commit it started from, and the workspace may hold
    any run's metrics beside any params: these are no rows.
    """
    rows, left_out = [], {}
    for commit in commits:
        if commit["rev"] == "workspace":
            continue
        runs = [(commit, commit["name"], None)]
        runs += [(experiment["revs"][0], experiment["name"], experiment["executor"])
                 for experiment in commit["experiments"] or ()]
        for entry, given_name, executor in runs:
            name, data = given_name or entry["rev"][:7], entry["data"]
            state = ((executor or {}).get("state") or "success").lower()
            if state != "success":
                left_out[name] = state
            elif entry["error"] or not data:
                left_out[name] = f"unreadable ({errors.one_line(Exception((entry['error'] or {}).get('msg', '')))})"
            else:
                rows.append(_row(name, data))
    return rows, left_out


def _row(name: str, data: Mapping) -> Row:
    params, metrics = ({path: metric_values.flat(file.get("data") or {}) for path, file in data[kind].items()}
                       for kind in ("params", "metrics"))
    images = {metric: (folder, data["deps"].get(folder, {}).get("hash"))
              for path, folder in SCORED_ON.items() for metric in metrics.get(path, {})}
    by_priority = sorted(metrics, key=lambda path: path.endswith("quality.json"))  # its metrics win over namesakes
    return Row(name, {key: value for file in params.values() for key, value in file.items()},
               {key: value for path in by_priority for key, value in metrics[path].items()}, images)


def primary_metric(rows: Sequence[Row]) -> str:
    """int8.<the primary score>. Raises UserError where there is none, or several."""
    names = sorted({row.metrics["test.primary"] for row in rows if "test.primary" in row.metrics})
    if not names:
        raise errors.UserError("no experiment here has a metrics/quality.json; dvc exp run makes one")
    if len(names) > 1:
        raise errors.UserError(f"these are judged by {' and '.join(names)}; choose with --metric")
    return f"int8.{names[0]}"


def rank(rows: Sequence[Row], metric: str) -> list[Row]:
    """Those that have the metric, the best first; equal ones by the size of the file, then by name."""
    scored = [row for row in rows if row.value(metric)]
    if not scored:
        examples = sorted({name for row in rows for name in row.metrics if name.startswith("int8.") and row.value(name)
                           and metric_values.base_name(name, row.metrics) == name})
        raise errors.UserError(f"no experiment here has the metric {metric}; there are, for example, "
                               f"{', '.join(examples)}")
    sign = 1 if metric_values.lower_is_better(metric) else -1

    def place(row: Row) -> tuple:
        size = row.value(SIZE)
        return sign * row.value(metric).value, size.value if size else 0, row.name

    return sorted(scored, key=place)


def front(rows: Sequence[Row], metric: str, cost: str) -> list[bool]:
    """Whether each row is on the Pareto front of those that may be compared with the first."""
    points = [(row.value(cost) if row.same_images(rows[0], metric) else None, row.value(metric)) for row in rows]
    return pareto.front([tuple(value and value.value for value in point) for point in points],
                        metric_values.lower_is_better(metric), explore.EQUAL if cost == LATENCY else 0)


def differing(rows: Sequence[Row]) -> list[str]:
    """Parameters that are not the same in all rows, in the order of params.yaml; 4 and 4.0 are the same."""
    names = dict.fromkeys(name for row in rows for name in row.params)
    return [name for name in names if any(row.params.get(name) != rows[0].params.get(name) for row in rows)]


def table(rows: Sequence[Row], metric: str, fronts: Mapping[str, Sequence[bool]]) -> str:
    """Markdown, without columns that are empty in all rows."""
    primary = sorted({f"int8.{row.metrics['test.primary']}" for row in rows if "test.primary" in row.metrics})
    titles = {metric: metric, **{name: name for name in primary}, VAL: "int8 on val", GAIN: "gain of distillation",
              SIZE: "size, MB", LATENCY: "latency, ms"}
    on_fronts = [" and ".join(titles[cost].partition(",")[0] for cost in fronts if fronts[cost][number])
                 for number in range(len(rows))]
    columns = {"": [str(number) for number in range(1, len(rows) + 1)], "experiment": [row.name for row in rows],
               **{f"`{name}`": [_short(row.params.get(name)) for row in rows] for name in differing(rows)},
               **{title: [_cell(row, name) for row in rows] for name, title in titles.items()},
               "on the front of": on_fronts}
    filled = {title: cells for title, cells in columns.items() if any(cells)}
    return differences.table(list(filled), list(zip(*filled.values(), strict=True)))


def _cell(row: Row, metric: str) -> str:
    value = row.value(metric)
    return "" if value is None else value.rounded(2) if metric == GAIN else str(value)


def _short(value: object) -> str:
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


# How a row stands to the best: by Row.same_images where that isn't True, else by metric_values.Evidence.
STANDINGS = {
    False: "Scored on other images than {best}, so not comparable with it: {names}.",
    None: "Whether these were scored on the same images as {best}, dvc.lock doesn't say: {names}.",
    (False, ""): "Without ± or interval on both sides, the difference from {best} may be chance: {names}.",
    (False, "interval"): "No difference from {best} is shown by the 95 % intervals, which overlap: {names}.",
    (False, "seeds"): "No difference from {best} is shown, being within the ± of the seeds: {names}.",
    (True, "interval"): "Behind {best}, the 95 % intervals apart: {names}.",
    (True, "seeds"): "Behind {best} by more than both ± together, which cover the seeds alone and not the choice of "
                     "images, so this is a hint and no proof: {names}.",
}


def sentences(rows: Sequence[Row], metric: str) -> str:
    """What the numbers say about the order; "" for a single row."""
    best, *rest = rows
    if not rest:
        return ""
    groups = {}
    for row in rest:
        comparable = row.same_images(best, metric)
        standing = tuple(metric_values.evidence(best.value(metric), row.value(metric))) if comparable else comparable
        groups.setdefault(standing, []).append(row.name)
    texts = [text.format(best=best.name, names=", ".join(groups[standing])) for standing, text in STANDINGS.items()
             if standing in groups]
    if best.images.get(metric, ("",))[0] == TEST_IMAGES:
        texts.append(f"The first of {len(rows)} on the test images owes part of its place to chance: choose on val "
                     f"(--metric {VAL}), and report that one's test score.")
    if any(row.value(LATENCY) for row in rows):
        texts.append("Each experiment's latency was measured at a time of its own: differences within "
                     f"{100 * explore.EQUAL:g} % don't count.")
    return " ".join(texts)


if __name__ == "__main__":
    errors.run(main)
