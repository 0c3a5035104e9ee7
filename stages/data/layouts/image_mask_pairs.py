"""Images and their masks in two folders beside each other: `images/x.jpg` and `masks/x.png`, in any wrapping folders.

Also read: split folders on either side (`train/images/x.jpg`, `images/train/x.jpg`), masks named `x_mask.png`, and
images without masks in a folder of a name in UNLABELLED.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

import pydantic

from stages.core.errors import UserError
from stages.core.params import Section
from stages.data.annotations.class_names import MASKS
from stages.data.decode import has_image_suffix
from stages.data.image_files import leave_out
from stages.data.sample import SPLITS, UNLABELLED, Sample

IMAGES = {"images", "image", "imgs", "img", "photos", "photo", "pictures"}
SUFFIXES = ("_mask", "_label", "_seg")  # a mask's name may have one of these, which its image's lacks


class Key(NamedTuple):
    """What the paths of an image and its mask have in common."""

    above: tuple[str, ...]  # folders around images/ and masks/
    below: tuple[str, ...]  # folders inside
    stem: str  # the file's name without its suffix


class Options(Section):
    missing_mask: Literal["stop", "unlabelled"] = "stop"  # an image without a mask
    ignored: list[str] = pydantic.Field(default_factory=list)  # folders or files to leave out: preview, *_color.png


def recognise(names: list[str], read: Callable[[str], bytes]) -> dict[str, object] | None:
    """{}, or that some images have no mask; None where the folders are others, or none has."""
    for policy in ({}, {"missing_mask": "unlabelled"}):
        with suppress(UserError):
            found = list(samples(names, read, Options(**policy)))
            if any(sample.target for sample in found):
                return policy
    return None


def samples(names: list[str], read: Callable[[str], bytes], options: Options = Options()) -> Iterator[  # noqa: B008
        Sample]:
    """One sample per image. Raises UserError for an image or a mask without its counterpart, or with several.

    names: all files of the archive. read: for layouts with an index file.
    """
    images, masks, unlabelled = _sorted_out(leave_out(names, options.ignored))
    mask_of = _matched(images, masks)
    has_splits = any(map(_split, images))
    for key, name in images.items():
        if key not in mask_of and options.missing_mask == "unlabelled":
            yield Sample(name, "unlabelled", _split(key), "")
            continue
        if key not in mask_of:
            raise UserError(f"data/raw.zip: the image {name!r} has no mask of its name; add one to the folder of "
                            "masks, or move the image into a folder named unlabelled, or set "
                            "data.layout_options.missing_mask to unlabelled")
        source_split = _split(key)
        if has_splits and not source_split:
            raise UserError(f"data/raw.zip: {name!r} lies beside the split folders, and in none of them; move it into "
                            f"one (split folders: {', '.join(SPLITS)})")
        yield Sample(name, SPLITS.get(source_split.lower(), ""), source_split, mask_of[key])
    for name, folder in unlabelled.items():
        yield Sample(name, "unlabelled", folder, "")


def _sorted_out(names: list[str]) -> tuple[dict[Key, str], dict[Key, str], dict[str, str]]:
    """The names of images and of masks by their keys; and those of images without labels, with their folders."""
    images, masks, unlabelled = {}, {}, {}
    for name in filter(has_image_suffix, names):
        *folders, file = PurePosixPath(name).parts
        at = max((number for number, folder in enumerate(folders) if folder.lower() in IMAGES | MASKS), default=None)
        is_mask = at is not None and folders[at].lower() in MASKS
        folder = next((folder for folder in folders if folder.lower() in UNLABELLED), None)
        if folder and not is_mask:
            unlabelled[name] = folder
            continue
        if at is None:
            raise UserError(f"data/raw.zip: {name!r} lies in no folder named images or masks; the layout "
                            "image_mask_pairs reads images/x.jpg and masks/x.png: move the file, or choose another "
                            "data.layout")
        key = Key(tuple(folders[:at]), tuple(folders[at + 1:]), PurePosixPath(file).stem)
        first = (masks if is_mask else images).setdefault(key, name)
        if first != name:
            raise _ambiguous(first, name, "mask" if is_mask else "image")
    return images, masks, unlabelled


def _matched(images: dict[Key, str], masks: dict[Key, str]) -> dict[Key, str]:
    """The name of each image's mask, by the image's key."""
    matched = {}
    for key, name in masks.items():
        stems = [key.stem, *(key.stem.removesuffix(suffix) for suffix in SUFFIXES)]
        image = next((other for stem in stems if (other := key._replace(stem=stem)) in images), None)
        if not image:
            raise UserError(f"data/raw.zip: the mask {name!r} has no image of its name; add the image, or remove "
                            "the mask")
        if matched.setdefault(image, name) != name:
            raise _ambiguous(matched[image], name, "mask")
    return matched


def _ambiguous(first: str, second: str, kind: str) -> UserError:
    other = "image" if kind == "mask" else "mask"
    return UserError(f"data/raw.zip: {first!r} and {second!r} are both the {kind} of one {other}; keep one of them")


def _split(key: Key) -> str:
    """The nearest folder with a split's name, as the source writes it; "" if there is none."""
    return next((folder for folder in (*key.below, *reversed(key.above)) if folder.lower() in SPLITS), "")
