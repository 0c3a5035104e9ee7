"""Numbers as a sentence or a table has them. In: numbers, rows of metrics/quality.json. Out: short texts."""

import math
from collections.abc import Mapping, Sequence

from stages.evaluation.statistics import LEVEL

MOST = 3  # names in a row


def called(model: str) -> str:
    """As the page has it; `int8` is what metrics and files call it, whatever its numbers are."""
    return "small student" if model == "int8" else model


def plain(value: float, digits: int) -> str:
    """To so many digits, never as a power of ten, without zeros at the end: 138.4 → 138, 0.03951 → 0.0395, 5216 → 5216.
    """
    whole = math.floor(math.log10(abs(value))) + 1 if value else 1
    text = f"{value:.{max(0, digits - whole)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def parameters(millions: float) -> str:
    """697 thousand, 1.96 million."""
    number = round(1e6 * millions)
    return next((f"{plain(number / size, 3)} {word}" for size, word in ((1e6, "million"), (1e3, "thousand"))
                 if number >= size), str(number))


def spread(row: Mapping[str, float], metric: str, digits: int) -> str:
    """97.12 ± 0.30, or 97.12 where there is a single seed."""
    std = row.get(f"{metric}_std")
    return f"{row[metric]:.{digits}f}" + ("" if std is None else f" ± {std:.{digits}f}")


def points(difference: float) -> str:
    """Its size, in percentage points: 0.46 points."""
    size = f"{abs(difference):.2f}"
    return f"{size} point{'' if size == '1.00' else 's'}"


def counted(number: int, what: str) -> str:
    """1 image, 2 images."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def signed(value: float, digits: int) -> str:
    """With a real minus; a rounded −0 is a 0."""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if not float(text) else text.replace("-", "−")


def bounds(row: Mapping[str, float], key: str) -> tuple[float, float] | None:
    """The interval of `key`, where it has one."""
    return (row[f"{key}_low"], row[f"{key}_high"]) if f"{key}_low" in row else None


def interval(row: Mapping[str, float], key: str, digits: int = 2) -> str:
    """As 95 % interval −0.37 to 1.30; empty where there is none."""
    found = bounds(row, key)
    return f"{LEVEL} % interval {reach(*found, digits)}" if found else ""


def reach(low: float, high: float, digits: int = 2) -> str:
    return f"{signed(low, digits)} to {signed(high, digits)}"


def bracketed(*parts: str) -> str:
    """Those of the parts that say something, in brackets, after a space."""
    said = "; ".join(filter(None, parts))
    return f" ({said})" if said else ""


def listed(words: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def few(names: Sequence[str]) -> str:
    """Three of them at most, escaped, and how many more there are: a, b, c and 2 more."""
    more = len(names) - MOST
    return listed([*map(escaped, names[:MOST]), *([f"{more} more"] if more > 0 else [])])


def escaped(text: object) -> str:
    """A name or a word as Markdown that shows it as it is, in a cell of a table too."""
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]<>#|~&!" else letter for letter in " ".join(str(text).split()))
