"""Masks that predict.py draws, and where it writes them."""

import csv
import io
import os
import shutil
from pathlib import Path

import numpy as np
import on_device
import onnxruntime
import pytest
from on_device import CLASSES, COLOURS, model, records, run, shipped
from PIL import Image

from stages.data import tiling
from stages.data.decode import decode

device, photos = on_device.device, on_device.photos  # fixtures


def test_a_mask_is_brought_back_to_the_picture_by_hand():
    small = np.uint8([[0, 1], [2, 3]])
    squash, crop, tiles = (shipped.Card(CLASSES, 2, resize, 0.5, 0, "segmentation", COLOURS)
                           for resize in ("squash", "crop", "tiles"))
    assert shipped.enlarge(small, 4, 6, squash).tolist() == [[0, 0, 0, 1, 1, 1]] * 2 + [[2, 2, 2, 3, 3, 3]] * 2
    assert shipped.enlarge(small, 3, 4, tiles).tolist() == [[0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    assert shipped.enlarge(small, 2, 5, crop).tolist() == [[255, 0, 1, 255, 255], [255, 2, 3, 255, 255]]
    assert shipped.enlarge(small, 6, 2, crop).tolist() == [[255] * 2] * 2 + [[0, 1], [2, 3]] + [[255] * 2] * 2


def test_a_mask_of_an_oblong_crop_by_hand():
    crop = shipped.Card(CLASSES, [2, 4], "crop", 1.0, 0, "segmentation", COLOURS)
    small = np.uint8([[0, 1, 2, 3], [3, 2, 1, 0]])
    assert shipped.enlarge(small, 4, 4, crop).tolist() == [[255] * 4, *small.tolist(), [255] * 4]
    assert shipped.enlarge(small, 2, 6, crop).tolist() == [[255, *row, 255] for row in small.tolist()]


@pytest.mark.parametrize("resize", ["squash", "crop", "tiles"])
def test_oblong_masks(tmp_path, resize):
    network = model(tmp_path / "oblong.onnx", "segmentation", size=[12, 20], resize=resize, overlap=3)
    picture = np.random.default_rng(0).integers(0, 256, (31, 47, 3), np.uint8)
    sizing = tiling.Sizing(12, 20, resize, 1.0, 3)
    logits = onnxruntime.InferenceSession(network).run(None, {"image": tiling.cut_image(picture, sizing)})[0]
    seen = tiling.blend(np.array(tiling.places(31, 47, 0, sizing)), logits).argmax(0)
    record = shipped.Model(network, threads=1).answer(picture)
    shares = 100 * np.bincount(seen.ravel(), minlength=4) / seen.size
    assert {entry["class"]: entry["share"] for entry in record["shares"]} == pytest.approx(
        dict(zip(CLASSES, shares, strict=True)), abs=1e-4)
    assert record["mask"].shape == (31, 47) and (record["mask"] == 255).any() == (resize == "crop")
    if resize == "tiles":
        assert (record["mask"] == seen).all()


@pytest.fixture
def drawer(device) -> Path:
    """The device with a model for segmentation in tiles."""
    model(device / "student.int8.onnx", "segmentation", resize="tiles", scale=0.5, overlap=4)
    return device


def classes_by_hand(path: Path, network: Path, sizing: tiling.Sizing) -> np.ndarray:
    picture = decode(path.read_bytes())
    logits = onnxruntime.InferenceSession(network).run(None, {"image": tiling.cut_image(picture, sizing)})[0]
    return tiling.blend(np.array(tiling.places(*picture.shape[:2], 0, sizing)), logits).argmax(0)


def test_masks_are_the_blended_answers_in_the_cards_colours(drawer, photos, tmp_path):
    done = run(drawer, photos, "--format", "jsonl", cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr
    assert {path.relative_to(tmp_path / "masks").as_posix() for path in tmp_path.rglob("masks/**/*.png")} == {
        "legend.png", "0.png", "2.png", "4.png", "6.png", "more/1.png", "more/3.png", "more/5.png"}
    for record in records(done):
        classes = classes_by_hand(Path(record["path"]), drawer / "student.int8.onnx",
                                  tiling.Sizing(16, 16, "tiles", 0.5, 4))
        shares = 100 * np.bincount(classes.ravel(), minlength=4) / classes.size
        assert {entry["class"]: entry["share"] for entry in record["shares"]} == pytest.approx(
            dict(zip(CLASSES, shares, strict=True)), abs=1e-4)
        assert [entry["share"] for entry in record["shares"]] == sorted(shares.round(4).tolist(), reverse=True)
        assert {entry["class"]: entry["colour"] for entry in record["shares"]} == {
            "ape": "#000000", "bee": "#e69f00", "cat": "#56b4e9", "dög": "#009e73"}
        with Image.open(tmp_path / record["mask"]) as mask:
            assert mask.mode == "P" and mask.size == (record["width"], record["height"])
            indices, colours = np.array(mask), np.array(mask.convert("RGB"))
        rows, columns = (((np.arange(whole) + 0.5) * seen / whole).astype(int)
                         for whole, seen in zip(indices.shape, classes.shape, strict=True))
        assert np.array_equal(indices, classes[rows][:, columns])
        assert np.array_equal(colours, np.uint8(COLOURS)[indices])
    with Image.open(tmp_path / "masks/legend.png") as legend:
        found = {colour for _, colour in legend.convert("RGB").getcolors(9999)}
    assert {tuple(colour) for colour in COLOURS} <= found


def test_what_crop_leaves_out_is_transparent(device, photos, tmp_path):
    network = model(device / "crop.onnx", "segmentation", resize="crop")
    record, = records(run(device, photos / "more/3.png", "--model", network, "--format", "jsonl", cwd=tmp_path))
    with Image.open(tmp_path / record["mask"]) as mask:  # 130×100
        indices, alpha = np.array(mask), np.array(mask.convert("RGBA"))[..., 3]
    assert (indices[:, :15] == 255).all() and (indices[:, 115:] == 255).all() and indices[:, 15:115].max() < 4
    assert np.array_equal(alpha == 0, indices == 255)
    assert sum(entry["share"] for entry in record["shares"]) == pytest.approx(100, abs=1e-3)


def test_a_mask_overwrites_nothing_but_itself(drawer, photos, tmp_path):
    """Pictures of one name, a picture in the folder of masks, and another run."""
    shutil.copy(photos / "0.png", photos / "more/0.png")
    shutil.copy(photos / "2.webp", photos / "legend.webp")
    before = {path: path.read_bytes() for path in photos.rglob("*.*")}
    asked = [photos / "0.png", photos / "more/0.png", photos / "legend.webp", "--masks", photos, "--format", "jsonl"]
    found = [record["mask"] for record in records(run(drawer, *asked))]
    assert [Path(mask).name for mask in found] == ["0-2.png", "0-3.png", "legend-2.png"]
    assert (photos / "legend.png").exists()
    assert {path: path.read_bytes() for path in before} == before
    made = {path: path.read_bytes() for path in photos.rglob("*.*")}
    assert [record["mask"] for record in records(run(drawer, *asked))] == found  # the same again, not more of them
    assert {path: path.read_bytes() for path in photos.rglob("*.*")} == made
    other, = records(run(drawer, photos / "more/0.png", *asked[3:]))
    assert other["mask"] == found[1]


@pytest.mark.slow
def test_masks_and_output_go_into_one_folder(drawer, photos, tmp_path):
    asked = (photos, "--format", "csv", "--masks", tmp_path / "there", "--output")
    (tmp_path / "there").mkdir()
    done = run(drawer, *asked, tmp_path / "there/answers.csv")
    assert done.returncode == 0 and not done.stderr
    assert (tmp_path / "there/answers.csv").read_bytes() == run(drawer, *asked[:-1]).stdout.encode()
    for path in (tmp_path / "there").rglob("*.png"):
        Image.open(path).load()
    assert len(list((tmp_path / "there").rglob("*"))) == 7 + 1 + 1 + 1  # masks, their legend and folder, the answers


@pytest.mark.slow
def test_names_too_long_or_not_utf8_still_get_a_mask(drawer, photos, tmp_path):
    for name in (b"long" * 62 + b".png", b"\xe9.png"):
        path = Path(os.fsdecode(os.fsencode(photos) + b"/" + name))
        path.write_bytes((photos / "0.png").read_bytes())
        record, = records(run(drawer, path, "--format", "jsonl", cwd=tmp_path))
        assert (tmp_path / record["mask"]).is_file()


@pytest.mark.slow
def test_masks_in_text_and_csv_and_beside_a_teachers(drawer, photos, tmp_path):
    teacher = model(drawer / "teacher.onnx", "segmentation", seed=1, resize="tiles", overlap=4, scale=0.5)
    asked = (photos, "--compare", teacher, "--format")
    found, alike = records(run(drawer, *asked, "jsonl", cwd=tmp_path)), []
    for record in found:
        mine, other = (classes_by_hand(Path(record["path"]), path, tiling.Sizing(16, 16, "tiles", 0.5, 4))
                       for path in (drawer / "student.int8.onnx", teacher))
        alike.append((mine == other).ravel())
        assert record["compare"]["agreement"] == pytest.approx(100 * alike[-1].mean(), abs=1e-4)
        assert record["compare"]["shares"][0]["class"] == CLASSES[np.bincount(other.ravel()).argmax()]
    done = run(drawer, *asked, "csv", cwd=tmp_path)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(row["path"], row["class"], float(row["share"]), row["mask"]) for row in rows] == [
        (record["path"], entry["class"], entry["share"], record["mask"])
        for record in found for entry in record["shares"]]
    assert f" {100 * np.concatenate(alike).mean():.2f} % of the pixels" in done.stderr  # large pictures have more
    lines = run(drawer, *asked, "text", cwd=tmp_path).stdout.splitlines()
    for line, record in zip(lines, found, strict=True):
        assert f"mask: {record['mask']}" in line and f"{record['shares'][0]['share']:.2f} %" in line
