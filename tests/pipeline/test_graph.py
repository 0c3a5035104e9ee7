"""dvc.yaml tells the truth about the code that a stage runs, the params it loads, and the files it may read."""

import ast
import functools
import importlib
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml
from safetensors.torch import save_file

from stages import check
from stages.core import params
from stages.deployment import card_fields
from stages.models import factory
from stages.setup import presets
from tools import code_deps

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]

def declared(stage: str, kind: str) -> list[str]:
    """The stage's deps, params or outs (metrics and plots among them) as dvc.yaml writes them."""
    kinds = ("outs", "metrics", "plots") if kind == "outs" else (kind,)
    entries = [entry for key in kinds for entry in PIPELINE[stage].get(key, [])]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


@functools.cache
def loaded(stage: str) -> list[tuple[str, type | None]]:
    """What a stage loads of params.yaml: sections with their classes, and single words."""
    modules, patterns = code_deps.reached(f"stages/{stage}.py")
    found = []
    for file in sorted(modules.union(*map(code_deps.members, patterns))):
        found += [(ast.literal_eval(key), None) for key, *_ in code_deps.calls(file, "params.load_word")]
        found += [(section, None) for _ in code_deps.calls(file, "params.load_all") for section in params.SECTIONS]
        found += [(ast.literal_eval(key), named(file, ast.unparse(kind)))
                  for key, kind in code_deps.calls(file, "params.load")]
    return found


def named(file: str, name: str) -> type:
    """What `name` stands for in `file`: one of its own names, or module.Name with a module that a function imports."""
    own = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    first, *rest = name.split(".")
    room = {path.rpartition("/")[2]: path for path in code_deps.imports(file)}.get(f"{first}.py", "")
    start = getattr(own, first) if hasattr(own, first) else importlib.import_module(
        room.removesuffix(".py").replace("/", "."))
    return functools.reduce(getattr, rest, start)


def keys(stage: str) -> set[str]:
    """The same as dvc.yaml writes it: a class that ignores the rest of its section stands for its own fields alone."""
    found = set()
    for section, kind in loaded(stage):
        partly = kind and kind.model_config["extra"] == "ignore"
        found |= {f"{section}.{field}" for field in kind.model_fields} if partly else {section}
    return {key for key in found if not within(key, found - {key})}


def within(key: str, sections: Iterable[str]) -> bool:
    """Is this key of params.yaml one of `sections`, or below one of them?"""
    return any(f"{key}.".startswith(f"{section}.") for section in sections)


# Scripts beside the stages', which write params.yaml: `new` the whole, `search` the student.
COMMANDS = {"new", "search"}


def test_every_stage_is_one_file_and_every_file_one_stage():
    assert set(PIPELINE) | COMMANDS == {path.stem for path in (ROOT / "stages").glob("[!_]*.py")}
    for stage, entry in PIPELINE.items():
        assert entry["cmd"] == f"python -m stages.{stage}"


@pytest.mark.parametrize("stage", PIPELINE)
def test_deps_on_code_are_the_imports(stage):
    """Where this fails: python -m tools.code_deps --write."""
    entry = code_deps.entries((ROOT / "dvc.yaml").read_text(encoding="utf-8"))[stage]
    assert code_deps.listed(entry) == code_deps.needed(stage, yaml.safe_dump(PIPELINE[stage]["params"]))
    assert code_deps.mended(stage, entry) == entry


@pytest.mark.parametrize("stage", PIPELINE)
def test_declared_params_are_the_loaded_ones(stage):
    assert set(declared(stage, "params")) == keys(stage)


def test_modules_are_chosen_by_name_in_one_place():
    files = [path.relative_to(ROOT).as_posix() for path in (ROOT / "stages").rglob("*.py")]
    loaders = ("importlib.import_module", "import_module", "__import__")
    assert [file for file in files if any(code_deps.calls(file, *loaders))] == ["stages/core/plugins.py"]


