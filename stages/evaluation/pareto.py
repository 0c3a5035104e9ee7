"""Trade-offs between a score and what it costs. In: costs and scores. Out: the Pareto front, lengths of error bars."""

from collections.abc import Sequence


def front(pairs: Sequence[tuple[float | None, float | None]], lower: bool = False, equal: float = 0) -> list[bool]:
    """For each (cost, score), whether it is on the Pareto front: no other is at least as good in both, better in one.

    lower: the lower score is the better one. equal: relative difference below which two costs count as the same. A pair
    that lacks its cost or its score is not on the front.
    """
    sign, tolerance = -1 if lower else 1, 1 + equal
    complete = [None if None in pair else (pair[0], sign * pair[1]) for pair in pairs]

    def is_dominated(own: tuple[float, float]) -> bool:
        return any(cost <= tolerance * own[0] and score >= own[1] and (score > own[1] or tolerance * cost < own[0])
                   for cost, score in filter(None, complete))

    return [own is not None and not is_dominated(own) for own in complete]


def error_bar(value: float, std: float | None = None, low: float | None = None,
              high: float | None = None) -> tuple[float, float] | None:
    """Lengths of the error bar below and above `value`: to the ends of its interval, else one standard deviation.

    None where neither is known.
    """
    if low is not None and high is not None:
        return max(value - low, 0.0), max(high - value, 0.0)
    return None if std is None else (std, std)
