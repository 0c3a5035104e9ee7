"""Reading and writing the stages' files: JSON and CSV that diff well, and NumPy arrays. A file appears only when it is
complete.

Arrays are written as plain files, never through a memory map: a full disk is then an error that can be reported, where
a write to a mapped page without room on the disk would kill the process.
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar

import numpy as np

from stages.core.errors import UserError

METRICS = Path("metrics")
Content = TypeVar("Content")


@contextmanager
def atomic_write(path: Path, mode: str = "w"):
    """An open file that gets the name `path` only when the block ends without an error. Makes the folder."""
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
    with atomic_write(path) as file:
        file.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Rows are mappings with exactly `columns` as keys."""
    with atomic_write(path) as file:
        # The terminator "\r\n" makes the writer quote names that hold "\r" or "\n"; a row ends in "\n" all the same.
        unix_lines = SimpleNamespace(write=lambda row: file.write(row.removesuffix("\r\n") + "\n"))
        writer = csv.DictWriter(unix_lines, columns, lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_array(path: Path, shape: tuple[int, ...], dtype: str, chunks: Iterable[np.ndarray]) -> None:
    """A .npy file of this shape from chunks that follow one another in C order."""
    with atomic_write(path, "wb") as file:
        write_array_header(file, shape, dtype)
        for chunk in chunks:
            file.write(np.ascontiguousarray(chunk, dtype))


def write_array_header(file, shape: tuple[int, ...], dtype: str) -> None:
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    np.lib.format.write_array_header_2_0(file, {"descr": descr, "fortran_order": False, "shape": shape})


def array_header_size(shape: tuple[int, ...], dtype: str) -> int:
    """The number of bytes before the first value."""
    header = io.BytesIO()
    write_array_header(header, shape, dtype)
    return header.tell()


def read_metrics(name: str) -> dict:
    """metrics/<name>.json. Raises UserError where it is missing or broken."""
    return read_output(read_json, METRICS / f"{name}.json")


def read_output(read: Callable[[Path], Content], path: Path) -> Content:
    """`read(path)` of a file that a stage writes. Raises UserError where it is missing or broken."""
    try:
        return read(path)
    except (OSError, ValueError):
        raise UserError(f"{path} is missing or broken; run dvc repro to make it") from None


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
