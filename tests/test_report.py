"""The page: no sentence is left untrue when a number changes; both its files, the model card, pictures, the PDF."""

import contextlib
import hashlib
import html
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import measurements
import pytest
import yaml
from conftest import Project
from PIL import Image

from stages.core.errors import UserError
from stages.evaluation import plotting
from stages.reporting import card, curves, numbers, outlook, page, pdf, preparation, results, tradeoff, training

HEADINGS = ["Abstract", "Data Analysis and Cleaning", "Data Preprocessing", "Model Architecture",
            "Training and Experimentation", "Results and Key Findings", "Future Work"]
WORDS = 150  # of the abstract, at most
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

UNCLEAR = {"quality.distillation.gain": 0.5, "quality.distillation.gain_low": -0.5,
           "quality.distillation.gain_high": 1.5,
           "quality.distillation.p_value": 0.4, "quality.distillation.paired_gain": 1.0,
           "quality.distillation.paired_gain_low": -1.0, "quality.distillation.paired_gain_high": 3.0}
NEGATIVE = {"quality.distillation.gain": -2.0, "quality.distillation.gain_low": -3.0,
            "quality.distillation.gain_high": -1.0, "quality.distillation.paired_gain": -2.0,
            "quality.distillation.paired_gain_low": -3.2, "quality.distillation.paired_gain_high": -0.8,
            "quality.student.deployed": 88.0, "quality.distillation.gap_recovered": -40.0,
            "quality.distillation.gap_recovered_low": -60.0, "quality.distillation.gap_recovered_high": -20.0}
ONE_SEED = {"quality.test.seeds": 1, "quality.baseline.accuracy_std": None, "quality.student.accuracy_std": None,
            "quality.int8.accuracy_std": None, "settings.student_training.seeds": [0]}
NO_GAP = dict.fromkeys(f"quality.distillation.gap_recovered{end}" for end in ("", "_low", "_high"))


def found(**issues: int) -> dict[str, int]:
    """Findings of these kinds, and of no others."""
    return measurements.NO_FINDINGS | issues


def rows(support: int = 10, **scores: float) -> list[dict]:
    """Of plots/test/classes.csv."""
    return [{"model": "int8", "class": name, "f1": score, "iou": score, "support": support}
            for name, score in scores.items()]


def pairs(*images: int) -> list[dict]:
    """Of plots/test/confused.csv: a0 taken for b, a1 for b, …"""
    return [{"actual": f"a{number}", "predicted": "b", "images": count, "pixels": count, "percent_of_actual": 70.0}
            for number, count in enumerate(images)]


