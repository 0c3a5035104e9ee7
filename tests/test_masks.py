"""Masks: how their pixels become classes, where they are found, what clean says of them, and the scenes made here."""

import csv
import io
import itertools
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import Project
from PIL import Image
from sources import pack, picture, saved

from stages.cleaning import exact_rules
from stages.core import params
from stages.core.errors import UserError
from stages.data import builtin
from stages.data.decode import Unreadable, decode_mask
from stages.data.layouts import aerial_tiles, image_folder, image_mask_pairs
from stages.data.prepared import IGNORED
from stages.data.sample import Sample
from stages.tasks.classification import labels as class_labels
from stages.tasks.segmentation import labels as mask_labels

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"
LAND, WATER, NOBODY = [132, 41, 246], [226, 169, 41], [155, 155, 155]
STRICT = {"classes": {"land": LAND, "water": WATER}, "ignored": [NOBODY], "unknown": "stop", "other_size": "stop"}
INDEXED = STRICT | {"classes": {"road": 3, "sky": 0, "tree": 200}, "ignored": [255]}


@pytest.fixture
def masks(tmp_path, monkeypatch):
    """`masks(classes=…)` is the section data.masks from then on."""
    monkeypatch.chdir(tmp_path)

    def write(**values: object) -> None:
        (tmp_path / "params.yaml").write_text(yaml.safe_dump({"data": {"masks": values}}, sort_keys=False))

    return write


def grey(*rows: list[int], dtype: type = np.uint8) -> Image.Image:
    return Image.fromarray(np.array(rows, dtype))


def coloured(*rows: list[list[int]]) -> Image.Image:
    return Image.fromarray(np.array(rows, np.uint8))


def palette(image: Image.Image, colours: list[list[int]]) -> Image.Image:
    """`image`, mode L, as indices into `colours`."""
    paletted = Image.new("P", image.size)
    paletted.putdata(list(image.tobytes()))
    paletted.putpalette([level for colour in colours for level in colour])
    return paletted


def png(image: Image.Image) -> bytes:
    return saved(image, "PNG")


def targets(content: bytes) -> list[list[int]]:
    found = mask_labels.target({"target": "m.png"}, mask_labels.classes([]), {"m.png": content}.get)
    assert found.dtype == mask_labels.STORED
    return found.tolist()


def examined(content: bytes, size: tuple[int, int] = (1, 3)) -> tuple[str, str, str]:
    return mask_labels.examine("m.png", {"m.png": content}.get, size)


def refused(function, *arguments) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- pixels become classes


def test_indices_are_the_stored_numbers(masks):
    masks(**INDEXED)
    assert mask_labels.classes([]) == ["road", "sky", "tree"]
    assert targets(png(grey([3, 0, 200], [255, 3, 3]))) == [[0, 1, 2], [IGNORED, 0, 0]]
    assert targets(png(palette(grey([3, 0, 200]), [[number] * 3 for number in range(255, -1, -1)]))) == [[0, 1, 2]]
    assert targets(saved(grey([3, 0, 255]), "TIFF")) == [[0, 1, IGNORED]]
    masks(**INDEXED | {"classes": {"low": 0, "high": 40_000}})
    assert targets(png(grey([0, 40_000, 255], dtype=np.uint16))) == [[0, 1, IGNORED]]
    masks(**INDEXED | {"classes": {"off": 0, "on": 1}})
    assert targets(png(Image.fromarray(np.array([[True, False]])))) == [[1, 0]]


def test_colours_are_read_through_the_palette_if_there_is_one(masks):
    masks(**STRICT)
    rgb = png(coloured([LAND, NOBODY, WATER]))
    assert targets(rgb) == [[0, IGNORED, 1]]
    through = png(palette(grey([7, 1, 0]), [WATER, NOBODY, *[[0, 0, 0]] * 5, LAND]))
    assert targets(through) == [[0, IGNORED, 1]]
    assert targets(png(Image.merge("RGBA", (*Image.open(io.BytesIO(rgb)).split(), Image.new("L", (3, 1), 9))))) == [
        [0, IGNORED, 1]]  # no transparency: a mask is not laid on white
    masks(**STRICT | {"classes": {"black": [0, 0, 0], "white": [255, 255, 255]}})
    assert targets(png(grey([0, 255]))) == [[0, 1]]


