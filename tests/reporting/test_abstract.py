"""Sentences of the abstract, word for word."""

import measurements
import pytest

from stages.deployment.budget import Verdict
from stages.reporting import abstract

SIZE = {"teacher": {"parameters_m": 1.5, "size_mb": 6.125}, "student": {"parameters_m": 0.25, "size_mb": 1.0},
        "int8": {"parameters_m": 0.25, "size_mb": 0.03951}}
SPEED = {"teacher": {"latency_ms": 8.04}, "student": {"latency_ms": 3.0}, "int8": {"latency_ms": 0.256},
         "machine": {"threads": 2}}


def quality(**distillation: float | None) -> dict:
    """The measurements, with another table of the distillation."""
    return measurements.changed(measurements.quality("classification"),
                                {f"distillation.{key}": value for key, value in distillation.items()})


@pytest.mark.parametrize(("task", "aim"), [
    ("classification", "classify images into 4 classes"), ("segmentation", "segment images into 4 classes"),
    ("another", "predict 4 classes")])
def test_aim(task, aim):
    assert abstract.aim(SIZE, "pets", task, 4) == (
        f"A teacher with 1.5 million parameters taught a student with 250 thousand to {aim} (data set: pets).")


@pytest.mark.parametrize(("name", "is_named"), [
    ("a b c d e", True), ("a b c d e f", False), ("x" * 60, True), ("x" * 61, False)])
def test_a_long_name_is_left_out(name, is_named):
    assert ("data set" in abstract.aim(SIZE, name, "classification", 4)) == is_named


@pytest.mark.parametrize(("dropped", "found", "sentence"), [
    (3, 20, "Cleaning removed 3 of 20 images."), (0, 1, "Cleaning removed none of 1 image.")])
def test_cleaning(dropped, found, sentence):
    assert abstract.cleaning({"images": {"found": found, "dropped": dropped}}) == sentence


def test_scores_name_the_models_that_have_them():
    values = measurements.changed(measurements.quality("classification"), {
        "student.accuracy_std": 0.25, "baseline.accuracy_std": 0.75, "baseline.deployed": 1.0})
    assert abstract.scores(values) == (
        "On 1000 test images, accuracy is 95.00 % for the teacher, 92.00 ± 0.25 % for the student and 90.00 ± 0.75 % "
        "for the baseline, which is the same network trained without a teacher (mean ± standard deviation over 3 "
        "seeds).")
    assert abstract.scores(measurements.changed(values, {"test.seeds": 2})).endswith("over 2 seeds).")
    values = measurements.changed(values, {"student.accuracy_std": None, "baseline.accuracy_std": None,
                                           "test.seeds": 1, "test.images": 1})
    assert abstract.scores(values) == (
        "On 1 test image, accuracy is 95.00 % for the teacher, 92.00 % for the student and 90.00 % for the baseline, "
        "which is the same network trained without a teacher (one seed).")


@pytest.mark.parametrize(("seeds", "gain", "interval", "sentence"), [
    (3, 2.0, (1.0, 3.0), "Distillation gained 2.00 points (95 % interval 1.00 to 3.00 points)."),
    (3, -2.0, (-3.0, -1.0), "Distillation lost 2.00 points (95 % interval −3.00 to −1.00 points)."),
    (3, 2.0, (-1.0, 5.0), "No difference between student and baseline can be shown (95 % interval −1.00 to 5.00 "
                          "points)."),
    (1, 2.0, (1.0, 3.0), "The distilled student is 2.00 points ahead of the baseline (95 % interval 1.00 to 3.00 "
                         "points); one seed cannot show whether other seeds would agree."),
    (1, -2.0, (-3.0, -1.0), "The distilled student is 2.00 points behind the baseline (95 % interval −3.00 to −1.00 "
                            "points); one seed cannot show whether other seeds would agree."),
    (3, 1.0, None, "The distilled student is 1.00 point ahead of the baseline."),
    (3, -1.0, None, "The distilled student is 1.00 point behind the baseline."),
    (3, 0.004, None, "The distilled student is level with the baseline."),
    (3, -0.006, None, "The distilled student is 0.01 points behind the baseline."),
])
def test_gain(seeds, gain, interval, sentence):
    low, high = interval or (None, None)
    assert abstract.gain(quality(gain=gain, gain_low=low, gain_high=high) | {"test": {"seeds": seeds}}) == sentence


@pytest.mark.parametrize(("form", "file"), [
    ("int8", "int8 file"), ("int8 weights", "file with int8 weights"), ("fp16 weights", "half-float file")])
def test_the_deployed_file_beside_the_teacher(form, file):
    assert abstract.small(quality(), SIZE, SPEED, form) == (
        f"The student's {file} scores 91.80 %, takes 0.0395 MB (teacher: 6.12 MB) and runs in 0.26 ms per image "
        "(teacher: 8 ms) on 2 threads of the benchmark machine.")


def test_budget():
    small, slow, right = (Verdict(what, 1.0, 2.0, met) for what, met in (
        ("size, MB", False), ("latency, ms", False), ("accuracy kept, %", True)))
    assert abstract.budget([]) == "" and abstract.budget([right]) == "It meets the device budget."
    assert abstract.budget([small, right]) == "It fails the device budget in size."
    assert abstract.budget([small, right, slow]) == "It fails the device budget in size and latency."
