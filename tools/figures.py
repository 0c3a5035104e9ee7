"""Scores with what is known of their chance, and how two of them may be told apart. In: metrics as DVC has them, flat.

A metric `int8.accuracy` may have beside it `int8.accuracy_std`, the standard deviation over seeds, and
`int8.accuracy_low` and `int8.accuracy_high`, its 95 % interval; metrics of older commits have the first or none.
"""

from collections.abc import Mapping
from typing import NamedTuple

from stages.core.errors import UserError

PARTS = ("_std", "_low", "_high")  # of a metric, written into one cell with it
# Last parts of metrics' names, without _weighted, for which more or less is better; of others it isn't known.
HIGHER = frozenset({"accuracy", "top5", "balanced_accuracy", "precision", "recall", "f1", "map", "mcc", "miou",
                    "pixel_accuracy", "iou", "deployed", "where_teacher_errs", "gain", "paired_gain", "gap_recovered",
                    "teacher_agreement", "images_per_s", "student", "int8"})  # the last two: val.student, val.int8
LOWER = frozenset({"ece", "brier", "log_loss", "drop", "int8_drop", "p_value", "size_mb", "parameters_m", "latency_ms",
                   "latency_p95_ms", "peak_memory_mb"})


class Score(NamedTuple):
    """A metric's value, its std over seeds, and the ends of its 95 % interval; None: not known."""

    value: float
    std: float | None = None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        """98.70 ± 0.43 [97.49, 99.72], as much of it as is known."""
        return self.rounded(self.decimals())

    def __neg__(self) -> "Score":
        """A loss for a gain, and the other way round."""
        return Score(-self.value, self.std, *((None, None) if self.low is None else (-self.high, -self.low)))

    def is_count(self) -> bool:
        return isinstance(self.value, int) and self[1:] == (None, None, None)

    def decimals(self) -> int:
        """As many as a reader wants of numbers of this size: 98.70, 0.56 [-1.44, 2.51], 0.0395, 2191; 6 of a count."""
        if self.is_count():
            return 0
        size = max(abs(part) for part in (self.value, self.low or 0, self.high or 0))
        return 0 if size >= 1000 else 1 if size > 100 else 2 if size >= 1 or not size else 4

    def rounded(self, places: int) -> str:
        said = f"{self.value:.{places}f}"
        if self.std is not None:
            said += f" ± {self.std:.{places}f}"
        return said if self.low is None else f"{said} [{self.low:.{places}f}, {self.high:.{places}f}]"


def flat(nested: Mapping, above: str = "") -> dict[str, object]:
    """{"int8": {"accuracy": 98.3}} → {"int8.accuracy": 98.3}. Empty mappings and lists stay values."""
    found = {}
    for key, value in nested.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, Mapping) and value else {f"{above}{key}": value}
    return found


def score(metrics: Mapping[str, object], name: str) -> Score | None:
    """The named metric of a flat mapping; None where it isn't there or no number."""
    value, std, low, high = (number if _is_number(number) else None
                             for number in (metrics.get(name + part) for part in ("", *PARTS)))
    if value is None:
        return None
    return Score(value, std, *((low, high) if None not in (low, high) else (None, None)))


def whole_of(name: str, metrics: Mapping[str, object]) -> str:
    """The metric that `name` is a part of: int8.accuracy for int8.accuracy_std; else `name` itself."""
    for part in PARTS:
        if name.endswith(part) and name.removesuffix(part) in metrics:
            return name.removesuffix(part)
    return name


def lower_is_better(name: str) -> bool:
    """Raises UserError for what is neither a score nor a cost, as a number of images."""
    metric = "iou" if ".iou." in name else name.rpartition(".")[2].removesuffix("_weighted")
    if metric not in HIGHER | LOWER:
        raise UserError(f"whether more or less of {name} is better isn't known, so nothing is ranked by it")
    return metric in LOWER


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class Evidence(NamedTuple):
    """What the known chances of two scores say about their difference."""

    shown: bool  # that there is one, as far as these chances go
    by: str  # "interval", "seeds", or "" where nothing is known


def evidence(first: Score, second: Score) -> Evidence:
    """By the 95 % intervals if both scores have one, else by the std over seeds, else by nothing.

    Intervals that don't meet show a difference; ones that do show none, which is not to say that there is none. Two
    std say nothing of the choice of test images: a difference beyond their sum is only a hint.
    """
    if first.low is not None and second.low is not None:
        return Evidence(first.low > second.high or second.low > first.high, "interval")
    if first.std is not None and second.std is not None:
        return Evidence(abs(first.value - second.value) > first.std + second.std, "seeds")
    return Evidence(False, "")