def test_a_mask_is_not_turned(masks):
    masks(**INDEXED)
    exif = Image.Exif()
    exif[0x0112] = 6
    assert targets(saved(grey([3, 0, 200]), "PNG", exif=exif)) == [[0, 1, 2]]


def test_every_colour_of_a_large_mask_against_a_dictionary(masks):
    random = np.random.default_rng(0)
    colours = np.unique(random.integers(0, 256, (40, 3)), axis=0)
    masks(**STRICT | {"classes": {f"c{number}": colour for number, colour in enumerate(colours.tolist())},
                      "ignored": [], "unknown": "ignore"})
    meaning = {tuple(colour): number for number, colour in enumerate(colours.tolist())}
    some = np.concatenate([colours, colours[:, ::-1], random.integers(0, 256, (40, 3))])
    mask = some[random.integers(0, len(some), (60, 50))]
    assert targets(png(Image.fromarray(mask.astype(np.uint8)))) == [
        [meaning.get(tuple(colour), IGNORED) for colour in row] for row in mask.tolist()]


def test_unknown_colours_stop_or_are_ignored(masks):
    odd = png(coloured([LAND, [1, 2, 3], [1, 2, 3]], [[9, 9, 9], WATER, LAND]))
    masks(**STRICT)
    for said in (refused(examined, odd, (2, 3)), refused(targets, odd)):
        for word in ("'m.png'", "(1, 2, 3) in 2 pixels", "1 more", "data.masks.classes", "data.masks.ignored",
                     "data.masks.unknown"):
            assert word in said
    masks(**INDEXED)
    assert "index 7 in 1 pixels" in refused(targets, png(grey([3, 7, 0])))
    masks(**STRICT | {"unknown": "ignore"})
    assert examined(odd, (2, 3))[1:] == ("unknown_colour", "50 % of the mask's pixels stand for nothing that "
                                         "params.yaml names")
    assert targets(odd) == [[0, IGNORED, IGNORED], [IGNORED, 1, 0]]


def test_a_mask_of_another_size_stops_or_is_dropped(masks):
    small = png(coloured([LAND, WATER]))
    masks(**STRICT)
    said = refused(examined, small, (4, 3))
    for word in ("'m.png'", "2×1", "3×4", "data.masks.other_size"):
        assert word in said
    masks(**STRICT | {"other_size": "drop"})
    assert examined(small, (4, 3))[:2] == ("", "mask_size") and "2×1" in examined(small, (4, 3))[2]
    assert examined(png(coloured([[1, 2, 3]] * 2)), (4, 3))[1] == "mask_size"  # its colours don't matter any more


@pytest.mark.parametrize("content, words", [
    (b"", "empty"), (b"text", "no image"), (png(Image.effect_noise((64, 64), 50))[:-200], ""),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "no image"),
], ids=["empty", "text", "cut", "EPS"])
def test_what_is_no_whole_mask_is_unreadable(masks, content, words):
    masks(**STRICT)
    identity, issue, reason = examined(content)
    assert (identity, issue) == ("", "unreadable_mask") and reason and words in reason


@pytest.mark.parametrize("values, content, words", [
    (INDEXED, png(coloured([LAND])), ["'m.png'", "colours (mode RGB)", "an index or [red, green, blue]"]),
    (INDEXED, png(Image.new("LA", (1, 1))), ["colours (mode LA)"]),
    (STRICT, png(grey([300], dtype=np.uint16)), ["'m.png'", "numbers (mode I;16)"]),
])
def test_masks_of_the_other_kind_stop(masks, values, content, words):
    masks(**values)
    said = refused(examined, content)
    assert all(word in said for word in words), said
    with pytest.raises(Unreadable):
        decode_mask(content, colours=values is STRICT)


def test_the_same_classes_are_the_same_label_whatever_the_file(masks):
    masks(**STRICT)
    row = coloured([LAND, WATER, WATER, LAND])
    same = {examined(content, (1, 4)) for content in (
        png(row), saved(row, "BMP"), png(palette(grey([1, 0, 0, 1]), [WATER, LAND])))}
    assert len(same) == 1 and same.pop()[1:] == ("", "")
    turned = coloured([LAND, WATER], [WATER, LAND])  # the same bytes in another shape
    assert examined(png(turned), (2, 2))[0] != examined(png(row), (1, 4))[0]
    assert mask_labels.examine("", None, (1, 4)) == ("", "", "")
    assert class_labels.examine("cat", None, (1, 4)) == ("cat", "", "")


