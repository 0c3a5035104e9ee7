"""Does a deployed file give the same answers in OpenVINO, and how fast?

    pip install openvino
    python -m benchmarks.other_runtime models/student.int8.onnx

Both runtimes run the same file on the test split: single images, in turns, one thread each.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import numpy as np
from tqdm import tqdm

from stages.core import errors
from stages.core.device import processor
from stages.data import prepared
from stages.deployment import onnx_model

WARMUP = 20  # runs that don't count


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.other_runtime", description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    path = parser.parse_args().model
    runs = {"onnxruntime": onnx_model.open_model(path, 1), "OpenVINO": in_openvino(path)}
    images = prepared.images("test")
    seconds, same, positions, furthest = {name: [] for name in runs}, 0, 0, 0.0
    for row in tqdm(range(-WARMUP, len(images)), "images", disable=None):
        image = np.ascontiguousarray(images[max(row, 0)][None])
        first, second = turn(runs, image, seconds, backwards=row % 2 == 1)
        is_same = first.argmax(1) == second.argmax(1)
        same, positions = same + int(is_same.sum()), positions + is_same.size
        furthest = max(furthest, float(np.abs(first - second).max()))
    print(f"{path} on {len(images)} test images, {processor()}, one thread:")
    print(f"{100 * same / positions:.2f} % of the answers are the same; logits differ by {furthest:.2g} at most")
    for name, values in seconds.items():
        print(f"{name}: {1e3 * median(values[WARMUP:]):.3f} ms")


def in_openvino(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """uint8 (1,H,W,3) → logits. Raises UserError where OpenVINO is missing."""
    try:
        import openvino
    except ImportError:
        raise errors.UserError("OpenVINO is not installed: pip install openvino (nothing else here needs it)") from None
    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()
    return lambda image: request.infer({0: image})[0].copy()


def turn(runs: Mapping[str, Callable[[np.ndarray], np.ndarray]], image: np.ndarray,
         seconds: Mapping[str, list[float]], backwards: bool) -> list[np.ndarray]:
    """Each one's answer, in the order of `runs`. The first finds colder caches, so the order of turns alternates."""
    answers = {}
    for name in reversed(runs) if backwards else runs:
        start = time.perf_counter()
        answers[name] = runs[name](image)
        seconds[name].append(time.perf_counter() - start)
    return [answers[name] for name in runs]


if __name__ == "__main__":
    errors.run(main)
