"""predict.py as a command: what it needs, its options, its streams, and errors in one line."""

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import on_device
import pytest
from on_device import CLASSES, COLOURS, in_one_line, model, run, shipped, started

command, device, photos = on_device.command, on_device.device, on_device.photos  # fixtures


def test_a_missing_package_is_named(device):
    code = "import sys, runpy; sys.modules['{}'] = None; sys.argv = ['predict.py', 'x']; runpy.run_path('predict.py', "
    for package in ("numpy", "PIL", "onnxruntime"):
        done = subprocess.run([sys.executable, "-I", "-c", code.format(package) + "run_name='__main__')"], cwd=device,
                              capture_output=True, text=True)
        in_one_line(done, package, "pip install --upgrade onnxruntime numpy pillow")


@pytest.mark.parametrize(("arguments", "words"), [
    ((), ("required", "SRC", "--stdin")), (("x", "--stdin"), ("one of the two",)),
    (("x", "--topk", "0"), ("--topk", "from 1 up")),
    (("x", "--batch", "many"), ("--batch",)), (("x", "--threads", "-1"), ("--threads",)),
    (("x", "--format", "xml"), ("--format", "jsonl")), (("x", "--colour"), ("--colour",)),
    (("x", "--top", "3"), ("--top",)), (("x", "--model"), ("--model",)),
    (("x", "--model", "nothing.onnx"), ("no model", "nothing.onnx")), (("x", "--model", "."), ("no model",)),
    (("x", "--compare", "nothing.onnx"), ("no model", "nothing.onnx")),
    (("x", "--masks", "there"), ("--masks", "segmentation")),
    (("x", "--output", "no/folder/x.txt"), ("predict: no/folder/x.txt can't be written (No such file", "name a file")),
    (("x", "--output", "device/predict.py/x"), ("device/predict.py/x can't be written (Not a directory",)),
    (("x", "--output", "."), ("directory", "name a file"))])
def test_usage_errors(command, arguments, words):
    in_one_line(command(*arguments), *words)


def test_no_student_beside_it(device):
    (device / "student.int8.onnx").unlink()
    in_one_line(run(device, "x.png"), "student.int8.onnx", "--model")


@pytest.mark.parametrize("content", [b"", b"ONNX", b"\x08\x07" * 500, "half"])
def test_broken_models(command, device, photos, content):
    path = device / "student.int8.onnx"
    path.write_bytes(path.read_bytes()[:300] if content == "half" else content)
    in_one_line(command(photos), "student.int8.onnx", "no readable ONNX model")


@pytest.mark.parametrize(("kind", "card", "word"), [
    ("classification", {"classes": None}, "classes"), ("classification", {"classes": []}, "classes"),
    ("classification", {"classes": "ape, bee"}, "itself"), ("classification", {"resize": "stretch"}, "resize"),
    ("classification", {"resize": "tiles"}, "resize"), ("classification", {"task": "detection"}, "task"),
    ("classification", {"image_size": "big"}, "itself"), ("classification", {"image_size": [16]}, "itself"),
    ("classification", {"image_size": [16, 0]}, "image_size"),
    ("classification", {"image_size": [16.0, 16]}, "image_size"),
    ("classification", {"scale": [1]}, "itself"), ("classification", {"overlap": 16}, "overlap"),
    ("segmentation", {"colours": None}, "colours"), ("segmentation", {"colours": COLOURS[:3]}, "colours"),
    ("classification", {"overlap": 0.5}, "overlap"), ("classification", {"image_size": 10**6}, "image_size"),
    ("classification", {"scale": "[" * 10**5}, "itself"),
    ("segmentation", {"colours": [[256] * 3] * 4}, "colours"), ("segmentation", {"colours": [[1], [2, 3]]}, "itself")])
def test_models_that_were_not_made_here(command, device, photos, kind, card, word):
    model(device / "student.int8.onnx", kind, **card)
    in_one_line(command(photos), "doesn't describe itself", word)


@pytest.mark.parametrize(("kind", "card"), [
    ("classification", {"task": "segmentation", "colours": COLOURS}), ("segmentation", {"task": "classification"}),
    ("classification", {"image_size": 32}), ("classification", {"image_size": [16, 24]}),
    ("classification", {"classes": CLASSES[:3]})])
def test_models_for_another_task_than_they_say(command, device, photos, kind, card):
    model(device / "student.int8.onnx", kind, **card)
    in_one_line(command(photos), "though it says so")


@pytest.mark.slow
def test_a_model_that_fails_on_the_way_leaves_the_old_output(device, photos, tmp_path):
    model(device / "student.int8.onnx", batch=1)  # no free batch dimension
    output = tmp_path / "answers.txt"
    output.write_text("old")
    in_one_line(run(device, photos, "--output", output, "--batch", 4), "failed", "--batch 1")
    assert output.read_text() == "old" and not list(tmp_path.glob(".*"))
    assert run(device, photos, "--output", output).returncode == 0
    assert len(output.read_text().splitlines()) == 7


