"""What the scores on val say about a distillation, before an hour of it and after. In: seeds.json of the networks. Out:
a sentence each, empty where nothing is wrong.
"""

from collections.abc import Mapping

from stages.evaluation.seeds import best_score, mean_score


def weak_teacher(teacher: Mapping, baseline: Mapping, primary: str) -> str:
    """Where the teacher is not ahead of the baseline. All arguments as evaluation/seeds.py reads them."""
    own, other = best_score(teacher, primary), mean_score(baseline, primary)
    if own > other:
        return ""
    return (f"on val the teacher ({own:.2f} %) is not ahead of the baseline ({other:.2f} %), so a student has little "
            "to learn from it; improve it first: pre-trained weights (teacher.weights), adamw at a learning rate of "
            "0.001 to fine-tune them (teacher_training), more epochs, or a larger network")


def no_gain(teacher: Mapping, baseline: Mapping, student: Mapping, train_score: float, primary: str) -> str:
    """Where the students are not ahead of the baseline: the likely reason and what to change.

    train_score: mean score of the students on their own training batches in the last epoch, in %.
    """
    own, other, goal = mean_score(student, primary), mean_score(baseline, primary), best_score(teacher, primary)
    if own > other:
        return ""
    return (f"on val the distilled student ({own:.2f} %) is not ahead of the baseline ({other:.2f} %): "
            f"{_reason(other, goal, train_score)}")


def _reason(baseline: float, teacher: float, train_score: float) -> str:
    if teacher <= baseline:
        return (f"its teacher ({teacher:.2f} %) isn't either; improve the teacher first (sections teacher, "
                "teacher_training)")
    if train_score < teacher:
        return (f"even on its training images it scores only {train_score:.2f} %, less than its teacher on val "
                f"({teacher:.2f} %), so it is too small or was trained too briefly; raise student_training.epochs or "
                "the student's width, or start it from pre-trained weights (student.weights)")
    return (f"its teacher ({teacher:.2f} %) is ahead and it fits its training images ({train_score:.2f} %), so the "
            "loss is the likely reason; try a lower distill.temperature or distill.kd_weight, or more unlabelled "
            "images")
