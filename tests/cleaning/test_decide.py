"""Cleaning rules and overrides, on rows made by hand."""

import pytest

from stages.cleaning import heuristic_rules, overrides
from stages.cleaning.decide import decide
from stages.cleaning.findings import CleanContext, CleanParams, QualityPolicy
from stages.cleaning.overrides import Override
from stages.core.errors import UserError

QUALITY = dict.fromkeys(QualityPolicy.model_fields, "report")


POLICY = {"unreadable": "drop", "duplicates": "drop", "leaks": "drop", "conflicts": "quarantine",
          "near_duplicates": "report", "near_likeness": 0.9, "label_suspects": "report", "min_accuracy": 70.0,
          "quality": QUALITY, "max_share": 0.5}


def row(path: str, split: str = "train", target: str = "cat", **more) -> dict[str, str]:
    """A row of scan.csv; its pixels are its own unless they are given."""
    empty = {"predicted": "", "label_score": "", "suspect": "", "issue": "", "reason": ""}
    return {"path": path, "split": split, "target": target, "label": target, "pixels": path, "sha256": "",
            **empty} | more


def decided(rows: list[dict], overrides: dict | None = None, similar: list | None = None,
            accuracy: float | None = 90.0, **changes) -> tuple[dict[str, str], dict[tuple, str]]:
    """The labels that stay by path, and the actions by path and issue."""
    context = CleanContext(CleanParams(**POLICY | changes), overrides or {},
                           {"unreadable": "unreadable", "odd": "report"}, similar or [], accuracy,
                           lambda row: row["target"], {"cat", "dog"})
    kept, findings = decide(rows, context)
    return ({row["path"]: row["target"] for row in kept},
            {(finding.row["path"], finding.issue): finding.action for finding in findings})


@pytest.fixture(autouse=True)
def no_quality_findings(monkeypatch):
    """Rows made by hand have no measures; tests that need findings of quality patch them in."""
    monkeypatch.setattr(heuristic_rules.image_quality, "findings", lambda rows: [])


def test_copies_inside_a_split_leave_the_first():
    kept, actions = decided([row("a", pixels="1"), row("b", pixels="1"), row("c", "test", pixels="2"),
                          row("d", "test", pixels="2"), row("e")])
    assert kept == {"a": "cat", "c": "cat", "e": "cat"}
    assert actions == {("b", "duplicate"): "dropped", ("d", "duplicate"): "dropped"}


def test_of_copies_across_splits_training_loses_its_own_and_test_keeps_its_own():
    rows = [row("a", "train", pixels="1"), row("b", "val", pixels="1"), row("c", "test", pixels="1"),
            row("d", "unlabelled", "", pixels="1"), row("e", "train", "dog", pixels="1")]
    kept, actions = decided(rows)
    assert kept == {"b": "cat", "c": "cat"}
    assert actions == {("a", "leak"): "dropped", ("b", "leak"): "kept", ("d", "leak"): "dropped",
                     ("e", "leak"): "dropped"}


@pytest.mark.parametrize("split", ["train", ""])
def test_all_training_copies_of_an_image_with_two_labels_are_set_aside(split):
    rows = [row("a", split, pixels="1"), row("b", split, "dog", pixels="1"), row("c", split, pixels="1"),
            row("d", split), row("e", "test", pixels="2"), row("f", "test", "dog", pixels="2")]
    kept, actions = decided(rows)
    assert kept == {"d": "cat", "e": "cat", "f": "dog"}  # the test split is only reported
    assert {path for (path, issue), action in actions.items() if action == "quarantined"} == {"a", "b", "c"}
    assert decided(rows, conflicts="keep")[0].keys() == {"a", "b", "d", "e", "f"}  # c is a's duplicate


def test_near_copies_are_reported_and_dropped_on_request():
    rows = [row("a"), row("b"), row("c", target="dog"), row("d", "test"), row("e"), row("f", "val"), row("g")]
    similar = [("a", "b", 0.97), ("a", "c", 0.95), ("d", "e", 0.99), ("d", "f", 0.93), ("b", "a", 0.97)]
    kept, actions = decided(rows, similar=similar)
    assert kept.keys() == set("abcdefg") and set(actions.values()) == {"kept"}
    assert actions.keys() == {("b", "near_duplicate"), ("c", "near_conflict"), ("e", "near_leak"), ("f", "near_leak")}
    kept, actions = decided(rows, similar=similar, near_duplicates="drop")
    assert kept.keys() == set("acdfg")  # of two labels no rule knows the right one; val is never touched


