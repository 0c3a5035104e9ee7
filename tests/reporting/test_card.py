"""The model card: front matter, sources of the numbers, hashes of the settings."""

import hashlib

import measurements
import numpy
import pytest
import yaml
from conftest import ROOT

from stages.reporting import card


def test_each_number_is_where_the_card_says():
    facts = measurements.facts()
    tables = {name: facts[name] for name in ("quality", "quantisation", "size", "speed", "data")}
    rows = list(card.sources(tables | {"timing/distill": facts["timing"]["distill"]}, "accuracy"))
    assert [(what, key) for what, _, key, _ in rows] == [
        ("scores of the models", "int8.accuracy"), ("their standard deviation over seeds", "student.accuracy_std"),
        ("scores of the deployed files", "int8.deployed"),
        ("all scores of the small student's file", "shipped.accuracy"),
        ("gain of distillation", "distillation.gain"), ("gap recovered", "distillation.gap_recovered"),
        ("p-value of the deployed pair", "distillation.p_value"),
        ("drop of the small student on test", "distillation.int8_drop"), ("its drop on val", "val.drop"),
        ("parameters and sizes", "int8.size_mb"), ("latency, images/s, memory", "int8.latency_ms"),
        ("images found, kept, dropped; findings", "images.found"), ("times of training", "seconds")]
    assert ("gain of distillation", "metrics/quality.json", "distillation.gain", "dvc repro evaluate") in rows
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for _, file, _, command in rows:
        assert any(file in str(stages[command.split()[-1]].get(kind, "")) for kind in ("outs", "metrics"))


def test_settings_are_hashed_by_their_values():
    plain = card.settings_sha256({"b": 4, "a": {"x": [1, 2.5]}})
    assert plain == hashlib.sha256(b'{"a":{"x":[1,2.5]},"b":4}').hexdigest()
    assert card.settings_sha256({"a": {"x": [1.0, 2.5]}, "b": 4.0}) == plain
    assert card.settings_sha256({"a": {"x": [1, 2.5]}, "b": 5}) != plain


def test_a_number_that_is_missing_has_no_source():
    tables = {name: {} for name in ("quality", "quantisation", "size", "speed", "data", "timing/distill")}
    assert list(card.sources(tables, "miou")) == []
    tables["quality"] = {"int8": {"miou": 0.0}, "student": {"miou_std": 1.0}, "distillation": 3}
    assert list(card.sources(tables, "miou")) == [
        ("scores of the models", "metrics/quality.json", "int8.miou", "dvc repro evaluate"),
        ("their standard deviation over seeds", "metrics/quality.json", "student.miou_std", "dvc repro evaluate")]


@pytest.mark.parametrize(("form", "saturates", "expected"), [
    ("int8", False, ["right; older ones refuse it", "right", "**wrong**; ship the float file there"]),
    ("int8", True, ["right; older ones refuse it", "**wrong**, but by `predict.py`, which computes exactly there",
                    "**wrong**; ship the float file there"]),
    ("int8 weights", False, ["right; older ones refuse it", "right", "right"])])
def test_the_card_says_where_the_file_is_right(form, saturates, expected):
    quantisation = {"form": form, "saturates": saturates, "oldest_onnxruntime": "1.10", "float_layers": []}
    rows, with_masks = card.devices(quantisation, False), card.devices(quantisation, True)
    assert rows[0][0].startswith("onnxruntime 1.10 or newer") and [verdict for _, verdict in rows] == expected
    with_layers = card.devices(quantisation | {"float_layers": ["conv"]}, False)[2][1]
    assert ("unless its first layer is in float" in with_layers) == (form == "int8")
    assert with_masks[:2] == rows[:2] and with_masks[2][1].startswith("refuses it, and the float file too")


@pytest.mark.parametrize(("task", "kind"), [
    ("classification", "image-classification"), ("segmentation", "image-segmentation"), ("another", "other")])
