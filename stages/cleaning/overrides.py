"""The user's decisions on single files, data/source/overrides.csv, which take precedence over all rules.

Columns: path (as in data/scan.csv), action (one of ACTIONS), label (the new class, for relabel).
"""

import csv
from pathlib import Path
from typing import NamedTuple

from stages.core.cells import from_cell
from stages.core.errors import UserError, one_line

FILE = Path("data/source/overrides.csv")
ACTIONS = ("keep", "drop", "relabel")


class Override(NamedTuple):
    action: str  # one of ACTIONS
    label: str  # for relabel: the new class


def read(relabels: bool) -> dict[str, Override]:
    """Overrides by path; empty if there is no file. Raises UserError with the line of a mistake.

    relabels: whether labels are class names, which this table can change.
    """
    if not FILE.is_file():
        return {}
    entries = {}
    try:
        with open(FILE, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            if not {"path", "action"} <= set(reader.fieldnames or ()):
                raise UserError(f"{FILE}: its first line must name the columns: path,action,label")
            for cells in reader:
                row = {name: from_cell(cell or "") for name, cell in cells.items() if name}  # as in decisions.csv
                entry = Override(row["action"].strip(), row.get("label", "").strip())
                if error := (f"{row['path']!r} stands there twice; leave one line of it" if row["path"] in entries
                             else _error(entry, relabels)):
                    raise UserError(f"{FILE}, line {reader.line_num}: {error}")
                entries[row["path"]] = entry
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{FILE} is no CSV in UTF-8 ({one_line(error)}); save it as one") from None
    return entries


def _error(entry: Override, relabels: bool) -> str:
    """What is wrong with an entry; "" for a valid one."""
    if entry.action not in ACTIONS:
        return f"the action is {entry.action!r}; it can be {', '.join(ACTIONS)}"
    if (entry.action == "relabel") != bool(entry.label):
        return f"{entry.action} goes {'with' if entry.action == 'relabel' else 'without'} a label"
    if entry.label and not relabels:
        return "a label of this task is a mask; correct that file in the source"
    return ""
