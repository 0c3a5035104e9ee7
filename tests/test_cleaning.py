"""What clean decides: every rule on rows made by hand, the user's overrides, and --explain through the command."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from sources import pack, picture, saved, two_classes

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


def decided(rows: list[dict], said: dict | None = None, alike: list | None = None, accuracy: float | None = 90.0,
           **changes) -> tuple[dict[str, str], dict[tuple, str]]:
    """The labels that stay by path, and the actions by path and issue."""
    known = CleanContext(CleanParams(**POLICY | changes), said or {}, {"unreadable": "unreadable", "odd": "report"},
                      alike or [], accuracy, lambda row: row["target"], {"cat", "dog"})
    kept, findings = decide(rows, known)
    return {row["path"]: row["target"] for row in kept}, {(found.row["path"], found.issue): found.action
                                                          for found in findings}


@pytest.fixture(autouse=True)
def nothing_odd(monkeypatch):
    """Rows made by hand carry no measures: what is odd about them, a test says itself."""
    monkeypatch.setattr(heuristic_rules.image_quality, "findings", lambda rows: [])


def test_copies_inside_a_split_leave_the_first():
    kept, found = decided([row("a", pixels="1"), row("b", pixels="1"), row("c", "test", pixels="2"),
                          row("d", "test", pixels="2"), row("e")])
    assert kept == {"a": "cat", "c": "cat", "e": "cat"}
    assert found == {("b", "duplicate"): "dropped", ("d", "duplicate"): "dropped"}


def test_of_copies_across_splits_the_one_that_trains_goes_and_test_stays():
    rows = [row("a", "train", pixels="1"), row("b", "val", pixels="1"), row("c", "test", pixels="1"),
            row("d", "unlabelled", "", pixels="1"), row("e", "train", "dog", pixels="1")]
    kept, found = decided(rows)
    assert kept == {"b": "cat", "c": "cat"}
    assert found == {("a", "leak"): "dropped", ("b", "leak"): "kept", ("d", "leak"): "dropped",
                     ("e", "leak"): "dropped"}


@pytest.mark.parametrize("split", ["train", ""])
def test_all_training_copies_of_an_image_with_two_labels_are_set_aside(split):
    rows = [row("a", split, pixels="1"), row("b", split, "dog", pixels="1"), row("c", split, pixels="1"),
            row("d", split), row("e", "test", pixels="2"), row("f", "test", "dog", pixels="2")]
    kept, found = decided(rows)
    assert kept == {"d": "cat", "e": "cat", "f": "dog"}  # the test split is only reported
    assert {path for (path, issue), action in found.items() if action == "quarantined"} == {"a", "b", "c"}
    assert decided(rows, conflicts="keep")[0].keys() == {"a", "b", "d", "e", "f"}  # c is a's duplicate


def test_near_copies_are_reported_and_dropped_on_request():
    rows = [row("a"), row("b"), row("c", target="dog"), row("d", "test"), row("e"), row("f", "val"), row("g")]
    alike = [("a", "b", 0.97), ("a", "c", 0.95), ("d", "e", 0.99), ("d", "f", 0.93), ("b", "a", 0.97)]
    kept, found = decided(rows, alike=alike)
    assert kept.keys() == set("abcdefg") and set(found.values()) == {"kept"}
    assert found.keys() == {("b", "near_duplicate"), ("c", "near_conflict"), ("e", "near_leak"), ("f", "near_leak")}
    kept, found = decided(rows, alike=alike, near_duplicates="drop")
    assert kept.keys() == set("acdfg")  # of two labels no rule knows the right one; val is never touched


def test_of_a_near_leak_and_a_likelier_near_conflict_the_leak_counts():
    rows = [row("a", target="dog"), row("b"), row("c", "test")]
    kept, found = decided(rows, alike=[("a", "b", 0.99), ("b", "c", 0.95)], near_duplicates="drop", max_share=1.0)
    assert kept.keys() == {"a", "c"} and found == {("b", "near_leak"): "dropped"}


def test_a_chain_of_near_copies_leaves_what_is_like_nothing_that_stays():
    kept, _ = decided([row("a"), row("b"), row("c")], alike=[("a", "b", 0.99), ("b", "c", 0.95)], near_duplicates="drop",
                     max_share=1.0)
    assert kept.keys() == {"a", "c"}


def test_an_image_without_a_label_contradicts_none():
    rows = [row("a", pixels="1"), row("b", "unlabelled", "", pixels="1"), row("c", "unlabelled", "")]
    found = decided(rows, alike=[("1", "c", 0.95)])[1]
    assert found.keys() == {("c", "near_duplicate")}


def test_what_may_come_to_be_a_test_image_is_not_taken_for_its_looks():
    kept, found = decided(suspects(3, split=""), label_suspects="drop")
    assert len(kept) == 11 and set(found.values()) == {"kept"}


def test_every_copy_of_a_picture_is_near_what_it_is_near():
    rows = [row("a", pixels="1"), row("b", pixels="1"), row("c", pixels="2")]
    assert decided(rows, alike=[("1", "2", 0.95)])[1].keys() == {("b", "duplicate"), ("c", "near_duplicate")}
    found = decided(rows, alike=[("2", "1", 0.95)], duplicates="keep")[1]
    assert found.keys() == {("b", "duplicate"), ("c", "near_duplicate")}


def suspects(count: int, **more) -> list[dict]:
    """Of ten cats, `count` that look like dogs, the last the most."""
    return [row(f"{number}", predicted="dog" if number < count else "cat", label_score=f"{0.5 - number / 20}",
                suspect="1" if number < count else "", **more) for number in range(10)] + [row("dog", target="dog")]


def test_label_suspects_are_reported_dropped_or_relabelled_the_worst_first():
    assert len(decided(suspects(3))[0]) == 11
    _, found = decided(suspects(3), label_suspects="drop", max_share=0.2)
    assert found == {("0", "label_suspect"): "kept", ("1", "label_suspect"): "dropped",
                     ("2", "label_suspect"): "dropped"}
    kept, _ = decided(suspects(3), label_suspects="relabel")
    assert [kept[path] for path in "0123"] == ["dog", "dog", "dog", "cat"]


def test_label_suspects_are_not_acted_on_where_labels_are_not_foretold_well():
    for accuracy, said in ((69.9, "accuracy of only 69.9 %"), (None, "no label could be judged")):
        with pytest.raises(UserError, match=f"clean.label_suspects is drop, but .*{said}.*report"):
            decided(suspects(3), label_suspects="drop", accuracy=accuracy)
        assert len(decided(suspects(3), accuracy=accuracy)[0]) == 11


def test_held_out_images_are_never_taken_for_their_looks(monkeypatch):
    rows = [*suspects(3, split="test"), row("x"), row("y")]
    monkeypatch.setattr(heuristic_rules.image_quality, "findings", lambda some: [(line, "dark", 0.1, 0.3) for line in some])
    kept, _ = decided(rows, label_suspects="drop", quality=QUALITY | {"dark": "drop"}, max_share=1.0)
    assert kept.keys() == {line["path"] for line in rows if line["split"] == "test"}


def test_all_droppings_for_looks_share_one_limit_of_a_class(monkeypatch):
    rows = [row(f"{number}") for number in range(10)] + [row(f"d{number}", target="dog") for number in range(4)]
    rows[0] |= {"predicted": "dog", "label_score": "0.1", "suspect": "1"}
    monkeypatch.setattr(heuristic_rules.image_quality, "findings", lambda some: [
        (line, issue, number / 20, 0.6) for number, line in enumerate(some) for issue in ("dark", "blurry")
        if line["path"] in ("4", "5", "d0")])
    kept, found = decided(rows, label_suspects="drop", quality=QUALITY | {"dark": "drop", "blurry": "drop"},
                         max_share=0.2, alike=[("8", "9", 0.95)], near_duplicates="drop")
    assert kept.keys() == {line["path"] for line in rows} - {"9", "0"}  # two of ten cats; none of four dogs
    assert found["4", "dark"] == found["d0", "dark"] == "kept"


def test_two_oddities_of_an_image_take_it_once(monkeypatch):
    rows = [row(f"{number}") for number in range(4)]
    monkeypatch.setattr(heuristic_rules.image_quality, "findings", lambda some: [
        (line, issue, 0.1, 0.3) for line in some[:2] for issue in ("dark", "low_information")])
    kept, found = decided(rows, quality=dict.fromkeys(QUALITY, "drop"))
    assert kept.keys() == {"2", "3"} and set(found.values()) == {"dropped"}


def test_what_the_user_says_wins_over_every_rule(monkeypatch):
    rows = [row("a", pixels="1"), row("b", pixels="1"), row("c", pixels="2"), row("d", target="dog", pixels="2"),
            row("e", pixels="3"), row("f", "test", pixels="3"), row("g", "test"), row("h")]
    monkeypatch.setattr(heuristic_rules.image_quality, "findings", lambda some: [(line, "dark", 0.1, 0.3) for line in some])
    said = {"b": Override("keep", ""), "c": Override("relabel", "dog"), "e": Override("keep", ""),
            "g": Override("drop", ""), "h": Override("keep", "")}
    kept, found = decided(rows, said, quality=QUALITY | {"dark": "drop"}, max_share=1.0)
    # b stays for its copy a; c, now a dog, is d's duplicate no more in conflict, and the one that is kept.
    assert kept == {"b": "cat", "c": "dog", "e": "cat", "f": "cat", "h": "cat"}
    assert found["a", "duplicate"] == found["d", "duplicate"] == "dropped"
    assert found["c", "override"] == "relabelled" and found["g", "override"] == "dropped"


def test_a_label_that_the_user_has_corrected_is_doubted_no_more():
    kept, found = decided(suspects(1), {"0": Override("relabel", "dog")})
    assert kept["0"] == "dog" and found == {("0", "override"): "relabelled"}


def test_relabelling_takes_a_class_of_the_source():
    with pytest.raises(UserError, match=r"'a' can't be relabelled 'dgo': no image of the source is; .*\('dog'\?\)"):
        decided([row("a")], {"a": Override("relabel", "dgo")})
    with pytest.raises(UserError, match="stands among the unlabelled"):
        decided([row("a", "unlabelled", "")], {"a": Override("relabel", "dog")})


def test_an_override_of_what_is_not_there_or_can_not_be_read():
    with pytest.raises(UserError, match="'x' is no image of the set"):
        decided([row("a")], {"x": Override("drop", "")})
    broken = row("a", pixels="", issue="unreadable", reason="empty file")
    with pytest.raises(UserError, match=r"'a' can't be used \(empty file\)"):
        decided([broken, row("b")], {"a": Override("keep", "")})


@pytest.mark.parametrize("text, said", [
    ("path,act\na,keep\n", "its first line must name the columns"),
    ("", "its first line must name the columns"),
    ("path,action,label\na,kept,\n", "line 2: the action is 'kept'; it can be keep, drop, relabel"),
    ("path,action,label\na,keep,\nb,relabel,\n", "line 3: relabel goes with a label"),
    ("path,action,label\na,drop,cat\n", "line 2: drop goes without a label"),
    ("path,action,label\na,drop,\na,keep,\n", "line 3: 'a' stands there twice"),
    (b"path,action\n\xff\xfe,keep\n", "no CSV in UTF-8"),
], ids=["columns", "empty", "action", "no label", "a label", "twice", "bytes"])
def test_overrides_that_say_nothing_sensible(tmp_path, monkeypatch, text, said):
    monkeypatch.chdir(tmp_path)
    overrides.FILE.parent.mkdir(parents=True)
    overrides.FILE.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=said):
        overrides.read(relabels=True)


def test_a_spreadsheets_overrides_are_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert overrides.read(relabels=True) == {}
    overrides.FILE.parent.mkdir(parents=True)
    overrides.FILE.write_bytes('\ufeffpath,action,label\r\n"a, b.png",drop\r\nc.png,relabel,dog\r\n'.encode())
    assert overrides.read(relabels=True) == {"a, b.png": Override("drop", ""), "c.png": Override("relabel", "dog")}
    with pytest.raises(UserError, match="line 3: a label of this task is a mask"):
        overrides.read(relabels=False)


# --- through the commands


def table(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("copies", [0, 1], ids=["all different", "with a copy"])
def test_near_copies_are_found_among_others(project, copies):
    noise = np.random.default_rng(0)
    scenes = [Image.fromarray(noise.integers(0, 256, (6, 6, 3), np.uint8)).resize((64, 64), Image.Resampling.BICUBIC)
              for _ in range(8)]
    files = {f"{'cat' if number % 2 else 'dog'}/{number}.png": saved(scene, "PNG")
             for number, scene in enumerate(scenes)}
    files |= {"cat/mirrored.jpg": saved(ImageOps.mirror(scenes[5]), "JPEG", quality=70),
              "dog/smaller.png": saved(scenes[3].resize((40, 40)), "PNG")}
    files |= {"dog/copy.png": files["dog/2.png"]} if copies else {}
    pack(project.source / "a.zip", files)
    assert project.set("data.source", "a.zip").run("fetch", "scan", "clean").returncode == 0
    found = {(line["path"], line["issue"], line["keeper"]) for line in table(project.folder / "data/decisions.csv")
             if line["issue"].startswith("near")}
    assert found == {("cat/mirrored.jpg", "near_duplicate", "cat/5.png"),
                     ("dog/smaller.png", "near_conflict", "cat/3.png")}


def test_clean_says_why_of_every_file(project):
    files = two_classes(5) | {"cat/again.png": picture(10, 3, 0), "dog/same.png": picture(10, 4, 0), "dog/no.png": b"?"}
    pack(project.source / "a.zip", files)
    (project.source / "overrides.csv").write_text("path,action,label\ncat/001.png,relabel,dog\ndog/002.png,drop,\n")
    assert project.set("data.source", "a.zip").run("fetch", "scan", "clean").returncode == 0
    manifest = {line["path"]: line["target"] for line in table(project.folder / "data/manifest.csv")}
    assert manifest.keys() == files.keys() - {"cat/again.png", "cat/004.png", "dog/same.png", "dog/no.png",
                                              "dog/002.png"}
    assert manifest["cat/001.png"] == "dog" and manifest["cat/000.png"] == "cat"

    def explained(path: str) -> str:
        return project.run("clean", arguments=("--explain", path)).stdout

    before = (project.folder / "data/decisions.csv").read_bytes()
    assert "cat/again.png: not in use" in explained("cat/again.png")
    assert "duplicate: dropped" in explained("cat/again.png") and "cat/003.png" in explained("cat/again.png")
    assert "conflicting label: quarantined; the same pixels, labelled dog" in explained("cat/004.png")
    assert "unreadable: dropped; no image in a format that Pillow reads" in explained("dog/no.png")
    assert "in use as dog" in explained("cat/001.png") and "cat became dog" in explained("cat/001.png")
    assert "cat/again.png (duplicate, dropped)" in explained("cat/003.png")
    assert (project.folder / "data/decisions.csv").read_bytes() == before
    fault = project.run("clean", arguments=("--explain", "cat/03.png"))
    assert fault.returncode == 1 and "is it 'cat/003.png'?" in fault.stderr and len(fault.stderr.splitlines()) == 1
    assert {file.name for file in (project.folder / "plots/data").iterdir()} == {"balance.png", "findings.png",
                                                                                 "sizes.png"}
