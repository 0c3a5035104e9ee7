"""Key findings, word for word, and what they allow to be claimed, at the borders worked out by hand."""

import measurements
import pytest

from stages.reporting import results


def quality(task: str = "classification", **changes: object) -> dict:
    """The measurements with changes, keys written as test__seeds."""
    return measurements.changed(measurements.quality(task),
                                {key.replace("__", "."): value for key, value in changes.items()})


@pytest.mark.parametrize(("low", "high", "side"), [
    (0.1, 1, "above"), (-1, -0.1, "below"), (-1, 1, "unclear"), (0, 1, "unclear"), (-1, 0, "unclear"),
    (0.004, 1, "unclear"), (0.006, 1, "above"), (-1, -0.004, "unclear"), (-1, -0.006, "below")])
def test_side_of_an_interval(low, high, side):
    assert results.side({"x_low": low, "x_high": high}, "x") == side


def test_side_rounds_as_printed():
    row = {"x_low": 0.4, "x_high": 9}
    assert results.side(row, "x", 0) == "unclear" and results.side(row, "x", 1) == "above"
    assert results.side({}, "x") == "unclear"


@pytest.mark.parametrize(("seeds", "low", "high", "verdict"), [
    (2, 1, 3, "helped"), (2, -3, -1, "harmed"), (2, -1, 1, "unclear"), (1, 1, 3, "ahead"), (1, -3, -1, "behind"),
    (1, -1, 1, "unclear"), (3, None, None, "no interval"), (1, None, None, "no interval")])
def test_verdict(seeds, low, high, verdict):
    assert results.verdict(quality(test__seeds=seeds, distillation__gain_low=low,
                                   distillation__gain_high=high)) == verdict


def gain(value: float, low: float | None, high: float | None, seeds: int = 3) -> str:
    return results.gain(quality(distillation__gain=value, distillation__gain_low=low, distillation__gain_high=high,
                                test__seeds=seeds, student__accuracy_std=0.25))


@pytest.mark.parametrize(("value", "low", "high", "level", "claim"), [
    (2.0, 1.0, 3.0, "2.00 points above", "1.00 to 3.00 points, lies above 0: the teacher helped."),
    (-2.0, -3.0, -1.0, "2.00 points below", "−3.00 to −1.00 points, lies below 0: the teacher did harm."),
    (0.004, -1.0, 1.0, "level with", "−1.00 to 1.00 points, contains 0: no difference can be shown with 1000 test "
                                     "images and 3 seeds."),
])
def test_gain_over_seeds(value, low, high, level, claim):
    assert gain(value, low, high) == (
        f"Averaged over 3 seeds, the distilled student's accuracy is {level} the baseline's (92.00 ± 0.25 % against "
        f"90.00 ± 0.50 %). The 95 % interval of that difference, {claim}")


@pytest.mark.parametrize(("value", "low", "high", "level"), [
    (2.0, 1.0, 3.0, "above"), (-2.0, -3.0, -1.0, "below")])
def test_gain_of_one_seed(value, low, high, level):
    text = gain(value, low, high, seeds=1)
    assert text.startswith(f"With one seed, the distilled student's accuracy is 2.00 points {level} the baseline's")
    assert text.endswith("points, does not contain 0: these two networks differ, but one seed cannot show whether "
                         "others would.")
    assert gain(2.0, 1.0, 3.0, seeds=2).startswith("Averaged over 2 seeds, the")
    assert gain(0.5, -1.0, 2.0, seeds=1).endswith("no difference can be shown with 1000 test images and 1 seed.")


def test_gain_without_an_interval():
    assert gain(1.0, None, None) == (
        "Averaged over 3 seeds, the distilled student's accuracy is 1.00 point above the baseline's (92.00 ± 0.25 % "
        "against 90.00 ± 0.50 %).")


EVIDENCE = "gain in accuracy 2.00 points, 95 % interval 0.80 to 3.20)"


