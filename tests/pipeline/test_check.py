"""python -m stages.check: whatever params.yaml holds, it is one line, before any work."""

import copy
import functools
import os
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import pytest
import yaml
from conftest import ROOT

from stages import check
from stages.core import params
from stages.core.errors import UserError
from stages.reporting.numbers import flattened
from stages.setup import presets

DEFAULTS = presets.values("digits")
KEYS = [*dict(flattened(DEFAULTS)), *DEFAULTS, "data.masks.classes", "teacher.options", "student_training.augment"]
# Each is put in the place of each key. Some of them fit some keys.
VALUES = (None, True, "", "x", 0, -1, 1.5, float("inf"), float("nan"), 1e308, -1e308, 5e-324, 2**32, 10**30, 10**5000,
          [], {}, [1, [2, {"a": "b"}]], {"a": [1, 2, 3]}, {1: 2}, "http://[::1", "file://", "../../../etc/passwd",
          "\ud800", "a\0b", "\x1b[31m", "a\nb", "[" * 3000, "x" * 30_000)
# These are wrong as YAML, by the rules of the reader or of Python's own types.
TEXTS = ("2024-13-45", "0001-01-01T99:99:99", "1" * 5000, "0x" + "f" * 5000, "{a: 1, a: 2}", "&a [*a]", "[" * 20_000,
         "{a: " * 3000, "!!binary x", "!!int y", "!!float z", "!!python/name:os.system", "!!timestamp x", "*unknown",
         "@", "{? [1]: 2, ? {a: b}: 3}", '"\\ud800"', '"a\\0b"', "[*a", "'")


