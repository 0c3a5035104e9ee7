"""One file of a source: its name, and how its content is read. Sources are untrusted: a name may lead out of the
archive or be there twice; content may be broken, or more than its header claims.
"""

import errno
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from stages.core.errors import UserError, one_line
from stages.core.files import CHUNK

LONGEST_NAME = 4096  # characters of a path in an archive; a zip's could not be longer than 65535 bytes
LARGEST_MEMBER = 10**9  # bytes; each is read as a whole, by several processes at once
CONTAINER = re.compile(r"\.(?:zip|tar|tar\.gz|tgz|tar\.bz2|tar\.xz|parquet)$", re.IGNORECASE)  # inside an archive
LITTER = re.compile(r"__macosx|thumbs\.db|desktop\.ini|\.ds_store|\._.*", re.IGNORECASE)  # of file managers


class Member(NamedTuple):
    """One file of a source."""

    path: str  # relative, with forward slashes
    size: int  # bytes, as the headers claim
    open: Callable[[], BinaryIO]


def validated(source: Path, members: Iterable[Member], limit: int) -> list[Member]:
    """Sorted, without file managers' files. Raises UserError for unsafe or repeated paths, none at all, or too much."""
    valid, hidden = {}, []
    for member in members:
        path = _safe_path(source, member.path)
        if is_litter(path):
            continue
        if is_hidden(path):
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


def is_litter(path: str) -> bool:
    """A file of a file manager, which is left out without a word."""
    return any(LITTER.fullmatch(part) for part in path.split("/"))


def is_hidden(path: str) -> bool:
    return bool(re.search(r"(^|/)\.", path))


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


def copy_member(source: str | Path, member: Member, out: BinaryIO, left: int, limit: int) -> int:
    """Writes the content of a member to `out`. Returns what remains of the `left` bytes allowed; UserError beyond them.

    Only reading is guarded: a full disk is no broken archive.
    """
    with archive_errors(source, member.path):
        file = member.open()
    read = 0
    with file:
        while True:
            with archive_errors(source, member.path):
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
def archive_errors(source: str | Path, member: str = "") -> Iterator[None]:
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


def not_a_file(source: Path, member: str) -> UserError:
    return UserError(f"{source}: {member!r} is a link or a device, not a file; put the file itself in its place")


def _huge(source: str | Path, member: str) -> UserError:
    return UserError(f"{source}: {member!r} unpacks to more than {LARGEST_MEMBER / 1e9:g} GB, which no picture does; "
                     "take it out of the source")


def _too_large(source: str | Path, member: str, limit: int) -> UserError:
    place = f" (reached at {member!r})" if member else ""
    return UserError(f"{source} unpacks to more than {limit / 1e9:g} GB{place}; raise data.max_unpacked_gb in "
                     "params.yaml if that is meant")
