"""The metrics that tests make up have no key, and no kind of value, that those of the last run have not."""

import json
import sys
from collections.abc import Iterator, Mapping

import measurements
import pytest
import small_project
from conftest import ROOT

# What a run has only where there is such a thing: a gap with an interval, and findings that were acted on.
SOMETIMES = {"distillation.gap_recovered_low": float, "distillation.gap_recovered_high": float,
             "acted_on.duplicate": int}


def kinds(value: object, key: str = "") -> Iterator[tuple[str, type]]:
    """(dotted key, type) of each value. Counts by class are left out: their keys are names."""
    if isinstance(value, Mapping) and key not in ("before", "after"):
        for name, inner in value.items():
            yield from kinds(inner, f"{key}.{name}".strip("."))
    else:
        yield key, type(value)


def real(name: str) -> dict[str, type]:
    return dict(kinds(json.loads((ROOT / f"metrics/{name}.json").read_text(encoding="utf-8")))) | SOMETIMES


@pytest.mark.parametrize("name", ["quality", "size", "speed", "quantisation", "data"])
def test_those_of_the_report(name):
    assert dict(kinds(measurements.facts()[name])).items() <= real(name).items()


@pytest.mark.parametrize("stage", ["train_teacher", "teacher_targets", "train_baseline", "distill"])
def test_the_reports_times(stage):
    assert dict(kinds(measurements.facts()["timing"][stage])).items() <= real(f"timing/{stage}").items()


def test_those_of_the_small_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["step.py", "evaluate"])
    (tmp_path / "params.yaml").write_text(small_project.FILES["params.yaml"], encoding="utf-8")
    exec(small_project.FILES["step.py"], {})
    for name in ("quality", "size", "speed"):
        made = json.loads((tmp_path / f"metrics/{name}.json").read_text(encoding="utf-8"))
        assert dict(kinds(made)).items() <= real(name).items()
