"""Files as the stages write and read them: JSON and CSV that diff well, NumPy arrays row by row, each written whole or
not at all.

Arrays are written as plain files, so that memory stays small and a full disk is an error, not a crash: the system kills
a process that writes to a memory-mapped page for which the disk has no room.
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np

from stages.core.errors import UserError

METRICS = Path("metrics")
Content = TypeVar("Content")


@contextmanager
def atomic_write(path: Path, mode: str = "w"):
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
    with atomic_write(path) as file:
        file.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Rows as mappings with exactly `columns` as keys."""
    with atomic_write(path) as file:
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


def write_array(path: Path, shape: tuple[int, ...], dtype: str, chunks: Iterable[np.ndarray]) -> None:
    """A .npy file of this shape from chunks that follow one another in C order; it appears only when whole."""
    with atomic_write(path, "wb") as file:
        write_array_header(file, shape, dtype)
        for chunk in chunks:
            file.write(np.ascontiguousarray(chunk, dtype))


def write_array_header(file, shape: tuple[int, ...], dtype: str) -> None:
    about = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(file, about)


def array_header_size(shape: tuple[int, ...], dtype: str) -> int:
    """Bytes before the first number."""
    memory = io.BytesIO()
    write_array_header(memory, shape, dtype)
    return memory.tell()


def read_metrics(name: str) -> dict:
    """metrics/<name>.json. Raises UserError where it is missing or broken."""
    return read_output(read_json, METRICS / f"{name}.json")


def read_output(how: Callable[[Path], Content], path: Path) -> Content:
    """`how(path)`. Raises UserError where the file, which a stage has made, is missing or broken."""
    try:
        return how(path)
    except (OSError, ValueError):
        raise UserError(f"{path} is missing or broken; run dvc repro to make it") from None


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
