"""Whether a JPEG holds its whole picture: libjpeg makes up the pixels that are missing, and Pillow gives no warning.

Two ways to tell, by ITU T.81: a picture in several scans, as progressive ones are, must end with every bit of every
coefficient sent; and where more data put before the end change the pixels, the decoder was still in want of some.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image

SEGMENT = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")  # a marker that ends a scan's data; FF00, FFD0–FFD8 do not
RESTART = re.compile(rb"\xff[\xd0-\xd7]")
END, SCAN = 0xD9, 0xDA
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # of any coding; the others are tables
PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
COEFFICIENTS = 64  # of a block
SMALL = 2**18  # pixels: 16×16 of them, which may share their data, are 0.1 %
MORE = bytes(range(254, 0, -1))  # scan data that mean anything at all, but not the zeros that libjpeg makes up


class JpegScans(NamedTuple):
    """What the scans of a JPEG's first picture hold together."""

    count: int
    is_complete: bool  # each bit of each coefficient of each component is sent by one of them
    start: int  # of the last one's data
    end: int  # the first byte behind them: a marker's


def jpeg_scans(jpeg: bytes) -> JpegScans:
    """Of a file that a decoder has read."""
    progressive, missing, count, start, end = False, {}, 0, len(jpeg), len(jpeg)
    for marker, at in _segments(jpeg):
        if marker in FRAMES:
            progressive = marker in PROGRESSIVE
            ids = jpeg[at + 8:at + 8 + 3 * jpeg[at + 7]:3]
            missing = {component: set(range(COEFFICIENTS)) for component in ids}
        elif marker == SCAN:
            count += 1
            header = jpeg[at + 2:at + int.from_bytes(jpeg[at:at + 2], "big")]
            first, last, bits = header[-3:] if progressive else (0, COEFFICIENTS - 1, 0)
            for component in header[1:-3:2]:
                if not bits & 15:  # else the lowest bits follow in another scan
                    missing.get(component, set()).difference_update(range(first, last + 1))
            start = at + 2 + len(header)
            end = _end_of_data(jpeg, start)
            if not (progressive or any(missing.values())):
                break
    return JpegScans(count, not any(missing.values()), start, end)


def with_more_data(jpeg: bytes, scans: JpegScans) -> bytes:
    """The file with further data in its last scan, before and behind a restart marker: no effect on a whole picture."""
    restart = b"\xff%c" % (0xD0 + len(RESTART.findall(jpeg, scans.start, scans.end)) % 8)
    return jpeg[:scans.end] + MORE + restart + MORE + jpeg[scans.end:]


def may_be_cut(image: Image.Image, scans: JpegScans) -> bool:
    """False where the picture is large, has one scan, and its last block more than one colour: what libjpeg makes up
    has no detail, and less than that block is too little to decode all again for.
    """
    width, height = image.size
    # Without the block's first row and column, whose colour is blended with that of the blocks before.
    left, top = (width - 1) // 8 * 8 + 1, (height - 1) // 8 * 8 + 1
    if scans.count > 1 or width * height <= SMALL or left == width or top == height:
        return True
    return all(len(set(band.getextrema())) == 1 for band in image.crop((left, top, width, height)).split())


def _segments(jpeg: bytes) -> Iterator[tuple[int, int]]:
    """(marker, where its length stands) of each segment up to the end of the first picture."""
    at = 2  # behind the start marker
    while (match := SEGMENT.search(jpeg, at)) and match[0][1] != END:
        yield match[0][1], match.end()
        at = match.end() + int.from_bytes(jpeg[match.end():match.end() + 2], "big")


def _end_of_data(jpeg: bytes, at: int) -> int:
    match = SEGMENT.search(jpeg, at)
    end = match.start() if match else len(jpeg)
    while end > at and jpeg[end - 1] == 0xFF:  # any number of these may stand before a marker
        end -= 1
    return end
