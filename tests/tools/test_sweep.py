"""python -m tools.sweep: experiments ranked, the Pareto front, and what can't be told from the best."""

import sys

import pytest
import small_project
from PIL import Image
from small_project import commit, edit, run

from stages.core.errors import UserError
from tools import sweep
from tools.sweep import Row


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Temperatures 4 (committed), 5 (run), −1 (failed), 7 (queued); then a second commit, at 3, with nothing run."""
    folder = small_project.make(tmp_path_factory.mktemp("swept"))
    run(folder, "dvc", "exp", "run", "--name", "warmer", "-S", "distill.temperature=5.0")
    run(folder, "git", "checkout", "--quiet", ".")
    run(folder, "dvc", "checkout", "--quiet")
    run(folder, "dvc", "exp", "run", "--queue", "--name", "broken", "-S", "distill.temperature=-1.0")
    run(folder, "dvc", "exp", "run", "--run-all", check=False)
    run(folder, "dvc", "exp", "run", "--queue", "--name", "waiting", "-S", "distill.temperature=7.0")
    return folder


def ask(folder, *arguments: str):
    return run(folder, "python", "-m", "tools.sweep", *arguments, check=False)


@pytest.mark.slow
def test_a_real_sweep(swept):
    done = ask(swept, "--plot", "sweep.png")
    assert not done.returncode, done.stderr
    table, told, left_out = done.stdout.rstrip("\n").split("\n\n")
    assert table.splitlines() == [
        "|  | experiment | `distill.temperature` | int8.accuracy | gain of distillation | size, MB | latency, ms | "
        "on the front of |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | --- |",
        "| 1 | warmer | 5 | 95.00 ± 0.50 [94.00, 96.00] | 0.25 [-0.50, 1.00] | 0.0400 | 0.5000 | size and latency |",
        "| 2 | main | 4 | 94.00 ± 0.50 [93.00, 95.00] | 0.25 [-0.50, 1.00] | 0.0400 | 0.4000 | latency |"]
    assert told == (
        "No difference from warmer is shown by the 95 % intervals, which overlap: main. The first of 2 on the test "
        "images owes part of its place to chance: choose on val (--metric val.int8), and report that one's test score. "
        "Each experiment's latency was measured at a time of its own: differences within 5 % don't count.")
    # Both carry the metrics of the commit they start from, which are not theirs.
    assert left_out == "Not in the table: broken (failed), waiting (queued)."
    with Image.open(swept / "sweep.png") as drawn:
        assert drawn.size == (1210, 495)


@pytest.mark.slow
def test_several_commits_and_a_single_one(swept):
    edit(swept / "params.yaml", "temperature: 4.0", "temperature: 3.0")
    run(swept, "dvc", "repro", "--quiet")
    commit(swept, "Cooler")
    try:
        assert "| 1 | main | 93.00 ± 0.50 [92.00, 94.00] |" in (alone := ask(swept).stdout) and "warmer" not in alone
        assert "| 1 | warmer | 5 |" in (everything := ask(swept, "-A").stdout) and "| 3 | main | 3 |" in everything
        named = ask(swept, "main~1").stdout
        assert "| warmer | 5 |" in named and "| main | 3 |" not in named
    finally:
        run(swept, "git", "reset", "--quiet", "--hard", "HEAD~1")
        run(swept, "dvc", "checkout", "--quiet")


@pytest.mark.slow
def test_ranked_by_another_metric_the_test_score_stays(swept):
    lines = ask(swept, "--metric", "int8.latency_ms").stdout.splitlines()
    assert lines[0].startswith("|  | experiment | `distill.temperature` | latency, ms | int8.accuracy | gain of")
    assert lines[2].startswith("| 1 | main | 4 | 0.4000 | 94.00 ± 0.50 [93.00, 95.00] |"), "less is better"


@pytest.mark.slow
def test_what_stands_in_the_workspace_alone_is_no_row(swept):
    """Its params may be edited with nothing run, and its metrics be those of another run."""
    before = ask(swept).stdout
    try:
        edit(swept / "params.yaml", "temperature: 4.0", "temperature: 4.5")
        edit(swept / "metrics/quality.json", "94.0", "97.0")
        assert ask(swept).stdout == before
    finally:
        run(swept, "git", "checkout", "--quiet", ".")


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "expected"), [
    (["nowhere"], "'nowhere' is no commit in this clone"),
    (["--metric", "int8.miou"], "no experiment here has the metric int8.miou; there are, for example, int8.accuracy, "),
    (["--plot", "sweep.svg"], "--plot sweep.svg: it should end in .png"),
])
def test_faults_are_one_line(swept, arguments, expected):
    done = ask(swept, *arguments)
    assert done.returncode == 1 and done.stderr.startswith(f"sweep: {expected}") and done.stderr.count("\n") == 1


# The JSON of `dvc exp show`

def entry(name: str, accuracy: float | None = None, error: str | None = None, **params) -> dict:
    metrics = {} if accuracy is None else {"metrics/quality.json": {"data": {
        "int8": {"accuracy": accuracy}, "test": {"primary": "accuracy"}}}}
    return {"rev": 40 * "a", "name": name, "error": error and {"msg": error}, "experiments": None,
            "data": None if error else {"params": {"params.yaml": {"data": params}}, "metrics": metrics, "deps": {}}}


def test_only_what_has_run_is_taken():
    tried = [("ran", "success"), ("died", "failed"), ("runs", "running"), ("waits", "queued")]
    commit = entry("main", 90) | {"experiments": [
        {"name": name, "revs": [entry(name, 91)], "executor": {"state": state}} for name, state in tried] + [
        {"name": "older", "revs": [entry("older", 92)], "executor": None},
        {"name": "torn", "revs": [entry("torn", error="params.yaml is\ncorrupted")], "executor": None}]}
    rows, others = sweep.gather([entry(None, 90) | {"rev": "workspace"}, commit])
    assert [row.name for row in rows] == ["main", "ran", "older"]
    assert others == {"died": "failed", "runs": "running", "waits": "queued",
                      "torn": "unreadable (params.yaml is corrupted)"}


def test_only_parameters_that_differ_are_shown():
    rows = [Row("a", {"seed": 0, "heat": 4, "loss": "kd"}, {}), Row("b", {"seed": 0, "heat": 4.0, "loss": "dkd"}, {}),
            Row("c", {"seed": 0, "heat": 4.0, "loss": "kd", "new": 1}, {})]
    assert sweep.differing(rows) == ["loss", "new"]


def test_ranking_by_what_is_better():
    rows = [Row("a", {}, {"int8.accuracy": 90.0, "int8.ece": 3.0}), Row("b", {}, {"int8.accuracy": 91.0}),
            Row("d", {}, {"int8.accuracy": 90.0, "int8.size_mb": 2.0, "int8.ece": 1.0}),
            Row("c", {}, {"int8.accuracy": 90.0, "int8.size_mb": 1.0, "int8.ece": 2.0})]
    assert [row.name for row in sweep.rank(rows, "int8.accuracy")] == ["b", "a", "c", "d"]
    assert [row.name for row in sweep.rank(rows, "int8.ece")] == ["d", "c", "a"]


def test_nothing_is_ranked_by_what_is_neither_a_score_nor_a_cost():
    rows = [Row("a", {}, {"test.teacher_errors": 6})]
    with pytest.raises(UserError, match=r"test\.teacher_errors is neither a score nor a cost"):
        sweep.rank(rows, "test.teacher_errors")


def test_two_tasks_need_a_metric():
    rows = [Row(name, {}, {"test.primary": name}) for name in ("accuracy", "miou")]
    with pytest.raises(UserError, match="judged by accuracy and miou; choose with --metric"):
        sweep.primary_metric(rows)
    assert sweep.primary_metric(rows[1:]) == "int8.miou"


def test_the_page(tmp_path, monkeypatch, capsys):
    """What is printed of `dvc exp show`'s JSON, and the plot."""
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["sweep", "--plot", "sweep.png"])
    monkeypatch.setattr(sweep.git, "run", lambda *arguments, **_: "true")
    commit = entry("main", 90.0, loss="kd") | {"experiments": [
        {"name": "better", "revs": [entry("better", 91.0, loss="dkd")], "executor": None},
        {"name": "waits", "revs": [entry("waits", 90)], "executor": {"state": "queued"}}]}
    for one in (commit, commit["experiments"][0]["revs"][0]):
        one["data"]["metrics"]["metrics/size.json"] = {"data": {"int8": {"size_mb": 0.04}}}
        one["data"]["deps"] = {"data/prepared/test": {"hash": "a"}}
    monkeypatch.setattr(sweep.differences, "dvc", lambda *arguments: [commit])
    sweep.main()
    assert capsys.readouterr().out == (
        "|  | experiment | `loss` | int8.accuracy | size, MB | on the front of |\n"
        "| ---: | --- | --- | ---: | ---: | --- |\n"
        "| 1 | better | dkd | 91.00 | 0.0400 | size |\n"
        "| 2 | main | kd | 90.00 | 0.0400 |  |\n\n"
        "Without ± or interval on both sides, the difference from better may be chance: main. The first of 2 on "
        "the test images owes part of its place to chance: choose on val (--metric val.int8), and report that one's "
        "test score.\n\n"
        "Not in the table: waits (queued).\n")
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_sentences_name_each_row_once_by_the_best_evidence_there_is():
    row = {"int8.accuracy": 90, "int8.accuracy_std": 1, "int8.accuracy_low": 88, "int8.accuracy_high": 92}
    on = {"int8.accuracy": (sweep.TEST_IMAGES, "a")}
    rows = [Row("best", {}, row, on), Row("near", {}, row | {"int8.accuracy": 89}, on),
            Row("far", {}, {"int8.accuracy": 80, "int8.accuracy_low": 79, "int8.accuracy_high": 81}, on),
            Row("old", {}, {"int8.accuracy": 70, "int8.accuracy_std": 1}, on),
            Row("bare", {}, {"int8.accuracy": 60}, on),
            Row("elsewhere", {}, row, {"int8.accuracy": (sweep.TEST_IMAGES, "b")}),
            Row("somewhere", {}, row, {"int8.accuracy": (sweep.TEST_IMAGES, None)})]
    text = sweep.sentences(rows, "int8.accuracy")
    assert text.split(". ")[:6] == [
        "Scored on other images than best, so not comparable with it: elsewhere",
        "Whether these were scored on the same images as best, dvc.lock doesn't say: somewhere",
        "Without ± or interval on both sides, the difference from best may be chance: bare",
        "No difference from best is shown by the 95 % intervals, which overlap: near",
        "Behind best, the 95 % intervals apart: far",
        "Behind best by more than both ± together, which cover the seeds alone and not the choice of images, so this "
        "is a hint and no proof: old"]
    assert "The first of 7 on the test images owes part of its place to chance" in text


