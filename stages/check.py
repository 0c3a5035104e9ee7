"""Checks the whole of params.yaml, before any work: every section, and what they say together. Writes nothing.

reads   params.yaml; which files of weights lie in data/weights/
Each stage checks its own sections as well. This one comes first in dvc.yaml and depends on all parameters, but no stage
depends on it: a changed temperature is checked, and reruns what the temperature concerns.
"""

import sys
from collections.abc import Callable, Iterator, Mapping

from stages import benchmark, evaluate, fetch, report, scan, split
from stages.cleaning.findings import CleanParams
from stages.core import errors, params, plugins
from stages.core.errors import UserError
from stages.data import augmentation, listing
from stages.deployment.checks import VerifyParams
from stages.deployment.quantize import QuantizeParams
from stages.distillation import kd_losses, teacher_logits
from stages.models import factory
from stages.tasks.segmentation.mask_params import MaskParams
from stages.training import batches, linear_probe
from stages.training.optim import Recipe

SECTIONS = (("data", fetch.DataParams), ("data", scan.LayoutParams), ("data", report.DataName),
            ("data.masks", MaskParams),
            ("scan", scan.ScanParams), ("clean", CleanParams), ("split", split.SplitParams),
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


def teacher_fits(sections: Sections) -> None:
    """The teacher's network, what it gives the student, and where only its head is trained."""
    network, places = outline("teacher", sections)
    teacher_logits.check_places(sections["targets"], places)
    if sections["teacher"].mode == "frozen":
        linear_probe.check_augment(sections["teacher_training"].augment)
        if network:
            factory.head(network)


def student_fits(sections: Sections) -> None:
    outline("student", sections)


TOGETHER: tuple[Callable[[Sections], None], ...] = (layout_fits, labels_fit, padding_fits, turns_fit, teacher_fits,
                                                     student_fits)


def task_labels() -> tuple:
    """data.task and its labels module."""
    task = params.load_word("data.task")
    return task, plugins.module("tasks/*/labels", task, "data.task")


def outline(role: str, sections: Sections) -> tuple:
    """The role's network, None where it can't be built without its weights, and S of its logits.

    Raises UserError where there is no such network, or where its logits are not what the task's labels are.
    """
    task, labels = task_labels()
    size, masks = sections["split"].image_size, sections["data.masks"]
    try:
        drawn = factory.outline(sections[role], max(2, len(masks.classes)), size)
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
