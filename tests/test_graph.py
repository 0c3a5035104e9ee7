"""dvc.yaml tells the truth about the code that a stage runs, the params it loads, and the files it may read."""

import ast
import functools
import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import yaml

from comparisons.copies import files
from stages.kit import params

ROOT = Path(__file__).resolve().parent.parent
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
PRESETS = sorted((ROOT / "presets").glob("*.yaml"))

# Which stages' outs each stage reads.
PARENTS = {
    "fetch": "",
    "scan": "fetch",
    "clean": "fetch scan",
    "split": "fetch clean",
    "train_teacher": "split",
    "teacher_targets": "split train_teacher",
    "train_baseline": "split",
    "distill": "split train_teacher teacher_targets",
    "quantize": "split train_teacher train_baseline distill",
    "verify": "fetch split train_teacher train_baseline distill quantize",
    "evaluate": "split quantize verify",
    "benchmark": "quantize",
    "report": "fetch clean split train_teacher teacher_targets train_baseline distill quantize evaluate benchmark",
}

# A module loaded by `named.module("<folder>", …)` is named in dvc.yaml by the key of params.yaml that chooses it.
CHOSEN_BY = {
    "models": ("teacher.model", "student.model"),
    "layouts": ("data.layout",),
    "tasks": ("data.task",),
    "labels": ("data.task",),
    "scores": ("data.task",),
    "plots": ("data.task",),
}


def declared(stage: str, kind: str) -> list[str]:
    """The stage's deps, params or outs (metrics and plots among them) as dvc.yaml writes them."""
    kinds = ("outs", "metrics", "plots") if kind == "outs" else (kind,)
    entries = [entry for key in kinds for entry in PIPELINE[stage].get(key, [])]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


@functools.cache
def nodes(file: str) -> list[ast.AST]:
    return list(ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))))


def calls(file: str, *names: str) -> Iterator[list[ast.expr]]:
    """The arguments of each call of one of these functions, wherever in the file it stands."""
    for node in nodes(file):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in names:
            yield node.args


@functools.cache
def imports(file: str) -> set[str]:
    """Our own modules that `file` imports, wherever in it, or names in a string (to run them as a process)."""
    names = []
    for node in nodes(file):
        match node:
            case ast.Import():
                names += [alias.name for alias in node.names]
            case ast.ImportFrom():
                names += [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
            case ast.Constant(value=str(text)) if text.startswith("stages."):
                names.append(text)
    return {path for path in (name.replace(".", "/") + ".py" for name in names) if (ROOT / path).is_file()}


def templates(file: str) -> set[str]:
    """The project's files in the kit that are no modules, and that `file` names in a string."""
    kit = {path.name: path.as_posix() for path in files() if path.parts[:2] == ("stages", "kit")
           and path.suffix != ".py"}
    return {kit[node.value] for node in nodes(file) if isinstance(node, ast.Constant) and node.value in kit}


def chosen(file: str) -> set[str]:
    """Folders of the kit from which `file` loads a module by its name in params.yaml."""
    return {ast.literal_eval(arguments[0]) for arguments in calls(file, "named.module")}


def members(folder: str) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in (ROOT / "stages/kit" / folder).glob("[!_]*.py")}


@functools.cache
def reached(file: str) -> tuple[set[str], set[str]]:
    """All modules that `file` imports, directly or not, itself included; and all folders that these choose from."""
    imported, folders, seen, waiting = {file}, set(), set(), [file]
    while waiting:
        if (current := waiting.pop()) in seen:
            continue
        seen.add(current)
        imported |= imports(current)
        folders |= chosen(current)
        waiting += imports(current).union(*map(members, chosen(current)))
    return imported, folders


@functools.cache
def loaded(stage: str) -> list[tuple[str, type | None]]:
    """What a stage loads of params.yaml: sections with their classes, and single words."""
    imported, folders = reached(f"stages/{stage}.py")
    found = []
    for file in sorted(imported.union(*map(members, folders))):
        found += [(ast.literal_eval(key), None) for key, *_ in calls(file, "params.word")]
        found += [(section, None) for _ in calls(file, "params.whole") for section in params.SECTIONS]
        found += [(ast.literal_eval(key), named(file, ast.unparse(kind))) for key, kind in calls(file, "params.load")]
    return found


def named(file: str, name: str) -> type:
    """What `name` stands for in `file`: one of its own names, or module.Name with a module that a function imports."""
    own = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    first, *rest = name.split(".")
    start = getattr(own, first) if hasattr(own, first) else importlib.import_module(f"stages.kit.{first}")
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


