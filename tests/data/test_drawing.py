"""Drawn splits: whole groups, the same share of each class, folds without a common test image."""

import hashlib
from collections import Counter

import pytest

from stages.core.errors import UserError
from stages.data import drawing

FRACTIONS = {"test": 0.25, "val": 0.2}


def picture(path: str, target: str = "", group: str = "", split: str = "") -> dict[str, str]:
    return {"path": path, "target": target, "group": group, "split": split}


def clustered(sizes: dict[str, list[int]], prefix: str = drawing.COPIES) -> list[dict[str, str]]:
    """Images of clusters of these sizes, by class."""
    return [picture(f"{name}/{number}-{part}", name, f"{prefix}{name}/{number}-0" if size > 1 else "")
            for name, of_class in sizes.items() for number, size in enumerate(of_class) for part in range(size)]


def drawn(rows: list[dict], fold: int = 0, seed: int = 0, **fractions: float) -> dict[str, set[str]]:
    """Which paths land in which split."""
    rows = [dict(row) for row in rows]
    drawing.draw(rows, FRACTIONS | fractions, fold, seed, lambda row: row["target"])
    return {split: {row["path"] for row in rows if row["split"] == split} for split in ("train", "val", "test")}


def shares(rows: list[dict], found: dict[str, set[str]]) -> dict[str, Counter]:
    target = {row["path"]: row["target"] for row in rows}
    return {split: Counter(target[path] for path in paths) for split, paths in found.items()}


def crossing(rows: list[dict], found: dict[str, set[str]]) -> set[str]:
    """Groups that are in more than one split."""
    places = [(row["group"], split) for row in rows for split, paths in found.items()
              if row["group"] and row["path"] in paths]
    return {group for group, count in Counter(group for group, _ in set(places)).items() if count > 1}


def test_one_image_more_moves_at_most_one_other():
    seen = [drawn([picture(f"{number}.png", "cat") for number in range(count)], test=0.2, val=0.15)["test"]
            for count in (200, 201)]
    assert [len(found) for found in seen] == [40, 40] and len(seen[0] - seen[1]) <= 1


def test_images_on_their_own_are_the_first_by_a_hash_of_seed_split_and_path():
    rows = [picture(f"{number}.png", "cat") for number in range(40)]
    order = sorted((row["path"] for row in rows), key=lambda path: hashlib.sha256(f"3 test {path}".encode()).digest())
    assert drawn(rows, seed=3)["test"] == set(order[:10]) and drawn(rows, 2, 3)["test"] == set(order[20:30])


@pytest.mark.parametrize("sizes", [
    {"cat": [2] * 30, "dog": [2] * 30}, {"cat": [1] * 41 + [7] * 3, "dog": [3, 2] * 10, "owl": [1] * 9},
    {"cat": [40] + [1] * 40, "dog": [5] * 9 + [1]}, {"cat": [7, 5, 5, 5, 5, 5, 5], "dog": [1] * 30}])
@pytest.mark.parametrize("seed", range(5))
def test_groups_stay_whole_and_each_class_has_its_share_to_one_image(sizes, seed):
    rows = clustered(sizes)
    found = drawn(rows, seed=seed)
    assert not crossing(rows, found) and set().union(*found.values()) == {row["path"] for row in rows}
    for name, of_class in sizes.items():
        counts = shares(rows, found)
        test = counts["test"][name]
        assert abs(test - drawing.share(0.25, sum(of_class))) <= 1, name
        if of_class.count(1) > 8:  # some are left
            assert abs(counts["val"][name] - drawing.share(0.2, sum(of_class) - test)) <= 1, name


def test_groups_of_several_classes_are_drawn_whole_and_in_proportion():
    """Thirty patients, with three pictures of the one class and one or two of the other."""
    rows = [picture(f"{patient}-{number}", "ill" if number < 3 else "well", f"patient {patient}")
            for patient in range(30) for number in range(4 + patient % 2)]
    found = drawn(rows)
    counts = shares(rows, found)
    assert not crossing(rows, found)
    assert abs(counts["test"]["ill"] - 22.5) <= 1.5 and abs(counts["test"]["well"] - 11.25) <= 1.25
    assert drawn(rows, seed=1)["test"] != found["test"] and not drawn(rows, 1)["test"] & found["test"]


