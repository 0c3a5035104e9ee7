"""From pictures to the models' answers, and to records, dicts as the command's help describes them.

In memory are as many pictures as are decoded at a time, and a batch of tiles with their logits. Masks are written on
the way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from predict.answer import Answer, class_shares, top_classes
from predict.card import Card
from predict.masks import MaskFolder, enlarge
from predict.model import Model
from predict.sources import Source


def answers(sources: Iterable[Source], models: list[Model], batch: int, decoders: int = 1) -> Iterator[Answer]:
    """Each picture's answer in turn. batch: tiles that run at a time; decoders: pictures that are decoded so."""
    card = models[0].card
    images = []  # tiles that wait
    waiting = []  # (answer, (top, left)) of each of them; behind a picture's last one (answer, None)

    def run_batch() -> Iterator[Answer]:
        logits = zip(*(model(np.stack(images)) for model in models)) if images else iter(())
        for answer, place in waiting:
            if place:
                answer.add(*place, list(next(logits)), card)
            else:
                yield answer
        images.clear(), waiting.clear()

    for answer in _loaded_answers(sources, card, decoders):
        for top, left, pixels in answer.tiles(card):
            images.append(pixels)
            waiting.append((answer, (top, left)))
            if len(images) == batch:
                yield from run_batch()
        waiting.append((answer, None))
        if not images or len(waiting) >= 2 * batch:
            yield from run_batch()
    yield from run_batch()


def _loaded_answers(sources: Iterable[Source], card: Card, decoders: int) -> Iterator[Answer]:
    """In the order of the sources. With more than one decoder sources are taken before their answers are asked for."""
    if decoders == 1:
        yield from (Answer(source).load(card) for source in sources)
        return
    ahead = deque()
    with ThreadPoolExecutor(decoders) as pool:  # Pillow decodes and resizes without the interpreter's lock
        try:
            for source in sources:
                ahead.append(pool.submit(Answer(source).load, card))
                if len(ahead) == decoders:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


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
        shares = [class_shares(output.counts, self.card) for output in answer.outputs]
        if len(shares) == 1:
            return {"mask": path, "shares": shares[0]}
        same, pixels = int((maps[0] == maps[1]).sum()), maps[0].size
        self.agreed, self.compared = self.agreed + same, self.compared + pixels
        return {"mask": path, "shares": shares[0], "compare": {
            "model": self.models[1].name, "shares": shares[1], "agreement": round(100 * same / pixels, 4)}}

    def summary(self) -> Iterator[str]:
        """Lines for stderr, or none."""
        if self.failed:
            yield f"{self.failed} of {self.pictures} could not be read"
        if len(self.models) == 2 and (count := self.pictures - self.failed):
            times = ", ".join(f"{model.name} {1e3 * model.seconds / count:.2f} ms" for model in self.models)
            unit = "pixels" if self.masks else "pictures"
            share = f"{100 * self.agreed / self.compared:.2f} %"
            yield f"both name the same class in {share} of the {unit}; {times} a picture"
