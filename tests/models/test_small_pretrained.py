"""The pre-trained small network that lies in data/weights/ fits the student that it was made for."""

import torch
from conftest import ROOT

from stages.models import factory

FILE = "small_resnet_10_32.safetensors"
STUDENT = {"model": "small_resnet", "options": {"depth": 10, "width": 32, "stride": 4}}


def test_a_student_for_any_number_of_classes_starts_from_it(monkeypatch):
    monkeypatch.setattr(factory, "WEIGHTS", ROOT / "data/weights")
    drawn, started = (factory.build(factory.NetworkParams(**STUDENT, weights=weights), 3, (64, 64), seed=0)
                      for weights in ("none", FILE))
    differing = {name for name, value in started.net.state_dict().items()
                 if not torch.equal(value, drawn.net.state_dict()[name])}
    head = {name for name in drawn.net.state_dict() if name.startswith(f"{len(drawn.net) - 1}.")}
    assert differing == set(drawn.net.state_dict()) - head  # the head for other classes is drawn anew
    assert torch.equal(started.mean, drawn.mean) and all(value.dtype in (torch.float32, torch.int64)
                                                         for value in started.net.state_dict().values())
