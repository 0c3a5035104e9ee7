"""How fast ONNX files run here. In: paths. Out: seconds of each run, and peak memory.

Each model runs in a process of its own (`Runner`), so that its memory is the model's and the runtime's alone. Models
take turns, so that a drift of the machine's speed affects all alike.

`python -m stages.deployment.latency FILE THREADS` is such a process. It reads JSON lines [images, warmup, seconds] from
stdin: run a batch of so many images for so long. It answers each with a JSON line {"seconds": [of each run after the
warm-up], "peak_memory_mb": since the process began}, 1 MB = 10⁶ bytes.
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from stages.core import errors
from stages.core.device import peak_memory_mb
from stages.deployment import onnx_model


class Runner:
    """A process that runs one model; a context manager that ends it."""

    def __init__(self, path: Path, threads: int):
        self.path = path
        self.process = subprocess.Popen([sys.executable, "-m", __name__, str(path), str(threads)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def measure(self, images: int, warmup: int, seconds: float) -> dict:
        """Run a batch of `images` images for `seconds`, once at least, after `warmup` runs that don't count.

        Returns {"seconds": [of each run], "peak_memory_mb"}. Raises UserError, with the process's message, if it ended.
        """
        try:
            print(json.dumps([images, warmup, seconds]), file=self.process.stdin, flush=True)
            return json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            lines = self.process.stderr.read().strip().splitlines() or ["it was killed, perhaps for lack of memory"]
            raise errors.UserError(f"running {self.path} failed: {lines[-1].removeprefix('latency: ')}") from None

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.communicate()


def take_turns(runners: Mapping[str, Runner], rounds: int, images: int, warmup: int,
               seconds: float) -> dict[str, list[float]]:
    """Seconds of every run of each model in `rounds` turns; the other arguments are those of `Runner.measure`."""
    spent = {name: [] for name in runners}
    for _ in range(rounds):
        for name, runner in runners.items():
            spent[name] += runner.measure(images, warmup, seconds)["seconds"]
    return spent


def random_images(model: onnx_model.Model, count: int) -> np.ndarray:
    """uint8 (count,H,W,3), as the model takes them; the same each time."""
    return np.random.default_rng(0).integers(0, 256, (count, *model.card.input_size, 3), dtype=np.uint8)


def main() -> None:
    path, threads = sys.argv[1:]
    model = onnx_model.open_model(Path(path), int(threads))
    for line in sys.stdin:
        count, warmup, seconds = json.loads(line)
        images = random_images(model, count)
        for _ in range(warmup):
            model(images)
        spent, end = [], time.perf_counter() + seconds
        while not spent or time.perf_counter() < end:
            start = time.perf_counter()
            model(images)
            spent.append(time.perf_counter() - start)
        print(json.dumps({"seconds": spent, "peak_memory_mb": peak_memory_mb()}), flush=True)


if __name__ == "__main__":
    errors.run(main)
