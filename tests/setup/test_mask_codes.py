"""What the codes of masks stand for, on masks made up."""

import io

import numpy as np
import pytest
from PIL import Image

from stages.setup import mask_codes

SIDE = 40


def found(*masks: Image.Image, suffix: str = "PNG") -> mask_codes.MaskCodes:
    files = {}
    for number, mask in enumerate(masks):
        content = io.BytesIO()
        mask.save(content, suffix, **({"quality": 90} if suffix == "JPEG" else {}))
        files[f"{number}.{suffix.lower()}"] = content.getvalue()
    return mask_codes.find(list(files), files.get)


def grey(*values: int, blur: int = 0) -> Image.Image:
    """Stripes of these values."""
    stripes = np.repeat(np.repeat(np.array(values, np.uint8), SIDE)[None], SIDE * len(values), 0)
    image = Image.fromarray(stripes)
    return image.resize((image.width * blur, image.height * blur), Image.Resampling.BICUBIC) if blur else image


def indexed(values: tuple[int, ...], palette: list[tuple[int, int, int]]) -> Image.Image:
    image = Image.fromarray(np.array(grey(*values)), "P")
    image.putpalette([part for colour in palette for part in colour])
    return image


def test_two_codes_are_background_and_foreground():
    codes = found(grey(0, 255), grey(0, 0, 255))
    assert codes.classes == {"background": 0, "foreground": 255} and not codes.ignored and not codes.are_mixed


def test_beside_several_255_counts_nowhere():
    codes = found(grey(0, 1, 255), grey(0, 2))
    assert codes.classes == {"class_0": 0, "class_1": 1, "class_2": 2} and codes.ignored == [255]
    codes = found(grey(0, 1, 255), grey(0, 1))  # a rim around what is 1
    assert codes.classes == {"background": 0, "foreground": 1} and codes.ignored == [255]


def test_a_foreground_of_1_here_and_of_255_there():
    codes = found(grey(0, 1), grey(0, 255))
    assert codes.classes == {"background": 0, "foreground": {"any": [1, 255]}} and not codes.ignored
    assert codes.shares == {"background": 0.5, "foreground": 0.5}


def test_a_soft_edge_is_no_class():
    """Of a few greys, as of many."""
    mask = np.array(grey(0, 255))
    mask[:, SIDE - 4:SIDE + 5] = np.linspace(28, 227, 9).astype(np.uint8)
    codes = found(Image.fromarray(mask), Image.fromarray(mask))
    assert codes.classes == {"background": 0, "foreground": 255} and codes.are_mixed and not codes.ignored


def test_classes_in_grey_stay_classes():
    codes = found(grey(*range(0, 256, 20)))
    assert len(codes.classes) == 13 and not codes.are_mixed


def test_three_greys_that_jpeg_made_many_of_are_three():
    codes = found(*[grey(0, 100, 200, 0)] * 3, suffix="JPEG")
    assert list(codes.classes.values()) == pytest.approx([0, 100, 200], abs=3) or not codes.are_mixed
    noisy = np.clip(np.array(grey(0, 100, 200, 0)).astype(int) + np.random.default_rng(0).integers(
        -15, 16, (4 * SIDE, 4 * SIDE)), 0, 255).astype(np.uint8)
    codes = found(Image.fromarray(noisy))
    assert list(codes.classes.values()) == pytest.approx([0, 100, 200], abs=16) and codes.are_mixed


def test_palettes_that_differ_are_read_by_their_colours():
    red, green, black = (255, 0, 0), (0, 255, 0), (0, 0, 0)
    codes = found(indexed((0, 1), [black, red]), indexed((0, 1), [green, black]), indexed((0, 1), [red, green]))
    assert set(codes.classes.values()) == {red, green, black}
    same = found(*[indexed((0, 1, 2), [black, red, green])] * 3)
    assert set(same.classes.values()) == {0, 1, 2}
    chance = np.random.default_rng(0).integers(0, 256, (9, 2, 3)).tolist()  # a palette that means nothing
    assert set(found(*(indexed((0, 1), palette) for palette in chance)).classes.values()) == {0, 1}