def test_a_class_of_few_large_groups_gives_one_to_each_split():
    rows = clustered({"cat": [20, 10, 30], "dog": [1] * 40})
    found = drawn(rows)
    assert not crossing(rows, found)
    assert {split: count["cat"] for split, count in shares(rows, found).items()}["test"] == 10
    assert all(count["cat"] for count in shares(rows, found).values())


def test_a_class_of_too_few_groups_is_refused():
    rows = clustered({"cat": [20, 20], "dog": [1] * 40})
    with pytest.raises(UserError, match=r"class 'cat' has 40 training image\(s\) in 2 group\(s\), of which 2 may leave "
                                        r"train, but train, test and val need one each; .*raise clean\.near_likeness"):
        drawn(rows)
    with pytest.raises(UserError, match=r"the set has 2 .* need one each; add images, or remove the class$"):
        drawn([picture("a"), picture("b")])


def test_what_resembles_an_image_of_another_split_stays_in_train():
    rows = [picture(f"{number}", "cat", f"copies of {number}" if number < 30 else "", "train") for number in range(60)]
    rows += [picture(f"{number} again", "", f"copies of {number}", "unlabelled") for number in range(30)]
    found = drawn(rows, test=0.25)
    assert len(found["test"]) == 15 and all(int(path) >= 30 for path in found["test"] | found["val"])


def test_folds_of_single_images_share_no_test_image_and_together_are_all():
    rows = [picture(f"{name}/{number}", name) for name in ("cat", "dog") for number in range(20)]
    seen = [drawn(rows, fold)["test"] for fold in range(4)]
    assert [len(found) for found in seen] == [10] * 4 and set().union(*seen) == {row["path"] for row in rows}
    assert all(sum(path.startswith("cat") for path in found) == 5 for found in seen)
    with pytest.raises(UserError, match=r"split\.fold is 4, but there are 4 folds, from 0, of 5 out of 20 for test"):
        drawn(rows, 4)


def test_folds_of_clusters_share_no_test_image():
    rows = clustered({"cat": [1] * 20 + [2] * 10, "dog": [3] * 8 + [1] * 16})
    seen = [drawn(rows, fold)["test"] for fold in range(4)]
    assert sum(map(len, seen)) == len(set().union(*seen))
    assert all(abs(sum(path.startswith("cat") for path in found) - 10) <= 1 for found in seen)


def test_groups_of_the_source_without_classes_are_drawn_side_by_side():
    rows = [picture(f"tile {tile}/{part}", "", f"Tile {tile}") for tile in range(1, 13) for part in range(3)]
    tiles = [{split: {path.split("/")[0] for path in paths} for split, paths in drawn(rows, fold).items()}
             for fold in range(4)]
    # A quarter of 12 groups for test; a fifth of the 9 that are left, 1.8, for val; by number, not by letter.
    assert [found["test"] for found in tiles] == [{f"tile {3 * fold + i}" for i in (1, 2, 3)} for fold in range(4)]
    for found in tiles:
        assert [len(found[split]) for split in ("train", "val", "test")] == [7, 2, 3]
        assert not found["train"] & found["val"] and not found["test"] & (found["train"] | found["val"])
    with pytest.raises(UserError, match="there are 4 folds, from 0, of 3 out of 12 for test"):
        drawn(rows, 4)


def test_copies_without_classes_are_drawn_by_lot():
    rows = clustered({"": [2] * 40})
    found = drawn(rows)
    assert len(found["test"]) == 20 and not crossing(rows, found)
    assert found["test"] != drawn(rows, seed=1)["test"]
    assert sorted(found["test"])[-1] > "/25"  # not the first by name


def test_leaks_of_a_draw_of_single_images():
    rows = clustered({"cat": [2] * 20 + [1] * 20})
    count, total = drawing.leaks(rows, FRACTIONS, 0, 0, lambda row: row["target"])
    single = drawn([row | {"group": ""} for row in rows])
    place = {path: split for split, paths in single.items() for path in paths}
    other = {row["path"]: [place[twin["path"]] for twin in rows if twin["group"] == row["group"] != ""] for row in rows}
    held_out = [path for path, split in place.items() if split != "train"]
    assert (count, total) == (sum(len(set(other[path])) > 1 for path in held_out), len(held_out)) and 0 < count < total
    assert all(row["split"] == "" for row in rows)
    given = [row | {"split": "train"} for row in rows] + [picture("t", "cat", split="test")]
    assert drawing.leaks(given, FRACTIONS, 0, 0, lambda row: row["target"])[1] == drawing.share(0.2, 60)
