"""What is done about images that are not fit for use. In: the rows of data/scan.csv, the policy, the user's word.
Out: the rows that stay, and the findings: rows of data/decisions.csv.

A rule is a function from rows to findings; each sees what those before it have left. Facts come first, then matters of
degree.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from stages.cleaning import exact_rules, heuristic_rules
from stages.cleaning.findings import GONE, CleanContext, Finding, Row


def decide(rows: Sequence[Row], case: CleanContext) -> tuple[list[Row], list[Finding]]:
    """The rows that stay, with the labels that they shall have, and the findings on all, sorted by path.

    Raises UserError where the policy is to stop, or asks for what can't be done.
    """
    rows, findings = list(rows), []
    for rule in (exact_rules.overridden, exact_rules.unusable, exact_rules.leaks, exact_rules.conflicts, exact_rules.duplicates):
        rows = _after(rule, rows, case, findings)
    allowance = heuristic_rules.Allowance(rows, case)
    for rule in (heuristic_rules.near_copies, heuristic_rules.label_suspects, heuristic_rules.oddities):
        rows = _after(partial(rule, allowance=allowance), rows, case, findings)
    return rows, sorted(findings, key=lambda finding: (finding.row["path"], finding.issue))


def judged_accuracy(rows: Iterable[Row]) -> float | None:
    """How many labels the out-of-fold prediction meets, in %; None where nothing was judged."""
    met = [row["predicted"] == row["target"] for row in rows if row["predicted"]]
    return 100 * sum(met) / len(met) if met else None


def _after(rule: Callable[[list[Row], CleanContext], Iterable[Finding]], rows: list[Row], case: CleanContext,
           findings: list[Finding]) -> list[Row]:
    """The rows that a rule leaves, as it leaves them; what it finds joins `findings`."""
    found = list(rule(rows, case))
    findings += found
    gone = {finding.row["path"] for finding in found if finding.action in GONE}
    labels = {finding.row["path"]: finding.label for finding in found if finding.action == "relabelled"}
    return [{**row, "target": labels[row["path"]], "label": labels[row["path"]]} if row["path"] in labels else row
            for row in rows if row["path"] not in gone]
