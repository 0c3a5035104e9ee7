"""From an archive to arrays: fetch, clean and split, by values worked out by hand and through the commands."""

import csv
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sources import pack, picture, saved, two_classes

from stages.cleaning import exact_rules
from stages.core.errors import UserError
from stages.data import builtin, tiling
from stages.data.decode import Unreadable, decode, has_image_suffix
from stages.data.layouts import image_folder, tiny_imagenet
from stages.data.parallel import WORKERS, map_in_threads
from stages.split import SplitParams, draw

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"


def table(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def done(result: subprocess.CompletedProcess) -> subprocess.CompletedProcess:
    assert result.returncode == 0, result.stderr
    return result


def digest(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()}


# --- fetch


def test_digits_are_1797_images_and_the_same_bytes_each_time(project):
    done(project.run("fetch"))
    with zipfile.ZipFile(project.folder / "data/raw.zip") as archive:
        names = archive.namelist()
        assert {name: archive.read(name) for name in names} == dict(builtin.digits())
        assert decode(archive.read("digits/0/0000.png")).shape == (32, 32, 3)
    assert names == sorted(names) and len(names) == 1797
    assert Counter(name.split("/")[1] for name in names)["3"] == 183


def test_every_kind_of_source_gives_the_same_archive(project):
    files = two_classes(2) | {"dog/a b ü\n.png": picture(1, 2, 3)}
    litter = {"__MACOSX/cat/._000.png": b"x", "cat/.DS_Store": b"x", "dog/Thumbs.db": b"x", "._dog": b"x"}
    pack(project.source / "a.zip", dict(reversed(list((files | litter).items()))))
    for name, content in (files | litter).items():
        path = project.source / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for suffix in ("tar", "tar.gz", "tar.bz2", "tar.xz"):
        with tarfile.open(project.source / f"a.{suffix}", f"w:{suffix.partition('.')[2]}") as archive:
            archive.add(project.source / "folder", ".")
    made = set()
    for source in ("a.zip", "folder", "a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz"):
        done(project.set("data.source", source).run("fetch"))
        made.add((project.folder / "data/raw.zip").read_bytes())
    assert len(made) == 1
    with zipfile.ZipFile(io.BytesIO(made.pop())) as archive:
        assert archive.namelist() == sorted(files)
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}
        assert archive.read("cat/001.png") == files["cat/001.png"]
    assert not (project.folder / ".work/fetch").exists()


def large_archive(path: Path) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (2, 700, 700, 3), dtype=np.uint8)
    return pack(path, {f"{name}/1.png": saved(Image.fromarray(array), "PNG")
                       for name, array in zip(("cat", "dog"), noise, strict=True)}).read_bytes()


@pytest.mark.parametrize("ranges", [True, False])
def test_killed_download_goes_on_where_it_stopped(project, serve, ranges):
    content = large_archive(project.folder / "set.zip")
    server = serve(content, stall_after=1_500_000, ranges=ranges)
    project.set("data.source", server.url).set("data.sha256", hashlib.sha256(content).hexdigest())
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    first = subprocess.Popen([sys.executable, "-m", "stages.fetch"], cwd=project.folder, env=environment,
                             stderr=subprocess.DEVNULL)
    part = wait_for(lambda: next((path for path in project.folder.glob(".work/fetch/*.part")
                                  if path.stat().st_size >= 1_000_000), None))
    first.send_signal(signal.SIGKILL)
    first.wait()
    have = part.stat().st_size
    assert not (project.folder / "data/raw.zip").exists()
    done(project.run("fetch"))
    assert f"bytes={have}-" in server.asked
    assert zipfile.ZipFile(project.folder / "data/raw.zip").namelist() == ["cat/1.png", "dog/1.png"]
    assert not (project.folder / ".work/fetch").exists()


def wait_for(found, seconds: float = 15):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := found():
            return result
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def test_file_url_is_checked_and_read_in_place(project):
    archive = pack(project.folder / "set.zip", two_classes(2))
    project.set("data.source", archive.as_uri()).set("data.sha256", hashlib.sha256(archive.read_bytes()).hexdigest())
    done(project.run("fetch"))
    assert archive.exists() and len(zipfile.ZipFile(project.folder / "data/raw.zip").namelist()) == 4


# --- layouts


