"""Near-duplicates: copies are found, mirrored ones too, different pictures are not; the same as one by one."""

import io

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from stages.cleaning import near_duplicates

THRESHOLD = 0.9
COPIES = {
    "quality 30": lambda image: _reencoded(image, 30),
    "half the size": lambda image: _reencoded(image.resize((image.width // 2, image.height // 2)), 90),
    "larger and stretched": lambda image: image.resize((3 * image.width // 2, 4 * image.height // 3)),
    "brighter": lambda image: _reencoded(ImageEnhance.Brightness(image).enhance(1.2), 90),
    "darker": lambda image: _reencoded(ImageEnhance.Brightness(image).enhance(0.8), 90),
    "more contrast": lambda image: _reencoded(ImageEnhance.Contrast(image).enhance(1.2), 90),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "mirrored": lambda image: _reencoded(ImageOps.mirror(image), 90),
    "mirrored, half, darker, quality 40": lambda image: _reencoded(ImageEnhance.Brightness(ImageOps.mirror(
        image.resize((image.width // 2, image.height // 2)))).enhance(0.8), 40),
}


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Forty blurred noises: no two are alike, and none has an edge that JPEG would ring at."""
    chance = np.random.default_rng(0)
    clouds = [Image.fromarray(chance.integers(0, 256, (12, 15, 3), np.uint8)) for _ in range(40)]
    return [cloud.resize((120, 96), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(2)) for cloud in clouds]


def test_fingerprints_are_the_hashes_of_picture_and_mirror_image(pictures):
    for picture in pictures[:5]:
        found = near_duplicates.fingerprints(np.asarray(picture))
        for ours, its in zip(found, map(imagehash.phash, (picture, ImageOps.mirror(picture))), strict=True):
            assert imagehash.hex_to_hash(ours) - its <= 4  # levels rounded in colour, not in grey
        assert near_duplicates.fingerprints(near_duplicates.thumbnail(np.asarray(picture))) == found


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (2000, 3), (32, 32), (700, 500)])
def test_pictures_of_any_size_have_a_thumbnail(shape):
    pixels = np.full((*shape, 3), (10, 120, 250), np.uint8)
    assert (near_duplicates.thumbnail(pixels) == np.full((32, 32, 3), (10, 120, 250))).all()
    assert [len(found) for found in near_duplicates.fingerprints(pixels)] == [16, 16]


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_copies_are_found_and_nothing_else(pictures, copy):
    found = _pairs([*pictures, *map(copy, pictures)], THRESHOLD)
    assert [(i, j) for i, j, _ in found] == [(i, i + len(pictures)) for i in range(len(pictures))]
    assert all(score <= 1 for _, _, score in found)


def test_the_same_picture_has_similarity_1(pictures):
    (pair,) = _pairs([pictures[0], pictures[1], pictures[0]], THRESHOLD)
    assert pair == (0, 2, pytest.approx(1, abs=1e-3))


def test_a_shared_hash_alone_is_not_enough(pictures):
    """One hash for all: what is confirmed is decided by the thumbnails."""
    _, _, thumbnails = _table([*pictures, _reencoded(pictures[3], 60)])
    same = np.zeros(len(thumbnails), np.uint64)
    assert [(i, j) for i, j, _ in near_duplicates.pairs(same, ~same, thumbnails, THRESHOLD)] == [(3, 40)]


def test_a_mirrored_hash_compares_the_mirrored_thumbnail(pictures):
    thumbnails = np.stack([_table([picture])[2][0] for picture in (pictures[0], ImageOps.mirror(pictures[0]))])
    one, other = np.array([[0, 2**64 - 1], [2**64 - 1, 0]], np.uint64)
    assert near_duplicates.pairs(one, other, thumbnails, THRESHOLD)
    assert not near_duplicates.pairs(np.zeros(2, np.uint64), other, thumbnails, THRESHOLD)


def test_uniform_pictures_are_similar_to_none():
    chance = np.random.default_rng(1)
    plain = [np.full((64, 64, 3), level, np.uint8) for level in (0, 0, 128, 255, 255)]
    grainy = [np.clip(255 - chance.integers(0, 2, (200, 200, 3)), 0, 255).astype(np.uint8) for _ in range(20)]
    shaded = [np.full((64, 64, 3), 250, np.uint8) - np.arange(64, dtype=np.uint8)[:, None, None] // 32]
    assert _pairs(map(Image.fromarray, [*plain, *grainy, *shaded]), THRESHOLD) == []


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_pictures_have_no_pairs(count):
    hashes = np.zeros(count, np.uint64)
    assert near_duplicates.pairs(hashes, hashes, np.zeros((count, 32, 32, 3), np.uint8), THRESHOLD) == []


def test_pairs_are_those_of_a_double_loop_whatever_the_tiles(pictures, monkeypatch):
    """Also in the tiles' corners, at hash distances 8 and 10, the limit between them, and with medium similarities."""
    chance = np.random.default_rng(2)
    blends = [Image.blend(*(pictures[i] for i in chance.integers(0, 8, 2)), chance.uniform(0, 0.3)) for _ in range(60)]
    table = _table([*blends, *(ImageOps.mirror(picture) for picture in blends[:20])])
    expected = _one_by_one(*table, 0.8)
    distances = np.bitwise_count(table[0][:, None] ^ table[0])
    assert 50 < len(expected) < 80 * 79 / 2 and {8, 10} < set(distances.flat)
    for tile, batch in ((1024, 1024), (7, 5), (1, 1)):
        monkeypatch.setattr(near_duplicates, "TILE", tile)
        monkeypatch.setattr(near_duplicates, "BATCH", batch)
        found = near_duplicates.pairs(*table, 0.8)
        assert [pair[:2] for pair in found] == list(expected)
        assert [pair[2] for pair in found] == pytest.approx(list(expected.values()), abs=1e-4)
        assert near_duplicates.pairs(*table, 0.8) == found


def test_memory_does_not_follow_the_number_of_comparisons(monkeypatch):
    """Of 3000 blank pictures all 4.5 million pairs share a hash: no more than a tile or a batch is ever looked at."""
    monkeypatch.setattr(near_duplicates, "TILE", 64)
    sizes = [len(first) for first, _, _ in near_duplicates._proposed(*np.zeros((2, 3000), np.uint64))]
    assert sum(sizes) == 2 * 3000 * 2999 / 2 and max(sizes) <= 64 * 64
    compared = []
    monkeypatch.setattr(near_duplicates, "BATCH", 50)
    monkeypatch.setattr(near_duplicates, "_correlation", lambda one, _: compared.append(len(one)) or np.zeros(len(one)))
    noise = np.random.default_rng(3).integers(0, 256, (150, 32, 32, 3), np.uint8)
    blank = np.zeros((3000, 32, 32, 3), np.uint8)
    assert near_duplicates.pairs(*np.zeros((2, 3150), np.uint64), np.concatenate([blank, noise]), 0.9) == []
    assert sum(compared) == 2 * 150 * 149 / 2 and max(compared) == 50


def _one_by_one(hashes, mirrors, thumbnails, least: float) -> dict[tuple[int, int], float]:
    """What `pairs` says it finds, written as plainly as can be."""
    found = {}
    for i in range(len(hashes)):
        for j in range(i + 1, len(hashes)):
            one, other = thumbnails[i], thumbnails[j]
            scores = [_similarity(one, view) for own, view in ((hashes[i], other), (mirrors[i], other[:, ::-1]))
                      if int(own ^ hashes[j]).bit_count() <= 8]
            if scores and max(scores) >= least:
                found[i, j] = max(scores)
    return found


def _similarity(one: np.ndarray, other: np.ndarray) -> float:
    bands = [_band(view @ np.array([0.299, 0.587, 0.114])) for view in (one, other)]
    bands = [band - band.mean() for band in bands]
    powers = [(band**2).mean() + 0.01 for band in bands]
    return (bands[0] * bands[1]).mean() / np.sqrt(powers[0] * powers[1])


def _band(grey: np.ndarray) -> np.ndarray:
    """Blurred once, less blurred five times, by sums of neighbours."""
    blurred = [grey]
    for _ in range(5):
        wide = np.pad(blurred[-1], 1, mode="edge")
        rows = (wide[:-2] + 2 * wide[1:-1] + wide[2:]) / 4
        blurred.append((rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 4)
    return blurred[1] - blurred[5]


def _pairs(images, least: float) -> list[tuple[int, int, float]]:
    return near_duplicates.pairs(*_table(images), least)


def _table(images) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hashes, mirrors, thumbnails, as the scan makes them."""
    pixels = [np.asarray(image) for image in images]
    hashes = np.array([[int(code, 16) for code in near_duplicates.fingerprints(image)] for image in pixels], np.uint64)
    return *hashes.T, np.stack([near_duplicates.thumbnail(image) for image in pixels])


def _reencoded(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")
