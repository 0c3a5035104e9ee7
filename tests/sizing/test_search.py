"""`python -m stages.search` on small made-up data: what it prints, writes and applies, and how it goes on."""

import contextlib
import math
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT, Project
from training_data import write_prepared

from stages import search
from stages.core import errors, params
from stages.core.files import read_csv, read_json
from stages.models import factory
from stages.setup import measuring, presets, timing
from stages.sizing import measure, space, trials
from stages.training import trainer

PRESENT = {"depth": 8, "width": 8, "stride": 2}
SETTINGS = {"split.image_size": 16, "student.options": PRESENT, "teacher.options": PRESENT,
            "student_training.epochs": 4, "student_training.warmup_epochs": 1.0, "student_training.seeds": [3, 4],
            "student_training.augment.padding": 2, "quantize.calibration_images": 8}


@pytest.fixture
def ready(project, monkeypatch) -> Project:
    """Teacher and answers are there. Files are made up, and what is measured follows from the width."""
    for key, value in SETTINGS.items():
        project.set(key, value)
    project.set("benchmark.budget", dict.fromkeys(project.params()["benchmark"]["budget"]) | {"latency_ms": 0.6})
    write_prepared(project.folder)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    network = factory.NetworkParams(model="small_resnet", options=PRESENT, weights="none")
    factory.save(factory.build(network, 3, (16, 16), seed=9), project.folder / "models/teacher.safetensors")
    project.main("teacher_targets")
    monkeypatch.setattr(space, "WIDTHS", (1 / 2, 1, 2, 4))
    monkeypatch.setattr(space, "NEAR", 0)
    monkeypatch.setattr(measuring, "training_step", lambda role, settings, *given, **options: 10.0 + settings[
        "student"]["options"]["width"])
    monkeypatch.setattr(measure, "write_file", lambda network, settings, path: path.write_bytes(
        bytes(1000 * network.options["width"])))
    monkeypatch.setattr(measure, "costs", lambda files, threads: {name: measure.Cost(
        path.stat().st_size / 1e6, round(path.stat().st_size / 4e4, 4), 60.0) for name, path in files.items()})
    return project


def run(project: Project, *arguments: str) -> None:
    with contextlib.chdir(project.folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["search", *arguments])
        search.main()


def refusal(project: Project) -> str:
    with pytest.raises(errors.UserError) as error:
        run(project)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_from_the_budget_to_params_yaml(ready, capsys):
    """0.6 ms is what width 24 takes; of 16, by the margin, 0.42, and of 32 0.84."""
    (ready.folder / "params.yaml").write_text(_commented(ready.params()))
    run(ready)
    told = capsys.readouterr()
    table, result = read_csv(ready.folder / "plots/search.csv"), read_json(ready.folder / "metrics/search.json")
    rows = {int(row["width"]): row for row in table}
    assert {width: row["note"] for width, row in rows.items() if width not in (8, 16)} == {
        32: "latency, ms: 0.84"}  # 4 is narrower than what fits, and was not measured
    assert all(rows[width]["val_score_4_epochs"] for width in (8, 16))  # 18 + 26 s a step are less than 3 × 18
    assert "in params.yaml now" in rows[8]["note"] and (ready.folder / "plots/search.png").exists()
    best = max(rows.values(), key=lambda row: float(row["val_score_4_epochs"] or 0))
    assert table[0]["val_score_4_epochs"] == best["val_score_4_epochs"] and "best" in table[0]["note"]
    assert result["student"]["options"]["width"] == int(table[0]["width"])
    assert all(row["starts_from"] == "nothing" for row in table)
    for word in ("search: 2 students keep to the budget; to train: 2 for 4 epochs", "On 24 val images"):
        assert word in told.out + told.err
    _apply_width_16(ready, capsys)


def _apply_width_16(ready, capsys):
    """Without searching again; the comments and all other values stay."""
    path = ready.folder / "metrics/search.json"
    path.write_text(path.read_text().replace('"width": 8', '"width": 16'))
    before = (ready.folder / "params.yaml").read_text()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "train", None)
        run(ready, "--apply")
    assert "searched before" in (told := capsys.readouterr().out) and "depth 8, width 16, stride 2" in told
    lines = ("\nstudent:\n  model: small_resnet\n  # {}\n  options: {{depth: 8, width: {}, stride: 2}}\n"
             "  weights: none\nstudent_training:")
    old, new = (lines.format(reason, width) for reason, width in (
        ("Why eight.", 8), ("Found by stages.search; plots/search.csv has what it was compared with.", 16)))
    assert old in before and (ready.folder / "params.yaml").read_text() == before.replace(old, new)


def _commented(values: dict) -> str:
    """These values in a file with comments, among them one above student.options."""
    text, preset = presets.text("digits"), presets.values("digits")
    for section, changes in values.items():
        changed = {key: value for key, value in changes.items() if value != preset[section][key]}
        text = presets.changed(text, section, changed, "As tried.")
    return presets.changed(text, "student", {"options": PRESENT}, "Why eight.")


