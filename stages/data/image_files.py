"""Which files of an archive are images: by their suffix, or, where a name has none, by their first bytes."""

from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from pathlib import PurePosixPath

from stages.data.decode import has_image_suffix

# First bytes of JPEG, PNG, GIF, BMP, TIFF; of WebP and of AVIF and HEIC from the eighth and the fourth on.
MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*")


def image_names(names: Iterable[str], read: Callable[[str], bytes]) -> list[str]:
    """Those of `names` that are images. read: the content of a file; called for names without a suffix alone."""
    return [name for name in names if has_image_suffix(name) or (_has_no_suffix(name) and _is_image(read(name)))]


def leave_out(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """`names` without those of which a folder, the file or the whole path fits a pattern: masks, *_mask.png, a/b/*."""
    patterns = list(patterns)
    return [name for name in names
            if not any(fnmatch(part, pattern) for part in (*PurePosixPath(name).parts, name) for pattern in patterns)]


def _has_no_suffix(name: str) -> bool:
    """photo, 0001, and img.0001, which has a number there."""
    suffix = PurePosixPath(name).suffix[1:]
    return not suffix or suffix.isdigit()


def _is_image(content: bytes) -> bool:
    return (content.startswith(MAGIC) or (content[8:12] == b"WEBP" and content.startswith(b"RIFF"))
            or content[4:12] in (b"ftypavif", b"ftypheic", b"ftypheix", b"ftypmif1"))