def line(values: dict) -> str:
    """What check says of these values of params.yaml; "" where they fit. Anything but a UserError is raised."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(params, "_parsed", lambda text: values)
        try:
            found = "; ".join(check.find_problems(params.load_all()))
        except UserError as error:
            found = str(error)
    assert "\n" not in found.replace("a\nb", "") and len(found) < 3300
    return found


def with_value(key: str, value: object) -> dict:
    values = copy.deepcopy(DEFAULTS)
    *parents, name = key.split(".")
    functools.reduce(dict.__getitem__, parents, values)[name] = value
    return values


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(presets.text("digits"), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("key", KEYS)
def test_no_value_of_any_key_is_a_traceback(key, monkeypatch):
    """Nor is every one accepted. Networks are drawn for their own keys alone, since that takes longest."""
    if not key.startswith(("data.task", "split.image_size", "teacher", "student")):
        monkeypatch.setattr(check, "TOGETHER", check.TOGETHER[:3])
    lines = [line(with_value(key, value)) for value in VALUES]
    assert any(lines)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:12])
def test_what_is_no_yaml_is_one_line(folder, text):
    for key in ("  seed: 0\n", "  title: Handwritten digits, distilled\n"):
        before = presets.text("digits")
        assert key in before
        (folder / "params.yaml").write_text(before.replace(key, f"{key.split(':')[0]}: {text}\n", 1), encoding="utf-8")
        with pytest.raises(UserError) as error:
            params.load_all()
        assert str(error.value).startswith("params.yaml") and len(str(error.value)) < 500


def test_a_bomb_of_aliases(folder):
    levels = [f"{name}: &{name} [{', '.join([f'*{below}'] * 9)}]"
              for below, name in zip("abcdefgh", "bcdefghi", strict=True)]
    (folder / "params.yaml").write_text("\n".join(["a: &a [1]", *levels]) + "\n")
    with pytest.raises(UserError, match="holds more than 200,000 values"):
        params.load_all()


def test_a_pipe_is_not_waited_for(folder):
    (folder / "params.yaml").unlink()
    os.mkfifo(folder / "params.yaml")
    with pytest.raises(UserError, match=r"^params.yaml is no file"):
        params.load_all()


@pytest.mark.parametrize(("changes", "words"), [
    ({"split.resize": "tiles"}, ["split.resize is tiles", "data.task classification"]),
    ({"data.layout": "folders"}, ["data.layout is 'folders'", "image_folder"]),
    ({"data.layout_options": {"subfolder": "stop"}}, ["data.layout_options.subfolder is unknown", "subfolders"]),
    ({"data.layout_options": {"tables": "skip"}}, ["data.layout_options.tables is 'skip'"]),
    ({"data.layout": "image_table", "data.layout_options": {"path": ""}}, ["data.layout_options.path is ''"]),
    ({"data.layout": "tiny_imagenet", "data.layout_options": {"x": 1}}, ["tiny_imagenet has no options"]),
    ({"data.layout": "image_table", "data.layout_options": {"path": "{id}", "x": 1}}, ["data.layout_options.x"]),
    ({"data.task": "guessing"}, ["data.task is 'guessing'", "segmentation"]),
    ({"data.name": ["digits"]}, ["data.name is ['digits']"]),
    ({"data.task": "segmentation"}, ["data.masks.classes has 0 class(es)"]),
    ({"distill.loss": "cwd"}, ["distill.loss cwd", "segmentation"]),
    ({"teacher_training.augment.padding": 32}, ["teacher_training.augment.padding is 32", "split.image_size"]),
    ({"split.image_size": [24, 40], "student_training.augment.padding": 30},
     ["student_training.augment.padding is 30", "split.image_size, 24,"]),
    ({"split.image_size": [24, 40], "student_training.augment.turns": True},
     ["student_training.augment.turns is true", "40×24 pixels (width × height)", "split.image_size"]),
    ({"split.image_size": [24, 40, 3]}, ["split.image_size: [24, 40, 3] is no size"]),
    ({"teacher.options.depht": 8}, ["small_resnet.depht is unknown", "(section teacher)"]),
    ({"student.options.depth": 9}, ["small_resnet.depth is 9", "(section student)"]),
    ({"student.model": "unet", "student.options": {"depth": 2, "width": 4, "upsampling": "nearest"}},
     ["student.model unet gives one answer a pixel", "data.task classification"]),
    ({"student.weights": "mine.safetensors"}, ["data/weights/mine.safetensors not found", "(section student)"]),
    ({"student.weights": "imagenet"}, ["small_resnet has none", "(section student)"]),
    ({"teacher.mode": "frozen"}, ["teacher", "mode is frozen and weights is none"]),
    ({"teacher.model": "torchvision", "teacher.options": {"architecture": "vgg16", "stem": "standard"},
      "split.image_size": [16, 24], "teacher_training.augment.padding": 1, "student_training.augment.padding": 1},
     ["can't take images of 24×16", "(section teacher)"]),
    ({"training.processes": 17}, ["a batch of 32 images is too small to be shared by 17 processes"]),
    ({"distill.temperature": "hot", "split.seed": -1}, ["split.seed", "distill.temperature"]),
])
def test_what_does_not_fit_together(changes, words):
    values = copy.deepcopy(DEFAULTS)
    for key, value in changes.items():
        *parents, name = key.split(".")
        functools.reduce(dict.__getitem__, parents, values)[name] = value
    found = line(values)
    assert all(word in found for word in words), found


def test_oblong_images_hold_together():
    values = copy.deepcopy(DEFAULTS)
    values["split"]["image_size"] = [24, 40]
    assert not line(values)


def with_params(folder, **changes: object) -> None:
    """params.yaml with these keys, written as scan__weights."""
    values = copy.deepcopy(DEFAULTS)
    for key, value in changes.items():
        section, _, name = key.partition("__")
        values[section][name] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


def test_images_that_are_not_here_stop_it_before_fetch_throws_away_what_it_made_of_them(folder):
    with_params(folder, data__source="mine.zip")
    source = folder / "data/source"
    source.mkdir(parents=True)
    with pytest.raises(UserError, match=r"'mine.zip', which is not in data/source/ \(there: nothing\)") as error:
        check.main()
    assert "dvc repro --downstream" not in str(error.value)
    (folder / "data/raw.zip").touch()
    with pytest.raises(UserError, match=r"data/raw.zip is here, though: to go on from it, dvc repro --downstream scan"):
        check.main()
    (source / "mine.zip.dvc").touch()
    with pytest.raises(UserError, match=r"mine.zip.dvc says that DVC keeps it; run: dvc pull data/source/mine.zip.dvc"):
        check.main()
    (source / "mine.zip").touch()
    check.main()


def test_weights_that_judge_labels_are_asked_for_before_there_are_images(folder):
    with_params(folder, scan__backbone="resnet18", scan__weights="mine.safetensors")
    with pytest.raises(UserError, match=r"data/weights/mine.safetensors not found \(section scan\)"):
        check.main()


def test_weights_that_can_not_be_downloaded_are_told_and_stop_nothing(folder, monkeypatch, capsys):
    """A stage that has run doesn't ask for them again."""
    with_params(folder, scan__backbone="resnet18", scan__weights="imagenet")
    monkeypatch.setattr(check.weights, "can_be_had", lambda architecture: False)
    check.main()
    told, last = capsys.readouterr().err.splitlines()
    assert told.startswith("check: scan asks for torchvision's ImageNet weights of resnet18, which are not stored here")
    assert last == "check: params.yaml holds together"