def test_it_goes_on_where_it_was_stopped_and_tells_the_same(ready, monkeypatch, capsys):
    """Stopped in the second training's third epoch: the first isn't trained again, and nothing is measured again."""
    run(ready)
    whole = read_csv(ready.folder / "plots/search.csv"), capsys.readouterr().out.split("\n\n")[0]
    (ready.folder / "metrics/search.json").unlink()
    train_epoch, epochs = trials.student.Trainer.train_epoch, []

    def stop(own, epoch, bar):
        epochs.append(epoch)
        if len(epochs) == 7:
            raise KeyboardInterrupt
        return train_epoch(own, epoch, bar)

    monkeypatch.setattr(trials.student.Trainer, "train_epoch", stop)
    monkeypatch.setattr(trainer, "SAVING", math.inf)  # a checkpoint after each epoch
    with pytest.raises(KeyboardInterrupt):
        run(ready)
    monkeypatch.setattr(measure, "costs", None)
    capsys.readouterr()
    run(ready)
    assert epochs == [0, 1, 2, 3, 0, 1, 2, 2, 3]
    assert (read_csv(ready.folder / "plots/search.csv"), capsys.readouterr().out.split("\n\n")[0]) == whole
    assert not (ready.folder / ".work/search").exists()


def test_weights_fit_one_student_and_the_others_start_from_nothing(ready, capsys):
    weights = ready.folder / "data/weights/mine.safetensors"
    network = factory.NetworkParams(model="small_resnet", options=PRESENT, weights="none")
    factory.save(factory.build(network, 3, (16, 16), seed=5), weights)
    ready.set("student.weights", weights.name)
    run(ready)
    starts = {row["width"]: row["starts_from"] for row in read_csv(ready.folder / "plots/search.csv")}
    assert starts == {"8": weights.name, "16": "nothing", "32": "nothing"}
    result = read_json(ready.folder / "metrics/search.json")["student"]
    assert result["weights"] == (weights.name if result["options"] == PRESENT else "none")


def test_a_file_named_after_the_model_starts_the_student_that_it_fits(ready, capsys):
    for name, options in (("mine", PRESENT), ("small_resnet_8_16", PRESENT | {"width": 16})):
        network = factory.NetworkParams(model="small_resnet", options=options, weights="none")
        factory.save(factory.build(network, 3, (16, 16), seed=5), ready.folder / f"data/weights/{name}.safetensors")
    ready.set("student.weights", "mine.safetensors")
    run(ready)
    starts = {row["width"]: row["starts_from"] for row in read_csv(ready.folder / "plots/search.csv")}
    assert starts == {"8": "mine.safetensors", "16": "small_resnet_8_16.safetensors", "32": "nothing"}


def test_students_that_start_from_weights_come_first_however_narrow(ready, capsys):
    for width in (4, 8):
        network = factory.NetworkParams(model="small_resnet", options=PRESENT | {"width": width}, weights="none")
        factory.save(factory.build(network, 3, (16, 16), seed=5),
                     ready.folder / f"data/weights/small_resnet_{width}.safetensors")
    ready.set("student.weights", "small_resnet_8.safetensors")
    run(ready)
    trained = [line.split(",")[1] for line in capsys.readouterr().err.splitlines() if line.startswith("search: depth")]
    assert trained[:3] == [" width 8", " width 4", " width 16"]
    starts = {row["width"]: row["starts_from"] for row in read_csv(ready.folder / "plots/search.csv")}
    assert starts["4"] == "small_resnet_4.safetensors" and starts["16"] == "nothing"


def test_a_start_that_comes_later_is_searched_with(ready, capsys):
    network = factory.NetworkParams(model="small_resnet", options=PRESENT, weights="none")
    factory.save(factory.build(network, 3, (16, 16), seed=5), ready.folder / "data/weights/mine.safetensors")
    ready.set("student.weights", "mine.safetensors")
    run(ready)
    run(ready)
    assert "searched before" in capsys.readouterr().out
    wider = network.model_copy(update={"options": PRESENT | {"width": 16}})
    factory.save(factory.build(wider, 3, (16, 16), seed=5), ready.folder / "data/weights/small_resnet_8_16.safetensors")
    run(ready)
    assert "small_resnet_8_16.safetensors" in capsys.readouterr().out


def test_where_one_alone_fits_nothing_is_trained(ready, monkeypatch, capsys):
    monkeypatch.setattr(trials, "train", None)
    ready.set("benchmark.budget.latency_ms", 0.12)  # half of the present width
    run(ready)
    table = read_csv(ready.folder / "plots/search.csv")
    assert [(row["width"], row["note"]) for row in table] == [
        ("4", "the only one that fits"), ("8", "in params.yaml now; latency, ms: 0.21"), ("16", "latency, ms: 0.42")]