# What is changed, what the page then says, and what it doesn't say any more.
CASES = {
    "as it is": ({}, [
        "the distilled student's accuracy is 2.00 points above",
        "1.00 to 3.00 points, lies above 0: the teacher helped",
        "Distillation gained 2.00 points",
        "Of the deployed networks, each the best of its seeds on val, the student has 92.00 % and the baseline "
        "90.00 %: a difference that chance hardly explains with 1000 test images (McNemar's exact test, p = 0.0010; "
        "gain in accuracy 2.00 points, 95 % interval 0.80 to 3.20).",
        "recovers 40 % of the gap between baseline and teacher (95 % interval 20 to 60)",
        "the teacher gets 50 wrong; of these the others get right: baseline 30.0 %, student 30.0 % and small student "
        "30.0 % (means over the seeds).",
        "In int8 the student loses 0.10 points (95 % interval −0.20 to 0.40 points lost; no difference can be shown)",
        "2000 images were found and 100 of them left out", "between 400 (cat) and 500 (dog) images in train: 1.2 times",
        "It keeps to the device's budget", "More examples of dog", "Most often it takes dog for cat: 7 test images"],
        ["**A larger test set.**", "**A better teacher", "**More seeds", "**Calibration", "FAIL", "**fail**"]),
    "gain unclear": (UNCLEAR, [
        "−0.50 to 1.50 points, holds 0: no difference can be shown with 1000 test images and 3 seeds",
        "No difference between the two can be shown (95 % interval −0.50 to 1.50 points)",
        "no difference can be shown with 1000 test images (McNemar's exact test, p = 0.4000",
        # (2.801586 · 4 / 3.919928 / 1)² · 1000 = 8173
        "it takes about 8200 test images to show it four times in five; there are 1000"],
        ["the teacher helped", "Distillation gained", "chance hardly explains"]),
    "gain unclear and nothing between the deployed": (UNCLEAR | {"quality.distillation.paired_gain": 0.0}, [
        "are level in accuracy on 1000 test images: only more of them could part the two"], ["four times in five"]),
    "gain negative": (NEGATIVE, [
        "2.00 points below", "−3.00 to −1.00 points, lies below 0: the teacher did harm",
        "Distillation lost 2.00 points",
        "nothing is recovered (95 % interval −60 to −20)", "**Another way of teaching.**"],
        ["the teacher helped", "Distillation gained"]),
    "level": ({"quality.distillation.gain": -0.001}, ["accuracy is level with the same network's"],
              ["points below the"]),
    "surely not by chance": ({"quality.distillation.p_value": 0.00001}, ["p < 0.0001"], ["p = 0.0000"]),
    "mean over images and score of all part ways": ({"quality.distillation.paired_gain": -1.5}, [
        "; but picture by picture the student is 1.50 points behind on average"], ["a difference that chance"]),
    "the same answers": ({f"quality.distillation.{key}{end}": value for key in ("gain", "paired_gain", "int8_drop")
                          for end, value in (("", 0.0), ("_low", None), ("_high", None))} | {
                              "quality.distillation.p_value": 1.0}, [
        "The taught one is level.", "are level in accuracy on 1000 test images: only more",
        "the student scores as in float."],
        ["Distillation gained", "Distillation lost"]),
    "one seed": (ONE_SEED, [
        "With one seed, the distilled", "these two networks differ; whether others would, one seed doesn't tell",
        "for new images and these networks: one seed doesn't tell", "**More seeds.**",
        "The taught one is 2.00 points ahead (95 % interval 1.00 to 3.00 points); whether others would be, one seed",
        "There is one seed each", "(92.00 % against 90.00 %)", "One seed: another start may give other scores"],
        ["Over 3 seeds", "the teacher helped", "standard deviation over", "newly trained networks",
         "Distillation gained", "best of its seeds", "means over", "it is the best"]),
    "teacher behind the baseline": (NO_GAP | {"quality.teacher.accuracy": 89.0}, [
        "The teacher (89.00 %) is not ahead of the baseline", "**A better teacher first.** It is 1.00 point behind"],
        ["gap between"]),
    "teacher not surely ahead": ({"quality.distillation.gap_recovered_low": None,
                                  "quality.distillation.gap_recovered_high": None}, [
        "is 5.00 points ahead of the baseline, but not for sure",
        "Its lead over the baseline, 5.00 points, isn't sure"],
        ["recovers 40 %"]),
    "student past its teacher": ({"quality.distillation.gap_recovered": 120.0}, [
        "The student's mean is above its teacher's (95.00 %): 120 % of the gap"], ["recovers 40 %"]),
    "teacher errs nowhere": ({"quality.test.teacher_errors": 0} | dict.fromkeys(
        f"quality.{name}.where_teacher_errs" for name in measurements.MODELS[1:]), [
        "The teacher gets all of the test images right"], ["of these the others get right"]),
    "int8 loses": ({"quality.distillation.int8_drop": 1.5, "quality.distillation.int8_drop_low": 0.5,
                    "quality.distillation.int8_drop_high": 2.5, "quantisation.float_layers": ["a"],
                    "quantisation.val": {"drop": 1.0, "max_drop": 0.5}}, [
        "In int8 the student loses 1.50 points (95 % interval 0.50 to 2.50 points lost).",
        "1 of its layers stays in float", "On val it is 1.00 point behind, more than quantize.max_drop allows (0.5)",
        "**Another small form.** It loses 1.00 point on val"], ["0.40 points lost"]),
    "two layers in float": ({"quantisation.float_layers": ["a", "b"]}, ["2 of its layers stay in float"], []),
    "int8 loses nothing": ({"quality.distillation.int8_drop": 0.0}, ["In int8 the student scores as in float"], []),
    "int8 gains": ({"quality.distillation.int8_drop": -0.1}, [
        "In int8 the student gains 0.10 points (95 % interval −0.40 to 0.20 points gained"],
                   ["the student loses"]),
    "int8 weights": ({"quantisation.form": "int8 weights"}, [
        "The student's file with int8 weights has 91.80 %", "With int8 weights the student loses"], ["In int8 the"]),
    "half floats": ({"quantisation.form": "fp16 weights"}, [
        "The student's half-float file has", "With half-float weights the student loses"], ["In int8 the"]),
    "uncalibrated": ({"quality.int8.ece": 9.0}, ["**Calibration.**", "9.0 points (small student)",
        "small student's expected calibration error is 9.0 points"], []),
    "nothing dropped": ({"data.images": {"found": 2000, "kept": 2000, "dropped": 0}, "data.findings": found(dark=3),
                         "data.acted_on": {}}, [
        "none of them left out", "Of 2000 images, cleaning left out none", "3 findings were only reported",
        "| dark | 3 | 0 |"], ["100 of them", "| duplicate |"]),
    "doubted labels": ({"data.findings": found(label_suspect=5), "data.acted_on": {"label_suspect": 1},
                        "data.labels": {"judged": 900, "out_of_fold_accuracy": 87.5}}, [
        "4 labels are doubted and left as they are", "Of 900 labels, 87.5 % were foretold"], []),
    "both drawn": ({"data.before": {"undivided": {"cat": 5, "dog": 5}}}, [
        "Drawn were, to the nearest whole number: `test`, 20 % of all; then `val`, 15 % of what remains (`split.seed"],
                   ["The source has"]),
    "both given": ({"data.before": {"train": {"cat": 5}, "val": {"cat": 5}, "test": {"cat": 5}}}, [
        "The source has `val` and `test`."], ["Drawn was", "Drawn were"]),
    "nothing confused": ({"confused": []}, ["confuses no two classes"], ["Most often it takes", "| dog | cat |"]),
    "taught otherwise": ({"settings.distill.temperature": 7.0, "settings.distill.loss": "dkd",
                          "settings.distill.kd_weight": 2.0, "settings.targets.mode": "online"}, [
        "2 × T² × decoupled knowledge distillation (Zhao et al., 2022), at a temperature T of 7",
        "The teacher answers in every step",
        "the student's views are the same for every seed, where each seed of the baseline has its own. The weights"],
        ["Hinton", "asked once", "all that differs"]),
    "taught about unlabelled images": ({"index": [{"split": split, "windows": "1"} for split in (
        "train", "test", "unlabelled", "unlabelled")], "settings.distill.unlabelled": True}, [
        "this differs: the student also learns from 2 unlabelled images. The weights"], ["all that differs"]),
    "asked about views": ({"settings.targets.mode": "views", "settings.targets.views": 4}, [
        "about 4 views of each",
        "Beside the teacher, this differs: the student sees 4 views of each image, the same for every seed, where the "
        "baseline sees new ones in each epoch. The weights"], ["all that differs"]),
    "fine-tuned": ({"settings.teacher.mode": "finetune", "settings.teacher.weights": "net.safetensors"}, [
        "those of data/weights/net.safetensors; fine-tuned as a whole"], ["from scratch"]),
    "cropped": ({"settings.split.resize": "crop", "settings.split.image_size": 48}, [
        "Of each picture the square in the middle is brought to 48×48 pixels", "images of 48×48 pixels"],
        ["32×32 pixels,"]),
    "unlabelled": ({"index": [{"split": split, "windows": "1"} for split in ("train", "test", "unlabelled")],
                    "settings.split.labelled_fraction": 0.5, "settings.distill.unlabelled": False}, [
        "1 image has no label here (only 50 % of the training labels are shown); the student is not shown it",
        "so that the teacher is all that differs; the weights of"], []),
    "mirrored and averaged": ({"settings.student_training.augment.flip": True,
                               "settings.student_training.ema_decay": 0.99}, [
        "about each image as it is and mirrored;", "mirrored half of the time",
        "the weights, averaged over steps (`ema_decay` 0.99), of the last epoch"], []),
    "one seed, behind": (NEGATIVE | ONE_SEED, [
        "The taught one is 2.00 points behind (95 % interval −3.00 to −1.00 points); whether others would be",
        "these two networks differ; whether others would, one seed doesn't tell", "**More seeds.**"],
        ["Distillation lost", "did harm", "does harm", "**Another way of teaching.**"]),
    "interval that only rounding keeps from 0": ({"quality.distillation.gain_low": 0.003,
                                                  "quality.distillation.gain_high": 0.9}, [
        "0.00 to 0.90 points, holds 0: no difference can be shown",
        "No difference between the two can be shown (95 % interval 0.00 to 0.90 points)"],
        ["lies above 0", "Distillation gained"]),
    # 359 images, 7 gained and 1 lost: the exact test and the interval part ways.
    "p says no, the interval yes": ({"quality.distillation.p_value": 0.0703, "quality.distillation.paired_gain": 1.6713,
                                     "quality.distillation.paired_gain_low": 0.27,
                                     "quality.distillation.paired_gain_high": 3.35, "quality.test.images": 359}, [
        "no difference can be shown with 359 test images (McNemar's exact test, p = 0.0703; gain in accuracy 1.67 "
        "points, 95 % interval 0.27 to 3.35), a borderline case: the interval does not hold 0.",
        # (2.801586 · 3.08 / 3.919928 / 1.6713)² · 359 = 622.8
        "truly differ in accuracy by the 1.67 points measured", "about 630 test images"], ["hardly explains"]),
    "p says yes, the interval no": ({"quality.distillation.p_value": 0.04,
                                     "quality.distillation.paired_gain_low": -0.1}, [
        "a difference that chance hardly explains", "a borderline case: the interval holds 0."],
        ["**A larger test set.**", "can be shown with 1000 test images (McNemar"]),
    "enough images, had p not said otherwise": ({"quality.distillation.p_value": 0.06}, [
        "a borderline case: the interval does not hold 0"], ["**A larger test set.**"]),
    "gap that may be none": ({"quality.distillation.gap_recovered_low": -40.0}, [
        "recovers 40 % of the gap between baseline and teacher by these scores; whether any is recovered can't be told "
        "(95 % interval −40 to 60)"], []),
    "no gap recovered, or some": ({"quality.distillation.gap_recovered": -5.0,
                                   "quality.distillation.gap_recovered_low": -40.0,
                                   "quality.distillation.gap_recovered_high": 30.0}, [
        "nothing is recovered by these scores; whether any is recovered can't be told (95 % interval −40 to 30)"], []),
    "several teachers": ({"settings.teacher_training.seeds": [0, 1]}, [
        "The teacher is the best on val of 2 seeds; the others' scores are means over theirs"], []),
    "leaks": ({"data.findings": found(leak=3, near_leak=2), "data.acted_on": {"leak": 1}}, [
        "has seen (but 4 images of other splits are copies, or nearly, of val or test images);"], []),
    "one near leak": ({"data.findings": found(near_leak=1), "data.acted_on": {}}, [
        "has seen (but 1 image of other splits is a copy, or nearly, of val or test images);"], []),
    "alike, and drawn apart": ({"data.findings": found(near_duplicate=2), "data.acted_on": {}}, [
        "has seen (but 2 images may have been drawn into another split than one that they are like);"], []),
    "alike, in train": ({"data.findings": found(near_duplicate=2), "data.acted_on": {},
                         "data.before": {"train": {"cat": 5}, "val": {"cat": 5}, "test": {"cat": 5}}}, [
        "no choice of a seed has seen;"], ["may have been drawn"]),
    "intervals": ({}, ["95 % intervals, by 2000 resamples, are for new images and newly trained networks; those of the "
                       "teacher and of the deployed pair are for new images and these networks."], []),
    "test drawn": ({"data.before": {"train": {"cat": 5}, "val": {"cat": 5}}}, [
        "The source has `val`. Drawn was, to the nearest whole number: `test`, 20 % of the other images (`split"], []),
    "another small form": ({"quantisation.form": "fp16 weights"}, [
        "*small student* the student with half-float weights; files and pictures call it `int8`",
        "| | teacher | baseline | student | small student | teacher / small |", "The small student does worst on dog",
        "It is the small student's weakest class"], ["int8 student", "| int8", "(int8)", "*int8*"]),
    "large": ({"size.teacher.parameters_m": 138.4, "size.student.parameters_m": 0.02, "size.teacher.size_mb": 5216.3,
               "speed.teacher.latency_ms": 470.1, "speed.int8.latency_ms": 0.0395}, [
        "A teacher of 138 million parameters taught a student of 20 thousand to",
        "(the teacher's 5216), and answers in 0.04 ms (470) on 1 thread"], ["e+0", "million to"]),
    "correlated": ({"settings.distill.loss": "dist"}, [
        "T² × (1 − the correlation of answers, between and within classes; Huang et al., 2022), at"], []),
    "cross-entropy": ({}, [
        "is 0.1 × cross-entropy + 0.9 × T² × the KL divergence from the teacher's soft targets"], []),
    "with Dice": ({"settings.student_training.dice_weight": 0.5}, [
        "is 0.1 × (cross-entropy + 0.5 × the Dice loss) + 0.9 × T²"], []),
    "long name": ({"settings.data.name": "x y " * 99}, ["to tell 3 classes apart. Of"], ["(data set"]),
    "of one": ({"each_class": rows(cat=90.0, dog=80.0, support=1), "confused": pairs(1)}, [
        "The small student does worst on dog: F1 80.0 % on 1 test image.",
        "Most often it takes a0 for b: 1 test image, 70.0 % of the class."], ["1 test images", "on 1 images"]),
    "two equally weak": ({"each_class": rows(cat=80.0, dog=80.04, owl=90.0), "confused": pairs(7, 7)}, [
        "The small student does worst on cat and dog: F1 80.0 % each.",
        "Most often it takes a0 for b and a1 for b: 7 test images each.",
        "**More examples of cat and dog.** They are the small student's weakest classes (F1 80.0 % each)."],
        ["weakest class (", "of the class."]),
    "many equally weak": ({"each_class": rows(a=80.0, b=80.0, c=80.0, d=80.0, e=90.0),
                           "confused": pairs(7, 7, 7, 7, 3)}, [
        "does worst on a, b, c and 1 more: F1", "a0 for b, a1 for b, a2 for b and others: 7 test images each"], []),
    "all equally weak": ({"each_class": rows(a=80.0, b=80.0)}, [], ["does worst on", "**More examples"]),
    "weakest, but above the whole": ({"quality.int8.f1": 79.0}, ["does worst on dog"], ["**More examples"]),
    "weakest, taken for two": ({"confused": [
        {"actual": "dog", "predicted": other, "images": "2", "pixels": "2", "percent_of_actual": "20"}
        for other in ("cat", "owl")]}, [
        "weakest class (F1 80.0 %), and is most often taken for cat and owl."], []),
    "surely loses on test": ({"quality.distillation.int8_drop": 0.4, "quality.distillation.int8_drop_low": 0.1,
                              "quality.distillation.int8_drop_high": 0.7}, [
        "**Another small form.** It surely loses on the test images (0.40 points)"], []),
    "a little uncalibrated": ({"quality.int8.ece": 5.1}, ["**Calibration.**"], []),
    "two seeds": ({"quality.test.seeds": 2}, ["**More seeds.** With 2 seeds"], []),
    "p at the border": ({"quality.distillation.p_value": 0.05}, [
        "no difference can be shown with 1000 test images (Mc"], ["hardly explains"]),
    "a little past its teacher": ({"quality.distillation.gap_recovered": 110.0}, ["The student's mean is above"], []),
    "undivided": ({"data.after": {"undivided": {"cat": 5, "dog": 10}}}, [
        "between 5 (cat) and 10 (dog) images: 2.0 times as many"], ["images in train"]),
    "as many of each class": ({"data.after": {"train": {"cat": 5, "dog": 5}}}, [
        "Every class has 5 images after cleaning in train."], ["between 5"]),
    "as few of two": ({"data.after": {"train": {"cat": 5, "dog": 5, "owl": 6}}}, [
        "between 5 (cat and dog) and 6 (owl)"], []),
    "one stratum": ({"data.after": {"train": {"all": 5}}}, [], ["Every class has", "the classes have"]),
    "doubts": ({"data.labels": {"judged": 900, "out_of_fold_accuracy": 87.5}}, ["(its out-of-fold accuracy)"], []),
    "learns from one": ({"index": [{"split": split, "windows": "1"} for split in ("train", "test", "unlabelled")]}, [
        "1 image has no label here; the student learns from the teacher alone on it."], []),
    "odd file": ({"settings.teacher.weights": "a|`b`.safetensors", "timing.distill.device": "a|b"}, [
        "data/weights/a\\|\\`b\\`.safetensors", "a\\|b, 2 threads"], []),
    "teacher taught by its answers": ({"timing.teacher_targets.seconds": 5.0}, [
        "took 1.00 times as long as the baseline, 1.50 times with the teacher's answers"], []),
    "stopped early": ({"settings.student_training.keep": "best"}, ["the epoch that is best on val"],
                      ["the last epoch are"]),
}


