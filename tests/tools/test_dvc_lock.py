"""Whether dvc.lock is fresh, told in a clone without data."""

import shutil
from pathlib import Path

import pytest
import small_project
import yaml
from small_project import ROOT, clone, commit, edit, run

from benchmarks import copies
from tools.comparison import dvc_lock
from tools.comparison.dvc_lock import stale_stages


@pytest.fixture(scope="module")
def origin(tmp_path_factory) -> Path:
    """The project, run and committed on `main`."""
    return small_project.make(tmp_path_factory.mktemp("origin"))


@pytest.fixture
def bare(origin, tmp_path, monkeypatch) -> Path:
    """A clone with neither data nor a cache, to stand in."""
    folder = clone(origin, tmp_path / "bare")
    monkeypatch.chdir(folder)
    return folder


def with_cache(origin: Path, folder: Path) -> Path:
    """A clone in which a run finds what it made before."""
    clone(origin, folder)
    shutil.copytree(origin / ".dvc/cache", folder / ".dvc/cache")
    return folder


def test_a_clone_without_data_is_fresh(bare):
    assert not (bare / "data/prepared").exists()
    assert stale_stages() == {}


@pytest.mark.parametrize(("file", "before", "after", "expected"), [
    ("params.yaml", "temperature: 4.0", "temperature: 6.0", {"distill": ["`params.yaml: distill` modified"]}),
    ("params.yaml", "kd_weight: 0.9", "kd: 0.9", {"distill": ["`params.yaml: distill` modified"]}),
    ("params.yaml", "size_mb: 0.05", "size_mb: 0.06", {}),
    ("params.yaml", "# a comment", "# another", {}),
    ("step.py", "import yaml", "import yaml # !", {stage: ["`step.py` modified"]
                                                   for stage in ("split", "distill", "evaluate")}),
    ("dvc.yaml", "step.py evaluate", "step.py evaluate now", {"evaluate": ["changed command"]}),
    ("plots/student.csv", "loss", "lost", {"distill": ["`plots/student.csv` modified"]}),
    ("metrics/quality.json", "94.0", "99.0", {"evaluate": ["`metrics/quality.json` modified"]}),
    # Files that git leaves out and dvc.lock doesn't know: nothing ever made or read them.
    ("dvc.yaml", "deps: [models/student,", "deps: [models/other, models/student,",
     {"evaluate": ["`models/other` not in dvc.lock"]}),
    ("dvc.yaml", "- models/student\n", "- models/student\n      - models/other\n",
     {"distill": ["`models/other` not in dvc.lock"]}),
])
def test_what_changed_since_the_run_is_stale(bare, file, before, after, expected):
    edit(bare / file, before, after)
    assert stale_stages() == expected


def test_a_missing_metric_is_stale(bare):
    (bare / "metrics/size.json").unlink()
    assert stale_stages() == {"evaluate": ["`metrics/size.json` deleted"]}


def test_without_dvc_lock_everything_is_stale(bare):
    (bare / "dvc.lock").unlink()
    assert list(stale_stages()) == ["split", "distill", "evaluate"]


@pytest.mark.parametrize(("stage", "path"), [("distill", "data/prepared/train"), ("evaluate", "data/prepared/test"),
                                            ("evaluate", "models/student")])
def test_a_lock_merged_by_hand_is_stale(bare, stage, path):
    """A stage read another file than was made: no status sees that without the data."""
    locked = yaml.safe_load((bare / "dvc.lock").read_text())
    read = next(dep for dep in locked["stages"][stage]["deps"] if dep["path"] == path)
    read["md5"] = 32 * "0" + ".dir"
    (bare / "dvc.lock").write_text(yaml.safe_dump(locked))
    maker = "split" if path.startswith("data/") else "distill"
    assert stale_stages() == {stage: [f"`{path}` in dvc.lock has another md5 than in {maker}"]}


@pytest.mark.slow
def test_a_run_of_split_alone_leaves_its_readers_stale(origin, tmp_path, monkeypatch):
    folder = with_cache(origin, tmp_path / "full")
    edit(folder / "params.yaml", "seed: 0", "seed: 1")
    run(folder, "dvc", "repro", "--quiet", "split")
    commit(folder, "Another split")
    monkeypatch.chdir(clone(folder, tmp_path / "bare"))
    assert stale_stages() == {"distill": ["`data/prepared/train` in dvc.lock has another md5 than in split"],
                            "evaluate": ["`data/prepared/test` in dvc.lock has another md5 than in split"]}


