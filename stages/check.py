"""Checks the whole of params.yaml, before any work: every section, what they say together, and whether what they name
is here: the images, weights, a network to get them by, room on the disk. Writes nothing.

reads   params.yaml; which files lie in data/source/ and data/weights/
Each stage checks its own sections as well. This one comes first in dvc.yaml and depends on all parameters, but no stage
depends on it: a changed temperature is checked, and reruns what the temperature concerns.
"""

import math
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from stages import benchmark, evaluate, report, scan, split
from stages.cleaning.findings import CleanParams
from stages.core import efficientnet_lite, errors, params, plugins
from stages.core.errors import UserError
from stages.data import archive, augmentation, listing, origin
from stages.data.decode import has_image_suffix
from stages.data.image_size import height_and_width, pixels_text
from stages.deployment.checks import VerifyParams
from stages.deployment.quantize import QuantizeParams
from stages.distillation import feature_heads, features, kd_losses, teacher_logits
from stages.models import factory
from stages.models.outline import outline
from stages.setup import weights
from stages.tasks.segmentation.mask_params import MaskParams
from stages.training import batches, distributed, linear_probe
from stages.training.launch import TrainingParams
from stages.training.optim import Recipe

SECTIONS = (("data", origin.DataParams), ("data", scan.LayoutParams), ("data", report.DataName),
            ("data.masks", MaskParams),
            ("scan", scan.ScanParams), ("clean", CleanParams), ("split", split.SplitParams),
            ("training", TrainingParams),
            ("teacher", factory.TeacherParams), ("teacher_training", Recipe), ("targets", teacher_logits.TargetParams),
            ("student", factory.NetworkParams), ("student_training", Recipe), ("distill", kd_losses.DistillParams),
            ("quantize", QuantizeParams), ("verify", VerifyParams), ("evaluate", evaluate.EvaluateParams),
            ("benchmark", benchmark.BenchmarkParams), ("report", report.ReportParams))
MOST = 5  # problems that one line names
Sections = Mapping[str, params.Section]


def main() -> None:
    problems = list(dict.fromkeys(find_problems(params.load_all())))
    if problems:
        more = f"; and {len(problems) - MOST} more" if len(problems) > MOST else ""
        raise UserError("; ".join(problems[:MOST]) + more)
    source = find_source()
    check_room(source)
    for section, model, architecture in downloads():
        if not weights.can_be_had(architecture, model):
            print(f"check: {section} asks for {model}'s ImageNet weights of {architecture}, which are not stored "
                  "here, and their server does not answer: a stage that needs them will stop. Connect this machine, or "
                  f"put a .safetensors file into {factory.WEIGHTS}/ (its README says how)", file=sys.stderr)
    print(f"check: {params.FILE} holds together", file=sys.stderr)


def find_problems(values: dict) -> Iterator[str]:
    """A message for each problem; those of several sections together only where each is sound by itself."""
    sections, is_sound = {}, True
    for name, kind in SECTIONS:
        value = values
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        try:
            sections[name] = params.parse(kind, value, f"{params.FILE}: {name}")
        except UserError as error:
            is_sound = False
            yield str(error)
    for check in TOGETHER if is_sound else ():
        try:
            check(sections)
        except UserError as error:
            yield str(error)


def layout_fits(sections: Sections) -> None:
    own = params.load("data", scan.LayoutParams)
    listing.check_given(plugins.module("data/layouts/*", own.layout, "data.layout"), own.layout_options)


def labels_fit(sections: Sections) -> None:
    """The task with `split` and with both recipes."""
    task, labels = task_labels()
    split.check_resize(sections["split"], task, labels)
    places = labels.shape(sections["split"].image_size)
    if places:
        labels.classes(())  # those of masks stand in params.yaml
    for recipe in ("teacher_training", "student_training"):
        batches.check_imbalance(recipe, sections[recipe], places)
    kd_losses.check_places(sections["distill"], len(places) or 1)


def padding_fits(sections: Sections) -> None:
    size = min(sections["split"].image_size)
    for name in ("teacher_training", "student_training"):
        augment = sections[name].augment
        if augment.crop == "pad" and augment.padding >= size:
            raise UserError(f"{params.FILE}: {name}.augment.padding is {augment.padding}, and images reflect no more "
                            f"than split.image_size, {size}, less one; lower it")


def turns_fit(sections: Sections) -> None:
    for name in ("teacher_training", "student_training"):
        augmentation.check_turns(sections[name].augment, sections["split"].image_size, f"{name}.augment")


def processes_fit(sections: Sections) -> None:
    for name in ("teacher_training", "student_training"):
        distributed.check_size(sections[name].batch_size, sections["training"].processes)


