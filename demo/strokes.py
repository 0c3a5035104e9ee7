"""What pen strokes look like in the training images, so that the page can bring what people draw to that form: to a
network that learnt from thick light strokes, thin dark ones are something else.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from stages.data import prepared

SAMPLE = 1000  # training images that are looked at
NEAR = 16  # levels: so far from the ground a pixel is part of it
CONTRAST = 64  # levels between ground and ink, at least
CROSS = ndimage.generate_binary_structure(2, 1)[None]  # a pixel and its four neighbours
FITS = 0.99  # share of the characters that the frame is large enough for


def training_form(classes: Sequence[str]) -> dict[str, float | str] | None:
    """`form` of the training images; None where the classes aren't single characters."""
    if any(len(name) != 1 for name in classes):
        return None
    images = prepared.images("train")
    return form(images[prepared.evenly_spaced(len(images), SAMPLE)])


def form(images: np.ndarray) -> dict[str, float | str] | None:
    """How characters are drawn in images, uint8 (N,H,W,3). None where they are coloured, or on no even ground.

    ground, ink: levels, 0 to 255. In pixels: stroke, their width; edge, how far it is from ground to ink; height and
    width of the frame that characters fit in, which is larger than the image where they are cut off. centre: box |
    mass, whichever moves less from image to image.
    """
    if (images != images[..., :1]).any():
        return None
    grey = images[..., 0].astype(float)  # (N, H, W)
    border = np.concatenate([grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]], 1)
    ground = np.median(border)
    farthest = np.abs(grey - ground).max((1, 2))  # (N,)
    level = ground + np.sign((grey - ground).mean()) * np.median(farthest)
    if abs(level - ground) < CONTRAST or (np.abs(border - ground) <= NEAR).mean() < 0.5:
        return None
    share = ((grey - ground) / (level - ground)).clip(0, 1)  # 0: ground, 1: ink
    share = share[(share > 0.5).any((1, 2))]
    inked = share > 0.5
    down, across = np.gradient(np.pad(share, ((0, 0), (1, 1), (1, 1))), axis=(1, 2))  # an outline that is closed
    slope = np.hypot(down, across)
    outline = inked & ~ndimage.binary_erosion(inked, CROSS, border_value=1)
    edge = 1 / np.median(slope[:, 1:-1, 1:-1][outline])
    tops, lefts = (_ends(share.max(axis), edge) for axis in (2, 1))  # (N, 2) each
    boxes = np.stack([tops.mean(1), lefts.mean(1)], 1)
    masses = np.array([np.argwhere(one).mean(0) for one in inked])
    return {"ground": float(ground), "ink": float(level), "edge": round(float(edge), 2),
            "stroke": round(float(np.median(2 * share.sum((1, 2)) / slope.sum((1, 2)))), 2),  # 2 · area / outline
            "height": round(float(np.quantile(np.ptp(tops, axis=1), FITS)), 2),
            "width": round(float(np.quantile(np.ptp(lefts, axis=1), FITS)), 2),
            "centre": "box" if boxes.std(0).sum() <= masses.std(0).sum() else "mass"}


def _ends(profile: np.ndarray, edge: float) -> np.ndarray:
    """Where ink begins and ends along a side, (N, 2) in pixels, by its largest share in each row or column, (N, side).
    That is between pixels, and beyond the first and the last one where ink is cut off there.
    """
    inked, rows = profile > 0.5, np.arange(len(profile))
    first, last = inked.argmax(1), profile.shape[1] - 1 - inked[:, ::-1].argmax(1)
    return np.stack([first - (profile[rows, first] - 0.5) * edge, last + (profile[rows, last] - 0.5) * edge], 1)
