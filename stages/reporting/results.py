"""What the numbers allow to be said of the result. In: metrics/quality.json, quantisation.json, rows of
plots/test/{classes,confused}.csv as mappings. Out: sentences no stronger than that, a function a sentence.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from stages.evaluation.statistics import LEVEL
from stages.reporting.numbers import (
    MOST,
    bounds,
    bracketed,
    called,
    counted,
    escaped,
    few,
    interval,
    listed,
    points,
    reach,
    signed,
    spread,
)

SIGNIFICANT = 0.05  # the p-value below which a difference is called one
PAIRED = {"accuracy": "accuracy", "miou": "mean IoU, picture by picture,"}  # what paired_gain is a gain in
FORMS = {"int8": "In int8", "int8 weights": "With int8 weights", "fp16 weights": "With half-float weights"}
Row = Mapping[str, str]


def sentences(quality: Mapping, quantisation: Mapping, teachers: int) -> list[str]:
    """What the teacher brought, whether chance explains it, how far the student got, what being small costs.

    teachers: how many seeds the teacher was chosen from.
    """
    said = [gain(quality), chance(quality), gap(quality, teachers), where_teacher_errs(quality),
            small(quality, quantisation), in_float(quantisation), too_far(quantisation)]
    return [sentence for sentence in said if sentence]


def side(row: Mapping[str, float], key: str, digits: int = 2) -> Literal["above", "below", "unclear"]:
    """Where the interval of a difference lies, seen from 0, with its ends as they are printed; unclear also where there
    is no interval.
    """
    low, high = (round(end, digits) for end in bounds(row, key) or (0.0, 0.0))
    return "above" if low > 0 else "below" if high < 0 else "unclear"


def verdict(quality: Mapping) -> Literal["helped", "harmed", "ahead", "behind", "unclear", "untold"]:
    """What may be said of the teacher. One seed tells that its student is ahead or behind, not that another's would be;
    nothing is told without an interval.
    """
    table = quality["distillation"]
    if not bounds(table, "gain"):
        return "untold"
    several = quality["test"]["seeds"] > 1
    return {"above": "helped" if several else "ahead", "below": "harmed" if several else "behind",
            "unclear": "unclear"}[side(table, "gain")]


def gain(quality: Mapping) -> str:
    table, test = quality["distillation"], quality["test"]
    student, baseline = (spread(quality[name], test["primary"], 2) for name in ("student", "baseline"))
    over = f"Over {test['seeds']} seeds, the" if test["seeds"] > 1 else "With one seed, the"
    how = _level(table["gain"], "above", "below")
    said = (f"{over} distilled student's {test['named']} is {how} the same network's trained without a teacher "
            f"({student} % against {baseline} %).")
    found = verdict(quality)
    if found == "untold":
        return said
    differ = "doesn't hold 0: these two networks differ; whether others would, one seed doesn't tell"
    where = {"helped": "lies above 0: the teacher helped", "harmed": "lies below 0: the teacher did harm",
             "ahead": differ, "behind": differ,
             "unclear": f"holds 0: no difference can be shown with {evidence(quality)}"}[found]
    return f"{said} The {LEVEL} % interval of that difference, {reach(*bounds(table, 'gain'))} points, {where}."


def chance(quality: Mapping) -> str:
    """Of the two files that are deployed. The p-value decides; where the interval says otherwise, so does this."""
    table, test, p = quality["distillation"], quality["test"], quality["distillation"]["p_value"]
    student, baseline = quality["student"]["deployed"], quality["baseline"]["deployed"]
    chosen = ", each the best of its seeds on val" if test["seeds"] > 1 else ""
    had = f"Of the deployed networks{chosen}, the student has {student:.2f} % and the baseline {baseline:.2f} %"
    within, gained = interval(table, "paired_gain"), signed(table["paired_gain"], 2)
    how = bracketed(f"{test['paired_test']}, p {'< 0.0001' if p < 0.0001 else f'= {p:.4f}'}",
                    f"gain in {PAIRED[test['primary']]} {gained} points{within and ', '}{within}")
    if within and (p < SIGNIFICANT) == (side(table, "paired_gain") == "unclear"):
        how += f", a borderline case: the interval {'holds' if p < SIGNIFICANT else 'does not hold'} 0"
    if p >= SIGNIFICANT:
        return f"{had}: no difference can be shown with {images(quality)}{how}."
    paired = round(table["paired_gain"], 2)
    if paired * round(student - baseline, 2) > 0:
        return f"{had}: a difference that chance hardly explains with {images(quality)}{how}."
    # A mean over images and a score of all images together may part ways.
    where = f"{points(paired)} {'ahead' if paired > 0 else 'behind'} on average" if paired else "not level"
    return f"{had}; but picture by picture the student is {where}, and chance hardly explains that{how}."


def gap(quality: Mapping, teachers: int) -> str:
    """How far the student got from its baseline to its teacher, and how often the two say the same."""
    table, test = quality["distillation"], quality["test"]
    lead = round(quality["teacher"][test["primary"]] - quality["baseline"][test["primary"]], 2)
    teacher = f"{quality['teacher'][test['primary']]:.2f}"
    also = [f"The teacher is the best on val of {teachers} seeds; the others' scores are means over theirs."
            if teachers > 1 else "",
            f"The deployed student and the teacher say the same about {table['teacher_agreement']:.1f} % of the "
            f"{test['counted']}."]
    if lead <= 0:
        said = f"The teacher ({teacher} %) is not ahead of the baseline: there is no gap to recover."
    elif unsure_gap(table):
        said = (f"The teacher ({teacher} %) is {points(lead)} ahead of the baseline, but not for sure: what share of "
                "that gap the student recovers can't be said.")
    else:
        said = recovered(table, teacher)
    return " ".join(filter(None, (said, *also)))


def recovered(table: Mapping, teacher: str) -> str:
    """The share of the gap. teacher: its score, in %."""
    share, how = table["gap_recovered"], bracketed(interval(table, "gap_recovered", 0))
    said = f"The student recovers {share:.0f} % of the gap between baseline and teacher"
    if share <= 0:
        said = "Of the gap between baseline and teacher, nothing is recovered"
    elif share > 100:
        said = f"The student's mean is above its teacher's ({teacher} %): {share:.0f} % of the gap"
    if how and side(table, "gap_recovered", 0) == "unclear":
        said += " by these scores; whether any is recovered can't be told"
    return f"{said}{how}."


def unsure_gap(table: Mapping) -> bool:
    """Whether chance may explain that the teacher is ahead: the share recovered then has no interval."""
    return "gap_recovered" not in table or bool(bounds(table, "gain") and not bounds(table, "gap_recovered"))


def where_teacher_errs(quality: Mapping) -> str:
    wrong, test = quality["test"]["teacher_errors"], quality["test"]
    if not wrong:
        return f"The teacher gets all of the {test['counted']} right: nothing can be said of where it errs."
    shares = listed([f"{called(name)} {quality[name]['where_teacher_errs']:.1f} %"
                     for name in ("baseline", "student", "int8")])
    over = bracketed("means over the seeds" if test["seeds"] > 1 else "")
    return f"Of the {test['counted']}, the teacher gets {wrong} wrong; of these the others get right: {shares}{over}."


def small(quality: Mapping, quantisation: Mapping) -> str:
    """Whether it loses, on test."""
    table, drop = quality["distillation"], round(quality["distillation"]["int8_drop"], 2)
    told = f"{'loses' if drop > 0 else 'gains'} {points(drop)}" if drop else "scores as in float"
    low, high = bounds(table, "int8_drop") or (0.0, 0.0)
    within = interval(table, "int8_drop") and f"{LEVEL} % interval " + (
        f"{reach(-high, -low)} points gained" if drop < 0 else f"{reach(low, high)} points lost")
    unclear = "no difference can be shown" if within and drop and side(table, "int8_drop") == "unclear" else ""
    return f"{FORMS[quantisation['form']]} the student {told}{bracketed(within, unclear)}."


def in_float(quantisation: Mapping) -> str:
    kept = len(quantisation["float_layers"])
    return f"{kept} of its layers {'stays' if kept == 1 else 'stay'} in float, since int8 spoilt them." if kept else ""


def too_far(quantisation: Mapping) -> str:
    val = quantisation["val"]
    return (f"**On val it is {points(val['drop'])} behind, more than quantize.max_drop allows ({val['max_drop']:g}).**"
            if val["drop"] > val["max_drop"] else "")


def weakest(rows: Sequence[Row], score: str) -> list[Row]:
    """The rows of plots/test/classes.csv of the small student's classes that score least, as far as is printed; none
    where all are alike.
    """
    shown = [row for row in rows if row["model"] == "int8" and int(row["support"])]
    least = min((_printed(row, score) for row in shown), default=0.0)
    worst = [row for row in shown if _printed(row, score) == least]
    return worst if len(worst) < len(shown) else []


def weakest_class(rows: Sequence[Row], score: str, named: str, unit: str) -> str:
    """Empty where no class is weaker than another."""
    weak = weakest(rows, score)
    if not weak:
        return ""
    names = few([row["class"] for row in weak])
    said = f"The small student does worst on {names}: {named} {_printed(weak[0], score)} %"
    return f"{said} each." if len(weak) > 1 else f"{said} on {counted(int(weak[0]['support']), f'test {unit}')}."


def most(pairs: Sequence[Row], unit: str) -> list[Row]:
    """Those of plots/test/confused.csv with the highest count."""
    highest = max((int(pair[f"{unit}s"]) for pair in pairs), default=0)
    return [pair for pair in pairs if int(pair[f"{unit}s"]) == highest]


def most_confused(pairs: Sequence[Row], unit: str) -> str:
    """What is most often taken for what; pairs: of plots/test/confused.csv, the worst at most."""
    if not pairs:
        return "The small student confuses no two classes on the test images."
    first = most(pairs, unit)
    count = counted(int(first[0][f"{unit}s"]), f"test {unit}")
    if len(first) > 1:
        some = [f"{escaped(pair['actual'])} for {escaped(pair['predicted'])}" for pair in first[:MOST]]
        return f"Most often it takes {listed(some + ['others'] * (len(first) > MOST))}: {count} each."
    return (f"Most often it takes {escaped(first[0]['actual'])} for {escaped(first[0]['predicted'])}: {count}, "
            f"{float(first[0]['percent_of_actual']):.1f} % of the class.")


def calibration(quality: Mapping) -> str:
    errors = listed([f"{quality[name]['ece']:.1f} points ({called(name)})" for name in (
        "teacher", "baseline", "student", "int8")])
    over = "; means over the seeds" if quality["test"]["seeds"] > 1 else ""
    return ("The expected calibration error (ECE), how far a model's confidence is from its accuracy on average, is "
            f"{errors}{over}.")


def intervals(quality: Mapping) -> str:
    """What the intervals are for; empty where there are none."""
    if not any(key.endswith("_low") for row in quality.values() for key in row):
        return ""
    said = f"{LEVEL} % intervals, by {quality['test']['resamples']} resamples, are for new images and"
    if quality["test"]["seeds"] == 1:
        return f"{said} these networks: one seed doesn't tell how others would do."
    return (f"{said} newly trained networks; those of the teacher and of the deployed pair are for new images and "
            "these networks.")


def evidence(quality: Mapping) -> str:
    return f"{images(quality)} and {counted(quality['test']['seeds'], 'seed')}"


def images(quality: Mapping) -> str:
    return counted(quality["test"]["images"], "test image")


def _level(difference: float, more: str, less: str) -> str:
    return f"{points(difference)} {more if difference > 0 else less}" if round(difference, 2) else "level with"


def _printed(row: Row, score: str) -> float:
    return round(float(row[score]), 1)
