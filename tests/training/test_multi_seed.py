"""Which seed is deployed, and what is written of several seeds' histories, by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from training_data import recipe

from stages.core.files import read_csv, read_json
from stages.data import prepared
from stages.training import multi_seed


def history(*val: tuple[float, float]) -> list[dict[str, float]]:
    """A row an epoch: (val_accuracy, val_loss)."""
    return [{"epoch": number, "learning_rate": 0.1, "loss": 1 / 3, "train_accuracy": 50.0, "val_loss": loss,
             "val_accuracy": accuracy, "val_f1": 12.34567, "seconds": 2.0 * number}
            for number, (accuracy, loss) in enumerate(val, 1)]


def test_the_best_seed_has_the_highest_val_score_of_the_epoch_that_was_kept():
    histories = {3: history((99.0, 0.1), (80.0, 0.5)), 5: history((70.0, 0.9), (90.0, 0.7)), 7: history((85.0, 0.2))}
    last = multi_seed.ranking(histories, recipe(keep="last"), "accuracy")
    assert last["best"] == 5 and last["val"][3] == {"loss": 0.5, "accuracy": 80.0, "f1": 12.3457}
    best = multi_seed.ranking(histories, recipe(keep="best"), "accuracy")
    assert best["best"] == 3 and best["val"][3]["accuracy"] == 99.0 and best["val"][3]["loss"] == 0.1


def test_of_equal_scores_the_lowest_loss_decides_then_the_first_seed():
    histories = {1: history((90.0, 0.4)), 2: history((90.0, 0.3)), 3: history((90.0, 0.3))}
    assert multi_seed.ranking(histories, recipe(), "accuracy")["best"] == 2


def test_curves_hold_a_row_an_epoch_a_seed_and_no_times(tmp_path):
    histories = {3: history((70, 0.9), (90, 0.7)), 5: history((80, 0.5))}
    multi_seed.write_curves(tmp_path / "curves.csv", histories, "accuracy")
    rows = read_csv(tmp_path / "curves.csv")
    assert [(row["seed"], row["epoch"], row["val_score"]) for row in rows] == [
        ("3", "1", "70"), ("3", "2", "90"), ("5", "1", "80")]
    assert list(rows[0]) == ["seed", "epoch", "learning_rate", "loss", "train_score", "val_loss", "val_score", "val_f1"]
    assert rows[0]["loss"] == "0.333333" and rows[0]["train_score"] == "50"


def test_timing_by_hand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path(prepared.FOLDER, "train")
    folder.mkdir(parents=True)
    np.save(folder / "targets.npy", np.zeros(30, np.int64))
    histories = {3: history((70, 0.9), (90, 0.7)), 5: history((80, 0.5))}  # 2, 4 and 2 seconds
    multi_seed.write_timing("distill", histories, torch.device("cpu"), before=1.5)
    timing = read_json(Path("metrics/timing/distill.json"))
    assert timing["seconds"] == 9.5 and timing["seconds_per_epoch"] == pytest.approx(8 / 3, abs=1e-4)
    assert timing["images_per_s"] == 11.2 and timing["seeds"] == 2
    assert timing["device"] == "cpu" and timing["threads"] >= 1 and timing["peak_memory_mb"] > 1


def test_what_a_student_leaves_beside_its_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path(prepared.FOLDER, "train")
    folder.mkdir(parents=True)
    np.save(folder / "targets.npy", np.zeros(30, np.int64))
    histories = {3: history((70, 0.9)), 5: history((80, 0.5))}
    multi_seed.write_results("student", "distill", histories, recipe(), "accuracy", torch.device("cpu"))
    assert read_json(Path("models/student/seeds.json"))["best"] == 5
    assert [row["val_score"] for row in read_csv(Path("plots/student.csv"))] == ["70", "80"]
    assert read_json(Path("metrics/timing/distill.json"))["seconds"] == 4.0
