"""Which labels look wrong. In: labelled images, one at a time. Out: columns of data/scan.csv.

Copies of one picture are one group: none is judged by a classifier that has learnt another.

The classifier: logistic regression on a radial kernel of the features, which Nyström's method brings to a few hundred
columns, so that time and memory grow in proportion to N. Neither kernel nor columns know a label.
Williams and Seeger, "Using the Nyström Method to Speed Up Kernel Machines", NIPS 2000.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from stages.cleaning import features

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
        found = judge(seen, labels, groups, folds, seed)
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


LANDMARKS = 500  # images to which all are compared: the columns
SPREAD = 0.3  # of the kernel: exp(−0.3 · mean squared difference of standardised features)
PENALTY = 0.1  # on the square of the weights
ROUNDS = 2  # divisions into folds, whose probabilities are averaged


class Judgement(NamedTuple):
    predicted: np.ndarray  # (N,), one of the labels: what the other images suggest
    score: np.ndarray  # float64 (N,), 0–1: the label's probability; the lowest are the likeliest errors
    suspect: np.ndarray  # bool (N,): the lowest scores, as many as there seem to be errors


def judge(features: np.ndarray, labels: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> Judgement:
    """An out-of-fold judgement on each label.

    features: float32 (N,D). labels: integers (N,), two or more, each in `folds` groups at least. groups: integers (N,);
    no image is judged by a classifier that has learnt one of its group, such as a copy.

    The lowest scores are suspect, in the number that confident learning counts: images that look as much like another
    class as that class's own do. Northcutt, Jiang and Chuang, JAIR 70, 2021. The score is not adjusted for frequent
    classes: an error is likelier in a rare class, where as many strangers meet fewer of its own.
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    classes, given = np.unique(labels, return_inverse=True)
    columns = _columns(features, seed)
    divisions = [_divided(given, groups, folds, seed + number) for number in range(ROUNDS)]
    probabilities = np.mean([_out_of_fold(columns, given, fold) for fold in divisions], axis=0)
    predicted = probabilities.argmax(1)
    score = get_label_quality_scores(given, probabilities, method="self_confidence")
    suspect = find_label_issues(given, probabilities, filter_by="low_self_confidence", n_jobs=1)
    return Judgement(classes[predicted], score, suspect & (predicted != given))


def _columns(features: np.ndarray, seed: int) -> np.ndarray:
    """(N,≤500): products of these approach the kernel's."""
    from sklearn.kernel_approximation import Nystroem
    from sklearn.preprocessing import StandardScaler

    kernel = Nystroem(gamma=SPREAD / features.shape[1], n_components=min(LANDMARKS, len(features)), random_state=seed)
    return kernel.fit_transform(StandardScaler().fit_transform(features))


def _divided(labels: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """(N,): the fold of each image, the same for a whole group; each class is spread evenly over the folds."""
    from sklearn.model_selection import StratifiedGroupKFold

    fold = np.empty(len(labels), int)
    divide = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for number, (_, here) in enumerate(divide.split(labels, labels, groups)):
        fold[here] = number
    return fold


def _out_of_fold(columns: np.ndarray, labels: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """(N,C): the probabilities of the classes 0 … C − 1, of each image by the classifier that learnt the other folds.

    An image whose class no other fold has gets the benefit of the doubt.
    """
    from sklearn.linear_model import LogisticRegression

    probabilities = np.zeros((len(labels), labels.max() + 1))
    for number in np.unique(fold):
        here = fold == number
        classifier = LogisticRegression(C=1 / PENALTY, tol=1e-3, max_iter=500).fit(columns[~here], labels[~here])
        probabilities[np.ix_(here, classifier.classes_)] = classifier.predict_proba(columns[here])
        unknown = here & ~np.isin(labels, classifier.classes_)
        probabilities[unknown] = np.eye(probabilities.shape[1])[labels[unknown]]
    return probabilities
