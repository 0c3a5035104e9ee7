"""Tables and pictures of a segmenter's predictions for the test split."""

import numpy as np
import pytest
from predicted import PLACES, onehot, random_masks, segmented

from stages.core import files
from stages.evaluation import plotting
from stages.tasks.segmentation import figures as plots
from stages.tasks.segmentation import scores as mask_scores


def test_the_confusion_drawn_is_the_last_models(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(plotting, "confusion", lambda counts, cell, classes, title, path: drawn.append((counts, title)))
    targets = np.array([[[0, 0], [1, 1]]])
    models = {name: segmented(onehot(np.array([said])), targets) for name, said in (
        ("teacher", [[1, 1], [1, 1]]), ("int8", [[0, 0], [1, 2]]))}
    plots.draw(models, mask_scores, PLACES, 5, lambda picture: np.zeros((2, 2, 3), np.uint8), tmp_path, tmp_path)
    (counts, title), = drawn
    assert counts.tolist() == [[2, 0, 0, 0], [0, 1, 1, 0], [0] * 4, [0] * 4]
    assert title == "int8: 75.00 % of pixels right,\n1 test images"
    assert (tmp_path / "confused.csv").read_text().splitlines()[1:] == ["land,boat,1,50.0"]


def test_tables_and_pictures(tmp_path):
    models = {name: segmented(*random_masks(seed)) for seed, name in enumerate(("teacher", "int8"))}
    photograph = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    for folder in ("once", "again"):
        plots.draw(models, mask_scores, PLACES, 5, lambda picture: photograph, tmp_path / folder / "test",
                   tmp_path / folder / "confused")
    once, again = ({path.relative_to(tmp_path / folder): path.read_bytes() for path in (tmp_path / folder).rglob("*.*")}
                   for folder in ("once", "again"))
    assert once == again and {path.as_posix() for path in once} == {
        "confused/none.txt", *(f"test/{name}" for name in (
            "classes.csv", "confused.csv", "confusion.png", "classes.png", "pictures.png", "reliability.png",
            "precision_recall.png", *(f"{table}/{name}.csv" for table in (
                "confusion", "reliability", "precision_recall") for name in models)))}
    counts, answers = np.zeros((4, 4), int), models["int8"]
    for row in files.read_csv(tmp_path / "once/test/confusion/int8.csv"):  # fewer than 5000: all of them
        counts[PLACES.index(row["actual"]), PLACES.index(row["predicted"])] += 1
    assert (counts == answers.confusion).all()
    rows = files.read_csv(tmp_path / "once/test/classes.csv")
    assert list(rows[0]) == ["model", "class", "precision", "recall", "f1", "iou", "support"]
    iou = list(mask_scores.measure(answers, PLACES, 10)["iou"].values())
    assert [float(row["iou"]) for row in rows[-4:-1]] == pytest.approx(iou, abs=0.01)
    assert rows[-1]["iou"] == "0.0" and rows[-1]["support"] == "0"
    pixels = [int(row["pixels"]) for row in files.read_csv(tmp_path / "once/test/reliability/int8.csv")]
    assert sum(pixels) == answers.confusion.sum()
    worst = files.read_csv(tmp_path / "once/test/confused.csv")[0]
    errors = answers.confusion * (1 - np.eye(4, dtype=int))
    assert int(worst["pixels"]) == errors.max() == errors[PLACES.index(worst["actual"]),
                                                          PLACES.index(worst["predicted"])]


@pytest.mark.parametrize("side", [64, 100])
def test_a_sample_of_pixels_is_even(side):
    """Each column as often as any other, though 5000 samples of 64² · 80 pixels would be just one a row."""
    number = 5000 // side + 2
    rows, columns = (np.broadcast_to(index, (number, side, side)).ravel() for index in np.indices((side, side)))
    step = plots._sampling_step(rows.size)
    sampled = [index[step // 2::step] for index in (rows, columns)]
    assert 0.95 * 5000 < len(sampled[0]) <= 5000
    for counts in (np.bincount(index, minlength=side) for index in sampled):
        assert counts.min() > 0.9 * counts.mean() and counts.max() < 1.1 * counts.mean()
