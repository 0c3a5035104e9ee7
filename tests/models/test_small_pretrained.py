"""The pre-trained small networks that lie in data/weights/ fit the students that they were made for."""

import pytest
import torch
from conftest import ROOT

from stages.models import factory


@pytest.mark.parametrize("depth", [10, 14])
def test_a_student_for_any_number_of_classes_starts_from_it(monkeypatch, depth):
    student = {"model": "small_resnet", "options": {"depth": depth, "width": 32, "stride": 4}}
    monkeypatch.setattr(factory, "WEIGHTS", ROOT / "data/weights")
    drawn, started = (factory.build(factory.NetworkParams(**student, weights=weights), 3, (64, 64), seed=0)
                      for weights in ("none", f"small_resnet_{depth}_32.safetensors"))
    differing = {name for name, value in started.net.state_dict().items()
                 if not torch.equal(value, drawn.net.state_dict()[name])}
    head = {name for name in drawn.net.state_dict() if name.startswith(f"{len(drawn.net) - 1}.")}
    assert differing == set(drawn.net.state_dict()) - head  # the head for other classes is drawn anew
    assert torch.equal(started.mean, drawn.mean) and all(value.dtype in (torch.float32, torch.int64)
                                                         for value in started.net.state_dict().values())
