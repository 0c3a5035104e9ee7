"""split: which images train, validate and test, and what stands in data/prepared/."""

import hashlib
import itertools
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import Project
from PIL import Image
from sources import done, pack, palette, picture, png, saved, table, two_classes

from stages.data import tiling
from stages.data.prepared import IGNORED


def digest(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()}


def prepared(project, split: str, name: str = "images") -> np.ndarray:
    return np.load(project.folder / f"data/prepared/{split}/{name}.npy", mmap_mode="r")


def index(project) -> dict[str, list[dict[str, str]]]:
    rows = table(project.folder / "data/prepared/index.csv")
    return {split: [row for row in rows if row["split"] == split] for split in ("train", "val", "test", "unlabelled")}


@pytest.mark.slow
def test_split_is_stratified_and_repeatable_and_lists_its_rows(project):
    owls = {f"owl/{number}.png": picture(90, number, 0) for number in range(3)}
    pack(project.source / "a.zip", two_classes(40) | owls)
    project.set("data.source", "a.zip").set("split.image_size", 8).set("split.labelled_fraction", 1.0)
    done(project.set("split.val_fraction", 0.15).run("fetch", "scan", "clean", "split"))
    rows = index(project)
    # Of 40: 8 to test (0.2), then 5 of the 32 left to val (0.15: 4.8). Of 3: one each.
    assert {split: Counter(row["target"] for row in rows[split]) for split in rows} == {
        "train": {"cat": 27, "dog": 27, "owl": 1}, "val": {"cat": 5, "dog": 5, "owl": 1},
        "test": {"cat": 8, "dog": 8, "owl": 1}, "unlabelled": {}}
    assert (project.folder / "data/prepared/classes.txt").read_text() == "cat\ndog\nowl\n"
    assert prepared(project, "unlabelled").shape == (0, 8, 8, 3)
    colours = {"cat": 10, "dog": 200, "owl": 90}
    for split in ("train", "val", "test"):
        arrays, targets = prepared(project, split), prepared(project, split, "targets")
        assert arrays.dtype == np.uint8 and arrays.shape == (len(rows[split]), 8, 8, 3) and targets.dtype == np.int64
        assert [row["path"] for row in rows[split]] == sorted(row["path"] for row in rows[split])
        for number, row in enumerate(rows[split]):
            assert int(row["row"]) == number
            assert ["cat", "dog", "owl"][targets[number]] == row["target"]
            assert (arrays[number] == (colours[row["target"]], int(Path(row["path"]).stem), 0)).all()
    before = digest(project.folder / "data/prepared")
    done(project.run("split"))
    assert digest(project.folder / "data/prepared") == before
    done(project.set("split.seed", 1).run("split"))
    assert {row["path"] for row in index(project)["test"]} != {row["path"] for row in rows["test"]}


@pytest.mark.slow
def test_the_sources_own_splits_stay_and_only_val_is_drawn(project):
    files = {f"train/{name}": content for name, content in two_classes(10).items()}
    pack(project.source / "a.zip", files | {"test/cat/x.png": picture(0, 0, 9), "test/dog/y.png": picture(0, 9, 9)})
    project.set("split.val_fraction", 0.15)
    done(project.set("data.source", "a.zip").run("fetch", "scan", "clean", "split"))
    rows = index(project)
    assert [row["path"] for row in rows["test"]] == ["test/cat/x.png", "test/dog/y.png"]
    assert Counter(row["target"] for row in rows["val"]) == {"cat": 2, "dog": 2}  # 0.15 of 10, halves up


@pytest.mark.slow
def test_hidden_labels_join_the_unlabelled(project):
    files = {f"train/{name}": content for name, content in two_classes(20).items()}
    pack(project.source / "a.zip", files | {
        "test/cat/x.png": picture(0, 0, 9), "test/dog/y.png": picture(0, 9, 9),
        "val/cat/x.png": picture(0, 1, 9), "val/dog/y.png": picture(1, 9, 9), "unlabelled/z.png": picture(9, 9, 9)})
    done(project.set("data.source", "a.zip").set("split.labelled_fraction", 0.3).run("fetch", "scan", "clean", "split"))
    rows = index(project)
    assert Counter(row["target"] for row in rows["train"]) == {"cat": 6, "dog": 6}
    assert Counter(row["target"] for row in rows["unlabelled"]) == {"": 29}  # 2 × 14 hidden, one that never had a label
    assert not (project.folder / "data/prepared/unlabelled/targets.npy").exists()
    shown = {row["path"] for row in rows["train"]}
    done(project.set("split.labelled_fraction", 0.001).run("split"))
    assert Counter(row["target"] for row in index(project)["train"]) == {"cat": 1, "dog": 1}
    assert {row["path"] for row in index(project)["train"]} <= shown  # fewer labels are a part of more


