"""Decides which images are fit for use. In: data/raw.zip. Out: data/manifest.csv (a row a kept sample),
data/decisions.csv (a row a finding), metrics/data.json (the counts). Raw data is never changed.

Copies are images of the same decoded pixels, whatever their files. A rule is a function from rows to findings;
each sees what those before it have left.
"""

import hashlib
import sys
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Literal

from tqdm import tqdm

from stages.kit import faults, images, named, params, tables
from stages.kit.faults import Fault
from stages.kit.samples import Sample

RAW = Path("data/raw.zip")
MANIFEST, DECISIONS, METRICS = Path("data/manifest.csv"), Path("data/decisions.csv"), Path("metrics/data.json")
COLUMNS = ("path", "split", "source_split", "group", "target", "width", "height", "bytes", "sha256", "pixels")
FINDING = ("path", "sha256", "split", "label", "issue", "score", "threshold", "action", "keeper")
HELD_OUT = {"test": 0, "val": 1}  # whose copy stays when two splits share an image
RULES = ("unreadable", "leak", "duplicate", "conflicting_label")  # what is found, besides what labels.ISSUES names
# COLUMNS, and `label`: what samples of the same label share; `issue`, `reason`: why image or mask can't be used, or "".
Row = dict[str, object]


class CleanParams(params.Section):
    """What happens to images that are not fit for use. Whatever it is, data/decisions.csv records it."""

    unreadable: Literal["drop", "stop"]  # files that do not decode whole
    duplicates: Literal["drop", "keep"]  # further copies inside a split, with the same label
    leaks: Literal["drop", "keep"]  # training and unlabelled copies of a val or test image


def main() -> None:
    policy, name = params.load("clean", CleanParams), params.word("data.layout")
    layout = named.module("layouts", name, "data.layout")
    labels = named.module("labels", params.word("data.task"), "data.task")
    with zipfile.ZipFile(RAW) as raw:
        samples = sorted(layout.samples(raw.namelist(), raw.read))
        if not samples:
            raise Fault(f"{RAW} holds no images where the layout {name} looks for them; "
                        f"see stages/kit/layouts/{name}.py, or choose another data.layout")
        scan = partial(_scan, raw=raw, labels=labels)
        rows = list(tqdm(images.each(scan, samples), "clean", len(samples), unit=" images", disable=None))
    kept, findings = decide(rows, policy)
    tables.write_csv(DECISIONS, FINDING, findings)
    _check(rows, kept, labels.stratum)
    tables.write_csv(MANIFEST, COLUMNS, ({name: row[name] for name in COLUMNS} for row in kept))
    tables.write_json(METRICS, _counts(rows, kept, findings, labels))
    print(f"clean: {len(rows)} images, {len(rows) - len(kept)} dropped, {len(findings)} findings in {DECISIONS}",
          file=sys.stderr)


def decide(rows: list[Row], policy: CleanParams) -> tuple[list[Row], list[Row]]:
    """The rows that stay, and the findings on all, sorted by path."""
    findings = []
    for rule in (unusable, leaks, duplicates, conflicts):
        found = rule(rows, policy)
        findings += found
        gone = {finding["path"] for finding in found if finding["action"] == "dropped"}
        rows = [row for row in rows if row["path"] not in gone]
    return rows, sorted(findings, key=lambda finding: (finding["path"], finding["issue"]))


def unusable(rows: list[Row], policy: CleanParams) -> list[Row]:
    """Images and masks that do not decode whole, masks of another size. Raises Fault where the policy is to stop."""
    broken = [row for row in rows if row["issue"]]
    unreadable = [row for row in broken if row["issue"].startswith("unreadable")]
    if unreadable and policy.unreadable == "stop":
        raise Fault(f"{RAW}: {len(unreadable)} unreadable, first {unreadable[0]['path']!r} "
                    f"({unreadable[0]['reason']}); "
                    "mend or remove the file in the source, or set clean.unreadable to drop")
    return [_finding(row, row["issue"], "dropped") for row in broken]


def leaks(rows: list[Row], policy: CleanParams) -> list[Row]:
    """Copies across splits. Those in training or among the unlabelled go; val and test are never touched."""
    held = [row for row in rows if row["split"] in HELD_OUT]
    keepers = _first(sorted(held, key=lambda row: (HELD_OUT[row["split"]], row["path"])), lambda row: row["pixels"])
    shared = [(row, keeper) for row in rows
              if (keeper := keepers.get(row["pixels"])) and keeper["split"] != row["split"]]
    return [_finding(row, "leak", "kept" if policy.leaks == "keep" or row["split"] in HELD_OUT else "dropped", keeper)
            for row, keeper in shared]


