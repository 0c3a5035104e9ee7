"""split.image_size as params.yaml and a model's card have it: n for a square of n×n pixels, or [height, width]."""

from __future__ import annotations

from collections.abc import Sequence


def height_and_width(image_size: int | Sequence[int]) -> tuple[int, int]:
    """(H, W), pixels."""
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    return height, width


def shortest(size: tuple[int, int]) -> int | tuple[int, int]:
    """The other way round: n where (H, W) is a square, else (H, W)."""
    return size[0] if size[0] == size[1] else size


def pixels_text(image_size: int | Sequence[int]) -> str:
    """`32×32 pixels`, or `40×24 pixels (width × height)`."""
    height, width = height_and_width(image_size)
    return f"{width}×{height} pixels" + (" (width × height)" if width != height else "")