def teacher_fits(sections: Sections) -> None:
    """The teacher's network, what it gives the student, and where only its head is trained."""
    network, places = role_outline("teacher", sections)
    teacher_logits.check_places(sections["targets"], places)
    if sections["targets"].features and network:
        feature_heads.teachers_head(network)
    if sections["teacher"].mode == "frozen":
        linear_probe.check_augment(sections["teacher_training"].augment)
        if network:
            factory.head(network)


def student_fits(sections: Sections) -> None:
    features.check(sections["targets"], sections["distill"])
    network, _ = role_outline("student", sections)
    if sections["distill"].feature_weight and network:
        feature_heads.students_head(network)


TOGETHER: tuple[Callable[[Sections], None], ...] = (layout_fits, labels_fit, padding_fits, turns_fit, processes_fit,
                                                     teacher_fits, student_fits)


def find_source() -> Path | None:
    """The images' archive or folder on this machine; None where they come from elsewhere. Raises UserError where it
    isn't here, or the file of weights by which labels are checked isn't.
    """
    choice = params.load("scan", scan.ScanParams)
    if choice.weights not in ("none", "imagenet") and not (factory.WEIGHTS / choice.weights).is_file():
        raise UserError(f"weights {factory.WEIGHTS / choice.weights} not found (section scan); put the .safetensors "
                        "file there, or set scan.backbone and scan.weights to none")
    try:
        return origin.local(params.load("data", origin.DataParams))
    except UserError as error:
        more = (f"; {archive.RAW} is here, though: to go on from it, dvc repro --downstream scan"
                if archive.RAW.exists() else "")
        raise UserError(f"{error}{more}") from None


def check_room(source: Path | None) -> None:
    """Before the first stage has run: raises UserError where the disk is too small for raw.zip and the prepared images,
    and for DVC's copies of both. Of a tar the images are not counted; of pictures cut into tiles one tile each is.
    Where there is a raw.zip, whose room the next one takes, nothing is checked.
    """
    if source is None or archive.RAW.exists():
        return
    size = params.load("split", split.SplitParams).image_size
    pixels = math.prod(height_and_width(size))
    try:
        sizes = _unpacked(source)
    except Exception:  # a broken archive, of which fetch says what is wrong
        return
    needed = 2 * (sum(sizes.values()) + sum(map(has_image_suffix, sizes)) * pixels * 3)
    free = shutil.disk_usage(".").free
    if free < needed:
        raise UserError(f"{source} takes about {needed / 1e9:.3g} GB of disk: what it holds, its images at "
                        f"{pixels_text(size)}, and DVC's copies of both; {free / 1e9:.3g} GB are free here. Make room, "
                        "or lower split.image_size")


def _unpacked(source: Path) -> dict[str, int]:
    """Bytes of each file, by its path."""
    if source.is_dir():
        return {str(path): path.stat().st_size for path in source.rglob("*") if path.is_file()}
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as packed:
            return {info.filename: info.file_size for info in packed.infolist()}
    return {source.name: source.stat().st_size}


def downloads() -> Iterator[tuple[str, str, str]]:
    """Section, library (torchvision or timm) and architecture of the weights that would be downloaded."""
    labels, teacher = params.load("scan", scan.ScanParams), params.load("teacher", factory.TeacherParams)
    for role, network in (("teacher", teacher), ("student", params.load("student", factory.NetworkParams))):
        architecture = str(network.options.get("architecture", ""))
        if network.weights == "imagenet" and architecture not in ("", efficientnet_lite.ARCHITECTURE):
            yield role, "timm" if network.model == "timm" else "torchvision", architecture
    if labels.weights == "imagenet" and labels.backbone != efficientnet_lite.ARCHITECTURE:
        yield "scan", "torchvision", labels.backbone


def task_labels() -> tuple:
    """data.task and its labels module."""
    task = params.load_word("data.task")
    return task, plugins.module("tasks/*/labels", task, "data.task")


def role_outline(role: str, sections: Sections) -> tuple:
    """The role's network, None where it can't be built without its weights, and S of its logits.

    Raises UserError where there is no such network, or where its logits are not what the task's labels are.
    """
    task, labels = task_labels()
    size, masks = sections["split"].image_size, sections["data.masks"]
    try:
        drawn = outline(sections[role], max(2, len(masks.classes)), size)
    except UserError as error:
        raise UserError(f"{error} (section {role})") from None
    network, shape = drawn or (None, (2, 2, *labels.shape(size)))
    if len(shape[2:]) != len(labels.shape(size)):
        kind = "one answer a pixel" if shape[2:] else "one answer an image"
        raise UserError(f"{params.FILE}: {role}.model {sections[role].model} gives {kind}, which is not what data.task "
                        f"{task} has labels for; choose a model made for it")
    return network, shape[2:]


if __name__ == "__main__":
    errors.run(main)