def test_shapes_and_strata():
    assert (mask_labels.shape(8), class_labels.shape(8)) == ((8, 8), ())
    row = {"target": "cat", "split": "train"}
    assert (mask_labels.stratum(row), class_labels.stratum(row)) == ("", "cat")
    found = class_labels.target(row, ["ant", "cat"], None)
    assert found.shape == () and found.dtype == class_labels.STORED and found == 1


@pytest.mark.parametrize("values, words", [
    ({"classes": {"a": 1, "b": [1, 2, 3]}, "ignored": []}, ["mix"]),
    ({"classes": {"a": 1, "b": 2}}, ["mix"]),  # ignored is a colour
    ({"ignored": [LAND]}, ["(132, 41, 246)", "twice"]),
    ({"classes": {"a": 1, "b": 1}, "ignored": []}, ["1 stands twice"]),
    ({"classes": {"a": [1, 2, 256], "b": [1, 2, 3]}}, ["classes.a", "[1, 2, 256]", "0–255"]),
    ({"classes": {"a": [1, 2], "b": [1, 2, 3]}}, ["classes.a", "[1, 2]", "[red, green, blue]"]),
    ({"classes": {"a": "#aabbcc", "b": [1, 2, 3]}}, ["classes.a", "'#aabbcc'", "index"]),
    ({"ignored": [True]}, ["ignored.0", "True", "index"]),
    ({"ignored": [-1]}, ["ignored.0", "-1", "index"]),
    ({"classes": {"a\nb": LAND, "b": WATER}}, ["'a\\nb'", "rename"]),
    ({"classes": {"": LAND, "b": WATER}}, ["''", "rename"]),
    ({"classes": {"land": LAND}}, ["1 class", "at least two"]),
    ({"classes": {}, "ignored": []}, ["0 class", "at least two"]),
    ({"unknown": "drop"}, ["unknown", "'stop' or 'ignore'"]),
    ({"colours": {}}, ["colours", "unknown", "classes"]),
])
def test_wrong_tables_are_refused_in_one_line(masks, values, words):
    masks(**STRICT | values)
    said = refused(mask_labels.classes, [])
    assert "params.yaml" in said and "data.masks" in said
    assert all(word in said for word in words), said


def test_no_more_classes_than_int16_holds():
    many = INDEXED | {"classes": {f"c{number}": number for number in range(30_001)}, "ignored": []}
    assert "30001" in refused(params.parse, mask_labels.MaskParams, many, "data.masks")


def test_a_task_without_masks_leaves_the_tables_empty(masks):
    masks(classes={}, ignored=[], unknown="stop", other_size="stop")
    assert params.load("data.masks", mask_labels.MaskParams).classes == {}


# --- layouts


def pairs(*names: str) -> list[tuple[str, str, str, str]]:
    return [tuple(sample)[:4] for sample in image_mask_pairs.samples(list(names), read=None)]


@pytest.mark.parametrize("names, expected", [
    (["images/x.jpg", "masks/x.png", "readme.txt"], [("images/x.jpg", "", "", "masks/x.png")]),
    (["a/b/Img/s/x.y.jpg", "a/b/Labels/s/x.y.png"], [("a/b/Img/s/x.y.jpg", "", "", "a/b/Labels/s/x.y.png")]),
    (["w/train/images/x.jpg", "w/train/masks/x.png", "w/Valid/images/x.jpg", "w/Valid/masks/x.png"],
     [("w/train/images/x.jpg", "train", "train", "w/train/masks/x.png"),
      ("w/Valid/images/x.jpg", "val", "Valid", "w/Valid/masks/x.png")]),
    (["images/training/x.jpg", "annotations/training/x.png", "images/test/x.jpg", "annotations/test/x.png"],
     [("images/training/x.jpg", "train", "training", "annotations/training/x.png"),
      ("images/test/x.jpg", "test", "test", "annotations/test/x.png")]),
    (["images/a.jpg", "images/b.jpg", "images/c.jpg", "masks/a_mask.png", "masks/b_label.png", "masks/c_seg.gif"],
     [("images/a.jpg", "", "", "masks/a_mask.png"), ("images/b.jpg", "", "", "masks/b_label.png"),
      ("images/c.jpg", "", "", "masks/c_seg.gif")]),
    # A name that ends like a mask's is taken as it stands first.
    (["images/a.jpg", "images/a_mask.jpg", "masks/a.png", "masks/a_mask.png"],
     [("images/a.jpg", "", "", "masks/a.png"), ("images/a_mask.jpg", "", "", "masks/a_mask.png")]),
    (["images/x.jpg", "masks/x.png", "Unlabelled/y.jpg", "images/unsup/z.jpg", "pred/images/x.jpg"],
     [("images/x.jpg", "", "", "masks/x.png"), ("Unlabelled/y.jpg", "unlabelled", "Unlabelled", ""),
      ("images/unsup/z.jpg", "unlabelled", "unsup", ""), ("pred/images/x.jpg", "unlabelled", "pred", "")]),
])
def test_image_mask_pairs(names, expected):
    assert pairs(*names) == expected


