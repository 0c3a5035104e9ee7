"""make diff: whether dvc.lock is fresh, what differs, and no more said about it than the numbers allow."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import small_project
import yaml
from small_project import ROOT, clone, commit, edit, run

from benchmarks import copies
from stages.core.errors import UserError
from tools import differences, history, lock, pull_request
from tools.figures import Score


@pytest.fixture(scope="module")
def origin(tmp_path_factory) -> Path:
    """`main`; and `warmer`, run and committed with another temperature."""
    folder = small_project.make(tmp_path_factory.mktemp("origin"))
    run(folder, "git", "switch", "--quiet", "--create", "warmer")
    edit(folder / "params.yaml", "temperature: 4.0", "temperature: 5.0")
    run(folder, "dvc", "repro", "--quiet")
    commit(folder, "Warmer")
    run(folder, "git", "switch", "--quiet", "main")
    run(folder, "dvc", "checkout", "--quiet")
    return folder


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


def compare(folder: Path, *arguments: str):
    return run(folder, "python", "-m", "tools.pull_request", *arguments, check=False)


# Whether dvc.lock is fresh

def test_a_clone_without_data_is_fresh(bare):
    assert not (bare / "data/prepared").exists()
    assert lock.stale() == {}


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
    assert lock.stale() == expected


def test_a_missing_metric_is_stale(bare):
    (bare / "metrics/size.json").unlink()
    assert lock.stale() == {"evaluate": ["`metrics/size.json` deleted"]}


def test_without_dvc_lock_everything_is_stale(bare):
    (bare / "dvc.lock").unlink()
    assert list(lock.stale()) == ["split", "distill", "evaluate"]


@pytest.mark.parametrize(("stage", "path"), [("distill", "data/prepared/train"), ("evaluate", "data/prepared/test"),
                                            ("evaluate", "models/student")])
def test_a_lock_merged_by_hand_is_stale(bare, stage, path):
    """A stage read another file than was made: no status sees that without the data."""
    locked = yaml.safe_load((bare / "dvc.lock").read_text())
    read = next(dep for dep in locked["stages"][stage]["deps"] if dep["path"] == path)
    read["md5"] = 32 * "0" + ".dir"
    (bare / "dvc.lock").write_text(yaml.safe_dump(locked))
    maker = "split" if path.startswith("data/") else "distill"
    assert lock.stale() == {stage: [f"`{path}` in dvc.lock is another than {maker}'s"]}


def test_a_run_of_split_alone_leaves_its_readers_stale(origin, tmp_path, monkeypatch):
    folder = with_cache(origin, tmp_path / "full")
    edit(folder / "params.yaml", "seed: 0", "seed: 1")
    run(folder, "dvc", "repro", "--quiet", "split")
    commit(folder, "Another split")
    monkeypatch.chdir(clone(folder, tmp_path / "bare"))
    assert lock.stale() == {"distill": ["`data/prepared/train` in dvc.lock is another than split's"],
                            "evaluate": ["`data/prepared/test` in dvc.lock is another than split's"]}


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
      "distill": ["no longer in dvc.yaml; take it out of dvc.lock, and what it made out of git"]}),
])
def test_what_left_dvc_yaml_is_stale(bare, before, after, expected):
    edit(bare / "dvc.yaml", before, after)
    assert lock.stale() == expected


def test_a_forced_run_drops_what_left_dvc_yaml(origin, tmp_path, monkeypatch):
    folder = with_cache(origin, tmp_path / "full")
    run(folder, "dvc", "checkout", "--quiet")
    edit(folder / "dvc.yaml", "deps: [data/prepared/train, distill.py,", "deps: [data/prepared/train,")
    run(folder, "dvc", "repro", "--quiet", "--force", "--single-item", "distill")
    monkeypatch.chdir(folder)
    assert lock.stale() == {}


def test_line_ends_of_another_system_make_nothing_stale(origin, tmp_path, monkeypatch):
    monkeypatch.chdir(clone(origin, tmp_path / "windows", "--config", "core.autocrlf=true"))
    assert lock.stale() == {}


def test_models_on_another_disk(bare, tmp_path):
    (tmp_path / "disk").mkdir()
    (bare / "models").symlink_to(tmp_path / "disk")
    assert lock.stale() == {}
    done = compare(bare, "HEAD")
    assert not done.returncode and "**dvc.lock is fresh**" in done.stdout, done.stderr


def test_git_leaves_out_models_that_are_a_link():
    assert "/models" in (ROOT / ".gitignore").read_text().splitlines(), "/models/ is no link"


def test_the_users_own_files_make_nothing_stale(bare):
    (bare / "data/source/photos.zip").write_bytes(b"mine")
    assert lock.stale() == {}


OVERRIDES = "data/source/overrides.csv"
STALE = {"split": [f"`{OVERRIDES}` modified"]}


def test_overrides_that_no_run_has_seen_are_stale(bare):
    edit(bare / OVERRIDES, "label\n", "label\na.png,drop,\n")
    assert lock.stale() == STALE
    commit(bare, "Overrides")
    assert lock.stale() == STALE


def test_overrides_that_a_run_has_seen_are_fresh_until_the_next_edit(origin, tmp_path, monkeypatch):
    folder = with_cache(origin, tmp_path / "full")
    monkeypatch.chdir(folder)
    edit(folder / OVERRIDES, "label\n", "label\na.png,drop,\n")
    run(folder, "dvc", "repro", "--quiet")
    assert lock.stale() == {}
    edit(folder / OVERRIDES, "drop", "keep")
    assert lock.stale() == {"split": ["`data/source` modified"]}, "the run isn't committed yet"
    edit(folder / OVERRIDES, "keep", "drop")
    commit(folder, "Overrides")
    assert lock.stale() == {}
    edit(folder / OVERRIDES, "drop", "keep")
    assert lock.stale() == STALE
    edit(folder / "params.yaml", "temperature: 4.0", "temperature: 4.5")
    run(folder, "dvc", "repro", "--quiet", "--single-item", "distill", "evaluate")
    commit(folder, "A run that left split alone")
    monkeypatch.chdir(clone(folder, tmp_path / "bare"))
    Path("data/source/photos.zip").write_bytes(b"mine")
    assert lock.stale() == STALE


def test_models_lying_about_are_not_looked_at(bare):
    (bare / "models/student").mkdir(parents=True)
    (bare / "models/student/weights").write_text("of another branch")
    assert lock.stale() == {}


def test_on_the_projects_own_lock(tmp_path, monkeypatch):
    copies.make(tmp_path)
    (tmp_path / ".dvc/config.local").unlink()
    run(tmp_path, "git", "init", "--quiet")
    commit(tmp_path, "All")
    monkeypatch.chdir(tmp_path)
    before = lock.stale()  # empty, unless a run is due
    edit(tmp_path / "params.yaml", "  temperature: 4.0", "  temperature: 4.5")
    (tmp_path / "plots/student.csv").write_text("x\n")
    new = {stage: [what for what in said if what not in before.get(stage, [])]
           for stage, said in lock.stale().items()}
    assert {stage: said for stage, said in new.items() if said} == {
        "distill": ["`params.yaml: distill` modified", "`plots/student.csv` modified"],
        "report": ["`plots/student.csv` modified", "`params.yaml: distill` modified"]}


# The whole page

def test_a_branch_beside_main(origin, tmp_path):
    folder = clone(origin, tmp_path / "branch", "--branch", "warmer")
    done = compare(folder, "origin/main")
    assert not done.returncode, done.stderr
    head = run(folder, "git", "rev-parse", "HEAD").stdout[:7]
    assert done.stdout.startswith(f"## {head} compared with `origin/main`\n"), "or an old comment would pass for new"
    for line in ("**dvc.lock is fresh**",
                 "**The int8 student's accuracy: 94.00 ± 0.50 % → 95.00 ± 0.50 %**, 1.00 points up. Within the ± of "
                 "the seeds: no difference is shown.",
                 "Its file: 0.04 MB, as before.",
                 "| `distill.temperature` | 4.0 | 5.0 |",
                 "| quality | `int8.accuracy` | 94.00 ± 0.50 | 95.00 ± 0.50 | +1.00 |",
                 "| speed | `int8.latency_ms` | 0.4000 | 0.5000 | +0.1000 |",
                 "**Kept**, by the figures",
                 "- size, MB: 0.04, at most 0.05: pass",
                 "- [plots/student.csv](plots/student.csv)"):
        assert line in done.stdout
    assert done.stdout.index("int8.accuracy` |") < done.stdout.index("<details>") < done.stdout.index("latency_ms` |")
    assert "kd_weight" not in done.stdout, "what didn't change is left out"
    edit(folder / "params.yaml", "kd_weight: 0.9", "kd_weight: 0.5")
    done = compare(folder, "origin/main")
    assert done.returncode == 1
    assert "**dvc.lock is stale**" in done.stdout and "- `distill`: `params.yaml: distill` modified" in done.stdout
    assert "Run `dvc repro`" in done.stdout and "Not committed yet: params.yaml." in done.stdout
    assert "| `distill.kd_weight` | 0.9 | 0.5 |" in done.stdout
    assert "points up" not in done.stdout, "nothing is said of figures that aren't this code's"


def test_main_moved_on(origin, tmp_path):
    folder = clone(origin, tmp_path / "branch", "--branch", "warmer")
    run(folder, "git", "switch", "--quiet", "main")
    edit(folder / "params.yaml", "size_mb: 0.05", "size_mb: 0.03")
    commit(folder, "A tighter budget")
    run(folder, "git", "switch", "--quiet", "warmer")
    done = compare(folder, "main")
    assert "`main` has moved on since" in done.stdout and "(1 commit)." in done.stdout
    assert "benchmark.budget" not in done.stdout, "main's change is not this branch's"


def test_a_base_from_before_the_pipeline(origin, tmp_path):
    folder = clone(origin, tmp_path / "branch")
    run(folder, "git", "switch", "--quiet", "--orphan", "early")
    (folder / "note").write_text("first")
    commit(folder, "Before")
    run(folder, "git", "merge", "--quiet", "--allow-unrelated-histories", "--no-edit", "main")
    done = compare(folder, "early~1")
    assert not done.returncode, done.stderr
    assert "**The int8 student's accuracy: 94.00 ± 0.50 %.** `early~1` holds no such score" in done.stdout
    assert "| `distill.temperature` | – | 4.0 |" in done.stdout


# What goes wrong, in one line

def test_an_unknown_base_is_one_line(bare):
    done = compare(bare, "nowhere")
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.count("\n") == 1
    assert "git fetch origin nowhere" in done.stderr and "fetch-depth: 0" in done.stderr


def test_a_shallow_clone(origin, tmp_path, monkeypatch):
    folder = clone(origin, tmp_path / "shallow", "--depth", "1", "--no-single-branch", "--branch", "warmer")
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match=r"shallow.*--unshallow.*fetch-depth: 0"):
        history.parting("origin/main")


def test_not_a_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UserError, match=r"dvc\.yaml is not here"):
        history.check_place()
    Path("dvc.yaml").touch()
    with pytest.raises(UserError, match="no git repository"):
        history.check_place()


def test_broken_params_are_one_line(bare):
    edit(bare / "params.yaml", "split: {seed: 0}", "split: {seed: [0}")
    done = compare(bare, "HEAD")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "params.yaml" in done.stderr


def test_a_base_has_to_be_named(bare):
    done = compare(bare)
    assert done.returncode == 2 and "required: BASE" in done.stderr, "which one is the default, the Makefile says"


def test_a_reader_that_stops_early_is_no_fault(bare):
    """As `| head`; its end of the pipe is closed before the first word."""
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run([sys.executable, "-m", "tools.pull_request", "HEAD"], cwd=bare, text=True,
                              stdout=write, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


# Words that follow the numbers

CHANCE = "chance in the 200 test images and in the seeds hardly explains it."
NOT_SHOWN = "no difference is shown."
NOTHING = "Neither interval nor ± on both sides: nothing tells it from chance."


@pytest.mark.parametrize(("old", "new", "how", "why"), [
    (Score(90), Score(91), "1.00 points up", NOTHING),
    (Score(90), Score(91, 0.1), "1.00 points up", NOTHING),
    (Score(91, 0.3), Score(90, 0.8), "1.00 points down", f"Within the ± of the seeds: {NOT_SHOWN}"),
    (Score(90, 0.3), Score(91, 0.6), "1.00 points up", "More than both ± together; but ± is of the seeds alone and "
                                                       "says nothing of the 200 test images: a hint, no proof."),
    (Score(90, 0.1, 89, 90.5), Score(91, 0.1, 90.4, 92), "1.00 points up", f"The 95 % intervals overlap: {NOT_SHOWN}"),
    (Score(90, 2, 89, 90.5), Score(91, 2, 90.6, 92), "1.00 points up", f"The 95 % intervals do not meet: {CHANCE}"),
    (Score(91, 2, 90.6, 92), Score(90, 2, 89, 90.5), "1.00 points down", f"The 95 % intervals do not meet: {CHANCE}"),
    (Score(91, 2, 90.6, 92), Score(90, None, 89, 90.5), "1.00 points down",
     "The 95 % intervals do not meet: chance in the 200 test images hardly explains it, but one seed says nothing of "
     "others."),
    # An older base without intervals: what both sides have is used.
    (Score(90, 0.5), Score(91, 0.6, 90.9, 91.2), "1.00 points up", f"Within the ± of the seeds: {NOT_SHOWN}"),
    (Score(90, 0.1), Score(90.001, 0.1), "level", f"Within the ± of the seeds: {NOT_SHOWN}"),
])
def test_a_difference_is_called_no_more_than_it_is(old, new, how, why):
    assert pull_request.difference(old, new, {"test.images": 200}, same_images=True) == f", {how}. {why}"


@pytest.mark.parametrize("new", [Score(90, 0.1), Score(90, 0.1, 89, 91)])
def test_of_two_equal_scores_nothing_is_said(new):
    assert pull_request.difference(Score(90, 0.1), new, {}, same_images=True) == ""


def test_an_unchanged_score_is_called_the_same():
    pairs = {"metrics/quality.json": {"test.primary": ("accuracy",) * 2, "test.named": ("accuracy",) * 2,
                                      "int8.accuracy": (90.0,) * 2},
             "metrics/size.json": {"int8.size_mb": (0.05, 0.04)}}
    assert pull_request.headline(pairs, "main", True) == ("**The int8 student's accuracy is the same: 90.00 %.**\n\n"
                                                          "Its file: 0.04 MB (0.05 MB before).")


def test_other_test_images_are_not_compared():
    said = pull_request.difference(Score(90, 0.1, 89, 90.5), Score(95, 0.1, 94, 96), {}, same_images=False)
    assert said == ", 5.00 points up, but on other test images: the two cannot be compared."


@pytest.mark.parametrize("now", [Score(95, 0.1, 94, 96), Score(90, 0.1, 89, 90.5)])
def test_of_test_images_that_may_be_others_nothing_is_said(now):
    said = pull_request.difference(Score(90, 0.1, 89, 90.5), now, {}, same_images=None)
    assert said.endswith(", but dvc.lock doesn't say on both sides which test images these are: nothing is said of the "
                         "difference.")
    assert "interval" not in said


def test_other_test_images_are_seen_in_the_lock(bare):
    assert pull_request.same_test("HEAD") is True
    text = (bare / "dvc.lock").read_text()
    test = lock.entries(text)["evaluate"]["data/prepared/test"]
    (bare / "dvc.lock").write_text(text.replace(test, 32 * "0" + ".dir"))
    assert pull_request.same_test("HEAD") is False
    (bare / "dvc.lock").unlink()
    assert pull_request.same_test("HEAD") is None


def test_another_task_is_not_compared():
    pairs = {"metrics/quality.json": {"test.primary": ("miou", "accuracy"), "test.named": ("mean IoU", "accuracy"),
                                      "int8.miou": (50.0, None), "int8.accuracy": (None, 90.0)}}
    assert pull_request.headline(pairs, "main", True) == (
        "**The int8 student's accuracy: 90.00 %.** `main` was judged by mean IoU: there is nothing to compare it with.")


@pytest.mark.parametrize(("before", "now", "expected"), [
    ({"gain": 0.25}, {}, ""),
    ({}, {"gain": 0.5}, "gains 0.50 points over the same network alone."),
    ({"gain": 0.5}, {"gain": 0.5}, "gains 0.50 points over the same network alone (as before)."),
    ({"gain": 0.25}, {"gain": 0.5}, "gains 0.50 points over the same network alone (gained 0.25 before)."),
    ({"gain": -0.25}, {"gain": 0.5}, "gains 0.50 points over the same network alone (lost 0.25 before)."),
    ({}, {"gain": 0.5, "gain_low": 0.1, "gain_high": 0.9},
     "gains 0.50 [0.10, 0.90] points over the same network alone: its 95 % interval is above 0."),
    ({}, {"gain": 0.5, "gain_low": -0.1, "gain_high": 0.9},
     "gains 0.50 [-0.10, 0.90] points over the same network alone: its 95 % interval holds 0, so none is shown."),
    ({}, {"gain": -0.5, "gain_low": -0.9, "gain_high": -0.1},
     "loses 0.50 [0.10, 0.90] points against the same network alone: its 95 % interval is above 0."),
    ({"gain": 0.25}, {"gain": -0.5, "gain_low": -0.9, "gain_high": 0.1},
     "loses 0.50 [-0.10, 0.90] points against the same network alone (gained 0.25 before): its 95 % interval holds 0, "
     "so none is shown."),
])
def test_the_gain_of_distillation(before, now, expected):
    before, now = ({f"distillation.{name}": value for name, value in side.items()} for side in (before, now))
    assert pull_request.gain(before, now) == (f"Distillation {expected}" if expected else "")


# Tables

def rows(path: str, **pairs) -> list[str]:
    names = {name.replace("__", "."): pair for name, pair in pairs.items()}
    return differences.metrics_tables({path: names}, "main")[path == differences.TIMED].splitlines()[2:]


def test_a_metric_stands_in_one_row_with_its_std_and_interval():
    assert rows("metrics/quality.json", int8__f1=(98.3287, 98.7001), int8__f1_std=(0.0, 0.4255),
                int8__f1_low=(None, 97.5), int8__f1_high=(None, 99.6)) == [
        "| quality | `int8.f1` | 98.33 ± 0.00 | 98.70 ± 0.43 [97.50, 99.60] | +0.37 |"]


def test_a_changed_std_alone_is_a_row():
    assert rows("metrics/quality.json", int8__f1=(98.0, 98.0), int8__f1_std=(0.1, 0.2)) == [
        "| quality | `int8.f1` | 98.00 ± 0.10 | 98.00 ± 0.20 | 0 |"]


@pytest.mark.parametrize(("score", "expected"), [
    (Score(98.7001, 0.4255), "98.70 ± 0.43"), (Score(100, 0), "100.00 ± 0.00"), (Score(0.0395), "0.0395"),
    (Score(6), "6"), (Score(6.0), "6.00"),
    (Score(2191.9), "2192"), (Score(0.5571, None, -1.4367, 2.5082), "0.56 [-1.44, 2.51]"), (Score(0.0), "0.00"),
])
def test_a_score_has_the_decimals_of_its_size(score, expected):
    assert str(score) == expected


def test_new_gone_and_worded_metrics():
    assert rows("metrics/verify.json", a=(None, 1.5), b=(2, None), c=("int8", "fp16 weights"), d=(True, False)) == [
        "| verify | `a` | – | 1.50 |  |", "| verify | `b` | 2 | – |  |",
        "| verify | `c` | `int8` | `fp16 weights` |  |", "| verify | `d` | true | false |  |"]


def test_decimals_grow_until_a_difference_shows():
    assert rows("metrics/size.json", ratio=(70.6712, 70.6749), images=(359, 360)) == [
        "| size | `images` | 359 | 360 | +1 |", "| size | `ratio` | 70.671 | 70.675 | +0.004 |"]


def test_quality_comes_first_its_leading_score_at_the_top_and_what_is_timed_apart():
    pairs = {"metrics/data.json": {"images.found": (1, 2)}, "metrics/mine.json": {"x": (1, 2)},
             "metrics/quality.json": {"test.primary": ("miou", "miou"), "int8.ece": (1.0, 2.0), "int8.miou": (5.0, 6.0),
                                      "teacher.miou": (5.0, 5.0)},
             "metrics/timing/distill.json": {"seconds": (1.0, 2.0)},
             "metrics/speed.json": {"int8.latency_ms": (1.0, 2.0)}}
    repeated, timed = differences.metrics_tables(pairs, "main")
    assert re.findall(r"^\| (\w+) \| `(\S+)`", repeated, re.M) == [
        ("quality", "int8.miou"), ("quality", "int8.ece"), ("data", "images.found"), ("mine", "x")]
    assert re.findall(r"^\| (\w+) \| `(\S+)`", timed, re.M) == [("speed", "int8.latency_ms"), ("distill", "seconds")]


def test_a_long_table_is_cut():
    long = differences.table(("a",), [(str(number),) for number in range(differences.MOST + 7)])
    assert long.count("\n| ") == differences.MOST + 1 and long.endswith("… and 7 rows more.")


# Budget and pictures

def test_a_budget_that_is_not_kept(bare):
    edit(bare / "metrics/size.json", "0.04", "0.07")
    assert pull_request.verdict().splitlines() == [
        "**Not kept**, by the figures of the machine that measured them:", "", "- size, MB: 0.07, at most 0.05: FAIL",
        "- peak memory, MB: 65, at most 90: pass", "- accuracy kept, %: 97.96, at least 97: pass"]
    (bare / "metrics/speed.json").unlink()
    assert pull_request.verdict().startswith("Cannot be told")


def test_pictures_side_by_side(bare):
    before = history.commit("HEAD")
    (bare / "plots/new.png").write_bytes(b"1")
    commit(bare, "A picture")
    (bare / "plots/student.csv").unlink()
    now = history.commit("HEAD")
    assert differences.pictures(before, None) == ("- [plots/new.png](plots/new.png)\n"
                                                  "- [plots/student.csv](plots/student.csv) (gone)")
    assert differences.pictures(before, "https://example.org/raw/").splitlines() == [
        "", "`plots/new.png`", "", "| before | now |", "| --- | --- |",
        f"| – | ![plots/new.png](https://example.org/raw/{now}/plots/new.png) |"]


# Makefile and workflow

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/pull-request.yaml").read_text(encoding="utf-8"))
STEPS = WORKFLOW["jobs"]["compare"]["steps"]


@pytest.mark.parametrize(("given", "expected"), [
    ([], ["--", "main"]), (["BASE=v1"], ["--", "v1"]), (["BASE="], ["--", "main"]),
    (["IMAGES=https://example.org/raw"], ["--images", "https://example.org/raw", "--", "main"]),
    (["BASE=$(shell touch evil);touch evil`touch evil`'\""], ["--", "$(shell touch evil);touch evil`touch evil`'\""]),
])
def test_make_diff_passes_its_base_on_unread(tmp_path, given, expected):
    (tmp_path / "Makefile").write_text(MAKEFILE)
    for name in ("requirements.txt", "constraints.txt", ".dvc/local.py", ".venv/ready", ".dvc/config.local"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    python.chmod(0o755)
    done = subprocess.run(["make", "--silent", "diff", *given], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["-m", "tools.pull_request", *expected]
    environment = os.environ | dict(word.split("=", 1) for word in given)
    again = subprocess.run(["make", "--silent", "diff"], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert again.stdout == done.stdout
    assert not (tmp_path / "evil").exists()


def test_the_workflow_has_the_history_and_the_branch_itself():
    checkout = next(step["with"] for step in STEPS if step.get("uses", "").startswith("actions/checkout@"))
    assert checkout["fetch-depth"] == 0
    assert checkout["ref"] == "${{ github.event.pull_request.head.sha }}"
    assert WORKFLOW[True] == "pull_request", "True is how YAML 1.1 reads on; pull_request_target would have secrets"
    assert WORKFLOW["permissions"] == {"contents": "read", "pull-requests": "write"}


def test_the_workflow_runs_what_there_is():
    said = "\n".join(step["run"] for step in STEPS if "run" in step)
    targets = re.findall(r"\bmake(?: --silent)? (\S+)", said)
    assert targets == [".dvc/config.local", "diff"]
    assert all(re.search(rf"^{re.escape(target)}:", MAKEFILE, re.M) for target in targets)
    modules = re.findall(r"python -m ([\w.]+)", said)
    assert modules == ["dvc", "stages.benchmark"] and all(map(importlib.util.find_spec, modules))
    assert "--edit-last --create-if-none" in said and "GITHUB_STEP_SUMMARY" in said


def test_nothing_a_stranger_chose_gets_into_a_commands_text():
    assert not [step["run"] for step in STEPS if "${{" in step.get("run", "")]


def test_a_stale_lock_still_gets_its_comment():
    """The comparison's exit status fails the job; the steps after it run all the same."""
    after = STEPS[[step.get("id") for step in STEPS].index("compare") + 1:]
    assert after and all("!cancelled()" in step["if"] for step in after)


