"""params.yaml is read by DVC's rules, and what doesn't fit is said in one line with file, key and remedy."""

from pathlib import Path

import pydantic
import pytest
from dvc.utils.serialize import parse_yaml

from stages.core import params
from stages.core.errors import UserError


@pytest.mark.parametrize("stage, key, value, words", [
    ("fetch", "data.sauce", "digits", ["data", "'sauce'", "unknown", "source"]),
    ("fetch", "dta.source", "digits", ["'dta'", "unknown", "data"]),
    ("fetch", "data.max_unpacked_gb", "lots", ["data.max_unpacked_gb", "'lots'", "number"]),
    ("fetch", "data.max_unpacked_gb", 0, ["data.max_unpacked_gb", "greater than 0"]),
    ("fetch", "data.sha256", "123", ["data.sha256", "'123'"]),
    ("fetch", "data.source", 7, ["data.source", "string"]),
    ("scan", "data.layout", "folders", ["data.layout", "'folders'", "image_folder", "tiny_imagenet"]),
    ("clean", "clean.leaks", "ignore", ["clean.leaks", "'ignore'", "'drop' or 'keep'"]),
    ("clean", "clean.duplicates", True, ["clean.duplicates", "'drop' or 'keep'"]),
    ("clean", "clean.quality.dark", "stop", ["clean.quality.dark", "'report' or 'drop'"]),
    ("clean", "clean.near_likeness", 1.5, ["clean.near_likeness", "less than or equal to 1"]),
    ("scan", "scan.backbone", "mobilenet_v2", ["scan", "weights"]),
    ("split", "data.task", "guessing", ["data.task", "'guessing'", "classification"]),
    ("split", "split.image_size", 4, ["split.image_size", "8"]),
    ("split", "split.image_size", 32.5, ["split.image_size", "integer"]),
    ("split", "split.image_size", True, ["split.image_size: True is no size", "integer"]),
    *(("split", "split.image_size", size, [f"split.image_size: {size} is no size", "from 8 to 4096", "[height, width]"])
      for size in ([24], [24, 40, 3], [24, 4], [24, 40.0], ["24", 40], [[24, 40], 40], [])),
    ("split", "split.overlap", 24, ["split: overlap is 24", "smaller than image_size, 24"]),
    ("split", "split.val_fraction", 1.5, ["split.val_fraction", "less than 1"]),
    ("split", "split.labelled_fraction", 0.0, ["split.labelled_fraction", "greater than 0"]),
    ("split", "split.seed", -1, ["split.seed", "0"]),
    ("split", "split.resize", "stretch", ["split.resize", "'squash', 'crop' or 'tiles'"]),
])
def test_wrong_values_and_unknown_keys(project, fails, stage, key, value, words):
    project.set("split.image_size", [40, 24]).set(key, value)
    fails(stage, "params.yaml", *words)


@pytest.mark.parametrize("stage, key", [("fetch", "data.sha256"), ("clean", "clean.leaks"), ("split", "split")])
def test_missing_keys(project, fails, stage, key):
    project.remove(key)
    fails(stage, "params.yaml", key, "missing")


def test_params_missing_or_no_yaml(project, fails):
    (project.folder / "params.yaml").write_text("data: [1,\n")
    fails("fetch", "params.yaml", "not readable as YAML", "line 2")
    (project.folder / "params.yaml").write_bytes(b"data: \xff\n")
    fails("fetch", "params.yaml", "not readable as YAML")
    (project.folder / "params.yaml").write_text("- data\n")
    fails("fetch", "params.yaml", "holds no sections", "data, scan")
    (project.folder / "params.yaml").unlink()
    fails("fetch", "params.yaml", "make preset", "presets/")


def test_a_repeated_key(project, fails):
    """YAML libraries take the last one, so that an edit of the first would do nothing."""
    file = project.folder / "params.yaml"
    file.write_text(file.read_text().replace("  source: digits\n", "  source: digits\n  source: b.zip\n"))
    fails("fetch", "params.yaml", "line 5", "duplicate key", "source")


@pytest.mark.parametrize(("text", "value"), [
    ("1e-3", 0.001), ("1.5E3", 1500.0), (".5", 0.5), ("010", 10), ("0o10", 8), ("1:30", "1:30"), ("off", "off"),
    ("yes", "yes"), ("true", True), ("~", None), ("[1, 2.0]", [1, 2.0]), ("{a: x}", {"a": "x"})])
def test_yaml_is_read_as_dvc_reads_it(tmp_path, text, value):
    file = tmp_path / "params.yaml"
    file.write_text(f"key: {text}\n")
    read = params.read_yaml(file)
    assert read == {"key": value} == parse_yaml(file.read_text(), file)
    assert repr(read) == repr({"key": value})  # plain Python types: what was made is named by a hash of them


def test_what_is_read_may_be_changed(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("a: [1]\n")
    params.read_yaml(file)["a"].append(2)
    assert params.read_yaml(file) == {"a": [1]}
    file.write_text("a: [3]\n")
    assert params.read_yaml(file) == {"a": [3]}


class Rates(params.Section):
    low: float
    high: float

    @pydantic.model_validator(mode="after")
    def _in_order(self) -> "Rates":
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


@pytest.mark.parametrize(("values", "message"), [
    ({"low": 2, "high": 1}, "here: low is above high"),
    ({"low": "1", "high": 1}, "here.low is '1': Input should be a valid number"),
    ({"low": float("nan"), "high": 1}, "here.low is nan: Input should be a finite number"),
    ({"low": 1, "hihg": 2}, "here.high is missing; here.hihg is unknown; known here: low, high"),
    (None, "here is missing or no mapping; it holds low, high"),
])
def test_messages(values, message):
    with pytest.raises(UserError) as error:
        params.parse(Rates, values, "here")
    assert str(error.value) == message


def test_a_section_is_frozen_and_takes_an_int_for_a_float():
    rates = params.parse(Rates, {"low": 1, "high": 2.5}, "here")
    assert repr(rates) == "Rates(low=1.0, high=2.5)"
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        rates.low = 3.0


def test_a_single_word(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("data: {task: guessing, images: 3}\n")
    assert params.load_word("data.task") == "guessing"
    for key, message in (("data.source", "data.source is missing"), ("data.task.name", "data.task.name is missing"),
                         ("data.images", "data.images is 3: it should be a word")):
        with pytest.raises(UserError, match=f"^params.yaml: {message}$"):
            params.load_word(key)
