"""Near-duplicates: copies are found, mirrored ones too, different pictures are not; the same as one by one; crowds."""

import io

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

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
    assert [(i, j) for i, j, _ in _links(same, ~same, thumbnails, THRESHOLD)] == [(3, 40)]


def test_a_mirrored_hash_compares_the_mirrored_thumbnail(pictures):
    thumbnails = np.stack([_table([picture])[2][0] for picture in (pictures[0], ImageOps.mirror(pictures[0]))])
    one, other = np.array([[0, 2**64 - 1], [2**64 - 1, 0]], np.uint64)
    assert _links(one, other, thumbnails, THRESHOLD)
    assert not _links(np.zeros(2, np.uint64), other[::-1], thumbnails, THRESHOLD)


def test_uniform_pictures_are_similar_to_none():
    chance = np.random.default_rng(1)
    plain = [np.full((64, 64, 3), level, np.uint8) for level in (0, 0, 128, 255, 255)]
    grainy = [np.clip(255 - chance.integers(0, 2, (200, 200, 3)), 0, 255).astype(np.uint8) for _ in range(20)]
    shaded = [np.full((64, 64, 3), 250, np.uint8) - np.arange(64, dtype=np.uint8)[:, None, None] // 32]
    assert _pairs(map(Image.fromarray, [*plain, *grainy, *shaded]), THRESHOLD) == []


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_pictures_have_no_pairs(count):
    hashes = np.zeros(count, np.uint64)
    assert _links(hashes, hashes, np.zeros((count, 32, 32, 3), np.uint8), THRESHOLD) == []


def test_pairs_are_those_of_a_double_loop_whatever_the_blocks(pictures, monkeypatch):
    """Also across blocks, at hash distances 8 and 10, the limit between them, and with medium similarities."""
    chance = np.random.default_rng(2)
    blends = [Image.blend(*(pictures[i] for i in chance.integers(0, 8, 2)), chance.uniform(0, 0.3)) for _ in range(60)]
    table = _table([*blends, *(ImageOps.mirror(picture) for picture in blends[:20])])
    expected = _one_by_one(*table, 0.8)
    distances = np.bitwise_count(table[0][:, None] ^ table[0])
    assert 50 < len(expected) < 80 * 79 / 2 and {8, 10} < set(distances.flat)
    monkeypatch.setattr(near_duplicates, "CROWD", 80)
    for block, batch in ((256, 1024), (7, 5), (1, 1)):
        monkeypatch.setattr(near_duplicates, "BLOCK", block)
        monkeypatch.setattr(near_duplicates, "BATCH", batch)
        found = _links(*table, 0.8)
        assert [pair[:2] for pair in found] == list(expected)
        assert [pair[2] for pair in found] == pytest.approx(list(expected.values()), abs=1e-4)


@pytest.mark.parametrize("block", [256, 10])
def test_a_crowd_is_linked_to_a_few_of_it_and_falls_into_the_same_clusters(pictures, monkeypatch, block):
    """Three scenes, each 60 times with a little noise, and single copies among them."""
    chance = np.random.default_rng(4)
    frames = [Image.fromarray(np.clip(np.asarray(pictures[number % 3]) + chance.normal(0, 6, (96, 120, 3)), 0, 255)
                              .astype(np.uint8)) for number in range(180)]
    table = _table([*frames, *pictures[3:], _reencoded(pictures[5], 60)])
    expected = _one_by_one(*table, THRESHOLD)
    assert len(expected) > 3 * 60 * 59 / 2 * 0.9
    monkeypatch.setattr(near_duplicates, "BLOCK", block)
    found = _links(*table, THRESHOLD)
    assert len(found) < 180 * 20 and {pair[:2] for pair in found} <= expected.keys()
    assert _clusters(found, 218) == _clusters(expected, 218) and len(set(_clusters(found, 218))) == 3 + 37


@pytest.mark.parametrize("block", [256, 10])
def test_a_new_keeper_is_compared_with_the_crowd_before_it(pictures, monkeypatch, block):
    """Twenty times one picture, then one halfway to another, which is like the last ones of the twenty alone."""
    far = Image.blend(pictures[0], pictures[1], 0.3)
    table = _table([*[pictures[0]] * 20, *[Image.blend(pictures[0], pictures[1], 0.15)] * 2, far])
    same = np.zeros(23, np.uint64)  # so that similarity alone decides
    table = same, ~same, table[2]
    one_to_far, middle_to_far = (_similarity(table[2][i], table[2][22]) for i in (0, 20))
    threshold = (one_to_far + middle_to_far) / 2
    assert one_to_far < threshold - 0.01 and _similarity(table[2][0], table[2][20]) > threshold
    monkeypatch.setattr(near_duplicates, "BLOCK", block)
    assert {(20, 22), (21, 22)} <= {pair[:2] for pair in _links(*table, threshold)}


def test_work_and_memory_follow_the_number_of_images_in_a_crowd(monkeypatch):
    """Of 1500 images with one hash half are blank and never looked at; each other one is linked to few."""
    noise = np.random.default_rng(3).integers(0, 256, (1, 32, 32, 3), np.uint8)
    thumbnails = np.concatenate([np.zeros((750, 32, 32, 3), np.uint8), noise.repeat(750, axis=0)])
    proposed = []
    confirmed = near_duplicates._Images.confirmed
    monkeypatch.setattr(near_duplicates._Images, "confirmed", lambda self, *pairs: proposed.append(
        sum(part.shape[1] for part in pairs)) or confirmed(self, *pairs))
    same = np.zeros(1500, np.uint64)
    found = near_duplicates.links(same, same, thumbnails, 0.9)
    assert found.first.min() == 750 and len(found.first) < 750 * (near_duplicates.CROWD + 2)
    assert sum(proposed) < 2 * 750 * near_duplicates.BLOCK < 2 * 750 * 749 / 2 * 0.7


def _one_by_one(hashes, mirrors, thumbnails, least: float) -> dict[tuple[int, int], float]:
    """All pairs, written as plainly as can be."""
    found, (plain, mirrored) = {}, ([_unit(view) for view in views] for views in (thumbnails, thumbnails[:, :, ::-1]))
    for i in range(len(hashes)):
        for j in range(i + 1, len(hashes)):
            scores = [(plain[i] * other).mean() for own, other in ((hashes[j], plain[j]), (mirrors[j], mirrored[j]))
                      if int(own ^ hashes[i]).bit_count() <= 8]
            if scores and max(scores) >= least:
                found[i, j] = max(scores)
    return found


def _similarity(one: np.ndarray, other: np.ndarray) -> float:
    return (_unit(one) * _unit(other)).mean()


def _unit(thumbnail: np.ndarray) -> np.ndarray:
    band = _band(thumbnail @ np.array([0.299, 0.587, 0.114]))
    band = band - band.mean()
    return band / np.sqrt((band**2).mean() + 0.01)


def _band(grey: np.ndarray) -> np.ndarray:
    """Blurred once, less blurred five times, by sums of neighbours."""
    blurred = [grey]
    for _ in range(5):
        wide = np.pad(blurred[-1], 1, mode="edge")
        rows = (wide[:-2] + 2 * wide[1:-1] + wide[2:]) / 4
        blurred.append((rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 4)
    return blurred[1] - blurred[5]


def _pairs(images, least: float) -> list[tuple[int, int, float]]:
    return _links(*_table(images), least)


def _links(*arguments) -> list[tuple[int, int, float]]:
    return list(zip(*(column.tolist() for column in near_duplicates.links(*arguments)), strict=True))


def _clusters(pairs, count: int) -> list[int]:
    """The number of each image's cluster."""
    first, second = np.array([pair[:2] for pair in pairs]).T
    return connected_components(coo_array((np.ones(len(first)), (first, second)), shape=(count, count)),
                                directed=False)[1].tolist()


def _table(images) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hashes, mirrors, thumbnails, as the scan makes them."""
    pixels = [np.asarray(image) for image in images]
    hashes = np.array([[int(code, 16) for code in near_duplicates.fingerprints(image)] for image in pixels], np.uint64)
    return *hashes.T, np.stack([near_duplicates.thumbnail(image) for image in pixels])


def _reencoded(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")
