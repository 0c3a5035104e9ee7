"""Images and their masks wherever they lie, by two patterns, as `images: "JPEGImages/{id}.jpg"` and
`masks: "SegmentationClass/{id}.png"` (what may stand in a pattern: stages/data/annotations/path_patterns.py).

Recognised: any two kinds of names that differ by their folder, by an ending (x.jpg and x_mask.png), or by both, such as
Pascal VOC's, Cityscapes', CamVid's, Carvana's, ISIC's, Oxford Pets', ADE20K's, Roboflow's and BUSI's; with the split
in a folder's name, or in text files that list the images of each (VOC's ImageSets). Masks may be outlines: labelme's
x.json, YOLO's x.txt.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Literal

import numpy as np
import pydantic

from stages.core.errors import UserError
from stages.core.params import Section
from stages.data.annotations import mask_names, outlines, split_lists, split_names
from stages.data.annotations.path_patterns import Match, fields, matches
from stages.data.decode import Unreadable, decode
from stages.data.image_files import image_names, leave_out
from stages.data.sample import AND, Sample

# Its test masks are blank, since the labels are withheld: what others report is measured on its val.
CITYSCAPES = {"val": "test", "test": "unlabelled"}
LOOKED_AT = 5  # masks that `recognise` reads
MOST_COLOURS = 64  # of a mask; a photograph has more, even a grey one
ANY_SIZE = 1000, 1000  # of outlines that don't state the image's
Read = Callable[[str], bytes]
Key = tuple[str, ...]  # what an image and its mask have in common


class Options(Section):
    images: str  # pattern of their paths
    masks: str  # pattern; its parts in braces occur in `images` too
    lists: str = ""  # pattern of text files, a line an image: "ImageSets/Segmentation/{split}.txt"
    splits: dict[str, Literal["train", "val", "test", "unlabelled"]] = pydantic.Field(default_factory=dict)
    missing_mask: Literal["stop", "unlabelled"] = "stop"  # an image without a mask
    several_masks: Literal["stop", "unite"] = "stop"  # of one image; unite: each adds to the one before
    ignored: list[str] = pydantic.Field(default_factory=list)  # folders or files to leave out: preview, *_color.png

    @pydantic.model_validator(mode="after")
    def _check(self) -> "Options":
        if unknown := set(fields(self.masks)) - set(fields(self.images)):
            raise ValueError(f"masks has the part {{{min(unknown)}}}, which images lacks")
        if self.lists and "{split}" not in self.lists:
            raise ValueError(f"lists is {self.lists!r}, which lacks {{split}}: which split a file lists")
        return self


def samples(names: Sequence[str], read: Read, options: Options) -> Iterator[Sample]:
    """One sample per image, in the order of `names`. Raises UserError for a mask without an image, and for an image
    with no mask or with several, if the options don't say otherwise.

    names: all files of the archive. read: the content of one.
    """
    names = leave_out(names, options.ignored)
    masks = matches(options.masks, [*image_names(names, read), *filter(outlines.is_outlines, names)])
    seen = {match.path for match in masks}
    images = matches(options.images, [name for name in image_names(names, read) if name not in seen])
    masks_of = _paired(images, masks, fields(options.masks))
    listed = split_lists.splits_of(options.lists, names, read, images) if options.lists else {}
    for image in images:
        own = masks_of.get(image.path, [])
        if len(own) > 1 and options.several_masks == "stop":
            raise UserError(f"data/raw.zip: {own[0]!r} and {own[1]!r} are both masks of {image.path!r}; keep one, or "
                            "set data.layout_options.several_masks to unite")
        source_split = listed.get(image.path, "") if options.lists else image.fields.get("split", "")
        split = options.splits.get(source_split) or split_names.split_of(source_split)
        if options.lists and not source_split:
            split, source_split = "unlabelled", "in no list"
        if not own and split != "unlabelled":
            if options.missing_mask == "stop":
                raise UserError(f"data/raw.zip: the image {image.path!r} has no mask like {options.masks!r}; add one, "
                                "or set data.layout_options.missing_mask to unlabelled")
            split = "unlabelled"
        target = "" if split == "unlabelled" else AND.join(own)
        yield Sample(image.path, split, source_split, target, image.fields.get("group", ""))


def recognise(names: Sequence[str], read: Read) -> dict[str, object] | None:
    """The patterns and what else the archive shows; None where no names of images and masks go together."""
    found = image_names(names, read)
    guessed = mask_names.guess(found, names)
    if not guessed:
        return None
    options = dict(zip(("images", "masks"), guessed, strict=True))
    if "_gtFine_" in options["masks"]:
        options["splits"] = CITYSCAPES
    if "*" in options["masks"].removesuffix(".*"):
        options["several_masks"] = "unite"
    if "{split}" not in options["images"] and (lists := split_lists.guess(names, read, matches(guessed[0], found))):
        options["lists"] = lists
    for policy in ({}, {"missing_mask": "unlabelled"}):
        with suppress(UserError):
            targets = [sample.target for sample in samples(names, read, Options(**options | policy)) if sample.target]
            return options | policy if _are_masks(guessed, targets[:LOOKED_AT], read) else None
    return None


def _are_masks(patterns: tuple[str, str], targets: Sequence[str], read: Read) -> bool:
    """Whether outlines can be read, and pictures called as their image, x.png beside x.jpg, have few colours."""
    images, masks = (pattern.rpartition(".")[0] for pattern in patterns)
    try:
        for target in targets:
            if outlines.is_outlines(target):
                outlines.draw(target, read, ANY_SIZE)
            elif images == masks and len(np.unique(decode(read(target)).reshape(-1, 3), axis=0)) > MOST_COLOURS:
                return False
    except Unreadable:
        return False
    return True


def _paired(images: Sequence[Match], masks: Sequence[Match], parts: Sequence[str]) -> dict[str, list[str]]:
    """Image → its masks. Where several images are called the same, those of the mask's own folders."""
    by_key, found = defaultdict(list), defaultdict(list)
    for image in images:
        by_key[_key(image, parts)].append(image)
    for mask in masks:
        called = by_key[_key(mask, parts)]
        near = [image for image in called if image.above == mask.above] if len(called) > 1 else called
        if not near:
            raise UserError(f"data/raw.zip: the mask {mask.path!r} has no image of its name; add the image, or leave "
                            "the mask out (data.layout_options.ignored)")
        if len(near) > 1:
            raise UserError(f"data/raw.zip: {near[0].path!r} and {near[1].path!r} are both the image of {mask.path!r}; "
                            "keep one, or give patterns that tell them apart (data.layout_options)")
        found[near[0].path].append(mask.path)
    return found


def _key(match: Match, parts: Sequence[str]) -> Key:
    return tuple(match.fields[part] for part in parts)
