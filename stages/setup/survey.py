"""Looks into a source before anything is set: which layout reads it, what its labels are, how its pictures are made.

In: the names of its files, and a function that reads one. Out: a `Survey`. The layout is the one that uses most files.
"""

import random
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from types import MappingProxyType, ModuleType
from typing import NamedTuple, Self

from stages.cleaning import image_quality, near_duplicates
from stages.core import plugins
from stages.core.errors import UserError
from stages.data import archive, listing
from stages.data.annotations.class_names import check_classes
from stages.data.decode import Unreadable, decode_with_header
from stages.data.sample import AND, Sample, target_files

# Where several layouts use equally many files, the first of these; then the rest by name.
ORDER = ("tiny_imagenet", "imagenet", "aerial_tiles", "image_mask_pairs", "image_mask_patterns", "coco")
LAST = ("image_folder",)  # nearly everything can be read as folders of classes
LOOKED_AT = 400  # pictures at most, drawn at random
SECONDS, LEAST = 10.0, 16  # fewer, but so many, where looking takes longer
NOTHING = MappingProxyType({})
BOXES = {".xml": rb"<bndbox>", ".json": rb'"bbox"', ".txt": rb"\A\s*\d+(\s+[01]?\.\d+){4}\s"}
FEW, MUCH = 5, 10**6  # files of each kind that are looked into, bytes of each
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
        masks = self.masks if self.task == "segmentation" else []
        return {sample.path for sample in self.samples} | {file for mask in masks for file in target_files(mask)}

    def worth(self) -> tuple[int, int]:
        """Files that it uses with a label, images and masks; and all that it uses."""
        unlabelled = sum(not sample.target for sample in self.samples)
        return len(self.used) - unlabelled, len(self.used)

    def agrees(self, other: Self) -> bool:
        """Whether both give the same images the same labels."""
        return self.labels() == other.labels()

    def labels(self) -> set[tuple[str, str]]:
        return {(sample.path, sample.target) for sample in self.samples}

    @property
    def masks(self) -> list[str]:
        """The names of all masks; some may lie in one file."""
        return [name for sample in self.samples if sample.target for name in sample.target.split(AND)]


class Stumbled(UserError):
    """A layout knows the archive for one of its kind, and finds something wrong in it."""


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


def choose_layout(names: Sequence[str], read: Read, where: str, layout: str = "",
                  given: Mapping[str, object] = NOTHING) -> tuple[Reading, list[str]]:
    """The reading that uses most files, and the layouts that use as many and read other labels. Raises UserError where
    none fits.

    where: what the archive is called in it. layout: the only one to ask, if the user has named one. given: options of
    the layout, if the user has set some; only layouts that have them are asked.
    """
    readings, refusals, stumbled = [], [], []
    for name in [layout] if layout else layouts():
        try:
            if reading := recognise(name, names, read, given, is_named=bool(layout)):
                readings.append(reading)
        except UserError as error:
            (stumbled if isinstance(error, Stumbled) else refusals).append(str(error))
    if not readings:
        reason = next(iter([*stumbled, *reversed(refusals)]), f"no layout has the options {', '.join(given)}")
        how = "; make new takes both: LAYOUT=name OPTIONS='{option: value}'" if "data.layout" in reason else ""
        if boxed := _boxes(names, read):
            how += f"; {boxed!r} holds boxes, which are no labels here: classes or outlines are needed (docs/images.md)"
        raise UserError(reason.replace(str(archive.RAW), where) + how)
    best = max(readings, key=Reading.worth)  # the first of equals
    return best, [other.layout for other in readings if other.worth() == best.worth() and not other.agrees(best)]


def _boxes(names: Sequence[str], read: Read) -> str:
    """The first of a few files that hold boxes, as VOC, COCO and YOLO write them; "" without one."""
    for suffix, pattern in BOXES.items():
        files = sorted(name for name in names if name.lower().endswith(suffix))[:FEW]
        if found := next((name for name in files if re.search(pattern, read(name)[:MUCH])), ""):
            return found
    return ""


def layouts() -> list[str]:
    """The names of all layouts, in the order in which they are asked."""
    names = sorted(path.stem for path in (plugins.STAGES / "data/layouts").glob("[!_]*.py"))
    first, last = ([name for name in some if name in names] for some in (ORDER, LAST))
    return [*first, *(name for name in names if name not in first + last), *last]


def recognise(name: str, names: Sequence[str], read: Read, given: Mapping[str, object] = NOTHING,
              is_named: bool = False) -> Reading | None:
    """The archive as this layout reads it; None where the layout says that it is none of its kind.

    Raises UserError where the layout stumbles, or finds classes that can't be meant; one of LAST then says why it is
    none of its kind, for who has no other. given, is_named: as in `choose_layout`.
    """
    layout: ModuleType = plugins.module("data/layouts/*", name, "data.layout")
    known = layout.Options.model_fields if hasattr(layout, "Options") else {}
    if not is_named and not given.keys() <= known.keys():
        return None
    recognised = layout.recognise(names, read) if hasattr(layout, "recognise") else {}
    if recognised is None and not is_named and name not in LAST:
        return None
    options = {**(recognised or {}), **given}
    try:
        samples = listing.list_samples(layout, names, read, options)
    except UserError as error:
        raise (Stumbled(str(error)) if recognised and name not in LAST else error) from None
    files = set(names)
    targets = [sample.target for sample in samples if sample.target]
    if targets and all(files.issuperset(target_files(target)) for target in targets):
        return Reading(name, options, "segmentation", samples)
    check_classes(samples)
    if recognised is None and not given and not is_named:
        raise _no_classes(samples)
    return Reading(name, options, "classification", samples)


def _no_classes(samples: Sequence[Sample]) -> UserError:
    """For folders that are sound, and no set to train on."""
    train, held_out = ({sample.target for sample in samples if sample.target and sample.split in splits}
                       for splits in (("", "train"), ("val", "test")))
    if unseen := sorted(held_out - train):
        return UserError(f"{archive.RAW}: no training image of {unseen[0]!r}, which val or test has; add some, or take "
                         "the folder out (names must be spelt alike)")
    return UserError(f"{archive.RAW} has {len(train)} class(es) to train on ({', '.join(sorted(train)) or 'none'}), "
                     "and two are needed: put the images of each class into a folder of its name; where the labels "
                     "lie in a table or in the names, its form is not clear: see stages/data/layouts")


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
