"""What the scan sees in images, and that nothing it is given stops it."""

import csv
import hashlib
import math
import os
import signal
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image, ImageFilter
from sources import pack, picture, saved, two_classes

from stages.cleaning import image_quality, label_errors
from stages.core import params
from stages.core.errors import UserError
from stages.data import parallel
from stages.data.decode import decode, decode_with_header
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
    return {row["path"]: row for row in rows} | {"": {"said": result.stderr.splitlines()[-1]}}


def thumbnails(project) -> np.ndarray:
    return np.load(project.folder / "data/thumbnails.npy")


def clouds(seed: int, size: tuple[int, int] = (48, 48)) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


# --- rows


def test_a_row_a_file_with_what_it_is_and_what_it_shows(project):
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


def test_frames_that_cannot_be_counted_are_none_and_the_first_is_read():
    frames = [clouds(seed) for seed in range(3)]
    content = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    whole, header = decode_with_header(content)
    assert header == ("GIF", "P", 3)
    for end in range(len(content) - 2500, len(content), 7):
        pixels, header = decode_with_header(content[:end])
        assert (pixels == whole).all() and 0 <= header.frames <= 3
    assert decode_with_header(saved(frames[0], "TIFF", save_all=True, append_images=frames[1:]))[1] == ("TIFF", "RGB", 3)


def test_the_same_bytes_again_with_more_processes(project):
    files = two_classes(40) | {"dog/broken.png": b"no image", "cat/copy.png": picture(10, 3, 0)}
    made = []
    for threads in ("1", "2"):
        scan(project, files, OMP_NUM_THREADS=threads)
        made.append([(project.folder / "data" / name).read_bytes() for name in ("scan.csv", "thumbnails.npy")])
        assert not (project.folder / ".work/scan").exists()
    assert made[0] == made[1]


def test_a_folder_of_bad_files_has_its_rows_all_the_same(project):
    rows = scan(project, {"cat/1.jpg": b"", "cat/2.png": b"<html>", "dog/3.gif": b"GIF89a"})
    assert rows.pop("")["said"].startswith("scan: 3 images, 3 unreadable; labels not judged: ")
    assert [row["issue"] for row in rows.values()] == ["unreadable"] * 3 and all(row["reason"] for row in rows.values())
    assert not thumbnails(project).any() and len(thumbnails(project)) == 3


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


# --- labels


def test_labels_of_training_images_are_judged_by_other_images(project):
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
    assert rows.pop("")["said"] == ("scan: 69 images, 1 unreadable; 96.8 % of 62 labels foretold from other images, "
                                    "2 suspect; classes left out, of too few images: 1")
    judged = {path: row for path, row in rows.items() if row["predicted"]}
    assert judged.keys() == {*files, "train/cat/wrong.png", "train/cat/wrong-again.png"}
    suspects = {path: row for path, row in judged.items() if row["suspect"] == "1"}
    assert suspects.keys() == {"train/cat/wrong.png", "train/cat/wrong-again.png"}
    assert all(row["predicted"] == "dog" and float(row["label_score"]) < 0.5 for row in suspects.values())
    assert all(row["predicted"] == row["target"] and row["suspect"] == "" for path, row in judged.items()
               if path not in suspects)
    assert not any(row[name] for path, row in rows.items() if path not in judged
                   for name in ("predicted", "label_score", "suspect"))


def test_too_few_images_are_not_judged(project):
    rows = scan(project, two_classes(24))
    assert rows.pop("")["said"] == ("scan: 48 images, 0 unreadable; labels not judged: that takes two classes of 5 "
                                    "different training images each, and 50 images in all")
    assert not any(row["predicted"] for row in rows.values())


