"""Finds images that are nearly the same: re-encoded, resized, brightened, mirrored. In: decoded RGB. Out: two hashes
and a thumbnail per image, and from these the pairs that connect what is alike.

64-bit hashes are quick to compare and propose pairs, but images of one kind, such as vehicles before one camera, share
them. Thumbnails confirm: by the correlation of their middle frequencies, without the finest detail, which encoding and
resizing change, and without broad light and shade, which images of one kind share. Brightness, contrast and colour
don't matter. Cropped or rotated copies are not found: trying small shifts would find more of the cropped ones, but also
take different cars for the same one.
"""

from typing import NamedTuple

import imagehash
import numpy as np
from PIL import Image, ImageOps

from stages.cleaning.hash_index import HashIndex, close

SIDE = 32  # height and width of a thumbnail
CROWD = 16  # images similar to a keeper, from which on further ones become no keepers
NOISE = 0.01  # squared grey levels, more than rounding leaves in a band: near-uniform images are similar to none
BLOCK = 256  # images compared with the earlier ones at a time
BATCH = 1024  # thumbnails in memory at a time: 4 MB
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


class Links(NamedTuple):
    """Pairs i < j of similar images."""

    first: np.ndarray  # int64 (n,): i
    second: np.ndarray  # int64 (n,): j
    similarity: np.ndarray  # float32 (n,): from the threshold to 1, which is the same image


def links(hashes: np.ndarray, mirrors: np.ndarray, thumbnails: np.ndarray, threshold: float) -> Links:
    """Pairs of images of at least this similarity, in order: not all of them, but enough to connect what is alike.

    hashes, mirrors: uint64 (N,). thumbnails: uint8 (N,32,32,3), may be memory-mapped. threshold: above 0, at most 1.

    Each image is compared with the keepers before it, and becomes one, unless it is similar to a keeper that CROWD
    images are similar to already; a new keeper is compared with the images too that became none. So every pair is found
    where few images are alike, and a crowd, such as the frames of one camera, costs time and memory by its images, not
    by its pairs: a few keepers stand for it. Missed are images of a crowd that are alike, but like no keeper both.
    """
    images = _Images(hashes, mirrors, thumbnails, threshold)
    keepers, others, found = _Pool(images), _Pool(images), []
    is_keeper, followers = np.ones(len(hashes), bool), np.zeros(len(hashes), int)
    candidates = _not_uniform(thumbnails, threshold)
    for start in range(0, len(candidates), BLOCK):
        block = candidates[start:start + BLOCK]
        near = _joined([keepers.similar_to(block), images.similar_within(block)])
        _elect(near, is_keeper, followers)
        stands = is_keeper[near.first] | is_keeper[near.second]
        found += [Links(*(column[stands] for column in near)), others.similar_to(block[is_keeper[block]])]
        keepers.add(block[is_keeper[block]])
        others.add(block[~is_keeper[block]])
    return _joined(found)


def _elect(near: Links, is_keeper: np.ndarray, followers: np.ndarray) -> None:
    """Decides in order which images of a block become keepers: changes `is_keeper`, bool (N,), and counts `followers`.

    near: similar pairs, of which the second image is in the block, and the first a keeper or before it in the block.
    """
    order = np.argsort(near.second, kind="stable")
    numbers, starts = np.unique(near.second[order], return_index=True)
    for number, similar in zip(numbers, np.split(near.first[order], starts[1:]), strict=False):  # no pairs are one part
        similar = similar[is_keeper[similar]]
        is_keeper[number] = (followers[similar] < CROWD).all()
        followers[similar] += 1


