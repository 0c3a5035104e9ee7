"""A preset is what differs from presets/defaults.yaml; params.yaml is written from both, with its comments."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from stages.core.errors import UserError
from tools import preset

DEFAULTS = """# Every key.
data:
  name: images                  # what the set is called
  masks: {classes: {}, unknown: stop} # see shapes
  layout: folder
train:                          # of the student
  seeds: [0, 1, 2]              # a network each
  epochs: 60
  options: {depth: 8, width: 8}
  limit:
    size: null                  # MB
    time: null
report:
  about: >- # Markdown
    Not stated.
  pictures: false               # of the data
"""
SHAPES = """# Shapes with masks.
# Two lines.

data:
  # Colours of the masks.
  name: shapes
  masks:
    # Inside.
    classes: {a: 0}
    unknown: ignore             # or stop
# One network, for the masks.
train:
  seeds: [0]
  # Wider,
  #   as shapes have many sides.
  options: {width: 1e+1}
  limit:
    # Of the device.
    size: 1.50                  # not taken over
report:
  about: >-
    Drawn, # and not found,
    by us.
  # Ours.
  pictures: true
"""
WRITTEN = """# Shapes with masks.
# Two lines.
data:
  # Colours of the masks.
  name: shapes                  # what the set is called
  masks:
    # Inside.
    classes: {a: 0}
    unknown: ignore             # or stop
  layout: folder
# One network, for the masks.
train:                          # of the student
  seeds: [0]                    # a network each
  epochs: 60
  # Wider,
  # as shapes have many sides.
  options: {width: 1e+1}
  limit:
    # Of the device.
    size: 1.50                  # MB
    time: null
report:
  about: >- # Markdown
    Drawn, # and not found,
    by us.
  # Ours.
  pictures: true                # of the data
"""


@pytest.fixture
def presets(tmp_path, monkeypatch) -> Path:
    """In place of presets/: a defaults.yaml and two presets. params.yaml is written into the folder above."""
    folder = tmp_path / "presets"
    folder.mkdir()
    (folder / "defaults.yaml").write_text(DEFAULTS)
    (folder / "shapes.yaml").write_text(SHAPES)
    (folder / "plain.yaml").write_text("# As it is.\ndata: {name: images}\n")
    monkeypatch.setattr(preset, "PRESETS", folder)
    monkeypatch.setattr(preset, "DEFAULTS", folder / "defaults.yaml")
    monkeypatch.chdir(tmp_path)
    preset.text.cache_clear()
    yield folder
    preset.text.cache_clear()


def test_comments_and_columns(presets):
    assert preset.text("shapes") == WRITTEN
    assert preset.values("shapes")["train"] == {"seeds": [0], "epochs": 60, "options": {"width": 10.0},
                                                "limit": {"size": 1.5, "time": None}}


@pytest.mark.parametrize(("text", "message"), [
    ("train: {epoch: 3}", "presets/bad.yaml: train.epoch is unknown; known here: seeds, epochs, options, limit "),
    ("trian: {epochs: 3}", "presets/bad.yaml: trian is unknown; known here: data, train, report "),
    ("train: 3", "presets/bad.yaml: train is 3; it holds keys: seeds, epochs, options, limit"),
    ("train: {epochs: 3, epochs: 4}", r".*bad.yaml is not readable as YAML: line 1: found duplicate key .*"),
    ("- train", ".*bad.yaml holds no keys"),
])
def test_a_preset_that_does_not_fit(presets, text, message):
    (presets / "bad.yaml").write_text(text + "\n")
    with pytest.raises(UserError, match=f"^{message}"):
        preset.text("bad")


def test_braces_are_one_value(presets):
    (presets / "free.yaml").write_text("train:\n  options: {colour: red}\n")
    assert preset.values("free")["train"]["options"] == {"colour": "red"}


def test_an_unknown_name(presets):
    for name in ("shape", "defaults", ""):
        with pytest.raises(UserError, match=f"^there is no preset '{name}'; known: plain, shapes "):
            preset.text(name)


def test_an_edited_file_is_kept(presets, capsys):
    file = Path("params.yaml")
    preset.write("shapes", force=False)
    preset.write("plain", force=False)
    assert capsys.readouterr().out.endswith("params.yaml is now the preset plain:\nAs it is.\n")
    assert file.read_text() == DEFAULTS.replace("# Every key.", "# As it is.")
    edited = file.read_text().replace("epochs: 60", "epochs: 61")
    file.write_text(edited)
    with pytest.raises(UserError, match=r"^params.yaml has been edited .*FORCE=1"):
        preset.write("shapes", force=False)
    assert file.read_text() == edited
    preset.write("shapes", force=True)
    assert file.read_text() == WRITTEN


def test_the_command(tmp_path):
    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, "-m", "tools.preset", *arguments], cwd=tmp_path, capture_output=True,
                              text=True, env={"PYTHONPATH": str(ROOT)})

    listed = run().stdout
    assert [line for line in listed.splitlines() if not line.startswith("    ")] == preset.names()
    assert "    scikit-learn's handwritten digits" in listed
    assert run("scenes", "--print").stdout == preset.text("scenes") and not list(tmp_path.iterdir())
    assert run("scenes").returncode == 0 and (tmp_path / "params.yaml").read_text() == preset.text("scenes")
    wrong = run("scene")
    assert wrong.returncode == 1 and wrong.stderr.startswith("preset: there is no preset 'scene'; known: aerial, ")
    assert wrong.stderr.count("\n") == 1


def test_params_yaml_is_the_preset_digits():
    """Where this fails after an edit of defaults.yaml: make preset NAME=digits FORCE=1"""
    assert (ROOT / "params.yaml").read_text(encoding="utf-8") == preset.text("digits")


def leaves(values: dict, defaults: dict, path: str = ""):
    for key, value in values.items():
        replaced = ("data.masks.classes", "teacher.options", "student.options")
        if isinstance(value, dict) and f"{path}{key}" not in replaced:
            yield from leaves(value, defaults[key], f"{path}{key}.")
        else:
            yield f"{path}{key}", value, defaults[key]


@pytest.mark.parametrize("name", preset.names())
def test_presets_hold_only_what_differs(name):
    defaults = preset.params.read_yaml(preset.DEFAULTS)
    stated = preset.params.read_yaml(preset.PRESETS / f"{name}.yaml")
    assert not [key for key, value, default in leaves(stated, defaults) if value == default]
    assert {"name", "source"} <= stated["data"].keys()
    assert {"title", "provenance", "intended", "out_of_scope"} <= stated["report"].keys()
