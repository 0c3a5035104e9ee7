"""Next steps, word for word, against numbers worked out by hand."""

import measurements
import pytest

from stages.deployment.budget import Verdict
from stages.reporting import outlook


def quality(task: str = "classification", **changes: object) -> dict:
    """The measurements with changes, keys written as test__seeds."""
    return measurements.changed(measurements.quality(task),
                                {key.replace("__", "."): value for key, value in changes.items()})


def paired(gain: float, half: float | None = 1.959964, p: float = 0.3, images: int = 100) -> dict:
    """A deployed pair whose interval is `half` wide on both sides."""
    ends = {} if half is None else {"paired_gain_low": gain - half, "paired_gain_high": gain + half}
    return {"distillation": {"p_value": p, "paired_gain": gain} | ends, "test": {"images": images,
                                                                                 "primary": "accuracy"}}


@pytest.mark.parametrize(("values", "needed", "measured", "images"), [
    # A standard error of 1 point with 100 images; to see 1 point takes (1.96 + 0.8416)² = 7.849 times as many.
    (paired(1.0), 790, "1.00 point", 100),
    (paired(-1.0), 790, "1.00 point", 100),
    (paired(2.0), 200, "2.00 points", 100),  # 7.849 / 2² = 1.962 times as many
    (paired(1.0, half=2 * 1.959964), 3200, "1.00 point", 100),  # a standard error of 2: 4 · 7.849 = 31.4 times
    (paired(1.0, p=0.05), 790, "1.00 point", 100),
    (paired(1.0, images=1), 8, "1.00 point", 1),  # below a hundred every image counts
])
def test_more_images(values, needed, measured, images):
    assert outlook.more_images(values) == (
        f"**A larger test set.** If the deployed student and baseline truly differ in accuracy by the {measured} "
        f"measured, and disagree as often as here, about {needed} test images would show it with a probability of "
        f"80 %; there are {images}.")


def test_more_images_where_the_pair_is_level():
    assert outlook.more_images(paired(0.004)) == (
        "**A larger test set.** The deployed student and baseline are level in accuracy on 100 test images: only more "
        "images could show a difference.")


@pytest.mark.parametrize("values", [
    paired(1.0, p=0.049),  # significant
    paired(1.0, half=None),
    paired(2.81),  # (2.8016 / 2.81)² = 0.994 times as many
])
def test_no_more_images_are_needed(values):
    assert outlook.more_images(values) == ""


@pytest.mark.parametrize(("number", "rounded"), [
    (1.2, 2), (9.1, 10), (99.5, 100), (101, 110), (1234, 1300), (1200, 1200)])
def test_numbers_of_images_are_rounded_up_to_two_digits(number, rounded):
    assert outlook._rounded_up(number) == rounded


SECTIONS = "(sections `teacher`, `teacher_training`)."


@pytest.mark.parametrize(("changes", "sentence"), [
    ({}, ""),
    ({"teacher__accuracy": 89.0}, "**A better teacher first.** It is 1.00 point behind the baseline: train it longer, "
                                  f"or give it more layers or pre-trained weights {SECTIONS}"),
    ({"teacher__accuracy": 90.004}, "**A better teacher first.** It is level with the baseline: train it longer, or "
                                    f"give it more layers or pre-trained weights {SECTIONS}"),
    ({"teacher__accuracy": 90.01}, ""),
    ({"distillation__gap_recovered_low": None}, "**A better teacher first.** Its lead over the baseline, 5.00 points, "
                                                f"may be chance: a larger one leaves more to be taught {SECTIONS}"),
])
def test_better_teacher(changes, sentence):
    assert outlook.better_teacher(quality(**changes), started=()) == sentence
    assert outlook.better_teacher(quality(**changes), {"teacher"}) == sentence.replace(" or pre-trained weights", "")


def other_distillation(student_on_val: float, train_score: str = "99", **changes: float) -> str:
    """The baseline has 91 % on val, the teacher's best seed 96 %."""
    rankings = {name: measurements.ranking(score)
                for name, score in (("teacher", 95.5), ("baseline", 91.0), ("student", student_on_val))}
    curve = [{"seed": seed, "train_score": score} for score in ("10", train_score) for seed in "01"]
    return outlook.other_distillation(quality(**changes), rankings, curve, started=())


def test_other_distillation_where_the_teacher_did_harm_on_test():
    harm = {"distillation__gain_low": -3.0, "distillation__gain_high": -1.0}
    assert other_distillation(93.0, **harm) == (
        "**Other distillation settings.** Here the teacher does harm: try a lower `distill.kd_weight` or "
        "`distill.feature_weight`, or another "
        "`distill.temperature` or `distill.loss`.")
    assert other_distillation(93.0, **harm, test__seeds=1) == "" == other_distillation(93.0)


def test_other_distillation_where_the_student_is_not_ahead_on_val():
    start = ("**Other distillation settings.** On val the distilled student (91.00 %) is not ahead of the baseline "
             "(91.00 %)")
    assert other_distillation(91.0).startswith(f"{start}: its teacher (96.00 %) is ahead")
    assert other_distillation(91.0, "95").startswith(f"{start}: even on its training images it scores only 95.00 %")
    assert other_distillation(91.01) == ""


@pytest.mark.parametrize(("seeds", "start"), [(1, "1 seed cannot show"), (2, "2 seeds cannot show")])
def test_more_seeds(seeds, start):
    assert outlook.more_seeds(quality(test__seeds=seeds)) == (
        f"**More seeds.** {start} how much of a difference is due to the seed (`student_training.seeds`).")
    assert outlook.more_seeds(quality(test__seeds=3)) == ""


