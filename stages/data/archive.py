"""Reads what people have (zip, tar, folder) as checked members; writes `raw.zip`, the one archive all stages read.

An archive may come from anywhere: nothing of it is ever unpacked to a path that it chose, and no more is read than
the limit allows, whatever its headers promise.
"""

import bz2
import gzip
import lzma
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from stages.core.errors import UserError, one_line
from stages.core.files import atomic_write

CHUNK = 1 << 20  # bytes in memory at a time
BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError)
COMPRESSED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}  # by their first bytes
LITTER = {"__macosx", "thumbs.db", "desktop.ini"}  # what file managers leave; names with a leading dot are skipped too


@dataclass(frozen=True)
class Member:
    """A file of a source. `path` is relative, with forward slashes, and checked."""

    path: str
    size: int  # bytes, as the source's headers claim
    open: Callable[[], BinaryIO]


@contextmanager
def open_members(source: Path, scratch: Path, limit: int) -> Iterator[list[Member]]:
    """The members of `source`, sorted by path. A compressed tar is first unpacked to a plain one in `scratch`.

    Raises UserError for anything that is no archive, broken, unsafe, or larger than `limit` bytes unpacked.
    """
    with ExitStack() as stack:
        with _reading(source):
            if source.is_dir():
                found = _in_folder(source)
            elif zipfile.is_zipfile(source):
                found = _in_zip(source, stack.enter_context(zipfile.ZipFile(source)))
            else:
                found = _in_tar(source, stack.enter_context(tarfile.open(_plain_tar(source, scratch, limit), "r:")))
            members = _checked(source, found, limit)
        yield members


def write(path: Path, source: str, members: Iterable[Member], limit: int) -> None:
    """A zip that depends on the members' paths and bytes alone: stored, times and modes fixed, written whole or not.

    Memory does not grow with the members. Raises UserError when one is broken, or all exceed `limit` bytes.
    """
    left = limit
    with atomic_write(path, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for member in members:
            entry = zipfile.ZipInfo(member.path, (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr, entry.file_size = 3, (stat.S_IFREG | 0o644) << 16, member.size
            with archive.open(entry, "w") as out:
                for chunk in _chunks(source, member):
                    left -= len(chunk)
                    if left < 0:
                        raise _too_large(source, member.path, limit)
                    out.write(chunk)


def _in_zip(source: Path, archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _no_file(source, info.filename)
        if info.flag_bits & 1:
            raise UserError(f"{source}: {info.filename!r} is encrypted; unpack the archive into a folder there, "
                        "and name that in data.source")
        # Some packers for Windows write backslashes, against the format's rules.
        path = info.filename.replace("\\", "/")
        if not path.endswith("/"):
            yield Member(path, info.file_size, partial(archive.open, info))


def _in_tar(source: Path, archive: tarfile.TarFile) -> Iterator[Member]:
    for info in archive:
        if not (info.isreg() or info.isdir()):
            raise _no_file(source, info.name)
        if info.isreg():
            yield Member(info.name, info.size, partial(archive.extractfile, info))
    # tarfile takes a damaged header for the end of the archive; the true end is a block of zeros.
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0") or archive.fileobj.tell() == archive.offset:
        raise tarfile.ReadError(f"no end of archive after byte {archive.offset}")


def _in_folder(source: Path) -> Iterator[Member]:
    for folder, folders, files in os.walk(source, onerror=_raise):
        for name in folders + files:
            path = Path(folder, name)
            relative = path.relative_to(source).as_posix()
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise _no_file(source, relative)
            if path.is_file():
                yield Member(relative, path.stat().st_size, partial(open, path, "rb"))


def _checked(source: Path, found: Iterable[Member], limit: int) -> list[Member]:
    """Sorted, without file managers' litter. Raises UserError for unsafe or repeated paths, and for too much."""
    members = {}
    for member in found:
        path = _relative(source, member.path)
        if any(part.startswith(".") or part.lower() in LITTER for part in path.split("/")):
            continue
        if path in members:
            raise UserError(f"{source}: {path!r} is in it twice; keep one of the two")
        members[path] = Member(path, member.size, member.open)
    if not members:
        raise UserError(f"{source} holds no files; put images there, or name another source in data.source")
    if sum(member.size for member in members.values()) > limit:
        raise _too_large(source, max(members.values(), key=lambda member: member.size).path, limit)
    return [members[path] for path in sorted(members)]


def _relative(source: Path, path: str) -> str:
    """`path` without leading `./`. Raises UserError for one that would lead out of the archive or can't be written."""
    parts = path.replace("\\", "/").split("/")
    if path.startswith(("/", "\\")) or re.match("[A-Za-z]:", path) or ".." in parts:
        raise UserError(f"{source}: the member {path!r} leads out of the archive; don't trust it: "
                    "get the archive elsewhere, or pack it anew with relative paths")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise UserError(f"{source}: the name {path!r} is not valid UTF-8; rename that file") from None
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _plain_tar(source: Path, scratch: Path, limit: int) -> Path:
    """`source` itself, or its decompressed copy: a compressed tar can't be read in sorted order."""
    with open(source, "rb") as file:
        head = file.read(6)
    unpack = next((unpack for magic, unpack in COMPRESSED.items() if head.startswith(magic)), None)
    if not head:
        raise UserError(f"{source} is empty; copy or download it again")
    if head.startswith(b"PK"):
        raise zipfile.BadZipFile("the directory at the end of the zip is missing")
    if not unpack:
        if tarfile.is_tarfile(source):
            return source
        raise UserError(f"{source} is no zip, no tar (.gz, .bz2, .xz) and no folder; get the archive again, or unpack it "
                    "into a folder there and name that in data.source")
    plain = scratch / "plain.tar"
    # A tar's headers and padding come on top of its files.
    room = limit + limit // 10 + CHUNK
    with open(plain, "wb") as out:
        for chunk in _chunks(str(source), Member("", 0, partial(unpack, source))):
            room -= len(chunk)
            if room < 0:
                raise _too_large(source, "", limit)
            out.write(chunk)
    return plain


def _chunks(source: str, member: Member) -> Iterator[bytes]:
    """The bytes of a member. Only reading happens under `_reading`: a full disk is no broken archive."""
    with _reading(source, member.path):
        file = member.open()
    with file:
        while True:
            with _reading(source, member.path):
                chunk = file.read(CHUNK)
            if not chunk:
                return
            yield chunk


@contextmanager
def _reading(source: str | Path, member: str = "") -> Iterator[None]:
    try:
        yield
    except (*BROKEN, OSError) as error:
        # bz2 and gzip raise OSErrors of their own for broken data, which bear no number.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        where = f"{source}: {member!r}" if member else f"{source}"
        raise UserError(f"{where} is broken or cut off ({one_line(error)}); copy or download the archive again, or unpack "
                    "what can be unpacked into a folder there") from None


def _no_file(source: Path, member: str) -> UserError:
    return UserError(f"{source}: {member!r} is a link or a device, not a file; put the file itself in its place")


def _too_large(source: str | Path, member: str, limit: int) -> UserError:
    at = f" (seen at {member!r})" if member else ""
    return UserError(f"{source} unpacks to more than {limit / 1e9:g} GB{at}; raise data.max_unpacked_gb in params.yaml "
                 "if that is meant")


def _raise(error: OSError) -> None:
    raise error
