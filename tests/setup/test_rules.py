"""The rules of make new, on facts made up."""

import pytest
from safetensors.torch import save_file
from torchvision import models

from stages.models import factory
from stages.models.outline import outline
from stages.setup import rules, settings
from stages.setup.rules import Facts, Weights
from stages.training.optim import Recipe

WEIGHTS = Weights("torchvision", "mobilenet_v2", "mobilenet_v2-imagenet.safetensors")
FACTS = Facts("classification", {"cat": 900, "dog": 700}, train=1440, tiles=1.0, short_side=100, aspect=1.0,
              teacher=WEIGHTS, student_weights="")


def chosen(**changes) -> dict[str, object]:
    choices = rules.choose(FACTS._replace(**changes))
    assert len({choice.key for choice in choices}) == len(choices)
    return {choice.key: choice.value for choice in choices}


@pytest.mark.parametrize(("short_side", "size"), [(8, 32), (32, 32), (50, 48), (64, 64), (100, 96), (140, 150),
                                                  (150, 150), (3000, 150)])
def test_image_size_is_the_nearest(short_side, size):
    assert rules.image_size(short_side) == size


@pytest.mark.parametrize(("short_side", "stride", "stem", "padding"), [
    (32, 1, "small", 3), (48, 2, "small", 4), (64, 4, "small", 5), (96, 4, "standard", 8), (150, 4, "standard", 12)])
def test_networks_and_crops_follow_the_size(short_side, stride, stem, padding):
    found = chosen(short_side=short_side)
    assert found["student.options"] == {"depth": 14, "width": 32, "stride": stride}
    assert found["teacher.options"] == {"architecture": "mobilenet_v2", "stem": stem}
    assert found["student_training.augment.padding"] == found["teacher_training.augment.padding"] == padding


def test_pictures_are_no_smaller_than_those_that_the_students_start_learned_from():
    found = chosen(short_side=32, student_weights="a.safetensors")
    assert found["split.image_size"] == 96 and found["student.options"]["stride"] == 4
    assert chosen(short_side=150, student_weights="a.safetensors")["split.image_size"] == 150
    oblong = chosen(short_side=32, aspect=16 / 9, student_weights="a.safetensors")
    assert oblong["split.image_size"] == [72, 128]


@pytest.mark.parametrize(("train", "student", "teacher", "batch"), [
    (100, 300, 30, 32), (1000, 200, 14, 32), (3400, 59, 6, 64), (100_000, 30, 6, 64)])
def test_epochs_follow_the_number_of_images(train, student, teacher, batch):
    found = chosen(train=train)
    assert (found["student_training.epochs"], found["teacher_training.epochs"]) == (student, teacher)
    assert found["student_training.batch_size"] == batch and found["teacher_training.batch_size"] == 32


def test_the_teacher_follows_the_weights():
    found = chosen()
    assert found["teacher.model"] == "torchvision" and found["teacher.mode"] == "finetune"
    assert found["teacher.weights"] == found["scan.weights"] == WEIGHTS.source
    assert found["teacher_training.optimizer"] == "adamw" and found["teacher_training.precision"] == "fp32"
    assert "teacher_training.precision" not in chosen(teacher=Weights("torchvision", "resnet18", "imagenet"))
    assert found["targets.features"] is True and found["distill.feature_weight"] > 0
    assert "student.weights" not in found and chosen(student_weights="a.safetensors")["student.weights"] == (
        "a.safetensors")


@pytest.mark.parametrize(("short_side", "aspect", "sides"), [
    (150, 1.0, None), (96, 1.0, None), (64, 1.0, [128, 128]), (32, 1.0, [96, 96]), (32, 16 / 9, [72, 120])])
def test_a_teacher_from_timm_sees_small_pictures_enlarged(short_side, aspect, sides):
    lite = Weights("timm", "tf_efficientnet_lite0", "imagenet")
    found = chosen(teacher=lite, short_side=short_side, aspect=aspect)
    assert found["teacher.model"] == "timm" and found["teacher.weights"] == found["scan.weights"] == "imagenet"
    assert found["teacher.options"] == {"architecture": "tf_efficientnet_lite0"} | ({"input_size": sides} if sides
                                                                                    else {})
    assert found["teacher_training.precision"] == "fp32"


@pytest.mark.parametrize(("labelled", "fraction"), [(10, 0.2), (194, 0.2), (195, 0.1), (5000, 0.1)])
def test_val_is_no_handful(labelled, fraction):
    assert rules.val_fraction(0.1, labelled) == fraction and rules.val_fraction(0.3, labelled) == 0.3


@pytest.mark.parametrize(("sizes", "aspect"), [
    ([(360, 640)] * 8 + [(100, 100), (640, 360)], 640 / 360), ([(360, 640)] * 7 + [(100, 100)] * 3, 1.0),
    ([(90, 60), (92, 60), (95, 64), (60, 40)], 60 / 91), ([(120, 100)] * 9, 1.0),
    ([(90, 60)] * 5 + [(60, 90)] * 5, 1.0), ([(7, 100)], 100 / 7)])
def test_the_shape_that_most_pictures_have(sizes, aspect):
    assert rules.common_aspect(sizes) == pytest.approx(aspect, rel=0.02)


@pytest.mark.parametrize(("size", "aspect", "sides"), [
    (150, 16 / 9, [112, 200]), (150, 9 / 16, [200, 112]), (96, 1.5, [80, 120]), (64, 4 / 3, [56, 72]),
    (32, 16 / 9, [24, 40]), (32, 1.3, [32, 40]), (32, 10, [16, 160])])
