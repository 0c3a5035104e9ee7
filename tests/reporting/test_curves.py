"""Training curves: what is drawn."""

import measurements

from stages.reporting import curves


def test_curves_are_those_of_val_and_of_training(tmp_path, monkeypatch):
    """Two seeds, of which val has 70 and 71, then 80 and 81; in training 50 and a cross-entropy of 1."""
    axes = measurements.capture_axes(monkeypatch, curves)
    curves.draw({"teacher": measurements.curve()}, "accuracy", tmp_path / "curves.png")
    score, loss = axes
    lines = {line.get_linestyle(): list(line.get_ydata()) for line in score.lines}
    assert lines == {"-": [70.5, 80.5], "--": [50.0, 50.0]}
    assert {line.get_linestyle(): list(line.get_ydata()) for line in loss.lines} == {"-": [1, 1], "--": [1, 1]}
    band, = score.collections
    assert {tuple(point) for point in band.get_paths()[0].vertices} == {(1, 70), (1, 71), (2, 80), (2, 81)}


def test_losses_show_each_part_and_the_learning_rate(tmp_path, monkeypatch):
    """A teacher with one part, and a student whose kd is 0 once, so that a logarithmic axis can't show it."""
    axes = measurements.capture_axes(monkeypatch, curves)
    student = [row | {"kd": kd, "dice": "0.5"} for row, kd in zip(measurements.curve(), "0111", strict=True)]
    curve = measurements.curve()
    curves.draw_losses({"teacher": curve, "baseline": curve, "student": student}, tmp_path / "losses.png")
    teacher, _, student, rate = axes
    assert [line.get_label() for line in teacher.lines] == ["cross-entropy"]
    assert [(line.get_label(), line.get_linestyle(), list(line.get_ydata())) for line in student.lines] == [
        ("cross-entropy", "-", [1, 1]), ("dice", "--", [0.5, 0.5]), ("loss, weighted sum", ":", [1.5, 1.5])]
    assert [line.get_label() for line in rate.lines] == ["teacher", "baseline", "student"]
    assert teacher.get_yscale() == "log" and rate.get_yscale() == "linear"


def test_of_all_parts_that_there_can_be_the_sum_is_drawn_too(tmp_path, monkeypatch):
    axes = measurements.capture_axes(monkeypatch, curves)
    curve = [row | {"dice": "0.5", "kd": "1", "feature_distance": "0.2"} for row in measurements.curve()]
    curves.draw_losses({"teacher": curve, "baseline": curve, "student": curve}, tmp_path / "losses.png")
    labels = [line.get_label() for line in axes[0].lines]
    assert labels == ["cross-entropy", "dice", "kd", "feature-distance", "loss, weighted sum"]


def test_a_seed_that_stops_early_leaves_the_mean_to_the_others():
    rows = [{"epoch": epoch, "x": value} for epoch, value in (("1", "4"), ("2", "6"), ("1", "8"))]
    assert curves.by_epoch(rows, "x") == ([1, 2], [6, 6], [4, 6], [8, 6])


def test_scores_are_no_parts_of_a_loss():
    columns = ["seed", "epoch", "learning_rate", "loss", "cross_entropy", "dist", "train_score", "train_pixel_accuracy",
               "val_loss", "val_score", "val_pixel_accuracy"]
    assert curves.parts(columns) == ["cross_entropy", "dist"]
