"""What is done about images that are not fit for use. In: the rows of data/scan.csv, the policy, the user's word.
Out: the rows that stay, and the findings: rows of data/decisions.csv.

A rule is a function from rows to findings; each sees what those before it have left. Facts come first and are acted on
by default: a broken file, the same pixels twice. Matters of degree come after them (alike, doubtful, odd): they are
reported with their score, and acted on only where params.yaml asks for it, on training images alone, the worst first,
and on no more than a share of a class.
"""

import difflib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Literal, NamedTuple

import pydantic

from stages.kit import overrides, quality
from stages.kit.faults import Fault
from stages.kit.overrides import Override
from stages.kit.params import FILE, Section

HELD_OUT = {"test": 0, "val": 1}  # nothing goes but further copies inside; the first one's stays when both share one
RAW = Path("data/raw.zip")
GONE = ("dropped", "quarantined")  # actions after which an image is out of use
FACTS = ("unreadable", "leak", "conflicting_label", "duplicate")
DEGREES = ("near_leak", "near_conflict", "near_duplicate", "label_suspect", *quality.ISSUES)
Row = Mapping[str, str]  # of data/scan.csv
Choice = Literal["report", "drop"]
Fate = Literal["unreadable", "drop", "report"]  # unreadable: as clean.unreadable says


class QualityPolicy(Section):
    """What is done about training images of each kind; kit/quality.py says what they are."""

    dark: Choice
    light: Choice
    blurry: Choice
    low_information: Choice
    odd_size: Choice
    odd_aspect: Choice
    greyscale: Choice


class CleanParams(Section):
    """What happens to images that are not fit for use. Whatever it is, data/decisions.csv records it."""

    unreadable: Literal["drop", "stop"]  # files that do not decode whole
    duplicates: Literal["drop", "keep"]  # further copies inside a split, with the same label
    leaks: Literal["drop", "keep"]  # training and unlabelled copies of a val or test image
    conflicts: Literal["quarantine", "keep"]  # training copies of one image under several labels: all of them
    near_duplicates: Choice  # training images that are nearly another one, or nearly a val or test image
    near_likeness: float = pydantic.Field(gt=0, le=1)  # from which on; kit/likeness.py
    label_suspects: Literal["report", "drop", "relabel"]  # training images that look like another class
    min_accuracy: float = pydantic.Field(ge=0, le=100)  # % out of fold, below which suspects are not acted on
    quality: QualityPolicy
    max_share: float = pydantic.Field(gt=0, le=1)  # of a class's training images that these choices may take in all


class Finding(NamedTuple):
    """What a rule found in an image, and what is done about it."""

    row: Row
    issue: str
    action: Literal["kept", "dropped", "quarantined", "relabelled"]
    keeper: str = ""  # path of the other image, where there is one
    reason: str = ""
    score: float | None = None  # a matter of degree: how sure; alike, the more the higher, all else the lower
    threshold: float | None = None
    label: str = ""  # the new one, where it is relabelled


@dataclass(frozen=True)
class Case:
    """What the rules know beside the rows."""

    policy: CleanParams
    overrides: Mapping[str, Override]  # by path
    fates: Mapping[str, Fate]  # of the issues that the scan has found
    alike: Sequence[tuple[str, str, float]]  # the `pixels` of two pictures, and their likeness
    accuracy: float | None  # of the out-of-fold labels, in %; None where there are none
    stratum: Callable[[Row], str]  # the class whose share is limited
    classes: Collection[str]  # that a label can name; none where labels are masks, each one of its own


class Budget:
    """How many images of a class the rules by degree may still take."""

    def __init__(self, rows: Iterable[Row], case: Case):
        """rows: all that the facts have left."""
        counts = Counter(case.stratum(row) for row in rows if _trains(row))
        self.limits = {name: int(case.policy.max_share * count + 1e-9) for name, count in counts.items()}
        self.taken = defaultdict(set)  # of each class, the paths that are

    def takes(self, name: str, path: str) -> bool:
        """Whether there is room for this image of the class; if so, it is taken. One that is already costs nothing."""
        if path not in self.taken[name] and len(self.taken[name]) >= self.limits[name]:
            return False
        self.taken[name].add(path)
        return True


def decide(rows: Sequence[Row], case: Case) -> tuple[list[Row], list[Finding]]:
    """The rows that stay, with the labels that they shall have, and the findings on all, sorted by path.

    Raises Fault where the policy is to stop, or asks for what can't be done.
    """
    rows, findings = list(rows), []
    for rule in (overridden, unusable, leaks, conflicts, duplicates):
        rows = _after(rule, rows, case, findings)
    budget = Budget(rows, case)
    for rule in (near_copies, label_suspects, oddities):
        rows = _after(partial(rule, budget=budget), rows, case, findings)
    return rows, sorted(findings, key=lambda finding: (finding.row["path"], finding.issue))


