"""Semantic segmentation, S = (H,W), a class for each pixel: the score by which training chooses an epoch and a seed."""


class Score:
    """Mean IoU and pixel accuracy in %, accumulated over batches."""

    primary = "miou"

    def __init__(self):
        self.confusion = None  # int64 (C,C), on the tensors' device: pixels, actual by predicted

    def update(self, logits, targets) -> None:
        """logits: float (N,C,H,W); targets: int64 (N,H,W), below 0 where a pixel has no label."""
        classes, labelled = logits.shape[1], targets >= 0
        pairs = classes * targets[labelled] + logits.argmax(1)[labelled]
        counts = pairs.bincount(minlength=classes**2).reshape(classes, classes)
        self.confusion = counts if self.confusion is None else self.confusion + counts

    def values(self) -> dict[str, float]:
        """A class absent from the targets is left out of the mean."""
        counts = self.confusion.cpu().double()
        correct, actual, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
        iou = (correct / (actual + predicted - correct))[actual > 0]
        return {"miou": 100 * float(iou.sum()) / max(1, len(iou)),
                "pixel_accuracy": 100 * float(correct.sum()) / max(1.0, float(actual.sum()))}
