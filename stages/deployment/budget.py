"""What the device allows, and whether the deployed file keeps to it. In: limits, measurements. Out: verdicts."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pydantic

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


def verdicts(budget: BudgetParams, size: Mapping, speed: Mapping, quality: Mapping | None = None) -> list[Verdict]:
    """A verdict for each limit that is set. size, speed, quality: the contents of metrics/*.json; without quality there
    is none on accuracy.
    """
    small = size["int8"] | speed["int8"]
    results = [Verdict(what, small[key], limit, small[key] <= limit) for what, key in (
        ("size, MB", "size_mb"), ("latency, ms", "latency_ms"), ("peak memory, MB", "peak_memory_mb"),
        ("photograph, ms", "photograph_ms"), ("cold start, ms", "cold_start_ms"),
        ("photograph's memory, MB", "photograph_memory_mb"))
        if (limit := getattr(budget, key)) is not None]
    if quality and budget.accuracy_kept is not None:
        teacher, student = (quality[name]["deployed"] for name in ("teacher", "int8"))
        kept = 100 * student / teacher if teacher else 100.0
        results.append(Verdict("accuracy kept, %", kept, budget.accuracy_kept, kept >= budget.accuracy_kept))
    return results


def describe(results: Sequence[Verdict]) -> str:
    """A line for each verdict."""
    return "\n".join(map(str, results)) or "benchmark.budget in params.yaml sets no limits"
