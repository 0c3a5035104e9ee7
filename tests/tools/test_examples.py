"""The files in examples/ say what there is: targets of make, commands of DVC, files of the project."""

import os
import re
import shlex
import subprocess

import pytest
import yaml
from conftest import ROOT
from dvc.cli.parser import get_main_parser

EXAMPLES = ROOT / "examples"
DOCKERFILE = (EXAMPLES / "Dockerfile").read_text(encoding="utf-8")
SKY = yaml.safe_load((EXAMPLES / "sky.yaml").read_text(encoding="utf-8"))
SLURM = EXAMPLES / "slurm.sbatch"


def is_target(name: str) -> bool:
    return bool(re.search(rf"^{re.escape(name)}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def test_the_image_runs_what_the_readme_says_and_not_as_root():
    said = re.findall(r"^RUN make (\S+)", DOCKERFILE, re.MULTILINE)
    assert said == [".venv/ready", ".dvc/config.local"] and all(map(is_target, said))
    assert 'CMD ["make"]' in DOCKERFILE and "distillation make test" in DOCKERFILE and is_target("test")
    assert re.findall(r"^USER (.+)", DOCKERFILE, re.MULTILINE) == ["1000"]
    for files in re.findall(r"^COPY --chown=1000 (.+) \./?$", DOCKERFILE, re.MULTILINE):
        assert all((ROOT / name).exists() for name in files.split())


def test_what_make_needs_to_install_the_packages_is_copied_before(tmp_path):
    """A change of the code is then no reason to install them again."""
    first = re.search(r"^COPY --chown=1000 (.+) \./$", DOCKERFILE, re.MULTILINE)[1].split()
    for name in first:
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    done = subprocess.run(["make", "--dry-run", ".venv/ready"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "pip install" in done.stdout, done.stderr


def test_the_image_gets_no_data_that_git_would_not():
    """.dockerignore's patterns of data/, in the words of .gitignore."""
    lines = (EXAMPLES / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    ours = [re.sub(r"^(!?)", r"\1/", line) for line in lines if "data" in line]
    git = [line.replace("?*", "*").removesuffix("/") for line in (ROOT / ".gitignore").read_text().splitlines()
           if line.lstrip("!").startswith("/data")]
    assert ours == git


def test_the_rented_machine_runs_commands_that_dvc_and_make_know():
    change = SKY["envs"]["CHANGE"]
    section, key, value = re.fullmatch(r"(\w+)\.(\w+)=(.*)", change).groups()
    assert str(yaml.safe_load((ROOT / "params.yaml").read_text())[section][key]) == value, "not as it is"
    lines = [shlex.split(line) for line in (SKY["setup"] + SKY["run"]).splitlines()]
    commands = [words[1:] for words in lines if words[0] == "dvc"]
    assert [words[0] for words in commands] == ["pull", "exp", "push"]
    for words in commands:
        get_main_parser().parse_args(words)
    assert all(is_target(words[1]) for words in lines if words[0] == "make")


@pytest.fixture
def job(tmp_path):
    """Runs the job in a project whose make and dvc write down how they were called: where, and with what."""
    project, programs = tmp_path / "a project", tmp_path / "bin"
    for name in ("project/data/source/a.zip", ".venv/bin/python", ".dvc/config.local", ".dvc/plots.html",
                 "data/weights/w.safetensors", "data/source/a.zip"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).touch()
    (project / ".gitignore").write_text("/.work\n/.venv\n/data/source/*\n.dvc/*.local\n.dvc/plots.html\n")
    (project / ".dvc/config").touch()
    programs.mkdir()
    for name, does in (("make", ""), ("dvc", '[ "$*" = "cache dir" ] && echo /the/cache; ')):
        (programs / name).write_text(f'#!/bin/sh\n{does}echo "$PWD: {name} $*" >> {shlex.quote(str(tmp_path))}/said\n')
        (programs / name).chmod(0o755)
    git = ["git", "-c", "user.name=tests", "-c", "user.email=tests@example.org"]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "All"]):
        subprocess.run([*git, *words], cwd=project, check=True)

    def run(*arguments: str) -> list[str]:
        (tmp_path / "said").unlink(missing_ok=True)
        subprocess.run(["bash", SLURM, *arguments], check=True, capture_output=True, env={
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path), "SLURM_JOB_ID": "7",
            "SLURM_SUBMIT_DIR": str(project), "SLURM_CPUS_PER_TASK": "2"})
        return [line.removeprefix(f"{project}") for line in (tmp_path / "said").read_text().splitlines()]

    run.project = project
    return run


def test_a_job_without_a_change_runs_the_pipeline(job):
    assert job() == [": make "]


def test_a_job_with_changes_runs_an_experiment_in_a_clone(job):
    expected = [": dvc cache dir", "/.work/slurm/7: dvc cache dir --local /the/cache",
                "/.work/slurm/7: dvc exp run --set-param distill.temperature=5 --set-param split.fold=1"]
    assert job("distill.temperature=5", "split.fold=1") == expected
    clone = job.project / ".work/slurm/7"
    assert (clone / "data/source/a.zip").resolve() == job.project / "data/source/a.zip"
    assert (clone / ".dvc/config.local").exists() and (clone / ".venv/bin/python").exists()
    assert job("distill.temperature=5", "split.fold=1") == expected  # queued again: in the same clone


def test_the_experiment_of_a_job_is_a_command_that_dvc_knows():
    get_main_parser().parse_args(["exp", "run", "--set-param", "distill.temperature=5", "--set-param", "split.fold=1"])
    get_main_parser().parse_args(["cache", "dir", "--local", "/the/cache"])
