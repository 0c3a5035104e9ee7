"""Looks into a source before anything is set: which layout reads it, what its labels are, how its pictures are made.

In: the names of its files, and a function that reads one. Out: a `Survey`. The layout is the one that uses most files.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from statistics import median
from types import ModuleType
from typing import NamedTuple

from stages.cleaning import image_quality, near_duplicates
from stages.core import plugins
from stages.core.errors import UserError
from stages.data import archive, listing
from stages.data.class_names import check_classes
from stages.data.decode import Unreadable, decode_with_header
from stages.data.sample import Sample

# Where several layouts use equally many files, the first of these; then the rest by name.
ORDER = ("tiny_imagenet", "aerial_tiles", "image_mask_pairs")
LAST = ("image_folder",)  # nearly everything can be read as folders of classes
LOOKED_AT = 400  # pictures at most, drawn at random
SECONDS, LEAST = 10.0, 16  # fewer, but so many, where looking takes longer
Read = Callable[[str], bytes]


class Reading(NamedTuple):
    """An archive as one layout reads it."""

    layout: str
    options: Mapping[str, object]  # data.layout_options
    task: str
    samples: list[Sample]

    @property
    def used(self) -> set[str]:
        """The names of all files that are images or masks."""
        return {sample.path for sample in self.samples} | {
            file_of(sample.target) for sample in self.samples if self.task == "segmentation" and sample.target}


class Pictures(NamedTuple):
    """What some of the images are like."""

    sizes: list[tuple[int, int]]  # (H, W) of each
    modes: Counter  # Pillow's names: RGB, L, CMYK, …
    unreadable: Counter  # reasons
    read_seconds: float  # an image's, on average
    inspect_seconds: float  # processor time of what scan does with one

    @property
    def short_side(self) -> int:
        """Median, pixels."""
        return round(median(min(size) for size in self.sizes))


def choose_layout(names: Sequence[str], read: Read, where: str) -> tuple[Reading, list[str]]:
    """The reading that uses most files, and the other layouts that use as many. Raises UserError where none fits.

    where: what the archive is called in it.
    """
    readings, refusals = [], {}
    for layout in layouts():
        try:
            if reading := recognise(layout, names, read):
                readings.append(reading)
        except UserError as error:
            refusals[layout] = str(error)
    if not readings:
        reason = next(reversed(refusals.values()), "no layout reads this archive; see stages/data/layouts")
        raise UserError(reason.replace(str(archive.RAW), where))
    best = max(readings, key=lambda reading: len(reading.used))  # the first of equals
    return best, [other.layout for other in readings if other is not best and len(other.used) == len(best.used)]


def layouts() -> list[str]:
    """The names of all layouts, in the order in which they are asked."""
    names = sorted(path.stem for path in (plugins.STAGES / "data/layouts").glob("[!_]*.py"))
    first, last = ([name for name in some if name in names] for some in (ORDER, LAST))
    return [*first, *(name for name in names if name not in first + last), *last]


def recognise(name: str, names: Sequence[str], read: Read) -> Reading | None:
    """The archive as this layout reads it; None where the layout says that it is none of its kind.

    Raises UserError where the layout stumbles, or finds classes that can't be meant; one of LAST then says why it is
    none of its kind, for who has no other.
    """
    layout: ModuleType = plugins.module("data/layouts/*", name, "data.layout")
    options = layout.recognise(names, read) if hasattr(layout, "recognise") else {}
    if options is None and name not in LAST:
        return None
    samples = listing.list_samples(layout, names, read, options or {})
    files = set(names)
    targets = [sample.target for sample in samples if sample.target]
    if targets and all(file_of(target) in files for target in targets):
        return Reading(name, options, "segmentation", samples)
    check_classes(samples)
    return None if options is None else Reading(name, options, "classification", samples)


def file_of(mask: str) -> str:
    """The file of a mask's name, which may name an image in it: annotations.json#12."""
    return mask.partition("#")[0]


def look_at(samples: Sequence[Sample], read: Read) -> Pictures:
    """Decode and measure some of the images, as scan will. Raises UserError where none of them is readable."""
    sizes, modes, unreadable, reading, inspecting = [], Counter(), Counter(), 0.0, 0.0
    drawn, end = random.Random(0).sample(list(samples), min(LOOKED_AT, len(samples))), time.perf_counter() + SECONDS
    for count, sample in enumerate(drawn):
        if count >= LEAST and time.perf_counter() > end:
            break
        started = time.perf_counter()
        content = read(sample.path)
        reading += time.perf_counter() - started
        inspect_at = time.thread_time()
        try:
            image, header = decode_with_header(content)
            near_duplicates.fingerprints(near_duplicates.thumbnail(image))
            image_quality.measure(image)
            sizes.append(image.shape[:2])
            modes[header.mode] += 1
        except Unreadable as error:
            unreadable[str(error)] += 1
        inspecting += time.thread_time() - inspect_at
    if not sizes:
        raise UserError(f"none of {len(drawn)} images that were looked at is readable ({next(iter(unreadable))}); "
                        "get the archive again")
    looked_at = len(sizes) + unreadable.total()
    return Pictures(sizes, modes, unreadable, reading / looked_at, inspecting / looked_at)


def unused(names: Sequence[str], used: set[str]) -> Counter:
    """How many files of each suffix (lower case, with its dot; "" without one) no image or mask is."""
    return Counter(PurePosixPath(name).suffix.lower() for name in names if name not in used)


def emptied_folders(names: Sequence[str], used: set[str]) -> dict[str, int]:
    """Folders of which no file is used, beside one of which some are, and how many files they have: perhaps a class
    whose images are in a format that is not read.
    """
    counts, filled = Counter(), Counter()
    for name in names:
        folder = str(PurePosixPath(name).parent)
        counts[folder] += 1
        filled[folder] += name in used
    neighbours = {str(PurePosixPath(folder).parent) for folder in counts if filled[folder] and folder != "."}
    return {folder: counts[folder] for folder in sorted(counts)
            if not filled[folder] and folder != "." and str(PurePosixPath(folder).parent) in neighbours}
