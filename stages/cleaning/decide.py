"""Decides which images are fit for use. In: rows of data/scan.csv, the policy, the user's overrides. Out: the rows that
stay, and the findings, rows of data/decisions.csv.

A rule is a function from rows to findings; it gets the rows that the rules before it have left, exact rules first.
"""

from collections.abc import Iterable, Sequence
from functools import partial

from stages.cleaning import exact_rules, heuristic_rules
from stages.cleaning.findings import REMOVED, CleanContext, Finding, Row


def decide(rows: Sequence[Row], context: CleanContext) -> tuple[list[Row], list[Finding]]:
    """The rows that stay, relabelled where decided, and the findings on all rows, sorted by path.

    Raises UserError if the policy is to stop, or can't be followed.
    """
    findings = []
    for rule in (exact_rules.overridden, exact_rules.unusable, exact_rules.leaks, exact_rules.conflicts,
                 exact_rules.duplicates):
        rows = _apply(rule, rows, context, findings)
    allowance = heuristic_rules.Allowance(rows, context)
    for rule in (heuristic_rules.near_copies, heuristic_rules.label_suspects, heuristic_rules.low_quality):
        rows = _apply(partial(rule, allowance=allowance), rows, context, findings)
    return list(rows), sorted(findings, key=lambda finding: (finding.row["path"], finding.issue))


def out_of_fold_accuracy(rows: Iterable[Row]) -> float | None:
    """Share of the labels that the out-of-fold prediction agrees with, in %; None if no label was checked."""
    correct = [row["predicted"] == row["target"] for row in rows if row["predicted"]]
    return 100 * sum(correct) / len(correct) if correct else None


def _apply(rule, rows: Sequence[Row], context: CleanContext, findings: list[Finding]) -> list[Row]:
    """The rows after a rule, with its new labels; appends to `findings`."""
    new = list(rule(rows, context))
    findings += new
    removed = {finding.row["path"] for finding in new if finding.action in REMOVED}
    labels = {finding.row["path"]: finding.label for finding in new if finding.action == "relabelled"}
    return [row | {"target": labels[row["path"]], "label": labels[row["path"]]} if row["path"] in labels else row
            for row in rows if row["path"] not in removed]
