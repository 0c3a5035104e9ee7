"""What the cleaning finds of the faults planted in a set of images, and what it invents.

    python -m benchmarks.cleaning ARCHIVE FAULTS.csv [--params FILE] [--weights FILE]

FAULTS.csv, which the pipeline never sees: path, fault, folder_class, note (of a copy: the path of its original).
fetch, scan and clean run in a folder of their own. A fault counts as found where data/decisions.csv has a finding of
its kind on the image, or with it as the keeper, and for copies with the right original. Precision is over the findings
of the kind; pairs with an image that was planted as another kind of copy (darker, other format, …) are set aside.
Exit status 1 if a file planted as fine (ok_…) is lost or misread.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from stages.core import files
from stages.data.decode import decode
from tools import preset

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("fetch", "scan", "clean")
# The planted faults, and the issues of data/decisions.csv by which each is found.
FINDS = {
    "truncated": ("unreadable",), "empty": ("unreadable",), "not_an_image": ("unreadable",),
    "exact_duplicate": ("duplicate",), "leak_exact": ("leak",), "duplicate_conflicting_label": ("conflicting_label",),
    "near_duplicate": ("near_duplicate", "near_conflict"), "leak_near": ("near_leak",),
    "dark": ("dark",), "blurry": ("blurry",), "label_error": ("label_suspect",),
}
ALTERED = ("dark", "blurry", "ok_")  # made from other pictures of the set: pairs with them are neither right nor wrong
PIXELS_C = 0.03  # of the logistic regression: the best of 0.0001 … 1 for ranking the vehicles, so no easy opponent
MISREAD = 8.0  # levels of 255 from the original on average: JPEG and palettes take 2–3, a wrong reading tens
Row = Mapping[str, str]


class Found(NamedTuple):
    """How well one fault was found."""

    planted: list[str]  # paths
    missed: list[str]
    right: int  # findings of its kind that are of a planted image
    aside: int  # of a pair with an altered copy
    wrong: list[Row]  # of none


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("faults", type=Path, help="CSV: path, fault, folder_class, note")
    parser.add_argument("--params", type=Path, help="used as params.yaml; otherwise the preset vehicles")
    parser.add_argument("--weights", type=Path, help="of the backbone, where it isn't in data/weights/")
    asked = parser.parse_args()
    truth = files.read_csv(asked.faults)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = asked.params.read_text(encoding="utf-8") if asked.params else preset.text("vehicles")
        params = run(folder, asked.archive, text, asked.weights)
        scan, decisions, manifest = (files.read_csv(folder / f"data/{table}.csv")
                                     for table in ("scan", "decisions", "manifest"))
        _print_faults(faults(truth, scan, decisions))
        print_labels(truth, scan, np.load(folder / "data/thumbnails.npy"), params["scan"])
        sys.exit(not _print_fine(truth, decisions, {row["path"] for row in manifest}, folder / "data/raw.zip"))


def run(folder: Path, archive: Path, params: str, weights: Path | None) -> dict:
    """The stages up to clean on this archive. params: the text of params.yaml; returned parsed."""
    values = yaml.safe_load(params)
    (folder / "data/source").mkdir(parents=True)
    shutil.copytree(ROOT / "data/weights", folder / "data/weights")
    shutil.copyfile(archive, folder / "data/source" / values["data"]["source"])
    if weights:
        shutil.copyfile(weights, folder / "data/weights" / values["scan"]["weights"])
    (folder / "params.yaml").write_text(params, encoding="utf-8")
    for stage in STAGES:
        if subprocess.run([sys.executable, "-m", f"stages.{stage}"], cwd=folder,
                          env=os.environ | {"PYTHONPATH": str(ROOT)}).returncode:
            sys.exit(f"cleaning: {stage} failed")
    return values


def faults(truth: Sequence[Row], scan: Sequence[Row], decisions: Sequence[Row]) -> dict[str, Found]:
    """Each fault that was planted, and how well it was found."""
    pixels = {row["path"]: row["pixels"] for row in scan}
    planted = {row["path"]: row for row in truth}
    result = {}
    for fault, issues in FINDS.items():
        findings = [row for row in decisions if row["issue"] in issues]
        hits = {id(finding): set(_hits(finding, planted, pixels, issues)) for finding in findings}
        paths = [row["path"] for row in truth if row["fault"] == fault]
        missed = sorted(set(paths) - set().union(*hits.values()))
        rest = [finding for finding in findings if not hits[id(finding)]]
        wrong = [finding for finding in rest if not _altered(finding, planted)]
        if paths:
            result[fault] = Found(paths, missed, len(findings) - len(rest), len(rest) - len(wrong), wrong)
    return result


def average_precision(score: np.ndarray, positive: np.ndarray) -> float:
    """Of a ranking by `score`, highest first. float (N,), bool (N,)."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(positive, score))


