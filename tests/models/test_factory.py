"""Networks from files: a damaged one is one line."""

import numpy as np
import pytest
from training_data import NET, build

from stages.core.errors import UserError
from stages.models import factory

DAMAGE = {"empty": lambda content: b"", "cut": lambda content: content[:-9], "short": lambda content: content[:5],
          "zeros": lambda content: bytes(len(content)), "longer": lambda content: content + b"\0",
          "noise": lambda content: np.random.default_rng(0).integers(0, 256, len(content), np.uint8).tobytes(),
          "header": lambda content: content.replace(b'"normalisation":"[[', b'"normalisation":"{{')}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_of_weights_is_one_line(tmp_path, damage):
    path = tmp_path / "teacher.safetensors"
    factory.save(build(NET, size=16), path)
    whole = path.read_bytes()
    assert factory.load(NET, path, 4)
    path.write_bytes(DAMAGE[damage](whole))
    assert path.read_bytes() != whole
    with pytest.raises(UserError, match=r"teacher.safetensors is no readable safetensors file"):
        factory.load(NET, path, 4)


def test_a_folder_or_nothing_in_the_place_of_weights(tmp_path):
    with pytest.raises(UserError, match="not found"):
        factory.load(NET, tmp_path / "gone.safetensors", 4)
    with pytest.raises(UserError, match="no readable safetensors file"):
        factory.load(NET, tmp_path, 4)
