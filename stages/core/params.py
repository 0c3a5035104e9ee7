"""Reads sections of `params.yaml` into the frozen, validated classes that the code using them declares.

There are no defaults in code: each key of a section's class must be in the file, and no other.
"""

import copy
import functools
from pathlib import Path
from typing import TypeVar

import pydantic
from ruamel.yaml import YAML, YAMLError

from stages.core.errors import UserError, one_line

FILE = Path("params.yaml")
SECTIONS = ("data", "scan", "clean", "split", "teacher", "teacher_training", "targets", "student",
            "student_training", "distill", "quantize", "verify", "evaluate", "benchmark", "report")


class Section(pydantic.BaseModel):
    """Base class of sections: immutable, no unknown keys, no silent conversion (an int is accepted for a float)."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


SectionType = TypeVar("SectionType", bound=pydantic.BaseModel)


def load(section: str, kind: type[SectionType]) -> SectionType:
    """The named section of `params.yaml`, or a part of one (`student_training.augment`), as an instance of `kind`.

    Raises UserError, in one line with file, key and what would be accepted, where it doesn't fit.
    """
    return parse(kind, _value(section), f"{FILE}: {section}")


def load_word(key: str) -> str:
    """A single string of `params.yaml`, for code that needs no more of its section: load_word("data.task")."""
    value = _value(key)
    if value is None:
        raise UserError(f"{FILE}: {key} is missing")
    if not isinstance(value, str):
        raise UserError(f"{FILE}: {key} is {value!r}: it should be a word")
    return value


def load_all() -> dict[str, object]:
    """All of `params.yaml`, without checking the values: to print or to hash it."""
    return _sections()


def parse(kind: type[SectionType], values: object, where: str) -> SectionType:
    """`values` (a mapping) as an instance of `kind`. where: begins each part of the UserError's message."""
    if not isinstance(values, dict):
        raise UserError(f"{where} is missing or no mapping; it holds {', '.join(kind.model_fields)}")
    try:
        return kind.model_validate(values)
    except pydantic.ValidationError as error:
        raise UserError("; ".join(_message(where, kind, details) for details in error.errors())) from None


def read_yaml(path: Path) -> object:
    """The content of a YAML file in plain Python types, by the rules that DVC reads it with (YAML 1.2).

    Raises UserError for a file that is no YAML, or that repeats a key.
    """
    try:
        return copy.deepcopy(_parsed(path.read_text(encoding="utf-8")))
    except (YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = f"line {mark.line + 1}: {error.problem.splitlines()[0]}" if mark else one_line(error)
        raise UserError(f"{path} is not readable as YAML: {problem}") from None


@functools.lru_cache(maxsize=1)
def _parsed(text: str) -> object:
    """Cached, since it takes 20 ms, and a stage loads several sections."""
    return YAML(typ="safe", pure=True).load(text)


def _message(where: str, kind: type[pydantic.BaseModel], details: dict) -> str:
    key = ".".join([where, *map(str, details["loc"])])
    text = details["msg"].removeprefix("Value error, ")  # pydantic's prefix for the ValueError of a cross-field check
    match details["type"]:
        case "missing":
            return f"{key} is missing"
        case "extra_forbidden":
            return f"{key} is unknown; known here: {', '.join(kind.model_fields)}"
        case "value_error":
            return f"{key}: {text}"
    return f"{key} is {details['input']!r}: {text}"


def _value(key: str) -> object:
    value = _sections()
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _sections() -> dict:
    try:
        sections = read_yaml(FILE)
    except FileNotFoundError:
        raise UserError(f"{FILE} is missing; write one: make preset NAME=digits (or another of presets/)") from None
    if not isinstance(sections, dict):
        raise UserError(f"{FILE} holds no sections; it needs {', '.join(SECTIONS)}")
    for name in sections:
        if name not in SECTIONS:
            raise UserError(f"{FILE}: section {name!r} is unknown; known: {', '.join(SECTIONS)}")
    return sections
