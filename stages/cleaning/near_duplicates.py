"""Finds images that are nearly the same: re-encoded, resized, brightened, mirrored. In: decoded RGB. Out: two hashes
and a thumbnail per image, and from these the pairs.

64-bit hashes are quick to compare and propose pairs, but images of one kind, such as vehicles before one camera, share
them. Thumbnails confirm: by the correlation of their middle frequencies, without the finest detail, which encoding and
resizing change, and without broad light and shade, which images of one kind share. Brightness, contrast and colour
don't matter. Cropped or rotated copies are not found: trying small shifts would find more of the cropped ones, but also
take different cars for the same one.
"""

from collections.abc import Iterator

import imagehash
import numpy as np
from PIL import Image, ImageOps

SIDE = 32  # height and width of a thumbnail
DISTANCE = 8  # of 64 bits: hashes up to this far apart propose a pair
NOISE = 0.01  # squared grey levels, more than rounding leaves in a band: near-uniform images are similar to none
TILE = 1024  # hashes by hashes compared at a time: 8 MB
BATCH = 1024  # pairs of thumbnails compared at a time
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in Pillow's L
# One step of blur along a line: weights ¼ ½ ¼, the border repeated. n steps are nearly a Gaussian of σ = √(n / 2).
STEP = np.eye(SIDE) / 2 + (np.eye(SIDE, k=1) + np.eye(SIDE, k=-1) + np.diag([1, *[0] * (SIDE - 2), 1])) / 4
FINE, BROAD = (np.linalg.matrix_power(STEP, steps).astype(np.float32) for steps in (1, 5))  # symmetric, (32,32)


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """uint8 (32,32,3) of uint8 (H,W,3), the aspect ratio not kept; idempotent."""
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=3))


def fingerprints(pixels: np.ndarray) -> tuple[str, str]:
    """Perceptual hashes (imagehash.phash) of an image, uint8 (H,W,3), and of its mirror image: 16 hex digits each.

    They are computed from the thumbnail, so an image and its thumbnail have the same.
    """
    image = Image.fromarray(thumbnail(pixels))
    return str(imagehash.phash(image)), str(imagehash.phash(ImageOps.mirror(image)))


def pairs(hashes: np.ndarray, mirrors: np.ndarray, thumbnails: np.ndarray,
          threshold: float) -> list[tuple[int, int, float]]:
    """Pairs i < j of images with at least this similarity, in order, and their similarity: 1 for the same image.

    hashes, mirrors: uint64 (N,). thumbnails: uint8 (N,32,32,3), may be memory-mapped. threshold: above 0, at most 1.
    All pairs of hashes are compared; memory depends only on the number of pairs found.
    """
    candidates = _not_uniform(thumbnails, threshold)
    best: dict[tuple[int, int], float] = {}
    for first, second, is_mirrored in _proposed(hashes[candidates], mirrors[candidates]):
        for start in range(0, len(first), BATCH):
            one, other = (candidates[part[start:start + BATCH]] for part in (first, second))
            scores = _correlation(thumbnails[one], thumbnails[other][:, :, ::-1 if is_mirrored else 1])
            for pair in np.flatnonzero(scores >= threshold):
                key = int(one[pair]), int(other[pair])
                best[key] = max(best.get(key, 0.0), float(scores[pair]))
    return [(*pair, score) for pair, score in sorted(best.items())]


def _not_uniform(thumbnails: np.ndarray, threshold: float) -> np.ndarray:
    """int (n,): images with enough contrast to reach the threshold at all, by the Cauchy–Schwarz inequality."""
    parts = [_band(thumbnails[start:start + BATCH]).var((1, 2)) for start in range(0, len(thumbnails), BATCH)]
    energy = np.concatenate([np.empty(0, np.float32), *parts])
    return np.flatnonzero(energy / (energy + NOISE) >= threshold**2)


def _proposed(hashes: np.ndarray, mirrors: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, bool]]:
    """Pairs i < j by their hashes, in tiles: i and j, int (n,), and whether i is compared with j's mirror image."""
    for top in range(0, len(hashes), TILE):
        for left in range(top, len(hashes), TILE):
            for is_mirrored, own in ((False, hashes), (True, mirrors)):
                distance = np.bitwise_count(own[top:top + TILE, None] ^ hashes[left:left + TILE])
                # Flattened: numpy searches one axis thirty times faster than two.
                first, second = np.divmod(np.flatnonzero(distance <= DISTANCE), distance.shape[1])
                is_ordered = first + top < second + left
                yield first[is_ordered] + top, second[is_ordered] + left, is_mirrored


def _correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """float32 (n,): correlation of the bands of two stacks of thumbnails, uint8 (n,32,32,3), image by image."""
    one, other = (band - band.mean((1, 2), keepdims=True) for band in (_band(one), _band(other)))
    shared, *energy = ((a * b).mean((1, 2)) for a, b in ((one, other), (one, one), (other, other)))
    return shared / np.sqrt((energy[0] + NOISE) * (energy[1] + NOISE))


def _band(thumbnails: np.ndarray) -> np.ndarray:
    """float32 (n,32,32): luminance without its finest and broadest parts, a difference of Gaussians."""
    grey = thumbnails.astype(np.float32) @ LUMINANCE
    return FINE @ grey @ FINE - BROAD @ grey @ BROAD
