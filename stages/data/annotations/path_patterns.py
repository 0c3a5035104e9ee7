"""Paths of an archive by pattern: "JPEGImages/{id}.jpg", "gtFine/{split}/{id}_gtFine_labelIds.png".

{id} is any text, folders among it; {split} is a folder or a part of a name that names a split; any other name in braces
is a part of a name; * is too, and isn't remembered; ".*" at the end is any suffix. Upper and lower case are the same.
The folders above are free.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from stages.data.annotations import split_names

FIELD = re.compile(r"\{(\w+)\}")
PIECE = re.compile(r"\{\w+\}|\.\*$|\*")


class Match(NamedTuple):
    path: str
    above: str  # the folders above what the pattern describes
    fields: dict[str, str]  # what stands for {id}, {split}, …


def fields(pattern: str) -> list[str]:
    """The names in braces. Raises ValueError for a pattern that can't be meant."""
    names = FIELD.findall(pattern)
    if "id" not in names:
        raise ValueError(f"{pattern!r} lacks {{id}}, by which an image and its mask are known")
    if len(set(names)) < len(names) or any(not name.isidentifier() for name in names):
        raise ValueError(f"{pattern!r} names a part twice, or by a number")
    if set("{}") & set(FIELD.sub("", pattern)):
        raise ValueError(f"{pattern!r} has a brace too many; parts are written {{id}}, {{split}}, {{group}}")
    return names


def matches(pattern: str, paths: Iterable[str]) -> list[Match]:
    """Those of `paths` that the pattern describes, in their order."""
    parts, end = [], 0
    for piece in PIECE.finditer(pattern):
        parts += [re.escape(pattern[end:piece.start()]), _expression(piece[0])]
        end = piece.end()
    expression = re.compile("".join(parts) + re.escape(pattern[end:]), re.IGNORECASE)
    return [match for path in paths if (match := _match(expression, path))]


def _match(expression: re.Pattern, path: str) -> Match | None:
    """From the uppermost folder on that the pattern describes."""
    for start in (0, *(slash.end() for slash in re.finditer("/", path))):
        found = expression.fullmatch(path, start)
        if found and ("split" not in found.groupdict() or split_names.split_of(found["split"])):
            return Match(path, path[:start], found.groupdict())
    return None


def _expression(piece: str) -> str:
    if piece == ".*":
        return r"\.[^./]+"
    if piece == "*":
        return r"[^/]*"
    return f"(?P<{piece[1:-1]}>{'.+' if piece == '{id}' else '[^/]+'})"