@pytest.mark.parametrize("names, expected", [
    (["cat/1.jpg", "dog/2.JPG", "notes.txt"], [("", "", "cat"), ("", "", "dog")]),
    (["a/b/cat/1.jpg", "a/b/dog/x/2.jpg", "a/README"], [("", "", "cat"), ("", "", "dog")]),
    (["train/cat/1.jpg", "valid/cat/2.jpg", "testing/dog/3.jpg"],
     [("train", "train", "cat"), ("val", "valid", "cat"), ("test", "testing", "dog")]),
    (["w/seg_train/seg_train/sea/1.jpg", "w/seg_test/seg_test/sea/2.jpg", "w/seg_pred/seg_pred/3.jpg"],
     [("train", "seg_train", "sea"), ("test", "seg_test", "sea"), ("unlabelled", "seg_pred", "")]),
    (["train/cat/1.jpg", "train/Unlabeled/2.jpg", "test/3.jpg"],
     [("train", "train", "cat"), ("unlabelled", "train", ""), ("unlabelled", "test", "")]),
    # A vehicle, not a split: it holds images, and other classes stand beside it.
    (["car/1.jpg", "train/2.jpg", "unlabelled/3.jpg"],
     [("", "", "car"), ("", "", "train"), ("unlabelled", "unlabelled", "")]),
])
def test_image_folder(names, expected):
    found = list(image_folder.samples(names, read=None))
    assert [(sample.split, sample.source_split, sample.target) for sample in found] == expected
    assert [sample.path for sample in found] == [name for name in names if has_image_suffix(name)]


def test_tiny_imagenet_val_is_the_test_set_and_classes_have_readable_names():
    files = {"t/words.txt": b"n01\tgoldfish, Carassius\nn02\tcrane\nn03\tcrane, bird\nn09\tgoldfish\n",
             "t/val/val_annotations.txt": b"val_0.JPEG\tn02\t0\t0\t1\t1\n",
             "t/train/n01/images/a.JPEG": b"", "t/train/n01/n01_boxes.txt": b"", "t/train/n03/images/b.JPEG": b"",
             "t/val/images/val_0.JPEG": b"", "t/test/images/test_0.JPEG": b""}
    found = [tuple(sample)[:4] for sample in tiny_imagenet.samples(sorted(files), files.get)]
    assert found == [("t/test/images/test_0.JPEG", "unlabelled", "test", ""),
                     ("t/train/n01/images/a.JPEG", "train", "train", "goldfish"),
                     ("t/train/n03/images/b.JPEG", "train", "train", "crane (n03)"),
                     ("t/val/images/val_0.JPEG", "test", "val", "crane (n02)")]


# --- bytes become RGB


def grey16(*values: int) -> Image.Image:
    return Image.fromarray(np.array([values], dtype=np.uint16))


@pytest.mark.parametrize("content, expected", [
    (saved(grey16(0, 257, 32896, 65535), "PNG"), [0, 1, 128, 255]),
    (saved(Image.fromarray(np.array([[0.0, 0.2, 0.5, 1.0]], np.float32)), "TIFF"), [0, 51, 128, 255]),
    (saved(Image.fromarray(np.array([[0, 100, 200, 250]], np.int32)), "TIFF"), [0, 100, 200, 250]),
    (saved(Image.fromarray(np.array([[-50, 0, 50, 205]], np.int32)), "TIFF"), [0, 50, 100, 255]),
    (saved(Image.fromarray(np.array([[0, 9, 99, 255]], np.uint8)), "PNG"), [0, 9, 99, 255]),
    (saved(Image.fromarray(np.array([[False, True, False, True]])), "PNG"), [0, 255, 0, 255]),
], ids=["16 bit", "fraction", "int in 0-255", "int below 0", "grey", "1 bit"])
def test_depths_become_eight_bits(content, expected):
    image = decode(content)
    assert image.dtype == np.uint8 and image.shape == (1, 4, 3)
    assert [list(pixel) for pixel in image[0]] == [[value] * 3 for value in expected]


def test_colour_modes():
    red = Image.new("RGB", (4, 4), (255, 0, 0))
    assert (decode(saved(red.convert("P"), "PNG")) == (255, 0, 0)).all()
    assert (decode(saved(red.convert("CMYK"), "TIFF")) == (255, 0, 0)).all()
    half = Image.new("RGBA", (4, 4), (255, 0, 0, 128))
    assert (decode(saved(half, "PNG")) == (255, 127, 127)).all()  # red over white, 128/255
    assert (decode(saved(Image.new("LA", (4, 4), (0, 0)), "PNG")) == 255).all()
    keyed = saved(red, "PNG", transparency=(255, 0, 0))
    assert (decode(keyed) == 255).all()
    lab = decode(saved(Image.new("LAB", (4, 4), (255, 128, 128)), "TIFF"))
    assert lab.shape == (4, 4, 3) and (lab >= 250).all()


def test_cmyk_jpeg_is_not_inverted():
    image = decode(saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95))
    assert abs(image.astype(int) - (255, 0, 0)).max() < 12


def test_exif_turns_and_the_first_frame_counts():
    image = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    assert (decode(saved(image, "PNG", exif=exif))[..., 0] == np.rot90(np.asarray(image), -1)).all()
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    assert (decode(saved(frames[0], "GIF", save_all=True, append_images=frames[1:])) == (255, 0, 0)).all()


