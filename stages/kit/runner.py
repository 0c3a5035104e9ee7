"""A process that runs one ONNX file and nothing else, so that its time and memory are the model's and the runtime's.

`python -m stages.kit.runner FILE THREADS`. In: on stdin, a line of JSON [images, warmup, seconds] each: a batch of so
many images is run for so long. Out: on stdout, for each, a line of JSON {"seconds": [of each run that counts],
"peak_memory_mb": since the process began}, 1 MB = 10⁶ bytes.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from stages.kit import faults, onnx_files, runtime


def main() -> None:
    path, threads = sys.argv[1:]
    model = onnx_files.open_model(Path(path), int(threads))
    size = model.card.image_size
    for line in sys.stdin:
        count, warmup, seconds = json.loads(line)
        images = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
        for _ in range(warmup):
            model(images)
        spent, end = [timed(model, images)], time.perf_counter() + seconds
        while time.perf_counter() < end:
            spent.append(timed(model, images))
        print(json.dumps({"seconds": spent, "peak_memory_mb": runtime.peak_memory_mb()}), flush=True)


def timed(model: onnx_files.Model, images: np.ndarray) -> float:
    start = time.perf_counter()
    model(images)
    return time.perf_counter() - start


if __name__ == "__main__":
    faults.run(main)
