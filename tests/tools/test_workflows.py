"""The workflows of GitHub, and `make diff`, which one of them runs."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
WORKFLOWS = ROOT / ".github/workflows"
WORKFLOW = yaml.safe_load((WORKFLOWS / "pull-request.yaml").read_text(encoding="utf-8"))
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
    assert WORKFLOW["jobs"]["compare"]["permissions"] == {"contents": "read", "pull-requests": "write"}


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
    tests = yaml.safe_load((WORKFLOWS / "tests.yaml").read_text(encoding="utf-8"))
    assert tests[True] == {"push": {"branches": ["main"]}, "pull_request": None}


def test_every_action_is_pinned_by_the_hash_of_a_version():
    """A tag can be moved to other code; a commit can't."""
    used = [line.split("uses:")[1].strip() for path in WORKFLOWS.glob("*.yaml")
            for line in path.read_text(encoding="utf-8").splitlines() if "uses:" in line]
    pinned = re.compile(r"actions/[a-z-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+")
    assert len(used) == 7 and all(map(pinned.fullmatch, used))
    assert len({use.split("@")[0] for use in used}) == len(set(used)), "one version of each"


def test_no_job_may_do_more_than_it_needs():
    """Neither by its token nor by what it takes from strangers."""
    zizmor = Path(sys.executable).with_name("zizmor")
    done = subprocess.run([zizmor, "--offline", "--no-config", "--no-progress", "--persona", "auditor",
                           "--min-severity", "low", WORKFLOWS.parent], capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr
    assert done.stderr.count("completed") == 3, done.stderr


@pytest.mark.parametrize("name", ["tests", "pull-request"])
def test_the_cache_follows_every_pinned_version(name):
    """What is installed, constraints.txt says too."""
    jobs = yaml.safe_load((WORKFLOWS / f"{name}.yaml").read_text(encoding="utf-8"))["jobs"]
    paths = [step["with"]["cache-dependency-path"].split() for job in jobs.values() for step in job["steps"]
             if "setup-python" in step.get("uses", "")]
    assert paths == [["requirements.txt", "constraints.txt"]]
