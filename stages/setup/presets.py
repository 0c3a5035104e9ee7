"""params.yaml as a whole, from what a run changes of it: the keys and comments of presets/defaults.yaml, with an
overlay's values. Presets are overlays that are files; `make new` writes one of its own.

An overlay has the shape of params.yaml, and holds only the keys whose values differ. It may hold no key that
defaults.yaml lacks; what stands in braces ({…}) there, such as teacher.options, is replaced as one value. The comments
at its head and on the lines above its keys are taken over too.
"""

import functools
import io
import itertools
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from stages.core import params, workdir
from stages.core.errors import UserError
from stages.core.files import atomic_write

PRESETS = Path(__file__).resolve().parents[2] / "presets"
DEFAULTS = PRESETS / "defaults.yaml"
WRITTEN = workdir.ROOT / "params.yaml"  # as it was last written by a command


def names() -> list[str]:
    return sorted(path.stem for path in PRESETS.glob("*.yaml") if path != DEFAULTS)


@functools.cache
def text(name: str) -> str:
    """The whole params.yaml of a preset. Raises UserError for an unknown name, or a preset that doesn't fit."""
    if name not in names():
        raise UserError(f"there is no preset {name!r}; known: {', '.join(names())} (presets/)")
    path = PRESETS / f"{name}.yaml"
    if not isinstance(params.read_yaml(path), dict):  # which raises UserError for what is no YAML
        raise UserError(f"{path} holds no keys")
    return whole(path.read_text(encoding="utf-8"), f"presets/{name}.yaml")


def whole(overlay: str, where: str) -> str:
    """The whole params.yaml that an overlay, the text of a preset, makes of the defaults.

    where: what the overlay is called in the UserError for a key that defaults.yaml lacks.
    """
    yaml, body = _yaml(), io.StringIO()
    values = yaml.load(_parts(DEFAULTS.read_text(encoding="utf-8"))[1])
    _overlay(values, yaml.load(overlay), overlay.splitlines(), f"{where}: ")
    yaml.dump(values, body)
    return _parts(overlay)[0] + body.getvalue()


def values(name: str) -> dict:
    """The same as plain Python values."""
    return YAML(typ="safe", pure=True).load(text(name))


def about(name: str) -> str:
    """What a preset's file says about it: its first lines, without their signs of a comment."""
    return _parts((PRESETS / f"{name}.yaml").read_text(encoding="utf-8"))[0].replace("# ", "")


def write(content: str) -> None:
    """Write params.yaml, and remember its content: as long as it is that, it counts as not edited."""
    for path in (params.FILE, WRITTEN):
        with atomic_write(path) as file:
            file.write(content)


def check_unedited(force: bool) -> None:
    """Raises UserError where params.yaml has been edited: where it is no preset's, and not as it was last written."""
    if force or not params.FILE.exists():
        return
    present = params.FILE.read_bytes()  # not as text: a power loss may leave no UTF-8
    if present not in (text(name).encode() for name in names()) and not (
            WRITTEN.exists() and WRITTEN.read_bytes() == present):
        raise UserError(f"{params.FILE} has been edited; to overwrite it, add FORCE=1 to make, or --force")


def changed(content: str, section: str, values: dict, reason: str) -> str:
    """params.yaml's content with other values of a section's keys, each with the reason in place of the comment lines
    that stood above it. All else stays as it is.
    """
    for key, value in values.items():
        yaml, body = _yaml(), io.StringIO()
        whole = yaml.load(content)
        if isinstance(value, dict):
            value = CommentedMap(value)
            value.fa.set_flow_style()
        whole[section][key] = value
        yaml.dump(whole, body)
        lines = body.getvalue().splitlines(keepends=True)
        line, column = _yaml().load(body.getvalue())[section].lc.key(key)
        above = len(list(itertools.takewhile(lambda text: text.lstrip().startswith("#"), reversed(lines[:line]))))
        lines[line - above:line] = [f"{' ' * column}# {reason}\n"]
        content = "".join(lines)
    return content


def _parts(text: str) -> tuple[str, str]:
    """The comment lines at the head of a text, and all below them."""
    lines = text.splitlines(keepends=True)
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
