"""Image classification, S = (), a class for each image: the score by which training chooses an epoch and a seed."""


class Score:
    """Top-1 accuracy in %, accumulated over batches."""

    primary = "accuracy"

    def __init__(self):
        self.correct = self.counted = 0  # from the first batch on on the tensors' device, so that nothing waits for it

    def update(self, logits, targets) -> None:
        """logits: float (N,C); targets: int64 (N,), below 0 where there is no label."""
        labelled = targets >= 0
        self.correct = self.correct + ((logits.argmax(1) == targets) & labelled).sum()
        self.counted = self.counted + labelled.sum()

    def values(self) -> dict[str, float]:
        return {"accuracy": 100 * int(self.correct) / max(1, int(self.counted))}