@pytest.mark.parametrize("names, words", [
    (["images/x.jpg", "masks/x.png", "images/y.jpg"], ["image 'images/y.jpg'", "no mask", "unlabelled"]),
    (["images/x.jpg", "masks/x.png", "masks/y.png"], ["mask 'masks/y.png'", "no image"]),
    (["a/images/x.jpg", "b/masks/x.png"], ["'b/masks/x.png'", "no image"]),
    (["images/train/x.jpg", "masks/val/x.png"], ["'masks/val/x.png'", "no image"]),
    (["unlabelled/images/x.jpg", "unlabelled/masks/x.png"], ["'unlabelled/masks/x.png'", "no image"]),
    (["images/x.jpg", "masks/x.png", "masks/x.tif"], ["'masks/x.png'", "'masks/x.tif'", "both the mask", "keep one"]),
    (["images/x.jpg", "masks/x.png", "masks/x_seg.png"], ["'masks/x.png'", "'masks/x_seg.png'", "both the mask"]),
    (["images/x.jpg", "images/x.png", "masks/x.png"], ["'images/x.jpg'", "'images/x.png'", "both the image"]),
    (["images/x.jpg", "masks/x.png", "preview.png"], ["'preview.png'", "no folder", "data.layout"]),
    (["train/images/x.jpg", "train/masks/x.png", "images/x.jpg", "masks/x.png"],
     ["'images/x.jpg'", "beside the split folders", "seg_test"]),
])
def test_files_that_are_no_pairs(names, words):
    said = refused(pairs, *names)
    assert said.startswith("data/raw.zip: ")
    assert all(word in said for word in words), said


def test_aerial_tiles():
    names = [f"Semantic segmentation dataset/Tile {tile}/{kind}" for tile in (1, 10)
             for kind in ("images/p_1.jpg", "images/p_2.jpg", "masks/p_1.png", "masks/p_2.png")]
    found = list(aerial_tiles.samples(["Semantic segmentation dataset/classes.json", *names], read=None))
    assert [sample.path for sample in found] == [name for name in names if name.endswith("jpg")]
    assert found[2] == Sample(names[4], "", "", names[6], "Tile 10")
    assert [sample.group for sample in found] == ["Tile 1", "Tile 1", "Tile 10", "Tile 10"]

    def read(*some: str) -> list[Sample]:
        return list(aerial_tiles.samples(list(some), read=None))

    said = refused(read, *names[:3])
    assert "Tile 1/images/p_2.jpg'" in said and "Tile 1/masks/p_2.png" in said and "get the archive again" in said
    assert "data.layout" in refused(read, "Tile 1/p_1.jpg", "images/x.jpg", "masks/x.png")


def test_both_layouts_call_splits_the_same():
    for split in ("seg_train", "Validation", "testing"):
        folder, = image_folder.samples([f"{split}/cat/x.jpg"], read=None)
        pair, = image_mask_pairs.samples([f"{split}/images/x.jpg", f"{split}/masks/x.png"], read=None)
        assert folder[1:3] == pair[1:3]


# --- through the commands


def done(result: subprocess.CompletedProcess) -> None:
    assert result.returncode == 0, result.stderr


