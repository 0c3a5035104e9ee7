"""How the code is built: its rooms and modules, which import which, and how many lines they have.

    python -m tools.structure                   of the working tree
    python -m tools.structure --rev 8b592dd     of a commit

A room is a package or a script directly in stages/ (in older commits: a package or module directly in stages/kit/), or
another folder or file with code at the top level. Tests are left out. Modules that params.yaml chooses by name
(stages/core/plugins.py) are not counted as imported.
"""

import argparse
import ast
import io
import subprocess
import tarfile
import tempfile
import tokenize
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import networkx as nx

from stages.core import errors
from tools.code_deps import imported_names
from tools.comparison import git

NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING,
           tokenize.ENDMARKER}


class Module(NamedTuple):
    imports: frozenset[str]  # paths
    lines: int
    code_lines: int  # without blank lines, comments and docstrings


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.structure", description=__doc__.splitlines()[0])
    parser.add_argument("--rev", metavar="COMMIT", help="a commit instead of the working tree")
    options = parser.parse_args()
    git.check_project_folder()
    if not options.rev:
        tracked = git.run("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
        print(report(read_modules(Path(), [path for path in tracked if Path(path).is_file()])))
        return
    if git.commit_hash(options.rev) is None:
        raise errors.UserError(f"{options.rev!r} is no commit in this clone")
    archive = subprocess.run(["git", "archive", git.commit_hash(options.rev)], check=True, capture_output=True).stdout
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
        print(report(read_modules(Path(folder), files.getnames())))


def read_modules(root: Path, paths: list[str]) -> dict[str, Module]:
    """The modules among `paths`, which are relative to `root`. Empty ones (__init__.py) are left out."""
    texts = {path: (root / path).read_text(encoding="utf-8") for path in sorted(set(paths))
             if path.endswith(".py") and not path.startswith((".", "tests/"))}
    modules = {}
    for path, text in texts.items():
        tree = ast.parse(text)
        names = {f"{name.replace('.', '/')}.py" for name in imported_names(ast.walk(tree))}
        if text and not (path == "predict.py" and "predict/cli.py" in texts):  # it is generated from these
            modules[path] = Module(frozenset(names & texts.keys() - {path}), text.count("\n"), code_lines(text, tree))
    return modules


def code_lines(text: str, tree: ast.Module) -> int:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    numbers = {number for token in tokens if token.type not in NO_CODE
               for number in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            numbers -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(numbers)


def room_of(path: str) -> str:
    parts = path.split("/")
    depth = 1 if parts[0] != "stages" else 3 if parts[1] == "kit" else 2
    return "/".join(parts[:depth])


def report(modules: Mapping[str, Module]) -> str:
    edges = [(path, other) for path, module in modules.items() for other in sorted(module.imports & modules.keys())]
    graphs = {"rooms": nx.DiGraph(), "modules": nx.DiGraph(edges)}
    graphs["modules"].add_nodes_from(modules)
    graphs["rooms"].add_nodes_from(map(room_of, modules))
    graphs["rooms"].add_edges_from((room_of(path), room_of(other)) for path, other in edges
                                   if room_of(path) != room_of(other))
    lines = [f"{'room':34}{'modules':>8}{'lines':>8}{'code':>8}  imports"]
    for room in sorted(graphs["rooms"]):
        own = [module for path, module in modules.items() if room_of(path) == room]
        lines.append(f"{room:34}{len(own):8}{sum(one.lines for one in own):8}{sum(one.code_lines for one in own):8}  "
                     + ", ".join(other.removeprefix("stages/") for other in sorted(graphs["rooms"][room])))
    lines += ["", f"lines of Python: {sum(module.lines for module in modules.values())}, without blank lines, comments "
                  f"and docstrings {sum(module.code_lines for module in modules.values())}"]
    for kind, graph in graphs.items():
        circles = [sorted(part) for part in nx.strongly_connected_components(graph) if len(part) > 1]
        chain = longest_chain(graph)
        lines += ["", f"{kind}: {len(graph)}", f"imports between {kind}: {graph.size()}",
                  f"longest chain of {kind}: {len(chain)}: {' → '.join(chain)}",
                  f"circles of {kind}: {'; '.join(' ↔ '.join(circle) for circle in sorted(circles)) or 'none'}"]
    return "\n".join(lines)


def longest_chain(graph: nx.DiGraph) -> list[str]:
    """From the importing end. A circle counts as one, under the name of its first member."""
    condensed = nx.condensation(graph)
    return [min(condensed.nodes[node]["members"]) for node in nx.dag_longest_path(condensed)]


if __name__ == "__main__":
    errors.run(main)
