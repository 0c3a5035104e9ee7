"""Exact rules, acted on by default: the user's overrides, broken files, identical pixels.

A rule is a function from rows of data/scan.csv to findings.
"""

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from stages.cleaning import overrides
from stages.cleaning.findings import HELD_OUT, CleanContext, Finding, Row, is_held_out
from stages.core.errors import UserError
from stages.data.archive import RAW

ISSUES = ("unreadable", "leak", "conflicting_label", "duplicate")
ACTIONS = {"keep": "kept", "drop": "dropped", "relabel": "relabelled"}  # of an override and its finding


def overridden(rows: Sequence[Row], context: CleanContext) -> Iterator[Finding]:
    """The user's overrides. Raises UserError for a path that is not in the set, or an action that is impossible."""
    by_path = {row["path"]: row for row in rows}
    for path, override in context.overrides.items():
        if not (row := by_path.get(path)):
            raise UserError(f"{overrides.FILE}: {path!r} is no image of the set; write paths as data/scan.csv has them")
        if override.action != "drop" and context.consequence(row) in ("unreadable", "drop"):
            raise UserError(f"{overrides.FILE}: {path!r} can't be used ({row['reason']}), whatever its label; mend "
                            "the file in the source, or take the line out")
        if override.label and not row["target"]:
            raise UserError(f"{overrides.FILE}: {path!r} can't be relabelled {override.label!r}: it stands among the "
                            "unlabelled; move the file in the source")
        if override.label and override.label not in context.classes:
            near = difflib.get_close_matches(override.label, context.classes, 1)
            raise UserError(f"{overrides.FILE}: {path!r} can't be relabelled {override.label!r}: no image of the "
                            f"source is; the label is the name of a class there{f' ({near[0]!r}?)' if near else ''}")
        change = f", {row['target']} became {override.label}" if override.label else ""
        yield Finding(row, "override", ACTIONS[override.action], label=override.label,
                      reason=f"{override.action}, says {overrides.FILE.name}{change}")


def unusable(rows: Sequence[Row], context: CleanContext) -> Iterator[Finding]:
    """What the scan found: unreadable images and masks, and issues of masks. Raises UserError if the policy is stop."""
    unreadable = [row for row in rows if context.consequence(row) == "unreadable"]
    if unreadable and context.policy.unreadable == "stop":
        first = unreadable[0]
        raise UserError(f"{RAW}: {len(unreadable)} unreadable, first {first['path']!r} ({first['reason']}); mend or "
                        "remove the file in the source, or set clean.unreadable to drop")
    for row in rows:
        if row["issue"]:
            action = "kept" if context.consequence(row) == "report" else "dropped"
            yield Finding(row, row["issue"], action, reason=row["reason"])


def leaks(rows: Sequence[Row], context: CleanContext) -> Iterator[Finding]:
    """The same pixels in several splits. Training and unlabelled copies are dropped; val and test are never touched."""
    held_out = [row for row in rows if is_held_out(row)]
    keepers = _first(sorted(held_out, key=lambda row: (HELD_OUT[row["split"]], row["path"])), lambda row: row["pixels"])
    for row in rows:
        if (keeper := keepers.get(row["pixels"])) and keeper["split"] != row["split"]:
            drop = context.policy.leaks == "drop" and context.may_remove(row)
            label = f", labelled {keeper['target']}" if row["label"] and row["label"] != keeper["label"] else ""
            yield Finding(row, "leak", "dropped" if drop else "kept", keeper["path"],
                          f"the same pixels as this image of {keeper['split']}{label}")


def conflicts(rows: Sequence[Row], context: CleanContext) -> Iterator[Finding]:
    """The same pixels under several labels: no rule can know which is wrong, so none is trained on."""
    labelled = [row for row in rows if row["label"]]
    first = defaultdict(dict)  # pixels → label → its first image
    for row in labelled:
        first[row["pixels"]].setdefault(row["label"], row)
    for row in labelled:
        if other := next((other for label, other in first[row["pixels"]].items() if label != row["label"]), None):
            quarantine = context.policy.conflicts == "quarantine" and context.may_remove(row)
            yield Finding(row, "conflicting_label", "quarantined" if quarantine else "kept", other["path"],
                          f"the same pixels, labelled {other['target']}")


def duplicates(rows: Sequence[Row], context: CleanContext) -> Iterator[Finding]:
    """The same pixels and label inside a split: one stays, the first by path or one that the user keeps."""
    def identity(row: Row) -> tuple:
        return row["split"], row["label"], row["pixels"]

    keepers = _first(sorted(rows, key=lambda row: (row["path"] not in context.overrides, row["path"])), identity)
    for row in rows:
        if (keeper := keepers[identity(row)]) is not row:
            drop = context.policy.duplicates == "drop" and row["path"] not in context.overrides
            yield Finding(row, "duplicate", "dropped" if drop else "kept", keeper["path"], "the same pixels and label")


def _first(rows: Sequence[Row], key: Callable[[Row], object]) -> dict[object, Row]:
    """The first row of each key."""
    return {key(row): row for row in reversed(rows)}
