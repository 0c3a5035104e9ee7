"""What an interrupted or powered-off run left in .work: continued where it is whole, else made anew; the same bytes."""

from pathlib import Path

import numpy as np
import pytest
from training_data import NET, recipe

from stages import teacher_targets
from stages.data import augmentation, prepared
from stages.distillation import teacher_logits
from stages.models import factory
from stages.training.linear_probe import LinearProbe

TARGETS = teacher_logits.TargetParams(mode="clean", views=1, seed=0, features=False, stride=1, batch_size=8,
                                      precision="fp32")
# Of a file's content; None: the file is gone.
STATES = {"whole": lambda content: content, "empty": lambda content: b"", "cut": lambda content: content[:-9],
          "zeros": lambda content: bytes(len(content)), "gone": None,
          "flipped": lambda content: content[:20] + bytes([content[20] ^ 4]) + content[21:]}


def change(path: Path, state: str) -> None:
    path.unlink() if STATES[state] is None else path.write_bytes(STATES[state](path.read_bytes()))


@pytest.fixture
def counted(monkeypatch) -> list[int]:
    """The passes of each batch that the teacher computes; after as many as `limit` (the first item) it is stopped."""
    calls, logits = [100], teacher_logits.logits

    def stop(*arguments):
        for chunk in logits(*arguments):
            if len(calls) > calls[0]:
                raise KeyboardInterrupt
            calls.append(arguments[-1])
            yield chunk

    monkeypatch.setattr(teacher_logits, "logits", stop)
    return calls


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", ["targets.npy", "targets.npy.seal"])
def test_logits(prepared_folder, counted, capsys, name, state):
    network, images = factory.freeze(factory.build(NET, 3, (16, 16), 0)), augmentation.ImageArrays(
        prepared.images("train"))

    def write(path: str) -> bytes:
        teacher_targets.write_logits(network, images, TARGETS, recipe().augment, Path(path))
        return Path(path).read_bytes()

    whole = write("whole.npy")  # 48 images twice, eight at a time, and one image to know the shape by
    assert len(counted) == 1 + 13 and np.load("whole.npy").shape == (2, 48, 3)
    counted[:] = [6]
    with pytest.raises(KeyboardInterrupt):
        write("targets.npy")
    change(Path(name), state)
    counted[:] = [100]
    capsys.readouterr()
    assert write("targets.npy") == whole
    assert len(counted) == 1 + (8 if state == "whole" else 13)
    assert ("targets.npy is damaged" in capsys.readouterr().err) is (state != "whole")


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", ["features-train.npy", "features-val.npy.seal"])
def test_features(prepared_folder, monkeypatch, name, state):
    made, passes = [], LinearProbe._passes
    monkeypatch.setattr(LinearProbe, "_passes", lambda *given: made.append(given[1]) or passes(*given))

    def probe() -> tuple[bytes, bytes]:
        result = LinearProbe(factory.build(NET, 3, (16, 16), 0), recipe(), Path())
        return result.train.tobytes(), result.val.tobytes()

    first = probe()
    assert made == ["train", "val"]
    change(Path(name), state)
    assert probe() == first
    assert made[2:] == ([] if state == "whole" else [name.split("-")[1].split(".")[0]])