def test_a_near_leak_precedes_a_more_similar_near_conflict():
    rows = [row("a", target="dog"), row("b"), row("c", "test")]
    kept, actions = decided(rows, similar=[("a", "b", 0.99), ("b", "c", 0.95)], near_duplicates="drop", max_share=1.0)
    assert kept.keys() == {"a", "c"} and actions == {("b", "near_leak"): "dropped"}


def test_in_a_chain_of_near_copies_only_those_similar_to_a_kept_image_go():
    kept, _ = decided([row("a"), row("b"), row("c")], similar=[("a", "b", 0.99), ("b", "c", 0.95)],
                      near_duplicates="drop", max_share=1.0)
    assert kept.keys() == {"a", "c"}


def test_an_image_without_a_label_conflicts_with_none():
    rows = [row("a", pixels="1"), row("b", "unlabelled", "", pixels="1"), row("c", "unlabelled", "")]
    actions = decided(rows, similar=[("1", "c", 0.95)])[1]
    assert actions.keys() == {("c", "near_duplicate")}


def test_heuristic_rules_take_no_image_that_may_become_a_test_image():
    kept, actions = decided(suspects(3, split=""), label_suspects="drop")
    assert len(kept) == 11 and set(actions.values()) == {"kept"}


def test_all_copies_of_an_image_share_its_near_copies():
    rows = [row("a", pixels="1"), row("b", pixels="1"), row("c", pixels="2")]
    assert decided(rows, similar=[("1", "2", 0.95)])[1].keys() == {("b", "duplicate"), ("c", "near_duplicate")}
    actions = decided(rows, similar=[("2", "1", 0.95)], duplicates="keep")[1]
    assert actions.keys() == {("b", "duplicate"), ("c", "near_duplicate")}


def suspects(count: int, **more) -> list[dict]:
    """Of ten cats, `count` that look like dogs, the last the most."""
    return [row(f"{number}", predicted="dog" if number < count else "cat", label_score=f"{0.5 - number / 20}",
                suspect="1" if number < count else "", **more) for number in range(10)] + [row("dog", target="dog")]


def test_label_suspects_are_reported_dropped_or_relabelled_the_worst_first():
    assert len(decided(suspects(3))[0]) == 11
    _, actions = decided(suspects(3), label_suspects="drop", max_share=0.2)
    assert actions == {("0", "label_suspect"): "kept", ("1", "label_suspect"): "dropped",
                     ("2", "label_suspect"): "dropped"}
    kept, _ = decided(suspects(3), label_suspects="relabel")
    assert [kept[path] for path in "0123"] == ["dog", "dog", "dog", "cat"]


def test_label_suspects_are_not_acted_on_if_predictions_are_poor():
    for accuracy, reason in ((69.9, "accuracy of only 69.9 %"), (None, "no label could be checked")):
        with pytest.raises(UserError, match=f"clean.label_suspects is drop, but .*{reason}.*report"):
            decided(suspects(3), label_suspects="drop", accuracy=accuracy)
        assert len(decided(suspects(3), accuracy=accuracy)[0]) == 11


def test_heuristic_rules_take_no_held_out_image(monkeypatch):
    rows = [*suspects(3, split="test"), row("x"), row("y")]
    monkeypatch.setattr(heuristic_rules.image_quality, "findings",
                        lambda some: [(line, "dark", 0.1, 0.3) for line in some])
    kept, _ = decided(rows, label_suspects="drop", quality=QUALITY | {"dark": "drop"}, max_share=1.0)
    assert kept.keys() == {line["path"] for line in rows if line["split"] == "test"}


def test_all_heuristic_rules_share_one_limit_per_class(monkeypatch):
    rows = [row(f"{number}") for number in range(10)] + [row(f"d{number}", target="dog") for number in range(4)]
    rows[0] |= {"predicted": "dog", "label_score": "0.1", "suspect": "1"}
    monkeypatch.setattr(heuristic_rules.image_quality, "findings", lambda some: [
        (line, issue, number / 20, 0.6) for number, line in enumerate(some) for issue in ("dark", "blurry")
        if line["path"] in ("4", "5", "d0")])
    kept, actions = decided(rows, label_suspects="drop", quality=QUALITY | {"dark": "drop", "blurry": "drop"},
                         max_share=0.2, similar=[("8", "9", 0.95)], near_duplicates="drop")
    assert kept.keys() == {line["path"] for line in rows} - {"9", "0"}  # two of ten cats; none of four dogs
    assert actions["4", "dark"] == actions["d0", "dark"] == "kept"


