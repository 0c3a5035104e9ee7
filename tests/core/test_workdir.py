"""What an interrupted run left is used by a run with the same inputs and params only, and by one process at a time."""

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


def test_one_process_at_a_time():
    with workdir.folder("fit", [1], []):
        running = r"another fit is still running.*\.work/fit\.lock"
        with pytest.raises(UserError, match=running), workdir.folder("fit", [1], []):
            pass
        with workdir.folder("other", [1], []):
            pass