@pytest.mark.parametrize("metric", ["val.int8", "int8.size_mb"])
def test_what_no_test_image_decides_needs_no_warning_of_them(metric):
    rows = [Row(name, {}, {metric: 90}) for name in ("a", "b")]
    assert sweep.sentences(rows, metric) == (
        "Without ± or interval on both sides, the difference from a may be chance: b.")
    assert sweep.sentences(rows[:1], metric) == ""


@pytest.mark.parametrize("metric", ["int8.accuracy", "distillation.gain", "distillation.paired_gain"])
def test_every_score_of_test_images_owes_to_chance(metric):
    shown = [entry(name, 90) for name in ("a", "b")]
    for one in shown:
        one["data"]["metrics"]["metrics/quality.json"]["data"]["distillation"] = {"gain": 1.0, "paired_gain": 1.0}
        one["data"]["deps"] = {"data/prepared/test": {"hash": "a"}}
    rows, _ = sweep.gather(shown)
    assert "owes part of its place to chance" in sweep.sentences(rows, metric)


@pytest.mark.slow
def test_an_experiment_on_other_test_images_is_not_judged(swept):
    """Another seed of the split: the same numbers, from other images, as DVC knows."""
    run(swept, "dvc", "exp", "run", "--name", "resplit", "-S", "split.seed=1", "-S", "distill.temperature=4.5")
    try:
        lines = ask(swept).stdout.splitlines()
        resplit = next(line for line in lines if "resplit" in line)
        assert resplit.endswith("| 94.50 ± 0.50 [93.50, 95.50] | 0.25 [-0.50, 1.00] | 0.0400 | 0.4500 |  |"), "no front"
        assert "Scored on other images than warmer, so not comparable with it: resplit. No difference from warmer is " \
               "shown by the 95 % intervals, which overlap: main." in "\n".join(lines)
    finally:
        run(swept, "dvc", "exp", "remove", "resplit")
        run(swept, "git", "checkout", "--quiet", ".")
        run(swept, "dvc", "checkout", "--quiet")


