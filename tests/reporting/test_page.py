"""The page's text: no sentence is left untrue when a number changes. Its HTML: pictures, names, units."""

import base64
import html
import io
import re
from pathlib import Path

import measurements
import numpy as np
import pytest
from PIL import Image

from stages.reporting import numbers, page

HEADINGS = ["Abstract", "Data Analysis and Cleaning", "Data Preprocessing", "Model Architecture",
            "Training and Experimentation", "Results and Key Findings", "Future Work"]
WORDS = 150  # of the abstract, at most

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


def findings(**kinds: int) -> dict[str, int]:
    """Findings of these kinds, and of no others."""
    return measurements.NO_FINDINGS | kinds


def rows(support: int = 10, **scores: float) -> list[dict]:
    """Of plots/test/classes.csv."""
    return [{"model": "int8", "class": name, "precision": 12.34, "recall": 100.0, "f1": score, "iou": score,
             "support": support} for name, score in scores.items()]


def pairs(*images: int) -> list[dict]:
    """Of plots/test/confused.csv: a0 taken for b, a1 for b, …"""
    return [{"actual": f"a{number}", "predicted": "b", "images": count, "pixels": count, "percent_of_actual": 70.0}
            for number, count in enumerate(images)]


# What is changed, what the page then contains, and what it no longer contains.
CASES = {
    "as it is": ({}, [
        "Averaged over 3 seeds, the distilled student's accuracy is 2.00 points above the baseline's (92.00 ± 0.50 % "
        "against 90.00 ± 0.50 %).",
        "1.00 to 3.00 points, lies above 0: the teacher helped",
        "Distillation gained 2.00 points",
        "Of the deployed networks (each the best of its seeds on val), the student scores 92.00 % and the baseline "
        "90.00 %: a significant difference on 1000 test images (McNemar's exact test, p = 0.0010; gain in accuracy "
        "2.00 points, 95 % interval 0.80 to 3.20).",
        "recovers 40 % of the gap between baseline and teacher (95 % interval 20 to 60)",
        "the teacher gets 50 wrong; of these, the others get right: baseline 30.0 %, student 30.0 % and small student "
        "30.0 % (means over the seeds).",
        "In int8 the student loses 0.10 points (95 % interval −0.20 to 0.40 points lost; no difference can be shown)",
        "2000 images were found and 100 of them left out",
        "between 400 (cat) and 500 (dog) images in train, a ratio of 1.2.",
        "It meets the device budget.", "More examples of dog", "Most often it takes dog for cat: 7 test images"],
        ["**A larger test set.**", "**A better teacher", "**More seeds", "**Calibration", "FAIL", "**fail**"]),
    "gain unclear": (UNCLEAR, [
        "−0.50 to 1.50 points, contains 0: no difference can be shown with 1000 test images and 3 seeds",
        "No difference between student and baseline can be shown (95 % interval −0.50 to 1.50 points)",
        "no difference can be shown with 1000 test images (McNemar's exact test, p = 0.4000",
        # (2.801586 · 4 / 3.919928 / 1)² · 1000 = 8173
        "about 8200 test images would show it with a probability of 80 %; there are 1000"],
        ["the teacher helped", "Distillation gained", "a significant difference"]),
    "gain unclear and nothing between the deployed": (UNCLEAR | {"quality.distillation.paired_gain": 0.0}, [
        "are level in accuracy on 1000 test images: only more images could show a difference"], ["with a probability"]),
    "gain negative": (NEGATIVE, [
        "2.00 points below", "−3.00 to −1.00 points, lies below 0: the teacher did harm",
        "Distillation lost 2.00 points",
        "nothing is recovered (95 % interval −60 to −20)", "**Other distillation settings.**"],
        ["the teacher helped", "Distillation gained"]),
    "level": ({"quality.distillation.gain": -0.001}, ["accuracy is level with the baseline's"],
              ["points below the"]),
    "surely not by chance": ({"quality.distillation.p_value": 0.00001}, ["p < 0.0001"], ["p = 0.0000"]),
    "mean over images and score of all part ways": ({"quality.distillation.paired_gain": -1.5}, [
        "; but image by image, the student is 1.50 points behind on average, a significant difference (McNemar"],
        ["a significant difference on"]),
    "the same answers": ({f"quality.distillation.{key}{end}": value for key in ("gain", "paired_gain", "int8_drop")
                          for end, value in (("", 0.0), ("_low", None), ("_high", None))} | {
                              "quality.distillation.p_value": 1.0}, [
        "The distilled student is level with the baseline.", "are level in accuracy on 1000 test images: only more",
        "the student scores as in float."],
        ["Distillation gained", "Distillation lost"]),
    "one seed": (ONE_SEED, [
        "With one seed, the distilled", "these two networks differ, but one seed cannot show whether others would",
        "for new images and the same networks: one seed cannot show", "**More seeds.**",
        "The distilled student is 2.00 points ahead of the baseline (95 % interval 1.00 to 3.00 points); one seed",
        "There is one seed each", "(92.00 % against 90.00 %)", "One seed: another may give other scores"],
        ["over 3 seeds", "the teacher helped", "standard deviation over", "newly trained networks",
         "Distillation gained", "best of its seeds", "means over", "it is the best"]),
    "teacher behind the baseline": (NO_GAP | {"quality.teacher.accuracy": 89.0}, [
        "The teacher (89.00 %) is not ahead of the baseline", "**A better teacher first.** It is 1.00 point behind"],
        ["gap between"]),
    "teacher not surely ahead": ({"quality.distillation.gap_recovered_low": None,
                                  "quality.distillation.gap_recovered_high": None}, [
        "is 5.00 points ahead of the baseline, but that may be chance",
        "Its lead over the baseline, 5.00 points, may be chance"],
        ["recovers 40 %"]),
    "student past its teacher": ({"quality.distillation.gap_recovered": 120.0}, [
        "The student's mean score is above its teacher's (95.00 %): 120 % of the gap"], ["recovers 40 %"]),
    "teacher errs nowhere": ({"quality.test.teacher_errors": 0} | dict.fromkeys(
        f"quality.{name}.where_teacher_errs" for name in measurements.MODELS[1:]), [
        "The teacher gets all of the test images right"], ["the others get right"]),
    "int8 loses": ({"quality.distillation.int8_drop": 1.5, "quality.distillation.int8_drop_low": 0.5,
                    "quality.distillation.int8_drop_high": 2.5, "quantisation.float_layers": ["a"],
                    "quantisation.val": {"drop": 1.0, "max_drop": 0.5, "int8": 90.0}}, [
        "In int8 the student loses 1.50 points (95 % interval 0.50 to 2.50 points lost).",
        "Layers kept in float, because int8 lost too much there: 1.",
        "On val it loses 1.00 point, more than `quantize.max_drop` allows (0.5)",
        "**Another quantisation.** The small student loses 1.00 point on val"], ["0.40 points lost"]),
    "two layers in float": ({"quantisation.float_layers": ["a", "b"]}, ["int8 lost too much there: 2."], []),
    "int8 loses nothing": ({"quality.distillation.int8_drop": 0.0}, ["In int8 the student scores as in float"], []),
    "int8 gains": ({"quality.distillation.int8_drop": -0.1}, [
        "In int8 the student gains 0.10 points (95 % interval −0.40 to 0.20 points gained"],
                   ["the student loses"]),
    "int8 weights": ({"quantisation.form": "int8 weights"}, [
        "The student's file with int8 weights scores 91.80 %", "With int8 weights the student loses"], ["In int8 the"]),
    "half floats": ({"quantisation.form": "fp16 weights"}, [
        "The student's half-float file scores", "With half-float weights the student loses"], ["In int8 the"]),
    "uncalibrated": ({"quality.int8.ece": 9.0}, ["**Calibration.**", "9.0 points (small student)",
        "small student's expected calibration error is 9.0 points"], []),
    "nothing dropped": ({"data.images": {"found": 2000, "kept": 2000, "dropped": 0}, "data.findings": findings(dark=3),
                         "data.acted_on": {}}, [
        "none of them left out", "Cleaning removed none of 2000 images.", "Findings that were only reported: 3;",
        "| dark | 3 | 0 |"], ["100 of them", "| duplicate |"]),
    "doubted labels": ({"data.findings": findings(label_suspect=5), "data.acted_on": {"label_suspect": 1},
                        "data.labels": {"judged": 900, "out_of_fold_accuracy": 87.5}}, [
        "lists 4 suspected label errors left unchanged.", "predicted 87.5 % of 900 labels correctly"], []),
    "both drawn": ({"data.before": {"undivided": {"cat": 5, "dog": 5}}}, [
        "Drawn here, rounded to whole images: `test`, 20 % of all; then `val`, 10 % of the rest (`split.seed"],
                   ["The source provides"]),
    "both given": ({"data.before": {"train": {"cat": 5}, "val": {"cat": 5}, "test": {"cat": 5}}}, [
        "The source provides `val` and `test`."], ["Drawn here"]),
    "nothing confused": ({"confused": []}, ["confuses no two classes"], ["Most often it takes", "| dog | cat |"]),
    "taught otherwise": ({"settings.distill.temperature": 7.0, "settings.distill.loss": "dkd",
                          "settings.distill.kd_weight": 2.0, "settings.targets.mode": "online"}, [
        "2 × T² × decoupled knowledge distillation (Zhao et al., 2022), at a temperature T of 7",
        "In every step, the teacher predicts on exactly the augmented images",
        "the student's views are the same for every seed, whereas each seed of the baseline has its own. The weights"],
        ["Hinton", "computed once", "the only difference"]),
    "taught about unlabelled images": ({"index": [{"split": split, "windows": "1"} for split in (
        "train", "test", "unlabelled", "unlabelled")], "settings.distill.unlabelled": True}, [
        "this differs: the student also learns from 2 unlabelled images. The weights"], ["the only difference"]),
    "asked about views": ({"settings.targets.mode": "views", "settings.targets.views": 4}, [
        "for 4 augmented views of each image",
        "Besides the teacher, this differs: the student sees 4 views of each image, the same for every seed, whereas "
        "the baseline sees new ones in each epoch. The weights"], ["the only difference"]),
    "fine-tuned": ({"settings.teacher.mode": "finetune", "settings.teacher.weights": "net.safetensors"}, [
        "those of data/weights/net.safetensors; fine-tuned as a whole"], ["from scratch"]),
    "cropped": ({"settings.split.resize": "crop", "settings.split.image_size": 48}, [
        "The central square of each image is resized to 48×48 pixels.", "inputs of 48×48 pixels"],
        ["32×32 pixels,"]),
    "unlabelled": ({"index": [{"split": split, "windows": "1"} for split in ("train", "test", "unlabelled")],
                    "settings.split.labelled_fraction": 0.5, "settings.distill.unlabelled": False}, [
        "Images without a label for the student: 1 (only 50 % of the training labels are used); it does not use them.",
        "so that the teacher is the only difference; the weights of"], []),
    "mirrored and averaged": ({"settings.student_training.augment.flip": True,
                               "settings.student_training.ema_decay": 0.99}, [
        "for each image without augmentation and mirrored;", "mirrored half of the time",
        "the weights, an exponential moving average over steps (`ema_decay` 0.99), of the last epoch"], []),
    "one seed, behind": (NEGATIVE | ONE_SEED, [
        "The distilled student is 2.00 points behind the baseline (95 % interval −3.00 to −1.00 points); one seed",
        "these two networks differ, but one seed cannot show whether others would", "**More seeds.**"],
        ["Distillation lost", "did harm", "does harm", "**Other distillation settings.**"]),
    "interval that only rounding keeps from 0": ({"quality.distillation.gain_low": 0.003,
                                                  "quality.distillation.gain_high": 0.9}, [
        "0.00 to 0.90 points, contains 0: no difference can be shown",
        "No difference between student and baseline can be shown (95 % interval 0.00 to 0.90 points)"],
        ["lies above 0", "Distillation gained"]),
    # 359 images, 7 gained and 1 lost: the exact test and the interval part ways.
    "p says no, the interval yes": ({"quality.distillation.p_value": 0.0703, "quality.distillation.paired_gain": 1.6713,
                                     "quality.distillation.paired_gain_low": 0.27,
                                     "quality.distillation.paired_gain_high": 3.35, "quality.test.images": 359}, [
        "no difference can be shown with 359 test images (McNemar's exact test, p = 0.0703; gain in accuracy 1.67 "
        "points, 95 % interval 0.27 to 3.35), a borderline case: the interval does not contain 0.",
        # (2.801586 · 3.08 / 3.919928 / 1.6713)² · 359 = 622.8
        "truly differ in accuracy by the 1.67 points measured", "about 630 test images"], ["a significant difference"]),
    "p says yes, the interval no": ({"quality.distillation.p_value": 0.04,
                                     "quality.distillation.paired_gain_low": -0.1}, [
        "a significant difference on 1000 test", "a borderline case: the interval contains 0."],
        ["**A larger test set.**", "can be shown with 1000 test images (McNemar"]),
    "enough images, had p not said otherwise": ({"quality.distillation.p_value": 0.06}, [
        "a borderline case: the interval does not contain 0"], ["**A larger test set.**"]),
    "gap that may be none": ({"quality.distillation.gap_recovered_low": -40.0}, [
        "recovers 40 % of the gap between baseline and teacher by these scores, but whether any is recovered cannot be "
        "shown (95 % interval −40 to 60)"], []),
    "no gap recovered, or some": ({"quality.distillation.gap_recovered": -5.0,
                                   "quality.distillation.gap_recovered_low": -40.0,
                                   "quality.distillation.gap_recovered_high": 30.0}, [
        "nothing is recovered by these scores, but whether any is recovered cannot be shown (95 % interval −40 to "
        "30)"], []),
    "several teachers": ({"settings.teacher_training.seeds": [0, 1]}, [
        "The teacher is the best on val of 2 seeds; the others' scores are means over theirs"], []),
    "leaks": ({"data.findings": findings(leak=3, near_leak=2), "data.acted_on": {"leak": 1}}, [
        "a seed (but 4 images of other splits are exact or near copies of val or test images);"], []),
    "one near leak": ({"data.findings": findings(near_leak=1), "data.acted_on": {}}, [
        "a seed (but 1 image of other splits is an exact or near copy of val or test images);"], []),
    "alike": ({"data.findings": findings(near_duplicate=2), "data.acted_on": {}}, [
        "nor to choose an epoch or a seed;"], ["near copies of val"]),
    "intervals": ({}, ["95 % intervals, by 2000 bootstrap resamples, are for new images and newly trained networks; "
                       "those of the teacher and of the deployed pair account for new images only."], []),
    "test drawn": ({"data.before": {"train": {"cat": 5}, "val": {"cat": 5}}}, [
        "The source provides `val`. Drawn here, rounded to whole images: `test`, 20 % of the other images (`spl"], []),
    "another small form": ({"quantisation.form": "fp16 weights"}, [
        "*small student* the student with half-float weights; files and pictures call it `int8`",
        "| | teacher | baseline | student | small student | small teacher | teacher / small |",
        "The small student does worst on dog",
        "It is the small student's weakest class"], ["int8 student", "| int8", "(int8)", "*int8*"]),
    "large": ({"size.teacher.parameters_m": 138.4, "size.student.parameters_m": 0.02, "size.teacher.size_mb": 5216.3,
               "speed.teacher.latency_ms": 470.1, "speed.int8.latency_ms": 0.0395}, [
        "A teacher with 138 million parameters taught a student with 20 thousand to",
        "(teacher: 5216 MB) and runs in 0.04 ms per image (teacher: 470 ms) on 1 thread"], ["e+0", "million to"]),
    "under load": ({"settings.benchmark.sustained_seconds": 60, "speed.int8.sustained_images_per_s": 480.4,
                    "speed.int8.sustained_p50_ms": 2.0, "speed.int8.sustained_p95_ms": 2.5,
                    "speed.int8.sustained_p99_ms": 9.0, "speed.int8.sustained_slowdown": 1.254}, [
        "| under sustained load, images/s |  |  |  | 480 |  | |",
        "| under sustained load, 99th percentile, ms |  |  |  | 9.000 |  | |",
        "| under sustained load, last fifth / first fifth |  |  |  | 1.25 |  | |",
        "single images for 60 seconds without a pause"], []),
    "not under load": (dict.fromkeys(f"speed.int8.sustained_{name}" for name in (
        "images_per_s", "p50_ms", "p95_ms", "p99_ms", "slowdown")), [], ["ustained load", "last fifth"]),
    "correlated": ({"settings.distill.loss": "dist"}, [
        "T² × (1 − the correlation with the teacher's probabilities, between and within classes; Huang et al., 2022), "
        "at"], []),
    "cross-entropy": ({}, [
        "is 0.1 × cross-entropy + 0.9 × T² × the KL divergence from the teacher's soft targets"], []),
    "with Dice": ({"settings.student_training.dice_weight": 0.5}, [
        "is 0.1 × (cross-entropy + 0.5 × the Dice loss) + 0.9 × T²"], []),
    "long name": ({"settings.data.name": "x y " * 99}, ["to classify images into 3 classes. Cleaning"], ["(data set"]),
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
    "many classes": ({"each_class": rows(**{f"c{number}": 50.0 + number for number in range(26)}),
                      "classes": ["c"] * 51,
                      "pictures": {"classes.png": "c.png", "confusion.png": "m.png"}}, [
        "| c0 | 50.0 | 12.3 | 100.0 | 10 |", "`plots/test/classes.csv` has all of them.",
        "(a row is an actual class; with so many, those that it confuses most):",
        "Precision and recall of each class that occurs, where there are more than 50 the weakest:"], ["| c10 |"]),
    "all equally weak": ({"each_class": rows(a=80.0, b=80.0)}, [], ["does worst on", "**More examples"]),
    "weakest, but above the whole": ({"quality.int8.f1": 79.0}, ["does worst on dog"], ["**More examples"]),
    "weakest, taken for two": ({"confused": [
        {"actual": "dog", "predicted": other, "images": "2", "pixels": "2", "percent_of_actual": "20"}
        for other in ("cat", "owl")]}, [
        "weakest class (F1 80.0 %), and is most often taken for cat and owl."], []),
    "surely loses on test": ({"quality.distillation.int8_drop": 0.4, "quality.distillation.int8_drop_low": 0.1,
                              "quality.distillation.int8_drop_high": 0.7}, [
        "**Another quantisation.** The small student loses 0.40 points on the test images, which is unlikely to be "
        "chance;"], []),
    "a little uncalibrated": ({"quality.int8.ece": 5.1}, ["**Calibration.**"], []),
    "two seeds": ({"quality.test.seeds": 2}, ["**More seeds.** 2 seeds cannot show"], []),
    "p at the border": ({"quality.distillation.p_value": 0.05}, [
        "no difference can be shown with 1000 test images (Mc"], ["a significant difference"]),
    "a little past its teacher": ({"quality.distillation.gap_recovered": 110.0}, [
        "The student's mean score is above"], []),
    "undivided": ({"data.after": {"undivided": {"cat": 5, "dog": 10}}}, [
        "between 5 (cat) and 10 (dog) images, a ratio of 2.0."], ["images in train"]),
    "as many of each class": ({"data.after": {"train": {"cat": 5, "dog": 5}}}, [
        "After cleaning, every class has 5 images in train."], ["between 5"]),
    "as few of two": ({"data.after": {"train": {"cat": 5, "dog": 5, "owl": 6}}}, [
        "between 5 (cat and dog) and 6 (owl)"], []),
    "one stratum": ({"data.after": {"train": {"all": 5}}}, [], ["every class has", "the classes have"]),
    "doubts": ({"data.labels": {"judged": 900, "out_of_fold_accuracy": 87.5}}, ["(its out-of-fold accuracy)"], []),
    "learns from one": ({"settings.split.labelled_fraction": 1.0, "index": [
        {"split": split, "windows": "1"} for split in ("train", "test", "unlabelled")]}, [
        "Images without a label for the student: 1; on them, it learns from the teacher alone."], []),
    "odd file": ({"settings.teacher.weights": "a|`b`.safetensors", "timing.distill.device": "a|b"}, [
        "data/weights/a\\|\\`b\\`.safetensors", "a\\|b, 2 threads"], []),
    "teacher taught by its answers": ({"timing.teacher_targets.cpu_seconds": 5.0}, [
        "took 1.00 times the CPU time of training the baseline, 1.50 times with the teacher's answers"], []),
    "stopped early": ({"settings.student_training.keep": "best"}, ["the epoch that is best on val"],
                      ["the last epoch are"]),
}


