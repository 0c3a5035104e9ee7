"""What predict.py says of pictures, in every format, and of two models."""

import csv
import io
import itertools
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import on_device
import onnxruntime
import pytest
from on_device import CLASSES, in_one_line, model, records, run, shipped
from PIL import Image

from stages.data import tiling
from stages.data.decode import decode

device, photos = on_device.device, on_device.photos  # fixtures


def by_hand(path: Path, network: Path) -> np.ndarray:
    """float64 (C,): what onnxruntime gives for a picture that was read as the training images are."""
    square = tiling.cut_image(decode(path.read_bytes()), tiling.Sizing(16, 16, "squash", 1.0, 0))
    logits = onnxruntime.InferenceSession(network).run(None, {"image": square})[0][0].astype(np.float64)
    return np.exp(logits) / np.exp(logits).sum()


def test_probabilities_are_onnxruntimes_in_order_for_file_folder_and_glob(device, photos):
    done = run(device, photos, "--format", "jsonl", "--topk", 9)
    assert done.returncode == 0 and not done.stderr
    found = records(done)
    assert [record["path"] for record in found] == [
        str(photos / name) for name in ("0.png", "2.webp", "4.jpg", "6.png", "more/1.jpg", "more/3.png", "more/5.webp")]
    for record in found:
        expected = by_hand(Path(record["path"]), device / "student.int8.onnx")
        assert [entry["class"] for entry in record["top"]] == [CLASSES[number] for number in np.argsort(-expected)]
        assert [entry["probability"] for entry in record["top"]] == pytest.approx(np.sort(expected)[::-1], abs=1e-6)
        assert (record["width"], record["height"]) == Image.open(record["path"]).size
    assert len({record["top"][0]["class"] for record in found}) > 1  # or the order of pictures would not be tested

    whole = records(run(device, *(record["path"] for record in found), "--format", "jsonl", "--topk", 9))
    assert whole == found
    matching = records(run(device, "photos/**/[1-5].*", "--format", "jsonl", "--topk", 1))
    assert [record["path"] for record in matching] == [
        f"photos/{name}" for name in ("2.webp", "4.jpg", "more/1.jpg", "more/3.png", "more/5.webp")]
    assert [record["top"] for record in matching] == [
        record["top"][:1] for record in found if Path(record["path"]).stem in "12345"]


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_oblong_inputs(tmp_path, photos, resize):
    network = model(tmp_path / "oblong.onnx", size=[12, 20], resize=resize)
    session, ours = onnxruntime.InferenceSession(network), shipped.Model(network, threads=1)
    for path in sorted(photos.rglob("*.*")):
        picture = path.read_bytes()
        image = tiling.cut_image(decode(picture), tiling.Sizing(12, 20, resize, 1.0, 0))
        assert image.shape == (1, 12, 20, 3)
        logits = session.run(None, {"image": image})[0][0].astype(np.float64)
        expected = np.exp(logits) / np.exp(logits).sum()
        assert {entry["class"]: entry["probability"] for entry in ours.answer(picture)["top"]} == pytest.approx(
            dict(zip(CLASSES, expected, strict=True)), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 2, 7, 100])
@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_answers_do_not_depend_on_the_batch(device, photos, task, batch):
    (photos / "1.png").write_bytes(b"no picture")
    options = {"resize": "tiles", "overlap": 3} if task == "segmentation" else {}
    network = model(device / "other.onnx", task, **options)
    one, some = (run(device, photos, photos / "1.png", "--model", network, "--format", "jsonl", "--batch", count)
                 for count in (16, batch))
    assert one.stdout == some.stdout and len(records(some)) == 9 and some.returncode == 1


def test_formats_say_the_same(device, photos):
    bad = photos / "bad\n.png"
    bad.write_bytes(b"")
    said = {name: run(device, "photos", "--format", name, "--topk", 2) for name in shipped.FORMATS}
    assert {done.returncode for done in said.values()} == {1}
    assert {done.stderr for done in said.values()} == {"predict: 1 of 8 could not be read\n"}
    found = json.loads(said["json"].stdout)
    assert found == records(said["jsonl"])
    assert [record for record in found if "error" in record] == [{"path": "photos/bad\n.png", "error": "empty file"}]

    rows = list(csv.DictReader(io.StringIO(said["csv"].stdout), strict=True))
    assert list(rows[0]) == ["path", "rank", "class", "probability", "error"] and "\r" not in said["csv"].stdout
    expected = [(record["path"], str(rank), entry["class"], f"{entry['probability']:.6f}", "")
                for record in found for rank, entry in enumerate(record.get("top", []), 1)]
    assert [tuple(row.values()) for row in rows if row["rank"]] == expected
    assert [row for row in rows if row["error"]] == [
        {"path": "photos/bad\n.png", "rank": "", "class": "", "probability": "", "error": "empty file"}]

    lines = said["text"].stdout.splitlines()
    assert len(lines) == 8 and len({line.index("%") for line in lines if "%" in line}) == 1  # aligned
    for line, record in zip(lines, found, strict=True):
        if "error" in record:
            assert line == "photos/bad\\n.png    error: empty file"  # as wide as photos/more/5.webp
        else:
            first = record["top"][0]
            assert line.startswith(record["path"]) and f"{100 * first['probability']:.2f} %" in line
            assert line.split()[1] == first["class"]


