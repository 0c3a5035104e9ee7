"""Reads a section of `params.yaml` into the frozen, validated class that its user declares.

There is no default in code: every key of a section's class must stand in the file, and no other.
"""

import re
from pathlib import Path
from typing import TypeVar

import pydantic
import yaml

from stages.core.errors import UserError, one_line

FILE = Path("params.yaml")
SECTIONS = ("data", "scan", "clean", "split", "teacher", "teacher_training", "targets", "student",
            "student_training", "distill", "quantize", "verify", "evaluate", "benchmark", "report")


class Section(pydantic.BaseModel):
    """Base of every section: immutable, no unknown keys, no silent conversion (an int is accepted for a float)."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class _Loader(yaml.SafeLoader):
    """YAML 1.2 scalars, as DVC reads them: `1e-3` is a number, `off` and `no` are words."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if not tag.endswith((":bool", ":float"))]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"),
    list("-+.0123456789"),
)

SectionType = TypeVar("SectionType", bound=pydantic.BaseModel)


def load(section: str, kind: type[SectionType]) -> SectionType:
    """The named section of `params.yaml` (or a part of one: `student_training.augment`) as an instance of `kind`.

    Raises UserError, in one line with file, section, key and what would be accepted, for anything else.
    """
    return parse(kind, _below(section), f"{FILE}: {section}")


def load_word(key: str) -> str:
    """One word of `params.yaml`, for who needs no more of its section: word("data.task")."""
    value = _below(key)
    if value is None:
        raise UserError(f"{FILE}: {key} is missing")
    if not isinstance(value, str):
        raise UserError(f"{FILE}: {key} is {value!r}: it should be a word")
    return value


def load_all() -> dict[str, object]:
    """All of `params.yaml`, unchecked: for who shows it or takes its hash, and leaves the checks to others."""
    return _sections()


def parse(kind: type[SectionType], values: object, where: str) -> SectionType:
    """`values` (a mapping) as an instance of `kind`; `where` names their place in the message of the UserError."""
    if not isinstance(values, dict):
        raise UserError(f"{where} is missing or no mapping; it holds {', '.join(kind.model_fields)}")
    try:
        return kind.model_validate(values)
    except pydantic.ValidationError as error:
        raise UserError("; ".join(_said(where, kind, found) for found in error.errors())) from None


def _said(where: str, kind: type[pydantic.BaseModel], found: dict) -> str:
    key = ".".join(str(part) for part in found["loc"])
    place = f"{where}.{key}" if key else where
    if found["type"] == "missing":
        return f"{place} is missing"
    if found["type"] == "extra_forbidden":
        return f"{place} is unknown; known here: {', '.join(kind.model_fields)}"
    # A cross-field check raises ValueError, which pydantic prefixes.
    said = found["msg"].removeprefix("Value error, ")
    return f"{place}: {said}" if found["type"] == "value_error" else f"{place} is {found['input']!r}: {said}"


def _below(key: str) -> object:
    value = _sections()
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _sections() -> dict:
    try:
        whole = yaml.load(FILE.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        raise UserError(f"{FILE} is missing; copy one of presets/ there, for example presets/digits.yaml") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{FILE} is not readable as YAML: {one_line(error)}") from None
    if not isinstance(whole, dict):
        raise UserError(f"{FILE} holds no sections; it needs {', '.join(SECTIONS)}")
    for name in whole:
        if name not in SECTIONS:
            raise UserError(f"{FILE}: section {name!r} is unknown; known: {', '.join(SECTIONS)}")
    return whole