@pytest.mark.parametrize("case", CASES)
def test_sentences_follow_the_numbers(case):
    changes, present, absent = CASES[case]
    text = page.markdown(measurements.changed(measurements.facts(), changes))
    assert [part for part in present if part not in text] == []
    assert [part for part in absent if part in text] == []


@pytest.mark.parametrize("task", ["classification", "segmentation"])
@pytest.mark.parametrize("case", CASES)
def test_the_abstract_is_short_and_the_headings_stand(case, task):
    changes = {key.replace("accuracy", measurements.PRIMARY[task]): value for key, value in CASES[case][0].items()}
    facts = measurements.changed(measurements.facts(task), changes)
    text = page.markdown(facts)
    assert 30 < len(page.summary(facts).split()) < WORDS
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")][:7] == HEADINGS
    assert re.findall(r"<h2 [^>]*>(.*?)</h2>", page.html(text, "a title", Path()))[:7] == HEADINGS


def test_segmentation_counts_pixels():
    text = page.markdown(measurements.facts("segmentation"))
    for said in ("student's mean IoU is 2.00 points above", "segment images into 3 classes",
                 "Of the test images' pixels, the teacher gets 50 wrong", "IoU 80.0 % on 10 test pixels",
                 "| owl | 99.00 |", "except for the table of IoU: means over the seeds",
                 "Wilcoxon's signed-rank test over the photographs", "a logit for each class of each pixel"):
        assert said in text
    assert "McNemar" not in text and "accuracy is" not in text


