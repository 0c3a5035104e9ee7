"""Reads a zip, a tar, a Parquet file or a folder as validated members, and writes `raw.zip`, the one archive that all
stages read.

Archives are untrusted: nothing is extracted to a path that the archive names, and reading stops at a size limit,
whatever the headers claim.
"""

import bz2
import errno
import gzip
import io
import itertools
import lzma
import os
import re
import stat
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from stages.core.errors import UserError, one_line
from stages.core.files import CHUNK, atomic_write
from stages.data import parquet

RAW = Path("data/raw.zip")
LONGEST_NAME = 4096  # characters of a path in an archive; a zip's could not be longer than 65535 bytes
LARGEST_MEMBER = 10**9  # bytes; each is read as a whole, by several processes at once
DECOMPRESSORS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}  # by the file's first bytes
CONTAINER = re.compile(r"\.(?:zip|tar|tar\.gz|tgz|tar\.bz2|tar\.xz|parquet)$", re.IGNORECASE)  # inside an archive
LITTER = re.compile(r"__macosx|thumbs\.db|desktop\.ini|\.ds_store|\._.*", re.IGNORECASE)  # of file managers


class Member(NamedTuple):
    """One file of a source."""

    path: str  # relative, with forward slashes
    size: int  # bytes, as the headers claim
    open: Callable[[], BinaryIO]


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
            members = _validated(source, [*others, *inner], limit)
        yield members


def read(source: Path, member: Member) -> bytes:
    """The content of one of the members of `source`. Raises UserError where it is broken."""
    content = io.BytesIO()  # in parts: to read as much as a header claims, its memory would be taken first
    _copy(source, member, content, limit := 2 * LARGEST_MEMBER, limit)
    return content.getvalue()


def _opened(source: Path, scratch: Path, limit: int, stack: ExitStack) -> list[Member]:
    """The valid members of one archive, which stays open as long as `stack`."""
    with _archive_errors(source):
        if source.is_dir():
            members = _folder_members(source)
        elif zipfile.is_zipfile(source):
            members = _zip_members(source, stack.enter_context(zipfile.ZipFile(source)))
        elif parquet.is_parquet(source):
            members = itertools.starmap(Member, parquet.files(source, str(source)))
        else:
            plain = _plain_tar(source, scratch, limit)
            members = _tar_members(source, stack.enter_context(tarfile.open(plain, "r:")))  # noqa: SIM115
        return _validated(source, members, limit)


def _containers(members: Iterable[Member]) -> list[Member]:
    """The members that are archives, but for those that lie unpacked beside themselves."""
    folders = {str(folder) for member in members for folder in PurePosixPath(member.path).parents}
    return [member for member in members if CONTAINER.search(member.path) and _folder(member.path) not in folders]


def _inside(source: Path, member: Member, scratch: Path, limit: int, stack: ExitStack) -> Iterator[Member]:
    """What an archive inside the archive holds; it is copied into `scratch`, since it can't be read where it lies."""
    scratch.mkdir(exist_ok=True)
    copy = scratch / f"copy-{PurePosixPath(member.path).name}"
    with open(copy, "wb") as out:
        _copy(source, member, out, limit, limit)
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
                left = _copy(source, member, out, left, limit)


