"""Image classification, S = (), a class for each image: the score by which training chooses an epoch and a seed."""


class Score:
    """Top-1 accuracy in %, accumulated over batches."""

    primary = "accuracy"

    def __init__(self):
        self.correct = self.counted = 0

    def update(self, logits, targets) -> None:
        """logits: float (N,C); targets: int64 (N,), below 0 where there is no label."""
        labelled = targets >= 0
        self.correct += int(((logits.argmax(1) == targets) & labelled).sum())
        self.counted += int(labelled.sum())

    def values(self) -> dict[str, float]:
        return {"accuracy": 100 * self.correct / max(1, self.counted)}