@pytest.mark.parametrize(("changes", "sentence"), [
    ({}, "Of the deployed networks (each the best of its seeds on val), the student scores 92.00 % and the baseline "
         f"90.00 %: a significant difference on 1000 test images (McNemar's exact test, p = 0.0010; {EVIDENCE}."),
    ({"test__seeds": 1, "distillation__p_value": 0.0001},
     "Of the deployed networks, the student scores 92.00 % and the baseline 90.00 %: a significant difference on 1000 "
     f"test images (McNemar's exact test, p = 0.0001; {EVIDENCE}."),
    ({"test__seeds": 1, "distillation__p_value": 0.00009, "student__deployed": 89.0,
      "distillation__paired_gain": -1.0, "distillation__paired_gain_low": None,
      "distillation__paired_gain_high": None},
     "Of the deployed networks, the student scores 89.00 % and the baseline 90.00 %: a significant difference on 1000 "
     "test images (McNemar's exact test, p < 0.0001; gain in accuracy −1.00 points)."),
    ({"test__seeds": 1, "distillation__p_value": 0.049, "distillation__paired_gain_low": -0.1},
     "Of the deployed networks, the student scores 92.00 % and the baseline 90.00 %: a significant difference on 1000 "
     "test images (McNemar's exact test, p = 0.0490; gain in accuracy 2.00 points, 95 % interval −0.10 to 3.20), a "
     "borderline case: the interval contains 0."),
    ({"test__seeds": 1, "distillation__p_value": 0.05},
     "Of the deployed networks, the student scores 92.00 % and the baseline 90.00 %: no difference can be shown with "
     f"1000 test images (McNemar's exact test, p = 0.0500; {EVIDENCE}, a borderline case: the interval does not "
     "contain 0."),
    ({"test__seeds": 1, "distillation__p_value": 0.5, "distillation__paired_gain_low": -0.5},
     "Of the deployed networks, the student scores 92.00 % and the baseline 90.00 %: no difference can be shown with "
     "1000 test images (McNemar's exact test, p = 0.5000; gain in accuracy 2.00 points, 95 % interval −0.50 to 3.20)."),
    ({"test__seeds": 1, "baseline__deployed": 91.996},
     "Of the deployed networks, the student scores 92.00 % and the baseline 92.00 %; but image by image, the student "
     f"is 2.00 points ahead on average, a significant difference (McNemar's exact test, p = 0.0010; {EVIDENCE}."),
    ({"test__seeds": 1, "baseline__deployed": 93.0},
     "Of the deployed networks, the student scores 92.00 % and the baseline 93.00 %; but image by image, the student "
     f"is 2.00 points ahead on average, a significant difference (McNemar's exact test, p = 0.0010; {EVIDENCE}."),
    ({"test__seeds": 2, "baseline__deployed": 93.0, "distillation__paired_gain": 0.5,
      "distillation__paired_gain_low": None},
     "Of the deployed networks (each the best of its seeds on val), the student scores 92.00 % and the baseline 93.00 "
     "%; but image by image, the student is 0.50 points ahead on average, a significant difference (McNemar's exact "
     "test, p = 0.0010; gain in accuracy 0.50 points)."),
    ({"test__seeds": 1, "distillation__paired_gain": -1.0, "distillation__paired_gain_low": None},
     "Of the deployed networks, the student scores 92.00 % and the baseline 90.00 %; but image by image, the student "
     "is 1.00 point behind on average, a significant difference (McNemar's exact test, p = 0.0010; gain in accuracy "
     "−1.00 points)."),
    ({"test__seeds": 1, "distillation__paired_gain": 0.004, "distillation__paired_gain_low": None},
     "Of the deployed networks, the student scores 92.00 % and the baseline 90.00 %; but image by image, the student "
     "is not level, a significant difference (McNemar's exact test, p = 0.0010; gain in accuracy 0.00 points)."),
])
def test_the_deployed_pair(changes, sentence):
    assert results.chance(quality(**changes)) == sentence


def test_gain_of_masks_is_per_image():
    assert "; gain in mean IoU per image 2.00 points, 95 % interval" in results.chance(quality("segmentation"))


AGREEMENT = "The deployed student and the teacher agree on 93.0 % of the test images."


@pytest.mark.parametrize(("changes", "teachers", "sentence"), [
    ({}, 1, "The student recovers 40 % of the gap between baseline and teacher (95 % interval 20 to 60)."),
    ({}, 2, "The student recovers 40 % of the gap between baseline and teacher (95 % interval 20 to 60). The teacher "
            "is the best on val of 2 seeds; the others' scores are means over theirs."),
    ({"teacher__accuracy": 90.004}, 1, "The teacher (90.00 %) is not ahead of the baseline: there is no gap to "
                                       "recover."),
    ({"teacher__accuracy": 91.0, "distillation__gap_recovered_low": None}, 1,
     "The teacher (91.00 %) is 1.00 point ahead of the baseline, but that may be chance: what share of the gap the "
     "student recovers cannot be determined."),
])
def test_gap(changes, teachers, sentence):
    assert results.gap(quality(**changes), teachers) == f"{sentence} {AGREEMENT}"


