"""clean, through the command: findings, decisions, manifest, and --explain."""

import hashlib
import json
from collections import defaultdict

import numpy as np
import pytest
from conftest import ROOT, Project
from PIL import Image, ImageOps
from sources import done, pack, picture, png, saved, table, two_classes

from stages.cleaning import exact_rules

REAL = ROOT.parent / "shared" / "data"


@pytest.mark.slow
def test_every_finding_is_decided_as_the_policy_says(project):
    files = {
        "train/cat/a.png": picture(1, 0, 0), "train/cat/b.bmp": picture(1, 0, 0, format="BMP"),  # the same
        "train/cat/c.png": picture(2, 0, 0), "train/dog/d.png": picture(2, 0, 0),  # two labels
        "train/cat/e.png": picture(3, 0, 0), "train/dog/f.png": picture(4, 0, 0),
        "train/dog/g.png": picture(5, 0, 0), "train/dog/h.jpg": b"", "train/dog/i.jpg": b"<html>",
        "val/cat/j.png": picture(6, 0, 0), "val/dog/k.png": picture(7, 0, 0),
        "test/cat/l.png": picture(3, 0, 0), "test/dog/m.png": picture(8, 0, 0),
        "unlabelled/n.png": picture(8, 0, 0), "unlabelled/o.png": picture(9, 0, 0),
    }
    pack(project.source / "a.zip", files)
    done(project.set("data.source", "a.zip").run("fetch", "scan", "clean"))
    data = project.folder / "data"
    found = [(row["path"], row["issue"], row["action"], row["keeper"]) for row in table(data / "decisions.csv")
             if row["issue"] in exact_rules.ISSUES]
    assert found == [
        ("train/cat/b.bmp", "duplicate", "dropped", "train/cat/a.png"),
        ("train/cat/c.png", "conflicting_label", "quarantined", "train/dog/d.png"),
        ("train/cat/e.png", "leak", "dropped", "test/cat/l.png"),
        ("train/dog/d.png", "conflicting_label", "quarantined", "train/cat/c.png"),
        ("train/dog/h.jpg", "unreadable", "dropped", ""),
        ("train/dog/i.jpg", "unreadable", "dropped", ""),
        ("unlabelled/n.png", "leak", "dropped", "test/dog/m.png"),
    ]
    gone = {path for path, _, action, _ in found}
    manifest = table(data / "manifest.csv")
    assert [row["path"] for row in manifest] == sorted(files.keys() - gone)
    first = manifest[-1]
    content = files["val/dog/k.png"]
    assert (first["split"], first["target"], first["width"], first["bytes"]) == ("val", "dog", "8", str(len(content)))
    assert first["sha256"] == hashlib.sha256(content).hexdigest()
    assert first["pixels"] == hashlib.sha256(b"8x8 " + bytes((7, 0, 0)) * 64).hexdigest()
    counts = json.loads((project.folder / "metrics/data.json").read_text())
    assert counts["images"] == {"found": 15, "kept": 8, "dropped": 7}
    assert counts["acted_on"] == {"unreadable": 2, "leak": 2, "duplicate": 1, "conflicting_label": 2}
    assert {issue: counts["findings"][issue] for issue in exact_rules.ISSUES} == counts["acted_on"]
    held = {"test": {"cat": 1, "dog": 1}, "val": {"cat": 1, "dog": 1}}
    assert counts["before"] == held | {"train": {"cat": 4, "dog": 5}, "unlabelled": {"all": 2}}
    assert counts["after"] == held | {"train": {"cat": 1, "dog": 2}, "unlabelled": {"all": 1}}


@pytest.mark.slow
def test_keep_keeps_and_still_reports(project):
    pack(project.source / "a.zip", {"train/a/1.png": picture(1, 0, 0), "train/a/2.png": picture(1, 0, 0),
                                    "train/b/3.png": picture(2, 0, 0), "test/b/4.png": picture(2, 0, 0)})
    project.set("data.source", "a.zip").set("clean.leaks", "keep").set("clean.duplicates", "keep")
    done(project.run("fetch", "scan", "clean"))
    assert len(table(project.folder / "data/manifest.csv")) == 4
    found = [row for row in table(project.folder / "data/decisions.csv") if row["issue"] in exact_rules.ISSUES]
    assert [row["action"] for row in found] == ["kept", "kept"]


@pytest.mark.slow
def test_a_split_without_usable_images_is_an_error(project):
    files = {f"train/{path}": content for path, content in two_classes(9).items()}
    pack(project.source / "a.zip", files | {"test/cat/0.png": b"no image"})
    result = project.set("data.source", "a.zip").run("fetch", "scan", "clean")
    assert result.returncode == 1 and "no test image is fit for use" in result.stderr.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "vehicles.zip").is_file(), reason="vehicles.zip is not on this machine")
