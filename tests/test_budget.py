"""The budget: what is measured against which limit, and the gate for CI."""

import subprocess
import sys

from conftest import ROOT
from test_onnx import deployed  # noqa: F401 (a fixture)

from stages.deployment import budget

SIZE = {"int8": {"size_mb": 0.5}}
SPEED = {"int8": {"latency_ms": 2.0, "peak_memory_mb": 60.0}}
QUALITY = {"teacher": {"accuracy": 91.0, "deployed": 90.0}, "int8": {"accuracy": 70.0, "deployed": 81.0}}


def test_verdicts():
    limits = budget.BudgetParams(size_mb=0.5, latency_ms=1.9, peak_memory_mb=None, accuracy_kept=90.0)
    assert [(found.what, found.measured, found.met) for found in budget.verdicts(limits, SIZE, SPEED, QUALITY)] == [
        ("size, MB", 0.5, True), ("latency, ms", 2.0, False), ("accuracy kept, %", 90.0, True)]
    assert not budget.verdicts(budget.BudgetParams(**dict.fromkeys(budget.BudgetParams.model_fields)), SIZE, SPEED)


def test_the_budget_is_a_gate(deployed):  # noqa: F811
    params = deployed.folder / "params.yaml"
    before = params.read_text(encoding="utf-8")

    def check(**limits) -> subprocess.CompletedProcess:
        for key in budget.BudgetParams.model_fields:
            deployed.set(f"benchmark.budget.{key}", limits.get(key))
        return subprocess.run([sys.executable, "-m", "stages.benchmark", "--check"], cwd=deployed.folder,
                              capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})

    try:
        assert check().returncode == 0
        kept = check(size_mb=100.0, latency_ms=1e4, accuracy_kept=0.1)
        assert kept.returncode == 0 and kept.stdout.count(": pass") == 3
        broken = check(size_mb=100.0, latency_ms=1e-6)
        assert broken.returncode == 1 and "latency, ms" in broken.stderr and len(broken.stderr.splitlines()) == 1
        deployed.run("report")
        assert "| **fail** |" in (deployed.folder / "report/report.md").read_text(encoding="utf-8")
    finally:
        params.write_text(before, encoding="utf-8")
