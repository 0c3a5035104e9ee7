"""What the numbers ask for next. In: what was measured, the settings. Out: sentences, a function each,
which says nothing where it doesn't apply.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist

from stages.deployment.budget import Verdict
from stages.evaluation.statistics import LEVEL
from stages.reporting.numbers import bounds, counted, few, listed, plain, points
from stages.reporting.results import PAIRED, SIGNIFICANT, images, most, side, unsure_gap, verdict, weakest

# Normal quantiles: how many standard errors half an interval has, and how many a test needs beyond them to find a true
# difference four times in five.
HALF, POWER = NormalDist().inv_cdf(0.5 + LEVEL / 200), NormalDist().inv_cdf(0.8)
FEW_SEEDS = 3  # below which a standard deviation over seeds says next to nothing
UNCALIBRATED = 5.0  # % of expected calibration error from which on probabilities mislead


def more_images(quality: Mapping) -> str:
    """Where the deployed pair's difference isn't shown: how many test images would show it, were it as large as
    measured. An interval's width falls with the root of their number.
    """
    table, test = quality["distillation"], quality["test"]
    if table["p_value"] < SIGNIFICANT:
        return ""
    within = f"in {PAIRED[test['primary']]}"
    if not round(table["paired_gain"], 2):
        return (f"**A larger test set.** The deployed networks, with and without a teacher, are level {within} on "
                f"{images(quality)}: only more of them could part the two.")
    if not bounds(table, "paired_gain"):
        return ""
    low, high = bounds(table, "paired_gain")
    error = (high - low) / (2 * HALF)  # standard error, in points
    needed = test["images"] * ((HALF + POWER) * error / table["paired_gain"]) ** 2
    if needed <= test["images"]:
        return ""
    return (f"**A larger test set.** If the deployed networks, with and without a teacher, truly differ {within} by "
            f"the {points(table['paired_gain'])} measured, and disagree as often as here, it takes about "
            f"{_rounded(needed)} test images to show it four times in five; there are {test['images']}.")


def better_teacher(quality: Mapping) -> str:
    """Where the teacher isn't ahead of the baseline, or not for sure."""
    primary = quality["test"]["primary"]
    lead = round(quality["teacher"][primary] - quality["baseline"][primary], 2)
    if lead <= 0:
        where = f"{points(lead)} behind" if lead else "level with"
        return (f"**A better teacher first.** It is {where} the network that it is to teach: longer training, more "
                "layers or pre-trained weights (sections `teacher`, `teacher_training`).")
    if unsure_gap(quality["distillation"]):
        return (f"**A better teacher first.** Its lead over the baseline, {points(lead)}, isn't sure: a larger one "
                "leaves more to be taught (sections `teacher`, `teacher_training`).")
    return ""


def gentler_teaching(quality: Mapping) -> str:
    return ("**Another way of teaching.** Here the teacher does harm: less of it (`distill.kd_weight`), or another "
            "`distill.temperature` or `distill.loss`." if verdict(quality) == "harmed" else "")


def more_seeds(quality: Mapping) -> str:
    seeds = quality["test"]["seeds"]
    if seeds >= FEW_SEEDS:
        return ""
    return (f"**More seeds.** With {counted(seeds, 'seed')} it can't be told how much of a difference is the luck of a "
            "start (`student_training.seeds`).")


def weak_class(rows: Sequence[Mapping[str, str]], confused: Sequence[Mapping[str, str]], score: str, named: str,
               unit: str, overall: float) -> str:
    """The small student's weakest class, and what it is taken for; of several the names. Empty where none is below the
    overall score.
    """
    weak = weakest(rows, score)
    if not weak or float(weak[0][score]) >= overall:
        return ""
    least, names = float(weak[0][score]), [row["class"] for row in weak]
    if len(weak) > 1:
        return (f"**More examples of {few(names)}.** They are the small student's weakest classes ({named} "
                f"{least:.1f} % each).")
    taken = most([pair for pair in confused if pair["actual"] == names[0]], unit)
    looks = f", and is most often taken for {few([pair['predicted'] for pair in taken])}" if taken else ""
    return f"**More examples of {few(names)}.** It is the small student's weakest class ({named} {least:.1f} %){looks}."


def smaller_loss(quality: Mapping, quantisation: Mapping) -> str:
    """Where the small form loses more than is allowed on val, or surely loses on test."""
    val, drop = quantisation["val"], quality["distillation"]["int8_drop"]
    ways = "`python -m stages.quantize --explore` tries the ways there are."
    if val["drop"] > val["max_drop"]:
        return (f"**Another small form.** It loses {points(val['drop'])} on val, more than `quantize.max_drop` allows; "
                f"{ways}")
    if side(quality["distillation"], "int8_drop") == "above":
        return f"**Another small form.** It surely loses on the test images ({points(drop)}); {ways}"
    return ""


def within_budget(verdicts: Sequence[Verdict]) -> str:
    broken = [f"{verdict.what} {plain(verdict.measured, 4)} (limit {plain(verdict.limit, 4)})" for verdict in verdicts
              if not verdict.met]
    return f"**Keeping to the budget.** The deployed file fails it: {listed(broken)}." if broken else ""


def calibration(quality: Mapping) -> str:
    error = quality["int8"]["ece"]
    if error <= UNCALIBRATED:
        return ""
    return (f"**Calibration.** The small student's expected calibration error is {error:.1f} points: a "
            "temperature fitted on val may mend that.")


def doubtful_labels(data: Mapping) -> str:
    """Label suspects that nothing was done about."""
    left = data["findings"]["label_suspect"] - data["acted_on"].get("label_suspect", 0)
    return (f"**A look at the labels.** {counted(left, 'label')} {'is' if left == 1 else 'are'} doubted and left as "
            f"{'it is' if left == 1 else 'they are'}; `data/decisions.csv` names {'it' if left == 1 else 'them'}."
            if left else "")


def _rounded(number: float) -> str:
    """Up, to two digits: 1234 → 1300."""
    step = 10 ** max(0, math.floor(math.log10(max(number, 1))) - 1)
    return str(math.ceil(number / step) * step)
