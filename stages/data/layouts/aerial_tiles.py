"""Aerial photographs of Dubai (Humans in the Loop): Tile <n>/images/*.jpg with Tile <n>/masks/*.png of the same name.

The source has no splits. Whole tiles are drawn, because neighbouring parts of a tile show the same streets. Its
classes.json is not read: the colours there are not those of the masks, which `data.masks` in params.yaml gives.
"""

import re
from collections.abc import Callable, Iterator

from stages.core.errors import UserError
from stages.data.sample import Sample

PART = re.compile(r"(?P<tile>(?:.*/)?(?P<group>Tile \d+))/(?P<kind>images|masks)/(?P<stem>[^/]+)\.(?:jpg|png)")


def samples(names: list[str], read: Callable[[str], bytes]) -> Iterator[Sample]:
    """One sample per image, grouped by tile. Raises UserError if there is no tile, or an image without its mask."""
    parts = [part for part in map(PART.fullmatch, names) if part]
    if not parts:
        raise UserError("data/raw.zip holds no Tile <n>/images and Tile <n>/masks, so it is not the aerial photographs "
                        "of Dubai; choose another data.layout")
    masks = {(part["tile"], part["stem"]): part[0] for part in parts if part["kind"] == "masks"}
    for part in parts:
        if part["kind"] == "images":
            if (part["tile"], part["stem"]) not in masks:
                raise UserError(f"data/raw.zip: the image {part[0]!r} has no mask "
                                f"{part['tile']}/masks/{part['stem']}.png; get the archive again")
            yield Sample(part[0], "", "", masks[part["tile"], part["stem"]], part["group"])


def recognise(names: list[str], read: Callable[[str], bytes]) -> dict[str, object] | None:
    """{}; None where there are no tiles, or not all of them have masks."""
    try:
        return {} if list(samples(names, read)) else None
    except UserError:
        return None