def test_a_backbone_sees_every_labelled_image_once_in_batches():
    """What it sees decides: the thumbnails are all the same."""
    batches = []

    def backbone(squares: np.ndarray) -> np.ndarray:
        batches.append(len(squares))
        return squares.mean((1, 2)).astype(np.float32)

    labelled = label_errors.Labelled(backbone)
    numbers = range(0, 210, 3)  # of 210 rows
    for number in numbers:
        red = number % 2 ^ (number == 30)
        square = np.full((4, 4, 3), (number % 7 + 200 * red, 0, 0), np.uint8)
        labelled.add(number, "red" if number % 2 else "black", str(number), square)
    columns, said = labelled.judged(np.zeros((210, 32, 32, 3), np.uint8), folds=5, seed=0)
    assert batches == [32, 32, 6] and list(columns) == list(numbers)
    assert [number for number in numbers if columns[number]["suspect"]] == [30] and columns[30]["predicted"] == "red"
    assert said == "98.6 % of 70 labels foretold from other images, 1 suspect"


# --- quality


def strange() -> dict[str, Image.Image]:
    """Ordinary pictures, and one or more of each kind of finding."""
    ordinary = {f"{number}.png": clouds(number, (42 + number, 48)).filter(ImageFilter.UnsharpMask(3, 800))
                for number in range(12)}
    grain = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    return ordinary | {
        "dark.png": Image.fromarray(grain // 8), "light.png": Image.fromarray(244 + grain // 24),
        "white.png": Image.new("RGB", (48, 48), (255, 255, 250)), "black.png": Image.new("RGB", (48, 48), (0, 0, 9)),
        "blurry.png": clouds(3).filter(ImageFilter.GaussianBlur(9)),
        "wide.png": clouds(20, (140, 16)), "big.png": clouds(21, (300, 310)), "small.png": clouds(22, (4, 5)),
        "grey.png": clouds(23).convert("L"), "one.png": Image.new("RGB", (1, 1), (9, 200, 3)),
        "two colours.png": Image.fromarray(np.where(grain[..., :1] > 99, 200, 30).astype(np.uint8).repeat(3, 2)),
    }


def rows_of(pictures: dict[str, Image.Image]) -> list[dict[str, str]]:
    """Rows of scan.csv, as far as quality reads them."""
    decoded = {name: decode(saved(picture, "PNG")) for name, picture in pictures.items()}
    return [{"path": name, "height": str(pixels.shape[0]), "width": str(pixels.shape[1])}
            | {column: str(value) for column, value in image_quality.measure(pixels).items()}
            for name, pixels in decoded.items()]


def test_findings_are_those_of_cleanvision(tmp_path):
    from cleanvision import Imagelab

    pictures = strange()
    del pictures["two colours.png"]  # grey in its pixels, not in its mode
    for name, image in pictures.items():
        image.save(tmp_path / name)
    lab = Imagelab(data_path=str(tmp_path))
    theirs = {image_quality.THEIRS.get(issue, issue): issue for issue in image_quality.ISSUES}
    lab.find_issues({name: {} for name in theirs}, n_jobs=1, verbose=False)
    expected = {(Path(path).name, issue): row[f"{name}_score"] for path, row in lab.issues.iterrows()
                for name, issue in theirs.items() if row[f"is_{name}_issue"]}
    found = {(row["path"], issue): score for row, issue, score, threshold in image_quality.findings(rows_of(pictures))}
    assert found == pytest.approx(expected, abs=1e-9)
    assert {issue for _, issue in found} == set(image_quality.ISSUES)


def test_findings_have_their_thresholds_and_scores_below():
    found = list(image_quality.findings(rows_of(strange())))
    assert {(issue, threshold) for _, issue, _, threshold in found} == {
        ("dark", 0.32), ("light", 0.05), ("blurry", 0.29), ("low_information", 0.3), ("odd_size", 0.5),
        ("odd_aspect", 0.35), ("greyscale", 1.0)}
    assert all(0 <= score < threshold for _, _, score, threshold in found)
    kinds = {path: {issue for row, issue, _, _ in found if row["path"] == path} for path in strange()}
    assert not any(kinds[f"{number}.png"] for number in range(12))
    for path, issue in {"dark.png": "dark", "light.png": "light", "blurry.png": "blurry", "white.png": "light",
                        "black.png": "low_information", "wide.png": "odd_aspect", "big.png": "odd_size",
                        "small.png": "odd_size", "grey.png": "greyscale", "two colours.png": "greyscale"}.items():
        assert issue in kinds[path], path


def test_beside_many_of_one_size_a_pixel_more_is_not_odd():
    sizes = {f"{number}.png": clouds(number) for number in range(9)} | {"other.png": clouds(9, (48, 47)),
                                                                        "small.png": clouds(9, (20, 20))}
    found = [(row["path"], threshold) for row, issue, _, threshold in image_quality.findings(rows_of(sizes))
             if issue == "odd_size"]
    assert found == [("small.png", 0.5)]


def test_grey_is_nothing_odd_where_half_of_the_images_are():
    colour, grey = ({f"{name}{seed}": clouds(seed).convert(name) for seed in range(6)} for name in ("RGB", "L"))
    few = dict(islice(grey.items(), 5))
    assert Counter(issue for _, issue, _, _ in image_quality.findings(rows_of(colour | few)))["greyscale"] == 5
    assert not list(image_quality.findings(rows_of(colour | grey)))
    assert not list(image_quality.findings([]))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 3), (64, 64), (65, 64), (333, 100)], ids=str)
