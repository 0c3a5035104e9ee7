"""python -m tools.preset writes params.yaml from a preset, and lists the presets."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from stages.core.errors import UserError
from stages.setup import presets
from tools import preset


def test_an_edited_file_is_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file = Path("params.yaml")
    preset.write("scenes", force=False)
    preset.write("digits", force=False)
    assert capsys.readouterr().out.endswith("params.yaml is now the preset digits:\n" + presets.about("digits"))
    assert file.read_text() == presets.text("digits")
    edited = file.read_text().replace("epochs: 70", "epochs: 71")
    file.write_text(edited)
    with pytest.raises(UserError, match=r"^params.yaml has been edited; .*FORCE=1"):
        preset.write("scenes", force=False)
    assert file.read_text() == edited
    preset.write("scenes", force=True)
    assert file.read_text() == presets.text("scenes")


def test_the_command(tmp_path):
    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, "-m", "tools.preset", *arguments], cwd=tmp_path, capture_output=True,
                              text=True, env={"PYTHONPATH": str(ROOT)})

    listed = run().stdout
    assert [line for line in listed.splitlines() if not line.startswith("    ")] == presets.names()
    assert "    scikit-learn's handwritten digits" in listed
    assert run("scenes", "--print").stdout == presets.text("scenes") and not list(tmp_path.iterdir())
    assert run("scenes").returncode == 0 and (tmp_path / "params.yaml").read_text() == presets.text("scenes")
    wrong = run("scene")
    assert wrong.returncode == 1 and wrong.stderr.startswith("preset: there is no preset 'scene'; known: aerial, ")
    assert wrong.stderr.count("\n") == 1
