"""Finds labels that look wrong. In: rows of data/scan.csv, features of their images. Out: further columns of it.

Out-of-fold probabilities of a classifier are compared with the labels by cleanlab. Copies of one image form a group:
no label is predicted by a classifier that was trained on a copy of the image.

Above SAMPLE images classifiers learn from a sample, and probabilities are kept on disk: memory then grows by the texts
of the further columns alone.

The classifier is logistic regression on a radial kernel of the features, approximated by a few hundred columns so that
time and memory grow linearly with N. Kernel and columns use no labels. Williams and Seeger, "Using the Nyström Method
to Speed Up Kernel Machines", NIPS 2000.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stages.cleaning import features
from stages.core import files

COLUMNS = ("predicted", "label_score", "suspect")  # a class; 0–1, low is suspicious; 1 or empty. Empty: not checked
MIN_IMAGES = 50  # with fewer, no label is checked
LANDMARKS = 500  # images that all images are compared with: the kernel's columns
GAMMA = 0.3  # of the kernel: exp(−0.3 · mean squared difference of standardised features)
PENALTY = 0.1  # on the squared weights
TOLERANCE = 1e-3  # of the largest gradient, at which the classifier is done, for up to 10 classes
SAMPLE = 20_000  # images that the classifier learns from at most, but for 2 × folds of each class, drawn from more
ROWS = 2048  # of (N,C) in memory at a time, where there are more
ROUNDS = 2  # divisions into folds, whose probabilities are averaged
Row = Mapping[str, object]  # of data/scan.csv


def is_labelled_training(row: Row) -> bool:
    """Whether the image has a label and is in training, or has no split yet and may be drawn for training."""
    return row["split"] in ("train", "") and bool(row["target"])


def find_label_errors(rows: Iterable[Row], thumbnails: np.ndarray, deep: Callable[[], np.ndarray] | None, folds: int,
                      seed: int, folder: Path) -> tuple[dict[int, dict[str, str]], str]:
    """COLUMNS by row number, and a summary. Labels of readable training images are checked, in classes of at least
    `folds` different images.

    thumbnails: uint8 (rows,32,32,3), may be memory-mapped. deep: returns a backbone's features of those same images,
    float32 (n,D), in this order; None without a backbone. folder: for files as large as the probabilities.
    """
    numbers, targets, copies = [], {}, {}  # of copies each is in the group of the first
    given, groups = [], []
    for number, row in enumerate(rows):
        if row["pixels"] and is_labelled_training(row):
            numbers.append(number)
            given.append(targets.setdefault(row["target"], len(targets)))
            groups.append(copies.setdefault(row["pixels"], len(copies)))
    numbers, given, groups = (np.array(some, int) for some in (numbers, given, groups))
    names, order = np.unique(np.array([*targets], str), return_inverse=True)
    labels = order[given]
    different = np.unique(np.stack([labels, groups]), axis=1)[0]  # a class for each of its different images
    enough = np.bincount(different, minlength=len(names)) >= folds
    chosen = np.flatnonzero(enough[labels])
    if enough.sum() < 2 or len(chosen) < MIN_IMAGES:
        return {}, (f"labels not checked: that takes two classes of {folds} different training images each, and "
                    f"{MIN_IMAGES} images in all")
    inputs = Inputs(thumbnails, numbers[chosen], deep and deep(), chosen)
    result = score_labels(inputs, labels[chosen], groups[chosen], folds, seed, folder)
    names = names.tolist()
    columns = {number: dict(zip(COLUMNS, (names[label], f"{score:.6f}", "1" if suspect else ""), strict=True))
               for number, label, score, suspect in zip(numbers[chosen].tolist(), *result, strict=True)}
    left_out = "" if enough.all() else f"; classes left out, of too few images: {(~enough).sum()}"
    accuracy, guess = (result.predicted == labels[chosen]).mean(), np.bincount(labels[chosen]).max() / len(chosen)
    unlearnt = ("; nothing was learnt, since naming the most frequent class is right as often: take these labels as "
                "unchecked, or set scan.backbone") if accuracy <= guess else ""
    return columns, (f"{100 * accuracy:.1f} % of {len(chosen)} labels predicted "
                     f"from other images, {result.suspect.sum()} suspect{left_out}{unlearnt}")


@dataclass(frozen=True)
class Inputs:
    """Features of N images, float32 (N,D), each made when it is asked for: `inputs[indices]`."""

    thumbnails: np.ndarray  # uint8 (rows,32,32,3)
    numbers: np.ndarray  # integers (N,): the images' rows among them
    deep: np.ndarray | None  # float32 (n,D)
    places: np.ndarray  # integers (N,): the images' rows there

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        own = features.pixel_features(self.thumbnails[self.numbers[indices]])
        return own if self.deep is None else np.hstack([self.deep[self.places[indices]], own])


class LabelScores(NamedTuple):
    """Of N labels."""

    predicted: np.ndarray  # (N,): the label that the other images suggest
    score: np.ndarray  # float64 (N,), 0–1: probability of the given label; the lowest are the likeliest errors
    suspect: np.ndarray  # bool (N,): the lowest scores, as many as the estimated number of errors


def score_labels(inputs: np.ndarray | Inputs, labels: np.ndarray, groups: np.ndarray, folds: int, seed: int,
                 folder: Path) -> LabelScores:
    """Compares each label with an out-of-fold prediction.

    inputs: float32 (N,D), features of the images. labels: integers (N,), at least two different ones, each in at least
    `folds` groups. groups: integers (N,); an image's label is predicted by classifiers that saw no image of its group.
    folder: for the probabilities, (N,C), where there are more than SAMPLE images.

    The lowest scores are suspect; their number is estimated by confident learning. Northcutt, Jiang and Chuang, JAIR
    70, 2021. Scores are not adjusted for frequent classes: a rare class has more errors per image.
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classes, given = np.unique(labels, return_inverse=True)
    sample = _sample(given, groups, folds, seed)
    seen, own, together = inputs[sample], given[sample], groups[sample]
    kernel = make_pipeline(StandardScaler(), Nystroem(gamma=GAMMA / seen.shape[1], random_state=seed,
                                                      n_components=min(LANDMARKS, len(seen))))
    columns = kernel.fit_transform(seen)  # (n,≤500)
    divisions = [StratifiedGroupKFold(folds, shuffle=True, random_state=seed + number).split(own, own, together)
                 for number in range(ROUNDS)]
    probabilities = np.zeros((len(own), len(classes)))
    for division in divisions:
        probabilities += _out_of_fold(columns, own, list(division))
    probabilities /= ROUNDS
    if len(sample) < len(given):
        fitted = LogisticRegression(C=1 / PENALTY, tol=_tolerance(own), max_iter=500).fit(columns, own)
        path = folder / "probabilities.npy"
        files.write_array(path, (len(given), len(classes)), "float32", _of_all(
            probabilities, sample, groups, lambda rows: fitted.predict_proba(kernel.transform(inputs[rows]))))
        return _scored_in_parts(given, files.read_array(path, "float32", 2), classes)
    predicted = probabilities.argmax(1)
    score = get_label_quality_scores(given, probabilities, method="self_confidence")
    suspect = find_label_issues(given, probabilities, filter_by="low_self_confidence", n_jobs=1)
    return LabelScores(classes[predicted], score, suspect & (predicted != given))


