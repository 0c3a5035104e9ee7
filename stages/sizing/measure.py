"""What a student would cost on the device, measured before it is trained: its int8 file's size, latency and memory
don't depend on what the weights are. In: a network's options. Out: its file, and numbers of this machine.
"""

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

import onnx

from stages.core import params
from stages.core.errors import UserError
from stages.core.files import read_json, write_json
from stages.data import prepared
from stages.deployment import budget, export, latency, onnx_model, quantize
from stages.deployment.card_fields import card_fields
from stages.models import factory
from stages.models.outline import outline

NOISE = 0.05  # share by which a latency grows before it is held against its limit: so much it differs between two runs
ROUNDS, WARMUP, SECONDS = 5, 5, 0.1  # of each file's turns, single images
CALIBRATION = 16  # images: of a file whose answers nobody reads


class Threads(params.Section, extra="ignore"):
    """The key of section benchmark that a latency depends on."""

    threads: int


class Cost(NamedTuple):
    """Of one student's int8 file."""

    size_mb: float
    latency_ms: float  # median, one image
    peak_memory_mb: float  # of a process that runs it


def limits() -> budget.BudgetParams:
    """Those of benchmark.budget that an untrained file can be held against. Raises UserError where none is set."""
    own = params.load("benchmark.budget", budget.BudgetParams)
    if own.size_mb is own.latency_ms is own.peak_memory_mb is None:
        raise UserError("params.yaml: benchmark.budget sets none of size_mb, latency_ms and peak_memory_mb, so every "
                        "student fits; set what the device allows (metrics/speed.json has what the present one takes)")
    return own.model_copy(update=dict.fromkeys(
        ("photograph_ms", "cold_start_ms", "photograph_memory_mb", "accuracy_kept")))


def missed(cost: Cost, own: budget.BudgetParams) -> str:
    """Which limits a student misses, and by what; "" where it keeps to all."""
    row = cost._asdict() | {"latency_ms": (1 + NOISE) * cost.latency_ms}
    broken = [verdict for verdict in budget.costs(own, {"int8": row}, {"int8": row}) if not verdict.met]
    return "; ".join(f"{verdict.what}: {verdict.measured:.3g}" for verdict in broken)


def parameters(network: factory.NetworkParams) -> int:
    """Their number, of which each takes a byte of an int8 file at least."""
    drawn = outline(network, len(prepared.classes()), prepared.image_size())
    return factory.count(drawn[0]) if drawn else 0


def write_file(network: factory.NetworkParams, settings: quantize.QuantizeParams, path: Path) -> None:
    """The untrained student, made small as `quantize` makes the trained one."""
    common = card_fields()
    net = factory.build(network, len(common["classes"]), prepared.image_size(), seed=0).eval()
    model = export.to_onnx(net, prepared.image_size())
    card = onnx_model.Card(**common, mean=tuple(net.mean.tolist()), std=tuple(net.std.tolist()), model=network.model,
                           role="student", form=quantize.FORMS[settings.mode], colours=(), weights_sha256="",
                           settings_sha256="")
    quick = settings.model_copy(update={"calibration_images": CALIBRATION})
    with quantize.quantiser(model, quick, card.centred()) as ready:
        small: onnx.ModelProto = ready.quantised()
    onnx_model.write(small, card, path)


def costs(files: Mapping[str, Path], threads: int) -> dict[str, Cost]:
    """Of each file, in turns with the others."""
    with ExitStack() as running:
        runners = {name: running.enter_context(latency.Runner(path, threads)) for name, path in files.items()}
        seconds = latency.take_turns(runners, ROUNDS, 1, WARMUP, SECONDS)
        memory = {name: runner.measure(1, 0, 0)["peak_memory_mb"] for name, runner in runners.items()}
    return {name: Cost(path.stat().st_size / 1e6, round(1e3 * median(seconds[name]), 4), round(memory[name], 1))
            for name, path in files.items()}


class Notebook:
    """What was measured, in a file: an interrupted search measures nothing twice, and goes on with the same numbers."""

    def __init__(self, path: Path):
        self.path, self.values, self.cpu_seconds = path, {}, 0.0
        if path.exists():
            try:
                noted = read_json(path, ("values", "cpu_seconds"))
            except UserError:
                print(f"{path} is damaged, so all is measured anew", file=sys.stderr)
            else:
                self.values, self.cpu_seconds = noted["values"], noted["cpu_seconds"]

    def get(self, what: str, measure: Callable[[], object]) -> object:
        """What measure() returned the first time: numbers, texts, lists and mappings of them. cpu_seconds grows by the
        processor time that it took, of processes that it waited for too.
        """
        if what not in self.values:
            before = sum(os.times()[:4])
            self.values[what] = measure()
            self.cpu_seconds += sum(os.times()[:4]) - before
            write_json(self.path, {"values": self.values, "cpu_seconds": self.cpu_seconds})
        return self.values[what]
