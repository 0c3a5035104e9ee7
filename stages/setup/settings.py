"""params.yaml as text, from choices: each with its reason above it, the rest as in presets/defaults.yaml."""

import io
import textwrap
from collections.abc import Iterable, Mapping

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from stages.setup import presets
from stages.setup.rules import Choice

WIDTH = 116  # of a comment's text
FOLDED = 60  # characters of a text from which on it is folded


def text(head: str, choices: Iterable[Choice]) -> str:
    """The whole params.yaml. head: what its first lines say."""
    overlay = _comment(head, "") + "\n".join(_lines(_nested(choices), "")) + "\n"
    return presets.whole(overlay, "the settings of make new")


def values(content: str) -> dict:
    """The same as plain Python values."""
    return YAML(typ="safe", pure=True).load(content)


def _nested(choices: Iterable[Choice]) -> dict:
    """Choices by the parts of their keys."""
    tree = {}
    for choice in choices:
        *sections, last = choice.key.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = choice
    return tree


def _lines(tree: Mapping, indent: str) -> Iterable[str]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield f"{indent}{key}:"
            yield from _lines(value, indent + "  ")
        else:
            if value.reason:
                yield _comment(value.reason, indent).rstrip()
            yield from (indent + line for line in _dumped(key, value.value))


def _comment(sentence: str, indent: str) -> str:
    return "".join(f"{indent}# {line}\n" for line in textwrap.wrap(sentence, WIDTH - len(indent)))


def _dumped(key: str, value: object) -> list[str]:
    """`key: value` as YAML; texts of several words as folded ones, which need no quotes."""
    if isinstance(value, str) and len(value) > FOLDED:
        return [f"{key}: >-", *textwrap.wrap(value, WIDTH - 4, initial_indent="  ", subsequent_indent="  ")]
    yaml, body = YAML(), io.StringIO()
    yaml.width = 10_000
    yaml.dump({key: _flow(value)}, body)
    return body.getvalue().splitlines()


def _flow(value: object) -> object:
    """Mappings and lists in braces and brackets."""
    if isinstance(value, Mapping):
        value = CommentedMap((key, _flow(part)) for key, part in value.items())
    elif isinstance(value, (list, tuple)):
        value = CommentedSeq(map(_flow, value))
    else:
        return value
    value.fa.set_flow_style()
    return value
