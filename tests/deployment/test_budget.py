"""The budget: what is measured against which limit, and the gate for CI."""

import subprocess

import finished
import pytest

from stages.core import files
from stages.core.errors import UserError
from stages.deployment import budget

SIZE = {"int8": {"size_mb": 0.5}}
SPEED = {"int8": {"latency_ms": 2.0, "peak_memory_mb": 60.0}}
QUALITY = {"teacher": {"accuracy": 91.0, "deployed": 90.0}, "int8": {"accuracy": 70.0, "deployed": 81.0}}


def limits_of(**limits: float | None) -> budget.BudgetParams:
    return budget.BudgetParams(**dict.fromkeys(budget.BudgetParams.model_fields) | limits)


def test_verdicts():
    limits = limits_of(size_mb=0.5, latency_ms=1.9, peak_memory_mb=None, accuracy_kept=90.0)
    verdicts = budget.verdicts(limits, SIZE, SPEED, QUALITY)
    assert [(verdict.what, verdict.measured, verdict.met) for verdict in verdicts] == [
        ("size, MB", 0.5, True), ("latency, ms", 2.0, False), ("accuracy kept, %", 90.0, True)]
    unlimited = limits_of()
    assert not budget.verdicts(unlimited, SIZE, SPEED, QUALITY)
    assert not budget.verdicts(unlimited, None, None, None)
    assert len(budget.costs(limits, SIZE, SPEED)) == 2  # before evaluate has run nothing is known of accuracy


def test_a_limit_is_kept_where_it_is_met_exactly():
    limits = limits_of(size_mb=0.5, latency_ms=2.0, peak_memory_mb=60.0, accuracy_kept=90.0)
    assert [verdict[:3] for verdict in budget.verdicts(limits, SIZE, SPEED, QUALITY)] == [
        ("size, MB", 0.5, 0.5), ("latency, ms", 2.0, 2.0), ("peak memory, MB", 60.0, 60.0),
        ("accuracy kept, %", 90.0, 90.0)]
    assert all(verdict.met for verdict in budget.verdicts(limits, SIZE, SPEED, QUALITY))
    tighter = limits_of(size_mb=0.49, latency_ms=1.99, peak_memory_mb=59.9, accuracy_kept=90.1)
    assert not any(verdict.met for verdict in budget.verdicts(tighter, SIZE, SPEED, QUALITY))


def test_what_a_user_meets_has_limits_of_its_own():
    speed = {"int8": SPEED["int8"] | {"photograph_ms": 97.0, "cold_start_ms": 400.0, "photograph_memory_mb": 124.0}}
    limits = limits_of(photograph_ms=100.0, cold_start_ms=399.0, photograph_memory_mb=124.0)
    assert budget.costs(limits, SIZE, speed) == [
        ("photograph, ms", 97.0, 100.0, True), ("cold start, ms", 400.0, 399.0, False),
        ("photograph's memory, MB", 124.0, 124.0, True)]


def test_of_a_teacher_that_is_always_wrong_nothing_is_kept():
    limits = limits_of(size_mb=None, latency_ms=None, peak_memory_mb=None, accuracy_kept=100.0)
    (verdict,) = budget.verdicts(limits, SIZE, SPEED, {name: {"deployed": 0.0} for name in ("teacher", "int8")})
    assert verdict == ("accuracy kept, %", 0.0, 100.0, False)


@pytest.mark.parametrize("broken", [
    None, {}, [], "x", {"int8": None, "teacher": None}, {"int8": {}, "teacher": {}},
    *({"teacher": {"deployed": 90.0}, "int8": dict.fromkeys((*budget.BudgetParams.model_fields, "deployed"), value)}
      for value in (None, "81", True, float("nan"), float("inf"), [1]))])
def test_what_was_not_measured_keeps_to_no_limit(broken):
    limits = limits_of(size_mb=9.0, latency_ms=9.0, peak_memory_mb=99.0, accuracy_kept=1.0)
    for number, file in enumerate(("size", "speed", "quality")):
        tables = [SIZE, SPEED, QUALITY]
        tables[number] = broken
        with pytest.raises(UserError, match=rf"^metrics/{file}.json holds no number at (int8|teacher)\."):
            budget.verdicts(limits, *tables)


def test_a_cost_of_nothing_is_no_measurement():
    limits = limits_of(size_mb=9.0, latency_ms=9.0, peak_memory_mb=99.0, accuracy_kept=None)
    speed = {"int8": {"latency_ms": 0.0, "peak_memory_mb": -1}}
    assert [verdict.met for verdict in budget.costs(limits, {"int8": {"size_mb": 0}}, speed)] == [False] * 3


def test_verdicts_as_lines():
    lines = budget.describe([budget.Verdict("latency, ms", 2.34567, 2.0, False),
                             budget.Verdict("accuracy kept, %", 98.0, 97.5, True)])
    assert lines == "latency, ms: 2.346, at most 2: FAIL\naccuracy kept, %: 98, at least 97.5: pass"
    assert budget.describe([]) == "benchmark.budget in params.yaml sets no limits"


@pytest.mark.slow
def test_the_budget_is_a_gate(tmp_path):
    project = finished.copied("classes", tmp_path)

    def check(**limits) -> subprocess.CompletedProcess:
        project.set("benchmark.budget", dict.fromkeys(budget.BudgetParams.model_fields) | limits)
        return project.run("benchmark", arguments=("--check",))

    assert check().returncode == 0
    kept = check(size_mb=100.0, latency_ms=1e4, accuracy_kept=0.1)
    assert kept.returncode == 0 and kept.stdout.count(": pass") == 3
    broken = check(size_mb=100.0, latency_ms=1e-6)
    assert broken.returncode == 1 and "latency, ms" in broken.stderr and len(broken.stderr.splitlines()) == 1
    assert not project.run("report").returncode
    assert "| **fail** |" in (tmp_path / "report/report.md").read_text(encoding="utf-8")
    speed = finished.read("classes", "metrics/speed.json")
    del speed["int8"]["latency_ms"]
    for lacking in (speed, {}):
        files.write_json(tmp_path / "metrics/speed.json", lacking)
        untold = check(latency_ms=1e4)
        assert untold.returncode == 1 and "metrics/speed.json holds no number at int8.latency_ms" in untold.stderr
