"""How much of the pictures each class covers, counted by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from stages.cleaning import pixel_shares
from stages.data.prepared import IGNORED

MASKS = {"a": [[0, 0, 0, 1]], "b": [[1, 1], [1, IGNORED]], "c": [[0, 1]]}
LABELS = SimpleNamespace(classes=lambda rows: ["road", "car"],
                         target=lambda row, names, read: np.array(read(row["path"]), np.int16))


def rows(**splits: str) -> list[dict[str, str]]:
    return [{"path": path, "split": split, "label": "x"} for path, split in splits.items()]


def shares(some: list[dict[str, str]], kept: set[str]) -> tuple[dict, dict]:
    return pixel_shares.pixel_shares(some, kept, LABELS, MASKS.__getitem__, lambda row: row["split"])


def test_shares_are_of_the_pixels_of_all_pictures_of_a_split_together():
    before, after = shares(rows(a="train", b="train", c="test"), {"a", "c"})
    assert before == {"train": {"road": 37.5, "car": 50.0, pixel_shares.REST: 12.5},
                      "test": {"road": 50.0, "car": 50.0, pixel_shares.REST: 0.0}}
    assert after == before | {"train": {"road": 75.0, "car": 25.0, pixel_shares.REST: 0.0}}


def test_pictures_without_a_readable_mask_count_nowhere():
    some = rows(a="train", b="train")
    some[1]["label"] = ""
    assert shares(some, {"a", "b"})[0] == {"train": {"road": 75.0, "car": 25.0, pixel_shares.REST: 0.0}}


def test_where_none_is_kept_nothing_is_divided_by():
    assert shares(rows(c="train"), set())[1] == {"train": {"road": 0.0, "car": 0.0, pixel_shares.REST: 0.0}}


def test_of_many_masks_some_are_read(monkeypatch):
    monkeypatch.setattr(pixel_shares, "MOST", 2)
    assert shares(rows(a="train", b="train", c="train"), set())[0]["train"]["road"] == pytest.approx(100 * 4 / 6)
