"""What a change reruns, as DVC itself sees it. The two tables are for whoever wonders how long an edit will take."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import networkx
import pytest
import yaml
from dvc.dependency import ParamsDependency
from dvc.repo import Repo
from dvc.utils.serialize import modify_yaml

from benchmarks import copies
from tools import code_deps

ROOT = Path(__file__).resolve().parents[2]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))

VERIFIED = "verify evaluate report"
PROOF = "quantize verify evaluate benchmark report"
TAUGHT = f"distill {PROOF}"
ASKED = f"teacher_targets {TAUGHT}"
TEACHER = f"train_teacher {ASKED}"
STUDENTS = f"train_baseline {TAUGHT}"
SPLIT = f"split train_baseline {TEACHER}"
CLEAN = f"clean {SPLIT}"
SCAN = f"scan {CLEAN}"
ALL = f"fetch {SCAN}"

# A section of params.yaml, or a key that differs from the rest of its section → the stages that rerun, at most:
# DVC stops early where a stage's outs come out as they were.
PARAMS_RERUN = {
    "data": ALL,
    "data.layout": SCAN,
    "data.task": SCAN,
    "data.masks": SCAN,
    "data.name": "report",
    "scan": SCAN,
    "clean": CLEAN,
    "split": SPLIT,
    "teacher": TEACHER,
    "teacher_training": TEACHER,
    "targets": ASKED,
    "student": STUDENTS,
    "student_training": STUDENTS,
    "student_training.augment": f"teacher_targets {STUDENTS}",
    "distill": TAUGHT,  # distill.temperature among them
    "quantize": PROOF,
    "verify": VERIFIED,
    "evaluate": "evaluate report",
    "benchmark": "benchmark report",
    "report": "report",
}

# Promises about code, as far as they can be broken by an import too many.
FILES_RERUN = {
    "stages/core/errors.py": ALL,
    "stages/data/decode.py": SCAN,
    "stages/data/layouts/aerial_tiles.py": "",  # not chosen by these params
    "stages/models/factory.py": f"train_baseline {TEACHER}",  # no scan
    "stages/models/zoo/small_resnet.py": f"train_baseline {TEACHER}",
    "stages/cleaning/decide.py": CLEAN,
    "stages/training/trainer.py": f"train_baseline {TEACHER}",
    "stages/distillation/teacher_logits.py": ASKED,
    "stages/distillation/kd_losses.py": TAUGHT,
    "stages/deployment/int8.py": PROOF,
    "stages/tasks/classification/scores.py": "evaluate report",
    "stages/evaluation/statistics.py": "evaluate report",
    "stages/reporting/page.md.j2": "report",
}


@pytest.fixture(scope="module")
def repo(tmp_path_factory) -> Iterator[Repo]:
    """The project without its data: dvc.lock alone knows what was made from what."""
    with Repo(str(copies.make(tmp_path_factory.mktemp("copy").resolve()))) as repo:
        yield repo


def reruns(repo: Repo, path: str, key: str = "") -> set[str]:
    """The stages for which DVC finds `path` (or this key of it) changed since dvc.lock, and all stages below them."""
    touched = [stage for stage in repo.index.stages for dep in stage.deps
               if Path(repo.root_dir, path).is_relative_to(dep.fs_path) and is_changed(dep.status(), key)]
    below = networkx.reverse_view(repo.index.graph)
    return {stage.name for first in touched for stage in networkx.dfs_postorder_nodes(below, first)}


def is_changed(status: dict, key: str) -> bool:
    """DVC's status of a dep is empty, or {path: "modified"}, for params {path: {key: "modified"}}."""
    for found in status.values():
        if key and isinstance(found, dict):
            return any(f"{key}.".startswith(f"{changed}.") for changed in found)
        if not key:
            return True
    return False


def leaves(values: dict, prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def other(value):
    """Some other value of the same kind."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case list():
            return [*value, 1]
        case _:
            return f"{value}-other"


def longest(table: dict[str, str], key: str) -> set[str]:
    """The stages of the table's row for `key`, or for the nearest part of params.yaml around it."""
    rows = [row for row in table if f"{key}.".startswith(f"{row}.")]
    assert rows, f"{key} has no row in the table"
    return set(table[max(rows, key=len)].split())


@contextmanager
def kept(file: Path) -> Iterator[None]:
    """What the block does to `file` is undone."""
    before = file.read_bytes()
    try:
        yield
    finally:
        file.write_bytes(before)


@pytest.mark.parametrize("key", list(leaves(PARAMS)))
def test_a_param_reruns(repo, key):
    file = Path(repo.root_dir, "params.yaml")
    with kept(file):
        with modify_yaml(str(file)) as values:
            *parents, name = key.split(".")
            for parent in parents:
                values = values[parent]
            values[name] = other(values[name])
        assert reruns(repo, "params.yaml", key) == longest(PARAMS_RERUN, key)


@pytest.mark.parametrize("path", sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "stages").rglob("[!_]*")
                                        if path.suffix in {".py", ".j2"}))
def test_a_file_reruns_what_imports_it(repo, path):
    """And what lies below: DVC has to see through folders and templates what code_deps reads off the imports."""
    below, file = networkx.reverse_view(repo.index.graph), Path(repo.root_dir, path)
    importing = [stage for stage in repo.index.stages
                 if any(is_of(path, dep.replace("${data.task}", PARAMS["data"]["task"]).replace(
                     "${data.layout}", PARAMS["data"]["layout"]).replace(
                     "${teacher.model}", PARAMS["teacher"]["model"]).replace(
                     "${student.model}", PARAMS["student"]["model"]))
                        for dep in code_deps.needed(stage.name, str([param.params for param in stage.deps
                                                                     if isinstance(param, ParamsDependency)])))]
    expected = {stage.name for first in importing for stage in networkx.dfs_postorder_nodes(below, first)}
    with kept(file):
        file.write_bytes(file.read_bytes() + b"# edited\n")
        assert reruns(repo, path) == expected
        assert expected == set(FILES_RERUN[path].split()) if path in FILES_RERUN else True


def is_of(path: str, dep: str) -> bool:
    return f"{path}/".startswith(f"{dep}/")


def test_the_lock_is_of_this_code_and_these_params(repo):
    """Else dvc.lock, metrics and plots were made by something else: run `make` and commit them."""
    changed = {(stage.name, path): found for stage in repo.index.stages for dep in stage.deps
               for path, found in dep.status().items() if found != "deleted"}
    assert not changed
