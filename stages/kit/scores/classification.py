"""Scores and pictures of a classifier. In: logits (N,C), targets (N,), 0 ≤ target < C. Out: numbers, tables, PNGs.

A class that has no test image is left out of every average over classes: nothing is known about it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.kit import pictures, statistics, tables

PRIMARY = "accuracy"  # what gains, gaps and drops are told in
# The words for it: the metric's name, what `compare` tests by, what `agreement` counts.
WORDS = {"primary": PRIMARY, "named": "accuracy", "paired_test": "McNemar's exact test", "counted": "test images"}
DRAWN = 50  # classes at most whose bars are drawn: more can't be read


@dataclass(frozen=True)
class Answers:
    """What a model said about a split."""

    logits: np.ndarray  # float32 (N,C)
    targets: np.ndarray  # int64 (N,)

    @property
    def predicted(self) -> np.ndarray:
        return self.logits.argmax(1)  # (N,)

    @property
    def log_probabilities(self) -> np.ndarray:
        """float64 (N,C), by log-sum-exp, so that a sure model doesn't become −inf."""
        shifted = self.logits.astype(np.float64) - self.logits.max(1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def collect(batches: Iterable[tuple[np.ndarray, np.ndarray]], places: np.ndarray) -> Answers:
    """All of a split from its batches (logits, targets). places: of squares in pictures, which are one here."""
    logits, targets = zip(*batches, strict=True)
    return Answers(np.concatenate(logits), np.concatenate(targets))


def hits(answers: Answers) -> np.ndarray:
    """bool (N,): was the image's class found?"""
    return answers.predicted == answers.targets


def compare(first: Answers, second: Answers) -> dict[str, float]:
    """paired_gain: by how many points the second is ahead. p_value: that both are right equally often, by McNemar's
    exact test.
    """
    right = [hits(answers) for answers in (first, second)]
    return {"p_value": statistics.mcnemar(*right), "paired_gain": 100 * float(right[1].mean() - right[0].mean())}


def agreement(first: Answers, second: Answers) -> float:
    """Share of images, in %, about which two models say the same."""
    return 100 * float((first.predicted == second.predicted).mean())


def measure(answers: Answers, classes: list[str], bins: int) -> dict[str, float]:
    """All in %, but log_loss in nats. Averages over classes are macro averages."""
    from sklearn import metrics

    targets, predicted, present = answers.targets, answers.predicted, np.unique(answers.targets)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        targets, predicted, labels=present, average="macro", zero_division=0)
    # balanced_accuracy is the macro recall by another name, under which those with imbalanced sets look for it
    shares = {"accuracy": metrics.accuracy_score(targets, predicted), "balanced_accuracy": recall,
              "precision": precision, "recall": recall, "f1": f1,
              "map": mean_average_precision(answers), "ece": calibration_error(answers, bins)}
    loss = -answers.log_probabilities[np.arange(len(targets)), targets].mean()
    return {name: 100 * float(share) for name, share in shares.items()} | {"log_loss": float(loss)}


def mean_average_precision(answers: Answers) -> float:
    """Mean over the classes present of the area under the precision-recall steps of one class against the rest."""
    from sklearn.metrics import average_precision_score

    probabilities = np.exp(answers.log_probabilities)
    return float(np.mean([average_precision_score(answers.targets == label, probabilities[:, label])
                          for label in np.unique(answers.targets)]))


def reliability(answers: Answers, bins: int) -> list[dict[str, float]]:
    """Images in equally wide bins (lower, upper] of the top probability: their number, mean probability, accuracy.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2. Empty bins are left out.
    """
    confidence, right = np.exp(answers.log_probabilities.max(1)), hits(answers)
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return [{"from": number / bins, "to": (number + 1) / bins, "images": int(inside.sum()),
             "confidence": float(confidence[inside].mean()), "accuracy": float(right[inside].mean())}
            for number in range(bins) if (inside := place == number).any()]


def calibration_error(answers: Answers, bins: int) -> float:
    """Expected calibration error in [0, 1]: |accuracy − confidence| of `reliability`'s bins, weighted by images."""
    rows = reliability(answers, bins)
    return sum(row["images"] * abs(row["accuracy"] - row["confidence"]) for row in rows) / len(answers.targets)


def draw(models: Mapping[str, Answers], classes: list[str], bins: int, photographs: Callable[[int], np.ndarray],
         folder: Path) -> None:
    """Under `folder`: confusion/<model>.csv, classes.csv, reliability.csv, confusion.png (of the last model), and
    classes.png where there are few enough.
    """
    for model, answers in models.items():
        tables.write_csv(folder / "confusion" / f"{model}.csv", ("actual", "predicted"),
                         ({"actual": classes[actual], "predicted": classes[predicted]}
                          for actual, predicted in zip(answers.targets, answers.predicted, strict=True)))
    tables.write_csv(folder / "classes.csv", ("model", "class", "precision", "recall", "f1", "support"),
                     (row for model, answers in models.items() for row in _each_class(model, answers, classes)))
    tables.write_csv(folder / "reliability.csv", ("model", "from", "to", "images", "confidence", "accuracy"),
                     ({"model": model} | _percent(row, ("confidence", "accuracy"))
                      for model, answers in models.items() for row in reliability(answers, bins)))
    model, answers = list(models.items())[-1]
    _draw_confusion(answers, classes, model, folder / "confusion.png")
    if len(classes) <= DRAWN:
        _draw_classes(models, classes, folder / "classes.png")


def _each_class(model: str, answers: Answers, classes: list[str]) -> list[dict[str, object]]:
    """Precision, recall and F1 in %, 0 for 0 of 0; support: how many test images the class has."""
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(answers.targets, answers.predicted, labels=range(len(classes)),
                                              zero_division=0)
    shares = ("precision", "recall", "f1")
    return [{"model": model, "class": name} | _percent(dict(zip(shares, values, strict=True)), shares)
            | {"support": int(support)} for name, *values, support in zip(classes, *columns, strict=True)]


def _percent(row: dict[str, object], names: tuple[str, ...]) -> dict[str, object]:
    return row | {name: round(100 * float(row[name]), 2) for name in names}


def _draw_confusion(answers: Answers, classes: list[str], model: str, path: Path) -> None:
    from sklearn.metrics import confusion_matrix

    pictures.confusion(confusion_matrix(answers.targets, answers.predicted, labels=range(len(classes))),
                       lambda images, share: str(images), classes,
                       f"{model}: {100 * hits(answers).mean():.2f} % of {len(answers.targets)} test images right", path)


def _draw_classes(models: Mapping[str, Answers], classes: list[str], path: Path) -> None:
    rows = {model: [row for row in _each_class(model, answers, classes) if row["support"]]
            for model, answers in models.items()}
    present = [row["class"] for row in next(iter(rows.values()))]
    pictures.bars({f"{share}, %": {model: np.array([row[share] for row in own]) for model, own in rows.items()}
                   for share in ("precision", "recall")}, present, path)
