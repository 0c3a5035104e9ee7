"""Does a training stage's memory grow with the number of images? Peak of its own memory at two sizes.

    python -m benchmarks.memory [--images 2000 20000] [--size 64]

Needs no data set: noise, prepared as `split` prepares it. Own memory is what the system can't take back: anonymous
pages, with the stored images' file-backed ones left out, since those are only a cache of the file.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import yaml

from stages.core import files
from stages.data import prepared
from tools import preset

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("train_teacher", "teacher_targets", "train_baseline", "distill")
SMALL = {"model": "small_resnet", "options": {"depth": 8, "width": 4, "stride": 4}, "weights": "none"}


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak own memory of the training stages at two numbers of images.")
    parser.add_argument("--images", type=int, nargs=2, default=[2000, 20000])
    parser.add_argument("--size", type=int, default=64)
    asked = parser.parse_args()
    peaks = [measure(count, asked.size) for count in asked.images]
    stored = [count * asked.size**2 * 3 / 1e6 for count in asked.images]
    print(f"{'stage':<16}" + "".join(f"{count:>9} images" for count in asked.images) + f"{'grows by':>12}")
    rows = {"(the images)": stored} | {stage: [peak[stage] for peak in peaks] for stage in STAGES}
    for name, (few, many) in rows.items():
        print(f"{name:<16}{few:>13.0f} MB{many:>13.0f} MB{many - few:>9.0f} MB")


def measure(count: int, size: int, stages: tuple[str, ...] = STAGES) -> dict[str, float]:
    """Each stage's peak own memory in MB, run one after the other on `count` images; a tenth more are unlabelled."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _prepare(folder, count, size)
        return {stage: peak(stage, folder) for stage in stages}


def peak(stage: str, folder: Path) -> float:
    """Sampled every 5 ms while the stage runs there, in MB (10⁶ bytes)."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-m", f"stages.{stage}"], cwd=folder, env=environment,
                          stderr=subprocess.DEVNULL) as running:
        process, highest = psutil.Process(running.pid), 0
        while running.poll() is None:
            memory = process.memory_info()
            highest = max(highest, memory.rss - memory.shared)
            time.sleep(0.005)
    if running.returncode:
        sys.exit(f"memory: {stage} failed in {folder}")
    return highest / 1e6


def _prepare(folder: Path, count: int, size: int) -> None:
    chance = np.random.default_rng(0)
    for split, images in {"train": count, "val": 64, "unlabelled": count // 10}.items():
        place = folder / prepared.FOLDER / split
        chunks = (chance.integers(0, 256, (1, size, size, 3), np.uint8) for _ in range(images))
        files.write_array(place / "images.npy", (images, size, size, 3), "uint8", chunks)
        files.write_array(place / "targets.npy", (images,), "int64", [np.arange(images) % 3])
    (folder / prepared.FOLDER / "classes.txt").write_text("a\nb\nc\n")
    params = preset.values("digits")
    params["teacher"] |= SMALL
    params["student"] = SMALL
    for section in ("teacher_training", "student_training"):
        params[section] |= {"epochs": 1, "warmup_epochs": 0.0, "seeds": [0]}
        params[section]["augment"]["flip"] = True
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


if __name__ == "__main__":
    main()
