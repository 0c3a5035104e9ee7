"""How many of the faults planted in a set of images the cleaning finds, and what else it flags.

    python -m benchmarks.cleaning ARCHIVE FAULTS.csv [--params FILE] [--weights FILE]

FAULTS.csv, which the pipeline never gets: path, fault, folder_class, note (of a copy: the path of its original). Runs
fetch, scan and clean in a temporary folder. A fault counts as found if data/decisions.csv has a finding of its kind on
the image, or with it as the keeper, and for copies with the right original. Precision is over the findings of the kind;
pairs with an image that was planted as another kind of copy (darker, other format, …) count neither way.
Exit status 1 if a file planted as fine (ok_…) is dropped or misread.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from stages.core import errors, files
from stages.data.decode import decode
from stages.setup import presets

ROOT = Path(__file__).resolve().parents[1]
# The planted faults, and the issues of data/decisions.csv that each should be found as.
ISSUES = {
    "truncated": ("unreadable",), "empty": ("unreadable",), "not_an_image": ("unreadable",),
    "exact_duplicate": ("duplicate",), "leak_exact": ("leak",), "duplicate_conflicting_label": ("conflicting_label",),
    "near_duplicate": ("near_duplicate", "near_conflict"), "leak_near": ("near_leak",),
    "dark": ("dark",), "blurry": ("blurry",), "label_error": ("label_suspect",),
}
ALTERED = ("dark", "blurry", "ok_")  # copies of other images of the set
PIXELS_C = 0.03  # of the logistic regression: the best of 0.0001 … 1 on the vehicles, so a fair baseline
MISREAD = 8.0  # mean difference from the original, of 255: JPEG and palettes differ by 2–3, a wrong reading by tens
Row = Mapping[str, str]


class Detection(NamedTuple):
    """How well one kind of fault was found. Findings count by whether they are of a planted image."""

    planted: list[str]  # paths
    missed: list[str]
    right: int
    uncounted: int
    wrong: list[Row]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cleaning", description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("faults", type=Path, help="CSV: path, fault, folder_class, note")
    parser.add_argument("--params", type=Path, help="used as params.yaml (default: the preset vehicles)")
    parser.add_argument("--weights", type=Path, help="of the backbone, if not in data/weights/")
    options = parser.parse_args()
    truth = files.read_csv(options.faults)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = options.params.read_text(encoding="utf-8") if options.params else presets.text("vehicles")
        params = run(folder, options.archive, text, options.weights)
        scan, decisions, manifest = (files.read_csv(folder / f"data/{table}.csv")
                                     for table in ("scan", "decisions", "manifest"))
        print_detections(detections(truth, scan, decisions))
        print_label_rankings(truth, scan, np.load(folder / "data/thumbnails.npy"), params["scan"])
        sys.exit(not print_fine(truth, decisions, {row["path"] for row in manifest}, folder / "data/raw.zip"))


def run(folder: Path, archive: Path, params: str, weights: Path | None) -> dict:
    """The stages up to clean. params: the text of params.yaml; returned parsed."""
    values = yaml.safe_load(params)
    (folder / "data/source").mkdir(parents=True)
    shutil.copytree(ROOT / "data/weights", folder / "data/weights")
    shutil.copyfile(archive, folder / "data/source" / values["data"]["source"])
    if weights:
        shutil.copyfile(weights, folder / "data/weights" / values["scan"]["weights"])
    (folder / "params.yaml").write_text(params, encoding="utf-8")
    for stage in ("fetch", "scan", "clean"):
        if subprocess.run([sys.executable, "-m", f"stages.{stage}"], cwd=folder,
                          env=os.environ | {"PYTHONPATH": str(ROOT)}).returncode:
            raise errors.UserError(f"{stage} failed")
    return values


def detections(truth: Sequence[Row], scan: Sequence[Row], decisions: Sequence[Row]) -> dict[str, Detection]:
    """A detection for each kind of fault that was planted."""
    pixels = {row["path"]: row["pixels"] for row in scan}  # hashes
    planted = {row["path"]: row for row in truth}

    def hits(finding: Row, issues: tuple[str, ...]) -> set[str]:
        """The planted images that a finding is right about."""
        pair = finding["path"], finding["keeper"]
        return {path for path, other in (pair, pair[::-1])
                if path in planted and ISSUES.get(planted[path]["fault"]) == issues
                and pixels.get(planted[path]["note"]) in (None, pixels.get(other))}

    def has_altered(finding: Row) -> bool:
        kinds = [planted[path]["fault"] for path in (finding["path"], finding["keeper"]) if path in planted]
        return bool(finding["keeper"]) and any(kind.startswith(ALTERED) for kind in kinds)

    result = {}
    for fault, issues in ISSUES.items():
        if not (paths := [row["path"] for row in truth if row["fault"] == fault]):
            continue
        findings = [(row, hits(row, issues)) for row in decisions if row["issue"] in issues]
        others = [row for row, hit in findings if not hit]
        wrong = [row for row in others if not has_altered(row)]
        missed = sorted(set(paths).difference(*(hit for _, hit in findings)))
        result[fault] = Detection(paths, missed, len(findings) - len(others), len(others) - len(wrong), wrong)
    return result


def print_detections(result: Mapping[str, Detection]) -> None:
    print(f"{'fault':<29}{'planted':>8}{'found':>7}{'recall':>8}{'precision':>12}{'right':>7}{'wrong':>7}{'aside':>7}")
    for fault, (planted, missed, right, uncounted, wrong) in result.items():
        found = len(planted) - len(missed)
        precision = f"{right / (right + len(wrong)):.3f}" if right or wrong else "–"
        print(f"{fault:<29}{len(planted):>8}{found:>7}{found / len(planted):>8.3f}{precision:>12}{right:>7}"
              f"{len(wrong):>7}{uncounted:>7}")
    for fault, detection in result.items():
        for path in detection.missed if fault != "label_error" else ():
            print(f"missed: {fault} {path}")
        for row in detection.wrong if fault.startswith(("near", "leak", "exact", "duplicate")) else ():
            print(f"not planted: {row['issue']} {row['path']} {row['keeper']} {row['score']}")


def pixel_scores(thumbnails: np.ndarray, labels: Sequence[str], groups: Sequence[str], folds: int,
                 seed: int) -> np.ndarray:
    """float (N,): out-of-fold probability of each label by a logistic regression on pixels.

    thumbnails: uint8 (N,32,32,3). groups: images of one group are in one fold.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    pixels = thumbnails.reshape(len(thumbnails), -1).astype(np.float32) / 255
    splits = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    _, classes = np.unique(labels, return_inverse=True)
    probabilities = cross_val_predict(LogisticRegression(C=PIXELS_C, max_iter=1000), pixels, classes, groups=groups,
                                      cv=splits, method="predict_proba")  # (N,C)
    return probabilities[np.arange(len(labels)), classes]


