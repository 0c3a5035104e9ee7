"""How fast ONNX files run here, side by side: each in a process of its own, in turns, so that a drift of the machine's
speed hits all alike. In: paths. Out: seconds.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from stages.kit.faults import Fault


class Runner:
    """A process of stages/kit/runner.py with one model, asked over its pipes."""

    def __init__(self, path: Path, threads: int):
        self.path = path
        self.process = subprocess.Popen([sys.executable, "-m", "stages.kit.runner", str(path), str(threads)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def ask(self, images: int, warmup: int, seconds: float) -> dict:
        """Run a batch of so many images for so long, after `warmup` runs that don't count.

        Raises Fault, in the runner's own words, if it ended.
        """
        try:
            print(json.dumps([images, warmup, seconds]), file=self.process.stdin, flush=True)
            return json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            said = self.process.stderr.read().strip().splitlines() or ["it was killed, perhaps for want of memory"]
            raise Fault(f"running {self.path} failed: {said[-1].removeprefix('runner: ')}") from None

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.communicate()


def take(runners: Mapping[str, Runner], rounds: int, images: int, warmup: int,
         seconds: float) -> dict[str, list[float]]:
    """Seconds of every run of each model on a batch of so many images; the arguments are those of `Runner.ask`."""
    spent = {name: [] for name in runners}
    for _ in range(rounds):
        for name, runner in runners.items():
            spent[name] += runner.ask(images, warmup, seconds)["seconds"]
    return spent
