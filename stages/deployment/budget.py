"""What the device allows, and whether the deployed file keeps to it. In: limits, measurements. Out: verdicts."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pydantic

from stages.core.errors import UserError
from stages.core.params import Section


class BudgetParams(Section):
    """Limits for models/student.int8.onnx; null: none."""

    size_mb: float | None = pydantic.Field(gt=0)  # of the file, 10⁶ bytes, at most
    latency_ms: float | None = pydantic.Field(gt=0)  # one image, benchmark.threads threads, at most
    peak_memory_mb: float | None = pydantic.Field(gt=0)  # of a process that runs it, at most
    photograph_ms: float | None = pydantic.Field(gt=0)  # predict.py, a 12-megapixel JPEG to its answer, at most
    cold_start_ms: float | None = pydantic.Field(gt=0)  # the same, from starting the command on, at most
    photograph_memory_mb: float | None = pydantic.Field(gt=0)  # of predict.py on it, at most
    accuracy_kept: float | None = pydantic.Field(gt=0)  # leading score, in % of the teacher's, at least


class Verdict(NamedTuple):
    """One limit and what was measured."""

    what: str
    measured: float
    limit: float
    met: bool

    def __str__(self) -> str:
        bound = "at least" if self.what == "accuracy kept, %" else "at most"
        return f"{self.what}: {self.measured:.4g}, {bound} {self.limit:g}: {'pass' if self.met else 'FAIL'}"


def verdicts(budget: BudgetParams, size: object, speed: object, quality: object) -> list[Verdict]:
    """A verdict for each limit that is set. size, speed, quality: the contents of metrics/*.json.

    Raises UserError where one of them lacks a figure that a limit is for: what was not measured keeps to no limit.
    """
    results = costs(budget, size, speed)
    if budget.accuracy_kept is not None:
        teacher, student = (_figure("quality", quality, name, "deployed") for name in ("teacher", "int8"))
        kept = 100 * student / teacher if teacher else 0.0  # of a teacher that is always wrong there is nothing to keep
        results.append(Verdict("accuracy kept, %", kept, budget.accuracy_kept, kept >= budget.accuracy_kept))
    return results


def costs(budget: BudgetParams, size: object, speed: object) -> list[Verdict]:
    """Those on size, latency and memory alone, which are known before the file is scored."""
    results = []
    for what, file, table, key in (("size, MB", "size", size, "size_mb"),
                                   ("latency, ms", "speed", speed, "latency_ms"),
                                   ("peak memory, MB", "speed", speed, "peak_memory_mb"),
                                   ("photograph, ms", "speed", speed, "photograph_ms"),
                                   ("cold start, ms", "speed", speed, "cold_start_ms"),
                                   ("photograph's memory, MB", "speed", speed, "photograph_memory_mb")):
        if (limit := getattr(budget, key)) is not None:
            measured = _figure(file, table, "int8", key)
            results.append(Verdict(what, measured, limit, 0 < measured <= limit))
    return results


def _figure(file: str, table: object, model: str, key: str) -> float:
    row = table.get(model) if isinstance(table, Mapping) else None
    value = row.get(key) if isinstance(row, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"metrics/{file}.json holds no number at {model}.{key}, so whether benchmark.budget is kept "
                        "can't be told; run dvc repro to measure it")
    return value


def describe(results: Sequence[Verdict]) -> str:
    """A line for each verdict."""
    return "\n".join(map(str, results)) or "benchmark.budget in params.yaml sets no limits"