@pytest.mark.slow
def test_output_is_what_stdout_would_be(device, photos, tmp_path):
    said = run(device, photos, "--format", "csv")
    done = run(device, photos, "--format", "csv", "--output", tmp_path / "answers.csv")
    assert not done.stdout and (tmp_path / "answers.csv").read_text(encoding="utf-8") == said.stdout
    assert run(device, photos, "--output", os.devnull).returncode == 0 and not Path(os.devnull).is_file()


def test_no_picture_is_overwritten_by_the_answers(command, device, photos):
    """Nor one that is damaged or has no suffix, and not only of those that are asked about."""
    damaged, bare = photos / "damaged.jpg", photos / "bare"
    damaged.write_bytes(b"damaged")
    bare.write_bytes((photos / "0.png").read_bytes())
    for path in (photos / "0.png", damaged, bare):
        before = path.read_bytes()
        in_one_line(command(photos / "4.jpg", "--output", path), str(path), "is a picture", "name another")
        assert path.read_bytes() == before
    answers = photos / "answers.png.txt"
    answers.write_text("old answers")
    assert command(photos / "4.jpg", "--output", answers).returncode == 0
    assert command(photos / "4.jpg", "--output", photos / "new.png").returncode == 0  # there is none yet


def closed(which: str, device: Path, *arguments: object) -> subprocess.CompletedProcess:
    """A run as a shell starts it with a stream closed: <&-, >&- or 2>&-."""
    asked = [sys.executable, "-I", device / "predict.py", *arguments, "--threads", "1"]
    return subprocess.run(["sh", "-c", f'exec "$@" {which}', "sh", *map(str, asked)], cwd=device.parent,
                          capture_output=True, text=True)


@pytest.mark.slow
def test_closed_streams_are_a_line_where_they_are_needed(device, photos, tmp_path):
    in_one_line(closed("<&-", device, photos / "0.png", "-"), "stdin is closed", "name them")
    in_one_line(closed(">&-", device, photos), "stdout is closed", "--output")
    assert closed("<&-", device, photos).stdout == closed("2>&-", device, photos).stdout == run(device, photos).stdout
    done = closed(">&-", device, photos, "--output", tmp_path / "answers.txt")
    assert done.returncode == 0 and not done.stderr
    assert (tmp_path / "answers.txt").read_text(encoding="utf-8") == run(device, photos).stdout
    in_one_line(closed(">&-", device, photos, "--output", "no/folder/x"), "no/folder/x")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux to try")
def test_a_full_disk_is_one_line(device, photos):
    with open("/dev/full", "w") as full:
        done = run(device, photos, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    line, = done.stderr.splitlines()
    assert done.returncode == 2 and "No space left" in line


@pytest.mark.slow
def test_a_closed_pipe_ends_it_quietly(device, photos):
    with started(device, *[photos] * 300) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait() == 141


@pytest.mark.slow
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


def test_an_interrupt_while_it_loads_is_quiet_whatever_a_library_swallows(device, tmp_path):
    (tmp_path / "numpy.py").write_text("import sys, time\nprint('loading', file=sys.stderr, flush=True)\n"
                                       "try:\n    time.sleep(60)\nexcept BaseException:\n    raise ImportError()\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    with subprocess.Popen([sys.executable, device / "predict.py", "x.png"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env=environment) as process:
        assert process.stderr.readline() == b"loading\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130 and process.stderr.read() == process.stdout.read() == b""


def test_a_runtime_that_cannot_be_loaded_is_one_line(command, photos, monkeypatch):
    class Broken:
        def find_spec(self, name, *_):
            if name == "onnxruntime":
                print("A module that was compiled for another numpy\ncannot be run", file=sys.stderr)
                raise AttributeError("_ARRAY_API not found")

    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    in_one_line(command(photos), "onnxruntime can't be loaded", "_ARRAY_API", "pip install --upgrade onnxruntime")


def test_progress_is_counted_and_wiped_away(monkeypatch, capsys):
    monkeypatch.setattr(shipped.time, "monotonic", itertools.count().__next__)
    assert list(shipped.with_progress([{}, {}, {}], 3)) == [{}, {}, {}]
    said = capsys.readouterr().err
    assert "1 of 3" in said and "3 of 3 pictures" in said and said.endswith("\r\x1b[K")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or os.cpu_count() == 1, reason="needs Linux, and two cores")
def test_it_uses_the_cores_that_it_may(device):
    code = ("import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
            "import predict; print(predict.cores())")
    assert subprocess.check_output([sys.executable, "-c", code], cwd=device, text=True) == "1\n"
