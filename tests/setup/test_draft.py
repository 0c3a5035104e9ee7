"""What becomes of a source's images: as many as `split` will draw."""

import pytest

from stages.setup.draft import Counts

DRAWN = {"test": 0.2, "val": 0.1}


@pytest.mark.parametrize(("counts", "after"), [
    # Of 500: 100 to test, 40 of the 400 left to val. Of 5: one each.
    (Counts({"cat": 500, "dog": 5}, 505, 0, 0, 7, DRAWN), (363, 41, 101)),
    (Counts({f"{number}": 5 for number in range(200)}, 1000, 0, 0, 0, DRAWN), (600, 200, 200)),
    (Counts({"cat": 40, "dog": 40}, 80, 0, 30, 0, {"val": 0.1}), (72, 8, 30)),
    (Counts({"cat": 40, "dog": 40}, 80, 9, 30, 0, {}), (80, 9, 30)),
    (Counts({}, 72, 0, 0, 0, DRAWN), (52, 6, 14))])  # masks: 14.4, then 5.8 of 58
def test_images_after_the_draw(counts, after):
    assert counts.after_draw == after
