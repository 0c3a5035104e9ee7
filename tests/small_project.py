"""A pipeline of three quick stages in a git repository of its own, for tests of what compares runs. It measures what a
finished run of the whole pipeline has measured, but for a few numbers.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import finished

ROOT = Path(__file__).resolve().parents[1]

FILES = {
    "dvc.yaml": """
stages:
  split:
    cmd: python step.py split
    deps: [data/source, step.py]
    params: [split.seed]
    outs: [data/prepared/train, data/prepared/test]
  distill:
    cmd: python step.py distill
    deps: [data/prepared/train, distill.py, step.py]
    params: [distill]
    outs:
      - models/student
      - plots/student.csv: {cache: false}
  evaluate:
    cmd: python step.py evaluate
    deps: [models/student, data/prepared/test, measured, step.py]
    metrics:
      - metrics/quality.json: {cache: false}
      - metrics/size.json: {cache: false}
      - metrics/speed.json: {cache: false}
""",
    "params.yaml": """
split: {seed: 0}
distill:
  temperature: 4.0 # a comment
  kd_weight: 0.9
benchmark:
  budget: {size_mb: 0.05, latency_ms: null, peak_memory_mb: 90, photograph_ms: null,
           cold_start_ms: null, photograph_memory_mb: null, accuracy_kept: 97}
""",
    "distill.py": "",
    # The accuracy is 90 % and the temperature, ± 1; a negative temperature fails.
    "step.py": """
import json, sys
from pathlib import Path
import yaml

def write(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)

params = yaml.safe_load(Path("params.yaml").read_text())
heat = params["distill"]["temperature"]
if sys.argv[1] == "split":
    for part in ("train", "test"):
        write(f"data/prepared/{part}/images", part + str(params["split"]["seed"]))
elif sys.argv[1] == "distill":
    if heat < 0:
        sys.exit("distill: a negative temperature")
    write("models/student/weights", str(heat))
    write("plots/student.csv", f"epoch,loss\\n0,{heat}\\n")
else:
    quality, size, speed = (json.loads(Path(f"measured/{name}.json").read_text()) for name in (
        "quality", "size", "speed"))
    quality["teacher"]["deployed"], quality["test"]["images"] = 98.0, 200
    quality["int8"] |= {"accuracy": 90.0 + heat, "accuracy_std": 0.5, "accuracy_low": 89.0 + heat,
                        "accuracy_high": 91.0 + heat, "deployed": 96.0}
    quality["distillation"] |= {"gain": 0.25, "gain_low": -0.5, "gain_high": 1.0}
    size["int8"]["size_mb"] = 0.04
    speed["int8"] |= {"latency_ms": heat / 10, "peak_memory_mb": 65.0}
    for name, values in {"quality": quality, "size": size, "speed": speed}.items():
        write(f"metrics/{name}.json", json.dumps(values))
""",
    ".gitignore": "/data/*\n!/data/source/\n/data/source/*\n!/data/source/overrides.csv\n/models\n",
    ".gitattributes": (ROOT / ".gitattributes").read_text(encoding="utf-8"),
    "data/source/overrides.csv": "path,action,label\n",
}


def run(folder: Path, *command: str, check: bool = True) -> subprocess.CompletedProcess:
    """`dvc …` or `git …` or `python …` in the folder, with this project's modules to import."""
    known = {"dvc": [sys.executable, "-m", "dvc"], "python": [sys.executable]}
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    name = {f"GIT_{who}_{what}": "tests" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run([*known.get(command[0], command[:1]), *command[1:]], cwd=folder, capture_output=True,
                          text=True, env={**os.environ, **name, "PATH": paths, "PYTHONPATH": str(ROOT)})
    assert not check or not done.returncode, done.stdout + done.stderr
    return done


def commit(folder: Path, message: str) -> None:
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", message)


def make(folder: Path) -> Path:
    """The project after one run, committed on `main`."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    shutil.copytree(finished.run("classes").folder / "metrics", folder / "measured")
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    run(folder, "dvc", "init", "--quiet")
    run(folder, "dvc", "config", "core.analytics", "false")
    run(folder, "dvc", "repro", "--quiet")
    commit(folder, "The first run")
    return folder


def clone(origin: Path, folder: Path, *options: str) -> Path:
    """What git holds and no more: no cache, no data, no models."""
    run(origin, "git", "clone", "--quiet", *options, origin.as_uri(), str(folder))
    return folder


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(before), f"{path} does not hold {before}"
    path.write_text(text.replace(before, after), encoding="utf-8")