def test_an_image_with_two_findings_counts_once(monkeypatch):
    rows = [row(f"{number}") for number in range(4)]
    monkeypatch.setattr(heuristic_rules.image_quality, "findings", lambda some: [
        (line, issue, 0.1, 0.3) for line in some[:2] for issue in ("dark", "low_information")])
    kept, actions = decided(rows, quality=dict.fromkeys(QUALITY, "drop"))
    assert kept.keys() == {"2", "3"} and set(actions.values()) == {"dropped"}


def test_overrides_take_precedence_over_every_rule(monkeypatch):
    rows = [row("a", pixels="1"), row("b", pixels="1"), row("c", pixels="2"), row("d", target="dog", pixels="2"),
            row("e", pixels="3"), row("f", "test", pixels="3"), row("g", "test"), row("h")]
    monkeypatch.setattr(heuristic_rules.image_quality, "findings",
                        lambda some: [(line, "dark", 0.1, 0.3) for line in some])
    user = {"b": Override("keep", ""), "c": Override("relabel", "dog"), "e": Override("keep", ""),
            "g": Override("drop", ""), "h": Override("keep", "")}
    kept, actions = decided(rows, user, quality=QUALITY | {"dark": "drop"}, max_share=1.0)
    # b stays for its copy a; c, now a dog, is d's duplicate no more in conflict, and the one that is kept.
    assert kept == {"b": "cat", "c": "dog", "e": "cat", "f": "cat", "h": "cat"}
    assert actions["a", "duplicate"] == actions["d", "duplicate"] == "dropped"
    assert actions["c", "override"] == "relabelled" and actions["g", "override"] == "dropped"


def test_a_label_that_the_user_corrected_is_no_suspect():
    kept, actions = decided(suspects(1), {"0": Override("relabel", "dog")})
    assert kept["0"] == "dog" and actions == {("0", "override"): "relabelled"}


def test_relabelling_takes_a_class_of_the_source():
    with pytest.raises(UserError, match=r"'a' can't be relabelled 'dgo': no image of the source is; .*\('dog'\?\)"):
        decided([row("a")], {"a": Override("relabel", "dgo")})
    with pytest.raises(UserError, match="stands among the unlabelled"):
        decided([row("a", "unlabelled", "")], {"a": Override("relabel", "dog")})


def test_overrides_of_missing_or_unreadable_files_are_refused():
    with pytest.raises(UserError, match="'x' is no image of the set"):
        decided([row("a")], {"x": Override("drop", "")})
    broken = row("a", pixels="", issue="unreadable", reason="empty file")
    with pytest.raises(UserError, match=r"'a' can't be used \(empty file\)"):
        decided([broken, row("b")], {"a": Override("keep", "")})


@pytest.mark.parametrize("text, error", [
    ("path,act\na,keep\n", "its first line must name the columns"),
    ("", "its first line must name the columns"),
    ("path,action,label\na,kept,\n", "line 2: the action is 'kept'; it can be keep, drop, relabel"),
    ("path,action,label\na,keep,\nb,relabel,\n", "line 3: relabel goes with a label"),
    ("path,action,label\na,drop,cat\n", "line 2: drop goes without a label"),
    ("path,action,label\na,drop,\na,keep,\n", "line 3: 'a' stands there twice"),
    (b"path,action\n\xff\xfe,keep\n", "no CSV in UTF-8"),
], ids=["columns", "empty", "action", "no label", "a label", "twice", "bytes"])
def test_invalid_overrides_are_refused_with_their_line(tmp_path, monkeypatch, text, error):
    monkeypatch.chdir(tmp_path)
    overrides.FILE.parent.mkdir(parents=True)
    overrides.FILE.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=error):
        overrides.read(relabels=True)


def test_a_spreadsheets_overrides_are_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert overrides.read(relabels=True) == {}
    overrides.FILE.parent.mkdir(parents=True)
    overrides.FILE.write_bytes('\ufeffpath,action,label\r\n"a, b.png",drop\r\nc.png,relabel,dog\r\n'.encode())
    assert overrides.read(relabels=True) == {"a, b.png": Override("drop", ""), "c.png": Override("relabel", "dog")}
    with pytest.raises(UserError, match="line 3: a label of this task is a mask"):
        overrides.read(relabels=False)