def duplicates(rows: list[Row], policy: CleanParams) -> list[Row]:
    """Copies inside a split with one label: the first by path stays."""
    def same(row: Row) -> tuple:
        return row["split"], row["label"], row["pixels"]

    keepers = _first(rows, same)
    return [_finding(row, "duplicate", "dropped" if policy.duplicates == "drop" else "kept", keepers[same(row)])
            for row in rows if keepers[same(row)] is not row]


def conflicts(rows: list[Row], policy: CleanParams) -> list[Row]:
    """Copies inside a split with several labels. Only reported: which label is wrong, no rule can know."""
    labels = defaultdict(set)
    for row in rows:
        labels[row["split"], row["pixels"]].add(row["label"])
    return [_finding(row, "conflicting_label", "kept") for row in rows if len(labels[row["split"], row["pixels"]]) > 1]


def _scan(sample: Sample, raw: zipfile.ZipFile, labels: ModuleType) -> Row:
    content = raw.read(sample.path)
    row = {**sample._asdict(), "label": "", "width": "", "height": "", "bytes": len(content),
           "sha256": hashlib.sha256(content).hexdigest(), "pixels": "", "issue": "", "reason": ""}
    try:
        image = images.decode(content)
    except images.Unreadable as error:
        return row | {"issue": "unreadable", "reason": str(error)}
    height, width = image.shape[:2]
    label, issue, reason = labels.examine(sample.target, raw.read, (height, width))
    # Width and height belong to the hash: 2×8 and 4×4 may hold the same bytes.
    pixels = hashlib.sha256(b"%dx%d " % (width, height) + image.tobytes()).hexdigest()
    return row | {"label": label, "width": width, "height": height, "pixels": pixels, "issue": issue, "reason": reason}


def _first(rows: list[Row], key: Callable[[Row], object]) -> dict[object, Row]:
    return {key(row): row for row in reversed(rows)}


def _finding(row: Row, issue: str, action: str, keeper: Row | None = None) -> Row:
    """score and threshold are for findings by degree; these are by fact."""
    return {"path": row["path"], "sha256": row["sha256"], "split": row["split"], "label": row["target"], "issue": issue,
            "score": "", "threshold": "", "action": action, "keeper": keeper["path"] if keeper else ""}


def _check(rows: list[Row], kept: list[Row], stratum: Callable[[Row], str]) -> None:
    """Raises Fault where nothing, or nothing of a class, is left: better than to train without it, unnoticed."""
    if not kept:
        first = next(row for row in rows if row["issue"])  # copies go, but never all of them
        raise Fault(f"{RAW}: none of its {len(rows)} images can be used; {DECISIONS} lists them (first "
                    f"{first['path']!r}: {first['reason']}): replace them by whole files")
    for split in ("train", ""):
        before, after = ({stratum(row) for row in some if row["split"] == split} for some in (rows, kept))
        if lost := sorted(before - after):
            of = f" of class {lost[0]!r}" if lost[0] else ""
            raise Fault(f"{RAW}: no training image{of} is fit for use; {DECISIONS} says why: "
                        f"add {'images of it, or remove the class from the source' if of else 'whole images'}")
    for split in ("val", "test"):
        before, after = (any(row["split"] == split for row in some) for some in (rows, kept))
        if before and not after:
            raise Fault(f"{RAW}: no {split} image is fit for use; {DECISIONS} says why: add whole images, or remove "
                        f"the folder, and {split} is drawn from train")


def _counts(rows: list[Row], kept: list[Row], findings: list[Row], labels: ModuleType) -> dict:
    issues = Counter(finding["issue"] for finding in findings)
    per_split = defaultdict(Counter)
    for row in kept:
        per_split[row["split"] or "undivided"][labels.stratum(row) or "all"] += 1
    return {
        "images": {"found": len(rows), "kept": len(kept), "dropped": len(rows) - len(kept)},
        "findings": {rule: issues[rule] for rule in (*RULES, *labels.ISSUES)},
        **{split: dict(sorted(per_split[split].items())) for split in sorted(per_split)},
    }


if __name__ == "__main__":
    faults.run(main)