class _Images(NamedTuple):
    """The arguments of `links`."""

    hashes: np.ndarray
    mirrors: np.ndarray
    thumbnails: np.ndarray
    threshold: float

    def similar_within(self, block: np.ndarray) -> Links:
        """Pairs of a block, int64 (B,), which is ascending."""
        proposed = [close(own[block], self.hashes[block]) for own in (self.hashes, self.mirrors)]
        return self.confirmed(*(block[pairs[:, pairs[0] > pairs[1]]] for pairs in proposed))

    def confirmed(self, plain: np.ndarray, mirrored: np.ndarray) -> Links:
        """Of proposed pairs, each int64 (2,n), those that are similar. mirrored: one against the other's mirror."""
        return _joined([self._confirmed(pairs, is_mirrored)
                        for pairs, is_mirrored in ((plain, False), (mirrored, True))])

    def _confirmed(self, pairs: np.ndarray, is_mirrored: bool) -> Links:
        (some, row), (others, column) = (np.unique(numbers, return_inverse=True) for numbers in pairs)
        units = _units(self.thumbnails[some])[:, :, ::-1 if is_mirrored else 1].reshape(-1, SIDE * SIDE)  # (A,1024)
        scores = np.empty(len(row), np.float32)
        for start in range(0, len(others), BATCH):
            table = units @ _units(self.thumbnails[others[start:start + BATCH]]).reshape(-1, SIDE * SIDE).T
            here = np.flatnonzero((start <= column) & (column < start + BATCH))
            scores[here] = table[row[here], column[here] - start]
        pairs, scores = np.sort(pairs[:, scores >= self.threshold], axis=0), scores[scores >= self.threshold]
        return Links(*pairs, scores)


class _Pool:
    """Images that others are compared with."""

    def __init__(self, images: _Images):
        self.images, self.numbers, self.index = images, np.empty(0, int), HashIndex()

    def add(self, numbers: np.ndarray) -> None:
        self.numbers = np.concatenate([self.numbers, numbers])
        self.index.add(self.images.hashes[numbers])

    def similar_to(self, block: np.ndarray) -> Links:
        """Pairs of an image of the block, int64 (B,), and one of the pool."""
        found = [self.index.near(own[block]) for own in (self.images.hashes, self.images.mirrors)]
        return self.images.confirmed(*(np.stack([block[query], self.numbers[item]]) for query, item in found))


def _joined(parts: list[Links]) -> Links:
    """All pairs in order, each once, with its highest similarity."""
    first, second, similarity = (np.concatenate([np.empty(0, dtype), *columns]) for dtype, columns in zip(
        (int, int, np.float32), zip(*parts, strict=True) if parts else ((), (), ()), strict=True))
    order = np.lexsort([-similarity, second, first])
    first, second = first[order], second[order]
    is_new = np.ones(len(order), bool)
    is_new[1:] = (np.diff(first) != 0) | (np.diff(second) != 0)
    return Links(first[is_new], second[is_new], similarity[order][is_new])


def _not_uniform(thumbnails: np.ndarray, threshold: float) -> np.ndarray:
    """int64 (n,): images with enough contrast to reach the threshold at all, by the Cauchy–Schwarz inequality."""
    parts = [_band(thumbnails[start:start + BATCH]).var((1, 2)) for start in range(0, len(thumbnails), BATCH)]
    energy = np.concatenate([np.empty(0, np.float32), *parts])
    return np.flatnonzero(energy / (energy + NOISE) >= threshold**2)


def _units(thumbnails: np.ndarray) -> np.ndarray:
    """float32 (n,32,32): the bands of thumbnails, uint8 (n,32,32,3), such that a scalar product is a correlation."""
    bands = _band(thumbnails)
    bands -= bands.mean((1, 2), keepdims=True)
    return bands / (SIDE * np.sqrt((bands**2).mean((1, 2), keepdims=True) + NOISE))


def _band(thumbnails: np.ndarray) -> np.ndarray:
    """float32 (n,32,32): luminance without its finest and broadest parts, a difference of Gaussians."""
    grey = thumbnails.astype(np.float32) @ LUMINANCE
    return FINE @ grey @ FINE - BROAD @ grey @ BROAD