@pytest.mark.parametrize(("changes", "said"), [
    ({}, "gain in mean IoU per image 2.00 points, 95 % interval 0.80 to 3.20"),
    ({"quality.baseline.deployed": 92.0}, "92.00 % and the baseline 92.00 %; but image by image, the student is "
                                          "2.00 points ahead on average, a significant difference"),
    ({"quality.distillation.paired_gain": 0.001}, "image by image, the student is not level, a significant"),
    ({"quality.distillation.p_value": 0.5, "quality.distillation.paired_gain": 0.0},
     "are level in mean IoU per image on 1000 test images: only more images"),
    ({"quality.distillation.p_value": 0.5, "quality.distillation.paired_gain": 0.5},
     "truly differ in mean IoU per image by the 0.50 points measured"),
])
def test_the_deployed_pair_of_segmentation_is_compared_per_image(changes, said):
    text = page.markdown(measurements.changed(measurements.facts("segmentation"), changes))
    assert said in text and "92.00 %: a significant difference" not in text


def test_tiles_are_described():
    facts = measurements.changed(measurements.facts("segmentation"), {
        "settings.split.resize": "tiles", "settings.split.scale": 0.5, "settings.split.overlap": 16,
        "index": [{"split": split, "windows": count} for split, count in (("train", 6), ("test", 4), ("test", 8))]})
    text = page.markdown(facts)
    assert "scaled to 50 % of their size, then cut into tiles of 64×64 pixels, which overlap by at least 16" in text
    assert "| test | 2 | 12 | 66.7 % |" in text and "a test image is cut into 6 of them on average" in text


