"""Modules chosen by a name in params.yaml, such as stages/models/zoo/<name>.py. Adding one edits no other file."""

import importlib
from pathlib import Path
from types import ModuleType

from stages.core.errors import UserError

STAGES = Path(__file__).parents[1]


def module(pattern: str, name: str, key: str) -> ModuleType:
    """The module whose path below stages/ is `pattern` with `name` for its *: "models/zoo/*", "tasks/*/metric".

    key: the one of params.yaml that holds the name. Raises UserError for an unknown name.
    """
    before, after = f"{pattern}.py".split("*")
    known = sorted(path.relative_to(STAGES).as_posix().removeprefix(before).removesuffix(after)
                   for path in STAGES.glob(f"{before}[!_]*{after}"))
    if name not in known:
        raise UserError(f"params.yaml: {key} is {name!r}; known: {', '.join(known)} (stages/{pattern}.py)")
    return importlib.import_module("stages." + pattern.replace("*", name).replace("/", "."))
