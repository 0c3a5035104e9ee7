"""Tables in an archive: CSV, TSV, JSON, JSON lines and lists in text files, as rows; and which image a row is about."""

import codecs
import csv
import io
import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from stages.core.errors import UserError
from stages.data.annotations import split_names
from stages.data.decode import has_image_suffix

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".txt", ".lst")
LIST_COLUMNS = ("path", "label")  # of a text file that has no names for its columns
MOST_BESIDE = 20  # files of one kind in one folder; where there are more, each is about one image: boxes, outlines
ELSEWHERE = re.compile(r"/|[A-Za-z]:[/\\]|[a-z]+://")  # how a path begins that is none in the archive
HEAD = 50  # rows by which a table is known
Row = Mapping[str, str]

csv.field_size_limit(1 << 20)  # characters; a cell may hold a whole list


class Table(NamedTuple):
    name: str  # in the archive
    columns: tuple[str, ...]
    rows: list[Row]


class Images:
    """Finds images of the archive by what tables call them: the path, its end, the file's name, that without suffix;
    or the path on another machine. Upper and lower case, and two ways to write é, are the same where that leaves one.
    """

    def __init__(self, names: Iterable[str]):
        self.names = set(names)
        self._by_file = defaultdict(list)  # the file's name, with and without its suffix → paths
        for name in sorted(self.names):
            path = PurePosixPath(_plain(name))
            for key in {path.name, path.stem}:
                self._by_file[key].append(name)

    def find(self, called: str, table: str) -> list[str]:
        """The images that `called` may mean in this table, at best one."""
        is_elsewhere = bool(ELSEWHERE.match(called.strip()))
        called = re.sub(r"^(\.?/)+", "", called.strip().replace("\\", "/"))
        folder = str(PurePosixPath(table).parent)
        for path in (called if folder == "." else f"{folder}/{called}", called):
            if path in self.names:
                return [path]
        alike = self._by_file.get(_plain(called.rpartition("/")[2]), ())
        found = [name for name in alike if _ends_as(name, called)]
        found = found or [name for name in alike if _ends_as(_plain(name), _plain(called))]
        if not found and is_elsewhere:  # another machine's folders above; a split there must be the same here
            split = split_names.split_of_path(called)[0]
            found = [name for name in alike if split_names.split_of_path(name)[0] == split]
        if len(found) > 1 and folder != ".":
            found = [name for name in found if name.startswith(f"{folder}/")] or found
        split = split_names.split_of(PurePosixPath(table).stem) or split_names.split_of(folder.rpartition("/")[2])
        if len(found) > 1 and split:  # train.csv is about train/0001.jpg, not about test/0001.jpg
            found = [name for name in found if split_names.split_of_path(name)[0] == split] or found
        return found


def is_table(name: str) -> bool:
    """By its name. Kaggle's sample submissions name test images with made-up labels."""
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and "submission" not in path.stem.lower()


def read_tables(names: Iterable[str], read: Callable[[str], bytes],
                is_wanted: Callable[[Table], bool] = lambda head: True) -> Iterator[Table]:
    """Those of the files that are tables with at least two columns.

    is_wanted: asked with the first HEAD rows; where it says no, the rest isn't read, which may be pixels in numbers.
    """
    names = sorted(filter(is_table, names))
    beside = Counter(_kind(name) for name in names)
    for name in names:
        if beside[_kind(name)] <= MOST_BESIDE:
            text = decoded(read(name))
            if _table(name, "\n".join(text.split("\n", HEAD)[:HEAD]), is_wanted) or name.lower().endswith(".json"):
                yield from _table(name, text, is_wanted)


def decoded(content: bytes) -> str:
    """The text of a file: UTF-16 where it begins so, else UTF-8, else what Windows writes in Western languages, so that
    no two letters become the same sign.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "backslashreplace")


def _table(name: str, text: str, is_wanted: Callable[[Table], bool]) -> list[Table]:
    """The table in a list; [] if it is none, or isn't wanted."""
    rows = _rows(name, text)
    columns = tuple(dict.fromkeys(column for row in rows[:HEAD] for column in row))
    head = Table(name, columns, rows[:HEAD])
    return [head._replace(rows=rows)] if len(columns) > 1 and is_wanted(head) else []


