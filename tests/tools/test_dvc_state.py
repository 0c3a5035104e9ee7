"""After a kill or a power loss nobody has to remove DVC's notes by hand, and sound ones stay."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from tools import dvc_state

WHOLE = (ROOT / "dvc.lock").read_bytes()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dvc_state.NOTES.parent.mkdir(parents=True)


def notes(pid: int) -> bytes:
    return json.dumps({"write": {"/a/out": {"pid": pid, "cmd": "dvc repro"}},
                       "read": {"/a/dep": [{"pid": pid, "cmd": "dvc repro"}]}}).encode()


def is_kept(path: Path, content: bytes, capsys) -> bool:
    path.write_bytes(content)
    dvc_state.main()
    said = capsys.readouterr().err
    assert path.exists() or (said.startswith(f"{path} is removed: ") and said.count("\n") == 1)
    return path.exists()


@pytest.mark.parametrize("content", [b"", bytes(300), WHOLE[:200], WHOLE[:WHOLE.rindex(b"size")], b"schema: '2.0'\n",
                                     b"\xff" + WHOLE, b"schema: '2.0'\nstages:\n  check:\n    cmd: 3\n"])
def test_a_garbled_lock_is_removed(content, capsys):
    assert is_kept(dvc_state.LOCK, WHOLE, capsys)
    assert not is_kept(dvc_state.LOCK, content, capsys)


@pytest.mark.parametrize("content", [b"", bytes(9), notes(1)[:-9], b"[]", b'{"write": {"/a": {}}}', notes(2**22 + 1),
                                     notes(os.getpid())])
def test_notes_of_processes_that_are_gone_are_removed(content, capsys):
    assert not is_kept(dvc_state.NOTES, content, capsys)


def test_notes_of_a_dvc_at_work_are_kept(capsys):
    with subprocess.Popen([sys.executable, "-c", "input()", "dvc", "repro"], stdin=subprocess.PIPE) as process:
        assert is_kept(dvc_state.NOTES, notes(process.pid), capsys)
        process.communicate(b"\n")
    assert is_kept(dvc_state.NOTES, b"{}", capsys) and is_kept(dvc_state.NOTES, b'{"write": {}, "read": {}}', capsys)


def test_a_lock_in_a_merge_is_left_alone(capsys):
    assert is_kept(dvc_state.LOCK, b"schema: '2.0'\n<<<<<<< HEAD\nstages:\n=======\n>>>>>>> other\n", capsys)


def test_nothing_is_made_where_there_is_nothing(capsys):
    dvc_state.main()
    assert capsys.readouterr() == ("", "") and not dvc_state.LOCK.exists()