def test_the_budget_is_in_each_place():
    text = page.markdown(measurements.judged(measurements.facts(), size_mb=0.5, latency_ms=3.0))
    assert "It fails the device budget in size." in text and "| size, MB | 1 | 0.5 | **fail** |" in text
    assert "The deployed file fails it: size, MB 1 (limit 0.5)" in text and "| latency, ms | 2 | 3 | pass |" in text
    none = page.markdown(measurements.judged(measurements.facts()))
    assert "budget" not in none.split("## Appendix")[0].replace("benchmark.budget", "")


def test_without_intervals_only_the_test_speaks_of_chance():
    facts = measurements.facts()
    facts["quality"] = {name: {key: value for key, value in row.items() if not key.endswith(("_low", "_high"))}
                        for name, row in facts["quality"].items()}
    text = page.markdown(facts)
    assert "interval" not in text.split("## Model Card")[0].replace("bars are 95 % intervals", "")
    assert "recovers 40 % of the gap between baseline and teacher." in text


def test_pictures_of_the_page_are_png_files_and_broad_ones_scroll(tmp_path):
    Image.new("RGB", (page.BROAD + 1, 30)).save(tmp_path / "wide.png")
    Image.new("RGB", (page.BROAD, 30)).save(tmp_path / "narrow.png")
    Image.new("RGB", (9, 9)).save(tmp_path / "photo.gif")
    text = page.html("![w](wide.png)\n\n![n](narrow.png)\n\n![g](photo.gif)\n\n![f](https://a.b/c.png)", "t", tmp_path)
    assert re.findall(r'<img [^>]*class="(\w+)"', text) == ["broad", "slim"]
    assert "<p>g</p>" in text and "<p>f</p>" in text and "a.b" not in text and "gif" not in text


