"""Setting up never touches anything outside the project."""

import shutil
import subprocess

from conftest import ROOT


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
