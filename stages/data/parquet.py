"""Parquet files with the images' bytes in a column, as Hugging Face stores data sets: read as files in a folder, with
the other columns as a table beside them, metadata.jsonl. Needs pyarrow, which requirements.txt leaves out.
"""

import io
import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import BinaryIO, NamedTuple

from stages.core.errors import UserError, one_line

MAGIC = b"PAR1"
TABLE = "metadata.jsonl"
USUAL = ("image", "img", "picture", "photo", "jpg", "png")  # names of the images' column, where there are several
SUFFIXES = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png"}  # by first bytes, where the file's name isn't stored


class Column(NamedTuple):
    name: str
    has_names: bool  # a struct of `bytes` and `path`, not bytes alone


def is_parquet(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(4) == MAGIC


def files(path: Path, shown: str) -> Iterator[tuple[str, int, Callable[[], BinaryIO]]]:
    """Name, size in bytes and content of each image, in the order of the rows, and of the table of the other columns.

    shown: the file's name in messages. Raises UserError for a broken file, or without pyarrow.
    """
    parquet = _library(shown)
    try:
        with parquet.ParquetFile(path) as file:
            yield from _files(path, file, _image_column(file.schema_arrow))
    except OSError as error:  # pyarrow's own errors among them
        raise UserError(f"{shown} is broken or cut off ({one_line(error)}); copy or download it again") from None
    except ValueError as error:
        raise UserError(f"{shown} can't be read as Parquet ({one_line(error)}); copy or download it again") from None


def _files(path: Path, file, column: Column | None) -> Iterator[tuple[str, int, Callable[[], BinaryIO]]]:
    others = [field.name for field in file.schema_arrow if _is_plain(field.type)]
    class_names, rows = _class_names(file.schema_arrow), []
    for group in range(file.num_row_groups):
        records = file.read_row_group(group, columns=others).to_pylist()
        for at, (name, content) in enumerate(_images(path, column, group) if column else ()):
            if content is not None:
                stem = f"{len(rows) + at:07d}"
                called = f"{stem}_{PurePosixPath(name).name}" if name else stem + _suffix(content)
                records[at] = {"file_name": called} | records[at]
                yield called, len(content), partial(_open, path, column, group, at)
        rows += [_record(record, class_names) for record in records]
    table = "".join(json.dumps(row) + "\n" for row in rows).encode()
    yield TABLE, len(table), partial(io.BytesIO, table)


def _library(shown: str) -> ModuleType:
    try:
        from pyarrow import parquet
    except ImportError:
        raise UserError(f"{shown} is a Parquet file, which needs pyarrow; run: pip install pyarrow (in .venv)"
                        ) from None
    return parquet


def _image_column(schema) -> Column | None:
    """The column of images: bytes, or a struct of `bytes` and `path`; by its name where there are several."""
    found = {}
    for field in schema:
        kind = str(field.type)
        if re.match(r"(struct<bytes: )?(large_)?binary\b", kind):
            found[field.name] = Column(field.name, kind.startswith("struct"))
    return next((found[name] for name in USUAL if name in found), next(iter(found.values()), None))


@lru_cache(maxsize=1)
def _images(path: Path, column: Column, group: int) -> list[tuple[str, bytes | None]]:
    """The names ("" if not stored) and contents of a row group; cached, since they are asked for in this order."""
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        values = file.read_row_group(group, columns=[column.name])[column.name].to_pylist()
    if column.has_names:
        return [((value or {}).get("path") or "", (value or {}).get("bytes")) for value in values]
    return [("", value) for value in values]


def _open(path: Path, column: Column, group: int, at: int) -> BinaryIO:
    return io.BytesIO(_images(path, column, group)[at][1])


def _is_plain(kind) -> bool:
    return not any(word in str(kind) for word in ("binary", "struct", "list", "map"))


def _class_names(schema) -> dict[str, list[str]]:
    """Column → names of the classes that it numbers, which Hugging Face keeps in the file's metadata."""
    stored = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = stored.get("info", {}).get("features", {})
    return {name: feature["names"] for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("names")}


def _record(row: dict, class_names: dict[str, list[str]]) -> dict[str, object]:
    """A row with classes by name; Hugging Face writes -1 where there is no label."""
    def value(column: str, cell: object) -> object:
        if column in class_names and isinstance(cell, int):
            return class_names[column][cell] if 0 <= cell < len(class_names[column]) else ""
        return cell if isinstance(cell, str | int | float) or cell is None else str(cell)

    return {column: value(column, cell) for column, cell in row.items()}


def _suffix(content: bytes) -> str:
    return next((suffix for magic, suffix in SUFFIXES.items() if content.startswith(magic)), "")