def test_an_oblong_input_has_the_pixels_of_a_square(size, aspect, sides):
    assert rules.oblong_size(size, aspect) == sides


@pytest.mark.parametrize("size", rules.SIZES)
def test_an_oblong_input_costs_what_a_square_does_and_distorts_less(size):
    for aspect in (1.3, 1.4, 1.5, 1.6, 16 / 9, 2, 2.5, 3):
        height, width = rules.oblong_size(size, aspect)
        assert 0.7 < height * width / size**2 <= (1.5 if size == 32 else 1.2)
        assert max(width / height / aspect, aspect * height / width) < aspect
        assert rules.oblong_size(size, 1 / aspect) == [width, height]


def test_oblong_pictures_get_an_oblong_input():
    found = chosen(short_side=360, aspect=16 / 9)
    assert found["split.image_size"] == [112, 200] and found["student_training.augment.padding"] == 9
    square = chosen(short_side=360)
    assert {key for key in found if found[key] != square[key]} == {
        "split.image_size", "student_training.augment.padding", "teacher_training.augment.padding"}
    assert chosen(task="segmentation", short_side=360, aspect=16 / 9)["split.image_size"] == 128


def test_imbalance_from_five_times_on():
    assert not [key for key in chosen(classes={"cat": 500, "dog": 100}) if key.endswith("imbalance")]
    found = chosen(classes={"cat": 510, "dog": 100})
    assert found["teacher_training.imbalance"] == found["student_training.imbalance"] == "class_weight"


@pytest.mark.parametrize(("classes", "is_lost"), [
    (["cat", "dog"], False), (["0", "1", "2"], True), (["A", "b"], True), (["turn_left", "turn_right", "stop"], True),
    (["Left lung", "heart"], True), (["leftover", "bright"], False), (["a", "cat"], False)])
def test_what_a_mirror_takes_away(classes, is_lost):
    found = chosen(classes=dict.fromkeys(classes, 10))
    assert (found.get("student_training.augment.flip", True), found.get("teacher_training.augment.flip", True)) == (
        not is_lost, not is_lost)


@pytest.mark.parametrize(("short_side", "size", "overlap"), [(40, 32, 8), (100, 96, 24), (1000, 128, 32)])
def test_tiles_are_no_larger_than_the_pictures(short_side, size, overlap):
    found = chosen(task="segmentation", short_side=short_side)
    assert (found["split.image_size"], found["split.overlap"]) == (size, overlap)


@pytest.mark.parametrize(("short_side", "scale"), [(200, 1.0), (512, 1.0), (1000, 0.5), (1500, 0.35), (60_000, 0.05)])
def test_pictures_with_masks_are_brought_to_one_size(short_side, scale):
    assert rules.tile_scale(short_side) == scale
    assert chosen(task="segmentation", short_side=short_side).get("split.scale", 1.0) == scale


MASKS = {"task": "segmentation", "classes": {}, "train": 50, "tiles": 20.0, "short_side": 1000}


def test_masks():
    found = chosen(**MASKS, teacher=None)
    assert found["teacher_training.epochs"] == 20 and found["student_training.epochs"] == 30
    assert found["targets.mode"] == "views" and found["split.resize"] == "tiles"
    assert found["teacher.model"] == found["student.model"] == "unet" and "teacher.weights" not in found
    assert found["split.overlap"] < found["split.image_size"]


@pytest.mark.parametrize(("weights", "reason"), [
    (WEIGHTS, f"Pre-trained weights are at hand for its encoder: {WEIGHTS.source}."),
    (Weights("torchvision", "mobilenet_v2", "imagenet"), "ImageNet weights start its encoder.")])
def test_why_a_teacher_of_masks_has_an_encoder(weights, reason):
    choices = rules.choose(FACTS._replace(**MASKS, teacher=weights))
    assert [choice.reason for choice in choices if choice.key == "teacher.model"] == [reason]


def test_a_teacher_of_masks_starts_from_the_weights_at_hand():
    found = chosen(**MASKS)
    assert (found["teacher.model"], found["teacher.weights"]) == ("unet_torchvision", WEIGHTS.source)
    assert found["teacher.options"]["architecture"] == "mobilenet_v2" and found["teacher.mode"] == "finetune"
    assert found["teacher_training.learning_rate"] == 0.001
    assert found["teacher_training.epochs"] == 20 and found["student.model"] == "unet"


def test_the_networks_for_masks_can_be_built(tmp_path, monkeypatch):
    written = settings.text("", rules.choose(FACTS._replace(**MASKS)))
    values = settings.values(written)
    monkeypatch.setattr(factory, "WEIGHTS", tmp_path)
    save_file(models.mobilenet_v2(weights=None).state_dict(), tmp_path / WEIGHTS.source)
    for role, kind in (("teacher", factory.TeacherParams), ("student", factory.NetworkParams)):
        network = kind(**values[role])
        size = values["split"]["image_size"]
        assert outline(network, 3, (size, size))[1] == (2, 3, size, size)
        Recipe(**values[f"{role}_training"])


def test_a_student_that_knows_something_trains_shorter_in_smaller_steps():
    values = chosen(student_weights="small.safetensors", train=2000)
    assert values["student.weights"] == "small.safetensors" and values["student_training.epochs"] == 50
    assert values["student_training.learning_rate"] == 0.05
    assert "student_training.learning_rate" not in chosen(student_weights="", train=2000)
