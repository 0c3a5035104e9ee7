"""scan, through the command: a row per file, checked labels, the same bytes with more processes."""

import csv
import hashlib

import numpy as np
import pytest
from PIL import Image
from sources import pack, picture, saved, two_classes

from stages.cleaning import image_quality
from stages.core import params
from stages.core.errors import UserError
from stages.scan import COLUMNS, ScanParams

CHOICE = {"backbone": "none", "weights": "none", "image_size": 96, "folds": 5, "seed": 0}


def scan(project, files: dict[str, bytes], **environment: str) -> dict[str, dict[str, str]]:
    """The rows of scan.csv by path, after fetch and scan of an archive of these files."""
    pack(project.source / "a.zip", files)
    result = project.set("data.source", "a.zip").run("fetch", "scan", env=environment)
    assert result.returncode == 0, result.stderr
    with open(project.folder / "data/scan.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == sorted(files)
    return {row["path"]: row for row in rows} | {"": {"summary": result.stderr.splitlines()[-1]}}


def thumbnails(project) -> np.ndarray:
    return np.load(project.folder / "data/thumbnails.npy")


def clouds(seed: int, size: tuple[int, int] = (48, 48)) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def test_every_file_has_a_row_with_its_header_and_hashes(project):
    upright = clouds(0, (20, 30))
    turned, exif = upright.transpose(Image.Transpose.ROTATE_90), Image.Exif()
    exif[0x0112] = 6
    files = {
        "train/cat/upright.png": saved(upright, "PNG"), "train/cat/turned.png": saved(turned, "PNG", exif=exif),
        "train/cat/deep.png": saved(Image.fromarray(np.full((9, 9), 32896, np.uint16)), "PNG"),
        "train/dog/cmyk.jpg": saved(Image.new("CMYK", (9, 9), (0, 255, 255, 0)), "JPEG", quality=95),
        "train/dog/palette.png": saved(picture_of((200, 100, 50)).convert("P", palette=Image.Palette.ADAPTIVE), "PNG"),
        "train/dog/two.gif": saved(picture_of((255, 0, 0)), "GIF", save_all=True,
                                   append_images=[picture_of((0, 0, 255))]),
        "test/dog/really-a-png.jpg": picture(1, 2, 3), "unlabelled/cut.jpg": picture(9, 9, 9, format="JPEG")[:300],
    }
    rows = scan(project, files)
    assert tuple(rows["train/cat/upright.png"]) == COLUMNS
    assert {path: (row["format"], row["mode"], row["frames"]) for path, row in rows.items() if path} == {
        "train/cat/upright.png": ("PNG", "RGB", "1"), "train/cat/turned.png": ("PNG", "RGB", "1"),
        "train/cat/deep.png": ("PNG", "I;16", "1"), "train/dog/cmyk.jpg": ("JPEG", "CMYK", "1"),
        "train/dog/palette.png": ("PNG", "P", "1"), "train/dog/two.gif": ("GIF", "P", "2"),
        "test/dog/really-a-png.jpg": ("PNG", "RGB", "1"), "unlabelled/cut.jpg": ("", "", "")}
    # Turned as EXIF says, it is the same picture, whatever the file.
    same = ("pixels", "hash", "mirror", "width", "height", *image_quality.COLUMNS)
    one, other = (rows[f"train/cat/{name}.png"] for name in ("upright", "turned"))
    assert [one[name] for name in same] == [other[name] for name in same] and one["sha256"] != other["sha256"]
    assert (one["width"], one["height"]) == ("20", "30")
    assert one["pixels"] == hashlib.sha256(b"20x30 " + upright.tobytes()).hexdigest()
    assert len(one["hash"]) == len(one["mirror"]) == 16 and int(one["hash"], 16) != int(one["mirror"], 16)
    stored = dict(zip(sorted(files), thumbnails(project), strict=True))
    assert stored["train/cat/deep.png"].min() == stored["train/cat/deep.png"].max() == 128
    assert abs(stored["train/dog/cmyk.jpg"].astype(int) - (255, 0, 0)).max() < 12
    assert abs(stored["train/dog/palette.png"].astype(int) - (200, 100, 50)).max() < 3
    assert (stored["train/dog/two.gif"] == (255, 0, 0)).all()
    cut = rows["unlabelled/cut.jpg"]
    content = files["unlabelled/cut.jpg"]
    assert {name: value for name, value in cut.items() if value and name != "reason"} == {
        "path": "unlabelled/cut.jpg", "split": "unlabelled", "source_split": "unlabelled", "bytes": "300",
        "sha256": hashlib.sha256(content).hexdigest(), "issue": "unreadable"}
    assert cut["reason"] and not stored["unlabelled/cut.jpg"].any()
    assert {row["issue"] for path, row in rows.items() if path} == {"", "unreadable"}
    assert rows["train/dog/cmyk.jpg"]["label"] == rows["train/dog/cmyk.jpg"]["target"] == "dog"


def picture_of(colour: tuple[int, int, int]) -> Image.Image:
    return Image.new("RGB", (9, 9), colour)


@pytest.mark.slow
def test_the_same_bytes_again_with_more_processes(project):
    files = two_classes(40) | {"dog/broken.png": b"no image", "cat/copy.png": picture(10, 3, 0)}
    made = []
    for threads in ("1", "2"):
        scan(project, files, OMP_NUM_THREADS=threads)
        made.append([(project.folder / "data" / name).read_bytes() for name in ("scan.csv", "thumbnails.npy")])
        assert not (project.folder / ".work/scan").exists()
    assert made[0] == made[1]


@pytest.mark.slow
def test_unreadable_files_have_rows_too(project):
    rows = scan(project, {"cat/1.jpg": b"", "cat/2.png": b"<html>", "dog/3.gif": b"GIF89a"})
    assert rows.pop("")["summary"].startswith("scan: 3 images, 3 unreadable; labels not checked: ")
    assert [row["issue"] for row in rows.values()] == ["unreadable"] * 3 and all(row["reason"] for row in rows.values())
    assert not thumbnails(project).any() and len(thumbnails(project)) == 3


@pytest.mark.slow
def test_no_image_and_wrong_params_are_one_line_each(project):
    pack(project.source / "a.zip", {"readme.txt": b"nothing here"})
    result = project.set("data.source", "a.zip").run("fetch", "scan")
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("scan: data/raw.zip holds no images where the layout image_folder looks for them; ")
    result = project.set("scan.backbone", "mobilenet_v2").run("scan")
    assert result.stderr == ("scan: params.yaml: scan: backbone is mobilenet_v2 and weights are none: a backbone needs "
                             "weights, and no other way; set both, or both to none\n")


@pytest.mark.parametrize("change", [{"folds": 1}, {"folds": 21}, {"image_size": 31}, {"image_size": 1025}, {"seed": -1},
                                    {"weights": "imagenet"}, {"backbone": ""}])
def test_params_out_of_range_are_refused(change):
    params.parse(ScanParams, CHOICE, "scan")
    with pytest.raises(UserError, match=f"^scan.*{next(iter(change))}"):
        params.parse(ScanParams, CHOICE | change, "scan")


@pytest.mark.slow
def test_labels_of_training_images_are_predicted_from_other_images(project):
    """Red cats and green dogs; one dog among the cats, twice; three owls, too few for five folds."""
    chance = np.random.default_rng(0)

    def shaded(*colour: int) -> bytes:
        noise = chance.integers(-40, 41, (16, 16, 3))
        return saved(Image.fromarray((np.array(colour) + noise).astype(np.uint8)), "PNG")

    files = {f"train/{name}/{number:02}.png": shaded(*colour) for number in range(30)
             for name, colour in (("cat", (200, 60, 60)), ("dog", (60, 200, 60)))}
    wrong = shaded(60, 200, 60)
    rows = scan(project, files | {
        "train/cat/wrong.png": wrong, "train/cat/wrong-again.png": wrong, "train/cat/broken.png": b"",
        **{f"train/owl/{number}.png": shaded(60, 60, 200) for number in range(3)},
        **{f"{place}/t.png": shaded(60, 200, 60) for place in ("test/cat", "test/dog", "unlabelled")}})
    assert rows.pop("")["summary"] == ("scan: 69 images, 1 unreadable; 96.8 % of 62 labels predicted from other "
                                       "images, 2 suspect; classes left out, of too few images: 1")
    checked = {path: row for path, row in rows.items() if row["predicted"]}
    assert checked.keys() == {*files, "train/cat/wrong.png", "train/cat/wrong-again.png"}
    suspects = {path: row for path, row in checked.items() if row["suspect"] == "1"}
    assert suspects.keys() == {"train/cat/wrong.png", "train/cat/wrong-again.png"}
    assert all(row["predicted"] == "dog" and float(row["label_score"]) < 0.5 for row in suspects.values())
    assert all(row["predicted"] == row["target"] and row["suspect"] == "" for path, row in checked.items()
               if path not in suspects)
    assert not any(row[name] for path, row in rows.items() if path not in checked
                   for name in ("predicted", "label_score", "suspect"))


@pytest.mark.slow
def test_labels_of_too_few_images_are_not_checked(project):
    rows = scan(project, two_classes(24))
    assert rows.pop("")["summary"] == ("scan: 48 images, 0 unreadable; labels not checked: that takes two classes of 5 "
                                    "different training images each, and 50 images in all")
    assert not any(row["predicted"] for row in rows.values())