@pytest.mark.parametrize(("share", "low", "high", "sentence"), [
    (40, 20, 60, "The student recovers 40 % of the gap between baseline and teacher (95 % interval 20 to 60)."),
    (100, 20, 160, "The student recovers 100 % of the gap between baseline and teacher (95 % interval 20 to 160)."),
    (100.6, 20, 160, "The student's mean score is above its teacher's (95.00 %): 101 % of the gap (95 % interval 20 to "
                     "160)."),
    (0, -60, -20, "Of the gap between baseline and teacher, nothing is recovered (95 % interval −60 to −20)."),
    (0.6, 0.4, 60, "The student recovers 1 % of the gap between baseline and teacher by these scores, but whether any "
                   "is recovered cannot be shown (95 % interval 0 to 60)."),
    (40, None, None, "The student recovers 40 % of the gap between baseline and teacher."),
])
def test_share_of_the_gap(share, low, high, sentence):
    table = {"gap_recovered": share} | ({} if low is None else {"gap_recovered_low": low, "gap_recovered_high": high})
    assert results.recovered(table, 95.0) == sentence


def test_when_the_lead_of_the_teacher_may_be_chance():
    gain, gap = {"gain_low": 0, "gain_high": 1}, {"gap_recovered": 40}
    ends = {"gap_recovered_low": 1, "gap_recovered_high": 2}
    assert results.is_unsure_gap(gain) and results.is_unsure_gap({}) and results.is_unsure_gap(gain | gap)
    assert not results.is_unsure_gap(gap) and not results.is_unsure_gap(gain | gap | ends)


def test_errors_of_the_teacher():
    shares = {"baseline__where_teacher_errs": 10.0, "student__where_teacher_errs": 20.0,
              "int8__where_teacher_errs": 5.0}
    assert results.teacher_errors(quality(**shares)) == (
        "Of the test images, the teacher gets 50 wrong; of these, the others get right: baseline 10.0 %, student "
        "20.0 % and small student 5.0 % (means over the seeds).")
    assert results.teacher_errors(quality(**shares, test__seeds=2)).endswith("5.0 % (means over the seeds).")
    assert results.teacher_errors(quality(**shares, test__seeds=1)).endswith("small student 5.0 %.")
    assert results.teacher_errors(quality(test__teacher_errors=0)) == (
        "The teacher gets all of the test images right: it makes no errors to compare the others on.")


@pytest.mark.parametrize(("form", "drop", "ends", "sentence"), [
    ("int8", 0.1, (-0.2, 0.4), "In int8 the student loses 0.10 points (95 % interval −0.20 to 0.40 points lost; no "
                               "difference can be shown)."),
    ("int8", 1.0, (0.5, 2.5), "In int8 the student loses 1.00 point (95 % interval 0.50 to 2.50 points lost)."),
    ("int8", -0.1, (-0.2, 0.4), "In int8 the student gains 0.10 points (95 % interval −0.40 to 0.20 points gained; no "
                                "difference can be shown)."),
    ("int8", -1.0, (-2.0, -0.5), "In int8 the student gains 1.00 point (95 % interval 0.50 to 2.00 points gained)."),
    ("int8", 0.004, (-0.2, 0.4), "In int8 the student scores as in float (95 % interval −0.20 to 0.40 points lost)."),
    ("int8 weights", 0.0, None, "With int8 weights the student scores as in float."),
    ("fp16 weights", 0.2, None, "With half-float weights the student loses 0.20 points."),
])
def test_what_the_small_student_loses(form, drop, ends, sentence):
    low, high = ends or (None, None)
    values = quality(distillation__int8_drop=drop, distillation__int8_drop_low=low, distillation__int8_drop_high=high)
    assert results.small(values, {"form": form}) == sentence


@pytest.mark.parametrize(("small", "sentence"), [
    (1.9, ""), (2.0, ""), (2.009, ""),
    (2.12, "The deployed file takes 1.06 × as long as the same network in float here: it saves size, not time.")])
