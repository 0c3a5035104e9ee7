"""predict.py as a user runs it: copied alone beside a model into an empty folder, on pictures of every kind."""

import ast
import contextlib
import csv
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import types
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import ROOT
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from sources import saved
from strange import corpus

import predict
from stages.core.errors import one_line
from stages.data import tiling
from stages.data.decode import Unreadable, decode

CLASSES = ["ape", "bee", "cat", "dög"]
COLOURS = [[0, 0, 0], [230, 159, 0], [86, 180, 233], [0, 158, 115]]
FILES = corpus()


def model(path: Path, kind: str = "classification", seed: int = 8, size: int = 16, batch: int | str = "batch",
          gain: float = 1.0, **card) -> Path:
    """A convolution of fixed random weights on uint8 (N,size,size,3).

    card: what its metadata say otherwise; a None is left out. gain: of the weights.
    """
    masks, random = kind == "segmentation", np.random.default_rng(seed)
    constants = {"mean": np.full((1, 3, 1, 1), 128, np.float32), "std": np.full((1, 3, 1, 1), 64, np.float32),
                 "kernels": random.normal(0, gain, (4 if masks else 8, 3, 3, 3)).astype(np.float32)}
    nodes = [helper.make_node("Transpose", ["image"], ["turned"], perm=[0, 3, 1, 2]),
             helper.make_node("Cast", ["turned"], ["float"], to=TensorProto.FLOAT),
             helper.make_node("Sub", ["float", "mean"], ["centred"]),
             helper.make_node("Div", ["centred", "std"], ["normal"]),
             helper.make_node("Conv", ["normal", "kernels"], ["logits" if masks else "maps"], pads=[1] * 4)]
    if not masks:
        constants["weights"] = random.normal(0, gain, (8, 4)).astype(np.float32)
        nodes += [helper.make_node("Relu", ["maps"], ["bent"]),
                  helper.make_node("GlobalAveragePool", ["bent"], ["pooled"]),
                  helper.make_node("Flatten", ["pooled"], ["flat"]),
                  helper.make_node("Gemm", ["flat", "weights"], ["logits"])]
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("image", TensorProto.UINT8, [batch, size, size, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 4, *[size] * 2 * masks])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    card = {"classes": CLASSES, "image_size": size, "resize": "squash", "scale": 1.0, "overlap": 0, "task": kind,
            "colours": COLOURS if masks else []} | card
    for key, value in card.items():
        if value is not None:
            made.metadata_props.add(key=key, value=value if isinstance(value, str) else json.dumps(value))
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(made, path)
    return path


@pytest.fixture
def device(tmp_path) -> Path:
    """A folder with predict.py and a student, and nothing else."""
    folder = tmp_path / "device"
    model(folder / "student.int8.onnx")
    shutil.copy(ROOT / "predict.py", folder)
    return folder


@pytest.fixture
def photos(tmp_path) -> Path:
    """A folder of seven pictures, of several sizes and formats, at two depths."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    random = np.random.default_rng(1)
    for number, (height, width) in enumerate([(16, 16), (40, 23), (7, 90), (100, 130), (1, 1), (33, 33), (24, 20)]):
        small = Image.fromarray(random.integers(0, 256, (3, 4, 3), np.uint8))
        place = folder / ("more" if number % 2 else "") / f"{number}.{('png', 'jpg', 'webp')[number % 3]}"
        small.resize((width, height), Image.Resampling.BICUBIC).save(place)
    return folder


def run(device: Path, *arguments: object, **options) -> subprocess.CompletedProcess:
    """As a user does, in a process that sees no folder but its own. options go to subprocess.run."""
    options = {"cwd": device.parent, "capture_output": True, "text": True, "encoding": "utf-8",
               "errors": "surrogateescape"} | options
    return subprocess.run([sys.executable, "-I", device / "predict.py", *map(str, arguments), "--threads", "1"],
                          **options)


@contextlib.contextmanager
def started(device: Path, *arguments: object):
    """The same as a process to talk to; killed after a minute, so that a test can't wait for ever."""
    asked = [sys.executable, "-I", device / "predict.py", *arguments, "--threads", "1"]
    with subprocess.Popen(asked, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        watch = threading.Timer(60, process.kill)
        watch.start()
        try:
            yield process
        finally:
            watch.cancel()
            process.kill()


def records(done: subprocess.CompletedProcess) -> list[dict]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def by_hand(path: Path, network: Path) -> np.ndarray:
    """float64 (C,): what onnxruntime gives for a picture that was read as the training images are."""
    square = tiling.cut_image(decode(path.read_bytes()), tiling.Sizing(16, "squash", 1.0, 0))
    logits = onnxruntime.InferenceSession(network).run(None, {"image": square})[0][0].astype(np.float64)
    return np.exp(logits) / np.exp(logits).sum()


def in_one_line(done: subprocess.CompletedProcess, *words: str) -> None:
    """Nothing was done, and why."""
    line, = done.stderr.splitlines()
    assert done.returncode == 2 and line.startswith("predict: ") and all(word in line for word in words), done
    assert not done.stdout


# ── It stands alone ──

def test_it_imports_three_packages_and_nothing_of_ours():
    tree = ast.parse((ROOT / "predict.py").read_text(encoding="utf-8"))
    named = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    named |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in named} - sys.stdlib_module_names == {"numpy", "PIL", "onnxruntime"}


