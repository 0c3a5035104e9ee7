"""The judgement on labels, from what passes by. In: labelled images, one at a time. Out: columns of data/scan.csv.

Copies of one picture are one group: none is judged by a classifier that has learnt another.
"""

from collections import defaultdict
from collections.abc import Callable

import numpy as np

from stages.kit import features, suspects

COLUMNS = ("predicted", "label_score", "suspect")  # a class; 0–1, low is suspicious; 1 or empty. Empty: not judged
LEAST = 50  # images, below which there is no judgement
BATCH = 32  # images that a backbone sees at a time


class Labelled:
    """The labelled images seen so far. Of each no more stays in memory than its features need."""

    def __init__(self, backbone: Callable[[np.ndarray], np.ndarray] | None):
        """backbone: uint8 (B,size,size,3) → float32 (B,D); without one the thumbnails alone are judged by."""
        self.backbone = backbone
        self.numbers, self.targets, self.groups = [], [], []
        self.known, self.squares, self.features = {}, [], []

    def add(self, number: int, target: str, pixels: str, square: np.ndarray | None) -> None:
        """number: of the row. target: the class. pixels: what copies share. square: uint8 (size,size,3), or None."""
        self.numbers.append(number)
        self.targets.append(target)
        self.groups.append(self.known.setdefault(pixels, len(self.known)))
        if self.backbone:
            self.squares.append(square)
            if len(self.squares) == BATCH:
                self._see()

    def judged(self, thumbnails: np.ndarray, folds: int, seed: int) -> tuple[dict[int, dict[str, str]], str]:
        """COLUMNS by the rows' numbers, and a word on them. Classes of fewer pictures than `folds` are left out.

        thumbnails: uint8 (rows,32,32,3), of all rows.
        """
        pictures = defaultdict(set)
        for target, group in zip(self.targets, self.groups, strict=True):
            pictures[target].add(group)
        names = sorted(name for name, groups in pictures.items() if len(groups) >= folds)
        chosen = np.isin(self.targets, names)
        if len(names) < 2 or chosen.sum() < LEAST:
            return {}, (f"labels not judged: that takes two classes of {folds} different training images each, and "
                        f"{LEAST} images in all")
        numbers, groups = np.array(self.numbers)[chosen], np.array(self.groups)[chosen]
        labels = np.searchsorted(names, np.array(self.targets)[chosen])
        seen = features.pixel_features(thumbnails[numbers])
        if self.backbone:
            seen = np.hstack([self._seen()[chosen], seen])
        found = suspects.judge(seen, labels, groups, folds, seed)
        values = ((names[label], f"{score:.6f}", "1" if suspect else "") for label, score, suspect
                  in zip(found.predicted, found.score, found.suspect, strict=True))
        columns = {int(number): dict(zip(COLUMNS, row, strict=True))
                   for number, row in zip(numbers, values, strict=True)}
        left = f"; classes left out, of too few images: {len(pictures) - len(names)}" * (len(names) < len(pictures))
        return columns, (f"{100 * (found.predicted == labels).mean():.1f} % of {len(labels)} labels foretold from "
                         f"other images, {found.suspect.sum()} suspect{left}")

    def _seen(self) -> np.ndarray:
        """float32 (n,D): a backbone's features of the images added."""
        if self.squares:
            self._see()
        return np.concatenate(self.features)

    def _see(self) -> None:
        self.features.append(self.backbone(np.stack(self.squares)))
        self.squares = []
