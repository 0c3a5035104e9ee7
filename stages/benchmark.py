"""How fast and how large in memory the deployed files run here. In: the four ONNX files. Out: numbers of this machine.

reads   models/*.onnx
writes  metrics/speed.json
"""

import importlib.metadata
import json
import platform
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import numpy as np
import pydantic

from stages.kit import faults, onnx_files, params, runtime, tables


class BenchmarkParams(params.Section):
    threads: int = pydantic.Field(ge=1)  # a device has few; one compares best
    warmup: int = pydantic.Field(ge=0)  # runs at the start of each turn that don't count
    rounds: int = pydantic.Field(ge=1)  # the models take turns, so that a drift of the machine's speed hits all alike
    seconds: float = pydantic.Field(gt=0)  # a turn of a model: single images, one after the other
    batch_size: int = pydantic.Field(ge=1)  # of the throughput


SPEED = Path("metrics/speed.json")


def main() -> None:
    settings = params.load("benchmark", BenchmarkParams)
    with ExitStack() as running:
        runners = {name: running.enter_context(Runner(path, settings.threads))
                   for name, path in onnx_files.DEPLOYED.items()}
        single = in_turns(runners, settings, 1)
        # Read before the batches, which a device wouldn't run.
        memory = {name: runner.ask(1, 0, 0)["peak_memory_mb"] for name, runner in runners.items()}
        batches = in_turns(runners, settings, settings.batch_size)
    speed = {name: {"latency_ms": round(1e3 * median(single[name]), 4),
                    "latency_p95_ms": round(1e3 * float(np.percentile(single[name], 95)), 4),
                    "images_per_s": round(settings.batch_size / median(batches[name]), 1),
                    "peak_memory_mb": round(memory[name], 1)} for name in runners}
    ratio = {short: round(speed["teacher"][metric] / speed["int8"][metric], 2)
             for short, metric in (("latency", "latency_ms"), ("memory", "peak_memory_mb"))}
    tables.write_json(SPEED, speed | {"ratio": ratio, "machine": machine(settings.threads)})
    said = ", ".join(f"{name} {row['latency_ms']:.2f} ms" for name, row in speed.items())
    print(f"benchmark: {said}", file=sys.stderr)


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
            raise faults.Fault(f"running {self.path} failed: {said[-1].removeprefix('runner: ')}") from None

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.communicate()


def in_turns(runners: dict[str, Runner], settings: BenchmarkParams, images: int) -> dict[str, list[float]]:
    """Seconds of every run of each model on a batch of so many images."""
    seconds = {name: [] for name in runners}
    for _ in range(settings.rounds):
        for name, runner in runners.items():
            seconds[name] += runner.ask(images, settings.warmup, settings.seconds)["seconds"]
    return seconds


def machine(threads: int) -> dict[str, object]:
    return {"processor": processor(), "cores": runtime.threads(), "threads": threads,
            "onnxruntime": importlib.metadata.version("onnxruntime"), "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}"}


def processor() -> str:
    """As its maker calls it; platform.processor() is empty on most Linux systems."""
    table = Path("/proc/cpuinfo")
    if table.exists():
        for line in table.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    elif platform.system() == "Darwin":
        asked = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True)
        return asked.stdout.strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    faults.run(main)
