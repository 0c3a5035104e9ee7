"""A JPEG that was cut and got an end marker is told from a whole one, of any coding; no whole one is refused."""

import functools

import numpy as np
import pytest
from PIL import Image
from sources import saved

from stages.data import jpeg
from stages.data.decode import Unreadable, decode
from stages.data.jpeg import jpeg_scans, may_be_cut

END = b"\xff\xd9"
CODINGS = {"baseline": {}, "no subsampling": {"subsampling": 0, "quality": 95},
           "restarts": {"restart_marker_blocks": 3}, "progressive": {"progressive": True},
           "progressive with restarts": {"progressive": True, "restart_marker_rows": 1}}
MODES = ("RGB", "L", "CMYK")


def content(coding: str, mode: str = "RGB", size: tuple[int, int] = (90, 70)) -> bytes:
    """A JPEG of clouds and noise."""
    return saved(noisy_clouds(size).convert(mode), "JPEG", **CODINGS[coding])


@functools.cache
def noisy_clouds(size: tuple[int, int]) -> Image.Image:
    random = np.random.default_rng(0)
    clouds = Image.fromarray(random.integers(0, 256, (4, 5, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    noisy = (np.asarray(clouds) + random.integers(-9, 10, (*size[::-1], 3))).clip(0, 255).astype(np.uint8)
    return Image.fromarray(noisy)


def scan_ends(whole: bytes) -> list[int]:
    first = whole.index(b"\xff\xda") + 2
    return [match.start() for match in jpeg.SEGMENT.finditer(whole, first)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("coding", CODINGS)
def test_cut_anywhere_it_is_unreadable_with_an_end_and_without(coding, mode):
    whole = content(coding, mode)
    decode(whole)
    start = whole.index(b"\xff\xda") + 14
    for at in np.linspace(start, len(whole) - 30, 25).astype(int):
        for ending in (b"", END, END + bytes(50)):
            with pytest.raises(Unreadable):
                decode(whole[:at] + ending)


@pytest.mark.parametrize("coding", [coding for coding in CODINGS if "progressive" in coding])
def test_a_progressive_one_is_unreadable_after_any_scan_but_the_last(coding):
    whole = content(coding)
    *ends, last = sorted({at for at in scan_ends(whole) if whole[at + 1] in (0xC4, 0xDA, 0xD9)})
    assert len(ends) >= 9 and whole[last:] == END
    for at in ends:
        with pytest.raises(Unreadable, match=r"the picture ends after \d+ scans"):
            decode(whole[:at] + END)


def test_cut_before_or_behind_a_restart_marker():
    whole = content("restarts")
    markers = [match.start() for match in jpeg.RESTART.finditer(whole, whole.index(b"\xff\xda"))]
    assert len(markers) >= 8
    for at in (*markers, *(marker + 2 for marker in markers)):
        with pytest.raises(Unreadable, match="the picture data end too early"):
            decode(whole[:at] + END)


@pytest.mark.parametrize("coding", CODINGS)
def test_no_whole_picture_is_refused(coding):
    """Of any size, so that blocks reach over the edge; plain ones; with more than one byte of fill, and data behind."""
    sizes = [(width, height) for width in (1, 8, 9, 17, 33) for height in (1, 8, 15, 17)]
    for mode in MODES:
        for size in sizes:
            decode(content(coding, mode, size))
        decode(saved(Image.new(mode, (100, 100)), "JPEG", **CODINGS[coding]))
    whole = content(coding)
    for altered in (whole + b"more", whole + whole, whole[:-2] + b"\xff\xff" + END, whole[:-2] + b"\0\0" + END):
        assert np.array_equal(decode(altered), decode(whole))


def test_a_large_picture_of_one_scan_is_decoded_twice_only_where_its_last_block_is_plain(monkeypatch):
    whole = content("baseline")
    image = Image.new("RGB", (90, 70))
    image.putpixel((89, 69), (1, 2, 3))
    assert may_be_cut(image, jpeg_scans(whole))
    monkeypatch.setattr(jpeg, "SMALL", 0)
    assert not may_be_cut(image, jpeg_scans(whole))
    assert may_be_cut(Image.new("RGB", (90, 70)), jpeg_scans(whole))
    assert may_be_cut(image, jpeg_scans(content("progressive")))
    for at in np.linspace(whole.index(b"\xff\xda") + 14, len(whole) * 0.97, 25).astype(int):
        with pytest.raises(Unreadable):
            decode(whole[:at] + END)
