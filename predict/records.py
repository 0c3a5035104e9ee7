"""From the models' answers to records, dicts as the command's help describes them; masks are written on the way."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from predict.answers import Answer
from predict.masks import MaskFolder, enlarge
from predict.model import Model


class Recorder:
    """Makes records, and counts for the summary."""

    def __init__(self, models: list[Model], topk: int, masks: Path):
        self.models, self.card, self.topk = models, models[0].card, topk
        self.masks = MaskFolder(masks, self.card) if self.card.masks else None
        self.pictures = self.failed = 0
        self.agreed = self.compared = 0  # of two models: pictures, or pixels, of the same class in both; and all

    def record(self, answer: Answer) -> dict:
        self.pictures += 1
        record = {"path": answer.source.path}
        if answer.error:
            self.failed += 1
            return record | {"error": answer.error}
        record |= {"width": answer.width, "height": answer.height}
        return record | (self._mask_record(answer) if self.masks else self._class_record(answer))

    def _class_record(self, answer: Answer) -> dict:
        ranked = [top_classes(logits, self.card.classes, self.topk) for logits in answer.outputs]
        if len(ranked) == 1:
            return {"top": ranked[0]}
        same = ranked[0][0]["class"] == ranked[1][0]["class"]
        self.agreed, self.compared = self.agreed + same, self.compared + 1
        return {"top": ranked[0], "compare": {"model": self.models[1].name, "top": ranked[1], "same": same}}

    def _mask_record(self, answer: Answer) -> dict:
        maps = [output.finish() for output in answer.outputs]
        path = self.masks.write(enlarge(maps[0], answer.height, answer.width, self.card), answer.source)
        shares = [self._shares(output.counts) for output in answer.outputs]
        if len(shares) == 1:
            return {"mask": path, "shares": shares[0]}
        same, pixels = int((maps[0] == maps[1]).sum()), maps[0].size
        self.agreed, self.compared = self.agreed + same, self.compared + pixels
        return {"mask": path, "shares": shares[0], "compare": {
            "model": self.models[1].name, "shares": shares[1], "agreement": round(100 * same / pixels, 4)}}

    def _shares(self, counts: np.ndarray) -> list[dict]:
        return [{"class": self.card.classes[number], "colour": "#{:02x}{:02x}{:02x}".format(*self.card.colours[number]),
                 "share": round(100 * float(counts[number] / counts.sum()), 4)}
                for number in np.argsort(-counts, kind="stable")]

    def summary(self) -> Iterator[str]:
        """Lines for stderr, or none."""
        if self.failed:
            yield f"{self.failed} of {self.pictures} could not be read"
        if len(self.models) == 2 and (count := self.pictures - self.failed):
            times = ", ".join(f"{model.name} {1e3 * model.seconds / count:.2f} ms" for model in self.models)
            unit = "pixels" if self.masks else "pictures"
            share = f"{100 * self.agreed / self.compared:.2f} %"
            yield f"both name the same class in {share} of the {unit}; {times} a picture"


def top_classes(logits: np.ndarray, classes: list[str], count: int) -> list[dict]:
    """The `count` likeliest classes by softmax. logits: float32 (C,)."""
    powers = np.exp(logits.astype(np.float64) - logits.max())
    probabilities = powers / powers.sum()
    return [{"class": classes[number], "probability": round(float(probabilities[number]), 6)}
            for number in np.argsort(-logits, kind="stable")[:count]]
