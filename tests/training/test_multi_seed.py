"""Which seed is deployed, and what is written of several seeds' histories, by hand."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from training_data import recipe

from stages.core.errors import UserError
from stages.core.files import read_csv, read_json
from stages.data import prepared
from stages.training import multi_seed


def history(*val: tuple[float, float]) -> list[dict[str, float]]:
    """A row an epoch: (val_accuracy, val_loss)."""
    return [{"epoch": number, "learning_rate": 0.1, "loss": 1 / 3, "train_accuracy": 50.0, "val_loss": loss,
             "val_accuracy": accuracy, "val_f1": 12.34567, "seconds": 2.0 * number, "cpu_seconds": 3.0 * number}
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
    multi_seed.write_timing("distill", multi_seed.Trained(histories, 123.45, 1), torch.device("cpu"), before=1.5)
    timing = read_json(Path("metrics/timing/distill.json"))
    assert timing["cpu_seconds"] == 12.0
    assert timing["seconds"] == 9.5 and timing["seconds_per_epoch"] == pytest.approx(8 / 3, abs=1e-4)
    assert timing["images_per_s"] == 11.2 and timing["seeds"] == 2
    assert timing["device"] == "cpu" and timing["threads"] >= 1 and timing["peak_memory_mb"] == 123.5


def test_what_a_student_leaves_beside_its_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path(prepared.FOLDER, "train")
    folder.mkdir(parents=True)
    np.save(folder / "targets.npy", np.zeros(30, np.int64))
    histories = {3: history((70, 0.9)), 5: history((80, 0.5))}
    trained = multi_seed.Trained(histories, 1.0, 1)
    multi_seed.write_results("student", "distill", trained, recipe(), "accuracy", torch.device("cpu"))
    assert read_json(Path("models/student/seeds.json"))["best"] == 5
    assert [row["val_score"] for row in read_csv(Path("plots/student.csv"))] == ["70", "80"]
    assert read_json(Path("metrics/timing/distill.json"))["seconds"] == 4.0


@pytest.mark.parametrize(("cores", "seeds", "processes", "threads"), [
    (1, [3, 5], 1, 1), (2, [3], 1, 2), (2, [3, 5, 7], 2, 1), (8, [3, 5, 7], 3, 2)])
def test_seeds_run_side_by_side_and_share_the_cores(monkeypatch, cores, seeds, processes, threads):
    """In the stage's own process where there is one seed or one core; on a GPU one after the other."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(cores), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    trained = multi_seed.train(process_and_threads, seeds, torch.device("cpu"))
    assert list(trained.histories) == seeds and trained.peak_memory_mb > 1
    numbers, limits = zip(*trained.histories.values(), strict=True)
    assert len(set(numbers)) <= processes and (os.getpid() in numbers) == (processes == 1)
    assert set(limits) == ({None} if processes == 1 else {str(threads)})
    assert os.getpid() == multi_seed.train(process_and_threads, seeds, torch.device("cuda")).histories[3][0]


def process_and_threads(seed: int) -> tuple[int, str | None]:
    return os.getpid(), os.environ.get("OMP_NUM_THREADS")


@pytest.mark.parametrize("seeds", [[0, 1], [1, 0]])
def test_the_first_seed_that_fails_ends_the_others(monkeypatch, seeds):
    """The stage says so at once, not after an hour of the others."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(2), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    started = time.perf_counter()
    with pytest.raises(UserError, match="not finite"):
        multi_seed.train(fail_or_sleep, seeds, torch.device("cpu"))
    assert time.perf_counter() - started < 60


def fail_or_sleep(seed: int) -> None:
    if seed == 0:
        raise UserError("the loss is not finite")
    time.sleep(600)
