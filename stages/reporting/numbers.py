"""Numbers, names and settings as text. In: numbers, rows of metrics/quality.json, params. Out: short texts."""

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from stages.evaluation.statistics import LEVEL

SMALL = {"int8": "small student", "teacher_int8": "small teacher"}
MAX_NAMES = 3  # that a sentence lists


def display_name(model: str) -> str:
    """A model's name on the page. Metrics and files call the small student `int8`, whatever its number format is."""
    return SMALL.get(model, model)


def plain(value: float, digits: int) -> str:
    """To so many significant digits, integer digits always kept, no exponent and no trailing zeros: 0.03951 → 0.0395,
    but 5216.3 → 5216.
    """
    if abs(value) >= 10 ** digits:
        return f"{value:.0f}"
    return np.format_float_positional(value, precision=digits, unique=False, fractional=False, trim="-")


def parameters(millions: float) -> str:
    """697 thousand, 1.96 million."""
    number = round(1e6 * millions)
    if number >= 1e6:
        return f"{plain(number / 1e6, 3)} million"
    return f"{plain(number / 1e3, 3)} thousand" if number >= 1e3 else str(number)


def spread(row: Mapping[str, float], metric: str, digits: int, classes: Collection[str] = ()) -> str:
    """97.12 ± 0.30, or 97.12 where there is a single seed. classes: of a table by class; `road_std` may be one."""
    std = None if f"{metric}_std" in classes else row.get(f"{metric}_std")
    return f"{row[metric]:.{digits}f}" + ("" if std is None else f" ± {std:.{digits}f}")


def points(difference: float) -> str:
    """The absolute difference in percentage points: 0.46 points."""
    size = f"{abs(difference):.2f}"
    return f"{size} point{'' if size == '1.00' else 's'}"


def counted(number: int, noun: str) -> str:
    """1 image, 2 images."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def signed(value: float, digits: int) -> str:
    """With a typographic minus; what rounds to −0 is 0."""
    return f"{value:z.{digits}f}".replace("-", "−")


def bounds(row: Mapping[str, float], key: str) -> tuple[float, float] | None:
    """Both ends of the interval of `key`, if it has one."""
    return (row[f"{key}_low"], row[f"{key}_high"]) if f"{key}_low" in row else None


def interval(row: Mapping[str, float], key: str, digits: int = 2) -> str:
    """95 % interval −0.37 to 1.30; empty where there is none."""
    ends = bounds(row, key)
    return f"{LEVEL} % interval {span(*ends, digits)}" if ends else ""


def span(low: float, high: float, digits: int = 2) -> str:
    """−0.37 to 1.30."""
    return f"{signed(low, digits)} to {signed(high, digits)}"


def bracketed(*parts: str) -> str:
    """The parts that are not empty, in brackets after a space; empty where all are."""
    text = "; ".join(filter(None, parts))
    return f" ({text})" if text else ""


def listed(words: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def few(names: Sequence[str]) -> str:
    """The first MAX_NAMES, escaped, and how many more there are: a, b, c and 2 more."""
    more = len(names) - MAX_NAMES
    return listed([*map(escaped, names[:MAX_NAMES]), *([f"{more} more"] if more > 0 else [])])


def escaped(text: object) -> str:
    """Text on one line with Markdown's special characters escaped, also for a table's cell."""
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]<>#|~&!" else letter for letter in " ".join(str(text).split()))


def flattened(settings: Mapping, prefix: str = "") -> Iterator[tuple[str, object]]:
    """(dotted key, value) of nested settings."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def cell(value: object) -> str:
    """A value of params.yaml as text in a table's cell."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else escaped(value)