def overridden(rows: list[Row], case: Case) -> Iterator[Finding]:
    """What the user says. Raises Fault for a path that is none of the set's."""
    found = {row["path"]: row for row in rows}
    for path, said in case.overrides.items():
        if path not in found:
            raise Fault(f"{overrides.FILE}: {path!r} is no image of the set; write paths as data/scan.csv has them")
        if said.action != "drop" and _fate(found[path], case) in ("unreadable", "drop"):
            raise Fault(f"{overrides.FILE}: {path!r} can't be used ({found[path]['reason']}), whatever its label; mend "
                        "the file in the source, or take the line out")
        if said.label and (said.label not in case.classes or not found[path]["target"]):
            near = difflib.get_close_matches(said.label, case.classes, 1)
            raise Fault(f"{overrides.FILE}: {path!r} can't be relabelled {said.label!r}: "
                        + ("it stands among the unlabelled; move the file in the source" if not found[path]["target"]
                           else "no image of the source is; the label is the name of a class there"
                           + (f" ({near[0]!r}?)" if near else "")))
        action = {"keep": "kept", "drop": "dropped", "relabel": "relabelled"}[said.action]
        became = f", {found[path]['target']} became {said.label}" if said.label else ""
        yield Finding(found[path], "override", action, reason=f"{said.action}, says {overrides.FILE.name}{became}",
                      label=said.label)


def unusable(rows: list[Row], case: Case) -> Iterator[Finding]:
    """Images and masks that do not decode whole, and what else is odd about masks. Raises Fault: the policy is stop."""
    unreadable = [row for row in rows if _fate(row, case) == "unreadable"]
    if unreadable and case.policy.unreadable == "stop":
        raise Fault(f"{RAW}: {len(unreadable)} unreadable, first {unreadable[0]['path']!r} "
                    f"({unreadable[0]['reason']}); "
                    "mend or remove the file in the source, or set clean.unreadable to drop")
    for row in rows:
        if row["issue"]:
            action = "kept" if _fate(row, case) == "report" else "dropped"
            yield Finding(row, row["issue"], action, reason=row["reason"])


def leaks(rows: list[Row], case: Case) -> Iterator[Finding]:
    """The same pixels across splits. Those in training or among the unlabelled go; val and test are never touched."""
    held = [row for row in rows if not _trains(row)]
    keepers = _first(sorted(held, key=lambda row: (HELD_OUT[row["split"]], row["path"])), lambda row: row["pixels"])
    for row in rows:
        if (keeper := keepers.get(row["pixels"])) and keeper["split"] != row["split"]:
            drop = case.policy.leaks == "drop" and _free(row, case)
            other = f", labelled {keeper['target']}" if row["label"] and row["label"] != keeper["label"] else ""
            yield Finding(row, "leak", "dropped" if drop else "kept", keeper["path"],
                          f"the same pixels as this image of {keeper['split']}{other}")


def conflicts(rows: list[Row], case: Case) -> Iterator[Finding]:
    """The same pixels under several labels: which one is wrong, no rule can know, so none trains."""
    labelled = [row for row in rows if row["label"]]
    first = defaultdict(dict)  # pixels → label → the first image of it
    for row in labelled:
        first[row["pixels"]].setdefault(row["label"], row)
    for row in labelled:
        if other := next((other for label, other in first[row["pixels"]].items() if label != row["label"]), None):
            aside = case.policy.conflicts == "quarantine" and _free(row, case)
            yield Finding(row, "conflicting_label", "quarantined" if aside else "kept", other["path"],
                          f"the same pixels, labelled {other['target']}")


def duplicates(rows: list[Row], case: Case) -> Iterator[Finding]:
    """The same pixels and label inside a split: one stays, the first by path, or what the user keeps."""
    def same(row: Row) -> tuple:
        return row["split"], row["label"], row["pixels"]

    keepers = _first(sorted(rows, key=lambda row: (row["path"] not in case.overrides, row["path"])), same)
    for row in rows:
        if (keeper := keepers[same(row)]) is not row:
            drop = case.policy.duplicates == "drop" and row["path"] not in case.overrides
            yield Finding(row, "duplicate", "dropped" if drop else "kept", keeper["path"], "the same pixels and label")


def near_copies(rows: list[Row], case: Case, budget: Budget) -> Iterator[Finding]:
    """Not the same pixels, but nearly. Each image once: with a held-out one before others, then the likest first."""
    copies, found, gone = defaultdict(list), set(), set()
    for row in rows:
        copies[row["pixels"]].append(row)
    pairs = [_near(pair, score, case) for first, second, score in case.alike
             for pair in product(copies.get(first, ()), copies.get(second, ()))]
    for near in sorted(pairs, key=lambda near: (DEGREES.index(near.issue), -near.score, near.row["path"], near.keeper)):
        if near.row["path"] in found or near.keeper in gone:
            continue
        found.add(near.row["path"])
        wish = "report" if near.issue == "near_conflict" else case.policy.near_duplicates  # whose label is right?
        near = _limited(near, wish, case, budget)
        gone |= {near.row["path"]} if near.action in GONE else set()
        yield near


