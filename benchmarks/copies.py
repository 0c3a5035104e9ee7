"""Copies of the project that run its pipeline apart from it, and the comparison of what came out, file by file."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from stages.core.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
TIMED = ("metrics/speed.json", "metrics/timing", "report")  # outs with times in them: two runs differ there


def files() -> list[Path]:
    """The project's own files, relative to its root: tracked by git, or untracked and not ignored."""
    names = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                           cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [Path(name) for name in names.split("\0") if name and (ROOT / name).is_file()]


def make(folder: Path, params: Path | None = None, sources: bool = False) -> Path:
    """A copy in `folder` with a cache of its own and no git; `params` takes the place of params.yaml.

    sources: with the user's archives in data/source/, which git ignores.
    """
    archives = [path.relative_to(ROOT) for path in (ROOT / "data/source").rglob("*") if sources and path.is_file()]
    for path in {*files(), *archives}:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, folder / path)
    if params:
        shutil.copy(params, folder / "params.yaml")
    (folder / ".dvc/config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
    return folder


def make_fresh(folder: Path, params: Path | None) -> None:
    """A copy without dvc.lock and without any out."""
    make(folder, params, sources=True)
    for stage in yaml.safe_load((folder / "dvc.yaml").read_text(encoding="utf-8"))["stages"].values():
        for out in (out for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])):
            path = folder / (out if isinstance(out, str) else next(iter(out)))
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    (folder / "dvc.lock").unlink(missing_ok=True)


def start_repro(folder: Path, log: Path) -> subprocess.Popen:
    """`dvc repro` in a process group of its own, its output appended to `log`."""
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with open(log, "ab") as output:
        return subprocess.Popen([sys.executable, "-m", "dvc", "repro"], cwd=folder, env={**os.environ, "PATH": paths},
                                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)


def finish(run: subprocess.Popen, log: Path) -> None:
    """Wait for it. Raises UserError if it fails, its last lines on stderr."""
    if run.wait():
        print(*log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:], sep="\n", file=sys.stderr)
        raise UserError("dvc repro failed")


def md5s(folder: Path) -> dict[str, str]:
    """The md5 of each file below the outs in dvc.lock."""
    lock = yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))
    outs = [folder / out["path"] for stage in lock["stages"].values() for out in stage.get("outs", [])]
    paths = (path for out in outs for path in (out, *out.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.md5(path.read_bytes()).hexdigest() for path in sorted(paths)}


def print_comparison(one: Path, other: Path) -> bool:
    """Print each file of either folder's outs and whether the two agree. True if all do, those with times aside."""
    first, second = md5s(one), md5s(other)
    width, counts = max(map(len, first | second)), {"same": 0, "timed": 0, "WRONG": 0}
    for name in sorted(first | second):
        if first.get(name) == second.get(name):
            md5, verdict = first[name], "same"
        elif name in first and name in second:
            is_timed = any(name == out or name.startswith(f"{out}/") for out in TIMED)
            md5, verdict = "differs", "timed" if is_timed else "WRONG"
        else:
            md5, verdict = "missing", "WRONG"
        counts[verdict] += 1
        print(f"{name:{width}}  {md5:32}  {verdict}")
    print(f"{sum(counts.values())} files: {counts['same']} same, {counts['timed']} with times in them, "
          f"{counts['WRONG']} wrong")
    return not counts["WRONG"]
