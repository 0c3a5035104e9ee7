"""Sentences on training, word for word."""

import measurements
import pytest

from stages.reporting import training


@pytest.mark.parametrize(("section", "text"), [
    ({"weights": "none"}, "random"),
    ({"weights": "none", "mode": "scratch"}, "random; trained from scratch"),
    ({"weights": "imagenet", "mode": "frozen"}, "pre-trained on ImageNet; frozen except the new head"),
    ({"weights": "a|b.safetensors", "mode": "finetune"}, "those of data/weights/a\\|b.safetensors; fine-tuned as a "
                                                         "whole"),
])
def test_initial_weights(section, text):
    assert training.initial_weights(section) == text


DISTILL = {"loss": "kd", "ce_weight": 0.1, "kd_weight": 0.9, "temperature": 4.0, "standardise": False, "debias": 0.0,
           "feature_weight": 0.0, "unlabelled": True}
SOFT = "the KL divergence from the teacher's soft targets (Hinton et al., 2015)"


@pytest.mark.parametrize(("changes", "dice", "sentence"), [
    ({"loss": "cwd", "temperature": 2.5}, 0.0, "0.1 × cross-entropy + 0.9 × T² × channel-wise distillation (Shu et "
                                               "al., 2021), at a temperature T of 2.5."),
    ({}, 0.0, f"0.1 × cross-entropy + 0.9 × T² × {SOFT}, at a temperature T of 4."),
    ({"loss": "another", "standardise": True, "debias": 0.25}, 0.5,
     "0.1 × (cross-entropy + 0.5 × the Dice loss) + 0.9 × T² × `another`, at a temperature T of 4. Logits are "
     "standardised first (Sun et al., 2024). 25 % of the logarithm of the class frequencies is subtracted from the "
     "teacher's logits."),
    ({"feature_weight": 4.0}, 0.0, f"0.1 × cross-entropy + 0.9 × T² × {SOFT} + 4 × (1 − the cosine between the "
                                   "teacher's standardised features and a linear map of the student's, which is "
                                   "trained with it and dropped), at a temperature T of 4."),
    ({"debias": 1.0}, 0.0, f"0.1 × cross-entropy + 0.9 × T² × {SOFT}, at a temperature T of 4. 100 % of the logarithm "
                           "of the class frequencies is subtracted from the teacher's logits."),
])
def test_loss(changes, dice, sentence):
    assert training.loss(DISTILL | changes, {"dice_weight": dice}) == f"The student's loss is {sentence}"


@pytest.mark.parametrize(("mode", "flip", "sentence"), [
    ("online", True, "In every step, the teacher predicts on exactly the augmented images that the student sees."),
    ("views", True, "The teacher's logits were computed once, for 4 augmented views of each image, which the student "
                    "sees in turn."),
    ("clean", False, "The teacher's logits were computed once, for each image without augmentation; they are the "
                     "targets for every view that the student sees."),
    ("clean", True, "The teacher's logits were computed once, for each image without augmentation and mirrored; they "
                    "are the targets for every view that the student sees."),
])
def test_targets(mode, flip, sentence):
    assert training.targets({"mode": mode, "views": 4}, flip) == sentence


VIEWS = ("the student sees 4 views of each image, the same for every seed, whereas the baseline sees new ones in each "
         "epoch")
ONLINE = "the student's views are the same for every seed, whereas each seed of the baseline has its own"


@pytest.mark.parametrize(("mode", "count", "is_used", "expected"), [
    ("clean", 0, True, []), ("clean", 5, False, []), ("views", 0, True, [VIEWS]), ("online", 5, False, [ONLINE]),
    ("clean", 1, True, ["the student also learns from 1 unlabelled image"]),
    ("views", 5, True, [VIEWS, "the student also learns from 5 unlabelled images"])])
def test_differences_between_baseline_and_student(mode, count, is_used, expected):
    splits = [("train", 7, 9), *([("unlabelled", count, 11)] if count else [])]
    settings = {"targets": {"mode": mode, "views": 4}, "distill": {"unlabelled": is_used}}
    assert training.differences(settings, splits) == expected


def test_kept_weights():
    recipe = {"keep": "last", "ema_decay": 0.0, "seeds": [0, 1, 2]}
    start = "Baseline and student share network, training settings and seeds"
    assert training.kept(recipe, []) == (
        f"{start}, so that the teacher is the only difference; the weights of the last epoch are kept. Of 3 seeds "
        "each, the network that is best on val is deployed.")
    assert training.kept(recipe | {"seeds": [4, 7]}, []).endswith("Of 2 seeds each, the network that is best on val is "
                                                                  "deployed.")
    assert training.kept(recipe | {"keep": "best", "ema_decay": 0.99, "seeds": [7]}, ["a", "b"]) == (
        f"{start}. Besides the teacher, this differs: a and b. The weights, an exponential moving average over steps "
        "(`ema_decay` 0.99), of the epoch that is best on val are kept. There is one seed each.")


def test_settings_of_teacher_and_student_side_by_side():
    teacher, student = {"seeds": [0], "augment": {"flip": True}}, {"augment": {"flip": False}, "seeds": [1, 2]}
    assert list(training.settings(teacher, student)) == [("seeds", "0", "1, 2"), ("augment.flip", "yes", "no")]


def test_the_last_epoch_is_each_seeds_own():
    """Two seeds, the last of each 80 and 81."""
    assert training.last_epoch({"teacher": measurements.curve()}, "accuracy") == (
        "In the last epoch, accuracy on val is 80.50 % (teacher), averaged over the seeds.")
    curves = {"teacher": measurements.curve()[:2], "student": measurements.curve()[:3]}
    assert training.last_epoch(curves, "accuracy") == (
        "In the last epoch, accuracy on val is 80.00 % (teacher) and 75.50 % (student), averaged over the seeds.")
    assert training.last_epoch({"teacher": measurements.curve()[:2]}, "accuracy").endswith("80.00 % (teacher).")


def test_cost_of_distillation():
    """In CPU time where CPUs computed, whatever the clock says; by the clock where a GPU did."""
    timing = {name: {"seconds": seconds, "cpu_seconds": cpu_seconds, "device": "cpu"}
              for name, seconds, cpu_seconds in (("train_baseline", 10.0, 20.0), ("distill", 50.0, 24.0),
                                                 ("teacher_targets", 5.0, 10.0))}
    assert training.cost(timing) == ("Distillation took 1.20 times the CPU time of training the baseline, 1.70 times "
                                     "with the teacher's answers included.")
    timing["distill"]["device"] = "cuda"
    assert training.cost(timing) == ("Distillation took 5.00 times as long as training the baseline, 5.50 times with "
                                     "the teacher's answers included.")
