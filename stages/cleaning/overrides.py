"""The user's own word on single files: data/source/overrides.csv, which wins over every rule.

Columns: path (as data/scan.csv has it), action (one of ACTIONS), label (the class that an image to relabel shows).
"""

import csv
from pathlib import Path
from typing import Literal, NamedTuple

from stages.core.errors import UserError, one_line

FILE = Path("data/source/overrides.csv")
ACTIONS = ("keep", "drop", "relabel")


class Override(NamedTuple):
    action: Literal["keep", "drop", "relabel"]
    label: str  # relabel: the new one


def read(relabels: bool) -> dict[str, Override]:
    """By path; nothing where there is no such file. Raises UserError, which names the line.

    relabels: whether a sample's label is a name, which a table can change.
    """
    if not FILE.is_file():
        return {}
    found = {}
    try:
        with open(FILE, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            if not {"path", "action"} <= set(reader.fieldnames or ()):
                raise UserError(f"{FILE}: its first line must name the columns: path,action,label")
            for row in reader:
                where = f"{FILE}, line {reader.line_num}"
                if row["path"] in found:
                    raise UserError(f"{where}: {row['path']!r} stands there twice; leave one line of it")
                found[row["path"]] = _override(row["action"].strip(), (row.get("label") or "").strip(), relabels, where)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{FILE} is no CSV in UTF-8 ({one_line(error)}); save it as one") from None
    return found


def _override(action: str, label: str, relabels: bool, where: str) -> Override:
    if action not in ACTIONS:
        raise UserError(f"{where}: the action is {action!r}; it can be {', '.join(ACTIONS)}")
    if (action == "relabel") != bool(label):
        raise UserError(f"{where}: {action} goes {'with' if action == 'relabel' else 'without'} a label")
    if label and not relabels:
        raise UserError(f"{where}: a label of this task is a mask; correct that file in the source")
    return Override(action, label)
