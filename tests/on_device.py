"""A device on trial: predict.py alone in a folder beside a small model, and pictures for it."""

import contextlib
import importlib.util
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from conftest import ROOT
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

CLASSES = ["ape", "bee", "cat", "dög"]
COLOURS = [[0, 0, 0], [230, 159, 0], [86, 180, 233], [0, 158, 115]]


def load(path: Path) -> ModuleType:
    """A Python file as a module, whatever package has its name."""
    spec = importlib.util.spec_from_file_location("shipped", path)
    module = sys.modules["shipped"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


shipped = load(ROOT / "predict.py")


def model(path: Path, kind: str = "classification", seed: int = 8, size: int | list[int] = 16,
          batch: int | str = "batch", gain: float = 1.0, **card) -> Path:
    """A convolution of fixed random weights on uint8 (N,size,size,3), or (N,*size,3).

    card: what its metadata say otherwise; a None is left out. gain: of the weights.
    """
    masks, random, sides = kind == "segmentation", np.random.default_rng(seed), np.broadcast_to(size, 2).tolist()
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
        nodes, "net", [helper.make_tensor_value_info("image", TensorProto.UINT8, [batch, *sides, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 4, *sides * masks])],
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


@pytest.fixture
def command(device, monkeypatch, capsys):
    """The same in this process, which is quicker, with the device's model: arguments → how it ended."""
    def call(*arguments: object) -> subprocess.CompletedProcess:
        monkeypatch.chdir(device.parent)
        monkeypatch.setattr(sys, "argv", ["predict.py", "--model", str(device / "student.int8.onnx"),
                                          *map(str, arguments)])
        status = shipped.main()
        return subprocess.CompletedProcess(arguments, status, *capsys.readouterr())

    return call


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


def in_one_line(done: subprocess.CompletedProcess, *words: str) -> None:
    """Nothing was done, and why."""
    line, = done.stderr.splitlines()
    assert done.returncode == 2 and line.startswith("predict: ") and all(word in line for word in words), done
    assert not done.stdout
