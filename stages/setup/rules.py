"""What `make new` writes into params.yaml, and why: the rules, and all the numbers in them. Each number was chosen by
what was measured (benchmarks/RESULTS.md); whoever measures better changes it here.

In: `Facts`, what is known of the images and of the weights. Out: `Choice`s, one a key of params.yaml; what no rule
names keeps the value of presets/defaults.yaml.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import NamedTuple

# Pictures: the size nearest to their median short side. Larger than 150 px costs more time than it gains.
SIZES = (32, 48, 64, 80, 96, 112, 128, 150)
CROP_SHARE = 12  # random crops move by a twelfth of the size at most
# Where most pictures have one shape, far from a square, so has the input, of about as many pixels as the square: it
# costs the same, and nothing is distorted.
ALIKE, ALIKE_WITHIN = 0.8, 1.1  # share of the pictures, and factor either way within which their aspect ratios are one
OBLONG = 1.3  # times as long as it is high, or as high as it is long, from which on
SIDE_STEP, LEAST_SIDE = 8, 16  # pixels: sides are multiples, which networks halve without rest; the shorter at least

# Val chooses between seeds and between ways of quantising: where it would be fewer images, a larger share is drawn.
FEW_VAL, LARGER_VAL_FRACTION = 20, 0.2

# A student of int8-friendly layers sees about so many training images in all, whatever their number.
STUDENT = {"depth": 14, "width": 32}  # of small_resnet, 0.7 M parameters
STUDENT_STRIDES = ((64, 4), (48, 2), (0, 1))  # from this size on: by how much the picture shrinks before stage two
PRESENTATIONS = 200_000
EPOCHS = (30, 300)  # at least, at most
# One that starts from pre-trained weights needs half of that, smaller steps, and pictures as large as those that it
# learned from: smaller ones are enlarged (benchmarks/RESULTS.md).
STARTED_SIZE = 96
STARTED_PRESENTATIONS = 100_000
STARTED_EPOCHS = (15, 150)
STARTED_RATE = 0.05
LARGE_SET = 2000  # training images from which on the larger batch is as good
BATCH_SIZES = (32, 64)

# The pre-trained teacher is fine-tuned: few epochs, small steps.
FINETUNE = {"optimizer": "adamw", "learning_rate": 0.001, "weight_decay": 0.01, "warmup_epochs": 1.0}
FINETUNE_PRESENTATIONS = 14_000
FINETUNE_EPOCHS = (6, 30)
STANDARD_STEM = 96  # pixels from which on a pre-trained network's first stride does no harm
DENSE = ("resnet", "resnext", "wide_resnet", "vgg")  # train faster in bf16; networks of depthwise layers do not
LEAST_GAIN = 0.9  # bf16 may be so much slower than fp32, by chance, before it is left
FEATURE_WEIGHT = 12.0  # of 1 − cosine between the student's features and the teacher's; 4 and 30 were tried too
SCAN_SIZE = (96, 128)  # pixels for the network that checks labels: of small pictures, of others

IMBALANCED = 5  # times as many images in the largest class as in the smallest, beyond which rare classes weigh more
MIRROR_MATTERS = {"left", "right", "leftward", "rightward"}  # words in names of classes

# Masks: pictures are cut into tiles, since outlines need the pixels as they are.
TILE = 128  # pixels; less where pictures are smaller
LARGEST_SIDE = 512  # pixels to which the median short side is brought
UNET = {"depth": 4, "width": 16, "upsampling": "bilinear"}
UNET_STUDENT = UNET | {"width": 4}
MASK_BATCH = 16
MASK_RECIPE = {"optimizer": "adamw", "weight_decay": 0.01, "imbalance": "class_weight", "augment.crop": "resized",
               "augment.min_area": 0.4, "augment.colour": 0.2}
MASK_PRESENTATIONS, MASK_EPOCHS = (20_000, 30_000), (12, 150)  # of teacher and student
MASK_RATES = (0.002, 0.004)
ENCODER, ENCODER_RATE = {"depth": 5, "width": 8}, 0.001  # of unet_torchvision, a teacher whose encoder is pre-trained
MASK_STRIDE = 4  # of the teacher's logits every fourth row and column is kept


class Weights(NamedTuple):
    """Pre-trained weights that are at hand."""

    model: str  # torchvision | timm: whose network it is
    architecture: str  # its name there
    source: str  # a file in data/weights/, or imagenet


class Facts(NamedTuple):
    """What the rules need to know."""

    task: str
    classes: Mapping[str, int]  # labelled images of each, test and val left out where there are any; of masks: none
    train: int  # training images, once val and test are drawn
    tiles: float  # masks: tiles that a picture gives, on average
    short_side: int  # median, pixels
    aspect: float  # width / height that most pictures have, 1.0 where they differ or are nearly squares
    teacher: Weights | None  # None: of masks, where there are none for an encoder
    student_weights: str  # a file in data/weights/ that fits STUDENT, or ""


class Choice(NamedTuple):
    key: str  # of params.yaml
    value: object
    reason: str  # "": as the one above


def choose(facts: Facts) -> list[Choice]:
    """In the order of params.yaml's sections."""
    return list(_masks(facts) if facts.task == "segmentation" else _classes(facts))


