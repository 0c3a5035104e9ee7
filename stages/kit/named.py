"""Modules chosen by a name in params.yaml: stages/kit/<folder>/<name>.py. Adding one edits no other file."""

import importlib
from pathlib import Path
from types import ModuleType

from stages.kit.faults import Fault

KIT = Path(__file__).parent


def module(folder: str, name: str, key: str) -> ModuleType:
    """stages.kit.<folder>.<name>; `key` is the one of params.yaml that chose it. Raises Fault for an unknown name."""
    known = sorted(path.stem for path in (KIT / folder).glob("[!_]*.py"))
    if name not in known:
        raise Fault(f"params.yaml: {key} is {name!r}; known: {', '.join(known)} (files of stages/kit/{folder})")
    return importlib.import_module(f"stages.kit.{folder}.{name}")
