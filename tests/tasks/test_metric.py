"""The scores by which training chooses an epoch: by hand, over batches, as `evaluate` computes them."""

import pytest
import torch
from predicted import PLACES, random_masks, segmented

from stages.data.prepared import IGNORED, UNLABELLED
from stages.tasks.classification import metric as class_metric
from stages.tasks.classification import scores as class_scores
from stages.tasks.segmentation import metric as mask_metric
from stages.tasks.segmentation import scores as mask_scores


def test_accuracy_over_batches():
    score = class_metric.Score()
    assert score.values() == {"accuracy": 0}
    logits = torch.tensor([[3.0, 1, 2], [1, 2, 3], [1, 3, 2], [2, 1, 0]])  # classes 0, 2, 1, 0
    score.update(logits, torch.tensor([0, 1, 1, UNLABELLED]))  # right, wrong, right, not counted
    assert score.values() == {"accuracy": pytest.approx(200 / 3)}
    score.update(logits, torch.tensor([0, 2, 1, 1]))
    assert score.values() == {"accuracy": pytest.approx(500 / 7)}
    single = class_metric.Score()
    single.update(logits[:1], torch.tensor([0]))
    assert single.values() == {"accuracy": 100} and single.primary == class_scores.PRIMARY == "accuracy"


def test_mean_iou_by_hand():
    score = mask_metric.Score()
    predicted = torch.tensor([[[0, 0, 1], [1, 2, 0]]])  # class 2 doesn't occur, class 0 does three times
    targets = torch.tensor([[[0, 0, 0], [1, 1, IGNORED]]])
    score.update(torch.nn.functional.one_hot(predicted, 3).movedim(-1, 1).float(), targets)
    assert score.values() == {"miou": pytest.approx(100 * (2 / 3 + 1 / 3) / 2), "pixel_accuracy": pytest.approx(60)}
    single = mask_metric.Score()
    single.update(torch.tensor([[[[1.0]], [[0.0]]]]), torch.tensor([[[0]]]))
    assert single.values() == {"miou": 100, "pixel_accuracy": 100}


def test_an_epoch_of_masks_is_scored_as_evaluate_does():
    logits, targets = random_masks(2)
    score, table = mask_metric.Score(), mask_scores.measure(segmented(logits, targets), PLACES, 10)
    for start in range(0, len(logits), 2):
        score.update(torch.from_numpy(logits[start:start + 2]), torch.from_numpy(targets[start:start + 2]).long())
    assert score.values() == pytest.approx({name: table[name] for name in ("miou", "pixel_accuracy")})
    assert score.primary == mask_scores.PRIMARY == "miou"


def test_without_labels_scores_are_0():
    unlabelled = mask_metric.Score()
    unlabelled.update(torch.zeros(2, 3, 4, 4), torch.full((2, 4, 4), UNLABELLED))
    assert unlabelled.values() == {"miou": 0, "pixel_accuracy": 0}
