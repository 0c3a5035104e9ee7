"""Copies of the project that run their whole pipeline apart from this one, and what came out of them, file by file."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent

# Outs that hold times, and the report that shows them: the only ones that may differ between two runs.
TIMED = ("metrics/speed.json", "metrics/timing", "report")


def files() -> list[Path]:
    """The project's own files, relative to its root: all that git knows or would take."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file()]


def make(folder: Path, params: Path | None = None, sources: bool = False) -> Path:
    """A copy in `folder` with a cache of its own and no git; `params` takes the place of params.yaml.

    sources: with the user's archives in data/source/, which git doesn't know.
    """
    wanted = {*files(), *(path.relative_to(ROOT) for path in (ROOT / "data/source").rglob("*") if sources)}
    for path in sorted(path for path in wanted if (ROOT / path).is_file()):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, folder / path)
    if params:
        shutil.copy(params, folder / "params.yaml")
    (folder / ".dvc/config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
    return folder


def fresh(folder: Path, params: Path | None) -> Path:
    """A copy that knows nothing of earlier runs: neither dvc.lock nor any out."""
    make(folder, params, sources=True)
    for stage in yaml.safe_load((folder / "dvc.yaml").read_text(encoding="utf-8"))["stages"].values():
        for kind in ("outs", "metrics", "plots"):
            for out in stage.get(kind, []):
                place = folder / (out if isinstance(out, str) else next(iter(out)))
                shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    (folder / "dvc.lock").unlink(missing_ok=True)
    return folder


def repro(folder: Path, log: Path) -> subprocess.Popen:
    """`dvc repro` started in a process group of its own, what it says appended to `log`."""
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with open(log, "ab") as said:
        return subprocess.Popen([sys.executable, "-m", "dvc", "repro"], cwd=folder, env={**os.environ, "PATH": paths},
                                stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)


def finish(run: subprocess.Popen, log: Path) -> None:
    if run.wait():
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
        sys.exit(f"{tail}\ndvc repro failed; all it said is in {log}")


def md5s(folder: Path) -> dict[str, str]:
    """Each file below each out that dvc.lock names, and its md5."""
    lock = yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))
    outs = [folder / out["path"] for stage in lock["stages"].values() for out in stage.get("outs", [])]
    found = (path for out in outs for path in ([out] if out.is_file() else out.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): _md5(path) for path in sorted(found)}


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def compare(one: Path, other: Path) -> Iterator[tuple[str, str, str]]:
    """Each file of either folder's outs, its md5 if they agree, and the verdict: same, timed (may differ) or WRONG."""
    first, second = md5s(one), md5s(other)
    for name in sorted(first.keys() | second.keys()):
        timed = any(name == out or name.startswith(f"{out}/") for out in TIMED)
        if first.get(name) == second.get(name):
            yield name, first[name], "same"
        elif name in first and name in second:
            yield name, "differs", "timed" if timed else "WRONG"
        else:
            yield name, "missing", "WRONG"


def show(one: Path, other: Path) -> bool:
    """Print the comparison as a table. True if every file is the same, times aside."""
    rows = list(compare(one, other))
    width = max(len(name) for name, _, _ in rows)
    for name, md5, verdict in rows:
        print(f"{name:{width}}  {md5:32}  {verdict}")
    counted = {verdict: sum(row[2] == verdict for row in rows) for verdict in ("same", "timed", "WRONG")}
    print(f"{len(rows)} files: {counted['same']} same, {counted['timed']} with times in them, {counted['WRONG']} wrong")
    return not counted["WRONG"]