def precisions(bf16_gain: float) -> list[Choice]:
    """Choices to add where the processor is slower in bf16 than in fp32. bf16_gain: how many times as fast it is."""
    if bf16_gain >= LEAST_GAIN:
        return []
    reason = f"Measured here: in bf16 a step takes {1 / bf16_gain:.1f} × as long."
    return [Choice(f"{section}.precision", "fp32", reason)
            for section in ("teacher_training", "targets", "student_training")]


def image_size(short_side: int) -> int:
    return min(SIZES, key=lambda size: abs(size - short_side))


def val_fraction(usual: float, labelled: int) -> float:
    """split.val_fraction of a set of classes. labelled: images that val is drawn from."""
    return usual if round(usual * labelled) >= FEW_VAL else max(usual, LARGER_VAL_FRACTION)


def common_aspect(sizes: Sequence[tuple[int, int]]) -> float:
    """Facts.aspect of pictures of these sizes, (H, W) each."""
    aspects = [width / height for height, width in sizes]
    middle = median(aspects)
    share = sum(middle / ALIKE_WITHIN <= aspect <= middle * ALIKE_WITHIN for aspect in aspects) / len(aspects)
    return middle if share >= ALIKE and max(middle, 1 / middle) >= OBLONG else 1.0


def oblong_size(size: int, aspect: float) -> list[int]:
    """[height, width] of that aspect ratio, width / height, with about as many pixels as a square of this size.

    The longer side follows the shorter one, so that rounding distorts little.
    """
    times = max(aspect, 1 / aspect)
    short = max(LEAST_SIDE, SIDE_STEP * round(size / times**0.5 / SIDE_STEP))
    sides = [short, SIDE_STEP * round(short * times / SIDE_STEP)]
    return sides if aspect > 1 else sides[::-1]


def student_options(size: int) -> dict[str, int]:
    return STUDENT | {"stride": from_size(STUDENT_STRIDES, size)}


def tile_scale(short_side: int) -> float:
    """The share of its size to which a picture with masks is brought, in twentieths, 1 at most."""
    return min(1.0, max(1, round(20 * LARGEST_SIDE / short_side)) / 20)


def tile(short_side: int) -> tuple[int, int]:
    """Side and overlap of the tiles that pictures with masks are cut into, pixels."""
    size = min(TILE, image_size(short_side))
    return size, size // 4


def epochs(presentations: int, images: float, bounds: tuple[int, int]) -> int:
    """So many that about `presentations` images are seen, within the bounds."""
    least, most = bounds
    return min(most, max(least, round(presentations / max(1, images))))


def from_size(table: tuple[tuple[int, int], ...], size: int) -> int:
    return next(value for least, value in table if size >= least)


def mirror_matters(classes: Mapping[str, int]) -> bool:
    """Classes that are single characters, or told apart by left and right, change their meaning in a mirror."""
    words = {word for name in classes for word in re.split(r"[^a-z]+", name.lower())}
    return all(len(name) == 1 for name in classes) or bool(words & MIRROR_MATTERS)


