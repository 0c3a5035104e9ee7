"""From pictures to the models' answers. In memory are one picture, and a batch of squares with its logits."""

from collections.abc import Iterable, Iterator

import numpy as np

from predict.masks import ClassMap
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
