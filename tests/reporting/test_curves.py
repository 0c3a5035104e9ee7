"""Training curves: what is drawn."""

import contextlib

import measurements

from stages.evaluation import plotting
from stages.reporting import curves


def test_curves_are_those_of_val_and_of_training(tmp_path, monkeypatch):
    """Two seeds, of which val has 70 and 71, then 80 and 81; in training 50 and a cross-entropy of 1."""
    drawn = []

    @contextlib.contextmanager
    def kept(path, *size, **more):
        with plotting.figure(path, *size, **more) as figure:
            yield figure
            drawn.extend(figure.axes)

    monkeypatch.setattr(curves, "figure", kept)
    curves.draw({"teacher": measurements.curve()}, "accuracy", tmp_path / "curves.png")
    score, loss = drawn
    lines = {line.get_linestyle(): list(line.get_ydata()) for line in score.lines}
    assert lines == {"-": [70.5, 80.5], "--": [50.0, 50.0]}
    assert {line.get_linestyle(): list(line.get_ydata()) for line in loss.lines} == {"-": [1, 1], "--": [1, 1]}
    band, = score.collections
    assert {tuple(point) for point in band.get_paths()[0].vertices} == {(1, 70), (1, 71), (2, 80), (2, 81)}


def test_scores_are_no_parts_of_a_loss():
    columns = ["seed", "epoch", "learning_rate", "loss", "cross_entropy", "dist", "train_score", "train_pixel_accuracy",
               "val_loss", "val_score", "val_pixel_accuracy"]
    assert curves.parts(columns) == ["cross_entropy", "dist"]
