"""Decoding: the content of an image file becomes RGB, or is unreadable."""


import numpy as np
import pytest
from PIL import Image
from sources import saved

from stages.data.decode import Unreadable, decode, decode_with_header


def grey16(*values: int) -> Image.Image:
    return Image.fromarray(np.array([values], dtype=np.uint16))


@pytest.mark.parametrize("content, expected", [
    (saved(grey16(0, 257, 32896, 65535), "PNG"), [0, 1, 128, 255]),
    (saved(Image.fromarray(np.array([[0.0, 0.2, 0.5, 1.0]], np.float32)), "TIFF"), [0, 51, 128, 255]),
    (saved(Image.fromarray(np.array([[0, 100, 200, 250]], np.int32)), "TIFF"), [0, 100, 200, 250]),
    (saved(Image.fromarray(np.array([[-50, 0, 50, 205]], np.int32)), "TIFF"), [0, 50, 100, 255]),
    (saved(Image.fromarray(np.array([[0, 9, 99, 255]], np.uint8)), "PNG"), [0, 9, 99, 255]),
    (saved(Image.fromarray(np.array([[False, True, False, True]])), "PNG"), [0, 255, 0, 255]),
], ids=["16 bit", "fraction", "int in 0-255", "int below 0", "grey", "1 bit"])
def test_depths_become_eight_bits(content, expected):
    image = decode(content)
    assert image.dtype == np.uint8 and image.shape == (1, 4, 3)
    assert [list(pixel) for pixel in image[0]] == [[value] * 3 for value in expected]


def test_colour_modes():
    red = Image.new("RGB", (4, 4), (255, 0, 0))
    assert (decode(saved(red.convert("P"), "PNG")) == (255, 0, 0)).all()
    assert (decode(saved(red.convert("CMYK"), "TIFF")) == (255, 0, 0)).all()
    half = Image.new("RGBA", (4, 4), (255, 0, 0, 128))
    assert (decode(saved(half, "PNG")) == (255, 127, 127)).all()  # red over white, 128/255
    assert (decode(saved(Image.new("LA", (4, 4), (0, 0)), "PNG")) == 255).all()
    keyed = saved(red, "PNG", transparency=(255, 0, 0))
    assert (decode(keyed) == 255).all()
    lab = decode(saved(Image.new("LAB", (4, 4), (255, 128, 128)), "TIFF"))
    assert lab.shape == (4, 4, 3) and (lab >= 250).all()


def test_cmyk_jpeg_is_not_inverted():
    image = decode(saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95))
    assert abs(image.astype(int) - (255, 0, 0)).max() < 12


def test_exif_turns_and_the_first_frame_counts():
    image = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    assert (decode(saved(image, "PNG", exif=exif))[..., 0] == np.rot90(np.asarray(image), -1)).all()
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    assert (decode(saved(frames[0], "GIF", save_all=True, append_images=frames[1:])) == (255, 0, 0)).all()


@pytest.mark.parametrize("content", [
    b"", b"text", *(saved(Image.effect_noise((64, 64), 50), format)[:-200] for format in ("PNG", "JPEG")),
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n",
    b"BM" + bytes(12) + (40).to_bytes(4, "little") + (60000).to_bytes(4, "little") * 2 + b"\1\0\x18\0" + bytes(24),
], ids=["empty", "text", "cut PNG", "cut JPEG", "EPS", "3600 megapixels"])
def test_incomplete_images_and_other_files_are_unreadable(content):
    with pytest.raises(Unreadable) as caught:
        decode(content)
    assert "0x" not in str(caught.value)  # an address would differ between runs


def clouds(seed: int, size: tuple[int, int] = (48, 48)) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def test_a_tiff_with_fewer_strips_than_pixels_is_unreadable():
    height = b"\x01\x01\x04\x00\x01\x00\x00\x00"  # the tag, its type and count, before the value
    whole = saved(Image.new("RGB", (8, 6), "red"), "TIFF")
    assert decode(whole).shape == (6, 8, 3)
    with pytest.raises(Unreadable, match="8×6 of its 8×600 pixels"):
        decode(whole.replace(height + (6).to_bytes(4, "little"), height + (600).to_bytes(4, "little")))


def test_frames_that_cannot_be_counted_are_none_and_the_first_is_read():
    frames = [clouds(seed) for seed in range(3)]
    content = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    whole, header = decode_with_header(content)
    assert header == ("GIF", "P", 3)
    for end in range(len(content) - 2500, len(content), 7):
        pixels, header = decode_with_header(content[:end])
        assert (pixels == whole).all() and 0 <= header.frames <= 3
    pages = saved(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    assert decode_with_header(pages)[1] == ("TIFF", "RGB", 3)
