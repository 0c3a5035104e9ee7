"""Time and memory of the scan at two numbers of images.

    python -m benchmarks.scan_speed [--images 1000 10000] [--size 64]

Needs no data set: JPEG files of coloured clouds and noise, the same ones every time. They have no labels: what checking
labels costs is another matter.
"""

import argparse
import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import stage_cost
from stages.core import errors
from stages.setup import presets


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scan_speed", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs=2, default=[1000, 10000])
    parser.add_argument("--size", type=int, default=64, help="height and width in pixels")
    options = parser.parse_args()
    few, many = (measure(count, options.size) for count in options.images)
    print(f"{'':<14}" + "".join(f"{count:>9} images" for count in options.images) + f"{'ratio':>10}")
    for name, unit, first, second in zip(("time", "CPU time", "memory"), ("s", "s", "MB"), few, many, strict=True):
        print(f"{name:<14}{first:>13.1f} {unit:<2}{second:>13.1f} {unit:<2}{second / first:>10.2f}")


def measure(count: int, size: int) -> stage_cost.Cost:
    """Of scanning `count` images of size × size pixels."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "params.yaml").write_text(presets.text("digits"), encoding="utf-8")
        _write_archive(Path(folder, "data/raw.zip"), count, size)
        return stage_cost.measure("scan", Path(folder))


def _write_archive(path: Path, count: int, size: int) -> None:
    generator = np.random.default_rng(0)
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            cloud = Image.fromarray(generator.integers(0, 256, (6, 6, 3), np.uint8)).resize((size, size))
            noisy = np.asarray(cloud, np.int16) + generator.integers(-12, 13, (size, size, 3))
            file = io.BytesIO()
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
            archive.writestr(f"unlabelled/{number:06d}.jpg", file.getvalue())


if __name__ == "__main__":
    errors.run(main)
