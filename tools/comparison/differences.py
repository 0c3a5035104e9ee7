"""Tables, in Markdown, of what differs between a commit and the working tree: parameters, metrics, pictures."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from stages.core.errors import UserError
from tools.comparison import git
from tools.comparison.metric_values import MetricValue, base_name, find, flat

FILE_ORDER = ("quality", "size", "quantisation", "verify", "data")  # files of metrics/; others come after these
MODEL_ORDER = ("int8", "student", "baseline", "teacher", "teacher_int8", "distillation")
SPEED = "metrics/speed.json"
MAX_ROWS = 60  # of a table: a comment on a pull request has 65,536 characters at most

Pair = tuple[object, object]  # before and now; None: not there


def dvc(*arguments: str) -> object:
    """The JSON that a dvc command prints. Raises UserError with DVC's message."""
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments, "--json"], capture_output=True, text=True,
                          encoding="utf-8")
    if done.returncode:
        message = (done.stderr.strip() or "failed").splitlines()[0].removeprefix("ERROR: ")
        raise UserError(f"dvc {' '.join(arguments[:2])}: {message}")
    return json.loads(done.stdout or "{}")


def metric_pairs(since: str) -> dict[str, dict[str, Pair]]:
    """All metrics of all files, changed or not: {"metrics/size.json": {"int8.size_mb": (0.04, 0.0395)}}."""
    pairs = {path: {name: (pair.get("old"), pair.get("new")) for name, pair in metrics.items()}
             for path, metrics in dvc("metrics", "diff", "--all", since).items()}
    for path in sorted(Path("metrics/timing").glob("*.json")):  # DVC doesn't take these for metrics
        before, now = (_parsed(text) for text in (git.read(since, path.as_posix()), path.read_text("utf-8")))
        pairs[path.as_posix()] = {name: (before.get(name), now.get(name)) for name in now | before}
    return pairs


def _parsed(text: str | None) -> dict[str, object]:
    try:
        return flat(json.loads(text or "{}"))
    except ValueError:
        return {}


def one_side(pairs: Mapping[str, Pair], index: int) -> dict[str, object]:
    """index: 0 for before, 1 for now."""
    return {name: pair[index] for name, pair in pairs.items() if pair[index] is not None}


def params_table(since: str, base: str) -> str:
    rows = [(code(name) if path == "params.yaml" else f"{code(path)}: {code(name)}", _cell(pair.get("old")),
             _cell(pair.get("new")))
            for path, params in dvc("params", "diff", since).items() for name, pair in sorted(params.items())]
    return table(("parameter", f"`{base}`", "now"), rows) if rows else "No parameter differs."


def metrics_tables(pairs: Mapping[str, Mapping[str, Pair]], base: str) -> tuple[str, str]:
    """Two tables of what differs: metrics that a run repeats exactly, and times and memory, which no run repeats."""
    def place(path: str) -> tuple:
        name = Path(path).stem
        return FILE_ORDER.index(name) if name in FILE_ORDER else len(FILE_ORDER), path

    timed = {path for path in pairs if path == SPEED or path.startswith("metrics/timing/")}
    tables = []
    for paths in (pairs.keys() - timed, timed):
        rows = [row for path in sorted(paths, key=place) for row in _rows(path, pairs[path])]
        tables.append(table(("file", "metric", f"`{base}`", "now", "change"), rows) if rows else "")
    return tables[0], tables[1]


def _rows(path: str, pairs: Mapping[str, Pair]) -> Iterator[tuple[str, ...]]:
    """A row for each metric that changed, with its std and interval in the same cell."""
    before, now = one_side(pairs, 0), one_side(pairs, 1)
    primary = now.get("test.primary")

    def place(name: str) -> tuple:
        model, _, metric = name.partition(".")
        return MODEL_ORDER.index(model) if model in MODEL_ORDER else len(MODEL_ORDER), metric != primary, name

    for name in sorted({base_name(name, pairs) for name, pair in pairs.items() if pair[0] != pair[1]}, key=place):
        old, new = find(before, name), find(now, name)
        if old is None or new is None:
            cells = _cell(old or before.get(name)), _cell(new or now.get(name)), ""
        else:
            cells = _cells(old, new)
        yield Path(path).stem, code(name), *cells


def _cells(old: MetricValue, new: MetricValue) -> tuple[str, str, str]:
    """Both values and their difference, to as many decimals as it takes to tell them apart, at most six."""
    if old.is_count() and new.is_count():
        return str(old.value), str(new.value), f"{new.value - old.value:+d}"
    for places in range(min(old.decimals(), new.decimals()), 7):
        if old.rounded(places) != new.rounded(places):
            break
    change = f"{new.value - old.value:+.{places}f}"
    return old.rounded(places), new.rounded(places), change if float(change) else "0"


def _cell(value: object) -> str:
    if isinstance(value, str):
        return code(value or '""')
    return "–" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def code(text: str) -> str:
    """Any text as code, on one line: names of classes and files may hold backticks and line breaks."""
    text = " ".join(text.split())
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    pad = " " if len(fence) > 1 else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown. A column of numbers is aligned right; rows beyond MAX_ROWS are counted only."""
    columns = [[cell for cell in column if cell not in ("", "–")] for column in zip(*rows, strict=True)]
    numeric = [bool(cells) and all(cell.lstrip("+-")[:1].isdigit() for cell in cells) for cells in columns]
    lines = [head, ["---:" if right else "---" for right in numeric], *rows[:MAX_ROWS]]
    text = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return text + (f"\n\n… and {len(rows) - MAX_ROWS} rows more." if len(rows) > MAX_ROWS else "")


def pictures(since: str, prefix: str | None) -> str:
    """Links to the plots and files of the report that changed. With `prefix`, the URL of a host's raw files, pictures
    are shown before and now, from `prefix`/<commit>/<path>.
    """
    files = git.changed_files(since, "plots", "report")
    if not files:
        return "No plot and no page of the report differs."
    if prefix is None:
        return "\n".join(f"- [{path}]({path}){'' if Path(path).is_file() else ' (gone)'}" for path in files)
    prefix, now = prefix.rstrip("/"), git.commit_hash("HEAD")
    lines = [f"- [{path}]({prefix}/{now}/{path})" for path in files
             if not path.endswith(".png") and Path(path).is_file()]
    for path in (path for path in files if path.endswith(".png")):
        cells = [f"![{path}]({prefix}/{commit}/{path})" if git.read(commit, path) else "–" for commit in (since, now)]
        lines += ["", f"`{path}`", "", table(("before", "now"), [cells])]
    return "\n".join(lines)
