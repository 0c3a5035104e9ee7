"""predict.py in a program: one call a picture, and nothing of the program's is changed."""

import json
import logging
import subprocess
import sys
import types
import warnings

import numpy as np
import on_device
import pytest
from on_device import COLOURS, model, records, run, shipped
from PIL import Image
from strange import TURNS, picture, saved

device, photos = on_device.device, on_device.photos  # fixtures


def test_an_answer_is_the_commands_record_without_the_path(device, photos):
    student = shipped.Model(device / "student.int8.onnx")
    for record in records(run(device, photos, "--format", "jsonl", "--topk", 3)):
        with open(record.pop("path"), "rb") as file:
            assert student.answer(file.read(), topk=3) == record


def test_a_mask_is_what_the_command_writes(device, photos):
    network = model(device / "seg.onnx", "segmentation", resize="tiles", scale=0.5, overlap=3)
    record, = records(run(device, photos / "more/3.png", "--model", network, "--format", "jsonl"))
    answer = shipped.Model(str(network), threads=1).answer((photos / "more/3.png").read_bytes())
    assert np.array_equal(np.asarray(Image.open(device.parent / record["mask"])), answer["mask"])
    assert answer["shares"] == record["shares"] and answer["mask"].shape == (100, 130) == (
        answer["height"], answer["width"])
    assert {entry["colour"] for entry in answer["shares"]} == {"#{:02x}{:02x}{:02x}".format(*rgb) for rgb in COLOURS}


def test_an_array_is_answered_as_the_file_that_holds_it(device):
    student, pixels = shipped.Model(device / "student.int8.onnx", 1), np.asarray(picture("array"))
    assert student.answer(pixels) == student.answer(saved(picture("array"), "PNG"))
    assert student.answer(pixels[::-1]) == student.answer(np.ascontiguousarray(pixels[::-1]))
    grey = picture("array").convert("L")
    assert student.answer(np.asarray(grey)) == student.answer(saved(grey, "PNG"))


@pytest.mark.parametrize("array", [np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8), np.zeros(9, np.uint8),
                                   np.zeros((0, 4, 3), np.uint8), np.zeros((1, 4, 4, 3), np.uint8)])
def test_other_arrays_are_refused_with_what_is_wanted(device, array):
    with pytest.raises(shipped.UserError, match=r"uint8 \(H,W,3\), RGB"):
        shipped.Model(device / "student.int8.onnx", 1).answer(array)


@pytest.mark.parametrize("content", [b"", b"no picture", saved(picture("cut"), "PNG")[:-40]])
def test_what_is_no_picture_raises_what_a_program_can_catch(device, content):
    with pytest.raises(shipped.Unreadable):
        shipped.Model(device / "student.int8.onnx", 1).answer(content)


def test_a_model_that_answers_in_another_shape_than_it_says_is_one_line(device):
    student = shipped.Model(device / "student.int8.onnx", 1)
    student.session = types.SimpleNamespace(run=lambda *_: [np.zeros((1, 3), np.float32)])
    with pytest.raises(shipped.UserError, match=r"answered 1 picture\(s\) with numbers of shape \(1, 3\)"):
        student.answer(saved(picture("a"), "PNG"))


def test_importing_it_changes_nothing_of_the_program(device):
    code = ("import logging, signal, sys, warnings; import PIL.Image, onnxruntime; "
            "state = lambda: (list(warnings.filters), list(logging.getLogger('PIL').handlers), "
            "signal.getsignal(signal.SIGINT), sys.stderr); before = state(); import predict; "
            "predict.Model('student.int8.onnx').answer(open(sys.argv[1], 'rb').read()); assert state() == before; "
            "print(PIL.Image.MAX_IMAGE_PIXELS)")
    (device / "a.png").write_bytes(saved(picture("a"), "PNG"))
    done = subprocess.run([sys.executable, "-c", code, "a.png"], cwd=device, capture_output=True, text=True)
    assert not done.returncode and not done.stderr and int(done.stdout) == Image.MAX_IMAGE_PIXELS


def test_a_missing_package_is_an_import_error_to_a_program(device):
    code = ("import sys; sys.modules['PIL'] = None\ntry:\n    import predict\nexcept ImportError: print('caught')")
    assert subprocess.check_output([sys.executable, "-c", code], cwd=device, text=True) == "caught\n"


def test_as_a_command_it_is_silent_about_what_pillow_warns_of(monkeypatch):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        monkeypatch.setattr(logging.getLogger("PIL"), "handlers", [])
        shipped.silence_pillow()
        shipped.decode_image(saved(Image.new("P", (9500, 9500)), "PNG"))  # half of what Pillow refuses
        assert not said and logging.getLogger("PIL").handlers


@pytest.mark.parametrize("orientation", TURNS)
def test_pictures_are_turned_without_what_older_pillows_lack(orientation, monkeypatch):
    """ImageOps.exif_transpose(in_place=True) raises in Pillow 9.4."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(picture("turned").transpose(TURNS[orientation]), "PNG", exif=exif)
    assert np.array_equal(np.asarray(shipped.decode_image(content)), np.asarray(picture("turned")))
    monkeypatch.setattr(Image.Image, "transpose", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # an error of ours is none of the picture's
        shipped.decode_image(content)


def test_one_picture_on_stdin(device, photos):
    content = (photos / "4.jpg").read_bytes()
    done = run(device, "--stdin", "--format", "jsonl", input=content, text=False, encoding=None, errors=None)
    record, = map(json.loads, done.stdout.decode().splitlines())
    named, = records(run(device, photos / "4.jpg", "--format", "jsonl"))
    assert record.pop("path") == "-" and done.returncode == 0
    assert record == {key: value for key, value in named.items() if key != "path"}
    empty = run(device, "--stdin", "--format", "jsonl", input="")
    assert empty.returncode == 1 and records(empty) == [{"path": "-", "error": "empty file"}]


def test_masks_of_other_pictures_on_stdin_are_not_overwritten(device, photos):
    network = model(device / "seg.onnx", "segmentation")
    written = []
    for name in ("0.png", "4.jpg", "0.png"):
        done = run(device, "--stdin", "--model", network, "--format", "jsonl", text=False, encoding=None, errors=None,
                   input=(photos / name).read_bytes())
        written.append(json.loads(done.stdout)["mask"])
    assert written == ["masks/stdin.png", "masks/stdin-2.png", "masks/stdin.png"]
