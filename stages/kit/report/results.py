"""What the numbers allow to be said of the result. In: metrics/quality.json, quantisation.json as mappings.
Out: sentences no stronger than that, a function a sentence.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from stages.kit.report.numbers import bounds, bracketed, counted, escaped, interval, listed, points, reach, spread

SIGNIFICANT = 0.05  # the p-value below which a difference is called one
FORMS = {"int8": "In int8", "int8 weights": "With int8 weights", "fp16 weights": "With half-float weights"}


def sentences(quality: Mapping, quantisation: Mapping) -> list[str]:
    """What the teacher brought, whether chance explains it, how far the student got, what being small costs."""
    said = [gain(quality), chance(quality), gap(quality), where_teacher_errs(quality), small(quality, quantisation),
            in_float(quantisation), too_far(quantisation)]
    return [sentence for sentence in said if sentence]


def side(row: Mapping[str, float], key: str) -> Literal["above", "below", "unclear"]:
    """Where the interval of a difference lies, seen from 0; unclear also where there is no interval."""
    low, high = bounds(row, key) or (0.0, 0.0)
    return "above" if low > 0 else "below" if high < 0 else "unclear"


def gain(quality: Mapping) -> str:
    table, test = quality["distillation"], quality["test"]
    student, baseline = (spread(quality[name], test["primary"], 2) for name in ("student", "baseline"))
    over = f"Over {test['seeds']} seeds, the" if test["seeds"] > 1 else "With one seed, the"
    how = _level(table["gain"], "above", "below")
    said = (f"{over} distilled student's {test['named']} is {how} the same network's trained without a teacher "
            f"({student} % against {baseline} %).")
    if not bounds(table, "gain"):
        return said
    if test["seeds"] == 1 and side(table, "gain") != "unclear":
        return (f"{said} The 95 % interval of that difference, {reach(*bounds(table, 'gain'))} points, doesn't hold 0: "
                "these two networks differ; whether others would, one seed doesn't tell.")
    where = {"above": "lies above 0: the teacher helped", "below": "lies below 0: the teacher did harm",
             "unclear": f"holds 0: no difference can be shown with {evidence(quality)}"}[side(table, "gain")]
    return f"{said} The 95 % interval of that difference, {reach(*bounds(table, 'gain'))} points, {where}."


def chance(quality: Mapping) -> str:
    """Of the two files that are deployed."""
    table, p = quality["distillation"], quality["distillation"]["p_value"]
    student, baseline = quality["student"]["deployed"], quality["baseline"]["deployed"]
    test = f"{quality['test']['paired_test']}, p {'< 0.0001' if p < 0.0001 else f'= {p:.4f}'}"
    within = interval(table, "paired_gain")
    said = (f"The two networks that are deployed have {student:.2f} % and {baseline:.2f} %: ",
            bracketed(test, within and f"{within} points"))
    if p >= SIGNIFICANT:
        return f"{said[0]}no difference can be shown with {images(quality)}{said[1]}."
    paired = table["paired_gain"]
    if paired * (student - baseline) < 0:  # a mean over images and a score of all images together may part ways
        return (f"{said[0]}but image by image the student is {points(paired)} {'ahead' if paired > 0 else 'behind'} on "
                f"average, and chance hardly explains that{said[1]}.")
    return f"{said[0]}a difference that chance hardly explains with {images(quality)}{said[1]}."


def gap(quality: Mapping) -> str:
    table, test = quality["distillation"], quality["test"]
    lead = quality["teacher"][test["primary"]] - quality["baseline"][test["primary"]]
    teacher = f"{quality['teacher'][test['primary']]:.2f}"
    agree = f"Student and teacher say the same about {table['teacher_agreement']:.1f} % of the {test['counted']}."
    recovered, how = table.get("gap_recovered"), bracketed(interval(table, "gap_recovered", 0))
    if lead <= 0:
        return f"The teacher ({teacher} %) is not ahead of the baseline: there is no gap to recover. {agree}"
    if unsure_gap(table):
        return (f"The teacher ({teacher} %) is {points(lead)} ahead of the baseline, but not for sure: what share of "
                f"that gap the student recovers can't be said. {agree}")
    if recovered <= 0:
        return f"Of the gap between baseline and teacher, nothing is recovered{how}. {agree}"
    if recovered > 100:
        return f"The student's mean is above its teacher's ({teacher} %): {recovered:.0f} % of the gap{how}. {agree}"
    return f"The student recovers {recovered:.0f} % of the gap between baseline and teacher{how}. {agree}"


def unsure_gap(table: Mapping) -> bool:
    """Whether chance may explain that the teacher is ahead: the share recovered then has no interval."""
    return "gap_recovered" not in table or bool(bounds(table, "gain") and not bounds(table, "gap_recovered"))


def where_teacher_errs(quality: Mapping) -> str:
    """Empty where that isn't known."""
    wrong, test = quality["test"].get("teacher_errors"), quality["test"]
    if wrong is None:
        return ""
    if not wrong:
        return f"The teacher gets all of the {test['counted']} right: nothing can be said of where it errs."
    shares = listed([f"{name} {quality[name]['where_teacher_errs']:.1f} %" for name in ("baseline", "student", "int8")])
    return f"Of the {test['counted']}, the teacher gets {wrong} wrong; of these the others get right: {shares}."