def test_a_page_of_many_photographs_stays_small(tmp_path):
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)).resize((640, 480))
    photographs = np.asarray(coarse) ^ np.random.default_rng(1).integers(0, 16, (480, 640, 3), np.uint8)
    Image.fromarray(photographs).save(tmp_path / "pairs.png")
    text = page.html("![errors](pairs.png)", "Birds", tmp_path)
    kind, content = re.search('src="data:image/(.*?);base64,([^"]+)" .*width="640" height="480"', text).groups()
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))).astype(int)
    weight, before = len(text), (tmp_path / "pairs.png").stat().st_size
    assert kind == "webp" and before > page.HEAVY and weight < before / 4
    assert np.abs(shown - photographs).mean() < 6


def test_a_number_stays_with_its_unit():
    text = page.html("98.33 ± 0.16 % in 3 ms at 2 points of 4 MB, 5 msx\n\n| a |\n|---|\n| 98.33 ± 0.16 |\n", "t",
                      Path())
    assert "98.33~±~0.16~% in 3~ms at 2~points of 4~MB, 5 msx" in text.replace("\u00a0", "~")
    assert "<td>98.33 ±~0.16</td>" in text.replace("\u00a0", "~")


def test_special_characters_of_names_are_kept():
    name = "a[b](c){d} ~~e~~ &amp; ![f](g.png) <h> *i* _j_ `k` \\ #"
    text = page.html(f"x {numbers.escaped(name)}", "t", Path())
    assert f"<p>x {html.escape(name, quote=False)}</p>" in text
    assert numbers.escaped("|[]{}~&!") == r"\|\[\]\{\}\~\&\!"
