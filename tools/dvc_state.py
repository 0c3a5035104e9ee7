"""Removes what a kill or a power loss left of DVC's own notes, where DVC would ask for that by hand. `make` does it.

.dvc/tmp/rwlock  which process works at which out: removed where it was cut, or where none of these processes is DVC
                 (after a restart another program may have its number)
dvc.lock         what each stage made last: removed where it was cut or garbled; stages then come from DVC's cache
"""

import json
import sys
from pathlib import Path

import psutil
import yaml

from stages.core import errors

NOTES, LOCK = Path(".dvc/tmp/rwlock"), Path("dvc.lock")


def main() -> None:
    for path, is_sound, consequence in (
            (NOTES, _are_sound_notes, "no DVC is at work here any more"),
            (LOCK, _is_sound_lock, "it was cut or garbled; DVC looks into its cache before it runs a stage again")):
        if path.exists() and not is_sound(path.read_bytes()):
            path.unlink()
            print(f"{path} is removed: {consequence}", file=sys.stderr)


def _are_sound_notes(content: bytes) -> bool:
    """Whether a process that they name is DVC, or they name none."""
    try:
        notes = json.loads(content)
        owners = [*notes.get("write", {}).values(), *(one for some in notes.get("read", {}).values() for one in some)]
        return not owners or any(_is_dvc(owner["pid"]) for owner in owners)
    except (ValueError, TypeError, LookupError, AttributeError):
        return False


def _is_dvc(pid: int) -> bool:
    try:
        return any(Path(word).name == "dvc" for word in psutil.Process(pid).cmdline())
    except psutil.Error:
        return False


def _is_sound_lock(content: bytes) -> bool:
    if b"\n<<<<<<< " in content:  # a merge is for people to end
        return True
    try:
        stages = yaml.load(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader))["stages"].values()
        files = [file for stage in stages for kind in ("deps", "outs") for file in stage.get(kind, [])]
        return all(isinstance(stage["cmd"], str) for stage in stages) and all(
            isinstance(file[key], kind) for file in files for key, kind in (("path", str), ("md5", str), ("size", int)))
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError):
        return False


if __name__ == "__main__":
    errors.run(main)