@pytest.mark.parametrize(("before", "after", "expected"), [
    ("deps: [data/prepared/train, distill.py,", "deps: [data/prepared/train,",
     {"distill": ["`distill.py` no longer in dvc.yaml (`dvc repro --force --single-item distill`)"]}),
    ("      - metrics/speed.json: {cache: false}\n", "",
     {"evaluate": ["`metrics/speed.json` no longer in dvc.yaml (`dvc repro --force --single-item evaluate`)"]}),
    ("params: [distill]", "params: [distill.temperature]",
     {"distill": ["`params.yaml: distill.temperature` not in dvc.lock",
                  "`params.yaml: distill` no longer in dvc.yaml (`dvc repro --force --single-item distill`)"]}),
    ("  distill:\n    cmd", "  distil:\n    cmd",
     {"distil": ["not in dvc.lock"],
      "distill": ["no longer in dvc.yaml; remove it from dvc.lock, and its outs from git"]}),
])
def test_what_left_dvc_yaml_is_stale(bare, before, after, expected):
    edit(bare / "dvc.yaml", before, after)
    assert stale_stages() == expected


@pytest.mark.slow
def test_a_forced_run_drops_what_left_dvc_yaml(origin, tmp_path, monkeypatch):
    folder = with_cache(origin, tmp_path / "full")
    run(folder, "dvc", "checkout", "--quiet")
    edit(folder / "dvc.yaml", "deps: [data/prepared/train, distill.py,", "deps: [data/prepared/train,")
    run(folder, "dvc", "repro", "--quiet", "--force", "--single-item", "distill")
    monkeypatch.chdir(folder)
    assert stale_stages() == {}


def test_line_ends_of_another_system_make_nothing_stale(origin, tmp_path, monkeypatch):
    monkeypatch.chdir(clone(origin, tmp_path / "windows", "--config", "core.autocrlf=true"))
    assert stale_stages() == {}


def test_models_on_another_disk(bare, tmp_path):
    (tmp_path / "disk").mkdir()
    (bare / "models").symlink_to(tmp_path / "disk")
    assert stale_stages() == {}
    assert "**dvc.lock is fresh**" in dvc_lock.describe({})


def test_git_leaves_out_models_that_are_a_link():
    assert "/models" in (ROOT / ".gitignore").read_text().splitlines(), "/models/ is no link"


def test_the_users_own_files_make_nothing_stale(bare):
    (bare / "data/source/photos.zip").write_bytes(b"mine")
    assert stale_stages() == {}


OVERRIDES = "data/source/overrides.csv"
STALE = {"split": [f"`{OVERRIDES}` modified"]}


def test_overrides_that_no_run_has_seen_are_stale(bare):
    edit(bare / OVERRIDES, "label\n", "label\na.png,drop,\n")
    assert stale_stages() == STALE
    commit(bare, "Overrides")
    assert stale_stages() == STALE


@pytest.mark.slow
def test_overrides_that_a_run_has_seen_are_fresh_until_the_next_edit(origin, tmp_path, monkeypatch):
    folder = with_cache(origin, tmp_path / "full")
    monkeypatch.chdir(folder)
    edit(folder / OVERRIDES, "label\n", "label\na.png,drop,\n")
    run(folder, "dvc", "repro", "--quiet")
    assert stale_stages() == {}
    edit(folder / OVERRIDES, "drop", "keep")
    assert stale_stages() == {"split": ["`data/source` modified"]}, "the run isn't committed yet"
    edit(folder / OVERRIDES, "keep", "drop")
    commit(folder, "Overrides")
    assert stale_stages() == {}
    edit(folder / OVERRIDES, "drop", "keep")
    assert stale_stages() == STALE
    edit(folder / "params.yaml", "temperature: 4.0", "temperature: 4.5")
    run(folder, "dvc", "repro", "--quiet", "--single-item", "distill", "evaluate")
    commit(folder, "A run that left split alone")
    monkeypatch.chdir(clone(folder, tmp_path / "bare"))
    Path("data/source/photos.zip").write_bytes(b"mine")
    assert stale_stages() == STALE


def test_models_lying_about_are_not_looked_at(bare):
    (bare / "models/student").mkdir(parents=True)
    (bare / "models/student/weights").write_text("of another branch")
    assert stale_stages() == {}


@pytest.mark.slow
def test_on_the_projects_own_lock(tmp_path, monkeypatch):
    copies.make(tmp_path)
    (tmp_path / ".dvc/config.local").unlink()
    run(tmp_path, "git", "init", "--quiet")
    commit(tmp_path, "All")
    monkeypatch.chdir(tmp_path)
    before = stale_stages()  # empty, unless a run is due
    edit(tmp_path / "params.yaml", "  temperature: 4.0", "  temperature: 4.5")
    (tmp_path / "plots/student.csv").write_text("x\n")
    new = {stage: [reason for reason in reasons if reason not in before.get(stage, [])]
           for stage, reasons in stale_stages().items()}
    assert {stage: reasons for stage, reasons in new.items() if reasons} == {
        "check": ["`params.yaml: distill` modified"],
        "distill": ["`params.yaml: distill` modified", "`plots/student.csv` modified"],
        "report": ["`plots/student.csv` modified", "`params.yaml: distill` modified"]}


