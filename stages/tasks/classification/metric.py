"""Image classification, S = (): one class an image. What training needs to know of the task: how good an epoch is."""


class Score:
    """Top-1 accuracy in %, gathered over batches: what an epoch and a seed are chosen by."""

    primary = "accuracy"

    def __init__(self):
        self.right = self.counted = 0

    def update(self, logits, targets) -> None:
        """logits: float (N,C); targets: int64 (N,), below 0 where there is no label."""
        labelled = targets >= 0
        self.right += int(((logits.argmax(1) == targets) & labelled).sum())
        self.counted += int(labelled.sum())

    def values(self) -> dict[str, float]:
        return {"accuracy": 100 * self.right / max(1, self.counted)}
