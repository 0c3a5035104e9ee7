"""Arrays written row by row as plain files, so that memory stays small and a full disk is an error, not a crash.

A memory-mapped write would do neither: the system kills a process that writes to a page the disk has no room for.
"""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from stages.kit.tables import whole


def write(path: Path, shape: tuple[int, ...], dtype: str, chunks: Iterable[np.ndarray]) -> None:
    """A .npy file of this shape from chunks that follow one another in C order; it appears only when whole."""
    with whole(path, "wb") as file:
        header(file, shape, dtype)
        for chunk in chunks:
            file.write(np.ascontiguousarray(chunk, dtype))


def header(file, shape: tuple[int, ...], dtype: str) -> None:
    about = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(file, about)


def header_size(shape: tuple[int, ...], dtype: str) -> int:
    """Bytes before the first number."""
    memory = io.BytesIO()
    header(memory, shape, dtype)
    return memory.tell()