def weak(scores: dict[str, float], confused: list[tuple[str, str, int]] = (), overall: float = 90.0) -> str:
    rows = [{"model": "int8", "class": name, "f1": str(score), "support": "9"} for name, score in scores.items()]
    pairs = [{"actual": actual, "predicted": predicted, "images": str(count)} for actual, predicted, count in confused]
    return outlook.weak_class(rows, pairs, "f1", "F1", "image", overall)


@pytest.mark.parametrize(("scores", "confused", "sentence"), [
    ({"cat": 95.0, "dog": 80.0}, [],
     "**More examples of dog.** It is the small student's weakest class (F1 80.0 %)."),
    ({"cat": 95.0, "dog": 80.0}, [("cat", "owl", 9), ("dog", "owl", 1), ("dog", "cat", 2)],
     "**More examples of dog.** It is the small student's weakest class (F1 80.0 %), and is most often taken for cat."),
    ({"cat": 95.0, "dog": 80.0}, [("dog", "owl", 2), ("dog", "cat", 2)],
     "**More examples of dog.** It is the small student's weakest class (F1 80.0 %), and is most often taken for owl "
     "and cat."),
    ({"cat": 95.0, "dog": 80.0, "owl": 80.0}, [("dog", "owl", 2)],
     "**More examples of dog and owl.** They are the small student's weakest classes (F1 80.0 % each)."),
    ({"cat": 80.0, "dog": 80.0}, [], ""),
    ({"cat": 95.0, "dog": 90.0}, [], ""),
    ({"cat": 95.0, "dog": 89.9}, [],
     "**More examples of dog.** It is the small student's weakest class (F1 89.9 %)."),
])
def test_weak_class(scores, confused, sentence):
    assert weak(scores, confused) == sentence


EXPLORE = "`python -m stages.quantize --explore` compares the alternatives."


@pytest.mark.parametrize(("val", "low", "sentence"), [
    (0.5, -0.1, ""),
    (1.0, -0.1, "**Another quantisation.** The small student loses 1.00 point on val, more than `quantize.max_drop` "
                f"allows; {EXPLORE}"),
    (0.5, 0.1, "**Another quantisation.** The small student loses 0.25 points on the test images, which is unlikely to "
               f"be chance; {EXPLORE}"),
])
def test_other_quantisation(val, low, sentence):
    values = quality(distillation__int8_drop=0.25, distillation__int8_drop_low=low)
    assert outlook.other_quantisation(values, {"val": {"drop": val, "max_drop": 0.5}}) == sentence


def test_a_few_images_of_val_are_no_reason_for_another_quantisation():
    lost = {"val": {"drop": 1.0, "max_drop": 0.5}}
    assert outlook.other_quantisation(quality(distillation__int8_drop_low=-0.1), lost | {"val_images": 200}) == ""
    assert outlook.other_quantisation(quality(distillation__int8_drop_low=-0.1), lost | {"val_images": 600})


def test_a_small_student_that_gains_needs_no_other_quantisation():
    values = quality(distillation__int8_drop=-0.25, distillation__int8_drop_low=-0.4, distillation__int8_drop_high=-0.1)
    assert outlook.other_quantisation(values, {"val": {"drop": -1.0, "max_drop": 0.5}}) == ""


def test_within_budget():
    small, kept, slow = (Verdict("size, MB", 1.23456, 0.5, False), Verdict("accuracy kept, %", 98.0, 97.0, True),
                         Verdict("latency, ms", 2.0, 1.0, False))
    assert outlook.within_budget([small, kept, slow]) == (
        "**Meeting the budget.** The deployed file fails it: size, MB 1.235 (limit 0.5) and latency, ms 2 (limit 1).")
    assert outlook.within_budget([kept]) == ""


@pytest.mark.parametrize(("error", "sentence"), [
    (5.0, ""), (5.04, "**Calibration.** The small student's expected calibration error is 5.0 points: temperature "
                      "scaling, fitted on val, may reduce it.")])
def test_calibration(error, sentence):
    assert outlook.calibration(quality(int8__ece=error)) == sentence


SETTINGS = {"clean": {"min_accuracy": 70.0}, "scan": {"backbone": "none"}}


@pytest.mark.parametrize(("doubted", "acted_on", "sentence"), [
    (5, {"label_suspect": 5}, ""),
    (5, {"label_suspect": 4}, "**A review of labels.** `data/decisions.csv` lists 1 suspected label error left "
                              "unchanged."),
    (5, {"dark": 9}, "**A review of labels.** `data/decisions.csv` lists 5 suspected label errors left unchanged."),
])
def test_doubtful_labels(doubted, acted_on, sentence):
    data = {"findings": {"label_suspect": doubted, "dark": 9}, "acted_on": acted_on,
            "labels": {"judged": 9, "out_of_fold_accuracy": 70.0}}
    assert outlook.doubtful_labels(data, SETTINGS) == sentence


def test_labels_that_are_seldom_predicted_are_not_doubted():
    data = {"findings": {"label_suspect": 608}, "acted_on": {}, "labels": {"judged": 1658, "out_of_fold_accuracy": 48}}
    told = ("**A check of the labels.** Out-of-fold predictions are right too seldom to say which labels are wrong "
            "(48.0 %)")
    assert outlook.doubtful_labels(data, SETTINGS) == (
        f"{told}, and features of a pre-trained network predict better (`scan.backbone`).")
    assert outlook.doubtful_labels(data, SETTINGS | {"scan": {"backbone": "resnet18"}}) == f"{told}."
