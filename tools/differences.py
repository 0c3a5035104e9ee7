"""Parameters, metrics and pictures of a commit beside those of the working tree, as Markdown. Asks DVC and git."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from stages.core.errors import UserError
from tools import figures, history

# Files of metrics/ in the order in which they are read; others come after them.
ORDER = ("quality", "size", "quantisation", "verify", "data")
MODELS = ("int8", "student", "baseline", "teacher", "distillation")
TIMED = "metrics/speed.json"  # and metrics/timing/, which DVC doesn't call metrics: no two runs agree on them
MOST = 60  # rows of a table; a comment on a pull request has 65,536 characters

Pair = tuple[object, object]  # before and now; None: not there


def dvc(*arguments: str) -> object:
    """The JSON that a dvc command prints. Raises UserError with what DVC says."""
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments, "--json"], capture_output=True, text=True,
                          encoding="utf-8")
    if done.returncode:
        said = (done.stderr.strip() or "failed").splitlines()[0].removeprefix("ERROR: ")
        raise UserError(f"dvc {' '.join(arguments[:2])}: {said}")
    return json.loads(done.stdout or "{}")


def metrics(since: str) -> dict[str, dict[str, Pair]]:
    """Each metric, changed or not, of each file: {"metrics/size.json": {"int8.size_mb": (0.04, 0.0395)}}."""
    found = {path: {name: (pair.get("old"), pair.get("new")) for name, pair in table.items()}
             for path, table in dvc("metrics", "diff", "--all", since).items()}
    for path in sorted({*Path("metrics/timing").glob("*.json")}):
        before, now = (_table(text) for text in (history.text(since, path.as_posix()), path.read_text("utf-8")))
        found[path.as_posix()] = {name: (before.get(name), now.get(name)) for name in now | before}
    return found


def _table(text: str | None) -> dict[str, object]:
    try:
        return figures.flat(json.loads(text or "{}"))
    except ValueError:
        return {}


def side(table: Mapping[str, Pair], number: int) -> dict[str, object]:
    """One side of pairs: 0 before, 1 now."""
    return {name: pair[number] for name, pair in table.items() if pair[number] is not None}


def params_table(since: str, base: str) -> str:
    found = dvc("params", "diff", since)
    rows = [(f"`{name}`" if path == "params.yaml" else f"`{path}`: `{name}`", _word(pair.get("old")),
             _word(pair.get("new"))) for path, table in found.items() for name, pair in sorted(table.items())]
    return table(("parameter", f"`{base}`", "now"), rows) if rows else "No parameter differs."


def metrics_tables(pairs: Mapping[str, Mapping[str, Pair]], base: str) -> tuple[str, str]:
    """Two tables of what differs: the metrics that a run repeats, and the ones that depend on the machine."""
    timed = {path for path in pairs if path == TIMED or path.startswith("metrics/timing/")}
    drawn = []
    for paths in (pairs.keys() - timed, timed):
        rows = [row for path in sorted(paths, key=_place) for row in _rows(path, pairs[path])]
        drawn.append(table(("file", "metric", f"`{base}`", "now", "change"), rows) if rows else "")
    return drawn[0], drawn[1]


def _place(path: str) -> tuple[int, str]:
    name = Path(path).stem
    return (ORDER.index(name) if name in ORDER else len(ORDER), path)


def _rows(path: str, pairs: Mapping[str, Pair]) -> Iterator[tuple[str, ...]]:
    """A row for each metric that changed, its std and interval in one cell with it."""
    before, now = side(pairs, 0), side(pairs, 1)
    names = {figures.whole_of(name, pairs): None for name, pair in pairs.items() if pair[0] != pair[1]}
    order = {name: number for number, name in enumerate(MODELS)}
    leading = now.get("test.primary")

    def place(name: str) -> tuple:
        model, _, metric = name.partition(".")
        return order.get(model, len(order)), metric != leading, name

    for name in sorted(names, key=place):
        old, new = (figures.score(values, name) for values in (before, now))
        if old is None or new is None:
            cells = (*(_word(score or values.get(name)) for score, values in ((old, before), (new, now))), "")
        else:
            cells = _cells(old, new)
        yield Path(path).stem, f"`{name}`", *cells


def _cells(old: figures.Score, new: figures.Score) -> tuple[str, str, str]:
    """Both scores and the difference of their values, to as many decimals as let them be told apart, up to six."""
    if old.is_count() and new.is_count():
        return str(old.value), str(new.value), f"{new.value - old.value:+d}"
    for places in range(min(old.decimals(), new.decimals()), 7):
        written = old.rounded(places), new.rounded(places)
        if written[0] != written[1]:
            break
    change = f"{new.value - old.value:+.{places}f}"
    return *written, change if float(change) else "0"


def _word(value: object) -> str:
    if isinstance(value, str):
        return f"`{value}`" if value else '`""`'
    return "–" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown; a column of numbers is flush right. Beyond MOST, rows are only counted."""
    filled = [[row[column] for row in rows if row[column] not in ("", "–")] for column in range(len(head))]
    numbers = [bool(cells) and all(cell.lstrip("+-")[:1].isdigit() for cell in cells) for cells in filled]
    lines = [head, ["---:" if flush else "---" for flush in numbers], *rows[:MOST]]
    drawn = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return drawn + (f"\n\n… and {len(rows) - MOST} rows more." if len(rows) > MOST else "")


def pictures(since: str, prefix: str | None) -> str:
    """The plots and the report's files that changed, as links; with `prefix`, a host's raw files, as pictures too.

    A picture is shown before and now, side by side, from `prefix`/<commit>/<path>; what is not committed isn't there.
    """
    files = history.changed(since, "plots", "report")
    if not files:
        return "No plot and no page of the report differs."
    if prefix is None:
        return "\n".join(f"- [{path}]({path}){'' if Path(path).is_file() else ' (gone)'}" for path in files)
    prefix, now = prefix.rstrip("/"), history.commit("HEAD")
    drawn = [path for path in files if path.endswith(".png")]
    lines = [f"- [{path}]({prefix}/{now}/{path})" for path in files if path not in drawn and Path(path).is_file()]
    for path in drawn:
        places = [(revision, history.holds(revision, path)) for revision in (since, now)]
        shown = [f"![{path}]({prefix}/{revision}/{path})" if there else "–" for revision, there in places]
        lines += ["", f"`{path}`", "", table(("before", "now"), [shown])]
    return "\n".join(lines)


def show(paragraphs: Iterable[str]) -> None:
    """Print those that aren't empty. That a reader has seen enough (`| head`) is no fault."""
    try:
        print("\n\n".join(filter(None, paragraphs)), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would try once more as it ends
