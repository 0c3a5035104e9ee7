"""Does predict.py, as a user runs it, say of the original files what the prepared arrays give? In: a `Subject`."""

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from stages.core.errors import UserError
from stages.data import tiling
from stages.deployment.checks import CheckResult, ModelUnderTest, Picture, power_of_ten_above

RAW = Path("data/raw.zip")
PREDICT = Path(__file__).resolve().parents[2] / "predict.py"
CLOSE = 1e-4  # of a probability; predict.py writes six decimals
SAME = 99.9  # % of a mask's pixels: where two classes tie, either may be named
ANSWERS, MASKS = "answers.jsonl", "masks"


def same_as_prepared(subject: ModelUnderTest, folder: Path) -> CheckResult:
    """The answers to the sample's original files, predict.py and the model being alone in `folder`."""
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    folder.mkdir(parents=True)
    for path in (PREDICT, subject.path):
        shutil.copyfile(path, folder / path.name)
    names = {}
    with zipfile.ZipFile(RAW) as raw:
        for number, picture in enumerate(subject.sample.pictures):
            # Numbered: the source's own names may be hidden ones, or meet where folders fall away.
            (folder / f"{number:06}").write_bytes(raw.read(picture.path))
            names[f"{number:06}"] = picture
    answers = _asked(subject, list(names), folder)
    if [record["path"] for record in answers] != list(names):
        return CheckResult(False, f"predict.py gives {len(answers)} answers to {len(names)} files", {})
    answered = [(names[record["path"]], record) for record in answers]
    return _same_masks(subject, answered, folder) if subject.sample.shape else _same_classes(subject, answered)


def _asked(subject: ModelUnderTest, names: list[str], folder: Path) -> list[dict]:
    """Its records. Raises UserError where it fails.

    Paths on stdin are tried whatever they end in: a picture's own name may end in .pdf.
    """
    own = ["--masks", MASKS] if subject.sample.shape else ["--topk", str(len(subject.model.card.classes))]
    done = subprocess.run([sys.executable, PREDICT.name, "-", "--model", subject.path.name, "--format", "jsonl",
                           "--output", ANSWERS, *own], cwd=folder, capture_output=True, encoding="utf-8",
                          errors="replace", input="\n".join(names))
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["and said nothing"]
        raise UserError(f"predict.py ended with status {done.returncode}: {said[-1][:300]}")
    return [json.loads(text) for text in (folder / ANSWERS).read_text(encoding="utf-8").splitlines()]


def _same_classes(subject: ModelUnderTest, answered: Iterable[tuple[Picture, dict]]) -> CheckResult:
    """Every class's probability; and the one named first is the likeliest."""
    classes, error, count = subject.model.card.classes, 0.0, 0
    for picture, record in answered:
        named = {entry["class"]: entry["probability"] for entry in record["top"]}
        if set(named) != set(classes):
            return CheckResult(False, f"predict.py names other classes than the file's for {picture.path!r}", {})
        right = _probabilities(subject.model(subject.sample.take(picture.rows))[0])
        off = max(abs(named[name] - value) for name, value in zip(classes, right, strict=True))
        first = record["top"][0]["class"]
        if off > CLOSE or right.max() - right[classes.index(first)] > CLOSE:
            return CheckResult(False, f"predict.py says {first!r}, {named[first]:.4f}, of {picture.path!r}, and from the "
                                  f"prepared image it is {classes[right.argmax()]!r}, {right.max():.4f}: "
                                  f"probabilities differ by {off:.1e} (at most {CLOSE:g})", {})
        error, count = max(error, off), count + 1
    return CheckResult(True, f"{count} original files; probabilities differ from the prepared images' by {error:.1e} (at "
                         f"most {CLOSE:g})", {"images": count, "error_below": power_of_ten_above(error)})


def _same_masks(subject: ModelUnderTest, answered: Iterable[tuple[Picture, dict]], folder: Path) -> CheckResult:
    """Every pixel's class, and each class's share of the picture."""
    worst, count = 100.0, 0
    for picture, record in answered:
        right = _mask(subject, picture)
        with Image.open(folder / record["mask"]) as file:
            mask = np.asarray(file)
        rows, columns = _nearest(mask.shape, right.shape, subject.model.card.resize == "crop")
        seen = np.ix_(rows >= 0, columns >= 0)
        same = 100 * float(np.mean(mask[seen] == right[np.ix_(rows[rows >= 0], columns[columns >= 0])]))
        named = {entry["class"]: entry["share"] for entry in record["shares"]}
        shares = 100 * np.bincount(right.ravel(), minlength=len(subject.model.card.classes)) / right.size
        off = max(abs(named.get(name, 0) - share)
                  for name, share in zip(subject.model.card.classes, shares, strict=True))
        if same < SAME or off > 100 - SAME:
            return CheckResult(False, f"predict.py's mask of {picture.path!r} has {same:.2f} % of its pixels as the "
                                  f"prepared squares give them (at least {SAME:g} %), and shares {off:.2f} points off",
                           {})
        worst, count = min(worst, same), count + 1
    return CheckResult(True, f"{count} original files; at least {worst:.2f} % of a mask's pixels are as the prepared "
                         f"squares give them (no less than {SAME:g} %)", {"images": count, "percent": round(worst, 2)})


def _mask(subject: ModelUnderTest, picture: Picture) -> np.ndarray:
    """Integers (H,W): a class a pixel, at the size that the model saw."""
    logits = np.concatenate([subject.model(images) for images in subject.sample.batches(picture.rows)])
    return tiling.blend(subject.sample.windows[picture.rows], logits).argmax(0)


def _nearest(shape: tuple[int, int], seen: tuple[int, int], crop: bool) -> Iterator[np.ndarray]:
    """For each row, then for each column, of a picture: that of what the model saw; -1 where it saw nothing."""
    for length, there in zip(shape, seen, strict=True):
        side = min(shape) if crop else length
        at = np.floor((np.arange(length) + 0.5 - (length - side) / 2) * there / side).astype(int)
        yield np.where((at >= 0) & (at < there), at, -1)


def _probabilities(logits: np.ndarray) -> np.ndarray:
    """(C,) → (C,)."""
    powers = np.exp(logits.astype(np.float64) - logits.max())
    return powers / powers.sum()