def pixel_scores(thumbnails: np.ndarray, labels: Sequence[str], groups: Sequence[str], folds: int,
                 seed: int) -> np.ndarray:
    """float (N,): how probable each label is to a logistic regression on pixels that hasn't seen the image.

    thumbnails: uint8 (N,32,32,3). groups: images that are never in different folds.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    pixels = thumbnails.reshape(len(thumbnails), -1).astype(np.float32) / 255
    parts = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    _, numbers = np.unique(labels, return_inverse=True)
    classifier = LogisticRegression(C=PIXELS_C, max_iter=1000)
    chances = cross_val_predict(classifier, pixels, numbers, groups=groups, cv=parts, method="predict_proba")  # (N,C)
    return chances[np.arange(len(labels)), numbers]


def print_labels(truth: Sequence[Row], scan: Sequence[Row], thumbnails: np.ndarray, params: Mapping) -> None:
    """The rankings of wrong labels. Planted copies under another label are left out: their pixels give them away."""
    kinds = {row["path"]: row["fault"] for row in truth}
    numbers = [number for number, row in enumerate(scan)
               if row["label_score"] and kinds.get(row["path"]) != "duplicate_conflicting_label"]
    rows = [scan[number] for number in numbers]
    wrong = np.array([kinds.get(row["path"]) == "label_error" for row in rows], bool)
    if not wrong.any():
        print("\nwrong labels: none planted among the images whose labels were judged")
        return
    scores = {"label_score of the scan": np.array([float(row["label_score"]) for row in rows]),
              "logistic regression on 32×32 pixels": pixel_scores(
                  thumbnails[numbers], [row["target"] for row in rows], [row["pixels"] for row in rows],
                  params["folds"], params["seed"])}
    foretold = np.mean([row["predicted"] == row["target"] for row in rows])
    print(f"\nwrong labels: {wrong.sum()} among {len(rows)} judged, {100 * foretold:.1f} % of the labels foretold")
    print(f"{'ranked by':<38}{'average precision':>18}{f'of the first {wrong.sum()}':>18}")
    for name, score in scores.items():
        first = wrong[np.argsort(score, kind="stable")[:wrong.sum()]].mean()
        print(f"{name:<38}{average_precision(1 - score, wrong):>18.3f}{first:>18.3f}")
    print(f"{'chance (expected)':<38}{wrong.mean():>18.3f}{wrong.mean():>18.3f}")


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference in levels of two images, uint8 (H,W,3); inf for two sizes. Grey is compared in grey."""
    if one.shape != other.shape:
        return np.inf
    one, other = one.astype(float), other.astype(float)
    if (one == one[..., :1]).all():
        one, other = (some @ (0.299, 0.587, 0.114) for some in (one, other))
    return float(np.abs(one - other).mean())


def _hits(finding: Row, planted: Mapping[str, Row], pixels: Mapping[str, str],
          issues: tuple[str, ...]) -> Iterator[str]:
    """The planted images that a finding is right about."""
    for path, other in ((finding["path"], finding["keeper"]), (finding["keeper"], finding["path"])):
        row = planted.get(path)
        if row and FINDS.get(row["fault"]) == issues:
            original = pixels.get(row["note"])
            if original is None or pixels.get(other) == original:
                yield path


def _altered(finding: Row, planted: Mapping[str, Row]) -> bool:
    kinds = [planted[path]["fault"] for path in (finding["path"], finding["keeper"]) if path in planted]
    return bool(finding["keeper"]) and any(kind.startswith(ALTERED) for kind in kinds)


def _print_faults(result: Mapping[str, Found]) -> None:
    print(f"{'fault':<29}{'planted':>8}{'found':>7}{'recall':>8}{'precision':>12}{'right':>7}{'wrong':>7}{'aside':>7}")
    for fault, found in result.items():
        planted, hit = len(found.planted), len(found.planted) - len(found.missed)
        told = found.right + len(found.wrong)
        precision = f"{found.right / told:.3f}" if told else "–"
        print(f"{fault:<29}{planted:>8}{hit:>7}{hit / planted:>8.3f}{precision:>12}{found.right:>7}"
              f"{len(found.wrong):>7}{found.aside:>7}")
    for fault, found in result.items():
        for path in found.missed if fault != "label_error" else ():
            print(f"missed: {fault} {path}")
        for row in found.wrong if fault.startswith(("near", "leak", "exact", "duplicate")) else ():
            print(f"not planted: {row['issue']} {row['path']} {row['keeper']} {row['score']}")


def _print_fine(truth: Sequence[Row], decisions: Sequence[Row], kept: set[str], raw: Path) -> bool:
    """Whether all files planted as fine are kept, and read as their originals are: their notes', or the likest's."""
    near = [row for row in decisions if row["issue"].startswith("near_")]
    likest = {row["keeper"]: row["path"] for row in near} | {row["path"]: row["keeper"] for row in near}
    print(f"\n{'file':<34}{'planted as':<18}{'kept':>5}{'off by':>8}   original")
    fine = True
    with zipfile.ZipFile(raw) as archive:
        for path, fault, note in ((row["path"], row["fault"], row["note"]) for row in truth):
            if not fault.startswith("ok_"):
                continue
            original = note if note in archive.namelist() else likest.get(path)
            off = difference(*(decode(archive.read(some)) for some in (path, original))) if original else np.inf
            fine &= path in kept and off <= MISREAD
            print(f"{path:<34}{fault:<18}{'yes' if path in kept else 'NO':>5}{off:>8.2f}   "
                  f"{original or 'unknown'}{'' if off <= MISREAD else ': MISREAD'}")
    return fine


if __name__ == "__main__":
    main()
