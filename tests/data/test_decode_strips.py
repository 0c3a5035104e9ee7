"""Large pictures are converted to RGB strip by strip: to the same pixels as in one piece."""

import numpy as np
import pytest
from PIL import Image
from sources import saved
from strange import corpus

from stages.data import colour
from stages.data.decode import Unreadable, decode


def images() -> dict[str, Image.Image]:
    """One of each of Pillow's modes, 30×41."""
    noise = np.random.default_rng(2).integers(0, 256, (41, 30, 4), np.uint8)
    rgb, values = Image.fromarray(noise[..., :3]), noise[..., 0]
    numbers = {"I": values.astype(np.int32) * 1000 - 9, "F": values * np.float32(1.7),
               "I;16": values.astype(np.uint16) * 200}
    return ({mode: rgb.convert(mode) for mode in ("1", "L", "LA", "P", "RGB", "CMYK", "YCbCr")}
            | {mode: Image.fromarray(array) for mode, array in numbers.items()}
            | {"RGBA": Image.fromarray(noise), "LAB": Image.merge("LAB", rgb.split()),
               "PA": rgb.quantize(9).convert("PA")})


@pytest.mark.parametrize("mode", images())
def test_every_mode_is_converted_in_strips_as_in_one_piece(mode, monkeypatch):
    content = saved(images()[mode], "TIFF")
    expected = decode(content)
    for pixels in (1, 100):
        monkeypatch.setattr(colour, "STRIP", pixels)
        assert np.array_equal(decode(content), expected)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_every_kind_of_file_is_converted_in_strips_as_in_one_piece(monkeypatch):
    for kind, file in corpus().items():
        try:
            expected = decode(file.content)
        except Unreadable:
            continue
        with monkeypatch.context() as context:
            context.setattr(colour, "STRIP", 50)
            assert np.array_equal(decode(file.content), expected), kind
