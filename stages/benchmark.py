"""How fast and how large in memory the deployed files run here. In: the five ONNX files. Out: numbers of this machine.

The models are measured alone, and the one to ship also as a user meets it: predict.py, from a photograph to its answer;
and under sustained load.

reads   models/*.onnx, predict.py
writes  metrics/speed.json
`python -m stages.benchmark --check` measures nothing: it prints whether the numbers keep to each limit of
benchmark.budget, and ends with status 1 where one doesn't, as a gate for CI.
"""

import argparse
import importlib.metadata
import platform
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import numpy as np
import pydantic

from stages.core import errors, files, params, workdir
from stages.core.device import processor, thread_count
from stages.deployment import budget, latency, photograph, sustained
from stages.deployment.onnx_model import DEPLOYED, open_model


class BenchmarkParams(params.Section):
    threads: int = pydantic.Field(ge=1, le=1024)  # a device has few; one compares best
    warmup: int = pydantic.Field(ge=0, le=10**6)  # runs at the start of each turn that don't count
    rounds: int = pydantic.Field(ge=1, le=10**6)  # the models take turns: the machine's speed drifts for all alike
    seconds: float = pydantic.Field(gt=0, le=3600)  # a turn of a model: single images, one after the other
    batch_size: int = pydantic.Field(ge=1, le=2**20)  # of the throughput
    sustained_seconds: float = pydantic.Field(ge=0, le=3600)  # the small file answers without a pause; 0: not at all
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
    verdicts = budget.verdicts(limits, *map(files.read_metrics, ("size", "speed", "quality")))
    print(budget.describe(verdicts))
    if broken := [str(verdict) for verdict in verdicts if not verdict.met]:
        raise errors.UserError(f"{DEPLOYED['int8']} exceeds its budget: {'; '.join(broken)}")


@workdir.lock("benchmark")
def benchmark() -> None:
    settings = params.load("benchmark", BenchmarkParams)
    with ExitStack() as running:
        runners = {name: running.enter_context(latency.Runner(path, settings.threads))
                   for name, path in DEPLOYED.items()}
        single = latency.take_turns(runners, settings.rounds, 1, settings.warmup, settings.seconds)
        # Read before the batches, which a device wouldn't run.
        memory = {name: runner.measure(1, 0, 0)["peak_memory_mb"] for name, runner in runners.items()}
        batches = latency.take_turns(runners, settings.rounds, settings.batch_size, settings.warmup, settings.seconds)
    speed = {name: {"latency_ms": round(1e3 * median(single[name]), 4),
                    "latency_p95_ms": round(1e3 * float(np.percentile(single[name], 95)), 4),
                    "images_per_s": round(settings.batch_size / median(batches[name]), 1),
                    "peak_memory_mb": round(memory[name], 1)} for name in DEPLOYED}
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder, "photograph.jpg")
        photograph.write(picture)
        speed["int8"] |= photograph.measure(DEPLOYED["int8"], settings.threads, picture)
    if settings.sustained_seconds:
        model = open_model(DEPLOYED["int8"], settings.threads)
        speed["int8"] |= sustained.measure(model, latency.random_images(model, 1), settings.warmup,
                                           settings.sustained_seconds)
    ratio = {name: round(speed["teacher"][metric] / speed["int8"][metric], 2)
             for name, metric in (("latency", "latency_ms"), ("memory", "peak_memory_mb"))}
    files.write_json(SPEED, speed | {"ratio": ratio, "machine": machine(settings.threads)})
    latencies = ", ".join(f"{name} {row['latency_ms']:.2f} ms" for name, row in speed.items())
    print(f"benchmark: {latencies}; {photograph.WIDTH * photograph.HEIGHT / 1e6:.0f} megapixels to answer "
          f"{speed['int8']['photograph_ms']:.0f} ms", file=sys.stderr)
    size = {"int8": {"size_mb": DEPLOYED["int8"].stat().st_size / 1e6}}
    for verdict in budget.costs(settings.budget, size, speed):
        print(f"benchmark: budget: {verdict}", file=sys.stderr)


def machine(threads: int) -> dict[str, object]:
    return {"processor": processor(), "cores": thread_count(), "threads": threads,
            "onnxruntime": importlib.metadata.version("onnxruntime"), "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}"}


if __name__ == "__main__":
    errors.run(main)
