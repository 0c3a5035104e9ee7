"""Successive halving: all candidates are trained for a few epochs each, the better half for twice as many, and so on.

Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016. Each
training is a whole one, its learning rate down to zero: scores in the middle of a cosine say little about its end.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from stages.training.optim import Recipe

FACTOR = 2  # by which candidates become fewer and epochs more, from rung to rung
LEAST_SHARE = 1 / 10  # of the recipe's epochs: what fewer say about a student is chance


class Rung(NamedTuple):
    candidates: int
    epochs: int  # of each


def rungs(costs: Sequence[float], epochs: int, allowance: float) -> list[Rung]:
    """As many epochs as the allowance permits, even where the dearest candidates are the ones that go on.

    costs: of an epoch of each candidate; allowance: what may be spent in all, in the same unit. epochs: of the recipe,
    beyond which no rung goes. Where it wouldn't do for all of them, only the first candidates take part. Empty where
    it doesn't do for two.
    """
    for count in range(len(costs), 1, -1):
        sizes = [count]
        while sizes[-1] > FACTOR:
            sizes.append(-(-sizes[-1] // FACTOR))
        dearest = sorted(costs[:count], reverse=True)
        shares = [FACTOR**-place for place in reversed(range(len(sizes)))]  # of the last one's epochs
        whole = sum(share * sum(dearest[:size]) for share, size in zip(shares, sizes, strict=True))
        last = min(epochs, int(allowance / whole))
        plan = [Rung(size, int(share * last)) for size, share in zip(sizes, shares, strict=True)]
        if plan[0].epochs >= max(1, LEAST_SHARE * epochs):
            return plan
    return []


def shortened(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe in fewer epochs: its warm-up takes the same share of them."""
    return recipe.model_copy(update={"epochs": epochs, "warmup_epochs": recipe.warmup_epochs * epochs / recipe.epochs})


def search(plan: Sequence[Rung], train: Callable[[list[int], int], list[float]]) -> list[list[float]]:
    """The scores of each candidate that took part, one a rung that it reached; higher is better, of equals the first.

    train(candidates, epochs): the scores of these candidates, by their numbers, in order.
    """
    running = list(range(plan[0].candidates if plan else 0))
    scores = [[] for _ in running]
    for rung in plan:
        running = sorted(sorted(running, key=lambda number: scores[number][-1:], reverse=True)[:rung.candidates])
        for number, score in zip(running, train(running, rung.epochs), strict=True):
            scores[number].append(score)
    return scores
