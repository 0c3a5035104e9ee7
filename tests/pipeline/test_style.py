"""The house style, as far as a machine can check it."""

import re
import subprocess
import sys
from pathlib import Path

from benchmarks.copies import ROOT, files


def texts() -> dict[Path, str]:
    kinds = {".py", ".md", ".yaml", ".toml", ".txt", ""}
    return {path: (ROOT / path).read_text(encoding="utf-8") for path in files() if path.suffix in kinds}


def test_ruff_finds_nothing():
    found = subprocess.run([sys.executable, "-m", "ruff", "check", "--output-format", "concise", "."],
                           cwd=ROOT, capture_output=True, text=True)
    assert not found.returncode, found.stdout + found.stderr


def test_no_path_of_a_machine():
    home = re.compile(r"(?<![\w.])/(?:home|root|Users|work|mnt|opt)/\w")
    assert not [f"{path}: {match.group()}" for path, text in texts().items() if (match := home.search(text))]


def test_no_file_of_leftovers():
    assert not [path for path in files() if path.stem in {"utils", "helpers", "common", "misc"}]


def test_every_requirement_is_pinned_with_its_reason():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if line and not re.fullmatch(r"#.*|[\w.-]+==[\w.]+ +# .+", line)]
