"""Finds labels that look wrong. In: rows of data/scan.csv, features of their images. Out: further columns of it.

Out-of-fold probabilities of a classifier are compared with the labels by cleanlab. Copies of one image form a group:
no label is predicted by a classifier that was trained on a copy of the image.

The classifier is logistic regression on a radial kernel of the features, approximated by a few hundred columns so that
time and memory grow linearly with N. Kernel and columns use no labels. Williams and Seeger, "Using the Nyström Method
to Speed Up Kernel Machines", NIPS 2000.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from stages.cleaning import features

COLUMNS = ("predicted", "label_score", "suspect")  # a class; 0–1, low is suspicious; 1 or empty. Empty: not checked
MIN_IMAGES = 50  # with fewer, no label is checked
BATCH = 32  # images per call of the backbone
LANDMARKS = 500  # images that all images are compared with: the kernel's columns
GAMMA = 0.3  # of the kernel: exp(−0.3 · mean squared difference of standardised features)
PENALTY = 0.1  # on the squared weights
TOLERANCE = 1e-3  # of the largest gradient, at which the classifier is done, for up to 10 classes
ROUNDS = 2  # divisions into folds, whose probabilities are averaged
Row = Mapping[str, object]  # of data/scan.csv


class BatchedFeatures:
    """Features of images that arrive one at a time, computed in batches so that few images are in memory."""

    def __init__(self, backbone: Callable[[np.ndarray], np.ndarray]):
        """backbone: uint8 (B,size,size,3) → float32 (B,D)."""
        self.backbone, self.images, self.features = backbone, [], []

    def add(self, image: np.ndarray) -> None:
        """image: uint8 (size,size,3)."""
        self.images.append(image)
        if len(self.images) == BATCH:
            self._run()

    def result(self) -> np.ndarray:
        """float32 (N,D), of all images in the order of their arrival. At least one must have been added."""
        if self.images:
            self._run()
        return np.concatenate(self.features)

    def _run(self) -> None:
        self.features.append(self.backbone(np.stack(self.images)))
        self.images = []


def is_labelled_training(row: Row) -> bool:
    """Whether the image has a label and is in training, or has no split yet and may be drawn for training."""
    return row["split"] in ("train", "") and bool(row["target"])


def find_label_errors(rows: Sequence[Row], thumbnails: np.ndarray, deep: BatchedFeatures | None, folds: int,
                      seed: int) -> tuple[dict[int, dict[str, str]], str]:
    """COLUMNS by row number, and a summary. Labels of readable training images are checked, in classes of at least
    `folds` different images.

    thumbnails: uint8 (rows,32,32,3). deep: has been given those same images, in this order; None without a backbone.
    """
    numbers = np.array([number for number, row in enumerate(rows) if row["pixels"] and is_labelled_training(row)], int)
    targets, pixels = (np.array([rows[number][name] for number in numbers]) for name in ("target", "pixels"))
    names, labels = np.unique(targets, return_inverse=True)
    enough = np.array([len(set(pixels[labels == label])) >= folds for label in range(len(names))], bool)
    chosen = enough[labels]
    if enough.sum() < 2 or chosen.sum() < MIN_IMAGES:
        return {}, (f"labels not checked: that takes two classes of {folds} different training images each, and "
                    f"{MIN_IMAGES} images in all")
    inputs = features.pixel_features(thumbnails[numbers[chosen]])
    if deep:
        inputs = np.hstack([deep.result()[chosen], inputs])
    group_of = {value: group for group, value in enumerate(dict.fromkeys(pixels))}  # copies are one group
    result = score_labels(inputs, labels[chosen], np.array([group_of[value] for value in pixels[chosen]]), folds, seed)
    columns = {number: dict(zip(COLUMNS, (names[label], f"{score:.6f}", "1" if suspect else ""), strict=True))
               for number, label, score, suspect in zip(numbers[chosen].tolist(), *result, strict=True)}
    left_out = "" if enough.all() else f"; classes left out, of too few images: {(~enough).sum()}"
    accuracy, guess = (result.predicted == labels[chosen]).mean(), np.bincount(labels[chosen]).max() / chosen.sum()
    unlearnt = ("; nothing was learnt, since naming the most frequent class is right as often: take these labels as "
                "unchecked, or set scan.backbone") if accuracy <= guess else ""
    return columns, (f"{100 * accuracy:.1f} % of {chosen.sum()} labels predicted "
                     f"from other images, {result.suspect.sum()} suspect{left_out}{unlearnt}")


class LabelScores(NamedTuple):
    """Of N labels."""

    predicted: np.ndarray  # (N,): the label that the other images suggest
    score: np.ndarray  # float64 (N,), 0–1: probability of the given label; the lowest are the likeliest errors
    suspect: np.ndarray  # bool (N,): the lowest scores, as many as the estimated number of errors


def score_labels(inputs: np.ndarray, labels: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> LabelScores:
    """Compares each label with an out-of-fold prediction.

    inputs: float32 (N,D), features of the images. labels: integers (N,), at least two different ones, each in at least
    `folds` groups. groups: integers (N,); an image's label is predicted by classifiers that saw no image of its group.

    The lowest scores are suspect; their number is estimated by confident learning. Northcutt, Jiang and Chuang, JAIR
    70, 2021. Scores are not adjusted for frequent classes: a rare class has more errors per image.
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores
    from sklearn.kernel_approximation import Nystroem
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.preprocessing import StandardScaler

    classes, given = np.unique(labels, return_inverse=True)
    kernel = Nystroem(gamma=GAMMA / inputs.shape[1], n_components=min(LANDMARKS, len(inputs)), random_state=seed)
    columns = kernel.fit_transform(StandardScaler().fit_transform(inputs))  # (N,≤500)
    divisions = [StratifiedGroupKFold(folds, shuffle=True, random_state=seed + number).split(given, given, groups)
                 for number in range(ROUNDS)]
    probabilities = np.zeros((len(given), len(classes)))
    for division in divisions:
        probabilities += _out_of_fold(columns, given, list(division))
    probabilities /= ROUNDS
    predicted = probabilities.argmax(1)
    score = get_label_quality_scores(given, probabilities, method="self_confidence")
    suspect = find_label_issues(given, probabilities, filter_by="low_self_confidence", n_jobs=1)
    return LabelScores(classes[predicted], score, suspect & (predicted != given))


def _out_of_fold(columns: np.ndarray, labels: np.ndarray, division: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """(N,C): probabilities of the classes 0 … C − 1, for each image from the classifier that was not trained on it.

    division: indices of training and test images of each fold. An image whose class occurs in no other fold counts as
    labelled correctly.
    """
    from sklearn.linear_model import LogisticRegression

    # Before the first step, when all C classes are equally likely, gradients are of the order of 1 / C.
    tolerance = TOLERANCE * min(1, 10 / len(np.unique(labels)))
    probabilities = np.zeros((len(labels), labels.max() + 1), columns.dtype)
    for train, test in division:
        fitted = LogisticRegression(C=1 / PENALTY, tol=tolerance, max_iter=500).fit(columns[train], labels[train])
        probabilities[np.ix_(test, fitted.classes_)] = fitted.predict_proba(columns[test])
        unseen = test[~np.isin(labels[test], fitted.classes_)]
        probabilities[unseen] = np.eye(probabilities.shape[1])[labels[unseen]]
    return probabilities
