"""Cells of CSV files that a spreadsheet shows and does not compute.

By its first sign a cell is taken for a formula, and names of files and classes come from strangers' archives (OWASP,
"CSV Injection"). The apostrophe before such a text is what spreadsheets themselves mark text with.
"""

import re

FORMULA = re.compile(r"'*[=+\-@\t\r]")


def as_cell(value: object) -> object:
    """A text that would be a formula behind an apostrophe; a number, and any other text, as it is."""
    if not isinstance(value, str) or not FORMULA.match(value) or _is_number(value):
        return value
    return f"'{value}"


def from_cell(cell: str) -> str:
    """What `as_cell` was given, as text."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
