"""Which labels look wrong. In: features (N,D), labels and groups (N,). Out: what a cheap classifier says of each image
without having learnt it, how well the label fits that, and which labels are suspect.

The classifier: logistic regression on a radial kernel of the features, which Nyström's method brings to a few hundred
columns, so that time and memory grow in proportion to N. Neither kernel nor columns know a label.
Williams and Seeger, "Using the Nyström Method to Speed Up Kernel Machines", NIPS 2000.
"""

from typing import NamedTuple

import numpy as np

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
