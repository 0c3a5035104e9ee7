"""How fast ONNX files run here, side by side: each in a process of its own, in turns, so that a drift of the machine's
speed hits all alike. In: paths. Out: seconds.

`python -m stages.deployment.latency FILE THREADS` is such a process: it runs one ONNX file and nothing else, so that its
time and memory are the model's and the runtime's. In: on stdin, a line of JSON [images, warmup, seconds] each: a batch
of so many images is run for so long. Out: on stdout, for each, a line of JSON {"seconds": [of each run that counts],
"peak_memory_mb": since the process began}, 1 MB = 10⁶ bytes.
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
from stages.core.errors import UserError
from stages.deployment import onnx_model


class Runner:
    """A process of this module with one model, asked over its pipes."""

    def __init__(self, path: Path, threads: int):
        self.path = path
        self.process = subprocess.Popen([sys.executable, "-m", __name__, str(path), str(threads)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def ask(self, images: int, warmup: int, seconds: float) -> dict:
        """Run a batch of so many images for so long, after `warmup` runs that don't count.

        Raises UserError, in the runner's own words, if it ended.
        """
        try:
            print(json.dumps([images, warmup, seconds]), file=self.process.stdin, flush=True)
            return json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            said = self.process.stderr.read().strip().splitlines() or ["it was killed, perhaps for want of memory"]
            raise UserError(f"running {self.path} failed: {said[-1].removeprefix('runner: ')}") from None

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.communicate()


def take_turns(runners: Mapping[str, Runner], rounds: int, images: int, warmup: int,
         seconds: float) -> dict[str, list[float]]:
    """Seconds of every run of each model on a batch of so many images; the arguments are those of `Runner.ask`."""
    spent = {name: [] for name in runners}
    for _ in range(rounds):
        for name, runner in runners.items():
            spent[name] += runner.ask(images, warmup, seconds)["seconds"]
    return spent


def main() -> None:
    path, threads = sys.argv[1:]
    model = onnx_model.open_model(Path(path), int(threads))
    size = model.card.image_size
    for line in sys.stdin:
        count, warmup, seconds = json.loads(line)
        images = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
        for _ in range(warmup):
            model(images)
        spent, end = [timed(model, images)], time.perf_counter() + seconds
        while time.perf_counter() < end:
            spent.append(timed(model, images))
        print(json.dumps({"seconds": spent, "peak_memory_mb": peak_memory_mb()}), flush=True)


def timed(model: onnx_model.Model, images: np.ndarray) -> float:
    start = time.perf_counter()
    model(images)
    return time.perf_counter() - start


if __name__ == "__main__":
    errors.run(main)
