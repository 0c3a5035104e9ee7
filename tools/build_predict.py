"""Makes predict.py, the one file that runs on a device, from predict/ and the parts of stages/ that it uses.

    python -m tools.build_predict            writes predict.py
    python -m tools.build_predict --check    exits with 1 if predict.py isn't what the sources make

It takes all of predict/cli.py, and of the modules that this imports, directly or not, each top-level statement that is
used, or that binds no name. All share one namespace: modules import from each other by `from module import name` alone,
and no two may bind the same name.
"""

import argparse
import ast
import builtins
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from stages.core import errors
from stages.core.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "predict.py"
ENTRY = "predict.cli"
HEAD = '''"""{docstring}"""

# Generated from predict/ and stages/ by `python -m tools.build_predict`: edit the files named below, not this one.

from __future__ import annotations

import os
import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # while it loads: libraries may swallow an exception
if __name__ == "__main__" and sys.version_info < (3, 9):
    print("predict: Python 3.9 or newer is needed, and this is " + sys.version.split()[0], file=sys.stderr)
    sys.exit(2)

try:
    {standard}

    {packages}

    if tuple(map(int, PIL.__version__.split(".")[:2])) < (9, 4):
        raise ImportError(f"Pillow {{PIL.__version__}} is too old, 9.4 or newer is needed")
except ImportError as error:
    if __name__ != "__main__":
        raise
    said = " ".join(str(error).split())
    print(f"predict: {{said}}; run: pip install --upgrade onnxruntime numpy pillow", file=sys.stderr)
    sys.exit(2)
'''


LOADED_FIRST = {"os", "signal", "sys"}  # by HEAD


class Import(NamedTuple):
    module: str
    name: str | None  # in the module; None: the module itself
    bound: str  # the name that it gets here


PILLOW = Import("PIL", None, "PIL")  # whose version HEAD asks


class Statement(NamedTuple):
    text: str  # with the comments and empty lines before it
    binds: frozenset[str]
    uses: frozenset[str]


class Module:
    """A source file: its docstring, its imports by the name they bind, and its other top-level statements."""

    def __init__(self, root: Path, name: str):
        """Raises UserError for an import that wouldn't work in one file."""
        self.root, self.file = root, name.replace(".", "/") + ".py"
        self.imports: dict[str, Import] = {}
        self.statements: list[Statement] = []
        text = (root / self.file).read_text(encoding="utf-8")
        tree, lines, end = ast.parse(text), text.splitlines(keepends=True), 0
        self.docstring = ast.get_docstring(tree, clean=False) or ""
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and node.module == "__future__":
                pass  # predict.py has annotations that aren't evaluated, whatever its sources have
            elif isinstance(node, ast.Import | ast.ImportFrom):
                self.imports |= {made.bound: made for made in _imports(node)}
                self._check(node, node)
            elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
                for inner in ast.walk(node):
                    self._check(inner, node)
                uses = frozenset(inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name))
                self.statements.append(Statement("".join(lines[end:node.end_lineno]), _bound(node), uses))
            end = node.end_lineno

    def _check(self, inner: ast.AST, statement: ast.stmt) -> None:
        for made in _imports(inner):
            is_plain = inner is statement and made.name == made.bound and not (
                self.root / made.module.replace(".", "/") / f"{made.name}.py").is_file()
            if _is_ours(made) and not is_plain:
                raise UserError(f"{self.file}: `{ast.unparse(inner)}` wouldn't work in one file; write "
                                "`from module import name` at the top")


def _imports(node: ast.AST) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, None, alias.asname or alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (Import(node.module or "", alias.name, alias.asname or alias.name) for alias in node.names)


def _is_ours(made: Import) -> bool:
    return made.module.partition(".")[0] in ("", "predict", "stages")


def _bound(node: ast.stmt) -> frozenset[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return frozenset([node.name])
    stored = ast.walk(node) if isinstance(node, ast.Assign | ast.AnnAssign) else ()
    return frozenset(name.id for name in stored if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store))


class Build:
    """What the entry module needs of all modules."""

    def __init__(self, root: Path = ROOT, entry: str = ENTRY):
        """Raises UserError where two of the statements bind the same name."""
        self.root, self.entry = root, entry
        self.modules: dict[str, Module] = {}
        self.kept: set[tuple[str, Statement]] = set()
        self.bindings: dict[str, str | Import] = {}  # a name → the module that binds it, or the import
        for statement in self._module(entry).statements:
            self._keep(entry, statement)

    def text(self) -> str:
        imports = [PILLOW, *(made for made in self.bindings.values() if isinstance(made, Import))]
        standard, packages = ([made for made in imports if made.module not in LOADED_FIRST
                               and (made.module.partition(".")[0] in sys.stdlib_module_names) == is_standard]
                              for is_standard in (True, False))
        parts = [HEAD.format(docstring=self.modules[self.entry].docstring,
                             standard="\n    ".join(_import_lines(standard)),
                             packages="\n    ".join(_import_lines(packages)))]
        for name, module in self._in_order(self.entry, {}).items():
            body = "".join(statement.text for statement in module.statements if (name, statement) in self.kept)
            parts.append(f"# ── {module.file} ──\n\n" + body.lstrip("\n"))
        return "\n\n".join(parts)

    def _module(self, name: str) -> Module:
        if name not in self.modules:
            self.modules[name] = Module(self.root, name)
            for statement in self.modules[name].statements:
                if not statement.binds:
                    self._keep(name, statement)
        return self.modules[name]

    def _keep(self, module: str, statement: Statement) -> None:
        """The statement, and whatever it uses."""
        if (module, statement) in self.kept:
            return
        self.kept.add((module, statement))
        for bound in statement.binds:
            self._bind(bound, module)
        for used in statement.uses:
            made = self.modules[module].imports.get(used)
            if made and not _is_ours(made):
                self._bind(used, made)
            else:
                owner = made.module if made else module
                for other in self._module(owner).statements:
                    if used in other.binds:
                        self._keep(owner, other)

    def _bind(self, name: str, owner: str | Import) -> None:
        other = "Python itself" if hasattr(builtins, name) else self.bindings.setdefault(name, owner)
        if other != owner:
            raise UserError(f"{name} is bound by {owner} and by {other}; rename one of them")

    def _in_order(self, name: str, ordered: dict[str, Module]) -> dict[str, Module]:
        """The modules in use, each behind those that it imports."""
        for made in self.modules[name].imports.values():
            if made.module in self.modules and made.module not in ordered:
                self._in_order(made.module, ordered)
        ordered[name] = self.modules[name]
        return ordered


def _import_lines(imports: list[Import]) -> Iterator[str]:
    """In the order that ruff wants."""
    names = defaultdict(list)
    for module, name, bound in sorted(imports, key=lambda made: (made.module.lower(), made.bound)):
        if name:
            names[module].append(name + (f" as {bound}" if bound != name else ""))
        else:
            yield f"import {module}" + (f" as {bound}" if bound != module else "")
    for module, members in names.items():
        members.sort(key=lambda name: (not name.isupper(), not name[0].isupper(), name))
        yield f"from {module} import {', '.join(members)}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.build_predict", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if predict.py is stale")
    options = parser.parse_args()
    text = Build().text()
    if not options.check:
        TARGET.write_text(text, encoding="utf-8")
    elif not TARGET.is_file() or TARGET.read_text(encoding="utf-8") != text:
        raise UserError("predict.py isn't what predict/ and stages/ make; run python -m tools.build_predict")


if __name__ == "__main__":
    errors.run(main)
