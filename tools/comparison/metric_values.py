"""A metric with its standard deviation and its interval, and what these say about the difference of two.

A metric `int8.accuracy` may come with `int8.accuracy_std`, the standard deviation over seeds, and with
`int8.accuracy_low` and `int8.accuracy_high`, its 95 % interval. Metrics of older commits have the first or none.
A class may be called `road_std`: its score is no deviation of `road`'s.
"""

from collections.abc import Mapping
from typing import NamedTuple

from flatten_dict import flatten

from stages.core.errors import UserError

SUFFIXES = ("_std", "_low", "_high")  # of what is written into one cell with its metric
# Last parts of metrics' names, without _weighted. The last two of HIGHER: val.student and val.int8.
HIGHER = frozenset({"accuracy", "top5", "balanced_accuracy", "precision", "recall", "f1", "map", "mcc", "miou",
                    "pixel_accuracy", "iou", "deployed", "where_teacher_errs", "gain", "paired_gain", "gap_recovered",
                    "teacher_agreement", "images_per_s", "sustained_images_per_s", "student", "int8"})
LOWER = frozenset({"ece", "brier", "log_loss", "drop", "int8_drop", "p_value", "size_mb", "parameters_m", "latency_ms",
                   "latency_p95_ms", "peak_memory_mb", "photograph_ms", "cold_start_ms", "photograph_memory_mb",
                   "sustained_p50_ms", "sustained_p95_ms", "sustained_p99_ms", "sustained_slowdown"})


class MetricValue(NamedTuple):
    """None: not measured."""

    value: float
    std: float | None = None  # over seeds
    low: float | None = None  # ends of the 95 % interval
    high: float | None = None

    def __str__(self) -> str:
        """98.70 ± 0.43 [97.49, 99.72], without the parts that are None."""
        return self.rounded(self.decimals())

    def __neg__(self) -> "MetricValue":
        return MetricValue(-self.value, self.std, *((None, None) if self.low is None else (-self.high, -self.low)))

    def is_count(self) -> bool:
        return isinstance(self.value, int) and self[1:] == (None, None, None)

    def decimals(self) -> int:
        """Decimals by magnitude: 2191, 150.2, 98.70, 0.56 [-1.44, 2.51], 0.0395; none for a count."""
        if self.is_count():
            return 0
        size = max(abs(part) for part in (self.value, self.low or 0, self.high or 0))
        return 0 if size >= 1000 else 1 if size > 100 else 2 if size >= 1 or not size else 4

    def rounded(self, places: int) -> str:
        std = "" if self.std is None else f" ± {self.std:.{places}f}"
        interval = "" if self.low is None else f" [{self.low:.{places}f}, {self.high:.{places}f}]"
        return f"{self.value:.{places}f}{std}{interval}"


def flat(nested: Mapping) -> dict[str, object]:
    """{"int8": {"accuracy": 98.3}} → {"int8.accuracy": 98.3}. Lists and empty mappings stay values."""
    return flatten(nested, reducer="dot", keep_empty_types=(dict,))


def find(metrics: Mapping[str, object], name: str) -> MetricValue | None:
    """The named metric of a flat mapping; None if it isn't there or isn't a number."""
    value, std, low, high = (number if isinstance(number, int | float) and not isinstance(number, bool) else None
                             for number in (metrics.get(part) if part == name or not _is_of_a_class(part, metrics)
                                            else None for part in (name + suffix for suffix in ("", *SUFFIXES))))
    if value is None:
        return None
    return MetricValue(value, std, *((None, None) if None in (low, high) else (low, high)))


def base_name(name: str, metrics: Mapping[str, object]) -> str:
    """int8.accuracy for int8.accuracy_std, if `metrics` has the former; else `name` itself."""
    bases = (name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix))
    return name if _is_of_a_class(name, metrics) else next((base for base in bases if base in metrics), name)


def _is_of_a_class(name: str, metrics: Mapping[str, object]) -> bool:
    """Whether the last part of `name` is a class. The teacher's scores by class, of one network, have no deviations;
    and data.json counts images by class before and after cleaning.
    """
    table, _, rest = name.partition(".")
    return table in ("before", "after") or ("." in rest and f"teacher.{rest}" in metrics)


def lower_is_better(name: str) -> bool:
    """Raises UserError for what is neither a score nor a cost, such as a number of images."""
    metric = "iou" if ".iou." in name else name.rpartition(".")[2].removesuffix("_weighted")
    if metric not in HIGHER | LOWER:
        raise UserError(f"{name} is neither a score nor a cost, so nothing can be ranked by it")
    return metric in LOWER


class Evidence(NamedTuple):
    """What two metrics' uncertainties say about their difference."""

    differs: bool
    source: str  # "interval", "seeds", or "" if one of the two has neither


def evidence(first: MetricValue, second: MetricValue) -> Evidence:
    """By the 95 % intervals if both have one: they differ if these don't overlap. Else by the std over seeds: they
    differ by more than the sum of both, which is only a hint, since it ignores the choice of test images.
    """
    if first.low is not None and second.low is not None:
        return Evidence(first.low > second.high or second.low > first.high, "interval")
    if first.std is not None and second.std is not None:
        return Evidence(abs(first.value - second.value) > first.std + second.std, "seeds")
    return Evidence(False, "")