def small(quality: Mapping, quantisation: Mapping) -> str:
    """Whether it loses, on test."""
    table, drop = quality["distillation"], round(quality["distillation"]["int8_drop"], 2)
    told = f"{'loses' if drop > 0 else 'gains'} {points(drop)}" if drop else "scores as in float"
    low, high = bounds(table, "int8_drop") or (0.0, 0.0)
    within = interval(table, "int8_drop") and "95 % interval " + (
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


def calibration(quality: Mapping) -> str:
    errors = {name: quality[name]["ece"] for name in ("teacher", "baseline", "student", "int8")}
    return (f"Probabilities are off by {listed([f'{error:.1f} points ({name})' for name, error in errors.items()])} on "
            "average: the expected calibration error.")


def weakest(rows: Sequence[Mapping[str, str]], score: str, model: str) -> Mapping[str, str] | None:
    """The row of plots/test/classes.csv of the model's class that scores least; None where there is one class only."""
    shown = [row for row in rows if row["model"] == model and int(row["support"])]
    return min(shown, key=lambda row: float(row[score])) if len(shown) > 1 else None


def weakest_class(rows: Sequence[Mapping[str, str]], score: str, named: str, unit: str) -> str:
    """Of the int8 student; empty where no class is weaker than another."""
    own = [float(row[score]) for row in rows if row["model"] == "int8" and int(row["support"])]
    if not own or min(own) == max(own):
        return ""
    row = weakest(rows, score, "int8")
    return (f"The int8 student does worst on {escaped(row['class'])}: {named} {float(row[score]):.1f} % on "
            f"{row['support']} {unit}.")


def most_confused(rows: Sequence[Mapping[str, str]], unit: str) -> str:
    """rows: plots/test/confused.csv. What the first pair is."""
    if not rows:
        return "The int8 student confuses no two classes on the test images."
    first = rows[0]
    return (f"Most often it takes {escaped(first['actual'])} for {escaped(first['predicted'])}: {first[unit]} test "
            f"{unit}, {float(first['percent_of_actual']):.1f} % of the class.")


def intervals(quality: Mapping) -> str:
    """What the intervals are for; empty where there are none."""
    test = quality["test"]
    if "resamples" not in test:
        return ""
    whose = ("newly trained networks" if test["seeds"] > 1 else
             "these networks: one seed doesn't tell how others would do")
    return f"95 % intervals, by {test['resamples']} resamples, are for new images and {whose}."


def evidence(quality: Mapping) -> str:
    return f"{images(quality)} and {counted(quality['test']['seeds'], 'seed')}"


def images(quality: Mapping) -> str:
    return counted(quality["test"]["images"], "test image")


def _level(difference: float, more: str, less: str) -> str:
    return f"{points(difference)} {more if difference > 0 else less}" if round(difference, 2) else "level with"
