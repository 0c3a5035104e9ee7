"""The code that each stage needs, as dvc.yaml has to list it: the modules that its script imports, directly or not.

    python -m tools.code_deps            prints what dvc.yaml lists wrongly, and exits with 1
    python -m tools.code_deps --write    corrects the file

A module chosen by a name in params.yaml is listed by its pattern, as stages/models/zoo/${teacher.model}.py. A room in
FOLDERS is listed as a whole for a stage that imports at least half of its modules: they change together; and all of
stages/ for one that imports the scripts of others.
"""

import argparse
import ast
import functools
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from stages.core import errors

ROOT = Path(__file__).resolve().parent.parent
PIPELINE = ROOT / "dvc.yaml"
FOLDERS = ("stages/core", "stages/evaluation", "stages/training", "stages/distillation", "stages/reporting")

# The keys of params.yaml by which `plugins.module(pattern, …)` may choose.
CHOSEN_BY = {"models/zoo/*": ("teacher.model", "student.model"), "data/layouts/*": ("data.layout",),
             **{f"tasks/*/{part}": ("data.task",) for part in ("labels", "metric", "scores", "figures")}}


class Reached(NamedTuple):
    """What a file imports, directly or not, itself included."""

    modules: frozenset[str]  # paths below ROOT
    patterns: frozenset[str]  # from which modules are chosen by name, as in CHOSEN_BY


@functools.cache
def nodes(file: str) -> list[ast.AST]:
    return list(ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))))


def calls(file: str, *names: str) -> Iterator[list[ast.expr]]:
    """The arguments of each call of one of these functions in the file."""
    return (node.args for node in nodes(file) if isinstance(node, ast.Call) and ast.unparse(node.func) in names)


def imported_names(tree: Iterator[ast.AST]) -> Iterator[str]:
    """Dotted names that may be modules: imported ones, and strings like stages.fetch (to run it as a process)."""
    for node in tree:
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                yield from (str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names))
            case ast.Constant(value=str(text)) if text.startswith("stages."):
                yield text


@functools.cache
def imports(file: str) -> frozenset[str]:
    """The project's own modules that `file` imports, anywhere in it."""
    paths = {name.replace(".", "/") + ".py" for name in imported_names(nodes(file))}
    return frozenset(path for path in paths if (ROOT / path).is_file())


def patterns(file: str) -> set[str]:
    """The patterns by which `file` loads modules that params.yaml names."""
    return {ast.literal_eval(arguments[0]) for arguments in calls(file, "plugins.module")}


def members(pattern: str) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in (ROOT / "stages").glob(f"{pattern}.py")
            if not path.name.startswith("_")}


@functools.cache
def reached(file: str) -> Reached:
    modules, chosen, visited, waiting = {file}, set(), set(), {file}
    while waiting:
        visited.add(current := waiting.pop())
        modules |= imports(current)
        chosen |= patterns(current)
        waiting |= imports(current).union(*map(members, patterns(current))) - visited
    return Reached(frozenset(modules), frozenset(chosen))


def templates(file: str) -> set[str]:
    """Jinja templates beside `file` that it names in a string."""
    beside = {path.name: path.relative_to(ROOT).as_posix() for path in (ROOT / file).parent.glob("*.j2")}
    return {beside[node.value] for node in nodes(file) if isinstance(node, ast.Constant) and node.value in beside}


def needed(stage: str, params: str) -> set[str]:
    """The code deps of a stage as dvc.yaml should list them. params: the stage's params there, as text; they decide
    which of a pattern's keys concern it.
    """
    modules, chosen = reached(f"stages/{stage}.py")
    if any(module.count("/") == 1 for module in modules - {f"stages/{stage}.py"}):
        return {"stages"}
    deps = set(modules).union(*map(templates, modules))
    for folder in FOLDERS:
        files = {file for file in deps if file.startswith(f"{folder}/")}
        if 2 * len(files & modules) >= len(members(f"{folder.removeprefix('stages/')}/*")):
            deps = deps - files | {folder}
    for pattern in chosen:
        keys = CHOSEN_BY[pattern]
        deps |= {f"stages/{pattern.replace('*', f'${{{key}}}')}.py" for key in keys
                 if len(keys) == 1 or re.search(rf"\b{key.split('.')[0]}\b", params)}
    return deps


def entries(text: str) -> dict[str, str]:
    """The text of each stage in dvc.yaml, from the line of its name on."""
    body = text.split("\nstages:\n")[1].split("\nplots:\n")[0]
    return {match[1]: match[0] for match in re.finditer(r"^  (\w+):\n(?:(?:    .*)?\n)+", body, re.MULTILINE)}


def listed(entry: str) -> set[str]:
    return set(re.findall(r"^      - (stages\S*)", entry, re.MULTILINE))


def mended(stage: str, entry: str) -> str:
    """The stage's entry with its code deps as they should be: the script first, then the rest by name."""
    deps = needed(stage, "".join(re.findall(r"    params:.*(?:\n      .*)*", entry)))
    script = f"stages/{stage}.py"
    lines = [f"      - {dep}\n" for dep in sorted(deps, key=lambda dep: (dep != script, dep))]
    others = re.sub(r"^      - stages\S*\n", "", entry, flags=re.MULTILINE)
    block = re.search(r"    deps:\n(?:      - .*\n)*", others)[0]
    return others.replace(block, block + "".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.code_deps", description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="correct dvc.yaml")
    options = parser.parse_args()
    before = text = PIPELINE.read_text(encoding="utf-8")
    for stage, entry in entries(text).items():
        new = mended(stage, entry)
        for sign, deps in (("+", listed(new) - listed(entry)), ("-", listed(entry) - listed(new))):
            for dep in sorted(deps):
                print(f"{stage}: {sign} {dep}")
        text = text.replace(entry, new)
    if options.write:
        PIPELINE.write_text(text, encoding="utf-8")
    elif text != before:
        sys.exit("code_deps: dvc.yaml doesn't list what the code imports; run python -m tools.code_deps --write")


if __name__ == "__main__":
    errors.run(main)