def test_where_the_widest_misses_in_the_end_the_next_one_takes_its_place(ready, monkeypatch):
    """In turns 16 is slower than alone, by more than the margin."""
    alone = measure.costs
    monkeypatch.setattr(measure, "costs", lambda files, threads: {
        name: cost._replace(latency_ms=cost.latency_ms * (1.5 if len(files) > 1 and "width 16" in name else 1))
        for name, cost in alone(files, threads).items()})
    monkeypatch.setattr(space, "NEAR", 1)
    run(ready)
    notes = {(row["depth"], row["stride"], row["width"]): row["note"]
             for row in read_csv(ready.folder / "plots/search.csv")}
    for depth, stride in {(depth, stride) for depth, stride, _ in notes}:
        assert notes[depth, stride, "16"] == "latency, ms: 0.63"  # 0.4 · 1.5 · 1.05
        assert not notes[depth, stride, "8"].startswith(("a wider", "latency"))


def test_where_time_does_for_no_training_nothing_is_written(ready, monkeypatch, capsys):
    monkeypatch.setattr(search, "MOST", 0.1)
    monkeypatch.setattr(search, "LEAST", 0.1)
    before = (ready.folder / "params.yaml").read_text()
    for _ in range(2):
        run(ready, "--apply")
        assert "Nothing was trained, since 0.1 times one training does for less" in capsys.readouterr().out
    assert (ready.folder / "params.yaml").read_text() == before


def test_other_labels_of_val_are_searched_with(ready, capsys):
    run(ready)
    path = ready.folder / "data/prepared/val/targets.npy"
    np.save(path, (np.load(path) + 1) % 3)
    capsys.readouterr()
    run(ready)
    assert "searched before" not in capsys.readouterr().out


@pytest.mark.parametrize(("score", "images", "told"), [
    (100.0, 98, "± 1.0 points"),  # 99 of 100: √(0.99 · 0.01 / 98)
    (50.0, 100, "± 5.0 points, and each student was trained with one seed: students less than about 10.0 points")])
def test_what_chance_alone_makes_of_scores(score, images, told):
    assert told in search.chance(score, images)


@pytest.mark.parametrize(("cores", "seeds", "threads"), [(1, 2, 1), (2, 1, 2), (2, 2, 1), (8, 3, 2)])
def test_an_epochs_processor_time_is_of_one_training(ready, monkeypatch, tmp_path, cores, seeds, threads):
    monkeypatch.setattr(timing, "thread_count", lambda: cores)
    ready.set("student_training.seeds", list(range(seeds)))
    monkeypatch.chdir(ready.folder)
    own = trials.student.settings()
    epoch, = trials.epoch_seconds(own, [PRESENT], measure.Notebook(tmp_path / "measured.json"), torch.device("cpu"),
                                  tmp_path)
    assert epoch == 48 // own.recipe.batch_size * threads * 18.0  # 10 s and one a channel of width, a step


def test_what_is_missing_is_one_line(ready):
    assert "the fastest (depth 8, width 4, stride 2) misses latency, ms: 0.105;" in refusal(
        ready.set("benchmark.budget.latency_ms", 0.1))
    assert "benchmark.budget sets none of size_mb" in refusal(ready.set("benchmark.budget.latency_ms", None))
    ready.set("benchmark.budget.size_mb", 1.0)
    assert "targets.mode is online" in refusal(ready.set("targets.mode", "online"))
    (ready.folder / "models/targets.npy").unlink()
    assert "models/targets.npy is missing" in (line := refusal(ready)) and "run dvc repro teacher_targets first" in line


def test_a_students_cost_is_that_of_its_int8_file(ready, monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.chdir(ready.folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(measuring, "SECONDS", 0.01)
    network = factory.NetworkParams(model="small_resnet", options=PRESENT, weights="none")
    settings = params.load("quantize", search.QuantizeParams)
    measure.write_file(network, settings, tmp_path / "own.onnx")
    cost = measure.costs({"own": tmp_path / "own.onnx"}, 1)["own"]
    assert measure.parameters(network) / 1e6 < cost.size_mb == (tmp_path / "own.onnx").stat().st_size / 1e6 < 0.1
    assert 0 < cost.latency_ms < 100 and cost.peak_memory_mb > 20
    epoch, = trials.epoch_seconds(trials.student.settings(), [PRESENT], measure.Notebook(tmp_path / "measured.json"),
                                  torch.device("cpu"), tmp_path)
    assert 0 < epoch < 10


def test_a_damaged_notebook_is_begun_anew(tmp_path, capsys):
    path = tmp_path / "measured.json"
    notes = measure.Notebook(path)
    assert notes.get("a", lambda: [1.5]) == [1.5] == measure.Notebook(path).get("a", lambda: 1 / 0)
    path.write_bytes(path.read_bytes()[:-9])
    assert measure.Notebook(path).get("a", lambda: [2]) == [2] and "is damaged" in capsys.readouterr().err
