"""The rules by fact, acted on by default: what the user says, a broken file, the same pixels twice.

A rule is a function from rows of data/scan.csv to findings.
"""

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from stages.cleaning import overrides
from stages.cleaning.findings import HELD_OUT, CleanContext, Finding, Row, fate, free, trains
from stages.core.errors import UserError

RAW = Path("data/raw.zip")
ISSUES = ("unreadable", "leak", "conflicting_label", "duplicate")


def overridden(rows: list[Row], case: CleanContext) -> Iterator[Finding]:
    """What the user says. Raises UserError for a path that is none of the set's."""
    found = {row["path"]: row for row in rows}
    for path, said in case.overrides.items():
        if path not in found:
            raise UserError(f"{overrides.FILE}: {path!r} is no image of the set; write paths as data/scan.csv has them")
        if said.action != "drop" and fate(found[path], case) in ("unreadable", "drop"):
            raise UserError(f"{overrides.FILE}: {path!r} can't be used ({found[path]['reason']}), whatever its label; mend "
                        "the file in the source, or take the line out")
        if said.label and (said.label not in case.classes or not found[path]["target"]):
            near = difflib.get_close_matches(said.label, case.classes, 1)
            raise UserError(f"{overrides.FILE}: {path!r} can't be relabelled {said.label!r}: "
                        + ("it stands among the unlabelled; move the file in the source" if not found[path]["target"]
                           else "no image of the source is; the label is the name of a class there"
                           + (f" ({near[0]!r}?)" if near else "")))
        action = {"keep": "kept", "drop": "dropped", "relabel": "relabelled"}[said.action]
        became = f", {found[path]['target']} became {said.label}" if said.label else ""
        yield Finding(found[path], "override", action, reason=f"{said.action}, says {overrides.FILE.name}{became}",
                      label=said.label)


def unusable(rows: list[Row], case: CleanContext) -> Iterator[Finding]:
    """Images and masks that do not decode whole, and what else is odd about masks. Raises UserError: the policy is stop."""
    unreadable = [row for row in rows if fate(row, case) == "unreadable"]
    if unreadable and case.policy.unreadable == "stop":
        raise UserError(f"{RAW}: {len(unreadable)} unreadable, first {unreadable[0]['path']!r} "
                    f"({unreadable[0]['reason']}); "
                    "mend or remove the file in the source, or set clean.unreadable to drop")
    for row in rows:
        if row["issue"]:
            action = "kept" if fate(row, case) == "report" else "dropped"
            yield Finding(row, row["issue"], action, reason=row["reason"])


def leaks(rows: list[Row], case: CleanContext) -> Iterator[Finding]:
    """The same pixels across splits. Those in training or among the unlabelled go; val and test are never touched."""
    held = [row for row in rows if not trains(row)]
    keepers = _first(sorted(held, key=lambda row: (HELD_OUT[row["split"]], row["path"])), lambda row: row["pixels"])
    for row in rows:
        if (keeper := keepers.get(row["pixels"])) and keeper["split"] != row["split"]:
            drop = case.policy.leaks == "drop" and free(row, case)
            other = f", labelled {keeper['target']}" if row["label"] and row["label"] != keeper["label"] else ""
            yield Finding(row, "leak", "dropped" if drop else "kept", keeper["path"],
                          f"the same pixels as this image of {keeper['split']}{other}")


def conflicts(rows: list[Row], case: CleanContext) -> Iterator[Finding]:
    """The same pixels under several labels: which one is wrong, no rule can know, so none trains."""
    labelled = [row for row in rows if row["label"]]
    first = defaultdict(dict)  # pixels → label → the first image of it
    for row in labelled:
        first[row["pixels"]].setdefault(row["label"], row)
    for row in labelled:
        if other := next((other for label, other in first[row["pixels"]].items() if label != row["label"]), None):
            aside = case.policy.conflicts == "quarantine" and free(row, case)
            yield Finding(row, "conflicting_label", "quarantined" if aside else "kept", other["path"],
                          f"the same pixels, labelled {other['target']}")


def duplicates(rows: list[Row], case: CleanContext) -> Iterator[Finding]:
    """The same pixels and label inside a split: one stays, the first by path, or what the user keeps."""
    def same(row: Row) -> tuple:
        return row["split"], row["label"], row["pixels"]

    keepers = _first(sorted(rows, key=lambda row: (row["path"] not in case.overrides, row["path"])), same)
    for row in rows:
        if (keeper := keepers[same(row)]) is not row:
            drop = case.policy.duplicates == "drop" and row["path"] not in case.overrides
            yield Finding(row, "duplicate", "dropped" if drop else "kept", keeper["path"], "the same pixels and label")


def _first(rows: Sequence[Row], key: Callable[[Row], object]) -> dict[object, Row]:
    return {key(row): row for row in reversed(rows)}
