"""Tables and figures of a segmenter's predictions for the test split. In: each model's predictions. Out: CSVs, PNGs.

plots/test    confusion/<model>.csv, classes.csv, reliability/<model>.csv, precision_recall/<model>.csv, confused.csv,
              confusion.png, classes.png, reliability.png, precision_recall.png, pictures.png
data/confused a note: pictures.png shows masks side by side

confusion.png and the confused pairs are the last model's.
"""

import math
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path

import numpy as np

from stages.core import files
from stages.data.prepared import evenly_spaced
from stages.evaluation import confusion, figures, plotting

SAMPLED = 5000  # pixels at most in the tables whose rows DVC's template counts
SHEET_IMAGES = 10  # test images on the sheet


def draw(models: Mapping, scores, classes: list[str], bins: int, images: Callable[[int], np.ndarray],
         folder: Path, confused_folder: Path) -> None:
    """models: name → Predictions of `scores`, the module beside this. images: a test image's number → uint8 (H,W,3).
    confused_folder: of the note.
    """
    first = next(iter(models.values()))
    figures.draw(models, scores, classes, bins, folder, unit="pixels", step=_sampling_step(int(first.confusion.sum())),
                 columns=(*confusion.AVERAGED, "iou"), title=f"pixels right,\n{len(first.masks)} test images",
                 cell=lambda pixels, share: f"{share:.0f}" if share >= 0.5 else "")
    figures.class_bars(models, classes, folder / "classes.png")
    numbers = evenly_spaced(len(first.masks), SHEET_IMAGES).tolist()
    notes = {model: [f"{100 * confusion.mean_iou(counts):.0f} %" if counts.any() else "" for counts in own.confusions]
             for model, own in models.items()}
    plotting.sheet(numbers, images, {"truth": first.masks} | {model: own.maps for model, own in models.items()},
                   notes, classes, folder / "pictures.png")
    with files.atomic_write(confused_folder / "none.txt") as file:
        file.write("plots/test/pictures.png shows what the models take for what.\n")


def _sampling_step(pixels: int) -> int:
    """How far apart to sample `pixels`: the least prime that leaves at most SAMPLED.

    A prime, since a step that divides the images' width would draw the same columns in every row.
    """
    return next(step for step in count(max(1, math.ceil(pixels / SAMPLED)))
                if all(step % part for part in range(2, math.isqrt(step) + 1)))
