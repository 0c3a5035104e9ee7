"""What an interrupted run left is used by a run with the same inputs and params only, and by one process at a time."""

import hashlib
import importlib
from pathlib import Path

import pytest

from stages.core import workdir
from stages.core.errors import UserError


def interrupted(params=(1,), inputs=("in",)) -> list[str]:
    """What a run finds in its folder; it leaves a checkpoint and is stopped."""
    with pytest.raises(KeyboardInterrupt), workdir.folder("fit", params, map(Path, inputs)) as place:
        names = sorted(path.name for path in place.iterdir() if path.name != "key")
        (place / "checkpoint").write_text("epoch 3")
        raise KeyboardInterrupt
    return names


@pytest.fixture(autouse=True)
def inputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in/below").mkdir(parents=True)
    Path("in/below/a").write_text("1")


def test_a_checkpoint_is_found_again_until_the_work_is_done():
    assert interrupted() == [] and interrupted() == ["checkpoint"]
    with workdir.folder("fit", [1], [Path("in")]) as place:
        assert (place / "checkpoint").read_text() == "epoch 3"
    assert not place.exists() and interrupted() == []


def test_other_params_or_inputs_find_nothing():
    interrupted()
    assert interrupted(params=(2,)) == []
    assert interrupted(params=(2,), inputs=("in", "missing")) == ["checkpoint"]  # a missing input counts as none
    Path("in/below/a").write_text("2")
    assert interrupted(params=(2,)) == []
    Path("in/b").write_text("2")
    assert interrupted(params=(2,)) == []


def states(content: bytes) -> list[bytes]:
    """A file as a power loss may leave it, and with a flipped bit."""
    return [b"", content[:-3], bytes(len(content)), content[:5] + bytes([content[5] ^ 1]) + content[6:]]


def test_what_is_sealed_is_used_as_it_was_written(capsys):
    path, digest = Path("in/part"), hashlib.sha256(b"0123456789")
    assert workdir.sealed(path) is None
    path.write_bytes(b"0123456789, and what came after the seal")
    workdir.seal(path, 10, digest, 1.5)
    found = workdir.sealed(path)
    assert (found.size, found.seconds) == (10, 1.5)
    found.digest.update(b"ab")
    assert found.digest.digest() == hashlib.sha256(b"0123456789ab").digest()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("damaged", ["part", "part.seal"])
def test_what_is_not_as_it_was_written_is_not_there(damaged, capsys):
    path, file = Path("in/part"), Path("in", damaged)
    path.write_bytes(b"0123456789")
    assert workdir.seal_whole(path, 1.0).size == 10 and workdir.sealed(path)
    for content in states(file.read_bytes()):
        kept = file.read_bytes()
        file.write_bytes(content)
        assert workdir.sealed(path) is None
        assert capsys.readouterr().err == "in/part is damaged, so it is made anew\n"
        file.write_bytes(kept)
    file.unlink()
    assert workdir.sealed(path) is None
    capsys.readouterr()


@pytest.mark.parametrize("is_main", [True, False])
def test_of_several_processes_all_wait_until_the_main_one_has_sealed(monkeypatch, is_main):
    """The file appears, and its seal, before the main one meets the others: they look at neither before."""
    path = Path("in/late")

    def meet():
        assert is_main == Path("in/late.seal").exists()
        path.write_bytes(b"0123456789")

    monkeypatch.setattr(workdir.ranks, "is_main", lambda: is_main)
    monkeypatch.setattr(workdir.ranks, "barrier", meet)
    if is_main:
        path.write_bytes(b"0123456789")
    assert workdir.seal_whole(path, 1.0).size == 10


def test_a_damaged_key_is_another_run():
    for content in (b"", b"\xff\0", b"0" * 100):
        interrupted()
        Path(".work/fit/key").write_bytes(content)
        assert interrupted() == []


def test_one_process_at_a_time():
    with workdir.folder("fit", [1], []):
        running = r"another fit is still running.*\.work/fit\.lock"
        with pytest.raises(UserError, match=running), workdir.folder("fit", [1], []):
            pass
        with workdir.folder("other", [1], []):
            pass


@pytest.mark.parametrize(("stage", "function"), [
    ("clean", "clean"), ("evaluate", "main"), ("benchmark", "benchmark"), ("report", "write_page")])
def test_stages_without_checkpoints_take_their_lock_too(stage, function):
    run = getattr(importlib.import_module(f"stages.{stage}"), function)
    with workdir.lock(stage), pytest.raises(UserError, match=f"another {stage} is still running"):
        run()
    with pytest.raises(UserError, match=r"^params.yaml is missing"):  # the lock is free again
        run()