def text(found: dict) -> str:
    return page.markdown(found)


@pytest.mark.parametrize("case", CASES)
def test_sentences_follow_the_numbers(case):
    changes, said, unsaid = CASES[case]
    shown = text(measurements.changed(measurements.facts(), changes))
    assert [part for part in said if part not in shown] == []
    assert [part for part in unsaid if part in shown] == []


@pytest.mark.parametrize("task", ["classification", "segmentation"])
@pytest.mark.parametrize("case", CASES)
def test_the_abstract_is_short_and_the_headings_stand(case, task):
    changes = {key.replace("accuracy", measurements.PRIMARY[task]): value for key, value in CASES[case][0].items()}
    found = measurements.changed(measurements.facts(task), changes)
    shown = text(found)
    assert 30 < len(page.summary(found).split()) < WORDS
    assert [line[3:] for line in shown.splitlines() if line.startswith("## ")][:7] == HEADINGS
    assert re.findall(r"<h2 [^>]*>(.*?)</h2>", page.html(shown, "a title", Path()))[:7] == HEADINGS


def test_masks_are_told_of_in_pixels():
    shown = text(measurements.facts("segmentation"))
    for said in ("student's mean IoU is 2.00 points above", "find 3 classes in pictures, pixel by pixel",
                 "Of the test images' pixels, the teacher gets 50 wrong", "IoU 80.0 % on 10 test pixels",
                 "| owl | 99.00 |", "but for the table of IoU: means over the seeds",
                 "Wilcoxon's signed-rank test over the photographs", "a logit for each class, pixel by pixel"):
        assert said in shown
    assert "McNemar" not in shown and "accuracy is" not in shown


