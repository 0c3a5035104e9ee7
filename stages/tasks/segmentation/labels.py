"""Segmentation labels for the data stages: one class per pixel, S = (H,W), from a mask in raw.zip.

`data.masks` in params.yaml says which colour or index of the masks stands for which class.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from stages.core import params
from stages.core.errors import UserError
from stages.data.annotations import outlines
from stages.data.colour import strips
from stages.data.decode import OtherKind, Unreadable, decode_mask
from stages.data.large_pictures import LARGE
from stages.data.prepared import IGNORED
from stages.data.sample import AND
from stages.tasks.segmentation import mask_params, soft_masks
from stages.tasks.segmentation.mask_params import Table

STORED = mask_params.STORED  # dtype of targets.npy
# What `examine` may find, the most serious first, and its consequence: see cleaning/findings.py.
ISSUES = {"unreadable_mask": "unreadable", "mask_size": "drop", "empty_mask": "report", "unknown_colour": "report",
          "one_class_mask": "report"}
SAME_SHAPE = 0.01  # by this share the ratio of width to height of a mask may differ from its image's, to be rescaled
Read = Callable[[str], bytes]
Row = Mapping[str, str]  # of data/manifest.csv
Size = tuple[int, int]  # (H, W)


class Mask(NamedTuple):
    """A mask as stored, before `data.masks` says what it means."""

    name: str
    pixels: np.ndarray  # uint8 (H,W,3) of colours, else integers (H,W)
    labels: Sequence[str]  # of each number, if the mask is drawn of outlines


def examine(target: str, read: Read, size: Size) -> tuple[str, str, str]:
    """Identity (equal for equal labels), issue ("", or one of ISSUES) and the reason for it.

    target: the mask's name in raw.zip, "" without one; read: the content of a file there; size: (H, W) of the image.
    Raises UserError for an unknown colour and for a size other than the image's if params.yaml says stop.
    """
    if not target:
        return "", "", ""
    table = _table()
    try:
        stored = [_stored(name, read, size, table) for name in target.split(AND)]
    except Unreadable as error:
        return "", "unreadable_mask", f"its mask {target!r}: {error}"
    for name, (own_height, own_width) in ((mask.name, mask.pixels.shape[:2]) for mask in stored):
        if _fits((own_height, own_width), size, table.policy.other_size):
            continue
        mask, image = f"{own_width}×{own_height}", f"{size[1]}×{size[0]}"
        if table.policy.other_size != "stop":
            return "", "mask_size", f"the mask is {mask}, its image {image}"
        raise UserError(f"data/raw.zip: the mask {name!r} is {mask} pixels, its image {image} (turned as its EXIF "
                        "data say); replace one of them, or set data.masks.other_size to drop, or to rescale")
    mask, unknown = _joined(stored, size, table)
    return hashlib.sha256(b"%dx%d " % size + mask.tobytes()).hexdigest(), *_issue(mask, unknown, table)


def unite_labels(rows: Iterable[dict[str, object]], read: Read) -> None:
    """Gives one `label` to the masks of one picture that are the same but for a few pixels (data.masks.same_iou).

    rows: of data/scan.csv. Where there are several, the first mask by path decides.
    """
    labels = defaultdict(dict)  # pixels → label → the first row with it
    for row in rows:
        if row["label"]:
            labels[row["pixels"]].setdefault(row["label"], row)
    united = {}  # pixels and label → the label it becomes
    for pixels, firsts in labels.items():
        kept = []  # (label, mask)
        for label, row in firsts.items() if len(firsts) > 1 else ():
            mask = target(row, [], read)
            same = next((other for other, mask_there in kept
                         if _mean_iou(mask, mask_there) >= _table().policy.same_iou), None)
            united[pixels, label] = same or label
            kept += [] if same else [(label, mask)]
    for row in rows:
        row["label"] = united.get((row["pixels"], row["label"]), row["label"])


def stratum(row: Row) -> str:
    """Splits are not stratified: a picture shows several classes."""
    return ""


def classes(rows: Sequence[Row]) -> list[str]:
    """The class names, in the order of params.yaml. Raises UserError for fewer than two."""
    return _table().names


def shape(size: tuple[int, int]) -> tuple[int, ...]:
    """S for images of size (H, W)."""
    return size


def target(row: Row, names: list[str], read: Read) -> np.ndarray:
    """int16 (H,W), in the image's size: the class of each pixel, or IGNORED. row: its `target`, `height` and `width`
    count. read: as in `examine`.
    """
    table, size = _table(), (int(row["height"]), int(row["width"]))
    return _joined([_stored(name, read, size, table) for name in row["target"].split(AND)], size, table)[0]


def _table() -> Table:
    return mask_params.table(params.FILE.read_bytes())


def _stored(name: str, read: Read, size: Size, table: Table) -> Mask:
    """Raises Unreadable; UserError for a mask of another kind than the codes in params.yaml."""
    if (table.kind is str) != outlines.is_outlines(name):
        kinds = "outlines", "an index or [red, green, blue]"
        stored, given = kinds if table.kind is not str else ("an image", "the label of an outline")
        raise UserError(f"data/raw.zip: the mask {name!r} is {stored}, but data.masks.classes gives each class "
                        f"{given}; give them as the masks are stored")
    if table.kind is str:
        return Mask(name, *outlines.draw(name, read, size, max(LARGE, math.prod(size))))
    try:
        pixels = decode_mask(read(name), table.kind is tuple)
    except OtherKind as error:
        raise UserError(f"data/raw.zip: the mask {name!r} is {error}, as data.masks.classes has them; store all masks "
                        "in one way, and give their classes as they are stored: an index or [red, green, blue]"
                        ) from None
    if pixels.dtype == bool and 1 not in table.codes:  # of one bit, among others of eight: white is 255
        pixels = pixels * np.uint8(255)
    return Mask(name, pixels, ())


def _joined(masks: Sequence[Mask], size: Size, table: Table) -> tuple[np.ndarray, float]:
    """What `_classes` says, in the image's size. Of several masks each adds to those before where these show the
    background: the class of all that stands nowhere else, or the first one.
    """
    background = table.rest or 0
    joined, unknown = np.full(size, background, STORED), 0.0
    for mask in masks:
        classes, share = _classes(mask, table)
        joined, unknown = np.where(joined == background, _rescaled(classes, size), joined), max(unknown, share)
    return joined, unknown


def _classes(mask: Mask, table: Table) -> tuple[np.ndarray, float]:
    """The class of each pixel, int16 (H,W), and the share of unknown ones, 0–1, or UserError if the policy is stop."""
    codes = _codes(mask, table)
    targets, is_known = np.empty(codes.shape, STORED), np.empty(codes.shape, bool)
    for strip in strips(*codes.shape):  # a place takes eight bytes a pixel
        places = np.searchsorted(table.codes, codes[strip]).clip(max=len(table.codes) - 1)
        is_known[strip], targets[strip] = table.codes[places] == codes[strip], table.targets[places]
    if is_known.all():
        return targets, 0.0
    if table.policy.unknown == "nearest":
        nearest = soft_masks.nearest(mask.pixels.reshape(*codes.shape, -1), table.levels)
        return table.targets[nearest.numbers], nearest.strange
    if table.rest is not None:
        targets[~is_known] = table.rest
        return targets, 0.0
    if table.policy.unknown == "stop":
        raise _unknown(mask, codes[~is_known], table)
    targets[~is_known] = IGNORED
    return targets, 1 - float(is_known.mean())


def _codes(mask: Mask, table: Table) -> np.ndarray:
    """int32 (H,W), as in table.codes. A label that stands nowhere there becomes a number beyond them."""
    if table.kind is str:
        unknown = len(table.codes)
        return np.array([table.labels.get(label, unknown + number) for number, label in enumerate(mask.labels)],
                        np.int32)[mask.pixels]
    return mask_params.as_numbers(mask.pixels, table.kind)


def _unknown(mask: Mask, unknown: np.ndarray, table: Table) -> UserError:
    """unknown: the codes that stand for nothing; the most frequent one is named."""
    codes, counts = np.unique(unknown, return_counts=True)
    code = int(codes[counts.argmax()])
    which = f"the index {code}"
    if table.kind is tuple:
        which = f"the colour {(code >> 16, code >> 8 & 255, code & 255)}"
    elif table.kind is str:
        label = mask.labels[code - len(table.codes)]
        which = f"the label {label!r}" if label else "no outline, which is the label ''"
    more = f" (and {len(codes) - 1} more unknown)" if len(codes) > 1 else ""
    return UserError(f"data/raw.zip: the mask {mask.name!r} holds {which} in {counts.max()} pixels{more}, which stands "
                     "for nothing; add it to data.masks.classes or data.masks.ignored, or set data.masks.unknown to "
                     "ignore" + ("" if table.kind is str else ", or to nearest if the masks' colours are not exact"))


def _fits(own: Size, size: Size, other_size: str) -> bool:
    """Whether a mask of its own size can be used: rescaled, if it has the same shape as far as whole pixels can."""
    width = own[0] * size[1] / size[0]  # that a mask of its own height would have
    return own == size or (other_size == "rescale" and abs(width - own[1]) <= max(1, SAME_SHAPE * width))


def _rescaled(mask: np.ndarray, size: Size) -> np.ndarray:
    """The mask (H,W) in another size: the nearest pixel's class."""
    if mask.shape == size:
        return mask
    rows, columns = (((np.arange(new) + 0.5) * old / new).astype(int)
                     for old, new in zip(mask.shape, size, strict=True))
    return mask[rows[:, None], columns]


def _mean_iou(mask: np.ndarray, other: np.ndarray) -> float:
    """Over the classes that either shows, on the pixels that count in both; 0 if none does."""
    both = (mask != IGNORED) & (other != IGNORED)
    mask, other = mask[both], other[both]
    shares = [((mask == number) & (other == number)).sum() / ((mask == number) | (other == number)).sum()
              for number in np.union1d(mask, other)]
    return float(np.mean(shares)) if shares else 0.0


def _issue(mask: np.ndarray, unknown: float, table: Table) -> tuple[str, str]:
    """The issue of a mask of classes, int16 (H,W), and the reason, or "", "". unknown: share of its pixels."""
    present = np.unique(mask[mask != IGNORED])
    if not present.size:
        return "empty_mask", "no pixel of the mask counts"
    if unknown:
        return "unknown_colour", f"{100 * unknown:.3g} % of the mask's pixels stand for nothing that params.yaml names"
    if present.size == 1:
        return "one_class_mask", f"the mask shows {table.names[present[0]]} alone"
    return "", ""