def _sample(labels: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Which images the classifiers learn from, in order: all up to SAMPLE; of more, SAMPLE different ones drawn by lot,
    of each class 2 × folds first, if it has so many.

    labels: 0 … C − 1 (N,). groups: (N,).
    """
    if len(labels) <= SAMPLE:
        return np.arange(len(labels))
    different = np.unique(np.stack([labels, groups]), axis=1, return_index=True)[1]
    different = np.random.default_rng(seed).permutation(different)
    by_class = different[np.argsort(labels[different], kind="stable")]
    counts = np.bincount(labels[different])
    rank = np.arange(len(by_class)) - np.repeat(np.cumsum(counts) - counts, counts)  # in its class
    few = by_class[rank < 2 * folds]
    others = different[~np.isin(different, few)]
    return np.sort(np.concatenate([few, others[:max(0, SAMPLE - len(few))]]))


def _of_all(of_sample: np.ndarray, sample: np.ndarray, groups: np.ndarray,
            predict: Callable[[np.ndarray], np.ndarray]) -> Iterator[np.ndarray]:
    """Probabilities of all N images, (≤ ROWS,C) at a time, from those of a sample, (n,C), which are out of fold.

    predict: those of some images, from a classifier that learnt from the whole sample. Copies of the sample's images,
    whose labels it would know, get what these have.
    """
    place = np.full(groups.max() + 1, -1)
    place[groups[sample]] = np.arange(len(sample))
    for rows in _parts(len(groups)):
        probabilities, twin = np.empty((len(rows), of_sample.shape[1])), place[groups[rows]]
        probabilities[twin >= 0] = of_sample[twin[twin >= 0]]
        if (twin < 0).any():
            probabilities[twin < 0] = predict(rows[twin < 0])
        yield probabilities


def _scored_in_parts(given: np.ndarray, probabilities: np.ndarray, classes: np.ndarray) -> LabelScores:
    """The scores of labels 0 … C − 1, (N,), by probabilities (N,C), of which ROWS are in memory at a time."""
    from cleanlab.experimental.label_issues_batched import LabelInspector

    inspector = LabelInspector(num_class=len(classes), verbose=False)
    for rows in _parts(len(given)):
        inspector.update_confident_thresholds(given[rows], probabilities[rows])
    for rows in _parts(len(given)):
        inspector.score_label_quality(given[rows], probabilities[rows])
    predicted = np.concatenate([probabilities[rows].argmax(1) for rows in _parts(len(given))])
    suspect = np.zeros(len(given), bool)
    suspect[inspector.get_label_issues()] = True
    return LabelScores(classes[predicted], inspector.get_quality_scores(), suspect & (predicted != given))


def _parts(count: int) -> Iterator[np.ndarray]:
    for start in range(0, count, ROWS):
        yield np.arange(start, min(start + ROWS, count))


def _tolerance(labels: np.ndarray) -> float:
    """Before the first step, when all C classes are equally likely, gradients are of the order of 1 / C."""
    return TOLERANCE * min(1, 10 / len(np.unique(labels)))


def _out_of_fold(columns: np.ndarray, labels: np.ndarray, division: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """(N,C): probabilities of the classes 0 … C − 1, for each image from the classifier that was not trained on it.

    division: indices of training and test images of each fold. An image whose class occurs in no other fold counts as
    labelled correctly.
    """
    from sklearn.linear_model import LogisticRegression

    tolerance = _tolerance(labels)
    probabilities = np.zeros((len(labels), labels.max() + 1), columns.dtype)
    for train, test in division:
        fitted = LogisticRegression(C=1 / PENALTY, tol=tolerance, max_iter=500).fit(columns[train], labels[train])
        probabilities[np.ix_(test, fitted.classes_)] = fitted.predict_proba(columns[test])
        unseen = test[~np.isin(labels[test], fitted.classes_)]
        probabilities[unseen] = np.eye(probabilities.shape[1])[labels[unseen]]
    return probabilities
