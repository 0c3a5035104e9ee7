"""Setting up never touches anything outside the project."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT


def set_up(project: Path, command: str) -> None:
    """A folder in which make finds everything set up, and whose Python is this shell command."""
    (project / ".venv/bin").mkdir(parents=True)
    (project / ".dvc").mkdir()
    shutil.copy(ROOT / "Makefile", project)
    for number, name in enumerate(("requirements.txt", "constraints.txt", ".venv/ready", ".dvc/local.py",
                                   ".dvc/config.local")):  # each as new as those before it, or newer
        (project / name).touch()
        os.utime(project / name, (number, number))
    python = project / ".venv/bin/python"
    python.write_text(f"#!/bin/sh\n{command}\n")
    python.chmod(0o755)


def test_an_environment_that_is_a_link_is_refused_and_left_alone(tmp_path):
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for folder in (project, elsewhere):
        folder.mkdir()
    (elsewhere / "precious").touch()
    (project / ".venv").symlink_to(elsewhere)
    for name in ("Makefile", "requirements.txt", "constraints.txt"):
        shutil.copy(ROOT / name, project)
    done = subprocess.run(["make", ".venv/ready"], cwd=project, capture_output=True, text=True)
    assert done.returncode and ".venv is a link" in done.stderr and (elsewhere / "precious").exists()


@pytest.mark.parametrize("index", ["", "https://example.org/torch-cpu?a=1&b='2'"])
def test_torch_comes_from_the_index_that_is_named_and_the_size_is_said_first(tmp_path, index):
    """It is installed ahead of the rest, whose requirements it then meets."""
    for name in ("Makefile", "requirements.txt", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "python"  # it sets up a folder whose Python prints what it is told
    python.write_text("#!/bin/sh\ncase $2 in venv) mkdir -p .venv/bin && cp .venv-python .venv/bin/python;; esac\n")
    (tmp_path / ".venv-python").write_text('#!/bin/sh\nprintf "%s|" "$@"\necho\n')
    for file in (python, tmp_path / ".venv-python"):
        file.chmod(0o755)
    done = subprocess.run(["make", "--silent", ".venv/ready", f"PYTHON={python}", f"TORCH_INDEX={index}"],
                          cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pip = "-m|pip|install|--disable-pip-version-check|"
    lines = [line for line in done.stdout.splitlines() if line.startswith(pip)]
    pins = [line.split()[0] for line in (ROOT / "requirements.txt").read_text().splitlines()
            if line.startswith(("torch==", "torchvision=="))]
    named = [f"{pip}--no-deps|--index-url|{index}|{'|'.join(pins)}|"] if index else []
    assert len(pins) == 2 and lines == [*named, f"{pip}-r|requirements.txt|-c|constraints.txt|"]
    first = done.stderr.splitlines()[0]
    assert ("0.5 GB" in first) == bool(index) and ("make TORCH_INDEX=" in first) == (not index)


def test_a_source_reaches_the_command_as_it_is_named(tmp_path):
    """No shell and no make acts on what stands in a file's name."""
    set_up(tmp_path, 'printf "%s|" "$@"')
    for arguments, words in ((["SOURCE=my cats' $(touch x) `y`.zip"], "-m|stages.new|--|my cats' $(touch x) `y`.zip|"),
                             (["SOURCE=a", "FORCE=1"], "-m|stages.new|--force|--|a|"), ([], "-m|stages.new|--||"),
                             (["SOURCE=a", "LAYOUT=b", "OPTIONS={c: ['d']}"],
                              "-m|stages.new|--layout|b|--options|{c: ['d']}|--|a|")):
        done = subprocess.run(["make", "--silent", "new", *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout == words, done.stderr
    assert not (tmp_path / "x").exists()


def test_a_folder_may_have_any_name(tmp_path):
    """The shell must not act on it."""
    project = tmp_path / 'it\'s "a" $(touch acted) `touch acted` folder'
    set_up(project, 'echo "$@"')
    done = subprocess.run(["make", "--no-print-directory", "check"], cwd=project, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "-m stages.check\n-m tools.check_outs\n"), done.stderr
    assert not list(tmp_path.rglob("acted"))


def test_a_user_without_a_home_gets_one_in_the_project(tmp_path):
    """DVC ends where there is neither $HOME nor an entry for the user."""
    set_up(tmp_path, 'echo "$HOME"')
    own = tmp_path / ".dvc/tmp"
    for given, expected in (({}, own), ({"HOME": ""}, own), ({"HOME": "/a b"}, "/a b")):
        done = subprocess.run(["make", "--silent", "preset"], cwd=tmp_path, capture_output=True, text=True,
                              env={"PATH": os.environ["PATH"]} | given)
        assert done.stdout == f"{expected}\n", done.stderr