def test_where_int8_is_slower_than_float_it_is_said(small, sentence):
    speed = {"student": {"latency_ms": 2.0}, "int8": {"latency_ms": small}, "teacher": {"latency_ms": 9.0}}
    assert results.slower_than_float(quality(), speed) == sentence
    speed = {"student": {"latency_ms": 0.1}, "int8": {"latency_ms": small}, "teacher": {"latency_ms": 2.0}}
    assert results.slower_than_float(quality(test__shipped_role="teacher"), speed) == sentence


def test_what_a_user_waits_for():
    row = {"latency_ms": 0.04, "photograph_ms": 96.4, "cold_start_ms": 401.2, "photograph_memory_mb": 124.3}
    assert results.from_a_photograph({"int8": row}) == (
        "From a JPEG of 12 megapixels to the answer `predict.py` takes 96 ms, decoding and resizing included, from its "
        "start on 401 ms, and at most 124 MB.")
    assert results.from_a_photograph({"int8": {"latency_ms": 0.04}}) == ""


@pytest.mark.parametrize(("slowdown", "ratio"), [(1.0, ""), (1.004, ""), (1.3, "1.30 × "), (0.9, "0.90 × ")])
def test_whether_it_slows_down_under_load(slowdown, ratio):
    assert results.under_load({"int8": {"sustained_slowdown": slowdown}}, 5) == (
        "Sustained load: the small file answered single images for 5 seconds without a pause; the last fifth of the "
        f"answers took {ratio}as long as the first, by their medians.")
    assert results.under_load({"int8": {"latency_ms": 0.04}}, 5) == ""


@pytest.mark.parametrize(("layers", "sentence"), [
    ([], ""), (["a"], "Layers kept in float, because int8 lost too much there: 1."),
    (["a", "b"], "Layers kept in float, because int8 lost too much there: 2.")])
def test_layers_in_float(layers, sentence):
    assert results.float_layers({"float_layers": layers}) == sentence


def test_a_drop_beyond_the_limit():
    assert results.excessive_drop({"val": {"drop": 1.0, "max_drop": 0.5}}) == (
        "**On val it loses 1.00 point, more than `quantize.max_drop` allows (0.5).**")
    assert results.excessive_drop({"val": {"drop": 0.5, "max_drop": 0.5}}) == ""


@pytest.mark.parametrize(("images", "sentence"), [
    (200, "On val it loses 1.00 point, 2 images of 200; that is more than `quantize.max_drop` allows (0.5), and may be "
          "chance."),
    (540, "On val it loses 1.00 point, 5 images of 540; that is more than `quantize.max_drop` allows (0.5), and may be "
          "chance."),
    (600, "**On val it loses 1.00 point, more than `quantize.max_drop` allows (0.5).**")])
def test_a_drop_of_a_few_images_is_not_in_bold(images, sentence):
    """Six of six: p = 0.03 at best; five of five: 0.06."""
    assert results.excessive_drop({"val": {"drop": 1.0, "max_drop": 0.5}, "val_images": images}) == sentence


def test_sentences_in_their_order():
    starts = ("Averaged over 3 seeds", "Of the deployed networks", "The student recovers 40 %", "Of the test images",
              "**The file that ships", "Val and test point", "In int8 the baseline", "The teacher made small",
              "**Its int8 sums saturate",
              "Layers kept in float", "**On val it loses")
    cost = {"form": "int8", "saturates": True, "float_layers": ["a"], "teacher": {"int8": 91.0},
            "val": {"drop": 1.0, "max_drop": 0.5, "int8": 90.0}, "ship": "best",
            "mean_on_val": {"student": 90.0, "baseline": 91.0}}
    costs = [{"int8": {key: 2.0}, "teacher_int8": {key: 6.0}} for key in ("size_mb", "latency_ms")]
    sentences = results.sentences(quality(test__shipped_role="baseline"), cost, *costs, 1)
    assert [sentence[:len(start)] for sentence, start in zip(sentences, starts, strict=True)] == [*starts]
    cost |= {"saturates": False, "float_layers": [], "val": {"drop": 0.1, "max_drop": 0.5, "int8": 90.0}}
    cost["mean_on_val"]["student"] = 92.0
    assert len(results.sentences(quality(), cost, *costs, 1)) == 6


