"""predict.py in the Pythons and with the Pillows of older devices: the pixels of this one, or one line."""

import ast
import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

import on_device
import pytest
from conftest import ROOT
from strange import corpus

from benchmarks import pillows

device, photos = on_device.device, on_device.photos  # fixtures
OLD = [("3.9", "pillow==9.4.0 numpy==1.26.4 onnxruntime==1.19.2"),  # as old as it may be
       ("3.11", "pillow==9.4.0 numpy==1.24.2 onnxruntime==1.18.1")]  # Debian 12


def interpreter(version: str) -> str | None:
    managed = sorted(map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python")))
    return next(iter(managed), None) or shutil.which(f"python{version}")


@pytest.fixture(params=OLD, ids=lambda param: f"{param[0]}-{param[1].split()[0]}")
def python(request, pytestconfig) -> Path:
    """A Python with the packages, from pytest's cache if they are there."""
    version, packages = request.param
    found = interpreter(version)
    if not found:
        pytest.skip(f"Python {version} is not installed")
    folder = pytestconfig.cache.mkdir("pythons") / f"{version} {packages}".replace(" ", "-")
    folder.mkdir(exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            subprocess.run([found, "-m", "venv", "--clear", folder / "venv"], check=True)
            done = subprocess.run([folder / "venv/bin/python", "-m", "pip", "install", "--only-binary", ":all:",
                                   *packages.split()], capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"pip can't fetch the packages: {done.stderr.splitlines()[-1:]}")
            (folder / "ready").touch()
    return folder / "venv/bin/python"


@pytest.mark.slow
def test_other_pythons_get_the_same_pixels_or_refuse_in_a_line(python, photos):
    for number, file in enumerate(corpus().values()):
        (photos / str(number)).write_bytes(file.content)
    expected, found = (pillows.decoded(program, photos)[2] for program in (sys.executable, python))
    same, refused, refused_there, other, read_there = pillows.compare(found, expected)
    assert not other and not read_there
    assert len(same) > 90 and len(refused) > 60 and len(refused_there) <= 2  # AVIF, and a TIFF in YCbCr


@pytest.mark.slow
def test_other_pythons_give_the_same_answers_and_errors(python, device, photos):
    (photos / "bad.png").write_bytes(b"no picture")
    here, there = (subprocess.run([program, device / "predict.py", photos, "--format", "jsonl"], capture_output=True,
                                  text=True) for program in (sys.executable, python))
    assert here.returncode == there.returncode == 1 and here.stderr == there.stderr == (
        "predict: 1 of 8 could not be read\n")
    for own, other in zip(on_device.records(here), on_device.records(there), strict=True):
        own_top, other_top = own.pop("top", []), other.pop("top", [])
        assert own == other and [entry["class"] for entry in own_top] == [entry["class"] for entry in other_top]
        assert [entry["probability"] for entry in other_top] == pytest.approx(
            [entry["probability"] for entry in own_top], abs=1e-5)  # another onnxruntime adds in another order


@pytest.mark.slow
def test_masks_and_their_legend_are_written_there(python, device, photos, tmp_path):
    network = on_device.model(tmp_path / "seg.onnx", "segmentation", resize="crop")
    done = subprocess.run([python, device / "predict.py", photos, "--model", network, "--masks", tmp_path / "masks"],
                          capture_output=True, text=True)
    assert not done.returncode and not done.stderr and (tmp_path / "masks/legend.png").stat().st_size > 200
    assert len(list((tmp_path / "masks").rglob("*.png"))) == 8


@pytest.mark.skipif(not interpreter("3.8"), reason="Python 3.8 is not installed")
def test_a_python_that_is_too_old_is_told_in_a_line(device):
    done = subprocess.run([interpreter("3.8"), device / "predict.py", "x.png"], capture_output=True, text=True)
    on_device.in_one_line(done, "Python 3.9 or newer is needed", "3.8")


def test_a_pillow_that_is_too_old_is_told_in_a_line(device):
    code = "import runpy, PIL.Image; PIL.__version__ = '9.2.0'; runpy.run_path('predict.py', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], cwd=device, capture_output=True, text=True)
    on_device.in_one_line(done, "Pillow 9.2.0 is too old", "pip install --upgrade")


def test_the_source_is_python_of_3_9():
    tree = ast.parse((ROOT / "predict.py").read_text(encoding="utf-8"), feature_version=(3, 9))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    assert not [call.lineno for call in calls if call.func.id == "zip" and call.keywords]  # zip(strict=True): 3.10
