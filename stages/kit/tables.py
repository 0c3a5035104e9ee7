"""Small tables as files that diff well: JSON of stable layout, CSV with Unix line ends, written whole or not at all."""

import csv
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path, mode: str = "w"):
    """An open file that appears under `path` only when the block has ended well. Makes the folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(path.name + ".half")
    try:
        with open(half, mode, **({} if "b" in mode else {"encoding": "utf-8", "newline": ""})) as file:
            yield file
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    with whole(path) as file:
        file.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Rows as mappings with exactly `columns` as keys."""
    with whole(path) as file:
        # Told "\r\n", the writer quotes a name that holds either; told "\n", it would let "\r" part a row.
        writer = csv.DictWriter(_UnixLines(file), columns, lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)


class _UnixLines:
    """A file for a CSV writer, which writes a row at a time."""

    def __init__(self, file):
        self.file = file

    def write(self, row: str) -> None:
        self.file.write(row.removesuffix("\r\n") + "\n")


def read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
