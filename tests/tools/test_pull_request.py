"""make diff: the whole page, its errors, and no more said about a difference than the numbers allow."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import small_project
from small_project import ROOT, clone, commit, edit, run

from stages.core.errors import UserError
from tools import pull_request
from tools.comparison import differences, dvc_lock, git
from tools.comparison.metric_values import MetricValue as Value


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


def compare(folder: Path, *arguments: str):
    return run(folder, "python", "-m", "tools.pull_request", *arguments, check=False)


@pytest.mark.slow
def test_a_branch_beside_main(origin, tmp_path):
    folder = clone(origin, tmp_path / "branch", "--branch", "warmer")
    done = compare(folder, "origin/main")
    assert not done.returncode, done.stderr
    head = run(folder, "git", "rev-parse", "HEAD").stdout[:7]
    assert done.stdout.startswith(f"## {head} compared with `origin/main`\n"), "or an old comment would pass for new"
    for line in ("**dvc.lock is fresh**",
                 "**The shipped file's accuracy: 94.00 ± 0.50 [93.00, 95.00] % → 95.00 ± 0.50 [94.00, 96.00] %**, 1.00 "
                 "points up. The 95 % intervals overlap: no difference is shown.",
                 "Its file: 0.04 MB, as before.",
                 "| `distill.temperature` | 4.0 | 5.0 |",
                 "| quality | `int8.accuracy` | 94.00 ± 0.50 [93.00, 95.00] | 95.00 ± 0.50 [94.00, 96.00] | +1.00 |",
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


@pytest.mark.slow
def test_main_moved_on(origin, tmp_path):
    folder = clone(origin, tmp_path / "branch", "--branch", "warmer")
    run(folder, "git", "switch", "--quiet", "main")
    edit(folder / "params.yaml", "size_mb: 0.05", "size_mb: 0.03")
    commit(folder, "A tighter budget")
    run(folder, "git", "switch", "--quiet", "warmer")
    done = compare(folder, "main")
    assert "`main` has moved on since" in done.stdout and "(1 commit)." in done.stdout
    assert "benchmark.budget" not in done.stdout, "main's change is not this branch's"


@pytest.mark.slow
def test_a_base_from_before_the_pipeline(origin, tmp_path):
    folder = clone(origin, tmp_path / "branch")
    run(folder, "git", "switch", "--quiet", "--orphan", "early")
    (folder / "note").write_text("first")
    commit(folder, "Before")
    run(folder, "git", "merge", "--quiet", "--allow-unrelated-histories", "--no-edit", "main")
    done = compare(folder, "early~1")
    assert not done.returncode, done.stderr
    assert ("**The shipped file's accuracy: 94.00 ± 0.50 [93.00, 95.00] %.** `early~1` holds no such score"
            in done.stdout)
    assert "| `distill.temperature` | – | 4.0 |" in done.stdout


# Errors, in one line

def test_an_unknown_base_is_one_line(bare):
    done = compare(bare, "nowhere")
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.count("\n") == 1
    assert "git fetch origin nowhere" in done.stderr and "fetch-depth: 0" in done.stderr


def test_a_shallow_clone(origin, tmp_path, monkeypatch):
    folder = clone(origin, tmp_path / "shallow", "--depth", "1", "--no-single-branch", "--branch", "warmer")
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match=r"shallow.*--unshallow.*fetch-depth: 0"):
        git.merge_base("origin/main")


def test_not_a_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UserError, match=r"dvc\.yaml is not here"):
        git.check_project_folder()
    Path("dvc.yaml").touch()
    with pytest.raises(UserError, match="no git repository"):
        git.check_project_folder()


def test_broken_params_are_one_line(bare):
    edit(bare / "params.yaml", "split: {seed: 0}", "split: {seed: [0}")
    done = compare(bare, "HEAD")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "params.yaml" in done.stderr


def test_a_base_has_to_be_named(bare):
    done = compare(bare)
    assert done.returncode == 2 and "required: BASE" in done.stderr, "which one is the default, the Makefile says"


@pytest.mark.slow
def test_a_reader_that_stops_early_is_no_error(bare):
    """As `| head`: its end of the pipe is closed before the first line."""
    read, write = os.pipe()
    os.close(read)
    try:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}
        done = subprocess.run([sys.executable, "-m", "tools.pull_request", "HEAD"], cwd=bare, text=True,
                              stdout=write, stderr=subprocess.PIPE, env=environment)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


# Words that follow the numbers

CHANCE = "chance in the 200 test images and in the seeds hardly explains it."
NOT_SHOWN = "no difference is shown."
UNKNOWN = "Neither interval nor ± on both sides: it may be chance."


@pytest.mark.parametrize(("old", "new", "how", "why"), [
    (Value(90), Value(91), "1.00 points up", UNKNOWN),
    (Value(90), Value(91, 0.1), "1.00 points up", UNKNOWN),
    (Value(91, 0.3), Value(90, 0.8), "1.00 points down", f"Within the ± of the seeds: {NOT_SHOWN}"),
    (Value(90, 0.3), Value(91, 0.6), "1.00 points up", "More than both ± together; but ± is of the seeds alone and "
                                                       "says nothing of the 200 test images: a hint, no proof."),
    (Value(90, 0.1, 89, 90.5), Value(91, 0.1, 90.4, 92), "1.00 points up", f"The 95 % intervals overlap: {NOT_SHOWN}"),
    (Value(90, 2, 89, 90.5), Value(91, 2, 90.6, 92), "1.00 points up", f"The 95 % intervals do not meet: {CHANCE}"),
    (Value(91, 2, 90.6, 92), Value(90, 2, 89, 90.5), "1.00 points down", f"The 95 % intervals do not meet: {CHANCE}"),
    (Value(91, 2, 90.6, 92), Value(90, None, 89, 90.5), "1.00 points down",
     "The 95 % intervals do not meet: chance in the 200 test images hardly explains it, but one seed says nothing of "
     "others."),
    # An older base without intervals: what both sides have is used.
    (Value(90, 0.5), Value(91, 0.6, 90.9, 91.2), "1.00 points up", f"Within the ± of the seeds: {NOT_SHOWN}"),
    (Value(90, 0.1), Value(90.001, 0.1), "level", f"Within the ± of the seeds: {NOT_SHOWN}"),
])
def test_a_difference_is_called_no_more_than_it_is(old, new, how, why):
    assert pull_request.difference(old, new, {"test.images": 200}, same_images=True) == f", {how}. {why}"


@pytest.mark.parametrize("new", [Value(90, 0.1), Value(90, 0.1, 89, 91)])
def test_of_two_equal_scores_nothing_is_said(new):
    assert pull_request.difference(Value(90, 0.1), new, {}, same_images=True) == ""


def test_an_unchanged_score_is_called_the_same():
    pairs = {"metrics/quality.json": {"test.primary": ("accuracy",) * 2, "test.named": ("accuracy",) * 2,
                                      "int8.accuracy": (90.0,) * 2},
             "metrics/size.json": {"int8.size_mb": (0.05, 0.04)}}
    assert pull_request.headline(pairs, "main", True) == ("**The shipped file's accuracy is the same: 90.00 %.**\n\n"
                                                          "Its file: 0.04 MB (0.05 MB before).")


def test_other_test_images_are_not_compared():
    said = pull_request.difference(Value(90, 0.1, 89, 90.5), Value(95, 0.1, 94, 96), {}, same_images=False)
    assert said == ", 5.00 points up, but on other test images: the two cannot be compared."


@pytest.mark.parametrize("now", [Value(95, 0.1, 94, 96), Value(90, 0.1, 89, 90.5)])
def test_of_test_images_that_may_be_others_nothing_is_said(now):
    said = pull_request.difference(Value(90, 0.1, 89, 90.5), now, {}, same_images=None)
    assert said.endswith(", but dvc.lock doesn't say on both sides which test images these are: no conclusion is "
                         "drawn from the difference.")
    assert "interval" not in said


def test_other_test_images_are_seen_in_the_lock(bare):
    assert pull_request.same_test_images("HEAD") is True
    text = (bare / "dvc.lock").read_text()
    test = dvc_lock.entries(text)["evaluate"]["data/prepared/test"]
    (bare / "dvc.lock").write_text(text.replace(test, 32 * "0" + ".dir"))
    assert pull_request.same_test_images("HEAD") is False
    (bare / "dvc.lock").unlink()
    assert pull_request.same_test_images("HEAD") is None


def test_another_task_is_not_compared():
    pairs = {"metrics/quality.json": {"test.primary": ("miou", "accuracy"), "test.named": ("mean IoU", "accuracy"),
                                      "int8.miou": (50.0, None), "int8.accuracy": (None, 90.0)}}
    assert pull_request.headline(pairs, "main", True) == (
        "**The shipped file's accuracy: 90.00 %.** `main` was judged by mean IoU: there is nothing to compare it with.")


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


# Budget and pictures

def test_a_budget_that_is_not_kept(bare):
    edit(bare / "metrics/size.json", "0.04", "0.07")
    assert pull_request.budget_verdict().splitlines() == [
        "**Not kept**, by the figures of the machine that measured them:", "", "- size, MB: 0.07, at most 0.05: FAIL",
        "- peak memory, MB: 65, at most 90: pass", "- accuracy kept, %: 97.96, at least 97: pass"]
    (bare / "metrics/speed.json").unlink()
    assert pull_request.budget_verdict().startswith("Cannot be told")


def test_pictures_side_by_side(bare):
    before = git.commit_hash("HEAD")
    (bare / "plots/new.png").write_bytes(b"1")
    commit(bare, "A picture")
    (bare / "plots/student.csv").unlink()
    now = git.commit_hash("HEAD")
    assert differences.pictures(before, None) == ("- [plots/new.png](plots/new.png)\n"
                                                  "- [plots/student.csv](plots/student.csv) (gone)")
    assert differences.pictures(before, "https://example.org/raw/").splitlines() == [
        "", "`plots/new.png`", "", "| before | now |", "| --- | --- |",
        f"| – | ![plots/new.png](https://example.org/raw/{now}/plots/new.png) |"]


@pytest.mark.slow
def test_plots_diff_works_on_what_git_holds(origin, tmp_path):
    folder = clone(origin, tmp_path / "branch", "--branch", "warmer")
    done = run(folder, "dvc", "plots", "diff", "origin/main", "--json", "--targets", "plots/student.csv")
    revisions = {tuple(plot["revisions"]) for plots in json.loads(done.stdout)["data"].values() for plot in plots}
    assert {revision for found in revisions for revision in found} == {"origin/main", "workspace"}
