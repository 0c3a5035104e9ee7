"""From pictures to the models' answers, and to records, dicts as the command's help describes them.

In memory are one picture, and a batch of squares with their logits. Masks are written on the way.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from predict.masks import ClassMap, MaskFolder, enlarge
from predict.model import Card, Model
from predict.sources import Source, read
from stages.core.errors import one_line
from stages.data.decode import Unreadable, decode_image
from stages.data.tiling import resized, resized_shape, squares


class Answer:
    """A picture's size and each model's answer, logits (C,) or a ClassMap; or the error in their place."""

    def __init__(self, source: Source):
        self.source, self.error, self.outputs = source, source.error, []
        self.width = self.height = 0  # upright

    def squares(self, card: Card) -> Iterator[tuple[int, int, np.ndarray]]:
        """Reads the picture. Yields top, left and pixels of each square; none where there is an error."""
        try:
            if self.error:
                return
            image = decode_image(read(self.source.path))
            self.width, self.height = image.size
            image = resized(image, card.sizing)
        except Unreadable as error:
            self.error = one_line(error)
        except MemoryError:
            self.error = "not enough memory for a picture of its size"
        else:
            yield from squares(image, card.sizing)

    def add(self, top: int, left: int, logits: list[np.ndarray], card: Card) -> None:
        """logits: of each model, (C,*S), of the square that lies there."""
        if not all(np.isfinite(values).all() for values in logits):
            self.error = "the model's answer to it is not finite"
        elif card.masks:
            shape = resized_shape(self.height, self.width, card.sizing)
            self.outputs = self.outputs or [ClassMap(*shape, card) for _ in logits]
            for output, values in zip(self.outputs, logits, strict=True):
                output.add(top, left, values)
        else:
            self.outputs = logits


def answers(sources: Iterable[Source], models: list[Model], batch: int) -> Iterator[Answer]:
    """Each picture's answer in turn. batch: squares that run at a time."""
    card = models[0].card
    images = []  # squares that wait
    waiting = []  # (answer, (top, left)) of each of them; behind a picture's last one (answer, None)

    def run_batch() -> Iterator[Answer]:
        logits = zip(*(model(np.stack(images)) for model in models), strict=True) if images else iter(())
        for answer, place in waiting:
            if place:
                answer.add(*place, list(next(logits)), card)
            else:
                yield answer
        images.clear(), waiting.clear()

    for answer in map(Answer, sources):
        for top, left, pixels in answer.squares(card):
            images.append(pixels)
            waiting.append((answer, (top, left)))
            if len(images) == batch:
                yield from run_batch()
        waiting.append((answer, None))
        if not images or len(waiting) >= 2 * batch:
            yield from run_batch()
    yield from run_batch()


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
