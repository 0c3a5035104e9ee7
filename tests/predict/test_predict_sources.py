"""Which pictures predict.py reads: files, folders, globs, stdin; and what becomes of those that can't be read."""

import contextlib
import csv
import io
import json
import os
import shutil
import sys
import time
import types
from pathlib import Path

import numpy as np
import on_device
import pytest
from on_device import CLASSES, records, run, shipped, started
from PIL import Image
from sources import saved
from strange import corpus

device, photos = on_device.device, on_device.photos  # fixtures


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
            yield shipped.Source(str(photos / "0.png" if number == 0 else photos / "nothing"), "")

    def model(squares):
        return np.zeros((len(squares), 4), np.float32)

    model.card = shipped.Card(CLASSES, 16, "squash", 1.0, 0, "classification", [])
    answered = shipped.answers(paths(), [model], 4)
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


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["photos/**", "./photos/**", "phot*/**/*"])
def test_a_glob_answers_each_picture_once(device, photos, pattern):
    """Though it matches folders and what is in them, and both again through a link."""
    (photos / "round").symlink_to(photos)
    (photos / "again.png").symlink_to(photos / "0.png")  # a picture of its own, as in a folder
    found = [Path(record["path"]).as_posix() for record in records(run(device, pattern, "--format", "jsonl"))]
    assert sorted(found) == [f"photos/{name}" for name in (
        "0.png", "2.webp", "4.jpg", "6.png", "again.png", "more/1.jpg", "more/3.png", "more/5.webp")]
    assert found[0] == "photos/0.png"


@pytest.mark.slow
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
            with contextlib.suppress(shipped.Unreadable):
                pixels += shipped.decode_image(content).width
        if contents:
            assert (suffix in shipped.decodable_suffixes()) == bool(pixels), suffix
    never_written = {".psd", ".fits", ".cur", ".fli", ".gbr", ".pcd", ".pxr", ".ras", ".xpm", ".ftc", ".dcx", ".iim"}
    assert never_written < shipped.decodable_suffixes()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "darwin", reason="its file system takes no such names")
@pytest.mark.parametrize("name", [b"caf\xe9.png", b"a\rb,\"c\".png", b"[0-9].png", b"-.png"])
def test_odd_names_lead_back_to_the_file(device, photos, name):
    path = os.fsencode(photos) + b"/" + name
    Path(os.fsdecode(path)).write_bytes((photos / "0.png").read_bytes())
    for format in shipped.FORMATS:
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


@pytest.mark.slow
def test_nothing_on_stdin(device):
    done = run(device, "-", "--format", "jsonl", input="\n")
    assert done.returncode == 1 and records(done) == [{"path": "-", "error": "no paths on stdin"}]


@pytest.mark.slow
def test_bombs_are_refused_in_a_line(device, tmp_path):
    for kind in ("PNG bomb", "GIF bomb"):
        path = tmp_path / kind
        path.write_bytes(corpus()[kind].content)
        record, = records(run(device, path, "--format", "jsonl"))
        assert "decompression bomb" in record["error"]


def test_a_picture_too_wide_for_a_mask_is_refused_and_the_next_answered(device, photos, tmp_path):
    """Four classes × 512 rows × 900,000 columns × 4 bytes are 7 GB, which the system may promise and not have."""
    Image.new("L", (900_000, 1)).save(tmp_path / "wide.png")
    model = on_device.model(device / "seg.onnx", "segmentation", size=512, resize="tiles", overlap=0)
    wide, good = records(run(device, tmp_path / "wide.png", photos / "0.png", "--model", model, "--format", "jsonl"))
    assert wide["error"] == "900000 pixels are too wide for a mask of 4 classes" and good["mask"]


def test_pictures_decoded_side_by_side_are_answered_in_order_and_not_far_ahead(photos, monkeypatch):
    def paths():
        for name in ("3.png", "1.jpg", "nothing.png", "5.webp") * 5:
            taken.append(name)
            yield shipped.Source(str(photos / "more" / name), name)

    def model(squares):
        return squares[:, 0, 0, :1].repeat(4, 1).astype(np.float32)

    model.card = shipped.Card(CLASSES, 16, "squash", 1.0, 0, "classification", [])
    decode, busy, most = shipped.decode_image, [], []

    def slow(content):
        busy.append(content)
        most.append(len(busy))
        time.sleep(0.01 * (len(most) % 3))
        busy.remove(content)
        return decode(content)

    monkeypatch.setattr(shipped, "decode_image", slow)
    taken = []
    answered = []
    for answer in shipped.answers(paths(), [model], 1, decoders=3):
        answered.append(answer)
        assert len(taken) - len(answered) <= 3
    several, taken = answered, []
    one = list(shipped.answers(paths(), [model], 1))
    assert max(most) > 1
    for answers in zip(one, several, strict=True):
        assert answers[0].source == answers[1].source and answers[0].error == answers[1].error
        assert np.array_equal(answers[0].outputs, answers[1].outputs)


def test_files_of_gigabytes_are_not_read(tmp_path, monkeypatch):
    path = tmp_path / "x.png"
    path.write_bytes(b"123")
    monkeypatch.setattr(shipped.os, "fstat", lambda _: types.SimpleNamespace(st_size=3 * 2**30))
    with pytest.raises(shipped.Unreadable, match=r"too large a file: 3\.2 GB"):
        shipped.read(str(path))
