"""Sentences on data and their preparation, word for word."""

import measurements
import pytest

from stages.reporting import preparation


def data(acted_on: dict[str, int] | None = None, before: tuple[str, ...] = (), **findings: int) -> dict:
    return {"findings": measurements.NO_FINDINGS | findings, "acted_on": acted_on or {},
            "before": dict.fromkeys(before)}


@pytest.mark.parametrize(("found", "dropped", "start"), [
    (8, 0, "8 images were found and none of them left out;"), (9, 2, "9 images were found and 2 of them left out;")])
def test_cleaning(found, dropped, start):
    assert preparation.cleaning({"images": {"found": found, "dropped": dropped}}) == (
        f"{start} `data/decisions.csv` lists each finding, what was done about it, and why.")


CLEAN = {"min_accuracy": 70.0}


def test_findings_that_were_only_reported():
    left = preparation.only_reported(data({"leak": 2, "dark": 1}, leak=5, dark=1, near_leak=4))
    assert left == measurements.NO_FINDINGS | {"leak": 3, "near_leak": 4}


@pytest.mark.parametrize(("acted_on", "start"), [
    (3, "Findings that were only reported: 6;"), (8, "Findings that were only reported: 1;"), (9, None)])
def test_reported(acted_on, start):
    assert preparation.reported(data({"leak": acted_on - 1, "dark": 1}, leak=8, dark=1), CLEAN) == (
        f"{start} section `clean` of `params.yaml` sets which kinds are acted on." if start else "")


@pytest.mark.parametrize(("values", "text"), [
    (data(), ""),
    (data({"leak": 1}, leak=2), " (but 1 image of other splits is an exact or near copy of val or test images)"),
    (data({"leak": 1}, leak=2, near_leak=3), " (but 4 images of other splits are exact or near copies of val or test "
                                             "images)"),
    (data(duplicate=1, conflicting_label=2, near_duplicate=4, near_conflict=8, dark=16), ""),
])
def test_copies(values, text):
    assert preparation.copies(values) == text


def test_labels():
    assert preparation.labels({}, CLEAN) == ""
    assert preparation.labels({"labels": {"judged": 900, "out_of_fold_accuracy": 87.54}}, CLEAN) == (
        "A simple classifier predicted 87.5 % of 900 labels correctly without having seen them in training (its "
        "out-of-fold accuracy); its doubts about the others can be trusted only that far.")


def test_doubts_about_labels_that_tell_nothing_are_not_counted():
    some = data(label_suspect=608, dark=2) | {"labels": {"judged": 1658, "out_of_fold_accuracy": 48.0}}
    assert preparation.labels(some, CLEAN).endswith(
        "below 70 % (`clean.min_accuracy`) its doubts about the others say next to nothing, and are not counted here.")
    assert preparation.counted_findings(some, CLEAN) == {"dark": 2}
    assert preparation.reported(some, CLEAN).startswith("Findings that were only reported: 2;")
    assert preparation.counted_findings(some, {"min_accuracy": 48.0}) == {"label_suspect": 608, "dark": 2}


@pytest.mark.parametrize(("after", "sentence"), [
    ({"train": {"cat": 4, "dog": 10}}, "After cleaning, the classes have between 4 (cat) and 10 (dog) images in train, "
                                       "a ratio of 2.5."),
    ({"undivided": {"cat": 6, "dog": 3, "owl": 6}}, "After cleaning, the classes have between 3 (dog) and 6 (cat and "
                                                    "owl) images, a ratio of 2.0."),
    ({"train": {"cat": 1, "dog": 1}, "undivided": {"cat": 3, "dog": 5}}, "After cleaning, every class has 1 image in "
                                                                         "train."),
    ({"undivided": {"cat": 2, "dog": 2}}, "After cleaning, every class has 2 images."),
    ({"train": {"all": 5}}, "")])
def test_balance(after, sentence):
    assert preparation.balance({"after": after}) == sentence


