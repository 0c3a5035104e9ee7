"""Of JPEGs that are cut in the middle, how many are told from whole ones, and at what cost?

    python -m benchmarks.cut_jpegs ARCHIVE.zip… [--cut 270]

Every JPEG of the archives is decoded, and what is refused is counted by its reason: none that is whole should be. Some,
drawn at random, are stored anew in other codings and cut at ten places each, with and without an end marker behind.
"""

import argparse
import io
import random
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from stages.core import errors
from stages.data import decode
from stages.data.jpeg import SEGMENT, jpeg_scans

END = b"\xff\xd9"
CODINGS = {"as it is": None, "progressive": {"progressive": True, "quality": 85},
           "restart markers": {"restart_marker_blocks": 7, "quality": 90},
           "progressive 4:4:4": {"progressive": True, "subsampling": 0, "quality": 95}}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cut_jpegs", description=__doc__.splitlines()[0])
    parser.add_argument("archives", nargs="+", type=Path)
    parser.add_argument("--cut", type=int, default=270, help="how many JPEGs are cut")
    options = parser.parse_args()
    whole = [content for archive in options.archives for content in _decoded(archive)]
    chosen, found = random.Random(0).sample(whole, min(options.cut, len(whole))), Counter()
    for number, content in enumerate(chosen):
        coding = list(CODINGS)[number % len(CODINGS)]
        for cut in _cuts(_stored(content, CODINGS[coding])):
            for ending in (b"", END):
                found[coding, ending, _fails(cut + ending)] += 1
    for coding in CODINGS:
        told = [f"{found[coding, ending, True]} of {found[coding, ending, True] + found[coding, ending, False]}"
                for ending in (b"", END)]
        print(f"cut, {coding:<18} without an end marker {told[0]:>12}, with one {told[1]:>12}")


def _decoded(archive: Path) -> list[bytes]:
    """The JPEGs in it that can be read; prints how many can't, and the CPU time of both parts of reading."""
    whole, refused, times = [], Counter(), [0.0, 0.0]
    for content in _jpegs(archive):
        try:
            start = time.process_time()
            image = decode._loaded(content)
            loaded = time.process_time()
            decode._check_jpeg(content, image)
            times = [times[0] + loaded - start, times[1] + time.process_time() - loaded]
            whole.append(content)
        except decode.Unreadable as error:
            refused[str(error).partition("(")[0]] += 1
    pixels, check = (1e3 * seconds / max(1, len(whole)) for seconds in times)
    print(f"{archive.name}: {len(whole)} read, {pixels:.2f} ms each and {check:.2f} ms to check; refused: "
          f"{dict(refused) or 'none'}")
    return whole


def _jpegs(archive: Path) -> Iterator[bytes]:
    with zipfile.ZipFile(archive) as file:
        yield from (content for name in file.namelist() if (content := file.read(name))[:3] == b"\xff\xd8\xff")


def _stored(content: bytes, options: dict | None) -> bytes:
    if options is None:
        return content
    file = io.BytesIO()
    Image.fromarray(decode.decode(content)).save(file, "JPEG", **options)
    return file.getvalue()


def _cuts(content: bytes) -> Iterator[bytes]:
    """Ten: evenly spread over the scans' data; of several scans, two of them exactly between two scans."""
    start = _first_scan(content)
    first = SEGMENT.search(content, start).start()
    places = [start + (len(content) - 2 - start) * (2 * number + 1) // 20 for number in range(10)]
    if (last := jpeg_scans(content).start) > first:
        places[0], places[5] = first, content.rindex(b"\xff\xda", 0, last)
    return (content[:place] for place in places)


def _first_scan(content: bytes) -> int:
    """Where its data begin."""
    at = 2
    while content[at + 1] != 0xDA:
        at += 2 + int.from_bytes(content[at + 2:at + 4], "big")
    return at + 2 + int.from_bytes(content[at + 2:at + 4], "big")


def _fails(content: bytes) -> bool:
    try:
        decode.decode(content)
    except decode.Unreadable:
        return True
    return False


if __name__ == "__main__":
    errors.run(main)
