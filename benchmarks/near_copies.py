"""Time and memory of finding near copies, by the number of images.

    python -m benchmarks.near_copies [--images 1000 2000 4000]

Needs no data set: `alike` are frames of one scene with a little noise, of which all pairs are near copies; `different`
are scenes of which none are. Hashes and thumbnails are ready; what making them costs, benchmarks/scan_speed.py says.
"""

import argparse
import time
import tracemalloc

import numpy as np
from PIL import Image

from stages.cleaning import near_duplicates

SIDE, NOISE, THRESHOLD = near_duplicates.SIDE, 6.0, 0.9  # pixels; grey levels; the default clean.near_likeness


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.near_copies", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 2000, 4000])
    options = parser.parse_args()
    print(f"{'':<10}{'images':>8}{'CPU, s':>9}{'memory, MB':>12}{'pairs kept':>12}{'exponent':>10}")
    for name, make in (("alike", alike), ("different", different)):
        last = None
        for count in options.images:
            seconds, megabytes, pairs = measure(make(count))
            grown = f"{np.log(seconds / last[1]) / np.log(count / last[0]):.2f}" if last else ""
            print(f"{name:<10}{count:>8}{seconds:>9.2f}{megabytes:>12.1f}{pairs:>12}{grown:>10}")
            last = count, seconds


def alike(count: int) -> np.ndarray:
    """uint8 (N,32,32,3)."""
    scene, generator = _scene(np.random.default_rng(0)).astype(float), np.random.default_rng(1)
    return np.stack([np.clip(scene + generator.normal(0, NOISE, scene.shape), 0, 255).astype(np.uint8)
                     for _ in range(count)])


def different(count: int) -> np.ndarray:
    """uint8 (N,32,32,3)."""
    generator = np.random.default_rng(0)
    return np.stack([_scene(generator) for _ in range(count)])


def measure(thumbnails: np.ndarray) -> tuple[float, float, int]:
    """CPU seconds, the peak of the memory it took in MB, and the number of pairs kept."""
    hashes = np.array([[int(code, 16) for code in near_duplicates.fingerprints(image)] for image in thumbnails],
                      np.uint64).T
    start = time.process_time()
    near_duplicates.links(*hashes, thumbnails, THRESHOLD)
    seconds = time.process_time() - start
    tracemalloc.start()
    links = near_duplicates.links(*hashes, thumbnails, THRESHOLD)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return seconds, peak / 1e6, len(links.first)


def _scene(generator: np.random.Generator) -> np.ndarray:
    coarse = generator.integers(0, 256, (8, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


if __name__ == "__main__":
    main()
