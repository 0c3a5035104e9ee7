"""Does a training stage's memory grow with the number of images? Its peak at two numbers of images.

    python -m benchmarks.memory [--images 2000 20000] [--size 64]

Needs no data set: noise, in the arrays that `split` writes. The stored images are mapped from their file; the system
can drop them from memory at any time, so they are not counted.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import yaml

from benchmarks import stage_cost
from stages.core import errors, files
from stages.data import prepared
from stages.setup import presets

STAGES = ("train_teacher", "teacher_targets", "train_baseline", "distill")
SMALL = {"model": "small_resnet", "options": {"depth": 8, "width": 4, "stride": 4}, "weights": "none"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs=2, default=[2000, 20000])
    parser.add_argument("--size", type=int, default=64)
    options = parser.parse_args()
    peaks = [measure(count, options.size) for count in options.images]
    print(f"{'stage':<16}" + "".join(f"{count:>9} images" for count in options.images) + f"{'grows by':>12}")
    rows = {"(the images)": [count * options.size**2 * 3 / 1e6 for count in options.images],
            **{stage: [peak[stage] for peak in peaks] for stage in STAGES}}
    for name, (few, many) in rows.items():
        print(f"{name:<16}{few:>13.0f} MB{many:>13.0f} MB{many - few:>9.0f} MB")


def measure(count: int, size: int, stages: tuple[str, ...] = STAGES) -> dict[str, float]:
    """Each stage's peak memory in MB, run one after the other on `count` images and a tenth as many unlabelled ones."""
    with tempfile.TemporaryDirectory() as folder:
        _prepare(Path(folder), count, size)
        return {stage: stage_cost.measure(stage, Path(folder)).megabytes for stage in stages}


def _prepare(folder: Path, count: int, size: int) -> None:
    generator = np.random.default_rng(0)
    for split, images in {"train": count, "val": 64, "unlabelled": count // 10}.items():
        place = folder / prepared.FOLDER / split
        chunks = (generator.integers(0, 256, (1, size, size, 3), np.uint8) for _ in range(images))
        files.write_array(place / "images.npy", (images, size, size, 3), "uint8", chunks)
        files.write_array(place / "targets.npy", (images,), "int64", [np.arange(images) % 3])
    (folder / prepared.FOLDER / "classes.txt").write_text("a\nb\nc\n")
    params = presets.values("digits")
    params["teacher"] |= SMALL
    params["student"] = SMALL
    for section in ("teacher_training", "student_training"):
        params[section] |= {"epochs": 1, "warmup_epochs": 0.0, "seeds": [0]}
        params[section]["augment"]["flip"] = True
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


if __name__ == "__main__":
    errors.run(main)