@pytest.mark.slow
def test_near_copies_never_cross_a_drawn_split(project, capsys):
    """Sixty pictures, each stored a second time by JPEG."""
    noise = np.random.default_rng(0)
    files = {}
    for number in range(60):
        image = Image.fromarray(noise.integers(0, 256, (8, 8, 3), np.uint8)).resize((64, 64), Image.Resampling.BICUBIC)
        name = f"{'cat' if number % 2 else 'dog'}/{number:02}"
        files |= {f"{name}.png": png(image), f"{name}-again.jpg": saved(image, "JPEG", quality=70)}
    pack(project.source / "a.zip", files)
    project.set("data.source", "a.zip").set("split.labelled_fraction", 1.0).set("split.val_fraction", 0.15)
    project.main("fetch", "scan", "clean", "split")
    said = capsys.readouterr().err.splitlines()[-1]
    manifest = table(project.folder / "data/manifest.csv")
    assert [row["group"] for row in manifest[:2]] == ["copies of cat/01-again.jpg"] * 2
    assert json.loads((project.folder / "metrics/data.json").read_text())["groups"] == {
        "groups": 60, "of_copies": 60, "images": 120, "sizes": {"2": 60}}
    rows = index(project)
    assert {split: len({row["path"][:6] for row in rows[split]}) for split in rows} == {
        "train": 42, "val": 6, "test": 12, "unlabelled": 0}
    assert sum(len(rows[split]) for split in rows) == 120
    shares = {split: Counter(row["target"] for row in rows[split]) for split in ("val", "test")}
    assert shares == {"val": {"cat": 6, "dog": 6}, "test": {"cat": 12, "dog": 12}}  # of 48, 0.15 are 7.2
    assert re.search(r"; 60 groups of images were kept whole: drawn one by one, \d\d of 38 images of val and test "
                     "would have had one of their group in another split$", said)


def test_resize_rules():
    def sized(image: np.ndarray, size: int, resize: str) -> np.ndarray:
        return tiling.cut_image(image, tiling.Sizing(size, size, resize, scale=1.0, overlap=0))[0]

    image = np.zeros((2, 4, 3), np.uint8)
    image[:, 1:3] = 200  # the middle square
    assert (sized(image, 2, "crop") == 200).all()
    assert sized(image, 2, "squash")[0, 0, 0] == sized(image, 2, "squash")[1, 1, 2] != 200
    same = np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    assert (sized(same, 5, "squash") == same).all()


@pytest.mark.slow
def test_aerial_photographs_with_palette_masks_and_undocumented_colours(tmp_path):
    project = Project(tmp_path, "aerial")
    table_of = project.params()["data"]["masks"]
    colours = [*table_of["classes"].values(), *table_of["ignored"]]  # the last one is the undocumented 0,0,0
    random, files, truth = np.random.default_rng(0), {}, {}
    for tile, part in itertools.product((1, 2, 9, 10), (1, 2)):
        mask, folder = random.integers(0, len(colours), (16, 16), np.uint8), f"Dubai/Tile {tile}"
        image = Image.fromarray(np.array(colours, np.uint8)[mask])
        files[f"{folder}/images/p{part}.jpg"] = picture(20 * tile, 90 * part, 9, size=(16, 16), format="JPEG")
        files[f"{folder}/masks/p{part}.png"] = png(palette(Image.fromarray(mask), colours) if tile == 2 else image)
        truth[f"{folder}/images/p{part}.jpg"] = np.where(mask < 5, mask.astype(int), IGNORED)
    files["Dubai/classes.json"] = b'{"classes": [{"title": "Water", "color": "#50E3C2"}]}'
    pack(project.source / "a.zip", files)
    for key, value in {"data.source": "a.zip", "split.image_size": 16, "split.scale": 1.0,
                       "split.overlap": 0}.items():
        project.set(key, value)
    done(project.run("fetch", "scan", "clean", "split"))
    rows = table(tmp_path / "data/prepared/index.csv")
    assert sorted(row["path"] for row in rows) == sorted(truth)
    for row in rows:
        assert (prepared(project, row["split"], "targets")[int(row["row"])] == truth[row["path"]]).all()
    splits = {(row["path"].split("/")[1], row["split"]) for row in rows}
    assert len(splits) == 4 and {split for _, split in splits} == {"train", "val", "test"}  # no tile is parted
    assert (tmp_path / "data/prepared/classes.txt").read_text().split() == list(table_of["classes"])


def test_a_damaged_out_of_an_earlier_stage_is_one_line(project, fails):
    pack(project.source / "a.zip", two_classes(4))
    project.set("data.source", "a.zip")
    project.main("fetch", "scan", "clean")
    for stage, file in (("clean", "data/scan.csv"), ("clean", "data/thumbnails.npy"), ("split", "data/manifest.csv")):
        path = project.folder / file
        whole = path.read_bytes()
        for damaged in (b"", whole[:len(whole) // 2], bytes(len(whole)), bytes(range(128, 256)) * 9):
            path.write_bytes(damaged)
            fails(stage, f"{file} is missing or broken; run dvc repro")
        path.unlink()
        fails(stage, f"{file} is missing or broken; run dvc repro")
        path.write_bytes(whole)
    project.main("split")
