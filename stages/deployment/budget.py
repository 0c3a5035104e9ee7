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
    """A verdict for each limit that is set. size, speed, quality: as metrics/*.json have them; without the last nothing
    is said about accuracy.
    """
    most = {"size, MB": (size["int8"]["size_mb"], budget.size_mb),
            "latency, ms": (speed["int8"]["latency_ms"], budget.latency_ms),
            "peak memory, MB": (speed["int8"]["peak_memory_mb"], budget.peak_memory_mb)}
    found = [Verdict(what, measured, limit, measured <= limit) for what, (measured, limit) in most.items()
             if limit is not None]
    if quality and budget.accuracy_kept is not None:
        teacher, small = (quality[name]["deployed"] for name in ("teacher", "int8"))
        kept = 100 * small / teacher if teacher else 100.0
        found.append(Verdict("accuracy kept, %", kept, budget.accuracy_kept, kept >= budget.accuracy_kept))
    return found


def describe(found: Sequence[Verdict]) -> str:
    """Lines for a terminal."""
    return "\n".join(map(str, found)) or "benchmark.budget in params.yaml sets no limits"