def test_package_files_are_empty():
    """They would be a dep of everything."""
    assert not [path for path in (ROOT / "stages").rglob("__init__.py") if path.read_text(encoding="utf-8")]


def test_every_section_is_checked_first():
    """By the class that the stage loads it with, or one that adds to it, unless it is a part of one that is."""
    checked = {base for _, kind in check.SECTIONS for base in kind.__mro__ if issubclass(base, params.Section)}
    parts = {field.annotation for kind in checked for field in kind.model_fields.values()}
    wanted = {kind for stage in PIPELINE for _, kind in loaded(stage) if kind}
    assert wanted - checked - parts == {card_fields.Resizing}  # repeats keys of SplitParams


# The rooms from the ground up: each imports from itself and from floors below its own.
CHECK = "stages/check.py"  # knows the sections of all stages
FLOORS = (("core",), ("data", "evaluation"), ("models", "tasks"), ("cleaning", "training", "deployment"),
          ("distillation", "reporting"), ("setup",), ("sizing",))


def test_rooms_import_downwards_and_no_modules_in_a_circle():
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    for path in (ROOT / "stages").rglob("*.py"):
        file = path.relative_to(ROOT).as_posix()
        for other in code_deps.imports(file):
            assert other.count("/") > 1 or file == CHECK, f"{file} imports {other}, a stage or a command"
            assert file not in code_deps.reached(other).modules, f"{file} and {other} import each other"
            if file.count("/") > 1:
                own, used = (name.split("/")[1] for name in (file, other))
                assert own == used or floor[used] < floor[own], f"{file} imports {other}, which is no floor below it"


@pytest.mark.parametrize(("stage", "stranger"), [
    ("train_baseline", "stages/distillation/kd_losses.py"), ("train_baseline", "stages/distillation/teacher_logits.py"),
    ("train_teacher", "stages/distillation/kd_losses.py"), ("train_teacher", "stages/distillation/teacher_logits.py"),
    *((stage, "stages/training/trainer.py")
      for stage in ("fetch", "clean", "split", "quantize", "evaluate", "benchmark")),
])
def test_kept_apart(stage, stranger):
    """The baseline knows no teacher code; neither data nor scoring stages know training."""
    assert (ROOT / stranger).is_file()
    assert stranger not in code_deps.reached(f"stages/{stage}.py").modules


def test_the_baseline_is_given_no_teacher():
    taught = ("teacher", "targets", "distill")
    assert not [key for key in declared("train_baseline", "params") if key.startswith(taught)]
    assert not [dep for dep in declared("train_baseline", "deps") if "teacher" in dep]


def test_training_is_given_no_scoring():
    for stage in ("train_teacher", "teacher_targets", "train_baseline", "distill"):
        assert "tasks/*/scores" not in code_deps.reached(f"stages/{stage}.py").patterns


def overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


@pytest.mark.parametrize(("path", "readers"), [
    ("data/prepared/test", {"verify", "evaluate"}), # neither training nor calibration may see it
    ("metrics/speed.json", {"report"}),      # these two depend on the machine
    ("metrics/timing", {"report"}),
])
def test_only_these_read(path, readers):
    assert {stage for stage in PIPELINE if any(overlap(path, dep) for dep in declared(stage, "deps"))} == readers


@pytest.mark.parametrize("name", presets.names())
def test_presets_load(name, tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text(presets.text(name), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    Path("data/weights").mkdir(parents=True)
    for role in ("teacher", "student"):  # which files there are belongs to the user
        own = presets.values(name)[role]
        if own["weights"] not in ("none", "imagenet"):
            network = factory.NetworkParams(model=own["model"], options=own["options"], weights="none")
            save_file(factory.bare(network, 1000).state_dict(), Path("data/weights", own["weights"]))
    wanted = {(section, kind) for stage in PIPELINE for section, kind in loaded(stage)}
    assert not list(check.find_problems(params.load_all()))
    assert set(presets.values(name)) == {section.split(".")[0] for section, _ in wanted}