@pytest.mark.parametrize(("changes", "said"), [
    ({}, "gain in mean IoU, picture by picture, 2.00 points, 95 % interval 0.80 to 3.20"),
    ({"quality.baseline.deployed": 92.0}, "92.00 % and the baseline 92.00 %; but picture by picture the student is "
                                          "2.00 points ahead on average, and chance hardly explains that"),
    ({"quality.distillation.paired_gain": 0.001}, "picture by picture the student is not level, and chance hardly"),
    ({"quality.distillation.p_value": 0.5, "quality.distillation.paired_gain": 0.0},
     "are level in mean IoU, picture by picture, on 1000 test images: only more of them"),
    ({"quality.distillation.p_value": 0.5, "quality.distillation.paired_gain": 0.5},
     "truly differ in mean IoU, picture by picture, by the 0.50 points measured"),
])
def test_the_deployed_pair_of_masks_is_told_of_picture_by_picture(changes, said):
    shown = text(measurements.changed(measurements.facts("segmentation"), changes))
    assert said in shown and ("92.00 %: a difference" not in shown)


def test_tiles_are_told_of():
    found = measurements.changed(measurements.facts("segmentation"), {
        "settings.split.resize": "tiles", "settings.split.scale": 0.5, "settings.split.overlap": 16,
        "index": [{"split": split, "windows": count} for split, count in (("train", 6), ("test", 4), ("test", 8))]})
    shown = text(found)
    assert "brought to 50 % of their size, then cut into squares of 64×64 pixels, which overlap by at least 16" in shown
    assert "| test | 2 | 12 | 66.7 % |" in shown and "of which a test picture is 6 on average" in shown


