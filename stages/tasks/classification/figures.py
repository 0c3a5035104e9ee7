"""Tables and figures of a classifier's predictions for the test split. In: each model's predictions. Out: CSVs, PNGs.

plots/test    confusion/<model>.csv, classes.csv, reliability/<model>.csv, precision_recall/<model>.csv, confused.csv,
              confusion.png, reliability.png, precision_recall.png, classes.png
data/confused pairs.png: test images of the classes most often confused, kept from git with the rest of the data

confusion.png and the confused pairs are the last model's.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from stages.core import files
from stages.evaluation import confusion, figures
from stages.evaluation.lettering import chart_names

EXAMPLES = 8  # images of a pair


def draw(models: Mapping, scores, classes: list[str], bins: int, images: Callable[[int], np.ndarray],
         folder: Path, confused_folder: Path) -> None:
    """models: name → Predictions of `scores`, the module beside this. images: a test image's number → uint8 (H,W,3).
    folder: of all but the examples, which go to `confused_folder`.
    """
    last = list(models.values())[-1]
    pairs = figures.draw(models, scores, classes, bins, folder, unit="images", step=1, columns=confusion.AVERAGED,
                         title=f"{len(last.targets)} test images right", cell=lambda images, share: str(images))
    figures.class_bars(models, classes, folder / "classes.png")
    _draw_confused(pairs, last, classes, images, confused_folder)


def _draw_confused(pairs: Sequence[confusion.Pair], predictions, classes: list[str],
                   images: Callable[[int], np.ndarray], folder: Path) -> None:
    """A row for each pair: the images about which the model was surest."""
    if not pairs:
        with files.atomic_write(folder / "none.txt") as file:
            file.write("No test image is taken for one of another class.\n")
        return
    rows, names = [], chart_names(classes)
    for pair in pairs:
        numbers = np.flatnonzero((predictions.targets == pair.actual) & (predictions.predicted == pair.predicted))
        surest = numbers[np.argsort(-predictions.confidence[numbers], kind="stable")[:EXAMPLES]]
        title = (f"{names[pair.actual]} → {names[pair.predicted]}: {pair.count} image{'s' * (pair.count > 1)}, "
                 f"{pair.percent:.1f} % of {names[pair.actual]}")
        rows.append((title, [images(number) for number in surest.tolist()]))
    figures.examples(rows, folder / "pairs.png")
