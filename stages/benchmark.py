"""How fast and how large in memory the deployed files run here. In: the four ONNX files. Out: numbers of this machine.

reads   models/*.onnx
writes  metrics/speed.json
`python -m stages.benchmark --check` says of each limit of benchmark.budget whether the measured numbers keep to it, and
ends with 1 where one doesn't: a gate for CI. It measures nothing.
"""

import argparse
import importlib.metadata
import platform
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import numpy as np
import pydantic

from stages.core import errors, files, params
from stages.core.device import thread_count
from stages.deployment import budget, latency, onnx_model


class BenchmarkParams(params.Section):
    threads: int = pydantic.Field(ge=1)  # a device has few; one compares best
    warmup: int = pydantic.Field(ge=0)  # runs at the start of each turn that don't count
    rounds: int = pydantic.Field(ge=1)  # the models take turns, so that a drift of the machine's speed hits all alike
    seconds: float = pydantic.Field(gt=0)  # a turn of a model: single images, one after the other
    batch_size: int = pydantic.Field(ge=1)  # of the throughput
    budget: budget.BudgetParams


SPEED = files.METRICS / "speed.json"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.benchmark", description="Time the deployed files.")
    parser.add_argument("--check", action="store_true", help="hold what was measured against benchmark.budget")
    if parser.parse_args().check:
        check()
    else:
        benchmark()


def check() -> None:
    """Prints the verdicts. Raises UserError where a limit isn't kept."""
    limits = params.load("benchmark", BenchmarkParams).budget
    found = budget.verdicts(limits, *map(files.read_metrics, ("size", "speed", "quality")))
    print(budget.describe(found))
    if broken := [verdict for verdict in found if not verdict.met]:
        raise errors.UserError(f"{onnx_model.DEPLOYED['int8']} exceeds its budget: {'; '.join(map(str, broken))}")


def benchmark() -> None:
    settings = params.load("benchmark", BenchmarkParams)
    with ExitStack() as running:
        runners = {name: running.enter_context(latency.Runner(path, settings.threads))
                   for name, path in onnx_model.DEPLOYED.items()}
        single = latency.take_turns(runners, settings.rounds, 1, settings.warmup, settings.seconds)
        # Read before the batches, which a device wouldn't run.
        memory = {name: runner.ask(1, 0, 0)["peak_memory_mb"] for name, runner in runners.items()}
        batches = latency.take_turns(runners, settings.rounds, settings.batch_size, settings.warmup, settings.seconds)
    speed = {name: {"latency_ms": round(1e3 * median(single[name]), 4),
                    "latency_p95_ms": round(1e3 * float(np.percentile(single[name], 95)), 4),
                    "images_per_s": round(settings.batch_size / median(batches[name]), 1),
                    "peak_memory_mb": round(memory[name], 1)} for name in runners}
    ratio = {short: round(speed["teacher"][metric] / speed["int8"][metric], 2)
             for short, metric in (("latency", "latency_ms"), ("memory", "peak_memory_mb"))}
    files.write_json(SPEED, speed | {"ratio": ratio, "machine": machine(settings.threads)})
    said = ", ".join(f"{name} {row['latency_ms']:.2f} ms" for name, row in speed.items())
    print(f"benchmark: {said}", file=sys.stderr)
    size = {"int8": {"size_mb": onnx_model.DEPLOYED["int8"].stat().st_size / 1e6}}
    for verdict in budget.verdicts(settings.budget, size, speed):
        print(f"benchmark: budget: {verdict}", file=sys.stderr)


def machine(threads: int) -> dict[str, object]:
    return {"processor": processor(), "cores": thread_count(), "threads": threads,
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
    errors.run(main)
