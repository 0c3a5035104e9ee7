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


def make_fresh(folder: Path, params: Path | None, sources: bool = True) -> None:
    """A copy without dvc.lock and without any out."""
    remove_outs(make(folder, params, sources))


def remove_outs(folder: Path) -> None:
    """And dvc.lock, so that every stage runs."""
    for stage in yaml.safe_load((folder / "dvc.yaml").read_text(encoding="utf-8"))["stages"].values():
        for out in (out for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])):
            path = folder / (out if isinstance(out, str) else next(iter(out)))
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    (folder / "dvc.lock").unlink(missing_ok=True)


def start_repro(folder: Path, log: Path) -> subprocess.Popen:
    """What `make` does: DVC's notes are cleared up, then `dvc repro` in a process group of its own, its output appended
    to `log`.
    """
    subprocess.run([sys.executable, "-m", "tools.dvc_state"], cwd=folder, check=True, stderr=subprocess.DEVNULL,
                   env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])})
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with open(log, "ab") as output:
        return subprocess.Popen([sys.executable, "-m", "dvc", "repro"], cwd=folder, env={**os.environ, "PATH": paths},
                                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)


def finish(run: subprocess.Popen, log: Path) -> None:
    """Wait for it. Raises UserError if it fails, its last lines on stderr."""
    if run.wait():
        print(*log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:], sep="\n", file=sys.stderr)
        raise UserError("dvc repro failed")


def cpu_seconds(pid: int) -> float:
    """The processor time that a process took, with that of its children that ended; 0 where there is no such one."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # user, system; the same of children that ended


def md5s(folder: Path) -> dict[str, str]:
    """The md5 of each file below the outs in dvc.lock."""
    lock = yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))
    outs = [folder / out["path"] for stage in lock["stages"].values() for out in stage.get("outs", [])]
    paths = (path for out in outs for path in (out, *out.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.md5(path.read_bytes()).hexdigest() for path in sorted(paths)}


def wrong(one: Path, other: Path) -> list[str]:
    """The files that are in one folder's outs alone, or differ and have no times in them."""
    first, second = md5s(one), md5s(other)
    return [name for name in sorted(first | second) if _verdict(first.get(name), second.get(name), name) == "WRONG"]


def print_comparison(one: Path, other: Path) -> bool:
    """Print each file of either folder's outs and whether the two agree. True if all do, those with times aside."""
    first, second = md5s(one), md5s(other)
    width, counts = max(map(len, first | second)), {"same": 0, "timed": 0, "WRONG": 0}
    for name in sorted(first | second):
        verdict = _verdict(first.get(name), second.get(name), name)
        md5 = first[name] if verdict == "same" else "differs" if name in first and name in second else "missing"
        counts[verdict] += 1
        print(f"{name:{width}}  {md5:32}  {verdict}")
    print(f"{sum(counts.values())} files: {counts['same']} same, {counts['timed']} with times in them, "
          f"{counts['WRONG']} wrong")
    return not counts["WRONG"]


def _verdict(one: str | None, other: str | None, name: str) -> str:
    """one, other: a file's md5 in either folder, None where it is missing."""
    if one == other:
        return "same"
    is_timed = any(name == out or name.startswith(f"{out}/") for out in TIMED)
    return "timed" if one and other and is_timed else "WRONG"
