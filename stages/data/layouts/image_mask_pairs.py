"""Images and their masks in two folders beside each other: `images/x.jpg` and `masks/x.png`, in any wrapping folders.

Also read: split folders on either side (`train/images/x.jpg`, `images/train/x.jpg`), masks named `x_mask.png`, and
images without masks in a folder of a name in UNLABELLED.
"""

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from stages.core.errors import UserError
from stages.data.decode import has_image_suffix
from stages.data.sample import SPLITS, UNLABELLED, Sample

IMAGES = {"images", "image", "imgs", "img", "photos", "photo", "pictures"}
MASKS = {"masks", "mask", "labels", "label", "annotations", "annotation", "segmentations", "segmentation", "gt"}
SUFFIXES = ("_mask", "_label", "_seg")  # that a mask's name may have and its image's lacks


class Pair(NamedTuple):
    """What an image and its mask have in common."""

    above: tuple[str, ...]  # the folders around images/ and masks/
    below: tuple[str, ...]  # those inside
    stem: str  # the file's name without .jpg


def samples(names: list[str], read: Callable[[str], bytes]) -> Iterator[Sample]:
    """A sample an image. Raises UserError for an image or a mask that lacks its other half, or has more than one.

    names: all files of the archive. read: not used here; a layout with an index file reads it so.
    """
    pictures, masks, unlabelled = _found(names)
    paired = _paired(pictures, masks)
    divided = any(_split(pair) for pair in pictures)
    for pair, name in pictures.items():
        if pair not in paired:
            raise UserError(f"data/raw.zip: the image {name!r} has no mask of its name; add one to the folder of masks, or "
                        "move the image into a folder named unlabelled")
        source_split = _split(pair)
        if divided and not source_split:
            raise UserError(f"data/raw.zip: {name!r} lies beside the split folders, and in none of them; move it into one "
                        f"(split folders: {', '.join(SPLITS)})")
        yield Sample(name, SPLITS.get(source_split.lower(), ""), source_split, paired[pair])
    for name, folder in unlabelled.items():
        yield Sample(name, "unlabelled", folder, "")


def _found(names: list[str]) -> tuple[dict[Pair, str], dict[Pair, str], dict[str, str]]:
    """Images and masks by what pairs them; and images without labels, with the folders that say so."""
    pictures, masks, unlabelled = {}, {}, {}
    for name in filter(has_image_suffix, names):
        *folders, file = PurePosixPath(name).parts
        known = [number for number, folder in enumerate(folders) if folder.lower() in IMAGES | MASKS]
        side = folders[known[-1]].lower() if known else ""
        hidden = [folder for folder in folders if folder.lower() in UNLABELLED]
        if hidden and side not in MASKS:
            unlabelled[name] = hidden[0]
            continue
        if not side:
            raise UserError(f"data/raw.zip: {name!r} lies in no folder named images or masks; the layout image_mask_pairs "
                        "reads images/x.jpg and masks/x.png: move the file, or choose another data.layout")
        pair = Pair(tuple(folders[:known[-1]]), tuple(folders[known[-1] + 1:]), PurePosixPath(file).stem)
        kind, same = ("mask", masks) if side in MASKS else ("image", pictures)
        if pair in same:
            raise _several(same[pair], name, kind)
        same[pair] = name
    return pictures, masks, unlabelled


def _paired(pictures: dict[Pair, str], masks: dict[Pair, str]) -> dict[Pair, str]:
    """The mask of each image that has one, by what pairs them."""
    paired = {}
    for pair, name in masks.items():
        stems = [pair.stem, *(pair.stem.removesuffix(suffix) for suffix in SUFFIXES)]
        image = next((other for stem in stems if (other := pair._replace(stem=stem)) in pictures), None)
        if not image:
            raise UserError(f"data/raw.zip: the mask {name!r} has no image of its name; add the image, or remove the mask")
        if image in paired:
            raise _several(paired[image], name, "mask")
        paired[image] = name
    return paired


def _several(first: str, second: str, kind: str) -> UserError:
    other = "image" if kind == "mask" else "mask"
    return UserError(f"data/raw.zip: {first!r} and {second!r} are both the {kind} of one {other}; keep one of them")


def _split(pair: Pair) -> str:
    """The nearest folder that is named like a split, as the source writes it, or ""."""
    return next((folder for folder in (*pair.below, *reversed(pair.above)) if folder.lower() in SPLITS), "")
