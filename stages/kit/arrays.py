"""Arrays written row by row as plain files, so that memory stays small and a full disk is an error, not a crash.

A memory-mapped write would do neither: the system kills a process that writes to a page the disk has no room for.
"""

import io
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np


def write(path: Path, shape: tuple[int, ...], dtype: str, chunks: Iterable[np.ndarray]) -> None:
    """A .npy file of this shape from chunks that follow one another in C order; it appears only when whole."""
    half = path.with_name(path.name + ".half")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(half, "wb") as file:
            header(file, shape, dtype)
            for chunk in chunks:
                file.write(np.ascontiguousarray(chunk, dtype))
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)


def header(file, shape: tuple[int, ...], dtype: str) -> None:
    about = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(file, about)


def header_size(shape: tuple[int, ...], dtype: str) -> int:
    """Bytes before the first number."""
    memory = io.BytesIO()
    header(memory, shape, dtype)
    return memory.tell()
