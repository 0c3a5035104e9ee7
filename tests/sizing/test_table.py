"""What a search tells, of rows made up by hand."""

import pytest
from PIL import Image

from stages.core.files import read_csv
from stages.deployment.budget import BudgetParams
from stages.sizing import table
from stages.sizing.halving import Rung
from stages.sizing.measure import Cost

PLAN = [Rung(4, 5), Rung(2, 10)]
LIMITS = BudgetParams(**dict.fromkeys(BudgetParams.model_fields) | {"latency_ms": 0.5})


def row(width: int, latency: float, note: str = "", weights: str = "none") -> table.Row:
    cost = Cost(width / 100, latency, 60.04)
    return table.Row({"depth": 8, "width": width, "stride": 2}, 1000 * width, weights, cost, [], note)


@pytest.fixture
def rows() -> list[table.Row]:
    fitting = [row(16, 0.3, weights="mine.safetensors"), row(24, 0.4), row(12, 0.2), row(8, 0.1), row(4, 0.05)]
    scores = [[70.0, 80.0], [72.0, 81.5], [69.0], [60.0]]
    return table.ranked(fitting, [row(64, 0.9, "latency, ms: 0.945")], scores, PLAN, fitting[0].options)


def test_the_best_of_the_last_rung_leads(rows):
    assert [(row.options["width"], row.note) for row in rows] == [
        (24, "best"), (16, "in params.yaml now; behind after 10 epochs"), (12, "behind after 5 epochs"),
        (8, "behind after 5 epochs"), (4, "no time to train it"), (64, "latency, ms: 0.945")]


def test_of_equals_the_faster_leads():
    ranked = table.ranked([row(16, 0.3), row(8, 0.1)], [], [[70.0, 80.0], [70.0, 80.0]], PLAN, {})
    assert [row.options["width"] for row in ranked] == [8, 16]


def test_without_training_there_is_one_to_choose():
    assert [row.note for row in table.ranked([row(16, 0.3), row(8, 0.1)], [], [], [], {})] == [
        "nothing was trained", "no time to train it"]


def test_the_front_compares_by_the_last_rung_that_both_reached(rows):
    # Width 8 is fast, and behind. A slow student with width 16's score would be dominated.
    assert table.front(rows, "latency_ms") == [True, True, True, True, False, False]
    slow = row(15, 0.35)._replace(scores=[70.0, 80.0])
    assert table.front([*rows, slow], "latency_ms")[-1] is False


def test_the_columns(rows):
    lines = table.text(rows, PLAN).splitlines()
    assert lines[0].split("  ")[-1] == "front" and "val, 5 epochs  val, 10 epochs" in lines[0]
    assert lines[1].split() == ["8", "24", "2", "nothing", "0.024", "M", "0.240", "0.400", "60", "72.00", "81.50", "*",
                                "best"]
    assert lines[2].split()[:5] == ["8", "16", "2", "mine.safetensors", "0.016"]
    assert lines[-1].endswith("latency, ms: 0.945") and len(lines) == 7


def test_the_files(rows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table.write(rows, PLAN, LIMITS)
    first, *_, last = read_csv(table.CSV)
    assert first == {"depth": "8", "width": "24", "stride": "2", "starts_from": "nothing", "parameters": "24000",
                     "size_mb": "0.24", "latency_ms": "0.4", "peak_memory_mb": "60.04", "val_score_5_epochs": "72.0",
                     "val_score_10_epochs": "81.5", "on_front_of_size_mb": "1", "on_front_of_latency_ms": "1",
                     "note": "best"}
    assert (last["width"], last["val_score_5_epochs"], last["note"]) == ("64", "", "latency, ms: 0.945")
    assert Image.open(table.PLOT).size[0] > 1000


def test_what_was_written_is_read(rows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table.write(rows, PLAN, LIMITS)
    assert table.read() == [row._replace(scores=[]) for row in rows]