def test_front_matter(task, kind):
    settings = {"data": {"task": task, "name": "pets"}, "report": {"licence": "mit", "title": "Pets"}}
    quality = {"shipped": {"mcc": 0.75, "unknown": 1.0, "accuracy": 91.5, "brier": 0.125}, "test": {"images": 7}}
    assert yaml.safe_load(card.front_matter(settings, quality, "fp16 weights")) == {
        "license": "mit", "library_name": "onnx", "pipeline_tag": kind,
        "tags": ["onnx", "onnxruntime", "knowledge-distillation", "quantization", "fp16", kind],
        "datasets": ["pets"], "metrics": ["accuracy", "matthews_correlation", "brier_score"],
        "model-index": [{"name": "Pets", "results": [{
            "task": {"type": kind}, "dataset": {"name": "pets, 7 test images", "type": "pets", "split": "test"},
            "metrics": [{"type": "accuracy", "name": "accuracy, %", "value": 91.5},
                        {"type": "matthews_correlation", "name": "mcc", "value": 0.75},
                        {"type": "brier_score", "name": "brier", "value": 0.125}]}]}]}


def test_metrics_have_the_hubs_names():
    shipped = dict.fromkeys(("accuracy", "miou", "precision", "recall", "f1", "mcc", "brier", "ece"), 1.0)
    settings = {"data": {"task": "segmentation", "name": "pets"}, "report": {"licence": "mit", "title": "Pets"}}
    head = yaml.safe_load(card.front_matter(settings, {"shipped": shipped, "test": {"images": 7}}, "int8"))
    assert [(row["type"], row["name"]) for row in head["model-index"][0]["results"][0]["metrics"]] == [
        ("accuracy", "accuracy, %"), ("mean_iou", "miou, %"), ("precision", "precision, %"), ("recall", "recall, %"),
        ("f1", "f1, %"), ("matthews_correlation", "mcc"), ("brier_score", "brier")]


def test_front_matter_keeps_its_order_and_long_lines():
    settings = {"data": {"task": "classification", "name": "é " * 90}, "report": {"licence": "mit", "title": "Pets"}}
    text = card.front_matter(settings, {"shipped": {}, "test": {"images": 7}}, "int8")
    assert text.startswith("license: mit\nlibrary_name: onnx\n") and "é " * 89 in text


@pytest.mark.parametrize(("seeds", "sentence"), [
    (1, "One seed: another may give other scores."),
    (2, "2 seeds show how much training varies; they share one split of the data.")])
def test_limits(seeds, sentence):
    limits = card.limits({"test": {"seeds": seeds, "images": 7}}, ["a", "b", "c"])
    assert limits[0] == "Scores hold for images like the 7 test images; how the model does on others was not measured."
    assert limits[1] == "It always predicts one of its 3 classes, also where the image shows none of them."
    assert limits[2] == ("It was tested on images resized as above, by the decoder that `predict.py` uses; another way "
                         "of resizing gives other predictions.")
    assert limits[3:] == [sentence,
                          "Latency and memory are those of one machine, named below; those of another differ.",
                          "Neither fairness between groups of people nor robustness to manipulated images was tested."]


def test_the_hash_is_of_utf_8():
    assert card.settings_sha256({"a": "é"}) == hashlib.sha256('{"a":"é"}'.encode()).hexdigest()


def test_seeds_are_all_that_params_have():
    settings = {"a": {"seed": 3, "b": {"seeds": [0, 1]}, "fold": 2, "folds": 5}, "seed": 9, "c": {"seeded": 1}}
    assert list(card.seeds(settings)) == [("a.seed", "3"), ("a.b.seeds", "0, 1"), ("a.fold", "2"), ("seed", "9")]


def test_versions_are_those_installed():
    versions = dict(card.versions())
    assert tuple(versions) == card.PACKAGES and versions["numpy"] == numpy.__version__


def test_parameters_keep_their_order_and_letters():
    assert card.parameters({"b": {"c": "é", "a": [1, 2]}, "a": 1}) == "b:\n  c: é\n  a: [1, 2]\na: 1\n"
