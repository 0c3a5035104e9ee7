"""The process that runs a model: what it measures is the model's own."""
# ruff: noqa: F401, F811 (fixtures are imported)

from exported_networks import exported

from stages.core.device import peak_memory_mb
from stages.deployment import latency


def test_a_runner_does_not_inherit_the_memory_of_its_parent(exported):
    with latency.Runner(exported / "int8.onnx", 1) as process:
        peak = process.measure(1, 2, 0)["peak_memory_mb"]
    assert 20 < peak < peak_memory_mb() / 2  # here torch is loaded