def test_calibration_of_each_model():
    errors = quality(teacher__ece=1.0, baseline__ece=2.0, student__ece=3.0, int8__ece=4.0)
    start = ("The expected calibration error (ECE), the average distance between a model's confidence and its "
             "accuracy, is 1.0 points (teacher), 2.0 points (baseline), 3.0 points (student) and 4.0 points (small "
             "student)")
    for seeds, end in ((3, "; means over the seeds."), (2, "; means over the seeds."), (1, ".")):
        errors["test"]["seeds"] = seeds
        assert results.calibration(errors) == start + end


def test_what_intervals_are_for():
    start = "95 % intervals, by 2000 bootstrap resamples, are for new images and"
    for seeds in (2, 3):
        assert results.intervals(quality(test__seeds=seeds)) == (
            f"{start} newly trained networks; those of the teacher and of the deployed pair account for new images "
            "only.")
    assert results.intervals(quality(test__seeds=1)) == (
        f"{start} the same networks: one seed cannot show how newly trained ones would do.")
    assert results.intervals({"teacher": {"accuracy": 1.0}, "test": {"seeds": 3}}) == ""


@pytest.mark.parametrize(("role", "ship", "student", "sentence"), [
    ("student", "best", 93.0, ""), ("student", "student", 93.0, ""),
    ("teacher", "teacher", 93.0, "**The file that ships is made of the teacher**, as `quantize.ship` says."),
    ("baseline", "best", 73.8, "**The file that ships is made of the baseline**, not of the distilled student: on val "
                               "the baseline's mean accuracy is 79.70 %, the student's 73.80 % (`quantize.ship`)."),
    ("baseline", "baseline", 93.0, "**The file that ships is made of the baseline**, as `quantize.ship` says: on val "
                                   "the baseline's mean accuracy is 79.70 %, the student's 93.00 %."),
    ("student", "student", 73.8, "**The file that ships is made of the student**, as `quantize.ship` says: on val "
                                 "the student's mean accuracy is 73.80 %, the baseline's 79.70 %.")])
def test_what_ships_is_said_where_it_is_no_better_student(role, ship, student, sentence):
    cost = {"ship": ship, "mean_on_val": {"student": student, "baseline": 79.7}}
    assert results.shipped(quality(test__shipped_role=role), cost) == sentence
    assert results.shipped(quality(test__shipped_role=role, test__seeds=1), cost) == sentence.replace(" mean", "")


@pytest.mark.parametrize(("score", "val", "start", "advised"), [
    (94.9, 91.0, "The teacher made small in the same way is 3.00 points above the small student, in a file 1.6 × the "
                 "size and at 2.5 × the latency", True),
    (94.9, 90.0, "The teacher made small in the same way is 3.00 points above the small student,", False),
    (90.9, 91.0, "The teacher made small in the same way is 1.00 point below the small student,", False),
    (91.9, 91.0, "The teacher made small in the same way is level with the small student,", False)])
def test_what_one_would_ship_without_distilling(score, val, start, advised):
    """Advised where both val and test have it ahead: on val the small student has 90."""
    costs = [{"int8": {key: 1.0}, "teacher_int8": {key: times}}
             for key, times in (("size_mb", 1.6), ("latency_ms", 2.5))]
    quantisation = {"val": {"int8": 90.0}, "teacher": {"int8": val}}
    sentence = results.small_teacher(quality(teacher_int8__accuracy=score), quantisation, *costs)
    assert sentence.startswith(start) and ("`quantize.ship: teacher`" in sentence) == advised
    assert results.small_teacher(quality(test__shipped_role="teacher"), quantisation, *costs) == ""


@pytest.mark.parametrize(("val", "test", "sentence"), [
    (92.0, 2.0, ""), (91.0, 2.0, ""), (92.0, 0.0, ""),
    (90.0, 2.0, "Val and test point in opposite directions: the student's mean is 1.00 point below the baseline's on "
                "val and 2.00 points above the baseline's on test, so take neither difference as proven."),
    (92.0, -0.5, "Val and test point in opposite directions: the student's mean is 1.00 point above the baseline's on "
                 "val and 0.50 points below the baseline's on test, so take neither difference as proven.")])
def test_val_and_test_in_opposite_directions(val, test, sentence):
    cost = {"mean_on_val": {"student": val, "baseline": 91.0}}
    assert results.opposite(quality(distillation__gain=test), cost) == sentence