def table(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def prepared(project, split: str, name: str) -> np.ndarray:
    return np.load(project.folder / "data" / "prepared" / split / f"{name}.npy")


def test_the_aerial_archives_traps(tmp_path):
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


def test_what_clean_says_about_masks(tmp_path):
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


@pytest.mark.skipif(not REAL.is_dir(), reason="the real archives are not on this machine (../shared/data)")
def test_every_mask_of_the_real_aerial_archive_is_read(tmp_path):
    project = Project(tmp_path, "aerial")
    (project.source / "aerial.zip").symlink_to(REAL / "aerial.zip")
    done(project.run("fetch", "scan", "clean"))
    rows = table(tmp_path / "data/manifest.csv")
    assert len(rows) == 72 and len({row["group"] for row in rows}) == 8
    assert all(row["action"] == "kept" for row in table(tmp_path / "data/decisions.csv"))


# --- the scenes made here


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> dict[str, bytes]:
    project = Project(tmp_path_factory.mktemp("scenes"), "digit_scenes")
    done(project.run("fetch"))
    with zipfile.ZipFile(project.folder / "data/raw.zip") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def decoded(scenes: dict[str, bytes], split: str, folder: str) -> np.ndarray:
    names = [name for name in scenes if name.startswith(f"digit_scenes/{split}/{folder}/")]
    return np.stack([decode_mask(scenes[name], colours=folder == "images") for name in names])


def test_digit_scenes_are_the_same_bytes_each_time(scenes):
    assert list(scenes) == sorted(scenes) and len(scenes) == 2 * sum(builtin.SCENES.values())
    again = dict(itertools.islice(builtin.digit_scenes(), 400))  # the test split: made in another process before
    assert again == dict(itertools.islice(scenes.items(), 400))
    assert sum(map(len, scenes.values())) < 25e6


def test_digit_scenes_show_every_digit_in_every_split(scenes):
    for split, count in builtin.SCENES.items():
        pictures, shown = decoded(scenes, split, "images"), decoded(scenes, split, "masks")
        assert pictures.shape == (count, 64, 64, 3) and shown.shape == (count, 64, 64)
        share = np.bincount(shown.ravel(), minlength=11) / shown.size
        assert len(share) == 11 and 0.8 < share[0] < 0.95 and (share[1:] > 0.004).all(), share
        digits = [len(np.unique(mask[mask > 0])) for mask in shown]
        assert min(digits) >= 1 and max(digits) == 5  # two to five are laid, the same digit perhaps twice


def test_no_digit_of_a_scene_can_be_told_from_another_by_brightness(scenes):
    pictures, shown = decoded(scenes, "train", "images").mean(-1), decoded(scenes, "train", "masks")
    ink = [pictures[shown == 1 + digit].mean() for digit in range(10)]
    assert max(ink) - min(ink) < 10 and min(ink) > pictures[shown == 0].mean() + 60


def test_digits_of_one_split_are_used_in_no_other(monkeypatch):
    from sklearn import datasets
    from sklearn.utils import Bunch

    found = datasets.load_digits()
    pools = builtin.division(found.target)
    assert sorted(np.concatenate(list(pools.values()))) == list(range(1797))
    for name, pool in pools.items():
        share = np.bincount(found.target[pool]) / np.bincount(found.target)
        assert np.abs(share - {"train": 0.7, "val": 0.1, "test": 0.2}[name]).max() < 0.02
    # With no ink on those of the other splits, a scene still shows all its digits; with no ink on its own, none.
    monkeypatch.setattr(builtin, "SCENES", {"train": 10, "val": 10, "test": 10})
    for split, pool in pools.items():
        for inked in (True, False):
            blank = found.images.copy()
            blank[np.isin(np.arange(1797), pool) != inked] = 0
            monkeypatch.setattr(datasets, "load_digits", lambda blank=blank: Bunch(images=blank, target=found.target))
            shown = decoded(dict(builtin.digit_scenes()), split, "masks")
            assert (shown.max((1, 2)) > 0).all() == inked and (shown > 0).any() == inked


def test_a_digit_stays_in_sight():
    canvas = builtin.Canvas(Image.new("RGB", (64, 64)))
    thing, half = (Image.new("L", (64, 64)) for _ in range(2))
    thing.paste(255, (10, 10, 30, 30))
    half.paste(255, (10, 10, 20, 30))
    colour = np.array([1, 2, 3])
    assert canvas.lay(thing, colour, digit=True) and not canvas.lay(half, colour, digit=True)
    half.paste(0, (10, 10, 16, 30))  # now a fifth
    assert canvas.lay(half, colour, digit=False)
    assert (canvas.owner > 0).sum() == 400 - 80 and canvas.picture.getpixel((12, 12)) == (1, 2, 3)
