"""What the scores on val say about a distillation, before an hour of it and after. In: seeds.json of the networks. Out:
a sentence each, empty where nothing is wrong.
"""

from collections.abc import Collection, Mapping

from stages.evaluation.seeds import best_score, mean_score


def started(weights: Mapping[str, str]) -> set[str]:
    """The roles that start from pre-trained weights, which needn't be advised to them. weights: role → its `weights` in
    params.yaml.
    """
    return {role for role, source in weights.items() if source != "none"}


def weak_teacher(teacher: Mapping, baseline: Mapping, primary: str, started: Collection[str]) -> str:
    """Where the teacher is not ahead of the baseline. Both as evaluation/seeds.py reads them; started: as above."""
    own, other = best_score(teacher, primary), mean_score(baseline, primary)
    if own > other:
        return ""
    weights = ("adamw at a learning rate of 0.001 (teacher_training)" if "teacher" in started else
               "pre-trained weights (teacher.weights), adamw at a learning rate of 0.001 to fine-tune them "
               "(teacher_training)")
    return (f"on val the teacher ({own:.2f} %) is not ahead of the baseline ({other:.2f} %), so a student has little "
            f"to learn from it; improve it first: {weights}, more epochs, or a larger network")


def no_gain(teacher: Mapping, baseline: Mapping, student: Mapping, train_score: float, primary: str,
            started: Collection[str]) -> str:
    """Where the students are not ahead of the baseline: the likely reason and what to change.

    train_score: mean score of the students on their own training batches in the last epoch, in %. started: as above.
    """
    own, other, goal = mean_score(student, primary), mean_score(baseline, primary), best_score(teacher, primary)
    if own > other:
        return ""
    return (f"on val the distilled student ({own:.2f} %) is not ahead of the baseline ({other:.2f} %): "
            f"{_reason(other, goal, train_score, 'student' in started)}")


def _reason(baseline: float, teacher: float, train_score: float, is_started: bool) -> str:
    if teacher <= baseline:
        return (f"its teacher ({teacher:.2f} %) isn't either; improve the teacher first (sections teacher, "
                "teacher_training)")
    if train_score < teacher:
        weights = "" if is_started else ", or start it from pre-trained weights (student.weights)"
        return (f"even on its training images it scores only {train_score:.2f} %, less than its teacher on val "
                f"({teacher:.2f} %), so it is too small or was trained too briefly; raise student_training.epochs or "
                f"the student's width{weights}")
    return (f"its teacher ({teacher:.2f} %) is ahead and it fits its training images ({train_score:.2f} %), so the "
            "loss is the likely reason; try a lower distill.temperature, distill.kd_weight or distill.feature_weight, "
            "or more unlabelled images")