@pytest.mark.parametrize("kind", ["zip", "folder", "classes", "tar"])
def test_room_on_the_disk(folder, monkeypatch, kind):
    """10 + 20 bytes and one picture at 32×32, twice: 6204 bytes; of a tar its 30 bytes, twice."""
    path = folder / f"set.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.png", b"x" * 10)
            archive.writestr("b.txt", b"x" * 20)
    elif kind == "folder":
        path.mkdir()
        (path / "a.png").write_bytes(b"x" * 10)
        (path / "b.txt").write_bytes(b"x" * 20)
    elif kind == "classes":  # names that repeat in each folder
        for name in ("cat", "dog"):
            (path / name).mkdir(parents=True)
            (path / name / "1.png").write_bytes(b"x" * 10)
    else:
        path.write_bytes(b"x" * 30)
    needed = {"tar": 60, "classes": 2 * (20 + 2 * 32 * 32 * 3)}.get(kind, 6204)
    for free in (needed, needed - 1):
        monkeypatch.setattr(check.shutil, "disk_usage", lambda place, free=free: SimpleNamespace(free=free))
        if free == needed:
            check.check_room(path)
        else:
            with pytest.raises(UserError, match=r"GB of disk: what it holds, its images at 32×32 pixels"):
                check.check_room(path)
    check.check_room(None)
    (folder / "broken.zip").write_bytes(b"PK\5\6" + bytes(10) + b"\xff" * 8)
    check.check_room(folder / "broken.zip")  # of which fetch says what is wrong
    (folder / "data").mkdir()
    (folder / "data/raw.zip").touch()
    check.check_room(path)  # what fetch writes is here


def test_masks_and_targets_of_segmentation():
    values = copy.deepcopy(presets.values("digit_scenes"))
    assert not line(values)
    assert "targets.mode is clean" in line(values | {"targets": values["targets"] | {"mode": "clean"}})
    assert "targets.stride is 40" in line(values | {"targets": values["targets"] | {"stride": 40}})
    recipe = values["student_training"] | {"imbalance": "weighted_sampler"}
    assert "student_training.imbalance is weighted_sampler" in line(values | {"student_training": recipe})


@pytest.mark.slow
def test_as_a_command(folder):
    def run() -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, "-m", "stages.check"], capture_output=True, text=True,
                              env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"})

    done = run()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "check: params.yaml holds together\n")
    file = folder / "params.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("temperature: 4.0", "temperature: hot"), encoding="utf-8")
    done = run()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "check: params.yaml: distill.temperature is 'hot': Input should be a valid number\n"
    assert [path.name for path in folder.iterdir()] == ["params.yaml"]