def _kind(name: str) -> tuple[str, str]:
    path = PurePosixPath(name)
    return str(path.parent), path.suffix


def filled(pattern: str, row: Row, table: str) -> str:
    """`pattern` with {column} replaced by the row's value. Raises UserError for an unknown column."""
    def value(match: re.Match) -> str:
        return cell(row, match[1], table)

    return re.sub(r"\{([^{}]+)\}", value, pattern)


def cell(row: Row, column: str, table: str) -> str:
    """Raises UserError for an unknown column."""
    if column not in row:
        raise UserError(f"data/raw.zip: {table} has no column {column!r}; its columns are {', '.join(row)}; "
                        "correct data.layout_options")
    return row[column]


def _plain(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _ends_as(name: str, called: str) -> bool:
    return f"/{name}".endswith(f"/{called}") or f"/{PurePosixPath(name).with_suffix('')}".endswith(f"/{called}")


def _rows(name: str, text: str) -> list[Row]:
    """[] where the file is no table."""
    forms = {".csv": _delimited, ".tsv": _delimited, ".txt": _listed, ".lst": _listed, ".json": _json,
             ".jsonl": _json_lines, ".ndjson": _json_lines}
    try:
        return forms[PurePosixPath(name).suffix.lower()](text)
    except (ValueError, csv.Error, RecursionError):
        return []


def _delimited(text: str) -> list[Row]:
    text = re.sub(r"\A(?:#[^\n]*\n)+", "", text)  # who made it, and when
    head = text.split("\n", 1)[0]
    delimiter = max(",\t;|", key=head.count)
    first = next(csv.reader([head], delimiter=delimiter, skipinitialspace=True), [])
    columns = None
    if any(has_image_suffix(cell.strip()) for cell in first):  # an image, and no name of a column
        columns = LIST_COLUMNS if len(first) == 2 else [f"column {number}" for number in range(1, len(first) + 1)]
    rows = csv.DictReader(io.StringIO(text, newline=""), columns, delimiter=delimiter, skipinitialspace=True)
    return [{str(key).strip(): (value or "").strip() for key, value in row.items() if key is not None} for row in rows]


def _listed(text: str) -> list[Row]:
    """Lines of a path and a label: `n01/a.jpg 3`."""
    lines = [re.split(r"[\t,;]\s*|\s+(?=\S+$)", line.strip()) for line in text.splitlines() if line.strip()]
    is_list = lines and all(len(line) == len(LIST_COLUMNS) for line in lines)
    return [dict(zip(LIST_COLUMNS, line, strict=True)) for line in lines] if is_list else []


def _json_lines(text: str) -> list[Row]:
    return _records([json.loads(line) for line in text.splitlines() if line.strip()])


def _json(text: str) -> list[Row]:
    """A list of records; or one in a mapping; or a mapping of files to records or labels, or of columns."""
    content = json.loads(text)
    if isinstance(content, dict):
        if records := [value for value in content.values() if isinstance(value, list)]:
            content = records[0] if len(records) == 1 else []
        elif all(isinstance(value, dict) for value in content.values()) and has_image_suffix(next(iter(content), "")):
            content = [{LIST_COLUMNS[0]: name} | record for name, record in content.items()]
        elif all(isinstance(value, dict) for value in content.values()):
            keys = dict.fromkeys(key for column in content.values() for key in column)
            content = [{name: column.get(key, "") for name, column in content.items()} for key in keys]
        else:
            content = [dict(zip(LIST_COLUMNS, pair, strict=True)) for pair in content.items()]
    return _records(content)


def _records(content: object) -> list[Row]:
    if not isinstance(content, Sequence) or not all(isinstance(record, dict) for record in content):
        return []
    return [{str(key): value.strip() if isinstance(value, str) else "" if value is None else json.dumps(value)
             for key, value in record.items()} for record in content]