def test_a_missing_package_is_named(device):
    code = "import sys, runpy; sys.modules['{}'] = None; sys.argv = ['predict.py', 'x']; runpy.run_path('predict.py', "
    for package in ("numpy", "PIL", "onnxruntime"):
        done = subprocess.run([sys.executable, "-I", "-c", code.format(package) + "run_name='__main__')"], cwd=device,
                              capture_output=True, text=True)
        in_one_line(done, package, "pip install onnxruntime numpy pillow")


# ── The same pixels as in training ──

@pytest.mark.parametrize("strip", [50, predict.STRIP])
@pytest.mark.parametrize("kind", FILES)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_pixels_are_those_of_training_or_both_refuse(kind, strip, monkeypatch):
    monkeypatch.setattr(predict, "STRIP", strip)  # pixels: so that small pictures too are read in several parts
    content = FILES[kind].content
    try:
        expected = decode(content)
    except Unreadable as error:
        with pytest.raises(predict.Unreadable) as refused:
            predict.decode(content)
        assert one_line(refused.value) == one_line(error)
    else:
        assert np.array_equal(np.asarray(predict.decode(content)), expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "F", "I;16"])
def test_every_mode_is_converted_in_strips_as_it_is_whole(mode, monkeypatch):
    monkeypatch.setattr(predict, "STRIP", 100)
    noise = np.random.default_rng(2).integers(0, 256, (41, 30, 4), np.uint8)
    numbers = {"I": noise[..., 0].astype(np.int32) * 1000 - 9, "F": noise[..., 0] * np.float32(1.7),
               "I;16": noise[..., 0].astype(np.uint16) * 200}
    image = Image.fromarray(numbers[mode]) if mode in numbers else (
        Image.fromarray(noise[..., :3]).convert("RGB") if mode != "RGBA" else Image.fromarray(noise))
    if mode == "LAB":
        image = Image.merge("LAB", image.split())
    elif mode == "PA":
        image = image.quantize(9).convert("PA")
    elif mode not in numbers and mode not in ("RGB", "RGBA"):
        image = image.convert(mode)
    content = saved(image, "TIFF")
    assert np.array_equal(np.asarray(predict.decode(content)), decode(content))


SIZINGS = [(16, "squash", 1.0, 0), (16, "crop", 1.0, 0), (16, "tiles", 1.0, 0), (16, "tiles", 0.5, 5),
           (16, "tiles", 0.37, 15), (9, "tiles", 1.0, 4)]


def card_of(sizing: tiling.Sizing) -> predict.Card:
    return predict.Card(CLASSES, sizing.size, sizing.resize, sizing.scale, sizing.overlap, "segmentation", COLOURS)


@pytest.mark.parametrize("sizing", [tiling.Sizing(*sizing) for sizing in SIZINGS])
@pytest.mark.parametrize(("height", "width"), list(itertools.product((1, 2, 9, 16, 40), (1, 15, 16, 71))))
def test_squares_are_those_of_training_and_answers_blend_the_same(sizing, height, width):
    random, card = np.random.default_rng(height * 100 + width), card_of(sizing)
    picture = random.integers(0, 256, (height, width, 3), np.uint8)
    squares = list(predict.squares(predict.scaled(Image.fromarray(picture), card), card))
    assert np.array_equal(np.stack([square for *_, square in squares]), tiling.cut_image(picture, sizing))
    rows = np.array(tiling.places(height, width, 0, sizing))
    assert [[top, left] for top, left, _ in squares] == rows[:, 1:3].tolist()

    logits = random.normal(size=(len(rows), 4, sizing.size, sizing.size)).astype(np.float32)
    classes = predict.ClassMap(*rows[0, 3:], card)
    for (top, left, _), some in zip(squares, logits, strict=True):
        classes.add(top, left, some)
    expected = tiling.blend(rows, logits).argmax(0)
    assert np.array_equal(classes.done(), expected)
    assert classes.counts.tolist() == np.bincount(expected.ravel(), minlength=4).tolist()