def print_label_rankings(truth: Sequence[Row], scan: Sequence[Row], thumbnails: np.ndarray, params: Mapping) -> None:
    """Rankings of wrong labels. Planted copies under another label are left out: their pixels give them away."""
    from sklearn.metrics import average_precision_score

    faults = {row["path"]: row["fault"] for row in truth}
    numbers = [number for number, row in enumerate(scan)
               if row["label_score"] and faults.get(row["path"]) != "duplicate_conflicting_label"]
    rows = [scan[number] for number in numbers]
    wrong = np.array([faults.get(row["path"]) == "label_error" for row in rows], bool)
    if not wrong.any():
        print("\nwrong labels: none planted among the images whose labels were checked")
        return
    scores = {"label_score of the scan": np.array([float(row["label_score"]) for row in rows]),
              "logistic regression on 32×32 pixels": pixel_scores(
                  thumbnails[numbers], [row["target"] for row in rows], [row["pixels"] for row in rows],
                  params["folds"], params["seed"])}
    accuracy = np.mean([row["predicted"] == row["target"] for row in rows])
    print(f"\nwrong labels: {wrong.sum()} among {len(rows)} checked; out-of-fold accuracy {100 * accuracy:.1f} %")
    print(f"{'ranked by':<38}{'average precision':>18}{f'of the first {wrong.sum()}':>18}")
    for name, score in scores.items():
        first = wrong[np.argsort(score, kind="stable")[:wrong.sum()]].mean()
        print(f"{name:<38}{average_precision_score(wrong, 1 - score):>18.3f}{first:>18.3f}")
    print(f"{'chance (expected)':<38}{wrong.mean():>18.3f}{wrong.mean():>18.3f}")


def print_fine(truth: Sequence[Row], decisions: Sequence[Row], kept: set[str], raw: Path) -> bool:
    """Whether all files planted as fine are kept and decode to their originals (by their notes, else near copies)."""
    near = [row for row in decisions if row["issue"].startswith("near_")]
    near_copies = {row["keeper"]: row["path"] for row in near} | {row["path"]: row["keeper"] for row in near}
    print(f"\n{'file':<34}{'planted as':<18}{'kept':>5}{'off by':>8}   original")
    all_fine = True
    with zipfile.ZipFile(raw) as archive:
        for path, fault, note in ((row["path"], row["fault"], row["note"]) for row in truth):
            if not fault.startswith("ok_"):
                continue
            original = note if note in archive.namelist() else near_copies.get(path)
            off = difference(*(decode(archive.read(one)) for one in (path, original))) if original else np.inf
            all_fine &= path in kept and off <= MISREAD
            print(f"{path:<34}{fault:<18}{'yes' if path in kept else 'NO':>5}{off:>8.2f}   "
                  f"{original or 'unknown'}{'' if off <= MISREAD else ': MISREAD'}")
    return all_fine


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference of two images, uint8 (H,W,3), in levels; inf if sizes differ. If `one` is grey, in grey.
    """
    if one.shape != other.shape:
        return np.inf
    one, other = one.astype(float), other.astype(float)
    if (one == one[..., :1]).all():
        one, other = (image @ (0.299, 0.587, 0.114) for image in (one, other))
    return float(np.abs(one - other).mean())


if __name__ == "__main__":
    errors.run(main)
