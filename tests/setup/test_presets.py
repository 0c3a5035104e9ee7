"""A preset is what differs from presets/defaults.yaml; params.yaml is written from both, with its comments."""

from pathlib import Path

import pytest
from conftest import ROOT

from stages.core import params
from stages.core.errors import UserError
from stages.setup import presets

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
def folder(tmp_path, monkeypatch) -> Path:
    """In place of presets/: a defaults.yaml and two presets. params.yaml is written into the folder above."""
    folder = tmp_path / "presets"
    folder.mkdir()
    (folder / "defaults.yaml").write_text(DEFAULTS)
    (folder / "shapes.yaml").write_text(SHAPES)
    (folder / "plain.yaml").write_text("# As it is.\ndata: {name: images}\n")
    monkeypatch.setattr(presets, "PRESETS", folder)
    monkeypatch.setattr(presets, "DEFAULTS", folder / "defaults.yaml")
    monkeypatch.chdir(tmp_path)
    presets.text.cache_clear()
    yield folder
    presets.text.cache_clear()


def test_comments_and_columns(folder):
    assert presets.text("shapes") == WRITTEN
    assert presets.values("shapes")["train"] == {"seeds": [0], "epochs": 60, "options": {"width": 10.0},
                                                "limit": {"size": 1.5, "time": None}}


@pytest.mark.parametrize(("text", "message"), [
    ("train: {epoch: 3}", "presets/bad.yaml: train.epoch is unknown; known here: seeds, epochs, options, limit "),
    ("trian: {epochs: 3}", "presets/bad.yaml: trian is unknown; known here: data, train, report "),
    ("train: 3", "presets/bad.yaml: train is 3; it holds keys: seeds, epochs, options, limit"),
    ("train: {epochs: 3, epochs: 4}", r".*bad.yaml is not readable as YAML: line 1: found duplicate key .*"),
    ("- train", ".*bad.yaml holds no keys"),
])
def test_a_preset_that_does_not_fit(folder, text, message):
    (folder / "bad.yaml").write_text(text + "\n")
    with pytest.raises(UserError, match=f"^{message}"):
        presets.text("bad")


def test_braces_are_one_value(folder):
    (folder / "free.yaml").write_text("train:\n  options: {colour: red}\n")
    assert presets.values("free")["train"]["options"] == {"colour": "red"}


def test_a_changed_value_stands_under_its_own_reason():
    """In place of the comment above it; those beside it, and all else, stay."""
    before = presets.text("digits")
    above, beside = "  # An epoch is 130 images.\n  epochs: 70\n", "  learning_rate: 0.01\n"
    assert before.count(above) == before.count(beside) == 1
    assert presets.changed(before, "student_training", {"epochs": 9, "learning_rate": 0.5}, "Found.") == before.replace(
        above, "  # Found.\n  epochs: 9\n").replace(beside, "  # Found.\n  learning_rate: 0.5\n")


def test_an_unknown_name(folder):
    for name in ("shape", "defaults", ""):
        with pytest.raises(UserError, match=f"^there is no preset '{name}'; known: plain, shapes "):
            presets.text(name)


def test_an_edited_file_is_found(folder):
    presets.check_unedited(force=False)  # there is none yet
    for content in (presets.text("plain"), "# Of neither.\n"):
        presets.write(content)
        assert Path("params.yaml").read_text() == content
        presets.check_unedited(force=False)
    for damaged in (b"", bytes(9), b"\xff"):
        kept, _ = presets.WRITTEN.read_bytes(), presets.WRITTEN.write_bytes(damaged)  # as a power loss may leave it
        with pytest.raises(UserError, match="FORCE=1"):
            presets.check_unedited(force=False)
        presets.WRITTEN.write_bytes(kept)
    edited = Path("params.yaml").read_text().replace("neither", "nobody")
    Path("params.yaml").write_text(edited)
    with pytest.raises(UserError, match=r"^params.yaml has been edited; .*FORCE=1"):
        presets.check_unedited(force=False)
    presets.check_unedited(force=True)
    Path("params.yaml").write_text(presets.text("shapes"))  # by hand, but a preset all the same
    presets.check_unedited(force=False)


def test_params_yaml_is_the_preset_digits():
    """Where this fails after an edit of defaults.yaml: make preset NAME=digits FORCE=1"""
    assert (ROOT / "params.yaml").read_text(encoding="utf-8") == presets.text("digits")


def leaves(values: dict, defaults: dict, path: str = ""):
    for key, value in values.items():
        replaced = ("data.masks.classes", "teacher.options", "student.options")
        if isinstance(value, dict) and f"{path}{key}" not in replaced:
            yield from leaves(value, defaults[key], f"{path}{key}.")
        else:
            yield f"{path}{key}", value, defaults[key]


@pytest.mark.parametrize("name", presets.names())
def test_presets_hold_only_what_differs(name):
    defaults = params.read_yaml(presets.DEFAULTS)
    stated = params.read_yaml(presets.PRESETS / f"{name}.yaml")
    assert not [key for key, value, default in leaves(stated, defaults) if value == default]
    assert {"name", "source"} <= stated["data"].keys()
    assert {"title", "provenance", "intended", "out_of_scope"} <= stated["report"].keys()
