"""What a change reruns, as DVC itself sees it. The two tables are for whoever wonders how long an edit will take."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import networkx
import pytest
import yaml
from conftest import ROOT
from dvc.dependency import ParamsDependency
from dvc.repo import Repo
from dvc.utils.serialize import modify_yaml

from benchmarks import copies
from tools import code_deps

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))

# The stages from the named one on, as far as they depend on its outs.
VERIFY_ON = "verify evaluate report"
QUANTIZE_ON = "quantize verify evaluate benchmark report"
DISTILL_ON = f"distill {QUANTIZE_ON}"
TARGETS_ON = f"teacher_targets {DISTILL_ON}"
TEACHER_ON = f"train_teacher {TARGETS_ON}"
STUDENTS_ON = f"train_baseline {DISTILL_ON}"
SPLIT_ON = f"split train_baseline {TEACHER_ON}"
CLEAN_ON = f"clean {SPLIT_ON}"
SCAN_ON = f"scan {CLEAN_ON}"
ALL = f"source fetch {SCAN_ON}"

# A section of params.yaml, or a key that differs from the rest of its section → the stages that rerun, at most:
# DVC stops early where a stage's outs come out as they were.
PARAMS_RERUN = {
    "data": ALL,
    "data.max_unpacked_gb": f"fetch {SCAN_ON}",
    "data.layout": SCAN_ON,
    "data.layout_options": SCAN_ON,
    "data.task": SCAN_ON,
    "data.masks": SCAN_ON,
    "data.name": "report",
    "scan": SCAN_ON,
    "clean": CLEAN_ON,
    "split": SPLIT_ON,
    "training": f"train_baseline {TEACHER_ON}",
    "teacher": TEACHER_ON,
    "teacher_training": TEACHER_ON,
    "targets": TARGETS_ON,
    "student": STUDENTS_ON,
    "student_training": STUDENTS_ON,
    "student_training.augment": f"teacher_targets {STUDENTS_ON}",
    "distill": DISTILL_ON,  # distill.temperature among them
    "quantize": QUANTIZE_ON,
    "verify": VERIFY_ON,
    "evaluate": "evaluate report",
    "benchmark": "benchmark report",
    "report": "report",
}

# Promises about code, as far as they can be broken by an import too many.
FILES_RERUN = {
    "stages/core/errors.py": ALL,
    "stages/data/decode.py": SCAN_ON,
    "stages/data/layouts/aerial_tiles.py": "",  # not chosen by these params
    "stages/models/factory.py": f"train_baseline {TEACHER_ON}",  # no scan
    "stages/models/zoo/small_resnet.py": f"train_baseline {TEACHER_ON}",
    "stages/cleaning/decide.py": CLEAN_ON,
    "stages/training/trainer.py": f"train_baseline {TEACHER_ON}",
    "stages/distillation/teacher_logits.py": TARGETS_ON,
    "stages/distillation/kd_losses.py": DISTILL_ON,
    "stages/deployment/int8.py": QUANTIZE_ON,
    "stages/tasks/classification/scores.py": "evaluate report",
    "stages/evaluation/statistics.py": "evaluate report",
    "stages/reporting/page.md.j2": "report",
}

# Each is edited by a test of its own.
CODE = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "stages").rglob("[!_]*")
              if path.suffix in {".py", ".j2"})


@pytest.fixture(scope="module")
def repo(tmp_path_factory) -> Iterator[Repo]:
    """The project without its data: dvc.lock alone knows what was made from what."""
    with Repo(str(copies.make(tmp_path_factory.mktemp("copy").resolve()))) as repo:
        yield repo


def reruns(repo: Repo, path: str, key: str = "") -> set[str]:
    """The stages for which DVC finds `path` (or this key of it) changed since dvc.lock, and all stages below them;
    but `check`, which any parameter and any code reruns, and which has no stage below it.
    """
    touched = [stage for stage in repo.index.stages if stage.name != "check" for dep in stage.deps
               if Path(repo.root_dir, path).is_relative_to(dep.fs_path) and is_changed(dep.status(), key)]
    below = networkx.reverse_view(repo.index.graph)
    return {stage.name for first in touched for stage in networkx.dfs_postorder_nodes(below, first)}


def is_changed(status: dict, key: str) -> bool:
    """DVC's status of a dep is empty, or {path: "modified"}, for params {path: {key: "modified"}}."""
    for change in status.values():
        if key and isinstance(change, dict):
            return any(f"{key}.".startswith(f"{changed}.") for changed in change)
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


def test_each_file_of_the_table_is_one_that_is_tested():
    """A file that was moved would else leave its row behind, unread."""
    assert set(FILES_RERUN) <= set(CODE)


@pytest.mark.parametrize("path", CODE)
def test_a_file_reruns_what_imports_it(repo, path):
    """And what lies below: DVC has to see through folders and templates what code_deps reads off the imports."""
    below, file = networkx.reverse_view(repo.index.graph), Path(repo.root_dir, path)
    importing = [stage for stage in repo.index.stages if stage.name != "check" and
                 any(is_of(path, dep.replace("${data.task}", PARAMS["data"]["task"]).replace(
                     "${data.layout}", PARAMS["data"]["layout"]).replace(
                     "${teacher.model}", PARAMS["teacher"]["model"]).replace(
                     "${student.model}", PARAMS["student"]["model"]))
                        for dep in code_deps.needed(stage.name, str([param.params for param in stage.deps
                                                                     if isinstance(param, ParamsDependency)])))]
    expected = {stage.name for first in importing for stage in networkx.dfs_postorder_nodes(below, first)}
    with kept(file):
        file.write_bytes(file.read_bytes() + b"# edited\n")
        assert reruns(repo, path) == expected
        assert path not in FILES_RERUN or expected == set(FILES_RERUN[path].split())


def is_of(path: str, dep: str) -> bool:
    return f"{path}/".startswith(f"{dep}/")


def test_further_weights_are_looked_at_by_the_check_alone(repo):
    def hashes() -> dict[str, str]:
        return {stage.name: dep.get_hash().value for stage in repo.index.stages for dep in stage.deps
                if dep.def_path.startswith("data/weights")}

    before, file = hashes(), Path(repo.root_dir, "data/weights/other.safetensors")
    file.touch()
    try:
        after = hashes()
    finally:
        file.unlink()
    assert before.keys() == {"check", "scan", "train_teacher", "train_baseline", "distill"}
    assert {name for name, value in before.items() if value != after[name]} == {"check"}


def test_the_check_of_params_comes_first_and_reruns_nothing(repo):
    (check,) = (stage for stage in repo.index.stages if stage.name == "check")
    assert next(iter(networkx.dfs_postorder_nodes(repo.index.graph))) is check
    assert repo.index.graph.degree(check) == 0
    assert {key for dep in check.deps if isinstance(dep, ParamsDependency) for key in dep.params} == set(PARAMS)


def test_the_lock_is_of_this_code_and_these_params(repo):
    """Else dvc.lock, metrics and plots were made by something else: run `make` and commit them."""
    changed = {(stage.name, path): change for stage in repo.index.stages for dep in stage.deps
               for path, change in dep.status().items() if change != "deleted"}
    assert not changed
