"""What several test files use: a temporary project in which stages run as a user runs them."""

import contextlib
import functools
import importlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import forked
import pytest
import yaml
from sources import Server

from stages.core import errors, params
from stages.setup import presets

ROOT = Path(__file__).resolve().parents[1]
# A shell that starts the suite in the background has this ignored, and what a test interrupts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config) -> None:
    """The folder of tests/finished.py, which the workers of a session inherit."""
    if not hasattr(config, "workerinput"):
        folder = tempfile.TemporaryDirectory()
        os.environ["FINISHED_RUNS"] = folder.name
        config.add_cleanup(folder.cleanup)


class Project:
    """A folder with a `params.yaml` of its own; the code stays where it is, since stages read relative paths."""

    def __init__(self, folder: Path, preset: str | None = "digits"):
        """preset: None of a folder that has its params.yaml."""
        self.folder = folder
        self.source = folder / "data" / "source"
        if preset:
            self.source.mkdir(parents=True)
            self.write(_values(preset))

    def params(self) -> dict:
        return params.read_yaml(self.folder / "params.yaml")

    def write(self, values: dict) -> None:
        (self.folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")

    def set(self, key: str, value: object) -> "Project":
        """`set("split.seed", 3)`; keys that aren't there are made, so that wrong ones can be tried."""
        values = self.params()
        *groups, last = key.split(".")
        group = values
        for name in groups:
            group = group.setdefault(name, {})
        group[last] = value
        self.write(values)
        return self

    def remove(self, key: str) -> "Project":
        values = self.params()
        *groups, last = key.split(".")
        group = values
        for name in groups:
            group = group[name]
        del group[last]
        self.write(values)
        return self

    def run(self, *stages: str, arguments: tuple[str, ...] = (), **options) -> subprocess.CompletedProcess:
        """`python -m stages.<stage>` for each in turn, up to the first that fails. env: what differs from this
        process's environment; other options go to subprocess.run.
        """
        changes = {"PYTHONPATH": str(ROOT)} | forked.ENVIRONMENT | options.pop("env", {})
        is_usual = not options and changes == {"PYTHONPATH": str(ROOT)} | forked.ENVIRONMENT
        for stage in stages:
            if is_usual:
                done = forked.run(stage, arguments, self.folder, os.environ | changes)
            else:
                done = subprocess.run([sys.executable, "-m", f"stages.{stage}", *arguments], cwd=self.folder,
                                      env=os.environ | changes, capture_output=True, text=True, **options)
            if done.returncode:
                break
        return done

    def main(self, *stages: str) -> None:
        """Run the stages in this process, which is ten times as fast; what they raise is raised here."""
        for stage in stages:
            with contextlib.chdir(self.folder), mock.patch.object(sys, "argv", [f"stages/{stage}.py"]):
                importlib.import_module(f"stages.{stage}").main()


_values = functools.cache(presets.values)


def to_int8(model, images, centred: bool, per_channel: bool, reduce_range: bool = True):
    """The int8 form of an onnx.ModelProto; the other arguments are those of stages/deployment/int8.py."""
    from stages.deployment import int8

    with int8.calibrated(model, images, centred) as ready:
        return ready.quantised(per_channel, reduce_range)


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def prepared_folder(tmp_path, monkeypatch) -> Path:
    """A folder with data/prepared, which is the current one; torch computes on one thread."""
    import torch
    from training_data import write_prepared

    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    write_prepared(tmp_path)
    return tmp_path


@pytest.fixture
def fails(project, monkeypatch, capsys) -> Callable[..., str]:
    """Run a stage in `project`, which must end with one line on stderr. Returns the line; all of `words` are in it."""

    def check(stage: str, *words: str) -> str:
        monkeypatch.setattr(sys, "argv", [f"stages/{stage}.py"])  # errors.run names the stage by it
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            errors.run(lambda: project.main(stage))
        line = end.value.code
        assert capsys.readouterr().err == "" and line.startswith(f"{stage}: ") and "\n" not in line
        for word in words:
            assert word in line, line
        return line

    return check


@pytest.fixture
def serve():
    servers = []

    def start(*args, **options) -> Server:
        servers.append(Server(*args, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
