"""A stage ends in one line where the user can mend the cause, and in a traceback where only we can."""

import errno
import os
import runpy
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from sources import pack, two_classes

from stages.core import errors


def raised(error: BaseException):
    def main():
        raise error

    return main


SPACE = "free some space and run the same command again"
MEMORY = "lower the batch size or the image size in params.yaml"


@pytest.mark.parametrize(("error", "status"), [
    (errors.UserError("params.yaml: a\n  is missing"), "scan: params.yaml: a is missing"),
    (errors.UserError(), "scan: UserError"),
    (errors.UserError("a\x1b[31mé\0日\u202eb"), "scan: a\\x1b[31mé\\x00日\\u202eb"),  # nothing for a terminal to act on
    (FileNotFoundError(2, "No such file", "x"), "scan: [Errno 2] No such file: 'x'"),
    (OSError(errno.ENOSPC, "Full"), f"scan: the disk is full ([Errno {errno.ENOSPC}] Full); {SPACE}"),
    (OSError(errno.EDQUOT, "Quota"), f"scan: the disk is full ([Errno {errno.EDQUOT}] Quota); {SPACE}"),
    (RuntimeError("I/O: No space left on device"), f"scan: the disk is full (I/O: No space left on device); {SPACE}"),
    (MemoryError(), f"scan: out of memory (MemoryError); {MEMORY}"),
    (RuntimeError("GPU out of memory " + "x" * 500), f"scan: out of memory (GPU out of memory {'x' * 182}); {MEMORY}"),
    (RuntimeError("can't allocate memory: 9"), f"scan: out of memory (can't allocate memory: 9); {MEMORY}"),
    (KeyboardInterrupt(), 130),
])
def test_what_the_user_can_mend(monkeypatch, error, status):
    monkeypatch.setattr(sys, "argv", ["/somewhere/stages/scan.py"])
    with pytest.raises(SystemExit) as end:
        errors.run(raised(error))
    assert end.value.code == status


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError("x"), KeyError("x")])
def test_a_bug_keeps_its_traceback(error, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where no dvc.lock says of any file that it was altered since
    with pytest.raises(type(error)):
        errors.run(raised(error))


def test_the_command_that_a_user_types(project):
    done = project.set("data.source", 7).run("fetch")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == "fetch: params.yaml: data.source is 7: Input should be a valid string\n"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full, which Linux has")
def test_a_full_disk_in_each_stage(project, fails):
    pack(project.source / "a.zip", two_classes(200))
    project.set("data.source", "a.zip")
    outs = {"fetch": "data/raw.zip", "scan": "data/scan.csv", "clean": "data/manifest.csv",
            "split": "data/prepared/train/images.npy"}
    for stage, out in outs.items():
        half = project.folder / f"{out}.half"
        half.parent.mkdir(parents=True, exist_ok=True)
        half.symlink_to("/dev/full")  # where a stage writes first: a device without room
        fails(stage, "disk is full", "free some space")
        assert not (project.folder / out).exists() and not half.is_symlink()
        project.main(stage)
        assert (project.folder / out).stat().st_size > 10_000


@pytest.mark.parametrize("file", ["stages/core/errors.py", "predict.py"])
def test_onnxruntime_keeps_no_note_of_who_runs_it(monkeypatch, file):
    """Else it leaves an id and a queue of reports in the user's cache."""
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    runpy.run_path(str(ROOT / file))
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
