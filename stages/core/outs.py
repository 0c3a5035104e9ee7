"""Are the files that the stages made still what dvc.lock says was made?"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

LOCK = Path("dvc.lock")
SMALL = 2**24  # bytes that are hashed where a command failed; larger outs are arrays and networks


def altered(command: str) -> list[str]:
    """Small outs in the current folder that are another file than was made, of those that `command` reads: a stage its
    deps, but never an out of its own, which it is making; another command any that a stage reads. None without a
    dvc.lock that can be read.
    """
    import yaml

    try:
        stages = yaml.safe_load(LOCK.read_text(encoding="utf-8"))["stages"]
        made = [(Path(out["path"]), out["md5"]) for name, stage in stages.items() for out in stage.get("outs", ())
                if name != command and out["size"] <= SMALL]
        readers = [stages[command]] if command in stages else stages.values()
        read = {place for stage in readers for dep in stage.get("deps", ()) for place in _and_above(Path(dep["path"]))}
        return [path.as_posix() for path in damaged(dict(made), lambda path: True) if path in read]
    except Exception:  # a command has failed already, and what it says is to be read
        return []


def _and_above(path: Path) -> Iterator[Path]:
    yield path
    yield from path.parents


def damaged(expected: Mapping[Path, str], counts: Callable[[Path], bool]) -> Iterator[Path]:
    """Outs that are here with another MD5 than expected. counts(path): whether DVC looks at this file."""
    for path, md5 in expected.items():
        if path.is_dir():
            if folder_md5(path, counts) != md5:
                yield path
        elif path.exists() and (not path.is_file() or file_md5(path) != md5):
            yield path


def file_md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def folder_md5(folder: Path, counts: Callable[[Path], bool]) -> str:
    """As DVC has it: the MD5 of a JSON list of the files' own, by their paths."""
    files = [{"md5": file_md5(path), "relpath": path.relative_to(folder).as_posix()}
             for path in folder.rglob("*") if path.is_file() and counts(path)]
    listing = json.dumps(sorted(files, key=lambda entry: entry["relpath"]), sort_keys=True)
    return hashlib.md5(listing.encode()).hexdigest() + ".dir"