def imbalance(classes: Mapping[str, int]) -> float:
    """How many times the smallest class the largest is."""
    return max(classes.values()) / max(1, min(classes.values()))


def _classes(facts: Facts) -> Iterator[Choice]:
    size = max(image_size(facts.short_side), STARTED_SIZE if facts.student_weights else 0)
    yield Choice("scan.backbone", facts.teacher.architecture,
                 "Features of a pre-trained network find wrong labels better than pixels do.")
    yield Choice("scan.weights", facts.teacher.source, "")
    yield Choice("scan.image_size", SCAN_SIZE[size >= STANDARD_STEM], "")
    yield _input_size(facts, size)
    yield from _teacher(facts, size)
    yield Choice("targets.features", True, "They say more of an image than the logits of a few classes.")
    yield Choice("student.options", student_options(size), f"A stride for images of {size} px.")
    if facts.student_weights:
        yield Choice("student.weights", facts.student_weights, "Pre-trained weights lie there.")
        yield Choice("student_training.learning_rate", STARTED_RATE, "Smaller steps, since it knows something already.")
        number = epochs(STARTED_PRESENTATIONS, facts.train, STARTED_EPOCHS)
    else:
        number = epochs(PRESENTATIONS, facts.train, EPOCHS)
    yield Choice("student_training.epochs", number,
                 f"About {number * facts.train:,} images are seen, of about {facts.train:,} training images.")
    yield Choice("student_training.batch_size", BATCH_SIZES[facts.train >= LARGE_SET], "")
    yield from _shared("student_training", facts, size)
    yield Choice("distill.feature_weight", FEATURE_WEIGHT, "How much the teacher's features count beside its logits.")


def input_sides(facts: Facts, size: int) -> list[int]:
    """Height and width of split.image_size, pixels."""
    return [size, size] if facts.aspect == 1 else oblong_size(size, facts.aspect)


def _input_size(facts: Facts, size: int) -> Choice:
    if facts.aspect == 1:
        return Choice("split.image_size", size,
                      f"The size nearest to the images' median short side, {facts.short_side} px."
                      if size == image_size(facts.short_side) else
                      f"The images' median short side is {facts.short_side} px; they are enlarged to the size that the "
                      "student's start learned from.")
    times, long, short = ((facts.aspect, "wide", "high") if facts.aspect > 1 else (1 / facts.aspect, "high", "wide"))
    return Choice("split.image_size", input_sides(facts, size),
                  f"Height and width. Most images are about {times:.2f} times as {long} as {short}, and so is this; it "
                  f"has about as many pixels as a square of {size} px.")


def _teacher(facts: Facts, size: int) -> Iterator[Choice]:
    """A pre-trained network, fine-tuned: it knows what no few thousand images can teach."""
    model, architecture, source = facts.teacher
    where = "a package of requirements.txt" if model == "timm" else source
    yield Choice("teacher.model", model, f"Pre-trained weights are at hand: {where}.")
    yield Choice("teacher.options", *_pretrained(facts, size))
    yield Choice("teacher.weights", source, "")
    yield Choice("teacher.mode", "finetune", "")
    yield Choice("teacher_training.epochs", epochs(FINETUNE_PRESENTATIONS, facts.train, FINETUNE_EPOCHS),
                 "Fine-tuning: few epochs and small steps, so that the pre-trained weights stay near.")
    yield Choice("teacher_training.batch_size", BATCH_SIZES[0], "")
    yield from (Choice(f"teacher_training.{key}", value, "") for key, value in FINETUNE.items())
    if not architecture.startswith(DENSE):
        yield Choice("teacher_training.precision", "fp32", "Depthwise convolutions train no faster in bf16.")
    yield from _shared("teacher_training", facts, size)


