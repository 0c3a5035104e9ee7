"""Decides which images are fit for use. Raw data is never changed, and images are opened for the pictures only.

reads   data/scan.csv, data/thumbnails.npy, data/source/overrides.csv if it exists, data/raw.zip
writes  data/manifest.csv (a row per kept image), data/decisions.csv (a row per finding, and per file of raw.zip that is
        no image), metrics/data.json (counts), plots/data/*.png
`python -m stages.clean --explain PATH` prints what was decided on one file, and why, and writes nothing.
"""

import argparse
import difflib
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

import numpy as np

from stages.cleaning import exact_rules, figures, groups, heuristic_rules, near_duplicates, overrides
from stages.cleaning.decide import decide, out_of_fold_accuracy
from stages.cleaning.findings import HELD_OUT, REMOVED, CleanContext, CleanParams, Finding, Row
from stages.cleaning.pixel_shares import pixel_shares
from stages.core import errors, files, params, plugins, workdir
from stages.core.errors import UserError, printable
from stages.data import leftover
from stages.data.archive import RAW, Raw
from stages.data.sample import target_files

SCAN, THUMBNAILS = Path("data/scan.csv"), Path("data/thumbnails.npy")
MANIFEST, DECISIONS, METRICS = Path("data/manifest.csv"), Path("data/decisions.csv"), Path("metrics/data.json")
PLOTS = Path("plots/data")
COLUMNS = ("path", "split", "source_split", "group", "target", "width", "height", "bytes", "sha256", "pixels")
DECISION = ("path", "sha256", "split", "label", "issue", "score", "threshold", "action", "keeper", "reason")
UNDIVIDED = "undivided"  # images of a source without splits
SPLITS = (UNDIVIDED, "train", "val", "test", "unlabelled")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.clean", description="Decide which images are fit for use.")
    parser.add_argument("--explain", metavar="PATH", help="print what was decided on this file of raw.zip, and why")
    path = parser.parse_args().explain
    clean() if path is None else print(*map(printable, explanation(path).split("\n")), sep="\n")


@workdir.lock("clean")
def clean() -> None:
    policy = params.load("clean", CleanParams)
    labels = plugins.module("tasks/*/labels", params.load_word("data.task"), "data.task")
    has_classes, rows = not labels.shape((1, 1)), files.read_csv(SCAN, COLUMNS)
    decided = overrides.read(relabels=has_classes)
    context = CleanContext(
        policy, decided, {"unreadable": "unreadable", **labels.ISSUES},
        similar_images(rows, decided, policy.near_likeness), out_of_fold_accuracy(rows), labels.stratum,
        {row["target"] for row in rows if row["target"]} if has_classes else ())
    kept, findings = decide(rows, context)
    skipped = _skipped(rows)
    files.write_csv(DECISIONS, DECISION, [*map(_decision, findings), *map(_skipped_decision, skipped)])
    _check([row for row in rows if row["path"] not in context.overrides], kept, findings, labels.stratum)
    if not HELD_OUT.keys() <= {row["split"] for row in kept}:  # split will draw what is missing
        kept = groups.grouped(kept, context.similar)
    files.write_csv(MANIFEST, COLUMNS, ({name: row[name] for name in COLUMNS} for row in kept))
    before, after = (_per_class(some, labels.stratum) for some in (rows, kept))
    issues = (*exact_rules.ISSUES, *labels.ISSUES, *heuristic_rules.ISSUES, "override")
    counts = _counts(rows, kept, findings, issues, context.accuracy)
    in_groups = {"groups": groups.counted(kept)} if any(row["group"] for row in kept) else {}
    skipped_files = {"skipped": leftover.counts(skipped)} if skipped else {}
    files.write_json(METRICS, counts | skipped_files | {"before": before, "after": after} | in_groups)
    balance, unit = (before, after), "images"
    if not has_classes:
        unit = "% of the pixels"
        with Raw() as raw:
            balance = pixel_shares(rows, {row["path"] for row in kept}, labels, raw.read, _split)
    are_telling = context.accuracy is None or context.accuracy >= policy.min_accuracy  # doubts about labels
    shown = [finding for finding in findings if are_telling or finding.issue != "label_suspect"]
    figures.draw(rows, shown, *balance, unit, PLOTS)
    together = f"; {len({row['group'] for row in kept} - {''})} groups that split keeps whole" if in_groups else ""
    print(f"clean: {len(rows)} images, {len(rows) - len(kept)} taken out, {len(findings)} findings in {DECISIONS}"
          f"{together}", file=sys.stderr)


def similar_images(rows: Sequence[Row], decided: Collection[str], threshold: float) -> list[tuple[str, str, float]]:
    """Pairs of similar images by their `pixels`, with their similarity: enough to connect all that are alike.

    decided: paths that the user has decided on. Images that others give way to come first, since in a crowd of similar
    ones the first stand for the others. Of exact copies one is compared.
    """
    first = {}  # pixels → row number
    for number, row in sorted(enumerate(rows), key=lambda item: heuristic_rules.keeper_rank(item[1], decided)):
        if row["pixels"]:
            first.setdefault(row["pixels"], number)
    pixels, numbers = list(first), list(first.values())
    hashes, mirrors = (np.array([int(rows[number][name], 16) for number in numbers], np.uint64)
                       for name in ("hash", "mirror"))
    thumbnails = files.read_array(THUMBNAILS, "uint8", 4)[numbers]
    links = near_duplicates.links(hashes, mirrors, thumbnails, threshold)
    return [(pixels[one], pixels[other], similarity)
            for one, other, similarity in zip(*(column.tolist() for column in links), strict=True)]


