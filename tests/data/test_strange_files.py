"""No file that people have makes a stage fall, and what becomes of each kind is written down here, file by file."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from conftest import Project
from sources import pack, saved
from strange import CUTS, corpus, grey, noise, picture, whole

from stages.data.decode import Unreadable, decode
from stages.data.image_files import image_names

UNREADABLE, SKIPPED = "unreadable", "skipped"  # skipped: no file named like an image, or file managers' litter
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # as data/decode.py does, where no test runs
STAGES = ("fetch", "scan", "clean", "split")
GONE = {"dropped", "quarantined"}


class Kept(NamedTuple):
    pixels: np.ndarray  # uint8 (H,W,3), what must be read
    within: int  # levels of 255 that each value may be off; 255: of any values


def flat(width: int, height: int, *colour: int, within: int = 0) -> Kept:
    return Kept(np.full((height, width, 3), colour or 0, np.uint8), within)


def as_pictured(*kinds: str, within: int = 0) -> dict[str, Kept]:
    return {kind: Kept(np.array(picture(kind)), within) for kind in kinds}


def as_grey(*kinds: str, within: int = 0) -> dict[str, Kept]:
    return {kind: Kept(grey(kind)[..., None].repeat(3, axis=2), within) for kind in kinds}


def in_two(kind: str) -> Kept:
    """Black and white."""
    return Kept(np.where(grey(kind) > 127, 255, 0).astype(np.uint8)[..., None].repeat(3, axis=2), 0)


def on_white(*kinds: str, mode: str = "RGB") -> dict[str, Kept]:
    """The first square can be seen through."""
    pictures = {kind: np.array(picture(kind).convert(mode).convert("RGB")) for kind in kinds}
    for pixels in pictures.values():
        pixels[:8, :8] = 255
    return {kind: Kept(pixels, 0) for kind, pixels in pictures.items()}


def of_one_pixel_changed(kind: str) -> Kept:
    pixels = np.array(picture(kind))
    pixels[-1, 0, 2] ^= 0xFF
    return Kept(pixels, 0)


FILES = corpus()
EXPECTED = {
    # cut off: all of the picture, or nothing
    **{f"{format} {share} %": UNREADABLE for format in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF") for share in CUTS},
    **dict.fromkeys(("JPEG progressive 50 %", "TIFF LZW 50 %", "JPEG without its last 2",
                     "JPEG filled with zeros", "JPEG 50 % and an end", "JPEG progressive first scan and an end"),
                    UNREADABLE),
    **as_pictured("PNG without its last 12", "GIF in its second frame"),  # what is missing is no pixel
    # damaged
    **{f"{format} flipped start": UNREADABLE for format in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")},
    **dict.fromkeys(("JPEG flipped Huffman table", "JPEG flipped frame height", "PNG flipped header",
                     "PNG flipped middle", "TIFF deflated flipped middle"), UNREADABLE),
    # No checksum covers these: nothing in the file tells that it was another picture.
    "JPEG flipped quantisation table": flat(24, 16, within=255), "JPEG flipped middle": flat(56, 40, within=255),
    "BMP flipped pixel": of_one_pixel_changed("flipped BMP"),
    # disguised: the content counts, not the suffix
    **as_pictured("JPG that is a PNG"), **as_pictured("PNG that is a JPEG", within=3),
    "PNG with text behind": Kept(np.array(noise("PNG")), 0),
    **{f"JPG that is {what}": UNREADABLE for what in ("HTML", "a zip", "a PDF", "EPS", "a pickle")},
    **dict.fromkeys(("JPEG behind a line end", "PNG that is text", "PNG that is SVG", "EPS", "JPG empty",
                     "PNG of one byte", "JPG of zeros", "JPG of ones", "JPG random"), UNREADABLE),
    "SVG": SKIPPED,  # Pillow knows no such suffix
    # odd in size
    "PNG one pixel": flat(1, 1, 1, 2, 3), "GIF one pixel": flat(1, 1, 7, 7, 7),
    "PNG 20000×1": flat(20_000, 1, 9, 8, 7), "PNG 20000×10": flat(20_000, 10, 90, 80, 70),
    "PNG 1×20000": flat(1, 20_000, 7, 8, 9),
    **dict.fromkeys(("PNG bomb", "GIF bomb", "ICO bomb", "PNG text bomb", "PNG of no width"), UNREADABLE),
    # every mode
    "PNG 1": in_two("PNG 1"),
    **as_grey("PNG L", "TIFF I", "TIFF I from -50", "PNG I;16", "TIFF I;16", "TIFF I;16B", "TIFF F",
              "TIFF I;16 white is 0"),
    "TIFF of 12 bits": Kept(np.tile(np.uint8([0, 128]), (16, 12))[..., None].repeat(3, axis=2), 0),
    "TIFF F of 0 and 1": in_two("TIFF F of 0 and 1"), "PGM dark": flat(24, 16, 1, 1, 1),
    **as_pictured("PNG P", "TIFF PA", "TIFF RGB of 16 bits"), **as_pictured("TIFF YCbCr", within=3),
    **on_white("PNG P with transparency", "PNG RGB with a key", "PNG RGBA", "TIFF RGBA"),
    **on_white("PNG LA", mode="L"),
    "PNG RGBA half red": flat(8, 8, 255, 127, 127), "PNG RGBA of nothing": flat(9, 9, 255, 255, 255),
    "TIFF CMYK red": flat(9, 8, 255, 0, 0), "JPEG CMYK red": flat(16, 8, 255, 0, 0, within=3),
    "JPEG YCCK red": flat(16, 8, 255, 0, 0, within=3), "TIFF LAB red": flat(8, 24, 255, 0, 0, within=12),
    "PNG I;16 mid-grey": flat(8, 8, 128, 128, 128),
    "TIFF F with NaN": Kept(np.array([[[128] * 3, [0] * 3], [[255] * 3, [0] * 3]], np.uint8), 0),
    "PNG RGB of 16 bits": Kept(np.array([[[0, 128, 255]] * 3], np.uint8), 0),
    # common formats; of several frames or pages, the first
    **as_pictured("JPEG", "JPEG progressive", "MPO of two", "AVIF", within=5), **as_grey("JPEG L", "WEBP", within=3),
    **as_pictured("PNG interlaced", "PNG animated", "GIF", "GIF animated", "WEBP lossless", "WEBP animated", "BMP",
                  "TIFF LZW", "TIFF of pages", "TIFF tiled", "ICO", "PPM", "TGA", "PCX", "JP2"),
    **as_grey("PGM of 16 bits"),
    # turned by the camera: upright
    **as_pictured(*(f"JPEG EXIF {number}" for number in (*range(1, 10), "damaged")), "JPEG XMP 6", within=3),
    **as_pictured("PNG EXIF 6", "WEBP EXIF 8"),
    # names
    **as_pictured("name with spaces", "name in NFC", "name in NFD", "name of two lines", "name with a dash",
                  "name very long", "name in capitals", "name of two dots", "name in emoji", "name of signs",
                  "name in a folder named like an image", "name in Chinese", "no suffix"),
    **dict.fromkeys(("broken of two lines", "broken in emoji", "broken of signs"), UNREADABLE),
    **dict.fromkeys(("resource fork", "resource fork beside", "Finder's", "Explorer's", "suffix only", "suffix of text",
                     "suffix and more", "folder named like an image"), SKIPPED),
}
LOOKED_AT = [kind for kind, expected in EXPECTED.items() if expected != SKIPPED]
WHOLE = {f"{name}/whole{number:02}.png": saved(picture(f"{name} {number}"), "PNG") for name in ("cat", "dog")
         for number in range(12)}


class Decided(NamedTuple):
    """What the stages wrote: rows by path; of decisions, all rows."""

    scan: dict[str, dict[str, str]]
    decisions: list[dict[str, str]]
    manifest: dict[str, dict[str, str]]
    prepared: set[str]  # paths


@pytest.fixture(scope="module")
def decided(tmp_path_factory) -> Decided:
    project = Project(tmp_path_factory.mktemp("strange"))
    pack(project.source / "strange.zip", WHOLE | {file.path: file.content for file in FILES.values()})
    project.set("data.source", "strange.zip")
    for stage in STAGES:
        done = project.run(stage)
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    data = project.folder / "data"
    scan, manifest = ({row["path"]: row for row in table(data / name)} for name in ("scan.csv", "manifest.csv"))
    return Decided(scan, table(data / "decisions.csv"), manifest,
                   {row["path"] for row in table(data / "prepared/index.csv")})


def table(path: Path) -> list[dict[str, str]]:
    """Its rows, each with as many fields as the head has. Raises csv.Error for what a strict reader refuses."""
    with open(path, encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file, strict=True)
    return [dict(zip(head, row, strict=True)) for row in rows]


def test_each_kind_has_its_decision():
    assert FILES.keys() == EXPECTED.keys() and len(FILES) >= 50
    assert len({file.path for file in FILES.values()}) == len(FILES)


@pytest.mark.parametrize("kind", LOOKED_AT)
def test_what_is_read(kind):
    expected = EXPECTED[kind]
    assert image_names([FILES[kind].path], lambda path: FILES[kind].content)
    if expected == UNREADABLE:
        with pytest.raises(Unreadable):
            decode(FILES[kind].content)
    else:
        read = decode(FILES[kind].content)
        assert read.dtype == np.uint8 and read.shape == expected.pixels.shape
        assert np.abs(read.astype(int) - expected.pixels).max() <= expected.within


@pytest.mark.parametrize("kind", [kind for kind in FILES if "bomb" in kind])
def test_bombs_are_refused_for_their_size(kind):
    with pytest.raises(Unreadable, match=r"decompression bomb|too large"):
        decode(FILES[kind].content)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_a_file_cut_anywhere_is_read_whole_or_not_at_all(format):
    content = whole(format)
    expected = decode(content)
    for length in range(1, len(content), len(content) // 40):
        try:
            read = decode(content[:length])
        except Unreadable:
            continue
        assert np.array_equal(read, expected), f"cut after byte {length} of {len(content)}"


@pytest.mark.slow
@pytest.mark.parametrize("kind", EXPECTED)
def test_decision(decided, kind):
    expected, path = EXPECTED[kind], FILES[kind].path
    rows = [row for row in decided.decisions if row["path"] == path]
    if expected == SKIPPED:
        assert path not in decided.scan and {row["action"] for row in rows} <= {"skipped"}
    elif expected == UNREADABLE:
        row, = rows
        assert (row["issue"], row["action"]) == ("unreadable", "dropped")
        assert row["reason"] and len(row["reason"].splitlines()) == 1
        assert decided.scan[path]["issue"] == "unreadable"
    else:
        height, width, _ = expected.pixels.shape
        assert (decided.manifest[path]["width"], decided.manifest[path]["height"]) == (str(width), str(height))
        assert not GONE & {row["action"] for row in rows}


@pytest.mark.slow
def test_what_is_kept_is_in_use_and_nothing_else(decided):
    looked_at = {FILES[kind].path for kind in LOOKED_AT}
    kept = {FILES[kind].path for kind in LOOKED_AT if EXPECTED[kind] != UNREADABLE}
    assert decided.scan.keys() == WHOLE.keys() | looked_at
    assert decided.manifest.keys() == decided.prepared == WHOLE.keys() | kept


@pytest.mark.slow
def test_only_bad_files_end_in_one_line(project):
    bad = [kind for kind in LOOKED_AT if EXPECTED[kind] == UNREADABLE]
    pack(project.source / "bad.zip", {FILES[kind].path: FILES[kind].content for kind in bad})
    done = project.set("data.source", "bad.zip").run(*STAGES)
    line, = done.stderr.splitlines()
    assert done.returncode == 1 and f"none of its {len(bad)} images can be used" in line
