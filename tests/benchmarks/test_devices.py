"""The table of devices: what is called right, wrong and refused; processors that qemu emulates."""
# ruff: noqa: F401, F811 (fixtures are imported)

import os
import shutil
import subprocess
import sys

import finished
import numpy as np
import pytest
from conftest import ROOT
from exported_networks import exported, pictures

from benchmarks import devices
from stages.core.errors import UserError
from stages.deployment import onnx_model

needs_qemu = pytest.mark.skipif(not shutil.which("qemu-x86_64"), reason="qemu-x86_64 is missing: Debian's qemu-user")


@pytest.fixture
def images(tmp_path):
    np.save(tmp_path / "images.npy", pictures(24))
    return tmp_path / "images.npy"


def answer(*classes, refusal: str = "") -> devices.Answer:
    return devices.Answer("runtime 1.0", "x86_64", np.array(classes), 0.25, refusal)


def subject(labels, own: devices.Answer) -> devices.Subject:
    return devices.Subject(np.array(labels), own)


CLASSES = subject([0] * 1000, answer(*[0] * 998, 1, 1))  # 99.8 %


@pytest.mark.parametrize(("given", "expected"), [
    (CLASSES.own, "right 99.80"),
    (answer(*[0] * 1000), "right 100.00 (0.2 % other)"),  # 0.2 points better
    (answer(*[0] * 996, 1, 1, 1, 1), "right 99.60 (0.2 % other)"),
    (answer(*[0] * 995, 1, 1, 1, 1, 1), "**wrong** 99.50 (0.3 % other)"),
    (answer(refusal="no such operator"), "refuses")])
def test_right_wrong_and_refused(given, expected):
    assert CLASSES.cell(given) == expected
    assert CLASSES.is_right(given) == expected.startswith("right")


def test_masks_are_compared_by_mean_iou():
    """Of eight labelled pixels four are of each class. All of them called 0: IoU 4/8 and 0/4, at 50 % of the pixels."""
    mask = np.repeat([0, 1, -100], 4).reshape(1, 3, 4)
    masks = subject(mask, answer(*np.maximum(mask, 0)))
    assert masks.cell(masks.own) == "right 100.00"
    assert masks.cell(answer(*np.zeros_like(mask))) == "**wrong** 25.00 (33 % other)"


def test_unlabelled_images_count_in_no_accuracy():
    own = answer(1, 0, 1)
    assert subject([-1, 0, 0], own).cell(own) == "right 50.00"


def test_a_row_has_a_cell_for_each_model_and_no_emulators_time():
    both, given = [CLASSES, CLASSES], [CLASSES.own, answer(refusal="no")]
    assert devices.line("here", both, given) == "| here | runtime 1.0 | right 99.80 | 0.250 | refuses |  |"
    assert devices.line("x, emulated", both, given) == "| x, emulated | runtime 1.0 | right 99.80 |  | refuses |  |"


def test_a_file_is_tried_on_the_test_images_of_its_own_run(exported, tmp_path):
    """On every other of seven."""
    stored, path = tmp_path / "run/data/prepared/test", tmp_path / "run/models/seeds/int8-0.onnx"
    stored.mkdir(parents=True), (tmp_path / "images").mkdir()
    np.save(stored / "images.npy", pictures(7)), np.save(stored / "targets.npy", np.arange(7))
    (tried, images), labels = devices.sample(path, 4, tmp_path / "images")
    assert tried == path and labels.tolist() == [0, 2, 4, 6] and np.array_equal(np.load(images), pictures(7)[::2])
    with pytest.raises(UserError, match=r"int8\.onnx lies in no folder of a run; name a file in one that has data"):
        devices.sample(exported / "int8.onnx", 4, tmp_path / "images")


def test_every_runtime_of_a_python_answers_or_refuses(exported, images):
    """This one has onnxruntime, and lacks tract."""
    path = exported / "int8.onnx"
    first, second = devices.answers([sys.executable], [(images, images), (path, images)], "onnxruntime")
    assert first.refusal and not first.classes.size
    assert second.runtime.startswith("onnxruntime 1.") and second.ms > 0 and not second.refusal
    assert np.array_equal(second.classes, onnx_model.open_model(path, 1)(pictures(24)).argmax(1))
    assert devices.answers([sys.executable], [(path, images)], "tract") == []
    with pytest.raises(UserError, match=r"images\.npy can't be run here: "):
        devices.own([(images, images)])


def test_a_crash_costs_one_file_its_answer(tmp_path, images):
    """A Python that answers the first file of three that it is given, and then dies."""
    python = tmp_path / "python"
    python.write_text("""#!/bin/sh
        echo '{"runtime": "x 1", "machine": "m", "classes": [0], "ms": 1.0, "refusal": ""}'
        test $# -le 4 || kill -SEGV $$
        """)
    python.chmod(0o755)
    given = devices.answers([str(python)], [(images, images)] * 3, "onnxruntime")
    assert [answer.refusal for answer in given] == ["", "it crashed, with status -11", ""]
    assert devices.told(given, ["a", "b", "c"]) == ["onnxruntime, b: it crashed, with status -11"]


def test_what_takes_too_long_or_fails_says_so(tmp_path, images, monkeypatch):
    monkeypatch.setattr(devices, "LIMIT", 2)
    python = tmp_path / "python"
    python.write_text("""#!/bin/sh
        if test $# -gt 4; then
            echo '{"runtime": "x 1", "machine": "m", "classes": [0], "ms": 1.0, "refusal": ""}'
            printf '{"runtime": "x'
            exec sleep 60
        fi
        echo 'loading' >&2
        echo 'no memory' >&2
        exit 1
        """)
    python.chmod(0o755)
    given = devices.answers([str(python)], [(images, images)] * 3, "onnxruntime")
    assert [answer.refusal for answer in given] == ["", "no answer within 2 s", "it crashed, with status 1: no memory"]


def test_a_python_that_is_none_is_one_line(images):
    with pytest.raises(UserError, match=r"no/python can't be run \(No such file or directory\); name a Python"):
        devices.answers(["no/python"], [(images, images)], "onnxruntime")


def test_a_missing_emulator_is_one_line(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="install Debian's package qemu-user"):
        devices.emulator()


@pytest.mark.slow
@needs_qemu
@pytest.mark.parametrize("processor", ["Haswell", "EPYC", "Nehalem"])
def test_processors_without_vnni_answer_the_same(exported, images, processor):
    command = [devices.emulator(), "-cpu", processor, sys.executable]
    tried = [(exported / "float.onnx", images), (exported / "int8.onnx", images)]
    for (path, _), given in zip(tried, devices.answers(command, tried, "onnxruntime"), strict=True):
        assert np.array_equal(given.classes, onnx_model.open_model(path, 1)(pictures(24)).argmax(1))


@pytest.mark.slow
@needs_qemu
def test_a_whole_table():
    arguments = ["models/student.int8.onnx", "models/student.onnx", "--processors", "Haswell", "--pythons",
                 sys.executable]
    done = subprocess.run([sys.executable, "-m", "benchmarks.devices", *arguments], cwd=finished.run("classes").folder,
                          capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert not done.returncode, done.stderr
    head, _, here, haswell, again, *refusals = done.stdout.splitlines()
    assert head == "| processor | runtime | models/student.int8.onnx | ms | models/student.onnx | ms |"
    assert "Haswell, emulated" in haswell and all(line.count("| right ") == 2 for line in (here, haswell, again))
    assert not any(refusals)