def test_a_mask_is_brought_back_to_the_picture_by_hand():
    small = np.uint8([[0, 1], [2, 3]])
    squash, crop, tiles = (card_of(tiling.Sizing(2, resize, 0.5, 0)) for resize in ("squash", "crop", "tiles"))
    assert predict.enlarged(small, 4, 6, squash).tolist() == [[0, 0, 0, 1, 1, 1]] * 2 + [[2, 2, 2, 3, 3, 3]] * 2
    assert predict.enlarged(small, 3, 4, tiles).tolist() == [[0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    assert predict.enlarged(small, 2, 5, crop).tolist() == [[255, 0, 1, 255, 255], [255, 2, 3, 255, 255]]
    assert predict.enlarged(small, 6, 2, crop).tolist() == [[255] * 2] * 2 + [[0, 1], [2, 3]] + [[255] * 2] * 2


# ── What it says of pictures ──

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
    said = {name: run(device, "photos", "--format", name, "--topk", 2) for name in predict.FORMATS}
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
    table = predict.Table(CLASSES, False, False, 5, 0)
    assert json.loads("".join(predict.as_json([], table))) == []


def test_models_folder_beside_it_and_any_working_directory(device, photos):
    (device / "models").mkdir()
    (device / "student.int8.onnx").rename(device / "models/student.int8.onnx")
    found = records(run(device, "0.png", "--format", "jsonl", cwd=photos))
    assert found[0]["path"] == "0.png" and found[0]["top"]


def test_paths_on_stdin_one_a_line(device, photos):
    odd = photos / "ä b.png"
    shutil.copy(photos / "0.png", odd)
    done = run(device, "-", "--format", "jsonl", input=f"{odd}\r\n\n{photos / 'more'}\nphotos/[0].png\n{photos}/0.png")
    found = records(done)
    names = ["ä b.png", "1.jpg", "3.png", "5.webp", "[0].png", "0.png"]
    assert [Path(record["path"]).name for record in found] == names
    assert ["error" in record for record in found] == [False] * 4 + [True, False]  # a path is no glob
    assert found[0]["top"] == found[5]["top"] and done.returncode == 1


def test_a_path_is_answered_before_the_next_is_known(device, photos):
    with started(device, "-", "--format", "jsonl") as process:
        for name in ("0.png", "nothing.png", "6.png"):
            process.stdin.write(os.fsencode(photos / name) + b"\n")
            process.stdin.flush()
            record = json.loads(process.stdout.readline())
            assert record["path"] == str(photos / name) and ("error" in record) == (name == "nothing.png")
        process.stdin.close()
        assert process.wait() == 1


def test_bad_pictures_are_not_kept_waiting_for_good_ones(photos):
    """However many there are."""
    taken = []

    def paths():
        for number in range(99):
            taken.append(number)
            yield predict.Source(str(photos / "0.png" if number == 0 else photos / "nothing"), "")

    def model(squares):
        return np.zeros((len(squares), 4), np.float32)

    model.card = predict.Card(CLASSES, 16, "squash", 1.0, 0, "classification", [])
    answered = predict.look(paths(), [model], 4)
    assert not next(answered).error and len(taken) < 9
    assert sum(bool(picture.error) for picture in answered) == 98


def test_a_folder_is_read_without_litter_and_links_to_folders(device, photos):
    for name in ("._0.png", ".hidden/0.png", "__MACOSX/0.png", "Thumbs.db", "notes.txt", "0.PNG", "picture"):
        (photos / name).parent.mkdir(exist_ok=True)
        shutil.copy(photos / "0.png", photos / name)
    (photos / "round").symlink_to(photos)
    found = [Path(record["path"]).name for record in records(run(device, photos, "--format", "jsonl"))]
    assert sorted(found) == ["0.PNG", "0.png", "1.jpg", "2.webp", "3.png", "4.jpg", "5.webp", "6.png"]
    named, = records(run(device, photos / "picture", "--format", "jsonl"))
    assert named["top"]  # asked for by name, it is read whatever its name


@pytest.mark.parametrize("pattern", ["photos/**", "./photos/**", "phot*/**/*"])
def test_a_glob_answers_each_picture_once(device, photos, pattern):
    """Though it matches folders and what is in them, and both again through a link."""
    (photos / "round").symlink_to(photos)
    (photos / "again.png").symlink_to(photos / "0.png")  # a picture of its own, as in a folder
    found = [Path(record["path"]).as_posix() for record in records(run(device, pattern, "--format", "jsonl"))]
    assert sorted(found) == [f"photos/{name}" for name in (
        "0.png", "2.webp", "4.jpg", "6.png", "again.png", "more/1.jpg", "more/3.png", "more/5.webp")]
    assert found[0] == "photos/0.png"


def test_a_folder_gives_what_can_be_decoded_and_not_all_that_pillow_lists(device, photos):
    files = {"bill.pdf": b"%PDF-1.4\n", "clip.mpg": b"\0\0\1\xb3\2\0\x20" + bytes(9), "page.eps": b"%!PS-Adobe-3.0\n",
             "data.h5": b"\x89HDF\r\n\x1a\n" + bytes(9), "drawing.wmf": b"\xd7\xcd\xc6\x9a" + bytes(40),
             "wind.grib": b"GRIB\0\0\0\1" + bytes(9), "wind.bufr": b"BUFR" + bytes(9), "page.palm": b"0"}
    for name, content in files.items():
        (photos / name).write_bytes(content)
    done = run(device, photos, "--format", "jsonl")
    assert done.returncode == 0 and len(records(done)) == 7
    named = records(run(device, *(photos / name for name in files), "--format", "jsonl"))
    assert [Path(record["path"]).name for record in named if record["error"]] == list(files)  # they are tried


@pytest.mark.filterwarnings("ignore:IM image format is deprecated")
def test_no_format_that_pillow_writes_and_reads_is_left_out_of_a_folder():
    Image.init()
    for suffix, format in Image.registered_extensions().items():
        contents = []
        for mode in ("RGB", "L", "1"):
            with contextlib.suppress(KeyError, OSError, ValueError):  # it writes no such format, or mode
                contents.append(saved(Image.new(mode, (64, 64)), format))
        pixels = 0
        for content in contents:
            with contextlib.suppress(predict.Unreadable):
                pixels += predict.decode(content).width
        if contents:
            assert (suffix in predict._suffixes()) == bool(pixels), suffix
    never_written = {".psd", ".fits", ".cur", ".fli", ".gbr", ".pcd", ".pxr", ".ras", ".xpm", ".ftc", ".dcx", ".iim"}
    assert never_written < predict._suffixes()


@pytest.mark.skipif(sys.platform == "darwin", reason="its file system takes no such names")
@pytest.mark.parametrize("name", [b"caf\xe9.png", b"a\rb,\"c\".png", b"[0-9].png", b"-.png"])
def test_odd_names_lead_back_to_the_file(device, photos, name):
    path = os.fsencode(photos) + b"/" + name
    Path(os.fsdecode(path)).write_bytes((photos / "0.png").read_bytes())
    for format in predict.FORMATS:
        done = run(device, os.fsdecode(path), "--format", format, "--topk", "1", text=False, encoding=None, errors=None)
        assert done.returncode == 0 and not done.stderr
        if format == "text":
            assert len(done.stdout.decode().splitlines()) == 1
        elif format == "csv":
            text = done.stdout.decode(errors="surrogateescape")
            row, = csv.DictReader(io.StringIO(text, newline=""), strict=True)
            assert os.fsencode(row["path"]) == path
        else:
            found = json.loads(done.stdout.decode())
            assert os.fsencode((found[0] if format == "json" else found)["path"]) == path


# ── What goes wrong with pictures: the run goes on ──

def test_every_bad_picture_has_its_record_and_the_others_are_read(device, photos, tmp_path):
    (tmp_path / "empty").mkdir()
    cut = photos / "cut.jpg"
    cut.write_bytes((photos / "4.jpg").read_bytes()[:-200])
    os.mkfifo(photos / "pipe.png")
    asked = [tmp_path / "missing.png", tmp_path / "missing/*.png", tmp_path / "empty", cut, photos / "pipe.png", "",
             device / "predict.py", photos / "0.png"]
    done = run(device, *asked, "--format", "jsonl")
    *bad, good = records(done)
    assert done.returncode == 1 and "7 of 8" in done.stderr and len(done.stderr.splitlines()) == 1
    assert [record["path"] for record in bad] == [str(path) for path in asked[:-1]] and "top" in good
    words = ["No such file", "no picture", "no picture", "", "not a file", "No such file", "no image"]
    for record, word in zip(bad, words, strict=True):
        assert record.keys() == {"path", "error"} and word in record["error"] and "\n" not in record["error"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_said(device, photos):
    (photos / "0.png").chmod(0)
    (photos / "more").chmod(0)
    found = records(run(device, photos, "--format", "jsonl"))
    assert {Path(record["path"]).name for record in found if "denied" in record.get("error", "")} == {"0.png", "more"}


def test_nothing_on_stdin(device):
    done = run(device, "-", "--format", "jsonl", input="\n")
    assert done.returncode == 1 and records(done) == [{"path": "-", "error": "no paths on stdin"}]


def test_bombs_are_refused_in_a_line(device, tmp_path):
    for kind in ("PNG bomb", "GIF bomb"):
        path = tmp_path / kind
        path.write_bytes(FILES[kind].content)
        record, = records(run(device, path, "--format", "jsonl"))
        assert "decompression bomb" in record["error"]


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


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to tell")
@pytest.mark.parametrize("resize", ["squash", "tiles"])
def test_fifty_megapixels_need_their_own_memory_and_no_more(device, tmp_path, resize):
    """Pillow holds a pixel in 4 bytes; the mask needs 1 more, at most twice at a time."""
    Image.new("RGB", (8660, 5800), (90, 120, 30)).save(tmp_path / "large.jpg")
    model(device / "student.int8.onnx", "segmentation", size=512, resize=resize, scale=0.1)
    Image.new("RGB", (9, 9)).save(tmp_path / "small.png")
    small, large = (peak(device, tmp_path / name) for name in ("small.png", "large.jpg"))
    assert 150 < large - small < 330


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to tell")
def test_memory_does_not_grow_with_the_number_of_pictures(device, tmp_path):
    Image.new("RGBA", (3000, 2000), (90, 120, 30, 99)).save(tmp_path / "large.png", compress_level=1)
    one, many = (peak(device, *[tmp_path / "large.png"] * count, "--batch", 4) for count in (1, 12))
    assert many < one + 15


# ── What goes wrong with everything else: one line, status 2 ──

@pytest.mark.parametrize(("arguments", "words"), [
    ((), ("required", "SRC")), (("x", "--topk", "0"), ("--topk", "from 1 up")),
    (("x", "--batch", "many"), ("--batch",)), (("x", "--threads", "-1"), ("--threads",)),
    (("x", "--format", "xml"), ("--format", "jsonl")), (("x", "--colour"), ("--colour",)),
    (("x", "--top", "3"), ("--top",)), (("x", "--model"), ("--model",)),
    (("x", "--model", "nothing.onnx"), ("no model", "nothing.onnx")), (("x", "--model", "."), ("no model",)),
    (("x", "--compare", "nothing.onnx"), ("no model", "nothing.onnx")),
    (("x", "--masks", "there"), ("--masks", "segmentation")),
    (("x", "--output", "no/folder/x.txt"), ("predict: no/folder/x.txt can't be written (No such file", "name a file")),
    (("x", "--output", "device/predict.py/x"), ("device/predict.py/x can't be written (Not a directory",)),
    (("x", "--output", "."), ("directory", "name a file"))])
def test_usage_errors(device, arguments, words):
    in_one_line(run(device, *arguments), *words)


def test_no_student_beside_it(device):
    (device / "student.int8.onnx").unlink()
    in_one_line(run(device, "x.png"), "student.int8.onnx", "--model")


@pytest.mark.parametrize("content", [b"", b"ONNX", b"\x08\x07" * 500, "half"])
def test_broken_models(device, photos, content):
    path = device / "student.int8.onnx"
    path.write_bytes(path.read_bytes()[:300] if content == "half" else content)
    in_one_line(run(device, photos), "student.int8.onnx", "no readable ONNX model")


@pytest.mark.parametrize(("kind", "card", "word"), [
    ("classification", {"classes": None}, "classes"), ("classification", {"classes": []}, "classes"),
    ("classification", {"classes": "ape, bee"}, "itself"), ("classification", {"resize": "stretch"}, "resize"),
    ("classification", {"resize": "tiles"}, "resize"), ("classification", {"task": "detection"}, "task"),
    ("classification", {"image_size": "big"}, "itself"), ("classification", {"image_size": [16]}, "itself"),
    ("classification", {"scale": [1]}, "itself"), ("classification", {"overlap": 16}, "overlap"),
    ("segmentation", {"colours": None}, "colours"), ("segmentation", {"colours": COLOURS[:3]}, "colours"),
    ("segmentation", {"colours": [[256] * 3] * 4}, "colours"), ("segmentation", {"colours": [[1], [2, 3]]}, "itself")])
def test_models_that_were_not_made_here(device, photos, kind, card, word):
    model(device / "student.int8.onnx", kind, **card)
    in_one_line(run(device, photos), "doesn't describe itself", word)


@pytest.mark.parametrize(("kind", "card"), [
    ("classification", {"task": "segmentation", "colours": COLOURS}), ("segmentation", {"task": "classification"}),
    ("classification", {"image_size": 32}), ("classification", {"classes": CLASSES[:3]})])
def test_models_for_another_task_than_they_say(device, photos, kind, card):
    model(device / "student.int8.onnx", kind, **card)
    in_one_line(run(device, photos), "though it says so")


def test_a_model_that_fails_on_the_way_leaves_the_old_output(device, photos, tmp_path):
    model(device / "student.int8.onnx", batch=1)  # no free batch dimension
    output = tmp_path / "answers.txt"
    output.write_text("old")
    in_one_line(run(device, photos, "--output", output, "--batch", 4), "failed", "--batch 1")
    assert output.read_text() == "old" and not list(tmp_path.glob(".*"))
    assert run(device, photos, "--output", output).returncode == 0
    assert len(output.read_text().splitlines()) == 7


def test_output_is_what_stdout_would_be(device, photos, tmp_path):
    said = run(device, photos, "--format", "csv")
    done = run(device, photos, "--format", "csv", "--output", tmp_path / "answers.csv")
    assert not done.stdout and (tmp_path / "answers.csv").read_text(encoding="utf-8") == said.stdout
    assert run(device, photos, "--output", os.devnull).returncode == 0 and not Path(os.devnull).is_file()


def closed(which: str, device: Path, *arguments: object) -> subprocess.CompletedProcess:
    """A run as a shell starts it with a stream closed: <&-, >&- or 2>&-."""
    asked = [sys.executable, "-I", device / "predict.py", *arguments, "--threads", "1"]
    return subprocess.run(["sh", "-c", f'exec "$@" {which}', "sh", *map(str, asked)], cwd=device.parent,
                          capture_output=True, text=True)


def test_closed_streams_are_a_line_where_they_are_needed(device, photos, tmp_path):
    in_one_line(closed("<&-", device, photos / "0.png", "-"), "stdin is closed", "name them")
    in_one_line(closed(">&-", device, photos), "stdout is closed", "--output")
    assert closed("<&-", device, photos).stdout == closed("2>&-", device, photos).stdout == run(device, photos).stdout
    done = closed(">&-", device, photos, "--output", tmp_path / "answers.txt")
    assert done.returncode == 0 and not done.stderr
    assert (tmp_path / "answers.txt").read_text(encoding="utf-8") == run(device, photos).stdout
    in_one_line(closed(">&-", device, photos, "--output", "no/folder/x"), "no/folder/x")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux to try")
def test_a_full_disk_is_one_line(device, photos):
    with open("/dev/full", "w") as full:
        done = run(device, photos, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    line, = done.stderr.splitlines()
    assert done.returncode == 2 and "No space left" in line


def test_a_closed_pipe_ends_it_quietly(device, photos):
    with started(device, *[photos] * 300) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait() == 141


def test_an_interrupt_ends_it_quietly_and_leaves_no_half_output(device, photos, tmp_path):
    for output in ([], ["--output", tmp_path / "answers.txt"]):
        with started(device, "-", *output) as process:
            process.stdin.write(os.fsencode(photos / "0.png") + b"\n")
            process.stdin.flush()
            if output:
                while not list(tmp_path.glob(".*.half")):
                    assert process.poll() is None
            else:
                assert process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130 and process.stderr.read() == b""
    assert not list(tmp_path.glob(".*")) and not (tmp_path / "answers.txt").exists()


# ── A second model ──

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

    class Cold(predict.Model):
        """Takes a hundred seconds the first time, and from then on one."""

        def __init__(self, *asked):
            super().__init__(*asked)
            session, times = self.session, itertools.chain([100], itertools.repeat(1))

            def run(*asked):
                clock[0] += next(times)
                return session.run(*asked)

            self.session = types.SimpleNamespace(run=run)

    monkeypatch.setattr(predict, "Model", Cold)
    monkeypatch.setattr(predict, "time", types.SimpleNamespace(perf_counter=lambda: clock[0]))
    student, teacher = device / "student.int8.onnx", model(device / "teacher.onnx")
    monkeypatch.setattr(sys, "argv", ["predict.py", str(photos), "--model", str(student), "--compare", str(teacher)])
    assert predict.run(predict.arguments()) == 0
    assert "student.int8.onnx 1000.00 ms, teacher.onnx 1000.00 ms a picture" in capsys.readouterr().err


@pytest.mark.parametrize("card", [{"classes": [*CLASSES[:3], "eel"]}, {"resize": "crop"}, {"size": 8},
                                  {"kind": "segmentation"}])
def test_models_of_different_kinds_are_not_compared(device, photos, card):
    other = model(device / "other.onnx", **card)
    in_one_line(run(device, photos, "--compare", other), "can't be compared")


# ── Masks ──

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
                                  tiling.Sizing(16, "tiles", 0.5, 4))
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


def test_masks_and_output_go_into_one_folder(drawer, photos, tmp_path):
    asked = (photos, "--format", "csv", "--masks", tmp_path / "there", "--output")
    (tmp_path / "there").mkdir()
    done = run(drawer, *asked, tmp_path / "there/answers.csv")
    assert done.returncode == 0 and not done.stderr
    assert (tmp_path / "there/answers.csv").read_bytes() == run(drawer, *asked[:-1]).stdout.encode()
    for path in (tmp_path / "there").rglob("*.png"):
        Image.open(path).load()
    assert len(list((tmp_path / "there").rglob("*"))) == 7 + 1 + 1 + 1  # masks, their legend and folder, the answers


def test_names_too_long_or_not_utf8_still_get_a_mask(drawer, photos, tmp_path):
    for name in (b"long" * 62 + b".png", b"\xe9.png"):
        path = Path(os.fsdecode(os.fsencode(photos) + b"/" + name))
        path.write_bytes((photos / "0.png").read_bytes())
        record, = records(run(drawer, path, "--format", "jsonl", cwd=tmp_path))
        assert (tmp_path / record["mask"]).is_file()


def test_masks_in_text_and_csv_and_beside_a_teachers(drawer, photos, tmp_path):
    teacher = model(drawer / "teacher.onnx", "segmentation", seed=1, resize="tiles", overlap=4, scale=0.5)
    asked = (photos, "--compare", teacher, "--format")
    found, alike = records(run(drawer, *asked, "jsonl", cwd=tmp_path)), []
    for record in found:
        mine, other = (classes_by_hand(Path(record["path"]), path, tiling.Sizing(16, "tiles", 0.5, 4))
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


# ── Small things ──

def test_progress_is_counted_and_wiped_away(monkeypatch, capsys):
    monkeypatch.setattr(predict.time, "monotonic", itertools.count().__next__)
    assert list(predict.with_progress([{}, {}, {}], 3)) == [{}, {}, {}]
    said = capsys.readouterr().err
    assert "1 of 3" in said and "3 of 3 pictures" in said and said.endswith("\r\x1b[K")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or os.cpu_count() == 1, reason="needs Linux, and two cores")
def test_it_uses_the_cores_that_it_may(device):
    code = ("import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
            "import predict; print(predict.cores())")
    assert subprocess.check_output([sys.executable, "-c", code], cwd=device, text=True) == "1\n"


def test_files_of_gigabytes_are_not_read(tmp_path, monkeypatch):
    path = tmp_path / "x.png"
    path.write_bytes(b"123")
    monkeypatch.setattr(predict.os, "fstat", lambda _: types.SimpleNamespace(st_size=3 * 2**30))
    with pytest.raises(predict.Unreadable, match=r"too large a file: 3\.2 GB"):
        predict.read(str(path))