def _pretrained(facts: Facts, size: int) -> tuple[dict, str]:
    """Options of the teacher's model, and the reason."""
    options = {"architecture": facts.teacher.architecture}
    if facts.teacher.model == "timm":
        if size >= STANDARD_STEM:
            return options, ""
        times = math.ceil(STANDARD_STEM / size)
        return options | {"input_size": [times * side for side in input_sides(facts, size)]}, (
            f"Enlarged {times} × inside the network, which learned from larger pictures.")
    if size >= STANDARD_STEM:
        return options | {"stem": "standard"}, ""
    return options | {"stem": "small"}, f"Images of {size} px are too small for the network's own first stride."


def _shared(section: str, facts: Facts, size: int) -> Iterator[Choice]:
    """What teacher and student have alike."""
    if (times := imbalance(facts.classes)) > IMBALANCED:
        yield Choice(f"{section}.imbalance", "class_weight", f"The largest class has {times:.1f} × the smallest.")
    yield Choice(f"{section}.augment.padding", round(min(input_sides(facts, size)) / CROP_SHARE), "")
    if mirror_matters(facts.classes):
        yield Choice(f"{section}.augment.flip", False, "By their names, these classes are no longer themselves in a "
                     "mirror.")


def _masks(facts: Facts) -> Iterator[Choice]:
    size, overlap = tile(facts.short_side)
    yield Choice("split.image_size", size, "Pictures are cut into tiles that overlap.")
    yield Choice("split.resize", "tiles", "")
    if (scale := tile_scale(facts.short_side)) < 1:
        yield Choice("split.scale", scale, f"The median short side, {facts.short_side} px, becomes about "
                     f"{scale * facts.short_side:.0f}.")
    yield Choice("split.overlap", overlap, "")
    tiles = facts.train * facts.tiles
    yield from _mask_teacher(facts.teacher, tiles)
    yield Choice("targets.mode", "views", "")
    yield Choice("targets.stride", MASK_STRIDE, "A sixteenth of the space: every fourth row and column.")
    yield Choice("targets.batch_size", 64, "")
    yield Choice("student.model", "unet", "")
    yield Choice("student.options", UNET_STUDENT, "")
    yield Choice("student_training.seeds", [0], "One network; a measure of the spread is split.fold.")
    yield from _mask_recipe("student", tiles, MASK_PRESENTATIONS[1], MASK_RATES[1])
    yield from (Choice(f"distill.{key}", value, "") for key, value in
                (("loss", "dist"), ("temperature", 1.0), ("kd_weight", 1.0), ("ce_weight", 1.0)))
    yield Choice("quantize.calibration_images", 128, "")
    yield Choice("evaluate.batch_size", 32, "")


def _mask_teacher(weights: Weights | None, tiles: float) -> Iterator[Choice]:
    if not weights:
        yield Choice("teacher.model", "unet", "")
        yield Choice("teacher.options", UNET, "Trained from scratch: no pre-trained weights are at hand "
                     "(data/weights/README.md).")
        yield from _mask_recipe("teacher", tiles, MASK_PRESENTATIONS[0], MASK_RATES[0])
        return
    reason = ("ImageNet weights start its encoder." if weights.source == "imagenet" else
              f"Pre-trained weights are at hand for its encoder: {weights.source}.")
    yield Choice("teacher.model", "unet_torchvision", reason)
    yield Choice("teacher.options", {"architecture": weights.architecture} | ENCODER, "")
    yield Choice("teacher.weights", weights.source, "")
    yield Choice("teacher.mode", "finetune", "")
    yield from _mask_recipe("teacher", tiles, MASK_PRESENTATIONS[0], ENCODER_RATE)


def _mask_recipe(role: str, tiles: float, presentations: int, rate: float) -> Iterator[Choice]:
    section = f"{role}_training"
    yield Choice(f"{section}.epochs", epochs(presentations, tiles, MASK_EPOCHS),
                 f"About {tiles:,.0f} tiles to train on.")
    yield Choice(f"{section}.batch_size", MASK_BATCH, "")
    yield Choice(f"{section}.learning_rate", rate, "")
    yield Choice(f"{section}.warmup_epochs", 2.0, "")
    yield from (Choice(f"{section}.{key}", value, "") for key, value in MASK_RECIPE.items())
