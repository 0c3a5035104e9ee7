"""From what was found in a source to the choices for params.yaml, and to the amount of work. The rules decide
(stages/setup/rules.py); this gives them what they need to know.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from stages.core import params
from stages.core.errors import UserError
from stages.data import drawing, tiling
from stages.data.sample import Sample
from stages.setup import presets, rules
from stages.setup.mask_codes import MaskCodes
from stages.setup.rules import Choice
from stages.setup.source import Source
from stages.setup.survey import Pictures, Reading
from stages.setup.timing import Amounts

NAMED_CLASSES = 12  # at most, in a sentence


class Counts(NamedTuple):
    """Images of the source, and what becomes of them."""

    classes: Mapping[str, int]  # those that are drawn from, by label; of masks: none
    train: int  # val and test, where they have to be drawn, are drawn from these
    val: int
    test: int
    unlabelled: int
    drawn: Mapping[str, float]  # the splits that the source lacks, test first: shares of the training images

    @property
    def after_draw(self) -> tuple[int, int, int]:
        """Train, val and test. Of each class its share is drawn, and one image at least."""
        after = {"train": 0, "val": self.val, "test": self.test}
        for left in self.classes.values() or [self.train]:
            for split, fraction in self.drawn.items():
                after[split] += (number := drawing.share(fraction, left))
                left -= number
            after["train"] += left
        return after["train"], after["val"], after["test"]


def count(reading: Reading) -> Counts:
    """Raises UserError where no pipeline could be run on so little."""
    is_training = [sample for sample in reading.samples if sample.split in ("", "train")]
    labelled = [sample for sample in is_training if sample.target]
    splits = Counter(sample.split for sample in reading.samples)
    defaults = params.read_yaml(presets.DEFAULTS)["split"]
    drawn = {split: defaults[f"{split}_fraction"] for split in ("test", "val") if not splits[split]}
    if "val" in drawn and reading.task == "classification":
        drawn["val"] = rules.val_fraction(drawn["val"], round(len(labelled) * (1 - drawn.get("test", 0))))
    classes = Counter(sample.target for sample in labelled) if reading.task == "classification" else {}
    _check(reading, labelled, classes, drawn)
    return Counts(classes, len(labelled), splits["val"], splits["test"],
                  splits["unlabelled"] + len(is_training) - len(labelled), drawn)


def choices(source: Source, size_gb: float, reading: Reading, pictures: Pictures, counts: Counts,
            codes: MaskCodes | None, weights: tuple[rules.Weights | None, str]) -> list[Choice]:
    """In the order of params.yaml. size_gb: of all files, unpacked. weights: teacher's and student's."""
    name = re.sub(r"(\.tar)?\.\w+$", "", source.name.rpartition("/")[2])
    return [*_data(name, source, size_gb, reading, codes), *_drawn(counts), *rules.choose(rules.Facts(
        reading.task, counts.classes, counts.after_draw[0], tiles(reading.task, pictures), pictures.short_side,
        rules.common_aspect(pictures.sizes), *weights)), *_report(name, source, reading.task, counts.classes, codes)]


def tiles(task: str, pictures: Pictures) -> float:
    """How many tiles a picture gives, on average."""
    if task != "segmentation":
        return 1.0
    size, overlap = rules.tile(pictures.short_side)
    sizing = tiling.Sizing(size, size, "tiles", rules.tile_scale(pictures.short_side), overlap)
    return float(np.mean([len(tiling.places(*size, 0, sizing)) for size in pictures.sizes]))


def amounts(reading: Reading, pictures: Pictures, counts: Counts) -> Amounts:
    """What the stages will have to do."""
    each = tiles(reading.task, pictures)
    train, val, test, unlabelled = (round(number * each) for number in (*counts.after_draw, counts.unlabelled))
    labelled = counts.train if reading.task == "classification" else 0
    return Amounts(len(reading.samples), labelled, train, val, test, unlabelled)


def _check(reading: Reading, labelled: Sequence[Sample], classes: Mapping[str, int], drawn: Mapping) -> None:
    if not labelled:
        raise UserError(f"the layout {reading.layout} finds {len(reading.samples)} images, but no labelled one to "
                        "train on; add labels, or choose another layout (stages/data/layouts)")
    if reading.task == "classification" and len(classes) < 2:
        raise UserError(f"the layout {reading.layout} finds one class alone, {next(iter(classes))!r}; at least two are "
                        "needed: put images of each into a folder of its own")
    least = 1 + len(drawn)
    if few := [name for name, number in classes.items() if number < least]:
        others = f" and {len(few) - 1} more have" if len(few) > 1 else " has"
        raise UserError(f"the class {few[0]!r}{others} fewer than {least} training images, but "
                        f"{' and '.join(['train', *drawn])} need one each; add images, or take the class out")


def _data(name: str, source: Source, size_gb: float, reading: Reading, codes: MaskCodes | None) -> list[Choice]:
    limit = params.read_yaml(presets.DEFAULTS)["data"]["max_unpacked_gb"]
    found = [Choice("data.name", name, ""), Choice("data.task", reading.task, ""),
             Choice("data.source", source.name, f"From {source.url}" if source.url else ""),
             Choice("data.sha256", source.sha256, ""), Choice("data.layout", reading.layout, ""),
             Choice("data.layout_options", dict(reading.options), "")]
    if size_gb > limit:
        found.append(Choice("data.max_unpacked_gb", float(np.ceil(size_gb)), "As large as it is."))
    if codes:
        found += _mask_choices(codes)
    return found


def _drawn(counts: Counts) -> Iterator[Choice]:
    usual = params.read_yaml(presets.DEFAULTS)["split"]["val_fraction"]
    if counts.drawn.get("val", usual) != usual:
        yield Choice("split.val_fraction", counts.drawn["val"], f"A share of {usual:g} would be few images.")


def _mask_choices(codes: MaskCodes) -> Iterator[Choice]:
    of = f"As in the {codes.looked_at} masks that were looked at"
    yield Choice("data.masks.classes", codes.classes, f"{of}." if codes.are_named else f"{of}; rename the classes.")
    if codes.ignored:
        yield Choice("data.masks.ignored", codes.ignored, "Beside several others this index stands for no class.")
    if codes.are_mixed:
        yield Choice("data.masks.unknown", "nearest", f"Most of {codes.found} codes are mixtures: JPEG, or soft edges.")
    elif not codes.are_all and None not in codes.classes.values():
        yield Choice("data.masks.unknown", "ignore", "Masks that were not looked at may hold further codes.")
    yield Choice("data.masks.other_size", "rescale", "")


def _report(name: str, source: Source, task: str, classes: Mapping[str, int], codes: MaskCodes | None) -> list[Choice]:
    """What is known. The rest keeps "Not stated."."""
    known = [Choice("report.title", f"{re.sub(r'[_-]+', ' ', name).capitalize()}, distilled", "")]
    if source.url:
        known.append(Choice("report.provenance", f"Downloaded from {source.url}; terms not stated.", ""))
    if task == "classification":
        known.append(Choice("report.intended", f"Telling apart images of {listed(sorted(classes))}.", ""))
    elif codes and codes.are_named:
        seen = listed([name for name in codes.classes if name != "background"])
        known.append(Choice("report.intended", f"Outlining {seen} in images like those of the set.", ""))
    return known


def listed(names: Sequence[str]) -> str:
    """The names in a sentence, as plain text in Markdown; of many the number."""
    plain = [re.sub(r"[^\w ,.()-]|_", " ", name).strip() for name in names]
    if len(plain) > NAMED_CLASSES:
        return f"{len(plain)} classes, from {plain[0]} to {plain[-1]}"
    return " and ".join(filter(None, (", ".join(plain[:-1]), plain[-1])))
