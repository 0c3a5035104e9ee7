"""Pen strokes brought to the form of the training images: what that form is, and what networks make of the result."""

import shutil

import numpy as np
import onnxruntime
import pytest
from conftest import ROOT
from known_digits import digits, nearest_network

from benchmarks.drawn_digits import DIGITS, are_read, as_trained, picture, rgb
from demo import strokes
from stages.deployment import onnx_model

NODE = pytest.mark.skipif(not shutil.which("node"), reason="Node.js is not installed")
# width of the pen, ink, ground, size, place, angle: thin and thick, dark and light, on white, black and grey
PENS = [{"width": 4, "ink": 0, "ground": 255, "size": 0.7}, {"width": 14, "ink": 255, "ground": 0},
        {"width": 18, "ink": 60, "ground": 230, "shift": (9, -7)}, {"width": 9, "ink": 200, "ground": 90, "turn": 4}]


def bars(width: int, ink: int, ground: int, side: int = 32) -> np.ndarray:
    """uint8 (2,side,side,3): an upright bar, 20 pixels high, and a lying one, both in the middle."""
    images = np.full((2, side, side), ground, np.uint8)
    low, high = (side - width) // 2, (side + width) // 2
    images[0, 6:26, low:high] = images[1, low:high, 6:26] = ink
    return rgb(images)


@pytest.mark.parametrize(("ink", "ground"), [(255, 0), (20, 240)])
@pytest.mark.parametrize("width", [2, 6])
def test_the_form_is_read_off_the_training_images(ink, ground, width):
    form = strokes.form(bars(width, ink, ground))
    assert (form["ink"], form["ground"]) == (ink, ground)
    assert form["stroke"] == pytest.approx(40 * width / (40 + 2 * width), rel=0.1)  # 2 · area / outline
    assert form["height"] == form["width"] == pytest.approx(20, abs=1)


def test_ink_that_is_cut_off_at_the_edge_goes_on_beyond_it():
    images, _ = digits(30)
    form = strokes.form(rgb(images))
    assert images[:, 0].max() == 255 and 34 < form["height"] < 39 and 20 < form["width"] < 30
    assert form["centre"] == "box" and (form["ground"], form["ink"]) == (0, 255)


def test_the_middle_is_that_of_the_frame_or_of_the_mass():
    images = np.zeros((4, 32, 32), np.uint8)
    for image, way in zip(images, (-1, -1, 1, 1), strict=True):  # a foot to the left or right of an upright bar
        image[4:28, 14:18] = 255
        image[24:28, slice(4, 14) if way < 0 else slice(18, 28)] = 255
    moved = np.stack([np.roll(image, way * 5, 1) for image, way in zip(images, (1, 1, -1, -1), strict=True)])
    assert strokes.form(rgb(moved))["centre"] == "box" and strokes.form(rgb(images))["centre"] == "mass"


def test_photographs_have_no_form():
    chance = np.random.default_rng(1)
    assert strokes.form(chance.integers(0, 256, (9, 32, 32, 3), np.uint8)) is None  # coloured
    assert strokes.form(rgb(chance.integers(0, 256, (9, 32, 32), np.uint8))) is None  # on no even ground
    assert strokes.form(bars(4, 130, 100)) is None  # too faint


def test_classes_that_are_words_have_none_and_nothing_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert strokes.training_form(["car", "truck"]) is None and strokes.training_form(["9", "10"]) is None


@NODE
def test_pen_paper_size_and_place_make_no_difference(tmp_path):
    form = strokes.form(rgb(digits(30)[0]))
    pens = PENS[:3]
    squares = as_trained(tmp_path, [picture(DIGITS[digit], **pen) for digit in (2, 8) for pen in pens], form, 32, 32)
    for same in (squares[:3], squares[3:]):
        assert np.ptp(np.stack(same).astype(int), 0).mean() < 12  # of 255 levels
    assert np.abs(squares[0].astype(int) - squares[3]).mean() > 40


@NODE
def test_what_is_in_that_form_already_stays(tmp_path):
    form = {"ground": 0, "ink": 255, "edge": 1, "stroke": 5.2, "height": 20, "width": 20, "centre": "box"}
    upright = bars(6, 255, 0)[0]
    square, = as_trained(tmp_path, [upright[..., 0]], form, 32, 32)
    assert np.abs(square.astype(int) - upright).mean() < 6


@NODE
def test_a_picture_without_strokes_is_none_and_a_dot_is_one(tmp_path):
    form = strokes.form(rgb(digits(30)[0]))
    dot = np.full((50, 70), 250, np.uint8)
    dot[20:24, 30:34] = 10
    empty, faint, dotted, tiny = as_trained(
        tmp_path, [np.zeros((40, 30), np.uint8), np.tile(np.arange(30, dtype=np.uint8), (20, 1)), dot,
                   np.array([[255]], np.uint8)], form, 32, 32)
    assert empty is None and faint is None and tiny is None
    assert dotted.max() > 200 > 50 > dotted.min()


@NODE
def test_the_form_fits_into_an_oblong_too(tmp_path):
    form = {"ground": 0, "ink": 255, "edge": 1, "stroke": 6, "height": 20, "width": 20, "centre": "box"}
    formed, = as_trained(tmp_path, [bars(6, 255, 0)[0][..., 0]], form, 24, 40)
    assert formed.shape == (24, 40, 3)
    rows, columns = np.nonzero(formed[..., 0] > 127)
    assert rows.min() + rows.max() == 23 and columns.min() + columns.max() == 39  # in the middle


def test_a_picture_without_strokes_is_not_read():
    def model(images):
        return np.eye(10)[images[:, 0, 0, 0]]  # reads the level of the first pixel

    images = [np.full((24, 40, 3), 3, np.uint8), None, np.full((24, 40, 3), 5, np.uint8)]
    assert are_read(model, images, np.array([3, 0, 4])).tolist() == [True, False, False]


def drawn_with(pens: list[dict]) -> list[np.ndarray]:
    """The ten digits with each of the pens."""
    return [picture(digit, **pen) for pen in pens for digit in DIGITS]


@NODE
def test_digits_drawn_with_any_pen_are_read(tmp_path):
    form = strokes.form(rgb(digits(30)[0]))
    squares = as_trained(tmp_path, drawn_with(PENS), form, 32, 32)
    network = onnxruntime.InferenceSession(nearest_network(100).SerializeToString())
    answers = network.run(None, {"image": np.stack(squares)})[0].argmax(1).reshape(-1, 10)
    assert ((answers == np.arange(10)).sum(1) >= 9).all(), answers


@NODE
@pytest.mark.skipif(not (ROOT / onnx_model.DEPLOYED["int8"]).is_file(), reason="the pipeline hasn't run: no student")
def test_the_pipelines_student_reads_them(tmp_path, monkeypatch):
    model = onnx_model.open_model(ROOT / onnx_model.DEPLOYED["int8"], 1)
    if list(model.card.classes) != [str(digit) for digit in range(10)] or model.card.colours:
        pytest.skip("the student is one for other images than digits")
    monkeypatch.chdir(ROOT)
    form = strokes.training_form(model.card.classes)
    formed = as_trained(tmp_path, drawn_with(PENS), form, *model.card.input_size)
    answers = model(np.stack(formed)).argmax(1).reshape(-1, 10)
    assert ((answers == np.arange(10)).sum(1) >= 8).all(), answers