def test_every_stage_is_one_file_and_every_file_one_stage():
    assert set(PIPELINE) == {path.stem for path in (ROOT / "stages").glob("[!_]*.py")} - {"demo"}
    for stage, entry in PIPELINE.items():
        assert entry["cmd"] == f"python -m stages.{stage}"


@pytest.mark.parametrize("stage", PIPELINE)
def test_deps_on_code_are_the_imports(stage):
    imported, folders = reached(f"stages/{stage}.py")
    by_name = {f"stages/kit/{folder}/${{{key}}}.py" for folder in folders for key in CHOSEN_BY[folder]
               if len(CHOSEN_BY[folder]) == 1 or within(key, keys(stage))}
    needed = imported.union(by_name, *map(templates, imported))
    given = {dep for dep in declared(stage, "deps") if dep.startswith("stages")}
    missing, surplus = needed - given, given - needed
    assert not missing, f"dvc.yaml: {stage} imports, and must list in its deps, {', '.join(sorted(missing))}"
    assert not surplus, f"dvc.yaml: {stage} imports none of its deps {', '.join(sorted(surplus))}"


@pytest.mark.parametrize("stage", PIPELINE)
def test_declared_params_are_the_loaded_ones(stage):
    assert set(declared(stage, "params")) == keys(stage)


def test_modules_are_chosen_by_name_in_one_place():
    files = [path.relative_to(ROOT).as_posix() for path in (ROOT / "stages").rglob("*.py")]
    assert [file for file in files if any(calls(file, "importlib.import_module", "import_module", "__import__"))] == [
        "stages/kit/named.py"]


def test_package_files_are_empty():
    """They would be a dep of everything."""
    assert not [path for path in (ROOT / "stages").rglob("__init__.py") if path.read_text(encoding="utf-8")]


def test_nothing_imports_a_stage_and_the_kit_has_no_circle():
    for path in (ROOT / "stages").rglob("*.py"):
        file = path.relative_to(ROOT).as_posix()
        assert all(other.startswith("stages/kit/") for other in imports(file)), f"{file} imports a stage"
        for other in imports(file):
            assert file not in reached(other)[0], f"{file} and {other} import each other"


@pytest.mark.parametrize(("stage", "stranger"), [
    ("train_baseline", "stages/kit/losses.py"), ("train_baseline", "stages/kit/targets.py"),
    ("train_teacher", "stages/kit/losses.py"), ("train_teacher", "stages/kit/targets.py"),
    *((stage, "stages/kit/train.py") for stage in ("fetch", "clean", "split", "quantize", "evaluate", "benchmark")),
])
def test_kept_apart(stage, stranger):
    """The baseline knows no teacher code; neither data nor scoring stages know training."""
    assert (ROOT / stranger).is_file()
    assert stranger not in reached(f"stages/{stage}.py")[0]


def test_the_baseline_is_given_no_teacher():
    taught = ("teacher", "targets", "distill")
    assert not [key for key in declared("train_baseline", "params") if key.startswith(taught)]
    assert not [dep for dep in declared("train_baseline", "deps") if "teacher" in dep]


def test_training_is_given_no_scoring():
    for stage in ("train_teacher", "teacher_targets", "train_baseline", "distill"):
        assert "scores" not in reached(f"stages/{stage}.py")[1]


def overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


@pytest.mark.parametrize("stage", PIPELINE)
def test_parents(stage):
    parents = {other for other in PIPELINE for out in declared(other, "outs") for dep in declared(stage, "deps")
               if overlap(out, dep)}
    assert parents == set(PARENTS[stage].split())


@pytest.mark.parametrize(("path", "readers"), [
    ("data/prepared/test", {"verify", "evaluate"}), # neither training nor calibration may see it
    ("metrics/speed.json", {"report"}),      # these two depend on the machine
    ("metrics/timing", {"report"}),
])
def test_only_these_read(path, readers):
    assert {stage for stage in PIPELINE if any(overlap(path, dep) for dep in declared(stage, "deps"))} == readers


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_presets_load(preset, tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_bytes(preset.read_bytes())
    monkeypatch.chdir(tmp_path)
    wanted = {(section, kind) for stage in PIPELINE for section, kind in loaded(stage)}
    for section, kind in wanted:
        if kind:
            params.load(section, kind)
    given = yaml.safe_load(preset.read_text(encoding="utf-8"))
    assert set(given) == {section.split(".")[0] for section, _ in wanted}
