"""Reads a zip, a tar, a Parquet file or a folder as validated members, and writes `raw.zip`, the one archive that all
stages read. Nothing is extracted to a path that an archive names.
"""

import bz2
import gzip
import io
import itertools
import lzma
import os
import re
import stat
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

from stages.core.errors import UserError, one_line
from stages.core.files import CHUNK, atomic_write
from stages.data import parquet
from stages.data.members import CONTAINER, LARGEST_MEMBER, Member, archive_errors, copy_member, not_a_file, validated

RAW = Path("data/raw.zip")
ENCRYPTED, UTF8 = 1 << 0, 1 << 11  # bits of a zip member's flags
DECOMPRESSORS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}  # by the file's first bytes


class Raw(zipfile.ZipFile):
    """raw.zip as the stages read it. Raises UserError where it is missing or broken, or one of its members is."""

    def __init__(self):
        try:
            super().__init__(RAW)
        except Exception as error:  # damage makes zipfile raise nearly everything
            raise _damaged(error) from None

    def read(self, name: str) -> bytes:
        try:
            return super().read(name)
        except MemoryError:
            raise
        except Exception as error:
            raise _damaged(error) from None


@contextmanager
def open_members(source: Path, scratch: Path, limit: int) -> Iterator[list[Member]]:
    """The members of `source`, sorted by path. A compressed tar is decompressed into `scratch` first.

    A member that is an archive itself (train.zip, shard-0001.tar, train.parquet) stands for what it holds, in a folder
    of its name. Raises UserError if `source` is no archive, is broken or unsafe, or unpacks to more than `limit` bytes.
    """
    with ExitStack() as stack:
        members = _opened(source, scratch, limit, stack)
        if containers := _containers(members):
            inner, left = [], limit
            for number, member in enumerate(containers):
                found = list(_inside(source, member, scratch / f"inside-{number}", left, stack))
                inner, left = inner + found, left - sum(member.size for member in found)
            paths = {member.path for member in containers}
            others = [member for member in members if member.path not in paths]
            members = validated(source, [*others, *inner], limit)
        yield members


def read(source: Path, member: Member) -> bytes:
    """The content of one of the members of `source`. Raises UserError where it is broken."""
    content = io.BytesIO()  # in parts: to read as much as a header claims, its memory would be taken first
    copy_member(source, member, content, limit := 2 * LARGEST_MEMBER, limit)
    return content.getvalue()


def _opened(source: Path, scratch: Path, limit: int, stack: ExitStack) -> list[Member]:
    """The valid members of one archive, which stays open as long as `stack`."""
    with archive_errors(source):
        if source.is_dir():
            members = _folder_members(source)
        elif zipfile.is_zipfile(source):
            members = _zip_members(source, stack.enter_context(zipfile.ZipFile(source)))
        elif parquet.is_parquet(source):
            members = itertools.starmap(Member, parquet.files(source, str(source)))
        else:
            plain = _plain_tar(source, scratch, limit)
            members = _tar_members(source, stack.enter_context(tarfile.open(plain, "r:")))  # noqa: SIM115
        return validated(source, members, limit)


def _containers(members: Iterable[Member]) -> list[Member]:
    """The members that are archives, but for those that lie unpacked beside themselves."""
    folders = {str(folder) for member in members for folder in PurePosixPath(member.path).parents}
    return [member for member in members if CONTAINER.search(member.path) and _folder(member.path) not in folders]


def _inside(source: Path, member: Member, scratch: Path, limit: int, stack: ExitStack) -> Iterator[Member]:
    """What an archive inside the archive holds; it is copied into `scratch`, since it can't be read where it lies."""
    scratch.mkdir(exist_ok=True)
    copy = scratch / f"copy-{PurePosixPath(member.path).name}"
    with open(copy, "wb") as out:
        copy_member(source, member, out, limit, limit)
    try:
        for found in _opened(copy, scratch, limit, stack):
            yield found._replace(path=f"{_folder(member.path)}/{found.path}")
    except UserError as error:
        raise UserError(str(error).replace(str(copy), f"{source}: {member.path!r}")) from None


def _folder(path: str) -> str:
    """`train` for train.zip; train-00000-of-00002 for that and a checksum, which Hugging Face may add, .parquet."""
    return re.sub(r"(-\d+-of-\d+)-[0-9a-f]{16}$", r"\1", CONTAINER.sub("", path))


def write(path: Path, source: str, members: Iterable[Member], limit: int) -> None:
    """An uncompressed zip that depends only on the members' paths and contents: times and modes are fixed.

    Memory does not grow with the members. Raises UserError if one is broken, or if they exceed `limit` bytes together.
    """
    left = limit
    with atomic_write(path, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for member in members:
            entry = zipfile.ZipInfo(member.path, (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr, entry.file_size = 3, (stat.S_IFREG | 0o644) << 16, member.size
            with archive.open(entry, "w") as out:
                left = copy_member(source, member, out, left, limit)


def _zip_members(source: Path, archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise not_a_file(source, info.filename)
        if info.flag_bits & ENCRYPTED:
            raise UserError(f"{source}: {info.filename!r} is encrypted; unpack the archive into a folder there, "
                            "and name that in data.source")
        path = _name(info).replace("\\", "/")  # some Windows packers break the format's rule
        if not path.endswith("/"):
            yield Member(path, info.file_size, partial(archive.open, info))


def _name(info: zipfile.ZipInfo) -> str:
    """Linux's and Macintosh's packers write UTF-8 without saying so; else it is the format's own code page."""
    if info.flag_bits & UTF8:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _tar_members(source: Path, archive: tarfile.TarFile) -> Iterator[Member]:
    for info in archive:
        if info.isreg():
            yield Member(info.name, info.size, partial(archive.extractfile, info))
        elif not info.isdir():
            raise not_a_file(source, info.name)
    # tarfile takes a damaged header for the end of the archive; the real end is a block of zeros.
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0") or archive.fileobj.tell() == archive.offset:
        raise tarfile.ReadError(f"no end of archive after byte {archive.offset}")


def _folder_members(source: Path) -> Iterator[Member]:
    for folder, folders, files in os.walk(source, onerror=_raise):
        for path in (Path(folder, name) for name in folders + files):
            relative = path.relative_to(source).as_posix()
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise not_a_file(source, relative)
            if path.is_file():
                yield Member(relative, path.stat().st_size, partial(open, path, "rb"))


def _plain_tar(source: Path, scratch: Path, limit: int) -> Path:
    """`source` itself, or its decompressed copy: a compressed tar can't be read in sorted order."""
    with open(source, "rb") as file:
        start = file.read(6)
    if not start:
        raise UserError(f"{source} is empty; copy or download it again")
    if start.startswith(b"PK"):
        raise zipfile.BadZipFile("the directory at the end of the zip is missing")
    decompress = next((opener for magic, opener in DECOMPRESSORS.items() if start.startswith(magic)), None)
    if not decompress:
        if tarfile.is_tarfile(source):
            return source
        raise UserError(f"{source} is no zip, no tar (.gz, .bz2, .xz) and no folder; get the archive again, or unpack "
                        "it into a folder there and name that in data.source")
    plain = scratch / "plain.tar"
    with open(plain, "wb") as out:  # a tenth and a bit more: the tar's headers and padding
        copy_member(source, Member("", 0, partial(decompress, source)), out, limit + limit // 10 + CHUNK, limit)
    return plain


def _damaged(error: Exception) -> UserError:
    return UserError(f"{RAW} is missing or broken ({one_line(error)}); run dvc repro to make it (if that doesn't help: "
                     "make check)")


def _raise(error: OSError) -> None:
    raise error
