"""Groups: clusters of copies are one, joined groups of the source too, images on their own stay as they are."""

from stages.cleaning import groups


def row(path: str, pixels: str = "", group: str = "") -> dict[str, str]:
    return {"path": path, "pixels": pixels or path, "group": group}


def found(rows: list[dict], *pairs: str) -> dict[str, str]:
    """Group by path; pairs: "ab" for images with pixels a and b."""
    return {row["path"]: row["group"] for row in groups.grouped(rows, [(*pair, 0.95) for pair in pairs])}


def test_chains_of_near_copies_are_one_group_by_its_first_path():
    assert found([row(name) for name in "dcbaxyz"], "bc", "ab", "xz") == {
        "a": "copies of a", "b": "copies of a", "c": "copies of a", "d": "", "x": "copies of x", "y": "",
        "z": "copies of x"}


def test_exact_copies_are_a_group_too():
    assert found([row("a", "1"), row("b", "2"), row("c", "1")]) == {"a": "copies of a", "b": "", "c": "copies of a"}


def test_images_are_connected_by_one_that_was_taken_out_and_alone_with_it_not_grouped():
    assert found([row("a"), row("c"), row("d")], "ab", "bc", "de") == {
        "a": "copies of a", "c": "copies of a", "d": ""}


def test_groups_of_the_source_stay_and_are_joined_by_copies():
    rows = [row("a", group="one"), row("b", group="one"), row("c", group="two"), row("d", group="three"), row("e")]
    assert found(rows) == {"a": "one", "b": "one", "c": "two", "d": "three", "e": ""}
    assert found(rows, "bc", "ce") == {"a": "one", "b": "one", "c": "one", "d": "three", "e": "one"}


def test_rows_are_not_changed_and_counts_are_of_groups_and_sizes():
    rows = [row(name) for name in "abcde"] + [row(name, group="source") for name in "fgh"]
    result = groups.grouped(rows, [("a", "b", 0.9), ("c", "d", 0.9)])
    assert all(not row["group"] for row in rows[:5])
    assert groups.counted(result) == {"groups": 3, "of_copies": 2, "images": 7, "sizes": {"2": 2, "3": 1}}
    assert groups.grouped([], []) == []
