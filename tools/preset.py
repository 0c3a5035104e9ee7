"""Writes params.yaml from a preset: the keys and comments of presets/defaults.yaml, with the preset's values.

    python -m tools.preset                     the presets, each with what its file says about it
    python -m tools.preset scenes              writes params.yaml, unless the one there has been edited
    python -m tools.preset scenes --force      writes it all the same
    python -m tools.preset scenes --print      prints it instead

presets/<name>.yaml has the shape of params.yaml, and holds only the keys whose values differ. It may hold no key that
defaults.yaml lacks; what stands in braces ({…}) there, such as teacher.options, is replaced as one value. The comments
at the head of a preset and on the lines above its keys are written into params.yaml too.
"""

import argparse
import functools
import io
import itertools
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from stages.core import errors, params
from stages.core.errors import UserError

PRESETS = Path(__file__).resolve().parents[1] / "presets"
DEFAULTS = PRESETS / "defaults.yaml"


def names() -> list[str]:
    return sorted(path.stem for path in PRESETS.glob("*.yaml") if path != DEFAULTS)


@functools.cache
def text(name: str) -> str:
    """The whole params.yaml of a preset. Raises UserError for an unknown name, or a preset that doesn't fit."""
    if name not in names():
        raise UserError(f"there is no preset {name!r}; known: {', '.join(names())} (presets/)")
    path, yaml = PRESETS / f"{name}.yaml", _yaml()
    if not isinstance(params.read_yaml(path), dict):  # which raises UserError for what is no YAML
        raise UserError(f"{path} holds no keys")
    values, body = yaml.load(_parts(DEFAULTS)[1]), io.StringIO()
    _overlay(values, yaml.load(path), path.read_text(encoding="utf-8").splitlines(), f"presets/{name}.yaml: ")
    yaml.dump(values, body)
    return _parts(path)[0] + body.getvalue()


def values(name: str) -> dict:
    """The same as plain Python values."""
    return YAML(typ="safe", pure=True).load(text(name))


def _parts(path: Path) -> tuple[str, str]:
    """The comment lines at the head of a file, and all below them."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    header = list(itertools.takewhile(lambda line: line.startswith("#"), lines))
    return "".join(header), "".join(lines[len(header):])


def _yaml() -> YAML:
    """Reads and writes YAML with its comments, in the columns where they were."""
    yaml = YAML()
    yaml.width = 1000  # breaks no line
    yaml.preserve_quotes = True
    yaml.representer.add_representer(type(None), lambda representer, _: representer.represent_scalar(
        "tag:yaml.org,2002:null", "null"))
    return yaml


def _overlay(base: CommentedMap, preset: CommentedMap, lines: list[str], where: str) -> None:
    """Put the preset's values into `base`, with the comments above their keys. lines: of the preset's file."""
    for key, value in preset.items():
        if key not in base:
            raise UserError(f"{where}{key} is unknown; known here: {', '.join(base)} (presets/defaults.yaml)")
        line, column = preset.lc.key(key)
        above = list(itertools.takewhile(lambda text: text.lstrip().startswith("#"), reversed(lines[:line])))
        if above and len(above) < line:  # those that reach the first line are the head of the file
            reason = "\n".join(text.strip().lstrip("# ") for text in reversed(above))
            base.yaml_set_comment_before_after_key(key, before=reason, indent=column)
        if _is_section(base[key]):
            if not isinstance(value, CommentedMap):
                raise UserError(f"{where}{key} is {value!r}; it holds keys: {', '.join(base[key])}")
            _overlay(base[key], value, lines, f"{where}{key}.")
        else:
            if _is_section(value):  # has comments of its own, and no line for the default's to stand in
                base.ca.items[key] = preset.ca.items.get(key, [None] * 4)
                base.ca.items[key][2] = None
                _drop_comment_below(value)
            base[key] = value


def _is_section(value: object) -> bool:
    return isinstance(value, CommentedMap) and len(value) > 0 and not value.fa.flow_style()


def _drop_comment_below(value: CommentedMap) -> None:
    """ruamel.yaml counts the comment lines below a mapping, which belong to the next key, to its last value."""
    last = next(reversed(value))
    if _is_section(value[last]):
        _drop_comment_below(value[last])
    elif token := value.ca.items.get(last, [None] * 3)[2]:
        token.value = token.value.split("\n")[0] + "\n"


def write(name: str, force: bool) -> None:
    """Write params.yaml. Raises UserError where the present one has been edited: where it is no preset's."""
    new = text(name)
    if params.FILE.exists() and not force and params.FILE.read_text(encoding="utf-8") not in map(text, names()):
        raise UserError(f"{params.FILE} has been edited (it is none of the presets); to overwrite it, add FORCE=1 to "
                        "make, or --force")
    params.FILE.write_text(new, encoding="utf-8")
    print(f"{params.FILE} is now the preset {name}:")
    print(_parts(PRESETS / f"{name}.yaml")[0].replace("# ", ""), end="")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.preset", description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", help="one of " + ", ".join(names()))
    parser.add_argument("--force", action="store_true", help="overwrite a params.yaml that has been edited")
    parser.add_argument("--print", action="store_true", help="print it, and write nothing")
    options = parser.parse_args()
    if not options.name:
        for name in names():
            print(f"{name}\n" + _parts(PRESETS / f"{name}.yaml")[0].replace("# ", "    "), end="")
    elif options.print:
        print(text(options.name), end="")
    else:
        write(options.name, options.force)


if __name__ == "__main__":
    errors.run(main)