def test_no_record_is_still_json():
    table = shipped.Layout(CLASSES, False, False, 5, 0)
    assert json.loads("".join(shipped.as_json([], table))) == []


@pytest.mark.slow
def test_models_folder_beside_it_and_any_working_directory(device, photos):
    (device / "models").mkdir()
    (device / "student.int8.onnx").rename(device / "models/student.int8.onnx")
    found = records(run(device, "0.png", "--format", "jsonl", cwd=photos))
    assert found[0]["path"] == "0.png" and found[0]["top"]


def test_compare_says_where_two_models_differ(device, photos):
    teacher = model(device / "teacher.onnx", seed=1)
    done = run(device, photos, "--compare", teacher, "--format", "jsonl", "--topk", 2)
    found = records(done)
    for record in found:
        expected = by_hand(Path(record["path"]), teacher)
        assert record["compare"]["model"] == "teacher.onnx"
        assert [entry["probability"] for entry in record["compare"]["top"]] == pytest.approx(
            np.sort(expected)[:-3:-1], abs=1e-6)
        assert record["compare"]["same"] == (record["top"][0]["class"] == CLASSES[expected.argmax()])
    same = sum(record["compare"]["same"] for record in found)
    assert 0 < same < 7
    line, = done.stderr.splitlines()
    assert f"{100 * same / 7:.2f} % of the pictures" in line and line.count(" ms") == 2 and "teacher.onnx" in line

    text = run(device, photos, "--compare", teacher).stdout
    assert text.count("= teacher.onnx") == same and text.count("≠ teacher.onnx") == 7 - same
    rows = list(csv.DictReader(io.StringIO(run(device, photos, "--compare", teacher, "--format", "csv").stdout)))
    assert [row["compare_class"] for row in rows if row["rank"] == "1"] == [
        record["compare"]["top"][0]["class"] for record in found]


def test_the_first_run_of_a_model_is_not_timed(device, photos, monkeypatch, capsys):
    clock = [0.0]

    class Cold(shipped.Model):
        """Takes a hundred seconds the first time, and from then on one."""

        def __init__(self, *asked):
            super().__init__(*asked)
            session, times = self.session, itertools.chain([100], itertools.repeat(1))

            def run(*asked):
                clock[0] += next(times)
                return session.run(*asked)

            self.session = types.SimpleNamespace(run=run)

    monkeypatch.setattr(shipped, "Model", Cold)
    monkeypatch.setattr(shipped, "time", types.SimpleNamespace(perf_counter=lambda: clock[0]))
    student, teacher = device / "student.int8.onnx", model(device / "teacher.onnx")
    monkeypatch.setattr(sys, "argv", ["predict.py", str(photos), "--model", str(student), "--compare", str(teacher)])
    assert shipped.predict(shipped.parse_arguments()) == 0
    assert "student.int8.onnx 1000.00 ms, teacher.onnx 1000.00 ms a picture" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("card", [{"classes": [*CLASSES[:3], "eel"]}, {"resize": "crop"}, {"size": 8},
                                  {"kind": "segmentation"}])
def test_models_of_different_kinds_are_not_compared(device, photos, card):
    other = model(device / "other.onnx", **card)
    in_one_line(run(device, photos, "--compare", other), "can't be compared")


def test_an_answer_that_is_no_number_is_an_error(device, photos):
    network = model(device / "nan.onnx", gain=np.nan)
    record, = records(run(device, photos / "0.png", "--model", network, "--format", "jsonl"))
    assert "not finite" in record["error"]


MEASURED = """
import sys, predict
status = predict.main()
line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print("peak", int(line.split()[1]) * 1024 // 10**6, file=sys.stderr)
sys.exit(status)
"""


def peak(device: Path, *arguments: object) -> int:
    """MB that a run needs at most."""
    done = subprocess.run([sys.executable, "-c", MEASURED, *map(str, arguments), "--threads", "1"], cwd=device,
                          capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(device)})
    assert done.returncode == 0 and "error" not in done.stdout, done
    return int(done.stderr.split()[-1])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to tell")
@pytest.mark.parametrize("resize", ["squash", "tiles"])
def test_fifty_megapixels_need_their_own_memory_and_no_more(device, tmp_path, resize):
    """Pillow holds a pixel in 4 bytes; the mask needs 1 more, at most twice at a time."""
    Image.new("RGB", (8660, 5800), (90, 120, 30)).save(tmp_path / "large.jpg")
    model(device / "student.int8.onnx", "segmentation", size=512, resize=resize, scale=0.1)
    Image.new("RGB", (9, 9)).save(tmp_path / "small.png")
    small, large = (peak(device, tmp_path / name) for name in ("small.png", "large.jpg"))
    assert 150 < large - small < 330


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to tell")
def test_memory_does_not_grow_with_the_number_of_pictures(device, tmp_path):
    Image.new("RGBA", (3000, 2000), (90, 120, 30, 99)).save(tmp_path / "large.png", compress_level=1)
    one, many = (peak(device, *[tmp_path / "large.png"] * count, "--batch", 4) for count in (1, 12))
    assert many < one + 15