def test_the_budget_is_judged_in_each_place():
    shown = text(measurements.judged(measurements.facts(), size_mb=0.5, latency_ms=3.0))
    assert "It fails the device's budget in size." in shown and "| size, MB | 1 | 0.5 | **fail** |" in shown
    assert "The deployed file fails it: size, MB 1 (limit 0.5)" in shown and "| latency, ms | 2 | 3 | pass |" in shown
    none = text(measurements.judged(measurements.facts()))
    assert "budget" not in none.split("## Appendix")[0].replace("benchmark.budget", "")


def test_without_intervals_nothing_is_said_of_chance_but_by_the_test():
    found = measurements.facts()
    found["quality"] = {name: {key: value for key, value in row.items() if not key.endswith(("_low", "_high"))}
                        for name, row in found["quality"].items()}
    shown = text(found)
    assert "interval" not in shown.split("## Model Card")[0].replace("bars are 95 % intervals", "")
    assert "recovers 40 % of the gap between baseline and teacher." in shown


def test_names_are_shown_as_they_are():
    found = measurements.facts()
    found["classes"] = ["<b>bold</b>", "a|b", "_back_ground_"]
    found["confused"] = [{"actual": "<b>bold</b>", "predicted": "a|b", "images": 2, "percent_of_actual": 20.0}]
    shown = page.html(text(found), "<i>title</i>", Path())
    assert "<td>&lt;b&gt;bold&lt;/b&gt;</td>\n<td>a|b</td>" in shown and "_back_ground_" in shown
    assert "<b>" not in shown and "<i>" not in shown


