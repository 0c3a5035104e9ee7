"""Whether predict.py, run as a user runs it on the original files, answers as the model does on the prepared arrays."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.special import softmax

from stages.core.device import thread_count
from stages.core.errors import UserError
from stages.data import tiling
from stages.data.archive import Raw
from stages.deployment.checks import CheckResult, ModelUnderTest, Picture, power_of_ten_above

PREDICT = Path(__file__).resolve().parents[2] / "predict.py"
MAX_DIFFERENCE = 1e-4  # of a probability; predict.py writes six decimals
MIN_AGREEMENT = 99.9  # % of a mask's pixels: where two classes tie, either may be named
RECORDS, MASKS = "answers.jsonl", "masks"


def same_as_prepared(subject: ModelUnderTest, folder: Path) -> CheckResult:
    """Compares the answers to the sample's original files. predict.py and the model are alone in `folder`."""
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    folder.mkdir(parents=True)
    for path in (PREDICT, subject.path):
        shutil.copyfile(path, folder / path.name)
    pictures = {}
    with Raw() as raw:
        for number, picture in enumerate(subject.sample.pictures):
            # Numbered: the source's own names may be hidden ones, or the same in two folders.
            (folder / f"{number:06}").write_bytes(raw.read(picture.path))
            pictures[f"{number:06}"] = picture
    records = _run_predict(subject, list(pictures), folder)
    if [record["path"] for record in records] != list(pictures):
        return CheckResult(False, f"predict.py gives {len(records)} answers to {len(pictures)} files", {})
    answered = zip(pictures.values(), records, strict=True)
    return _same_masks(subject, answered, folder) if subject.sample.shape else _same_classes(subject, answered)


def _run_predict(subject: ModelUnderTest, names: list[str], folder: Path) -> list[dict]:
    """Its records. Raises UserError where it fails.

    Paths on stdin are read whatever they end in: a picture's own name may end in .pdf.
    """
    options = ["--masks", MASKS] if subject.sample.shape else ["--topk", str(len(subject.model.card.classes))]
    # As many threads as the model here: float sums depend on them, and rounding may move a value by a step of int8.
    options += ["--threads", str(thread_count())]
    done = subprocess.run([sys.executable, PREDICT.name, "-", "--model", subject.path.name, "--format", "jsonl",
                           "--output", RECORDS, *options], cwd=folder, capture_output=True, encoding="utf-8",
                          errors="replace", input="\n".join(names))
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["and said nothing"]
        raise UserError(f"predict.py ended with status {done.returncode}: {lines[-1][:300]}")
    return [json.loads(text) for text in (folder / RECORDS).read_text(encoding="utf-8").splitlines()]


def _same_classes(subject: ModelUnderTest, answered: Iterable[tuple[Picture, dict]]) -> CheckResult:
    """Whether every class's probability is the same, and the one named first the likeliest."""
    classes, largest, count = subject.model.card.classes, 0.0, 0
    for picture, record in answered:
        given = {entry["class"]: entry["probability"] for entry in record["top"]}
        if set(given) != set(classes):
            return CheckResult(False, f"predict.py names other classes than the file's for {picture.path!r}", {})
        expected = softmax(subject.model(subject.sample.take(picture.rows))[0].astype(np.float64))
        difference = max(abs(given[name] - value) for name, value in zip(classes, expected, strict=True))
        first = record["top"][0]["class"]
        if max(difference, expected.max() - expected[classes.index(first)]) > MAX_DIFFERENCE:
            return CheckResult(False, f"predict.py says {first!r}, {given[first]:.4f}, of {picture.path!r}, and from "
                               f"the prepared image it is {classes[expected.argmax()]!r}, {expected.max():.4f}: "
                               f"probabilities differ by {difference:.1e} (at most {MAX_DIFFERENCE:g})", {})
        largest, count = max(largest, difference), count + 1
    return CheckResult(True, f"{count} original files; probabilities differ from the prepared images' by {largest:.1e} "
                       f"(at most {MAX_DIFFERENCE:g})", {"images": count, "error_below": power_of_ten_above(largest)})


def _same_masks(subject: ModelUnderTest, answered: Iterable[tuple[Picture, dict]], folder: Path) -> CheckResult:
    """Whether every pixel's class is the same, and each class's share of the picture."""
    lowest, count, card = 100.0, 0, subject.model.card
    for picture, record in answered:
        logits = np.concatenate([subject.model(images) for images in subject.sample.batches(picture.rows)])
        expected = tiling.blend(subject.sample.windows[picture.rows], logits).argmax(0)  # (H,W), as the model saw it
        with Image.open(folder / record["mask"]) as file:
            mask = np.asarray(file)
        rows, columns = _nearest(mask.shape, expected.shape, card.resize)
        inside = np.ix_(rows >= 0, columns >= 0)
        same = 100 * float(np.mean(mask[inside] == expected[np.ix_(rows[rows >= 0], columns[columns >= 0])]))
        given = {entry["class"]: entry["share"] for entry in record["shares"]}
        shares = 100 * np.bincount(expected.ravel(), minlength=len(card.classes)) / expected.size
        difference = max(abs(given.get(name, 0) - share) for name, share in zip(card.classes, shares, strict=True))
        if same < MIN_AGREEMENT or difference > 100 - MIN_AGREEMENT:
            return CheckResult(False, f"predict.py's mask of {picture.path!r} has {same:.2f} % of its pixels as the "
                               f"prepared tiles give them (at least {MIN_AGREEMENT:g} %), and shares "
                               f"{difference:.2f} points off", {})
        lowest, count = min(lowest, same), count + 1
    return CheckResult(True, f"{count} original files; at least {lowest:.2f} % of a mask's pixels are as the prepared "
                       f"tiles give them (no less than {MIN_AGREEMENT:g} %)",
                       {"images": count, "percent": round(lowest, 2)})


def _nearest(shape: tuple[int, int], shape_seen: tuple[int, int], resize: str) -> Iterator[np.ndarray]:
    """For each row, then for each column, of a picture: that of what the model saw; -1 where it saw nothing."""
    used = tiling.used_shape(*shape, tiling.Sizing(*shape_seen, resize, scale=1.0, overlap=0))
    for length, length_seen, side in zip(shape, shape_seen, used, strict=True):
        at = np.floor((np.arange(length) + 0.5 - (length - side) / 2) * length_seen / side).astype(int)
        yield np.where((at >= 0) & (at < length_seen), at, -1)
