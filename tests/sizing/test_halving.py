"""Successive halving: rungs within the allowance, by hand; the better half goes on."""

import pytest
from training_data import recipe

from stages.sizing import halving
from stages.training.optim import learning_rate


def test_rungs_by_hand():
    # Eight, four, two: 8·e + 4·2e + 2·4e = 24 e. Of 160 epochs e is 6, and the last rung int(160 / 6) = 26.
    assert halving.rungs([1.0] * 8, 60, 160.0) == [(8, 6), (4, 13), (2, 26)]
    # Five, three, two: 5·e + 3·2e + 2·4e = 19 e, and the last rung int(160 / 4.75) = 33.
    assert halving.rungs([1.0] * 5, 60, 160.0) == [(5, 8), (3, 16), (2, 33)]
    assert halving.rungs([1.0] * 2, 60, 160.0) == [(2, 60)]  # more than the recipe's are not wanted


def test_the_dearest_may_go_on_to_the_end():
    # All three for e epochs cost 6 e, the two dearest for twice as many 10 e: together 160 for 10 epochs.
    assert halving.rungs([1.0, 3.0, 2.0], 60, 160.0) == [(3, 10), (2, 20)]


def test_where_time_is_short_the_first_candidates_take_part():
    # Of thirty candidates each would have fewer than 6 of 60 epochs; eight have 6 each.
    assert halving.rungs([1.0] * 30, 60, 160.0) == halving.rungs([1.0] * 8, 60, 160.0)
    assert halving.rungs([1.0], 60, 160.0) == [] == halving.rungs([100.0] * 3, 60, 160.0)


@pytest.mark.parametrize("count", [2, 3, 5, 7, 8])
def test_the_better_half_goes_on(count):
    plan = halving.rungs([1.0] * count, 60, 160.0)
    quality = [float(7 * number % count) for number in range(count)]  # all different but where 7 divides
    asked = []

    def train(numbers, epochs):
        asked.append((sorted(numbers), epochs))
        return [quality[number] for number in numbers]

    scores = halving.search(plan, train)
    best_first = sorted(range(count), key=lambda number: (-quality[number], number))
    assert asked == [(sorted(best_first[:size]), epochs) for size, epochs in plan]
    assert scores == [[quality[number]] * sum(number in numbers for numbers, _ in asked) for number in range(count)]


def test_of_equals_the_first_go_on():
    scores = halving.search(halving.rungs([1.0] * 8, 60, 160.0), lambda numbers, epochs: [5.0] * len(numbers))
    assert list(map(len, scores)) == [3, 3, 2, 2, 1, 1, 1, 1]


def test_a_later_rung_may_turn_the_order_round():
    scores = halving.search([halving.Rung(3, 2), halving.Rung(2, 4)],
                            lambda numbers, epochs: [float(number if epochs == 2 else -number) for number in numbers])
    assert scores == [[0.0], [1.0, -1.0], [2.0, -2.0]]


def test_without_rungs_nothing_is_trained():
    assert halving.search([], lambda numbers, epochs: 1 / 0) == []


def test_a_shorter_recipe_warms_up_as_long_a_part_and_ends_at_zero():
    whole = recipe(epochs=60, warmup_epochs=3.0, learning_rate=0.4)
    short = halving.shortened(whole, 15)
    assert (short.epochs, short.warmup_epochs) == (15, 0.75)
    assert learning_rate(short, 15, 20) == pytest.approx(0.4)  # 0.75 of an epoch of 20 steps
    assert learning_rate(short, 299, 20) < 0.001
    assert short.model_dump(exclude={"epochs", "warmup_epochs"}) == whole.model_dump(
        exclude={"epochs", "warmup_epochs"})
