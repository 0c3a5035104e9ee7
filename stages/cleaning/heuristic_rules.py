"""Heuristic rules: near copies, doubtful labels, low quality. Findings have a score, and are acted on only if
params.yaml says so: on training images, the worst first, and on no more than a share of a class.

A rule is a function from rows of data/scan.csv to findings.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial

from stages.cleaning import image_quality
from stages.cleaning.findings import HELD_OUT, REMOVED, CleanContext, Finding, Row, is_held_out
from stages.core.errors import UserError
from stages.core.params import FILE

ISSUES = ("near_leak", "near_conflict", "near_duplicate", "label_suspect", *image_quality.ISSUES)


class Allowance:
    """How many images of each class the heuristic rules may still take."""

    def __init__(self, rows: Iterable[Row], context: CleanContext):
        """rows: all that the exact rules have left."""
        counts = Counter(context.stratum(row) for row in rows if not is_held_out(row))
        self.limits = {name: int(context.policy.max_share * count + 1e-9) for name, count in counts.items()}
        self.taken = defaultdict(set)  # class → paths

    def take(self, name: str, path: str) -> bool:
        """Takes an image of the class if its limit allows; True if it is taken, now or before."""
        if path not in self.taken[name] and len(self.taken[name]) >= self.limits[name]:
            return False
        self.taken[name].add(path)
        return True


def keeper_rank(row: Row, decided: Collection[str]) -> tuple[int, bool, str]:
    """A sort key, the image first that others have to give way to: of test, of val, then one decided on by the user.

    decided: paths of the latter.
    """
    return HELD_OUT.get(row["split"], len(HELD_OUT)), row["path"] not in decided, row["path"]


def near_copies(rows: Sequence[Row], context: CleanContext, allowance: Allowance) -> Iterator[Finding]:
    """Nearly the same pixels. One finding per image: a leak before all others, then the most similar."""
    copies, reported, removed = defaultdict(list), set(), set()
    for row in sorted(rows, key=partial(keeper_rank, decided=context.overrides)):
        copies[row["pixels"]].append(row)
    findings = [_near_copy(pair, score, context) for first, second, score in context.similar
                for pair in _paired(copies.get(first), copies.get(second))]
    for finding in sorted(findings, key=lambda finding: (ISSUES.index(finding.issue), -finding.score,
                                                         finding.row["path"], finding.keeper)):
        if finding.row["path"] in reported or finding.keeper in removed:
            continue
        reported.add(finding.row["path"])
        # Of a conflict no rule knows which label is right.
        choice = "report" if finding.issue == "near_conflict" else context.policy.near_duplicates
        finding = _limited(finding, choice, context, allowance)
        removed |= {finding.row["path"]} if finding.action in REMOVED else set()
        yield finding


def _paired(ones: Sequence[Row] | None, others: Sequence[Row] | None) -> Iterable[tuple[Row, Row]]:
    """Exact copies of one image with those of another, each with the other side's first: not all with all."""
    return [*((one, others[0]) for one in ones), *((ones[0], other) for other in others[1:])] if ones and others else ()


def _near_copy(pair: Iterable[Row], score: float, context: CleanContext) -> Finding:
    """About the image that may go: of two outside val and test the later by path, otherwise the one less held out."""
    keeper, row = sorted(pair, key=partial(keeper_rank, decided=context.overrides))
    conflict = context.classes and row["label"] and keeper["label"] and row["label"] != keeper["label"]
    leak = row["split"] != keeper["split"] and is_held_out(keeper)
    reason = f"nearly this picture of {keeper['split'] or 'the set'}, labelled {keeper['target'] or 'nothing'}"
    return Finding(row, "near_leak" if leak else "near_conflict" if conflict else "near_duplicate", "dropped",
                   keeper["path"], reason, score, context.policy.near_likeness)


def label_suspects(rows: Sequence[Row], context: CleanContext, allowance: Allowance) -> Iterator[Finding]:
    """Images that look like another class. Raises UserError if the predictions are too poor to act on them."""
    choice, accuracy = context.policy.label_suspects, context.accuracy
    if choice != "report" and (accuracy is None or accuracy < context.policy.min_accuracy):
        why = "no label could be checked" if accuracy is None else (
            f"labels were predicted with an accuracy of only {accuracy:.1f} %, and clean.min_accuracy is "
            f"{context.policy.min_accuracy:g}")
        raise UserError(f"{FILE}: clean.label_suspects is {choice}, but {why}; set it to report, or give scan.backbone "
                        "a network with weights that knows such pictures better")
    suspects = [row for row in rows if row["suspect"] and row["predicted"] != row["target"]]
    for row in sorted(suspects, key=lambda row: (float(row["label_score"]), row["path"])):
        action, label = ("relabelled", row["predicted"]) if choice == "relabel" else ("dropped", "")
        yield _limited(Finding(row, "label_suspect", action, reason=f"looks like {row['predicted']}",
                               score=float(row["label_score"]), label=label), choice, context, allowance)


def low_quality(rows: Sequence[Row], context: CleanContext, allowance: Allowance) -> Iterator[Finding]:
    """Images that are dark, blurry, of an odd size, …"""
    for row, issue, score, threshold in sorted(image_quality.findings(rows), key=lambda issue: (
            issue[2] / issue[3], issue[0]["path"], issue[1])):
        yield _limited(Finding(row, issue, "dropped", reason=issue.replace("_", " "), score=score, threshold=threshold),
                       getattr(context.policy.quality, issue), context, allowance)


def _limited(finding: Finding, choice: str, context: CleanContext, allowance: Allowance) -> Finding:
    """The finding, changed to kept if the policy, the split or the class's limit forbids its action."""
    row, name = finding.row, context.stratum(finding.row)
    if choice == "report" or not context.may_remove(row):
        why = ""
    elif not row["split"]:
        why = "; kept, for the source has no test split yet, and the image may come to be in it"
    elif not allowance.take(name, row["path"]):
        why = f"; kept, for clean.max_share of the class ({allowance.limits[name]}) are taken already"
    else:
        return finding
    return finding._replace(action="kept", label="", reason=finding.reason + why)