@pytest.mark.parametrize("content", [
    b"", b"text", *(saved(Image.effect_noise((64, 64), 50), format)[:-200] for format in ("PNG", "JPEG")),
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n",
    b"BM" + bytes(12) + (40).to_bytes(4, "little") + (60000).to_bytes(4, "little") * 2 + b"\1\0\x18\0" + bytes(24),
], ids=["empty", "text", "cut PNG", "cut JPEG", "EPS", "3600 megapixels"])
def test_what_is_no_whole_image_is_unreadable(content):
    with pytest.raises(Unreadable) as caught:
        decode(content)
    assert "0x" not in str(caught.value)  # an address would differ between runs


def test_resize_rules():
    def sized(image: np.ndarray, size: int, resize: str) -> np.ndarray:
        return tiling.cut_image(image, tiling.Sizing(size, resize, scale=1.0, overlap=0))[0]

    image = np.zeros((2, 4, 3), np.uint8)
    image[:, 1:3] = 200  # the middle square
    assert (sized(image, 2, "crop") == 200).all()
    assert sized(image, 2, "squash")[0, 0, 0] == sized(image, 2, "squash")[1, 1, 2] != 200
    same = np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    assert (sized(same, 5, "squash") == same).all()


def test_each_keeps_order_and_few_items_in_memory():
    taken = []
    items = (taken.append(number) or number for number in range(1000))
    results = map_in_threads(lambda number: number * 2, items)
    assert [next(results) for _ in range(10)] == list(range(0, 20, 2))
    assert len(taken) <= 10 + 4 * WORKERS + 1
    assert list(results) == list(range(20, 2000, 2))


# --- clean


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


def test_keep_keeps_and_still_reports(project):
    pack(project.source / "a.zip", {"train/a/1.png": picture(1, 0, 0), "train/a/2.png": picture(1, 0, 0),
                                    "train/b/3.png": picture(2, 0, 0), "test/b/4.png": picture(2, 0, 0)})
    project.set("data.source", "a.zip").set("clean.leaks", "keep").set("clean.duplicates", "keep")
    done(project.run("fetch", "scan", "clean"))
    assert len(table(project.folder / "data/manifest.csv")) == 4
    found = [row for row in table(project.folder / "data/decisions.csv") if row["issue"] in exact_rules.ISSUES]
    assert [row["action"] for row in found] == ["kept", "kept"]


# --- split


def prepared(project, split: str) -> np.ndarray:
    return np.load(project.folder / f"data/prepared/{split}/images.npy", mmap_mode="r")


def index(project) -> dict[str, list[dict[str, str]]]:
    rows = table(project.folder / "data/prepared/index.csv")
    return {split: [row for row in rows if row["split"] == split] for split in ("train", "val", "test", "unlabelled")}


def test_split_is_stratified_stable_and_says_what_stands_where(project):
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
        arrays, targets = prepared(project, split), np.load(project.folder / f"data/prepared/{split}/targets.npy")
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


def test_the_sources_own_splits_stay_and_only_val_is_drawn(project):
    files = {f"train/{name}": content for name, content in two_classes(10).items()}
    pack(project.source / "a.zip", files | {"test/cat/x.png": picture(0, 0, 9), "test/dog/y.png": picture(0, 9, 9)})
    done(project.set("data.source", "a.zip").run("fetch", "scan", "clean", "split"))
    rows = index(project)
    assert [row["path"] for row in rows["test"]] == ["test/cat/x.png", "test/dog/y.png"]
    assert Counter(row["target"] for row in rows["val"]) == {"cat": 2, "dog": 2}  # 0.15 of 10, halves up


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


# --- real data


@pytest.mark.skipif(not REAL.is_dir(), reason="the real archives are not on this machine (../shared/data)")
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


CHOICE = {"image_size": 8, "resize": "squash", "scale": 1.0, "overlap": 0, "val_fraction": 0.2, "test_fraction": 0.25,
          "fold": 0, "labelled_fraction": 1.0, "seed": 0}


def drawn(rows: list[dict], **changes) -> dict[str, set[str]]:
    """Which paths land in which split."""
    rows = [dict(row) for row in rows]
    draw(rows, SplitParams(**CHOICE | changes), lambda row: row["target"])
    return {split: {row["path"] for row in rows if row["split"] == split} for split in ("train", "val", "test")}


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


def test_a_split_of_which_nothing_is_left_is_said(project):
    files = {f"train/{path}": content for path, content in two_classes(9).items()}
    pack(project.source / "a.zip", files | {"test/cat/0.png": b"no image"})
    result = project.set("data.source", "a.zip").run("fetch", "scan", "clean")
    assert result.returncode == 1 and "no test image is fit for use" in result.stderr.splitlines()[-1]


def test_folds_of_single_images_share_no_test_image_and_together_are_all():
    rows = [{"path": f"{name}/{number}", "split": "", "target": name, "group": "", "pixels": f"{name} {number}"}
            for name in ("cat", "dog") for number in range(20)]
    seen = [drawn(rows, fold=fold)["test"] for fold in range(4)]
    assert [len(found) for found in seen] == [10] * 4 and set().union(*seen) == {row["path"] for row in rows}
    assert all(sum(path.startswith("cat") for path in found) == 5 for found in seen)