def test_planted_faults_of_the_vehicles_are_found_and_none_invented(project):
    (project.source / "vehicles.zip").symlink_to(REAL / "vehicles.zip")
    done(project.set("data.source", "vehicles.zip").run("fetch", "scan", "clean"))
    truth = table(REAL / "vehicles-faults.csv")
    found = table(project.folder / "data/decisions.csv")
    paths, planted = defaultdict(set), defaultdict(set)
    for row in found:
        paths[row["issue"]].add(row["path"])
    for row in truth:
        planted[row["fault"]].add(row["path"])
    assert paths["unreadable"] == planted["truncated"] | planted["empty"] | planted["not_an_image"]
    assert paths["leak"] == planted["leak_exact"]
    pairs = {frozenset((row["path"], row["keeper"])) for row in found if row["issue"] == "duplicate"}
    assert pairs == {frozenset((row["path"], row["note"])) for row in truth if row["fault"] == "exact_duplicate"}
    assert paths["conflicting_label"] == {path for row in truth if row["fault"] == "duplicate_conflicting_label"
                                          for path in (row["path"], row["note"])}


@pytest.mark.slow
@pytest.mark.parametrize("copies", [0, 1], ids=["all different", "with a copy"])
def test_near_copies_are_found_among_others(project, copies):
    noise = np.random.default_rng(0)
    scenes = [Image.fromarray(noise.integers(0, 256, (6, 6, 3), np.uint8)).resize((64, 64), Image.Resampling.BICUBIC)
              for _ in range(8)]
    files = {f"{'cat' if number % 2 else 'dog'}/{number}.png": png(scene)
             for number, scene in enumerate(scenes)}
    files |= {"cat/mirrored.jpg": saved(ImageOps.mirror(scenes[5]), "JPEG", quality=70),
              "dog/smaller.png": png(scenes[3].resize((40, 40)))}
    files |= {"dog/copy.png": files["dog/2.png"]} if copies else {}
    pack(project.source / "a.zip", files)
    assert project.set("data.source", "a.zip").run("fetch", "scan", "clean").returncode == 0
    found = {(line["path"], line["issue"], line["keeper"]) for line in table(project.folder / "data/decisions.csv")
             if line["issue"].startswith("near")}
    assert found == {("cat/mirrored.jpg", "near_duplicate", "cat/5.png"),
                     ("dog/smaller.png", "near_conflict", "cat/3.png")}


@pytest.mark.slow
def test_explain_gives_the_reason_for_every_file(project):
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


def grey(*rows: list[int], dtype: type = np.uint8) -> Image.Image:
    return Image.fromarray(np.array(rows, dtype))


@pytest.mark.slow
def test_issues_of_masks_are_decided(tmp_path):
    project = Project(tmp_path, "digit_scenes")
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), np.uint8)
    files = {f"train/images/{number}.png": png(Image.fromarray(image)) for number, image in enumerate(pixels)}
    files |= {f"train/masks/{number}.png": png(grey(*[[number] * 4] * 4)) for number in range(6)}
    files |= {"train/masks/1.png": b"", "train/masks/2.png": png(grey([1, 2])),
              "train/images/4.png": files["train/images/3.png"],  # another mask
              "train/images/6.png": files["train/images/5.png"], "train/masks/6.png": files["train/masks/5.png"]}
    pack(project.source / "a.zip", files)
    said = project.set("data.source", "a.zip").run("fetch", "scan").stderr.splitlines()[-1]
    assert said.startswith("scan: ") and "'train/masks/2.png' is 2×1 pixels, its image 4×4" in said
    done(project.set("data.masks.other_size", "drop").run("scan", "clean"))
    found = {(row["path"][-5:], row["issue"], row["action"]) for row in table(tmp_path / "data/decisions.csv")}
    assert {row[0] for row in found if row[1:] == ("one_class_mask", "kept")} == {f"{n}.png" for n in (0, 3, 4, 5, 6)}
    assert {row for row in found if row[1] in (*exact_rules.ISSUES, "unreadable_mask", "mask_size")} == {
        ("1.png", "unreadable_mask", "dropped"), ("2.png", "mask_size", "dropped"),
        ("3.png", "conflicting_label", "quarantined"), ("4.png", "conflicting_label", "quarantined"),
        ("6.png", "duplicate", "dropped")}
    said = project.set("data.masks.classes", {"none": 0, "one": 1}).run("scan").stderr.splitlines()[-1]
    assert said.startswith("scan: ") and "'train/masks/3.png' holds the index 3 in 16 pixels" in said


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "aerial.zip").is_file(), reason="aerial.zip is not on this machine")
def test_every_mask_of_the_real_aerial_archive_is_read(tmp_path):
    project = Project(tmp_path, "aerial")
    (project.source / "aerial.zip").symlink_to(REAL / "aerial.zip")
    done(project.run("fetch", "scan", "clean"))
    rows = table(tmp_path / "data/manifest.csv")
    assert len(rows) == 72 and len({row["group"] for row in rows}) == 8
    actions = {row["path"]: row["action"] for row in table(tmp_path / "data/decisions.csv")}
    assert {path for path, action in actions.items() if action != "kept"} == {
        path for path in actions if path.endswith("classes.json")}