def explanation(path: str) -> str:
    """What was decided on one file, in lines. Raises UserError for a path that is not in scan.csv."""
    scan, decisions = map(files.read_csv, (SCAN, DECISIONS))
    manifest = files.read_csv(MANIFEST) if MANIFEST.exists() else []  # clean may have stopped with an error
    row = next((row for row in scan if row["path"] == path), None)
    findings = [f"  {_sentence(row)}" for row in decisions if row["path"] == path] or ["  nothing was found about it"]
    if not row and any(row["path"] == path for row in decisions):
        return "\n".join([f"{path}: not in use", *findings])
    if not row:
        near = difflib.get_close_matches(path, [row["path"] for row in scan], 1)
        raise UserError(f"{path!r} is no file that {SCAN} knows" + (f"; is it {near[0]!r}?" if near else ""))
    kept = next((row for row in manifest if row["path"] == path), None)
    use = f"in use as {kept['target']}".removesuffix(" as ") if kept else "not in use"
    form = f"{row['format']}, mode {row['mode']}, {row['width']}×{row['height']} pixels, " if row["pixels"] else ""
    others = [f"{row['path']} ({row['issue'].replace('_', ' ')}, {row['action']})" for row in decisions
              if row["keeper"] == path]
    return "\n".join([
        f"{path}: {use}",
        f"  found in {row['split'] or 'the set'}, labelled {row['target'] or 'nothing'}; {form}{row['bytes']} bytes",
        *findings, *([f"  what points to it: {', '.join(others)}"] if others else []),
        f"  to decide otherwise, name it in {overrides.FILE}, with {', '.join(overrides.ACTIONS)}"])


def _sentence(row: Row) -> str:
    """One row of decisions.csv for a person."""
    threshold = f", threshold {row['threshold']}" if row["threshold"] else ""
    score = f" (score {row['score']}{threshold})" if row["score"] else ""
    other = f"; the other image: {row['keeper']}" if row["keeper"] else ""
    return f"{row['issue'].replace('_', ' ')}: {row['action']}; {row['reason']}{score}{other}"


def _decision(finding: Finding) -> dict[str, object]:
    """A row of decisions.csv."""
    row = finding._asdict() | {name: finding.row[name] for name in ("path", "sha256", "split")}
    row |= {name: "" if row[name] is None else f"{row[name]:.4g}" for name in ("score", "threshold")}
    return {name: row[name] for name in DECISION} | {"label": finding.row["target"]}


def _skipped(rows: Sequence[Row]) -> list[str]:
    """The files of the archive that the scan has not looked at, and that are no masks."""
    with Raw() as raw:
        return leftover.unused(raw.namelist(), [
            name for row in rows for name in (row["path"], *target_files(row["target"]))])


def _skipped_decision(name: str) -> dict[str, object]:
    """The row of decisions.csv of a file that is no image."""
    return dict.fromkeys(DECISION, "") | {"path": name, "issue": "no_image", "action": "skipped",
                                          "reason": leftover.reason(name)}


def _check(rows: Sequence[Row], kept: Sequence[Row], findings: Sequence[Finding],
           stratum: Callable[[Row], str]) -> None:
    """Raises UserError if nothing is left of the set, a class or a split, which training would lack unnoticed."""
    if not kept:
        first = next(finding for finding in findings if finding.action in REMOVED)
        raise UserError(f"{RAW}: none of its {len(rows)} images can be used; {DECISIONS} lists them (first "
                        f"{first.row['path']!r}: {first.reason}): replace them by whole files")
    before, after = ({(row["split"], stratum(row)) for row in some} for some in (rows, kept))
    for split in ("train", ""):
        if lost := sorted(name for of, name in before - after if of == split):
            name = f" of class {lost[0]!r}" if lost[0] else ""
            raise UserError(f"{RAW}: no training image{name} is fit for use; {DECISIONS} says why: "
                            f"add {'images of it, or remove the class from the source' if name else 'whole images'}")
    for split in ("val", "test"):
        if split in {of for of, _ in before} - {of for of, _ in after}:
            raise UserError(f"{RAW}: no {split} image is fit for use; {DECISIONS} says why: add whole images, or "
                            f"remove the folder, and {split} is drawn from train")


def _per_class(rows: Iterable[Row], stratum: Callable[[Row], str]) -> dict[str, dict[str, int]]:
    """Split → class → number of images."""
    counts = sorted(Counter((_split(row), stratum(row) or "all") for row in rows).items())
    splits = {split: {name: count for (of, name), count in counts if of == split} for split in SPLITS}
    return {split: classes for split, classes in splits.items() if classes}


def _split(row: Row) -> str:
    return row["split"] or UNDIVIDED


def _counts(rows: Sequence[Row], kept: Sequence[Row], findings: Sequence[Finding], issues: Iterable[str],
            accuracy: float | None) -> dict[str, dict]:
    reported = Counter(finding.issue for finding in findings)
    acted_on = Counter(finding.issue for finding in findings if finding.action != "kept")
    checked = sum(bool(row["predicted"]) for row in rows)
    return {
        "images": {"found": len(rows), "kept": len(kept), "dropped": len(rows) - len(kept)},
        "findings": {issue: reported[issue] for issue in issues},
        "acted_on": {issue: acted_on[issue] for issue in issues if acted_on[issue]},
        **({"labels": {"judged": checked, "out_of_fold_accuracy": round(accuracy, 2)}} if checked else {}),
    }


if __name__ == "__main__":
    errors.run(main)
