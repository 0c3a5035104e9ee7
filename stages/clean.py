"""Decides which images are fit for use; raw data is never changed, and no image is opened but for the pictures.

reads   data/scan.csv, data/thumbnails.npy, data/source/overrides.csv where there is one, data/raw.zip
writes  data/manifest.csv (a row a kept sample), data/decisions.csv (a row a finding), metrics/data.json (the counts),
        plots/data/*.png
`python -m stages.clean --explain PATH` prints what was decided on one file, and why, and writes nothing.
"""

import argparse
import difflib
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from stages.cleaning import exact_rules, figures, heuristic_rules, near_duplicates, overrides
from stages.cleaning.decide import decide, judged_accuracy
from stages.cleaning.exact_rules import RAW
from stages.cleaning.findings import GONE, CleanContext, CleanParams, Finding, Row
from stages.core import errors, files, params, plugins
from stages.core.errors import UserError

SCAN, THUMBNAILS = Path("data/scan.csv"), Path("data/thumbnails.npy")
MANIFEST, DECISIONS, METRICS = Path("data/manifest.csv"), Path("data/decisions.csv"), Path("metrics/data.json")
PLOTS = Path("plots/data")
COLUMNS = ("path", "split", "source_split", "group", "target", "width", "height", "bytes", "sha256", "pixels")
DECISION = ("path", "sha256", "split", "label", "issue", "score", "threshold", "action", "keeper", "reason")
UNDIVIDED = "undivided"  # images of no split yet: their source has none
SPLITS = (UNDIVIDED, "train", "val", "test", "unlabelled")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.clean", description="Decide which images are fit for use.")
    parser.add_argument("--explain", metavar="PATH", help="print what was decided on this file of raw.zip, and why")
    path = parser.parse_args().explain
    clean() if path is None else print(explained(path))


def clean() -> None:
    policy = params.load("clean", CleanParams)
    labels = plugins.module("tasks/*/labels", params.load_word("data.task"), "data.task")
    rows = files.read_csv(SCAN)
    case = CleanContext(policy, overrides.read(relabels=not labels.shape(1)),
                {"unreadable": "unreadable", **labels.ISSUES}, alike(rows, policy.near_likeness),
                judged_accuracy(rows), labels.stratum,
                () if labels.shape(1) else {row["target"] for row in rows if row["target"]})
    kept, findings = decide(rows, case)
    files.write_csv(DECISIONS, DECISION, map(_decision, findings))
    _check([row for row in rows if row["path"] not in case.overrides], kept, findings, labels.stratum)
    files.write_csv(MANIFEST, COLUMNS, ({name: row[name] for name in COLUMNS} for row in kept))
    before, after = (_per_class(some, labels.stratum) for some in (rows, kept))
    files.write_json(METRICS, _counts(rows, kept, findings, (*exact_rules.ISSUES, *labels.ISSUES, *heuristic_rules.ISSUES),
                                       case.accuracy) | {"before": before, "after": after})
    figures.draw(rows, findings, before, after, PLOTS)
    print(f"clean: {len(rows)} images, {len(rows) - len(kept)} taken out, {len(findings)} findings in {DECISIONS}",
          file=sys.stderr)


def alike(rows: Sequence[Row], least: float) -> list[tuple[str, str, float]]:
    """The pixels, as scan.csv has them, of two pictures that are alike, and how much. Of copies one speaks for all."""
    one = {}
    for number, row in enumerate(rows):
        if row["pixels"]:
            one.setdefault(row["pixels"], number)
    pixels, numbers = list(one), list(one.values())
    hashes, mirrors = (np.array([int(rows[number][name], 16) for number in numbers], np.uint64)
                       for name in ("hash", "mirror"))
    found = near_duplicates.pairs(hashes, mirrors, np.load(THUMBNAILS, mmap_mode="r")[numbers], least)
    return [(pixels[first], pixels[second], score) for first, second, score in found]


