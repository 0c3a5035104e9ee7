"""How long the scan takes, and whether its memory grows with the number of images: two numbers of them, side by side.

    python -m benchmarks.scan_speed [--images 1000 10000] [--size 64]

Needs no data set: JPEG files of coloured clouds and noise, made by seed. They have no labels, since what the judgement
on labels costs is another matter. Memory is that of all the stage's processes together, without what they share.
"""

import argparse
import io
import os
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
from PIL import Image

from tools import preset

ROOT = Path(__file__).resolve().parents[1]


class Cost(NamedTuple):
    """Of one run of the stage."""

    seconds: float
    cpu_seconds: float  # of all cores
    megabytes: float  # 10⁶ bytes at the highest point


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of the scan at two numbers of images.")
    parser.add_argument("--images", type=int, nargs=2, default=[1000, 10000])
    parser.add_argument("--size", type=int, default=64, help="height and width in pixels")
    asked = parser.parse_args()
    few, many = (measure(count, asked.size) for count in asked.images)
    print(f"{'':<14}" + "".join(f"{count:>9} images" for count in asked.images) + f"{'ratio':>10}")
    names, units = ("time", "time of cores", "memory"), ("s", "s", "MB")
    for name, unit, of_few, of_many in zip(names, units, few, many, strict=True):
        print(f"{name:<14}{of_few:>13.1f} {unit:<2}{of_many:>13.1f} {unit:<2}{of_many / of_few:>10.2f}")


def measure(count: int, size: int) -> Cost:
    """What it takes to scan `count` images of size × size pixels."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "params.yaml").write_text(preset.text("digits"), encoding="utf-8")
        _pack(folder / "data/raw.zip", count, size)
        return _run(folder)


def _run(folder: Path) -> Cost:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with subprocess.Popen([sys.executable, "-m", "stages.scan"], cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)},
                          stderr=subprocess.PIPE) as running:
        highest = 0
        while running.poll() is None:
            highest = max(highest, _own_memory(psutil.Process(running.pid)))
            time.sleep(0.02)
        said = running.stderr.read().decode()
    seconds = time.perf_counter() - began
    if running.returncode or not (folder / "data/scan.csv").exists():
        sys.exit(f"scan_speed: {said}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, highest / 1e6)


def _own_memory(process: psutil.Process) -> int:
    """Bytes of this process and those it started; one that has just ended counts nothing."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            memory = one.memory_info()
            total += memory.rss - memory.shared
        except psutil.NoSuchProcess:
            pass
    return total


def _pack(path: Path, count: int, size: int) -> None:
    chance = np.random.default_rng(0)
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            cloud = Image.fromarray(chance.integers(0, 256, (6, 6, 3), np.uint8)).resize((size, size))
            noisy = np.asarray(cloud, np.int16) + chance.integers(-12, 13, (size, size, 3))
            file = io.BytesIO()
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
            archive.writestr(f"unlabelled/{number:06d}.jpg", file.getvalue())


if __name__ == "__main__":
    main()
