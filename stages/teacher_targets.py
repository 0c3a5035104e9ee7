"""Asks the teacher once. In: data/prepared (train, unlabelled), models/teacher.safetensors.
Out: models/targets.npy, its raw logits, float16 (V,N,C), and models/targets.json, what they were made of.

Raw logits: the temperature, the weights and the loss that the student is taught with never touch this stage.
"""

import math
import os
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from stages.core import errors, files, params, workdir
from stages.core.device import choose_device, thread_count
from stages.core.files import atomic_write, write_json
from stages.data import augmentation, prepared
from stages.distillation import teacher_logits
from stages.models import factory


def main() -> None:
    teacher_params = params.load("teacher", factory.TeacherParams)
    wanted = params.load("targets", teacher_logits.TargetParams)
    augment = params.load("student_training.augment", augmentation.Augment)
    device = choose_device("teacher_targets")
    classes = len(prepared.classes())
    teacher = factory.load(teacher_params, factory.TEACHER, classes).to(device)
    stored = augmentation.ImageArrays(prepared.images("train"), prepared.images("unlabelled"))
    inputs = [prepared.FOLDER / "train", prepared.FOLDER / "unlabelled", factory.TEACHER]
    with workdir.folder("teacher_targets", [teacher_params, wanted, augment, thread_count(), device], inputs) as place:
        seconds = _ask(teacher, stored, wanted, augment, place / "targets.npy")
        os.replace(place / "targets.npy", teacher_logits.LOGITS)
    passes = teacher_logits.pass_count(wanted, augment)
    write_json(teacher_logits.ABOUT, {
        **wanted.model_dump(), "augment": augment.model_dump(),
        "teacher_sha256": files.sha256(factory.TEACHER), "passes": passes,
        "images": {"train": len(prepared.images("train")), "unlabelled": len(prepared.images("unlabelled"))}})
    write_json(Path("metrics/timing/teacher_targets.json"), {
        "seconds": round(seconds, 3), "images_per_s": round(passes * len(stored) / seconds, 1) if passes else 0.0,
        "passes": passes, "device": device.type, "threads": thread_count()})


def _ask(teacher, stored: augmentation.ImageArrays, wanted: teacher_logits.TargetParams, augment: augmentation.Augment, path: Path) -> float:
    """Write every pass's logits to `path`, going on where an interrupted run stopped. Returns the seconds spent."""
    passes, everything = teacher_logits.pass_count(wanted, augment), np.arange(len(stored))
    answer = next(teacher_logits.logits(teacher, stored, everything[:1], wanted, augment, 0)).shape[1:]  # (C,*S)
    shape = (passes, len(stored), *answer)
    print(f"teacher_targets: {passes} passes over {len(stored)} images, "
          f"{2 * math.prod(shape) / 1e6:.1f} MB of logits", file=sys.stderr)
    start, size = files.array_header_size(shape, "float16"), wanted.batch_size
    spent = path.with_suffix(".seconds")
    before, began = float(spent.read_text()) if spent.exists() and path.exists() else 0.0, time.perf_counter()
    chunks = [(number, everything[first:first + size]) for number in range(passes)
              for first in range(0, len(stored), size)]
    done, place = 0, start
    with open(path, "r+b" if path.exists() else "w+b") as file:
        # Whole chunks alone count: each is computed as it was the first time, so that the bytes agree.
        for _, rows in chunks:
            after = place + 2 * len(rows) * math.prod(answer)
            if after > path.stat().st_size:
                break
            done, place = done + 1, after
        if not done:
            files.write_array_header(file, shape, "float16")
        file.truncate(place)
        file.seek(place)
        for number, rows in tqdm(chunks[done:], desc="teacher_targets", unit="batch", disable=None):
            file.write(next(teacher_logits.logits(teacher, stored, rows, wanted, augment, number)).tobytes())
            file.flush()
            with atomic_write(spent) as note:
                note.write(str(before + time.perf_counter() - began))
    return before + time.perf_counter() - began


if __name__ == "__main__":
    errors.run(main)
