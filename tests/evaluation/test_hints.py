"""What is said of a distillation that cannot help, or didn't."""

import pytest
from measurements import ranking

from stages.evaluation import hints


def on_val(score: float) -> dict:
    """Best score: half a point more."""
    return ranking(score)


@pytest.mark.parametrize(("teacher", "is_said"), [(90.4, True), (90.5, True), (90.6, False)])
def test_a_teacher_that_is_not_ahead_is_named_before(teacher, is_said):
    """Its best seed counts, and the baseline's mean: 91."""
    hint = hints.weak_teacher(on_val(teacher), on_val(91.0), "accuracy", started=())
    assert bool(hint) == is_said
    if hint:
        assert hint.startswith(f"on val the teacher ({teacher + 0.5:.2f} %) is not ahead of the baseline (91.00 %)")


@pytest.mark.parametrize(("teacher", "student", "train_score", "reason"), [
    (95.0, 91.1, 50.0, ""),
    (90.5, 91.0, 50.0, "its teacher (91.00 %) isn't either; improve the teacher first"),
    (95.0, 91.0, 95.4, "even on its training images it scores only 95.40 %, less than its teacher on val (95.50 %)"),
    (95.0, 90.0, 95.5, "its teacher (95.50 %) is ahead and it fits its training images (95.50 %)"),
])
def test_the_likely_reason_is_measured(teacher, student, train_score, reason):
    hint = hints.no_gain(on_val(teacher), on_val(91.0), on_val(student), train_score, "accuracy", started=())
    if not reason:
        assert hint == ""
    else:
        start = f"on val the distilled student ({student:.2f} %) is not ahead of the baseline (91.00 %): "
        assert hint.startswith(start + reason)


def test_nobody_is_advised_the_weights_that_he_starts_from():
    started = hints.started({"teacher": "imagenet", "student": "mine.safetensors"})
    for role, hint in (("teacher", lambda roles: hints.weak_teacher(on_val(90), on_val(91.0), "accuracy", roles)),
                       ("student", lambda roles: hints.no_gain(on_val(95.0), on_val(91.0), on_val(91.0), 95.4,
                                                               "accuracy", roles))):
        assert "pre-trained" in hint(hints.started({"teacher": "none", "student": "none"}))
        assert "pre-trained" in hint(started - {role}) and "pre-trained" not in hint(started)
