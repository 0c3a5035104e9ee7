"""split: which images train, validate and test, and what stands in data/prepared/."""

import hashlib
import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import Project
from PIL import Image
from sources import done, pack, palette, picture, png, table, two_classes

from stages.core.errors import UserError
from stages.data import tiling
from stages.data.prepared import IGNORED
from stages.split import SplitParams, draw

CHOICE = {"image_size": 8, "resize": "squash", "scale": 1.0, "overlap": 0, "val_fraction": 0.2, "test_fraction": 0.25,
          "fold": 0, "labelled_fraction": 1.0, "seed": 0}


def digest(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()}


def prepared(project, split: str, name: str = "images") -> np.ndarray:
    return np.load(project.folder / f"data/prepared/{split}/{name}.npy", mmap_mode="r")


def index(project) -> dict[str, list[dict[str, str]]]:
    rows = table(project.folder / "data/prepared/index.csv")
    return {split: [row for row in rows if row["split"] == split] for split in ("train", "val", "test", "unlabelled")}


def drawn(rows: list[dict], **changes) -> dict[str, set[str]]:
    """Which paths land in which split."""
    rows = [dict(row) for row in rows]
    draw(rows, SplitParams(**CHOICE | changes), lambda row: row["target"])
    return {split: {row["path"] for row in rows if row["split"] == split} for split in ("train", "val", "test")}


@pytest.mark.slow
def test_split_is_stratified_and_repeatable_and_lists_its_rows(project):
    owls = {f"owl/{number}.png": picture(90, number, 0) for number in range(3)}
    pack(project.source / "a.zip", two_classes(40) | owls)
    project.set("data.source", "a.zip").set("split.image_size", 8)
    done(project.run("fetch", "scan", "clean", "split"))
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
def test_images_with_copies_are_never_drawn(project):
    # Ten pictures under two labels each: drawn, each would stand in training as well.
    twins = {f"{name}/twin{number}.png": picture(0, 0, number) for name in ("cat", "dog") for number in range(10)}
    pack(project.source / "a.zip", two_classes(4) | twins)
    project.set("data.source", "a.zip").set("split.test_fraction", 0.4).set("clean.conflicts", "keep")
    done(project.run("fetch", "scan", "clean", "split"))
    drawn = [row["path"] for split in ("val", "test") for row in index(project)[split]]
    assert len(drawn) == 8 and not any("twin" in path for path in drawn)


def test_one_image_more_moves_at_most_one_other():
    choice = SplitParams(image_size=8, resize="squash", scale=1.0, overlap=0, val_fraction=0.15, test_fraction=0.2,
                         fold=0, labelled_fraction=1.0, seed=0)

    def drawn(count: int) -> set[str]:
        rows = [{"path": f"{number}.png", "split": "", "target": "cat", "group": "", "pixels": f"{number}"}
                for number in range(count)]
        draw(rows, choice, lambda row: row["target"])
        return {row["path"] for row in rows if row["split"] == "test"}

    assert [len(drawn(count)) for count in (200, 201)] == [40, 40]
    assert len(drawn(200) - drawn(201)) <= 1


def test_groups_are_drawn_whole_and_folds_share_no_test_image():
    rows = [{"path": f"tile {tile}/{part}", "split": "", "target": "", "group": f"Tile {tile}",
             "pixels": f"{tile} {part}"}
            for tile in range(1, 13) for part in range(3)]
    seen = [drawn(rows, fold=fold) for fold in range(4)]
    tiles = [{split: {path.split("/")[0] for path in paths} for split, paths in found.items()} for found in seen]
    # A quarter of 12 groups for test; a fifth of the 9 that are left, 1.8, for val; by number, not by letter.
    assert [found["test"] for found in tiles] == [{f"tile {3 * fold + i}" for i in (1, 2, 3)} for fold in range(4)]
    for found in tiles:
        assert [len(found[split]) for split in ("train", "val", "test")] == [7, 2, 3]
        assert not found["train"] & found["val"] and not found["test"] & (found["train"] | found["val"])
    with pytest.raises(UserError, match="there are 4 folds, from 0, of 3 out of 12 for test"):
        drawn(rows, fold=4)


def test_the_same_picture_in_two_groups_is_refused():
    rows = [{"path": f"{tile}.png", "split": "", "target": "", "group": f"Tile {tile}", "pixels": str(tile % 7)}
            for tile in range(8)]
    with pytest.raises(UserError, match=r"'7\.png' and '0\.png' are the same picture in two groups"):
        drawn(rows)


def test_folds_of_single_images_share_no_test_image_and_together_are_all():
    rows = [{"path": f"{name}/{number}", "split": "", "target": name, "group": "", "pixels": f"{name} {number}"}
            for name in ("cat", "dog") for number in range(20)]
    seen = [drawn(rows, fold=fold)["test"] for fold in range(4)]
    assert [len(found) for found in seen] == [10] * 4 and set().union(*seen) == {row["path"] for row in rows}
    assert all(sum(path.startswith("cat") for path in found) == 5 for found in seen)


def test_resize_rules():
    def sized(image: np.ndarray, size: int, resize: str) -> np.ndarray:
        return tiling.cut_image(image, tiling.Sizing(size, resize, scale=1.0, overlap=0))[0]

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
