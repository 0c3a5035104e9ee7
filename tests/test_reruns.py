"""What a change reruns, as DVC itself sees it. The two tables are for whoever wonders how long an edit will take."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import networkx
import pytest
import yaml
from dvc.repo import Repo
from dvc.utils.serialize import modify_yaml

from comparisons import copies

ROOT = Path(__file__).resolve().parent.parent
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

# A file below stages/ → the stages that rerun. What params.yaml doesn't choose reruns nothing.
FILES_RERUN = {
    "stages/fetch.py": ALL,
    "stages/scan.py": SCAN,
    "stages/clean.py": CLEAN,
    "stages/split.py": SPLIT,
    "stages/train_teacher.py": TEACHER,
    "stages/teacher_targets.py": ASKED,
    "stages/train_baseline.py": f"train_baseline {PROOF}",
    "stages/distill.py": TAUGHT,
    "stages/quantize.py": PROOF,
    "stages/verify.py": VERIFIED,
    "stages/evaluate.py": "evaluate report",
    "stages/benchmark.py": "benchmark report",
    "stages/report.py": "report",
    "stages/demo.py": "",  # made on request
    # What all stand on, and is small for that reason.
    "stages/kit/faults.py": ALL,
    "stages/kit/params.py": ALL,
    "stages/kit/tables.py": ALL,
    "stages/kit/work.py": ALL,
    "stages/kit/named.py": SCAN,
    # Data
    "stages/kit/archive.py": ALL,
    "stages/kit/embedded.py": ALL,
    "stages/kit/images.py": SCAN,
    "stages/kit/samples.py": SCAN,
    "stages/kit/quality.py": SCAN,
    "stages/kit/likeness.py": SCAN,
    "stages/kit/suspects.py": SCAN,
    "stages/kit/features.py": SCAN,
    "stages/kit/rules.py": CLEAN,
    "stages/kit/case.py": CLEAN,
    "stages/kit/facts.py": CLEAN,
    "stages/kit/degrees.py": CLEAN,
    "stages/kit/overrides.py": CLEAN,
    "stages/kit/data_pictures.py": CLEAN,
    "stages/kit/layouts/image_folder.py": SCAN,
    "stages/kit/layouts/tiny_imagenet.py": "",
    "stages/kit/layouts/aerial_tiles.py": "",
    "stages/kit/layouts/image_mask_pairs.py": "",
    "stages/kit/arrays.py": SCAN,
    "stages/kit/prepared.py": SCAN,
    "stages/kit/windows.py": SCAN,
    "stages/kit/judging.py": SCAN,
    "stages/kit/processes.py": SCAN,
    "stages/kit/labels/classification.py": SCAN,
    "stages/kit/labels/segmentation.py": "",
    # Training
    "stages/kit/chance.py": f"train_baseline {TEACHER}",
    "stages/kit/checkpoint.py": f"train_baseline {TEACHER}",
    "stages/kit/lessons.py": f"train_baseline {TEACHER}",
    "stages/kit/models/small_resnet.py": f"train_baseline {TEACHER}",
    "stages/kit/models/torchvision.py": SCAN,
    "stages/kit/models/torchvision_segmentation.py": "",
    "stages/kit/models/unet.py": "",
    "stages/kit/network.py": SCAN,
    "stages/kit/recipe.py": f"train_baseline {TEACHER}",
    "stages/kit/runtime.py": SCAN,
    "stages/kit/seeds.py": f"train_baseline {TEACHER}",
    "stages/kit/supervision.py": f"train_baseline {TEACHER}",
    "stages/kit/tasks/classification.py": f"train_baseline {TEACHER}",
    "stages/kit/tasks/segmentation.py": "",
    "stages/kit/train.py": f"train_baseline {TEACHER}",
    "stages/kit/views.py": f"train_baseline {TEACHER}",
    # Distillation: what is edited often reruns little
    "stages/kit/targets.py": ASKED,
    "stages/kit/advice.py": TAUGHT,
    "stages/kit/losses.py": TAUGHT,
    "stages/kit/distillation.py": TAUGHT,
    # Proof
    "stages/kit/export.py": PROOF,
    "stages/kit/int8.py": PROOF,
    "stages/kit/storage.py": PROOF,
    "stages/kit/quantisation.py": PROOF,
    "stages/kit/explore.py": PROOF,
    "stages/kit/onnx_files.py": PROOF,
    "predict.py": VERIFIED,
    "stages/kit/resizing.py": PROOF,
    "stages/kit/trial.py": VERIFIED,
    "stages/kit/onnx_checks.py": VERIFIED,
    "stages/kit/predict_check.py": VERIFIED,
    "stages/kit/scores/classification.py": "evaluate report",
    "stages/kit/scores/segmentation.py": "",
    "stages/kit/plots/classification.py": "evaluate report",
    "stages/kit/plots/segmentation.py": "",
    "stages/kit/score_plots.py": "evaluate report",
    "stages/kit/calibration.py": "evaluate report",
    "stages/kit/pictures.py": CLEAN,
    "stages/kit/statistics.py": "evaluate report",
    "stages/kit/turns.py": PROOF,
    "stages/kit/runner.py": PROOF,
    "stages/kit/budget.py": "benchmark report",
    "stages/kit/colours.py": CLEAN,
    "stages/kit/measured.py": "benchmark report",
    "stages/kit/report/abstract.py": "report",
    "stages/kit/report/card.py": "report",
    "stages/kit/report/curves.py": "report",
    "stages/kit/report/numbers.py": "report",
    "stages/kit/report/outlook.py": "report",
    "stages/kit/report/page.html.j2": "report",
    "stages/kit/report/page.md.j2": "report",
    "stages/kit/report/page.py": "report",
    "stages/kit/report/pdf.py": "report",
    "stages/kit/report/preparation.py": "report",
    "stages/kit/report/results.py": "report",
    "stages/kit/report/tradeoff.py": "report",
    "stages/kit/report/training.py": "report",
}


@pytest.fixture(scope="module")
def repo(tmp_path_factory) -> Iterator[Repo]:
    """The project without its data: dvc.lock alone knows what was made from what."""
    with Repo(str(copies.make(tmp_path_factory.mktemp("copy").resolve()))) as repo:
        yield repo


def reruns(repo: Repo, path: str, key: str = "") -> set[str]:
    """The stages for which DVC finds `path` (or this key of it) changed since dvc.lock, and all stages below them."""
    touched = [stage for stage in repo.index.stages for dep in stage.deps
               if Path(dep.fs_path) == Path(repo.root_dir, path) and is_changed(dep.status(), key)]
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
def test_a_file_reruns(repo, path):
    file = Path(repo.root_dir, path)
    with kept(file):
        file.write_bytes(file.read_bytes() + b"# edited\n")
        assert reruns(repo, path) == set(FILES_RERUN[path].split())


def test_the_lock_is_of_this_code_and_these_params(repo):
    """Else dvc.lock, metrics and plots were made by something else: run `make` and commit them."""
    changed = {(stage.name, path): found for stage in repo.index.stages for dep in stage.deps
               for path, found in dep.status().items() if found != "deleted"}
    assert not changed
