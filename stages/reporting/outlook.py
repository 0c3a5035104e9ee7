"""Next steps that the numbers suggest. In: metrics and settings as mappings. Out: sentences, a function each, empty
where they don't apply.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from statistics import NormalDist, fmean

from stages.deployment.budget import Verdict
from stages.evaluation import hints
from stages.evaluation.statistics import LEVEL
from stages.reporting import class_results, results
from stages.reporting.numbers import bounds, counted, few, listed, plain, points
from stages.reporting.preparation import is_telling, only_reported

HALF_WIDTH = NormalDist().inv_cdf(0.5 + LEVEL / 200)  # of an interval, in standard errors
POWER = 80  # % of experiments in which a test should find a true difference
MIN_SEEDS = 3  # below it, a standard deviation over seeds says next to nothing
MAX_ECE = 5.0  # %, above which probabilities mislead


def more_images(quality: Mapping) -> str:
    """How many test images a significant difference of the deployed pair would take, were it as large as measured.

    The standard error falls with the square root of the number of images. Empty where the difference is significant.
    """
    table, test = quality["distillation"], quality["test"]
    gain, within = table["paired_gain"], f"in {results.paired_score(test)}"
    if table["p_value"] < results.SIGNIFICANT:
        return ""
    if not round(gain, 2):
        return (f"**A larger test set.** The deployed student and baseline are level {within} on "
                f"{results.images(quality)}: only more images could show a difference.")
    if not bounds(table, "paired_gain"):
        return ""
    low, high = bounds(table, "paired_gain")
    standard_error = (high - low) / (2 * HALF_WIDTH)
    needed = test["images"] * ((HALF_WIDTH + NormalDist().inv_cdf(POWER / 100)) * standard_error / gain) ** 2
    if needed <= test["images"]:
        return ""
    return (f"**A larger test set.** If the deployed student and baseline truly differ {within} by the {points(gain)} "
            f"measured, and disagree as often as here, about {_rounded_up(needed)} test images would show it with a "
            f"probability of {POWER} %; there are {test['images']}.")


def better_teacher(quality: Mapping, started: Collection[str]) -> str:
    """Where the teacher is not ahead of the baseline, or its lead may be chance. started: as evaluation/hints.py."""
    primary = quality["test"]["primary"]
    lead = round(quality["teacher"][primary] - quality["baseline"][primary], 2)
    if lead <= 0:
        where = f"{points(lead)} behind" if lead else "level with"
        weights = "" if "teacher" in started else " or pre-trained weights"
        return (f"**A better teacher first.** It is {where} the baseline: train it longer, or give it more layers"
                f"{weights} (sections `teacher`, `teacher_training`).")
    if results.is_unsure_gap(quality["distillation"]):
        return (f"**A better teacher first.** Its lead over the baseline, {points(lead)}, may be chance: a larger one "
                "leaves more to be taught (sections `teacher`, `teacher_training`).")
    return ""


def other_distillation(quality: Mapping, rankings: Mapping, student_curve: Sequence[Mapping[str, str]],
                       started: Collection[str]) -> str:
    """Where the student isn't ahead of the baseline on val, the likely reason; else, whether it is behind on test.

    rankings: of teacher, baseline and student, as evaluation/seeds.py reads them. started: as evaluation/hints.py.
    """
    last = {row["seed"]: float(row["train_score"]) for row in student_curve}  # of the last epoch
    hint = hints.no_gain(**rankings, train_score=fmean(last.values()), primary=quality["test"]["primary"],
                         started=started)
    if hint:
        return f"**Other distillation settings.** {hint[0].upper()}{hint[1:]}."
    return ("**Other distillation settings.** Here the teacher does harm: try a lower `distill.kd_weight` or "
            "`distill.feature_weight`, or another `distill.temperature` or `distill.loss`."
            if results.verdict(quality) == "harmed" else "")


def more_seeds(quality: Mapping) -> str:
    seeds = quality["test"]["seeds"]
    return (f"**More seeds.** {counted(seeds, 'seed')} cannot show how much of a difference is due to the seed "
            "(`student_training.seeds`)." if seeds < MIN_SEEDS else "")


def weak_class(rows: Sequence[Mapping[str, str]], confused: Sequence[Mapping[str, str]], score: str, label: str,
               unit: str, overall: float) -> str:
    """The small student's weakest class and what it is mistaken for, or the names of several equally weak ones; empty
    where none is below the overall score.
    """
    weak = class_results.weakest(rows, score)
    if not weak or float(weak[0][score]) >= overall:
        return ""
    lowest, names = float(weak[0][score]), [row["class"] for row in weak]
    if len(weak) > 1:
        return (f"**More examples of {few(names)}.** They are the small student's weakest classes ({label} "
                f"{lowest:.1f} % each).")
    mistaken = class_results.most_frequent([pair for pair in confused if pair["actual"] == names[0]], unit)
    predicted = few([pair["predicted"] for pair in mistaken]) if mistaken else ""
    return (f"**More examples of {few(names)}.** It is the small student's weakest class ({label} {lowest:.1f} %)"
            f"{predicted and ', and is most often taken for '}{predicted}.")


def other_quantisation(quality: Mapping, quantisation: Mapping) -> str:
    """Where the small student loses more than is allowed on val, in more than a few images, or certainly loses on test.
    """
    val, table = quantisation["val"], quality["distillation"]
    if val["drop"] > val["max_drop"] and not results.is_few(quantisation):
        loss = f"loses {points(val['drop'])} on val, more than `quantize.max_drop` allows"
    elif results.side(table, "int8_drop") == "above":
        loss = f"loses {points(table['int8_drop'])} on the test images, which is unlikely to be chance"
    else:
        return ""
    return (f"**Another quantisation.** The small student {loss}; `python -m stages.quantize --explore` compares the "
            "alternatives.")


def within_budget(verdicts: Sequence[Verdict]) -> str:
    failed = [f"{verdict.what} {plain(verdict.measured, 4)} (limit {plain(verdict.limit, 4)})" for verdict in verdicts
              if not verdict.met]
    return f"**Meeting the budget.** The deployed file fails it: {listed(failed)}." if failed else ""


def calibration(quality: Mapping) -> str:
    error = quality["int8"]["ece"]
    return (f"**Calibration.** The small student's expected calibration error is {error:.1f} points: temperature "
            "scaling, fitted on val, may reduce it." if error > MAX_ECE else "")


def doubtful_labels(data: Mapping, settings: Mapping) -> str:
    """Suspected label errors that were only reported; where predictions are too poor to suspect any, that."""
    if not is_telling(data, settings["clean"]):
        more = (", and features of a pre-trained network predict better (`scan.backbone`)"
                if settings["scan"]["backbone"] == "none" else "")
        return ("**A check of the labels.** Out-of-fold predictions are right too seldom to say which labels are wrong"
                f" ({data['labels']['out_of_fold_accuracy']:.1f} %){more}.")
    count = only_reported(data)["label_suspect"]
    return (f"**A review of labels.** `data/decisions.csv` lists {counted(count, 'suspected label error')} left "
            "unchanged." if count else "")


def _rounded_up(number: float) -> int:
    """To two digits: 1234 → 1300."""
    step = 10 ** max(0, len(str(int(number))) - 2)
    return math.ceil(number / step) * step