def explained(path: str) -> str:
    """What was decided on one file, in lines. Raises UserError for a path that the scan hasn't seen."""
    try:
        scan, decisions = map(files.read_csv, (SCAN, DECISIONS))
        manifest = files.read_csv(MANIFEST) if MANIFEST.exists() else []  # none: clean has stopped, and said why
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing; run dvc repro clean to make it") from None
    seen = next((row for row in scan if row["path"] == path), None)
    if not seen:
        near = difflib.get_close_matches(path, [row["path"] for row in scan], 1)
        raise UserError(f"{path!r} is no file that {SCAN} knows" + (f"; is it {near[0]!r}?" if near else ""))
    kept = next((row for row in manifest if row["path"] == path), None)
    use = "in use" + (f" as {kept['target']}" if kept["target"] else "") if kept else "not in use"
    lines = [f"{path}: {use}",
             f"  found in {seen['split'] or 'the set'}, labelled {seen['target'] or 'nothing'}; " + _form(seen)]
    lines += [f"  {_sentence(row)}" for row in decisions if row["path"] == path] or ["  nothing was found about it"]
    also = [f"{row['path']} ({row['issue'].replace('_', ' ')}, {row['action']})" for row in decisions
            if row["keeper"] == path]
    lines += [f"  what points to it: {', '.join(also)}"] if also else []
    lines += [f"  to decide otherwise, name it in {overrides.FILE}, with {', '.join(overrides.ACTIONS)}"]
    return "\n".join(lines)


def _form(row: Row) -> str:
    if not row["pixels"]:
        return f"{row['bytes']} bytes"
    return f"{row['format']}, mode {row['mode']}, {row['width']}×{row['height']} pixels, {row['bytes']} bytes"


def _sentence(row: Row) -> str:
    score = f" (score {row['score']}" + (f", threshold {row['threshold']})" if row["threshold"] else ")")
    return (f"{row['issue'].replace('_', ' ')}: {row['action']}; {row['reason']}" + (score if row["score"] else "")
            + (f"; the other image: {row['keeper']}" if row["keeper"] else ""))


def _decision(found: Finding) -> dict[str, object]:
    """A row of decisions.csv."""
    row = {name: found.row[name] for name in ("path", "sha256", "split")} | {"label": found.row["target"]}
    row |= {name: getattr(found, name) for name in ("issue", "action", "keeper", "reason")}
    return row | {name: "" if value is None else f"{value:.4g}"
                  for name, value in (("score", found.score), ("threshold", found.threshold))}


def _check(rows: Sequence[Row], kept: Sequence[Row], findings: Sequence[Finding],
           stratum: Callable[[Row], str]) -> None:
    """Raises UserError where nothing, or nothing of a class, is left: better than to train without it, unnoticed."""
    if not kept:
        first = next(finding for finding in findings if finding.action in GONE)
        raise UserError(f"{RAW}: none of its {len(rows)} images can be used; {DECISIONS} lists them (first "
                    f"{first.row['path']!r}: {first.reason}): replace them by whole files")
    for split in ("train", ""):
        before, after = ({stratum(row) for row in some if row["split"] == split} for some in (rows, kept))
        if lost := sorted(before - after):
            of = f" of class {lost[0]!r}" if lost[0] else ""
            raise UserError(f"{RAW}: no training image{of} is fit for use; {DECISIONS} says why: "
                        f"add {'images of it, or remove the class from the source' if of else 'whole images'}")
    for split in ("val", "test"):
        before, after = (any(row["split"] == split for row in some) for some in (rows, kept))
        if before and not after:
            raise UserError(f"{RAW}: no {split} image is fit for use; {DECISIONS} says why: add whole images, or remove "
                        f"the folder, and {split} is drawn from train")


def _per_class(rows: Iterable[Row], stratum: Callable[[Row], str]) -> dict[str, dict[str, int]]:
    """How many images of each class each split has."""
    found = Counter((row["split"] or UNDIVIDED, stratum(row) or "all") for row in rows)
    splits = {split: {name: count for (of, name), count in sorted(found.items()) if of == split} for split in SPLITS}
    return {split: counts for split, counts in splits.items() if counts}


def _counts(rows: Sequence[Row], kept: Sequence[Row], findings: Sequence[Finding], issues: Iterable[str],
            accuracy: float | None) -> dict[str, dict]:
    found = Counter(finding.issue for finding in findings)
    acted = Counter(finding.issue for finding in findings if finding.action != "kept")
    judged = sum(bool(row["predicted"]) for row in rows)
    return {
        "images": {"found": len(rows), "kept": len(kept), "dropped": len(rows) - len(kept)},
        "findings": {issue: found[issue] for issue in (*issues, "override")},
        "acted_on": {issue: acted[issue] for issue in (*issues, "override") if acted[issue]},
        **({"labels": {"judged": judged, "out_of_fold_accuracy": round(accuracy, 2)}} if judged else {}),
    }


if __name__ == "__main__":
    errors.run(main)
