"""Which pictures are to be read: from files, folders, globs and stdin to paths, and from a path to bytes."""

from __future__ import annotations

import glob
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath

import numpy as np
from PIL import Image

from stages.core.errors import one_line
from stages.data.decode import Unreadable, readable_formats

LITTER = {"__macosx", "thumbs.db", "desktop.ini"}  # of file managers; names with a leading dot are skipped too
PIXELLESS = {"BUFR", "GRIB", "HDF5", "MPEG", "WMF"}  # Pillow opens them, and can't decode what is inside
MAX_BYTES = 2**31  # of a file: no picture has more that Pillow wouldn't refuse for its number of pixels


@dataclass
class Source:
    path: str
    name: str  # of its mask, without the suffix
    error: str = ""
    picture: bytes | np.ndarray | None = None  # itself, where there is nothing to be read at the path

    def subject(self) -> str:
        """What tells it from all other pictures."""
        return str(Path(self.path).resolve()) if self.picture is None else hashlib.sha256(self.picture).hexdigest()


def from_stdin() -> Source:
    """The picture that stdin holds."""
    picture = sys.stdin.buffer.read(MAX_BYTES + 1)
    return Source("-", "stdin", "too large a file" if len(picture) > MAX_BYTES else "", picture)


def find_sources(arguments: Iterable[str]) -> Iterator[Source]:
    """Each picture of files, folders, globs, and - for paths on stdin; an error for an argument that has none."""
    for argument in arguments:
        if argument == "-":
            lines = (os.fsdecode(line.rstrip(b"\r\n")) for line in sys.stdin.buffer)
            sources = (source for line in lines if line for source in _below(line))
        elif os.path.lexists(argument) or not glob.has_magic(argument):
            sources = _below(argument)
        else:
            sources = _matching(argument)
        none = Source(argument, "", "no paths on stdin" if argument == "-" else "no picture there")
        yield next(sources, none)
        yield from sources


def _matching(pattern: str) -> Iterator[Source]:
    """Each picture once, though ** matches a folder, what is in it, and that again through a link to the folder."""
    places = set()

    def is_new(path: str) -> bool:
        place, before = Path(path).parent.resolve() / PurePath(path).name, len(places)
        places.add(place)
        return len(places) > before

    paths = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 (Path.glob would take no absolute pattern)
    for path in filter(is_new, paths):
        yield from (source for source in _below(path) if source.path == path or is_new(source.path))


def _below(path: str) -> Iterator[Source]:
    """The file itself, whatever its name; or a folder's images at any depth, links to folders not followed."""
    if not Path(path).is_dir():
        yield Source(path, PurePath(path).stem)
        return
    denied, is_empty = [], True
    for folder, folders, files in os.walk(path, onerror=denied.append):
        folders[:] = sorted(name for name in folders if not _is_litter(name))
        for name in sorted(files):
            if PurePath(name).suffix.lower() in decodable_suffixes() and not _is_litter(name):
                is_empty, file = False, Path(folder, name)
                yield Source(str(file), str(file.relative_to(path).with_suffix("")))
    yield from (Source(error.filename, "", error.strerror) for error in denied)
    if is_empty and not denied:
        yield Source(path, "", "no picture in this folder")


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in LITTER


@cache
def decodable_suffixes() -> frozenset[str]:
    """Of the formats that can be decoded: Pillow lists some that it only saves or only identifies, as PDF and MPEG."""
    formats = {*readable_formats(), "MPO"} - PIXELLESS  # an MPO is opened as a JPEG
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in formats)


def is_picture(path: Path) -> bool:
    """By its name, or by how it begins: also one that is damaged is a picture to whom it belongs."""
    if not path.is_file():
        return False
    if path.suffix.lower() in decodable_suffixes():
        return True
    try:
        Image.open(path, formats=readable_formats()).close()
    except Exception:  # Pillow raises nearly all there are
        return False
    return True


def read(path: str) -> bytes:
    """Raises Unreadable."""
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise Unreadable("not a file")
        with open(path, "rb") as file:
            if (size := os.fstat(file.fileno()).st_size) > MAX_BYTES:
                raise Unreadable(f"too large a file: {size / 1e9:.1f} GB")
            return file.read()
    except OSError as error:
        raise Unreadable(error.strerror or one_line(error)) from None
    except ValueError as error:  # a name that no file can have
        raise Unreadable(one_line(error)) from None