# --- The stage


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Project:
    project = Project(tmp_path_factory.mktemp("page"))
    measurements.write(project.folder, measurements.facts())
    done = project.run("report")
    assert not done.returncode, done.stderr
    return project


def front_matter(folder: Path) -> tuple[dict, str]:
    _, head, rest = (folder / "report/report.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(head), rest


class Asks(HTMLParser):
    """What a page would ask for, and its tags."""

    def __init__(self, page: str):
        super().__init__()
        self.sources, self.links, self.tags = [], [], set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.sources += [value for name, value in attrs if name in ("src", "srcset", "data", "poster")]
        self.links += [value for name, value in attrs if name == "href"]


def test_the_page_asks_for_nothing(made):
    page = (made.folder / "report/index.html").read_text(encoding="utf-8")
    found = Asks(page)
    assert len(found.sources) == 9 and all(source.startswith("data:image/png;base64,") for source in found.sources)
    assert all(link.startswith("#") for link in found.links) and len(found.links) > len(HEADINGS)
    assert not found.tags & {"script", "link", "iframe", "object", "base"}
    assert not re.search(r"url\(|@import", page) and "default-src 'none'; img-src data:; style-src" in page
    anchors = set(re.findall(r'id="([^"]+)"', page))
    assert {link[1:] for link in found.links} <= anchors


def test_front_matter_is_what_a_model_hub_reads(made):
    head, rest = front_matter(made.folder)
    assert rest.startswith("# Handwritten digits, distilled\n")
    assert [head[key] for key in ("license", "library_name", "pipeline_tag")] == [
        "cc-by-4.0", "onnx", "image-classification"]
    assert {"tags", "datasets", "metrics"} <= set(head) and "accuracy" in head["metrics"]
    result, = head["model-index"][0]["results"]
    assert result["task"]["type"] == "image-classification" and {"name", "type"} <= set(result["dataset"])
    assert result["metrics"][0] == {"type": "accuracy", "name": "accuracy, %", "value": 91.8}


def test_a_card_without_the_shipped_scores_is_one_line(tmp_path):
    project = Project(tmp_path)
    measurements.write(tmp_path, measurements.changed(measurements.facts(), {"quality.shipped": None}))
    done = project.run("report")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and "'shipped'" in done.stderr


def test_links_lead_to_files(made):
    _, rest = front_matter(made.folder)
    links = re.findall(r"\]\((.+?)\)", rest)
    assert len(links) == 9 and all((made.folder / "report" / link).is_file() for link in links)


def test_the_same_inputs_give_the_same_page(made):
    files = sorted(path for path in (made.folder / "report").rglob("*") if path.is_file())
    before = [path.read_bytes() for path in files]
    made.run("report")
    assert [path.read_bytes() for path in files] == before and len(files) == 7


def test_hashes_are_those_of_the_files(made):
    _, rest = front_matter(made.folder)
    for path in ("data/raw.zip", "models/student.int8.onnx"):
        assert f"| {path} | `{hashlib.sha256((made.folder / path).read_bytes()).hexdigest()}` |" in rest
    assert f"`{card.settings_sha256(made.params())}`" in rest


def test_photographs_get_on_the_page_on_request_alone(tmp_path):
    project = Project(tmp_path)
    measurements.write(project.folder, measurements.facts())
    for wanted in (True, False):
        assert not project.set("report.pictures", wanted).run("report").returncode
        shutil.rmtree(tmp_path / "kept", ignore_errors=True)
        _, rest = front_matter(tmp_path)
        photographs = ("../plots/data/findings.png", "../plots/test/pictures.png", "confused/pairs.png")
        assert all((f"]({file})" in rest) == wanted for file in photographs)
        assert ("Photographs are left out of this page" in rest) != wanted
        assert "](../plots/test/confusion.png)" in rest
        page = (tmp_path / "report/index.html").read_text(encoding="utf-8")
        assert len(Asks(page).sources) == (9 if wanted else 6)
        shutil.rmtree(tmp_path / "report")  # as DVC does


@pytest.mark.parametrize(("key", "value", "said"), [
    ("licence", "CC BY 4.0", ["report.licence", "'CC BY 4.0'"]), ("pictures", "yes", ["report.pictures", "'yes'"]),
    ("intended", "", ["report.intended", "at least 1"]),
    ("provenance", "A set.\n\n```\nnever closed", ["report.provenance", "a code fence"]),
    ("intended", "This.\n\n## Results", ["report.intended", "a heading"]),
    ("out_of_scope", "Not\n---\nthat", ["report.out_of_scope", "a heading"]),
    ("out_of_scope", "- # Not that", ["report.out_of_scope", "a heading"]),
    ("out_of_scope", "<!-- never closed", ["report.out_of_scope", "HTML"]),
    ("out_of_scope", "not <b>that", ["report.out_of_scope", "HTML"]),
    ("license", "mit", ["report.license is unknown", "licence"]),
])
def test_params_are_checked(project, key, value, said):
    done = project.set(f"report.{key}", value).run("report")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert all(part in done.stderr for part in said), done.stderr


def test_measurements_of_other_code_are_one_line(made, tmp_path):
    project = Project(tmp_path)
    measurements.write(tmp_path, measurements.changed(measurements.facts(), {"quality.test.counted": None}))
    done = project.run("report")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and "counted" in done.stderr


@pytest.mark.skipif(not BROWSER, reason="needs Chromium")
def test_pdf(made):
    done = made.run("report", arguments=("--pdf",))
    assert not done.returncode, done.stderr
    made_pdf = made.folder / "report/report.pdf"
    assert made_pdf.read_bytes().startswith(b"%PDF")
    made_pdf.unlink()


def test_a_browser_that_takes_too_long_is_one_line(tmp_path, monkeypatch):
    slow = tmp_path / "chromium"
    slow.write_text("#!/bin/sh\nexec sleep 9\n", encoding="utf-8")
    slow.chmod(0o755)
    monkeypatch.setattr(pdf, "SECONDS", 0.1)
    monkeypatch.setattr(pdf.shutil, "which", lambda name: str(slow))
    with pytest.raises(UserError, match=r"made no PDF of .* in 0.1 seconds"):
        pdf.write(tmp_path / "index.html", tmp_path / "report.pdf")


def test_pdf_without_a_browser_says_what_to_install(made, tmp_path):
    done = made.run("report", arguments=("--pdf",), env={"PATH": str(tmp_path)})
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "Chromium" in done.stderr and "apt-get install chromium" in done.stderr


# --- The parts


def test_each_number_is_where_the_page_says():
    found = measurements.facts()
    tables = {name: found[name] for name in ("quality", "quantisation", "size", "speed", "data")}
    rows = list(card.sources(tables | {"timing/distill": found["timing"]["distill"]}, "accuracy"))
    assert ("gain of distillation", "metrics/quality.json", "distillation.gain", "dvc repro evaluate") in rows
    assert len(rows) == len(card.SOURCES)
    stages = yaml.safe_load((Path(__file__).parents[1] / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for _, file, _, command in rows:
        assert any(file in str(stages[command.split()[-1]].get(kind, "")) for kind in ("outs", "metrics"))


def test_plots_of_the_page_are_there_for_dvc():
    root = Path(__file__).parents[1]
    plots = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    axes = {tuple(plot["x"].values()) + tuple(plot["y"].values()) for entry in plots for plot in entry.values()
            if plot["template"] == "tradeoff"}
    assert axes == {("size_mb", "score"), ("latency_ms", "score")}
    template = (root / ".dvc/plots/tradeoff.json").read_text(encoding="utf-8")
    assert json.loads(template) and all(f"<DVC_METRIC_{name}>" in template for name in ("DATA", "TITLE", "X", "Y"))


def test_settings_are_hashed_by_their_values():
    plain = card.settings_sha256({"b": 4, "a": {"x": [1, 2.5]}})
    assert plain == hashlib.sha256(b'{"a":{"x":[1,2.5]},"b":4}').hexdigest()
    assert card.settings_sha256({"a": {"x": [1.0, 2.5]}, "b": 4.0}) == plain
    assert card.settings_sha256({"a": {"x": [1, 2.5]}, "b": 5}) != plain


def test_error_bars_are_intervals_or_else_standard_deviations():
    assert tradeoff.error_bar({"accuracy": 90.0, "accuracy_low": 88.0, "accuracy_high": 91.0}, "accuracy") == (2.0, 1.0)
    assert tradeoff.error_bar({"accuracy": 90.0, "accuracy_std": 0.5}, "accuracy") == (0.5, 0.5)
    assert tradeoff.error_bar({"accuracy": 90.0}, "accuracy") is None


def test_numbers_in_words():
    assert [numbers.signed(value, 2) for value in (-0.001, -0.37, 1.0)] == ["0.00", "−0.37", "1.00"]
    assert [numbers.points(value) for value in (1.0, -0.46)] == ["1.00 point", "0.46 points"]
    assert numbers.listed(["a"]) == "a" and numbers.listed(["a", "b", "c"]) == "a, b and c"
    for low, high, side in ((0.1, 1, "above"), (-1, -0.1, "below"), (-1, 1, "unclear"), (0, 1, "unclear")):
        assert results.side({"x_low": low, "x_high": high}, "x") == side


def test_images_needed_by_hand():
    """A standard error of 1 point with 100 images; to see 1 point takes (1.96 + 0.84)² = 7.85 times as many."""
    table = {"p_value": 0.3, "paired_gain": 1.0, "paired_gain_low": 1 - 1.959964, "paired_gain_high": 1 + 1.959964}
    test = {"images": 100, "primary": "accuracy"}
    assert "about 790 test images" in outlook.more_images({"distillation": table, "test": test})


def test_augmentation_and_weights_in_words():
    plain = {"crop": "none", "padding": 3, "min_area": 0.5, "flip": False, "turns": False, "colour": 0.0}
    assert preparation.augmentation("x", plain) == "Training images of x are shown as they are."
    busy = plain | {"crop": "resized", "flip": True, "turns": True, "colour": 0.2}
    assert preparation.augmentation("x", busy) == (
        "Training images of x are cropped to a random area of at least 50 % and resized, mirrored half of the time, "
        "turned by quarters and changed in brightness, contrast and saturation by up to 20 %.")
    assert training.starts({"weights": "imagenet", "mode": "frozen"}) == (
        "torchvision's, of ImageNet; frozen but for its new head, which is trained")


def test_epochs_end_where_the_curves_do():
    """Two seeds, the last of each 80 and 81."""
    assert training.ended({"teacher": measurements.curve()}, "accuracy") == (
        "In the last epoch, accuracy on val is 80.50 % (teacher), the mean of the seeds.")
    assert training.ended({"teacher": measurements.curve()[:2]}, "accuracy").endswith("80.00 % (teacher).")


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


def test_pictures_of_the_page_are_png_files_and_broad_ones_scroll(tmp_path):
    Image.new("RGB", (page.BROAD + 1, 30)).save(tmp_path / "wide.png")
    Image.new("RGB", (page.BROAD, 30)).save(tmp_path / "narrow.png")
    Image.new("RGB", (9, 9)).save(tmp_path / "photo.gif")
    shown = page.html("![w](wide.png)\n\n![n](narrow.png)\n\n![g](photo.gif)\n\n![f](https://a.b/c.png)", "t", tmp_path)
    assert re.findall(r'<img [^>]*class="(\w+)"', shown) == ["broad", "slim"]
    assert "<p>g</p>" in shown and "<p>f</p>" in shown and "a.b" not in shown and "gif" not in shown


def test_a_number_stays_with_its_unit():
    shown = page.html("98.33 ± 0.16 % in 3 ms at 2 points of 4 MB, 5 msx\n\n| a |\n|---|\n| 98.33 ± 0.16 |\n", "t",
                      Path())
    assert "98.33~±~0.16~% in 3~ms at 2~points of 4~MB, 5 msx" in shown.replace("\u00a0", "~")
    assert "<td>98.33 ±~0.16</td>" in shown.replace("\u00a0", "~")


def test_names_keep_their_letters():
    name = "a[b](c){d} ~~e~~ &amp; ![f](g.png) <h> *i* _j_ `k` \\ #"
    shown = page.html(f"x {numbers.escaped(name)}", "t", Path())
    assert f"<p>x {html.escape(name, quote=False)}</p>" in shown
    assert numbers.escaped("|[]{}~&!") == r"\|\[\]\{\}\~\&\!"


def test_numbers_are_never_powers_of_ten():
    for value, digits, said in ((138.4, 2, "138"), (470.1, 2, "470"), (5216.3, 3, "5216"), (0.03951, 3, "0.0395"),
                                (52163.0, 4, "52163"), (9.996, 3, "10"), (0.0, 3, "0"), (-0.5, 2, "-0.5")):
        assert numbers.plain(value, digits) == said
    for millions, said in ((138.4, "138 million"), (1.9642, "1.96 million"), (0.6966, "697 thousand"),
                           (0.02, "20 thousand"), (0.0001, "100")):
        assert numbers.parameters(millions) == said


def test_one_number_has_one_row(made):
    """Macro recall is balanced accuracy."""
    found = measurements.facts()
    assert {"recall", "balanced_accuracy"} <= set(found["quality"]["student"])
    _, rest = front_matter(made.folder)
    assert "| balanced accuracy (macro recall), % |" in rest and "| recall, macro" not in rest
    assert "| precision, macro, % |" in rest and "| expected calibration error (ECE), % |" in rest
    assert "(parts unweighted; the teacher's has T² in it)" in rest


def test_scores_are_no_parts_of_a_loss():
    columns = ["seed", "epoch", "learning_rate", "loss", "cross_entropy", "dist", "train_score", "train_pixel_accuracy",
               "val_loss", "val_score", "val_pixel_accuracy"]
    assert curves.parts(columns) == ["cross_entropy", "dist"]
