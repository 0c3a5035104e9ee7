"""The process that runs a model: what it measures is the model's own."""
# ruff: noqa: F401, F811 (fixtures are imported)

import pytest
from exported_networks import exported

from stages.core.device import peak_memory_mb
from stages.core.errors import UserError
from stages.deployment import latency


def test_a_runner_does_not_inherit_the_memory_of_its_parent(exported):
    with latency.Runner(exported / "int8.onnx", 1) as process:
        peak = process.measure(1, 2, 0)["peak_memory_mb"]
    assert 20 < peak < peak_memory_mb() / 2  # here torch is loaded


def test_runs_after_the_warm_up_are_timed_once_at_least(exported):
    with latency.Runner(exported / "int8.onnx", 1) as process:
        assert len(process.measure(2, 3, 0)["seconds"]) == 1
        seconds = process.measure(1, 0, 0.2)["seconds"]
    assert len(seconds) > 10 and 0.1 < sum(seconds) < 0.4


def test_a_process_that_ends_says_why(tmp_path):
    with pytest.raises(UserError, match=r"^running (\S+) failed: \1 is missing; run dvc repro to make it$"), \
            latency.Runner(tmp_path / "none.onnx", 1) as process:
        process.measure(1, 0, 0)


def test_models_take_turns():
    calls = []

    class Runner:
        def __init__(self, name: str):
            self.name = name

        def measure(self, *arguments: float) -> dict:
            calls.append((self.name, *arguments))
            return {"seconds": [len(calls)]}

    spent = latency.take_turns({name: Runner(name) for name in "ab"}, 2, 8, 5, 0.5)
    assert spent == {"a": [1, 3], "b": [2, 4]} and calls == [("a", 8, 5, 0.5), ("b", 8, 5, 0.5)] * 2
