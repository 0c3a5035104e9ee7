"""Modules chosen by a name in params.yaml, such as stages/models/zoo/<name>.py: a new one needs no edit elsewhere."""

import importlib
from pathlib import Path
from types import ModuleType

from stages.core.errors import UserError
from stages.core.params import shown

STAGES = Path(__file__).parents[1]


def module(pattern: str, name: str, key: str) -> ModuleType:
    """The module whose path below stages/ is `pattern` with `name` for its *: "models/zoo/*", "tasks/*/metric".

    key: the key of params.yaml that holds `name`. Raises UserError for a name without a module.
    """
    before, after = f"{pattern}.py".split("*")
    names = sorted(path.relative_to(STAGES).as_posix().removeprefix(before).removesuffix(after)
                   for path in STAGES.glob(f"{before}[!_]*{after}"))
    if name not in names:
        raise UserError(f"params.yaml: {key} is {shown(name)}; known: {', '.join(names)} (stages/{pattern}.py)")
    return importlib.import_module(f"stages.{pattern.replace('*', name).replace('/', '.')}")
