"""Made-up predictions of classifiers and segmenters, for tests of what is scored and drawn."""

import numpy as np

from stages.data.prepared import IGNORED, UNLABELLED
from stages.tasks.classification import scores as class_scores
from stages.tasks.segmentation import scores as mask_scores


def classified(probabilities: list[list[float]], targets: list[int]) -> class_scores.Predictions:
    return class_scores.Predictions(np.log(np.array(probabilities, np.float32)), np.array(targets))


ANIMALS = ["ape", "bee", "cat, big"]
THREE = classified([[0.8, 0.1, 0.1], [0.3, 0.5, 0.2], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]], [0, 1, 0, 1])  # no cat

PLACES = ["sea", "land", "boat", "gull, far"]


def onehot(maps: np.ndarray, sure: float = 4.0, classes: int = len(PLACES)) -> np.ndarray:
    """Integers (N,H,W) → logits (N,C,H,W) that predict just that."""
    return sure * (maps[:, None] == np.arange(classes)[:, None, None]).astype(np.float32)


def segmented(logits: np.ndarray, targets: np.ndarray, batch: int = 2) -> mask_scores.Predictions:
    """Each square (N,C,S,S) is a picture of its own."""
    batches = ((logits[start:start + batch], targets[start:start + batch]) for start in range(0, len(logits), batch))
    places = np.array([(number, 0, 0, *targets.shape[1:]) for number in range(len(targets))], np.int32)
    return mask_scores.collect(batches, places)


def random_masks(seed: int, pictures: int = 5, side: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are often right, and targets that lack class 3 and are partly ignored."""
    random = np.random.default_rng(seed)
    targets = np.random.default_rng(0).integers(0, 3, (pictures, side, side)).astype(np.int16)
    logits = random.normal(size=(pictures, 4, side, side)).astype(np.float32) + onehot(targets, 1.5)
    targets[:, :2], targets[:, 2, :5] = IGNORED, UNLABELLED
    return logits, targets
