"""Reading and writing the stages' files: JSON and CSV that diff well, and NumPy arrays. A file appears only when it is
complete, and one that was cut, emptied or garbled since is refused in one line: every reader here raises UserError.

Arrays are written as plain files, never through a memory map: a full disk is then an error that can be reported, where
a write to a mapped page without room on the disk would kill the process.
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar

import numpy as np

from stages.core import ranks
from stages.core.cells import as_cell, from_cell
from stages.core.errors import UserError

METRICS = Path("metrics")
CHUNK = 1 << 20  # bytes read at a time
Content = TypeVar("Content")


@contextmanager
def atomic_write(path: Path, mode: str = "w"):
    """An open file that gets the name `path` only when the block ends without an error. Makes the folder.

    Of several processes that train together only the main one writes: what others write goes nowhere.
    """
    path = Path(path)
    if not ranks.is_main():
        with open(os.devnull, mode) as nowhere:
            yield nowhere
        return
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


def read_json(path: Path, keys: Collection[str] = ()) -> dict:
    """keys: what it has to hold at least."""
    def read(path: Path) -> dict:
        value = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_no_number)
        if not isinstance(value, dict) or not value.keys() >= set(keys):
            raise ValueError("other content")
        return value

    return read_output(read, path)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Rows are mappings with exactly `columns` as keys. Texts that a spreadsheet would compute are marked as texts."""
    with atomic_write(path) as file:
        # The terminator "\r\n" makes the writer quote names that hold "\r" or "\n"; a row ends in "\n" all the same.
        unix_lines = SimpleNamespace(write=lambda row: file.write(row.removesuffix("\r\n") + "\n"))
        writer = csv.DictWriter(unix_lines, columns, lineterminator="\r\n")
        writer.writeheader()
        writer.writerows({name: as_cell(value) for name, value in row.items()} for row in rows)


def read_csv(path: Path, columns: Collection[str] = ()) -> list[dict[str, str]]:
    """columns: what it has to have at least."""
    def read(path: Path) -> list[dict[str, str]]:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.reader(_whole_lines(file), strict=True)
            names, rows = next(reader), []
            if not set(names) >= set(columns):
                raise ValueError("columns are missing")
            above = [""] * len(names)
            for cells in filter(None, reader):
                # Rows are sorted, so many cells are as those above: one text in memory for both.
                above = [old if old == cell else cell for old, cell in zip(above, cells, strict=True)]
                rows.append({name: from_cell(cell) for name, cell in zip(names, above, strict=True)})
        return rows

    return read_output(read, path)


def _whole_lines(file: Iterable[str]) -> Iterator[str]:
    """The lines of a CSV file. Raises ValueError for zeros or half a row, as a power loss leaves them."""
    line = ""
    for line in file:
        if "\0" in line:
            raise ValueError("zeros")
        yield line
    if not line.endswith("\n"):
        raise ValueError("half a row")


def read_array(path: Path, dtype: str, ndim: int) -> np.ndarray:
    """An array that `write_array` wrote, mapped from its file. dtype: its kind, as np.issubdtype knows it ("integer").
    ndim: the number of its axes, at least.
    """
    def read(path: Path) -> np.ndarray:
        array = np.load(path, mmap_mode="r")
        if not np.issubdtype(array.dtype, getattr(np, dtype)) or array.ndim < ndim:
            raise ValueError("another kind of array")
        if array.nbytes and array.offset + array.nbytes != Path(path).stat().st_size:
            raise ValueError("another length")
        return array

    return read_output(read, path)


def write_array(path: Path, shape: tuple[int, ...], dtype: str, chunks: Iterable[np.ndarray]) -> None:
    """A .npy file of this shape from chunks that follow one another in C order. Processes that train together all call
    this, each with all chunks, and find the file when it returns.
    """
    with atomic_write(path, "wb") as file:
        file.write(array_header(shape, dtype))
        for chunk in chunks:
            file.write(np.ascontiguousarray(chunk, dtype))
    ranks.barrier()


def array_header(shape: tuple[int, ...], dtype: str) -> bytes:
    """What stands before the first value."""
    header, descr = io.BytesIO(), np.lib.format.dtype_to_descr(np.dtype(dtype))
    np.lib.format.write_array_header_2_0(header, {"descr": descr, "fortran_order": False, "shape": shape})
    return header.getvalue()


def read_metrics(name: str) -> dict:
    """metrics/<name>.json."""
    return read_json(METRICS / f"{name}.json")


def read_output(read: Callable[[Path], Content], path: Path) -> Content:
    """`read(path)` of a file that a stage writes. Raises UserError where it is missing or broken."""
    try:
        return read(path)
    except (UserError, MemoryError):
        raise
    except Exception:  # damaged files make libraries raise nearly everything
        raise UserError(f"{path} is missing or broken; run dvc repro to make it (if that doesn't help: make check)"
                        ) from None


def sha256(path: Path, progress: Callable[[int], object] = lambda size: None) -> str:
    """progress: told of each chunk's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            progress(len(chunk))
    return digest.hexdigest()
