"""Reads sections of `params.yaml` into the frozen, validated classes that the code using them declares.

There are no defaults in code: each key of a section's class must be in the file, and no other.
"""

import copy
import functools
import reprlib
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, TypeVar

import pydantic
from ruamel.yaml import YAML

from stages.core.errors import UserError, one_line

FILE = Path("params.yaml")
SECTIONS = ("data", "scan", "clean", "split", "training", "teacher", "teacher_training", "targets", "student",
            "student_training", "distill", "quantize", "verify", "evaluate", "benchmark", "report")
# What no setting needs: beyond it are slips, and values on which libraries fail in ways of their own.
LARGEST = 10**12  # of a number, either sign
LONGEST = 20_000  # characters of a text
MOST = 200_000  # values in the file: aliases can make more than memory holds

Seed = Annotated[int, pydantic.Field(ge=0, lt=2**31)]


def sides(least: int, most: int) -> pydantic.PlainValidator:
    """Of a field for the size of images, in pixels: n for a square, or [height, width]. Its value is (height, width).
    """
    def parsed(value: object) -> tuple[int, int]:
        given = value if isinstance(value, list) else [value, value]
        if len(given) != 2 or any(type(side) is not int or not least <= side <= most for side in given):
            raise ValueError(f"{shown(value)} is no size: it should be an integer from {least} to {most}, for a "
                             "square, or two of them, [height, width]")
        return tuple(given)

    return pydantic.PlainValidator(parsed)


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
        raise UserError(f"{FILE}: {key} is {shown(value)}: it should be a word")
    return value


def load_all() -> dict[str, object]:
    """All of `params.yaml`, without checking the sections: to print or to hash it."""
    return _sections()


def parse(kind: type[SectionType], values: object, where: str) -> SectionType:
    """`values` (a mapping) as an instance of `kind`. where: begins each part of the UserError's message."""
    if not isinstance(values, dict):
        raise UserError(f"{where} is missing or no mapping; it holds {', '.join(kind.model_fields)}")
    try:
        return kind.model_validate(values)
    except pydantic.ValidationError as error:
        raise UserError("; ".join(_message(where, kind, details) for details in error.errors())) from None


def check_given(kind: type[pydantic.BaseModel], values: dict, where: str) -> None:
    """As `parse`, of values that need not be all of those that `kind` has."""
    try:
        kind.model_validate(values)
    except pydantic.ValidationError as error:
        wrong = [details for details in error.errors() if details["type"] != "missing" or len(details["loc"]) > 1]
        if wrong:
            raise UserError("; ".join(_message(where, kind, details) for details in wrong)) from None


def read_yaml(path: Path) -> object:
    """The content of a YAML file in plain Python types, by the rules that DVC reads it with (YAML 1.2).

    Raises UserError for a file that is no YAML, that repeats a key, or that holds what no setting can be: numbers
    beyond LARGEST, texts beyond LONGEST, control characters, a structure that contains itself.
    """
    if path.exists() and not path.is_file():  # reading a pipe would wait for ever
        raise UserError(f"{path} is no file; put one in its place")
    try:
        values = _parsed(path.read_text(encoding="utf-8"))
    except OSError:
        raise
    except RecursionError:
        raise UserError(f"{path} is nested too deeply; it needs no more than five levels") from None
    except Exception as error:  # for dates, numbers and tags that make no sense, Python's own errors
        mark = getattr(error, "problem_mark", None)
        problem = f"line {mark.line + 1}: {error.problem.splitlines()[0]}" if mark else one_line(error)[:200]
        raise UserError(f"{path} is not readable as YAML: {problem}") from None
    if problem := next(_unfit(values), ""):
        raise UserError(f"{path}: {problem}")
    return copy.deepcopy(values)


def shown(value: object) -> str:
    """A value as an error message has it, on one line: what is long, large or deep is cut."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python refuses to print integers of more than 4300 digits
        return "a number of thousands of digits"


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80
_SHORT.maxlevel = 3


def _unfit(values: object) -> Iterator[str]:
    """What is wrong with values of any section, whatever their keys stand for."""
    waiting = [("", values)]  # key and value; grows while it is read, level by level
    for key, value in waiting:
        if len(waiting) > MOST:
            yield f"it holds more than {MOST:,} values, or a structure that contains itself"
            return
        match value:
            case dict():
                for name, inner in value.items():
                    waiting += [(key, name), (f"{key}.{shown(name)}".replace("'", "").lstrip("."), inner)]
            case list():
                waiting += [(key, inner) for inner in value]
            case int() | float() if abs(value) > LARGEST:
                yield f"{key} is {shown(value)}: numbers go up to {LARGEST:.0e}"
            case str() if len(value) > LONGEST:
                yield f"{key} has {len(value):,} characters: texts have up to {LONGEST:,}"
            case str() if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in value if letter not in "\n\t"):
                yield f"{key} is {shown(value)}: control characters are not allowed"


@functools.lru_cache(maxsize=1)
def _parsed(text: str) -> object:
    """Cached, since it takes 20 ms, and a stage loads several sections."""
    return YAML(typ="safe", pure=True).load(text)


def _message(where: str, kind: type[pydantic.BaseModel], details: dict) -> str:
    key = ".".join([where, *(str(part)[:80] for part in details["loc"])])
    # pydantic's prefix for the ValueError of a cross-field check, which may name a text of any length.
    text = details["msg"].removeprefix("Value error, ")[:400]
    match details["type"]:
        case "missing":
            return f"{key} is missing"
        case "extra_forbidden":
            return f"{key} is unknown; known here: {', '.join(kind.model_fields)}"
        case "value_error":
            return f"{key}: {text}"
    return f"{key} is {shown(details['input'])}: {text}"


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
            raise UserError(f"{FILE}: section {shown(name)} is unknown; known: {', '.join(SECTIONS)}")
    return sections
