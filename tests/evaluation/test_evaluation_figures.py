"""What both tasks draw: the pairs of classes that are confused, and the points that a curve keeps."""

import numpy as np
from PIL import Image
from predicted import ANIMALS

from stages.evaluation import figures


def test_a_curve_is_thinned_evenly_and_keeps_its_ends():
    recall = np.linspace(1, 0, 10001)
    kept = figures._evenly_spaced(recall, 1 - recall**4)
    assert len(kept) == figures.ROWS and kept[0] == 0 and kept[-1] == 10000
    steps = np.abs(np.diff(recall[kept])) + np.abs(np.diff((1 - recall**4)[kept]))
    assert steps.max() < 1.1 * steps.min()
    assert figures._evenly_spaced(np.array([1, 0.5, 0.0]), np.array([0.1, 1, 1])).tolist() == [0, 1, 2]


def test_what_is_confused_most_comes_first(tmp_path):
    counts = np.array([[8, 2, 0], [2, 2, 1], [0, 3, 97]])  # three of many come before two of few
    pairs = figures.confused(counts, ANIMALS, "images", tmp_path / "confused.csv")
    assert [(pair.actual, pair.predicted) for pair in pairs] == [(2, 1), (1, 0), (0, 1), (1, 2)]
    assert (tmp_path / "confused.csv").read_text() == (
        "actual,predicted,images,percent_of_actual\n\"cat, big\",bee,3,3.0\nbee,ape,2,40.0\nape,bee,2,20.0\n"
        "bee,\"cat, big\",1,20.0\n")
    many = np.ones((5, 5), int)
    assert len(figures.confused(many, list("abcde"), "pixels", tmp_path / "many.csv")) == figures.WORST


def test_a_long_title_above_examples_is_not_cut(tmp_path):
    for name, title in (("short", "a → b"), ("long", "large brown mushroom → small mushroom, $x^$: 3 images " * 2)):
        figures.examples([(title, [np.zeros((4, 4, 3), np.uint8)])], tmp_path / f"{name}.png")
    short, long = (np.asarray(Image.open(tmp_path / f"{name}.png").convert("L")) for name in ("short", "long"))
    assert short.shape[1] < long.shape[1]
    assert (long[:, -4:] == 255).all()