def test_measures_are_cleanvisions_own_numbers(size):
    from cleanvision.issue_managers.image_property import BlurrinessProperty, BrightnessProperty, EntropyProperty

    for seed, levels in enumerate((2, 9, 256)):
        image = Image.fromarray(np.random.default_rng(seed).integers(0, levels, (*size, 3), dtype=np.uint8))
        theirs = {name: value for rule in (BrightnessProperty("dark"), EntropyProperty(), BlurrinessProperty())
                  for name, value in rule.calculate(image).items()}
        ours = image_quality.measure(np.asarray(image))
        assert ours.pop("grey") == (size == (1, 1) and seed == 0 and len(set(image.getpixel((0, 0)))) == 1)
        assert ours == pytest.approx({name: theirs[name] for name in ours}, rel=1e-9, abs=1e-9)


# --- processes


def test_items_keep_their_order_and_few_are_taken_ahead(monkeypatch):
    monkeypatch.setattr(parallel, "WORKERS", 2)
    taken = []
    results = parallel.map_in_processes(math.sqrt, (taken.append(number) or number for number in range(1000)))
    assert [next(results) for _ in range(5)] == [math.sqrt(number) for number in range(5)]
    assert len(taken) == (4 * 2 + 1) * parallel.CHUNK
    assert list(results) == [math.sqrt(number) for number in range(5, 1000)]


def test_what_fails_in_a_process_is_said_here(monkeypatch):
    monkeypatch.setattr(parallel, "WORKERS", 2)
    with pytest.raises(ValueError, match="math domain error"):
        list(parallel.map_in_processes(math.sqrt, [1, -1]))
    with pytest.raises(UserError, match="the system ended one of the processes"):
        list(parallel.map_in_processes(os._exit, [1]))


@pytest.mark.parametrize("how, tracebacks", [(signal.SIGKILL, 0), (signal.SIGINT, 1)])
def test_processes_end_with_their_parent_without_a_word(how, tracebacks):
    script = ("import time; from stages.data import parallel; parallel.WORKERS = 2\n"
              "if __name__ == '__main__':\n"
              "    for _ in parallel.each(time.sleep, [0.01] * 100_000): print(flush=True)")
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[1], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, start_new_session=True)
    for _ in range(320):  # some seconds of one process's work: both have begun by then
        parent.stdout.readline()
    children = psutil.Process(parent.pid).children()  # these two, and the tracker that Python adds
    os.kill(parent.pid, how) if how == signal.SIGKILL else os.killpg(parent.pid, how)
    assert parent.communicate(timeout=30)[1].decode().count("Traceback") == tracebacks  # the parent's own
    assert len(children) == 3 and not psutil.wait_procs(children, timeout=30)[1]