def _zip_members(source: Path, archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _not_a_file(source, info.filename)
        if info.flag_bits & 1:
            raise UserError(f"{source}: {info.filename!r} is encrypted; unpack the archive into a folder there, "
                            "and name that in data.source")
        path = info.filename.replace("\\", "/")  # some Windows packers break the format's rule
        if not path.endswith("/"):
            yield Member(path, info.file_size, partial(archive.open, info))


def _tar_members(source: Path, archive: tarfile.TarFile) -> Iterator[Member]:
    for info in archive:
        if info.isreg():
            yield Member(info.name, info.size, partial(archive.extractfile, info))
        elif not info.isdir():
            raise _not_a_file(source, info.name)
    # tarfile takes a damaged header for the end of the archive; the real end is a block of zeros.
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0") or archive.fileobj.tell() == archive.offset:
        raise tarfile.ReadError(f"no end of archive after byte {archive.offset}")


def _folder_members(source: Path) -> Iterator[Member]:
    for folder, folders, files in os.walk(source, onerror=_raise):
        for path in (Path(folder, name) for name in folders + files):
            relative = path.relative_to(source).as_posix()
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise _not_a_file(source, relative)
            if path.is_file():
                yield Member(relative, path.stat().st_size, partial(open, path, "rb"))


def _validated(source: Path, members: Iterable[Member], limit: int) -> list[Member]:
    """Sorted, without file managers' files. Raises UserError for unsafe or repeated paths, none at all, or too much."""
    valid, hidden = {}, []
    for member in members:
        path = _safe_path(source, member.path)
        if any(LITTER.fullmatch(part) for part in path.split("/")):
            continue
        if re.search(r"(^|/)\.", path):
            hidden.append(path)
            continue
        if path in valid:
            raise UserError(f"{source}: {path!r} is in it twice; keep one of the two")
        valid[path] = member._replace(path=path)
    if hidden:
        print(f"{source}: {len(hidden)} hidden file(s) left out, first {hidden[0]!r}: their names, or their folders', "
              "begin with a dot", file=sys.stderr)
    if not valid:
        raise UserError(f"{source} holds no files; put images there, or name another source in data.source")
    for member in valid.values():
        if member.size > LARGEST_MEMBER and not CONTAINER.search(member.path):
            raise _huge(source, member.path)
    if sum(member.size for member in valid.values()) > limit:
        raise _too_large(source, max(valid.values(), key=lambda member: member.size).path, limit)
    return [valid[path] for path in sorted(valid)]


def _safe_path(source: Path, path: str) -> str:
    """`path` without leading `./`. Raises UserError if it leads out of the archive, is not UTF-8, or names no file."""
    if re.match(r"[/\\]|[A-Za-z]:", path) or ".." in re.split(r"[/\\]", path):
        raise UserError(f"{source}: the member {path!r} leads out of the archive; don't trust it: "
                        "get the archive elsewhere, or pack it anew with relative paths")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise UserError(f"{source}: the name {path!r} is not valid UTF-8; rename that file") from None
    name = "/".join(part for part in path.split("/") if part not in ("", "."))
    if not 0 < len(name) <= LONGEST_NAME:
        raise UserError(f"{source}: a file in it has the name {path[:99]!r}, of {len(path)} characters; 1 to "
                        f"{LONGEST_NAME} are read: copy or download the archive again")
    return name


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
        _copy(source, Member("", 0, partial(decompress, source)), out, limit + limit // 10 + CHUNK, limit)
    return plain


def _copy(source: str | Path, member: Member, out: BinaryIO, left: int, limit: int) -> int:
    """Writes the content of a member to `out`. Returns what remains of the `left` bytes allowed; UserError beyond them.

    Only reading is guarded: a full disk is no broken archive.
    """
    with _archive_errors(source, member.path):
        file = member.open()
    read = 0
    with file:
        while True:
            with _archive_errors(source, member.path):
                chunk = file.read(CHUNK)
            if not chunk:
                return left
            left, read = left - len(chunk), read + len(chunk)
            if left < 0:
                raise _too_large(source, member.path, limit)
            if member.path and read > LARGEST_MEMBER and not CONTAINER.search(member.path):
                raise _huge(source, member.path)
            out.write(chunk)


@contextmanager
def _archive_errors(source: str | Path, member: str = "") -> Iterator[None]:
    """Turns what broken archives make their readers raise, which is nearly everything, into UserErrors: a MemoryError
    too, where an LZMA header claims four gigabytes.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        # The system's errors have a number; those that bz2 and gzip raise for broken data have none. EINVAL is a seek
        # to where a damaged offset points.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        place = f"{source}: {member!r}" if member else f"{source}"
        fault = "asks for more memory than there is, or is broken" if isinstance(error, MemoryError) else (
            "is broken or cut off")
        raise UserError(f"{place} {fault} ({one_line(error)}); copy or download the archive again, or "
                        "unpack what can be unpacked into a folder there") from None


def _damaged(error: Exception) -> UserError:
    return UserError(f"{RAW} is missing or broken ({one_line(error)}); run dvc repro to make it (if that doesn't help: "
                     "make check)")


def _not_a_file(source: Path, member: str) -> UserError:
    return UserError(f"{source}: {member!r} is a link or a device, not a file; put the file itself in its place")


def _huge(source: str | Path, member: str) -> UserError:
    return UserError(f"{source}: {member!r} unpacks to more than {LARGEST_MEMBER / 1e9:g} GB, which no picture does; "
                     "take it out of the source")


def _too_large(source: str | Path, member: str, limit: int) -> UserError:
    place = f" (reached at {member!r})" if member else ""
    return UserError(f"{source} unpacks to more than {limit / 1e9:g} GB{place}; raise data.max_unpacked_gb in "
                     "params.yaml if that is meant")


def _raise(error: OSError) -> None:
    raise error
