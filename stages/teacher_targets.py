"""Runs the teacher over the images once. In: data/prepared (train, unlabelled), models/teacher.safetensors.
Out: models/targets.npy, its raw logits, float16 (V,N,C), behind them its features where params.yaml asks for them, and
models/targets.json, what they were made of.

Raw logits: temperature, weights and loss of the distillation never touch this stage.
"""

import hashlib
import itertools
import math
import os
import sys
import time
from collections import deque
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
from torch import nn
from tqdm import tqdm

from stages.core import errors, files, params, ranks, workdir
from stages.core.device import choose_device, thread_count
from stages.core.files import sha256, write_json
from stages.data import augmentation, prepared
from stages.distillation import feature_heads, teacher_logits
from stages.models import factory
from stages.training import launch


def main() -> None:
    params_of_teacher = params.load("teacher", factory.TeacherParams)
    targets = params.load("targets", teacher_logits.TargetParams)
    augment = params.load("student_training.augment", augmentation.Augment)
    device = choose_device("teacher_targets")
    teacher = factory.load(params_of_teacher, factory.TEACHER, len(prepared.classes())).to(device)
    if targets.features:
        feature_heads.append_features(teacher)
    counts = {split: len(prepared.images(split)) for split in ("train", "unlabelled")}
    images = augmentation.ImageArrays(*map(prepared.images, counts))
    inputs = [prepared.FOLDER / "train", prepared.FOLDER / "unlabelled", factory.TEACHER]
    key = [params_of_teacher, targets, augment, thread_count(), device, ranks.world()]
    with workdir.folder("teacher_targets", key, inputs) as folder:
        seconds, cpu_seconds = write_logits(teacher, images, targets, augment, folder / "targets.npy")
        if not ranks.is_main():
            return
        os.replace(folder / "targets.npy", teacher_logits.LOGITS)
    about = teacher_logits.about(targets, augment, counts, sha256(factory.TEACHER))
    write_json(teacher_logits.ABOUT, about)
    passes = about["passes"]
    write_json(Path("metrics/timing/teacher_targets.json"), {
        "seconds": round(seconds, 3), "cpu_seconds": round(cpu_seconds, 3),
        "images_per_s": round(passes * len(images) / seconds, 1) if passes else 0.0,
        "passes": passes, "device": device.type, "threads": thread_count()})


def write_logits(teacher: nn.Module, images: augmentation.ImageArrays, targets: teacher_logits.TargetParams,
                 augment: augmentation.Augment, path: Path) -> tuple[float, float]:
    """Write every pass's logits to `path`, going on where an interrupted run stopped. Returns the seconds spent, and
    those of CPU time in all processes, for what an earlier run did at this one's pace.
    """
    passes, samples = teacher_logits.pass_count(targets, augment), np.arange(len(images))
    one = next(teacher_logits.logits(teacher, images, samples[:1], targets, augment, 0)).shape[1:]  # (C,*S)
    shape = (passes, len(images), *one)
    print(f"teacher_targets: {passes} passes over {len(images)} images, "
          f"{2 * math.prod(shape) / 1e6:.1f} MB of logits", file=sys.stderr)
    header = files.array_header(shape, "float16")
    begun = workdir.sealed(path) or workdir.Sealed(0, hashlib.sha256(), 0.0)
    started, cpu_started = time.perf_counter(), time.process_time()
    size = targets.batch_size * ranks.world()
    chunks = [(number, samples[first:first + size]) for number in range(passes)
              for first in range(0, len(images), size)]
    # Whole chunks are sealed: each is computed as it was the first time, so that the bytes agree.
    ends = itertools.accumulate((2 * len(rows) * math.prod(one) for _, rows in chunks), initial=len(header))
    done = list(ends).index(begun.size or len(header))
    ranks.check_same(done, "logits", path.parent)  # and all have seen where the file ends
    contents = (next(teacher_logits.logits(teacher, images, rows, targets, augment, number)).tobytes()
                for number, rows in tqdm(chunks[done:], desc="teacher_targets", unit="batch", disable=None))
    if ranks.is_main():
        _append(path, begun, started, contents if begun.size else itertools.chain([header], contents))
    else:
        deque(contents, maxlen=0)  # computes its share of each
    cpu_seconds = sum(ranks.numbers(time.process_time() - cpu_started)) * len(chunks) / max(1, len(chunks) - done)
    return begun.seconds + time.perf_counter() - started, cpu_seconds


def _append(path: Path, begun: workdir.Sealed, started: float, contents: Iterable[bytes]) -> None:
    """Write `contents` behind what is sealed of the file, and seal it after each."""
    with open(path, "r+b" if begun.size else "w+b") as file:
        file.truncate(begun.size)
        file.seek(begun.size)
        for content in contents:
            file.write(content)
            file.flush()
            begun.digest.update(content)
            workdir.seal(path, file.tell(), begun.digest, begun.seconds + time.perf_counter() - started)


if __name__ == "__main__":
    errors.run(partial(launch.run, main))