SPLIT = {"image_size": 32, "overlap": 8, "scale": 1, "val_fraction": 0.15, "test_fraction": 0.2, "seed": 3, "fold": 1,
         "labelled_fraction": 1.0}


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"resize": "squash"}, "Each image is resized to 32×32 pixels, whatever its aspect ratio."),
    ({"resize": "crop"}, "The central square of each image is resized to 32×32 pixels."),
    ({"resize": "squash", "image_size": [24, 40]}, "Each image is resized to 40×24 pixels (width × height), whatever "
                                                   "its aspect ratio."),
    ({"resize": "crop", "image_size": [24, 40]}, "The largest central part of each image with the aspect ratio 40:24 "
                                                 "is resized to 40×24 pixels (width × height)."),
    ({"resize": "tiles"}, "Images are cut into tiles of 32×32 pixels, which overlap by at least 8 pixels; the tiles' "
                          "predictions are joined again, so that whole images are scored."),
    ({"resize": "tiles", "scale": 0.5}, "Images are scaled to 50 % of their size, then cut into tiles of 32×32 pixels, "
                                        "which overlap by at least 8 pixels; the tiles' predictions are joined again, "
                                        "so that whole images are scored."),
])
def test_sizing(changes, sentence):
    assert preparation.sizing(SPLIT | changes) == sentence


SEED = "(`split.seed` 3, `split.fold` 1)."


@pytest.mark.parametrize(("before", "sentence"), [
    (("val", "test", "train"), "The source provides `val` and `test`."),
    (("undivided",), f"Drawn here, rounded to whole images: `test`, 20 % of all; then `val`, 15 % of the rest {SEED}"),
    (("train", "test"), "The source provides `test`. Drawn here, rounded to whole images: `val`, 15 % of the other "
                        f"images {SEED}"),
    (("train", "val"), "The source provides `val`. Drawn here, rounded to whole images: `test`, 20 % of the other "
                       f"images {SEED}"),
])
def test_drawn(before, sentence):
    assert preparation.drawn({"before": before}, SPLIT) == sentence


def test_groups_of_a_drawn_split():
    found = {"before": ("undivided",), "after": {"undivided": {"cat": 150, "dog": 50}, "unlabelled": {"all": 9}},
             "groups": {"groups": 21, "of_copies": 20, "images": 50, "sizes": {"2": 20, "10": 1}}}
    # Of 50 images 40 × 0.8 + 10 × 1 leak: 42 of 200.
    assert preparation.drawn(found, SPLIT).endswith(
        f"{SEED} 50 images are in 21 groups (20 of them of exact or near copies), and no group is divided between "
        "splits: had images been drawn one by one, about 21 % of the drawn ones would have had one of their group in "
        "another split.")
    found["groups"] = {"groups": 8, "of_copies": 0, "images": 200, "sizes": {"25": 8}}
    assert "8 groups (none of them of exact" in preparation.drawn(found, SPLIT)
    assert preparation.drawn(found | {"before": ("val", "test")}, SPLIT) == "The source provides `val` and `test`."


@pytest.mark.parametrize(("count", "fraction", "is_used", "sentence"), [
    (0, 0.5, True, ""),
    (1, 1.0, True, "Images without a label for the student: 1; on them, it learns from the teacher alone."),
    (2, 0.25, False, "Images without a label for the student: 2 (only 25 % of the training labels are used); it does "
                     "not use them."),
])
def test_unlabelled(count, fraction, is_used, sentence):
    splits = [("train", 7, 9), *([("unlabelled", count, 11)] if count else [])]
    assert preparation.unlabelled(splits, SPLIT | {"labelled_fraction": fraction}, {"unlabelled": is_used}) == sentence


@pytest.mark.parametrize(("changes", "text"), [
    ({}, "not augmented"),
    ({"crop": "pad"}, "padded by 3 reflected pixels on each side and randomly cropped"),
    ({"crop": "resized", "flip": True, "turns": True, "colour": 0.2},
     "cropped to a random area of at least 50 % and resized, mirrored half of the time, rotated by multiples of 90° "
     "and changed in brightness, contrast and saturation by up to 20 %"),
])
def test_augmentation(changes, text):
    plain = {"crop": "none", "padding": 3, "min_area": 0.5, "flip": False, "turns": False, "colour": 0.0}
    assert preparation.augmentation("x", plain | changes) == f"Training images of x are {text}."


def test_table_of_the_splits():
    index = [{"split": split, "windows": count} for split, count in (("test", "4"), ("train", "6"), ("test", "8"))]
    assert preparation.table(index) == [("train", 1, 6), ("test", 2, 12)]
