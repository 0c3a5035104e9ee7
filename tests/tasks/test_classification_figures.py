"""Tables and pictures of a classifier's predictions for the test split."""

import numpy as np
from matplotlib.axes import Axes
from predicted import ANIMALS, THREE, classified

from stages.core import files
from stages.evaluation import figures, plotting
from stages.tasks.classification import figures as plots
from stages.tasks.classification import scores


def draw(models: dict, folder) -> None:
    photograph = np.random.default_rng(0).integers(0, 256, (8, 6, 3), np.uint8)
    plots.draw(models, scores, ANIMALS, 3, lambda picture: photograph, folder / "test", folder / "confused")


def test_tables_and_pictures(tmp_path):
    for folder in ("once", "again"):
        draw({"teacher": THREE, "int8": THREE}, tmp_path / folder)
    once, again = ({path.relative_to(tmp_path / folder): path.read_bytes() for path in (tmp_path / folder).rglob("*.*")}
                   for folder in ("once", "again"))
    assert once == again and {path.as_posix() for path in once} == {
        "confused/pairs.png", *(f"test/{name}" for name in (
            "classes.csv", "classes.png", "confused.csv", "confusion.png", "reliability.png", "precision_recall.png",
            *(f"{table}/{model}.csv" for table in ("confusion", "reliability", "precision_recall")
              for model in ("teacher", "int8"))))}
    rows = files.read_csv(tmp_path / "once/test/confusion/int8.csv")
    assert [row["actual"] for row in rows] == ["ape", "bee", "ape", "bee"]
    assert [row["predicted"] for row in rows] == ["ape", "bee", "bee", "cat, big"]
    lines = (tmp_path / "once/test/classes.csv").read_text().splitlines()
    assert lines[0] == "model,class,precision,recall,f1,support" and lines[2] == "teacher,bee,50.0,50.0,50.0,2"
    assert lines[3] == "teacher,\"cat, big\",0.0,0.0,0.0,0"  # never shown, once said
    assert (tmp_path / "once/test/reliability/int8.csv").read_text() == (
        "from,to,images,confidence,accuracy\n33.33,66.67,1,50.0,100.0\n66.67,100.0,3,73.33,33.33\n")
    curve = files.read_csv(tmp_path / "once/test/precision_recall/int8.csv")
    assert list(curve[0]) == ["recall", "precision"] and curve[-1] == {"recall": "0.0", "precision": "100.0"}


def test_confused_pairs_are_the_last_models(tmp_path, monkeypatch):
    """Three of the first's answers are wrong, and one of the last's."""
    drawn = []
    monkeypatch.setattr(plotting, "confusion", lambda counts, cell, classes, title, path: drawn.append((counts, title)))
    one = classified([[0.8, 0.1, 0.1], [0.3, 0.5, 0.2], [0.2, 0.1, 0.7], [0.1, 0.7, 0.2]], [0, 1, 0, 1])
    pictures = []
    plots.draw({"teacher": classified([[0.1, 0.8, 0.1]] * 4, [0, 0, 0, 1]), "int8": one}, scores, ANIMALS, 3,
               lambda picture: pictures.append(picture) or np.zeros((4, 4, 3), np.uint8), tmp_path, tmp_path / "shown")
    (counts, title), = drawn
    assert counts.tolist() == [[1, 0, 1], [0, 2, 0], [0, 0, 0]] and title == "int8: 75.00 % of 4 test images right"
    assert (tmp_path / "confused.csv").read_text().splitlines()[1:] == ["ape,\"cat, big\",1,50.0"]
    assert pictures == [2]


def test_of_what_is_confused_the_surest_are_shown(tmp_path):
    sure = [0.52, 0.9, 0.6, 0.8, 0.55, 0.95, 0.7, 0.65, 0.85, 0.75]  # that the ape is a bee
    pictures = []
    plots.draw({"int8": classified([[1 - much, much, 1e-9] for much in sure], [0] * len(sure))}, scores, ANIMALS, 3,
               lambda picture: pictures.append(picture) or np.zeros((4, 4, 3), np.uint8), tmp_path, tmp_path / "pairs")
    assert pictures == [5, 1, 8, 3, 9, 6, 7, 2]


def test_where_nothing_is_confused_a_note_says_so(tmp_path):
    draw({"int8": classified([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]], [0, 1])}, tmp_path)
    assert [path.name for path in (tmp_path / "confused").iterdir()] == ["none.txt"]
    assert (tmp_path / "test/confused.csv").read_text() == "actual,predicted,images,percent_of_actual\n"


def test_of_many_classes_the_most_confused_and_the_weakest_are_drawn(tmp_path, monkeypatch):
    """60 classes of two images; both of class 40 are taken for 7, one of 50 for 51."""
    classes, drawn = [f"c{number}" for number in range(60)], []
    targets = np.arange(120) % 60
    said = targets.copy()
    said[[40, 100, 50]] = 7, 7, 51
    monkeypatch.setattr(plotting, "confusion", lambda counts, cell, names, title, path: drawn.append(
        (counts, names, title)))
    answers = scores.Predictions(5 * np.eye(60, dtype=np.float32)[said], targets)
    plots.draw({"int8": answers}, scores, classes, 3, lambda picture: np.zeros((4, 4, 3), np.uint8), tmp_path,
               tmp_path / "shown")
    (counts, names, title), = drawn
    assert names == ["c40", "c7", "c50", "c51", *(f"c{number}" for number in range(21) if number != 7), "(others)"]
    assert counts.shape == (25, 25) and counts.sum() == 120 and counts[0, 1] == 2 and counts[2, 3] == 1
    assert counts[-1, -1] == 2 * (60 - 24)
    assert title == "int8: 97.50 % of 120 test images right\n24 of 60 classes, those that it confuses most"
    rows = files.read_csv(tmp_path / "confusion/int8.csv")
    assert rows[40] == {"actual": "c40", "predicted": "c7"} and rows[59] == {
        "actual": "(others)", "predicted": "(others)"} and len(rows) == 120
    assert len(files.read_csv(tmp_path / "classes.csv")) == 60


def test_bars_of_many_classes_are_those_of_the_weakest(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(Axes, "set_yticks", lambda axes, places, names: drawn.append(names))
    targets = np.arange(120) % 60
    said = np.where(targets >= 50, targets - 1, targets)  # 50 to 59 are weak, and 49, which 50 is taken for
    figures.class_bars({"int8": scores.Predictions(np.eye(60, dtype=np.float32)[said], targets)},
                       [f"c{number}" for number in range(60)], tmp_path / "bars.png")
    assert [len(names) for names in drawn] == [25, 25]
    assert set(drawn[0]) == {*(f"c{number}" for number in range(49, 60)), *(f"c{number}" for number in range(14))}
