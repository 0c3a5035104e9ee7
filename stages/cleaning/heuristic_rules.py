"""The rules by degree: what is nearly alike, doubtful, odd. Reported with its score, and acted on only where
params.yaml asks for it, on training images alone, the worst first, and on no more than a share of a class.

A rule is a function from rows of data/scan.csv to findings.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import product

from stages.cleaning import image_quality
from stages.cleaning.findings import GONE, HELD_OUT, CleanContext, Finding, Row, free, trains
from stages.core.errors import UserError
from stages.core.params import FILE

ISSUES = ("near_leak", "near_conflict", "near_duplicate", "label_suspect", *image_quality.ISSUES)


class Allowance:
    """How many images of a class the rules by degree may still take."""

    def __init__(self, rows: Iterable[Row], case: CleanContext):
        """rows: all that the facts have left."""
        counts = Counter(case.stratum(row) for row in rows if trains(row))
        self.limits = {name: int(case.policy.max_share * count + 1e-9) for name, count in counts.items()}
        self.taken = defaultdict(set)  # of each class, the paths that are

    def takes(self, name: str, path: str) -> bool:
        """Whether there is room for this image of the class; if so, it is taken. One that is already costs nothing."""
        if path not in self.taken[name] and len(self.taken[name]) >= self.limits[name]:
            return False
        self.taken[name].add(path)
        return True


def near_copies(rows: list[Row], case: CleanContext, allowance: Allowance) -> Iterator[Finding]:
    """Not the same pixels, but nearly. Each image once: with a held-out one before others, then the likest first."""
    copies, found, gone = defaultdict(list), set(), set()
    for row in rows:
        copies[row["pixels"]].append(row)
    pairs = [_near(pair, score, case) for first, second, score in case.alike
             for pair in product(copies.get(first, ()), copies.get(second, ()))]
    for near in sorted(pairs, key=lambda near: (ISSUES.index(near.issue), -near.score, near.row["path"], near.keeper)):
        if near.row["path"] in found or near.keeper in gone:
            continue
        found.add(near.row["path"])
        wish = "report" if near.issue == "near_conflict" else case.policy.near_duplicates  # whose label is right?
        near = _limited(near, wish, case, allowance)
        gone |= {near.row["path"]} if near.action in GONE else set()
        yield near


def _near(pair: Iterable[Row], score: float, case: CleanContext) -> Finding:
    """Of two that train the later goes; of others the one that trains, or else the one in val."""
    keeper, row = sorted(pair, key=lambda row: (HELD_OUT.get(row["split"], 2), row["path"] not in case.overrides,
                                                row["path"]))
    conflict = case.classes and row["label"] and keeper["label"] and row["label"] != keeper["label"]
    across = row["split"] != keeper["split"] and not trains(keeper)
    reason = f"nearly this picture of {keeper['split'] or 'the set'}, labelled {keeper['target'] or 'nothing'}"
    return Finding(row, "near_leak" if across else "near_conflict" if conflict else "near_duplicate", "dropped",
                   keeper["path"], reason, score, case.policy.near_likeness)


def label_suspects(rows: list[Row], case: CleanContext, allowance: Allowance) -> Iterator[Finding]:
    """Images that look like another class than theirs. Raises UserError where the looks are not to be trusted."""
    wish, accuracy = case.policy.label_suspects, case.accuracy
    if wish != "report" and (accuracy is None or accuracy < case.policy.min_accuracy):
        how = "no label could be judged" if accuracy is None else (
            f"labels were foretold with an accuracy of only {accuracy:.1f} %, and clean.min_accuracy is "
            f"{case.policy.min_accuracy:g}")
        raise UserError(f"{FILE}: clean.label_suspects is {wish}, but {how}; set it to report, or give scan.backbone a "
                    "network with weights that knows such pictures better")
    suspects = [row for row in rows if row["suspect"] and row["predicted"] != row["target"]]
    for row in sorted(suspects, key=lambda row: (float(row["label_score"]), row["path"])):
        found = Finding(row, "label_suspect", "dropped", reason=f"looks like {row['predicted']}",
                        score=float(row["label_score"]))
        if wish == "relabel":
            found = found._replace(action="relabelled", label=row["predicted"])
        yield _limited(found, wish, case, allowance)


def oddities(rows: list[Row], case: CleanContext, allowance: Allowance) -> Iterator[Finding]:
    """Pictures that are dark, blurry, of an odd size, …"""
    found = sorted(image_quality.findings(rows), key=lambda found: (found[2] / found[3], found[0]["path"], found[1]))
    for row, issue, score, threshold in found:
        yield _limited(Finding(row, issue, "dropped", reason=issue.replace("_", " "), score=score, threshold=threshold),
                       getattr(case.policy.quality, issue), case, allowance)


def _limited(found: Finding, wish: str, case: CleanContext, allowance: Allowance) -> Finding:
    """The finding; the image is kept, unless it trains, params.yaml wishes it gone, and its class's share allows it."""
    row, name = found.row, case.stratum(found.row)
    if wish == "report" or not free(row, case):
        return found._replace(action="kept", label="")
    if not row["split"]:
        return found._replace(action="kept", label="", reason=f"{found.reason}; kept, for the source has no test split "
                                                              "yet, and the image may come to be in it")
    if not allowance.takes(name, row["path"]):
        return found._replace(action="kept", label="", reason=f"{found.reason}; kept, for clean.max_share of the class "
                                                              f"({allowance.limits[name]}) are taken already")
    return found
