"""Which pictures are nearly the same: re-encoded, resized, brightened, mirrored. In: decoded RGB. Out: of each picture
two hashes and a thumbnail, and from those the pairs.

A hash proposes, since 64 bits are quick to compare; but pictures of one kind, such as vehicles before one camera, share
it without being the same. The thumbnails confirm: by the correlation of what lies between the finest detail, which
encoders and resizing change, and broad light and shade, which pictures of one kind have in common. Brightness, contrast
and colour don't enter into it. A cropped or turned copy counts as another picture: looking for the best small shift
as well would find more of the cropped ones, and take different cars for the same one.
"""

from collections.abc import Iterator

import imagehash
import numpy as np
from PIL import Image, ImageOps

SIDE = 32  # height and width of a thumbnail
DISTANCE = 8  # of 64 bits, up to which two hashes propose a pair
NOISE = 0.01  # squared grey levels, some times what rounding leaves in a band: near-uniform pictures are like nothing
TILE = 1024  # hashes by hashes in one step: 8 MB
BATCH = 1024  # pairs of thumbnails in one step
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in Pillow's L
# A step of blur along a line: weights ¼ ½ ¼, the border repeated. n steps are nearly a Gaussian of σ = √(n / 2).
STEP = np.eye(SIDE) / 2 + (np.eye(SIDE, k=1) + np.eye(SIDE, k=-1) + np.diag([1, *[0] * (SIDE - 2), 1])) / 4
FINE, BROAD = (np.linalg.matrix_power(STEP, steps).astype(np.float32) for steps in (1, 5))  # symmetric, (32,32)


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """uint8 (32,32,3) of uint8 (H,W,3), squashed; a thumbnail's thumbnail is itself."""
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=3))


def fingerprints(pixels: np.ndarray) -> tuple[str, str]:
    """The perceptual hash of a picture, uint8 (H,W,3), and that of its mirror image: 16 hex digits each.

    Those of its thumbnail are the same. The hash is imagehash.phash of it: which of the 64 lowest frequencies of a
    cosine transform are above their median.
    """
    image = Image.fromarray(thumbnail(pixels))
    return str(imagehash.phash(image)), str(imagehash.phash(ImageOps.mirror(image)))


def pairs(hashes: np.ndarray, mirrors: np.ndarray, thumbnails: np.ndarray,
          likeness: float) -> list[tuple[int, int, float]]:
    """Pairs i < j of pictures at least so alike, in order, each with its likeness: 1 for the same picture.

    hashes, mirrors: uint64 (N,). thumbnails: uint8 (N,32,32,3), may be memory-mapped. likeness: over 0, at most 1.
    All pairs of hashes are compared; memory depends on the number of pairs found alone.
    """
    eventful = _eventful(thumbnails, likeness)
    best: dict[tuple[int, int], float] = {}
    for first, second, mirrored in _proposed(hashes[eventful], mirrors[eventful]):
        for start in range(0, len(first), BATCH):
            one, other = (eventful[some[start:start + BATCH]] for some in (first, second))
            scores = _correlation(thumbnails[one], thumbnails[other][:, :, ::-1] if mirrored else thumbnails[other])
            for pair in np.flatnonzero(scores >= likeness):
                key = int(one[pair]), int(other[pair])
                best[key] = max(best.get(key, 0.0), float(scores[pair]))
    return [(*pair, score) for pair, score in sorted(best.items())]


def _eventful(thumbnails: np.ndarray, likeness: float) -> np.ndarray:
    """int (n,): the rows with enough in them to be so much like anything, by the inequality of Cauchy and Schwarz."""
    rows = []
    for start in range(0, len(thumbnails), BATCH):
        energy = _band(thumbnails[start:start + BATCH]).var((1, 2))
        rows.append(start + np.flatnonzero(energy / (energy + NOISE) >= likeness**2))
    return np.concatenate(rows) if rows else np.empty(0, int)


def _proposed(hashes: np.ndarray, mirrors: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, bool]]:
    """Pairs i < j by their hashes: int (n,), int (n,), and whether i is compared with j's mirror image; by tiles."""
    for top in range(0, len(hashes), TILE):
        for left in range(top, len(hashes), TILE):
            for mirrored, own in ((False, hashes), (True, mirrors)):
                apart = np.bitwise_count(own[top:top + TILE, None] ^ hashes[left:left + TILE])
                # Flat, because numpy looks through two axes thirty times slower than through one.
                first, second = np.divmod(np.flatnonzero(apart <= DISTANCE), apart.shape[1])
                ordered = first + top < second + left
                yield first[ordered] + top, second[ordered] + left, mirrored


def _correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """float32 (n,): of the bands of two stacks of thumbnails, uint8 (n,32,32,3), thumbnail by thumbnail."""
    one, other = (band - band.mean((1, 2), keepdims=True) for band in (_band(one), _band(other)))
    shared, *energy = ((a * b).mean((1, 2)) for a, b in ((one, other), (one, one), (other, other)))
    return shared / np.sqrt((energy[0] + NOISE) * (energy[1] + NOISE))


def _band(thumbnails: np.ndarray) -> np.ndarray:
    """float32 (n,32,32): the luminance without its finest and its broadest parts, a difference of Gaussians."""
    grey = thumbnails.astype(np.float32) @ LUMINANCE
    return FINE @ grey @ FINE - BROAD @ grey @ BROAD