def show(folder: Path, page: str, writes: str = "true", gh: str = "exit 0") -> tuple[int, str, str]:
    """The workflow's step run with another `gh`: its exit status, the comment's text and the summary."""
    (folder / "comment.md").write_text(page)
    (folder / "gh").write_text(f"#!/bin/sh\nfor last; do :; done\ncp \"$last\" {folder}/posted.md\n{gh}\n")
    (folder / "gh").chmod(0o755)
    script = next(step["run"] for step in STEPS if step.get("name") == "Show")
    told = {"PATH": f"{folder}:{os.environ['PATH']}", "RUNNER_TEMP": str(folder), "HEAD": "0123456789", "NUMBER": "1",
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"), "WRITES": writes, "RUN": "https://example.org/runs/7"}
    done = subprocess.run(["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script], env=told)
    return done.returncode, (folder / "posted.md").read_text(), (folder / "summary.md").read_text()


def test_the_page_is_posted_as_it_is(tmp_path):
    assert show(tmp_path, "## A\n\n94 ± 1\n") == (0, "## A\n\n94 ± 1\n", "## A\n\n94 ± 1\n")


def test_without_a_page_the_comment_says_so(tmp_path):
    said = "## 0123456 could not be compared: see [the job's log](https://example.org/runs/7)\n"
    assert show(tmp_path, "") == (0, said, said)


def test_a_page_too_long_for_a_comment_is_cut(tmp_path):
    page = "".join(f"± {number}\n" for number in range(20_000))
    status, posted, summary = show(tmp_path, page)
    assert status == 0 and summary == page and 60_000 < len(posted.encode()) < 65_536
    kept, pointer = posted.split("\n\n")
    assert page.startswith(kept + "\n") and pointer.startswith("… cut here") and "/runs/7" in pointer


@pytest.mark.parametrize(("writes", "expected"), [("true", 1), ("false", 0)])
def test_a_comment_that_fails_is_hidden_for_forks_alone(tmp_path, writes, expected):
    assert show(tmp_path, "## A\n", writes, gh="exit 1")[0] == expected


def test_tests_run_once_for_a_pull_request():
    tests = yaml.safe_load((ROOT / ".github/workflows/tests.yaml").read_text(encoding="utf-8"))
    assert tests[True] == {"push": {"branches": ["main"]}, "pull_request": None}


@pytest.mark.parametrize("name", ["tests", "pull-request"])
def test_the_cache_follows_every_pinned_version(name):
    """What is installed, constraints.txt says too."""
    jobs = yaml.safe_load((ROOT / f".github/workflows/{name}.yaml").read_text(encoding="utf-8"))["jobs"]
    paths = [step["with"]["cache-dependency-path"].split() for job in jobs.values() for step in job["steps"]
             if "setup-python" in step.get("uses", "")]
    assert paths == [["requirements.txt", "constraints.txt"]]


def test_plots_diff_works_on_what_git_holds(origin, tmp_path):
    folder = clone(origin, tmp_path / "branch", "--branch", "warmer")
    done = run(folder, "dvc", "plots", "diff", "origin/main", "--json", "--targets", "plots/student.csv")
    revisions = {tuple(plot["revisions"]) for plots in json.loads(done.stdout)["data"].values() for plot in plots}
    assert {revision for found in revisions for revision in found} == {"origin/main", "workspace"}