def _near(pair: Iterable[Row], score: float, case: Case) -> Finding:
    """Of two that train the later goes; of others the one that trains, or else the one in val."""
    keeper, row = sorted(pair, key=lambda row: (HELD_OUT.get(row["split"], 2), row["path"] not in case.overrides,
                                                row["path"]))
    conflict = case.classes and row["label"] and keeper["label"] and row["label"] != keeper["label"]
    across = row["split"] != keeper["split"] and not _trains(keeper)
    reason = f"nearly this picture of {keeper['split'] or 'the set'}, labelled {keeper['target'] or 'nothing'}"
    return Finding(row, "near_leak" if across else "near_conflict" if conflict else "near_duplicate", "dropped",
                   keeper["path"], reason, score, case.policy.near_likeness)


def label_suspects(rows: list[Row], case: Case, budget: Budget) -> Iterator[Finding]:
    """Images that look like another class than theirs. Raises Fault where the looks are not to be trusted."""
    wish, accuracy = case.policy.label_suspects, case.accuracy
    if wish != "report" and (accuracy is None or accuracy < case.policy.min_accuracy):
        how = "no label could be judged" if accuracy is None else (
            f"labels were foretold with an accuracy of only {accuracy:.1f} %, and clean.min_accuracy is "
            f"{case.policy.min_accuracy:g}")
        raise Fault(f"{FILE}: clean.label_suspects is {wish}, but {how}; set it to report, or give scan.backbone a "
                    "network with weights that knows such pictures better")
    suspects = [row for row in rows if row["suspect"] and row["predicted"] != row["target"]]
    for row in sorted(suspects, key=lambda row: (float(row["label_score"]), row["path"])):
        found = Finding(row, "label_suspect", "dropped", reason=f"looks like {row['predicted']}",
                        score=float(row["label_score"]))
        if wish == "relabel":
            found = found._replace(action="relabelled", label=row["predicted"])
        yield _limited(found, wish, case, budget)


def oddities(rows: list[Row], case: Case, budget: Budget) -> Iterator[Finding]:
    """Pictures that are dark, blurry, of an odd size, …"""
    found = sorted(quality.findings(rows), key=lambda found: (found[2] / found[3], found[0]["path"], found[1]))
    for row, issue, score, threshold in found:
        yield _limited(Finding(row, issue, "dropped", reason=issue.replace("_", " "), score=score, threshold=threshold),
                       getattr(case.policy.quality, issue), case, budget)


def judged_accuracy(rows: Iterable[Row]) -> float | None:
    """How many labels the out-of-fold prediction meets, in %; None where nothing was judged."""
    met = [row["predicted"] == row["target"] for row in rows if row["predicted"]]
    return 100 * sum(met) / len(met) if met else None


def _after(rule: Callable[[list[Row], Case], Iterable[Finding]], rows: list[Row], case: Case,
           findings: list[Finding]) -> list[Row]:
    """The rows that a rule leaves, as it leaves them; what it finds joins `findings`."""
    found = list(rule(rows, case))
    findings += found
    gone = {finding.row["path"] for finding in found if finding.action in GONE}
    labels = {finding.row["path"]: finding.label for finding in found if finding.action == "relabelled"}
    return [{**row, "target": labels[row["path"]], "label": labels[row["path"]]} if row["path"] in labels else row
            for row in rows if row["path"] not in gone]


def _limited(found: Finding, wish: str, case: Case, budget: Budget) -> Finding:
    """The finding; the image is kept, unless it trains, params.yaml wishes it gone, and its class's share allows it."""
    row, name = found.row, case.stratum(found.row)
    if wish == "report" or not _free(row, case):
        return found._replace(action="kept", label="")
    if not row["split"]:
        return found._replace(action="kept", label="", reason=f"{found.reason}; kept, for the source has no test split "
                                                              "yet, and the image may come to be in it")
    if not budget.takes(name, row["path"]):
        return found._replace(action="kept", label="", reason=f"{found.reason}; kept, for clean.max_share of the class "
                                                              f"({budget.limits[name]}) are taken already")
    return found


def _fate(row: Row, case: Case) -> Fate | None:
    return case.fates[row["issue"]] if row["issue"] else None


def _trains(row: Row) -> bool:
    """Whether the image can be in training; one of no split yet may come to be."""
    return row["split"] not in HELD_OUT


def _free(row: Row, case: Case) -> bool:
    """Whether a rule may take the image: it is not held out, and the user hasn't said that it stays."""
    return _trains(row) and row["path"] not in case.overrides


def _first(rows: Sequence[Row], key: Callable[[Row], object]) -> dict[object, Row]:
    return {key(row): row for row in reversed(rows)}
