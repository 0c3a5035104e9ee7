"""What the scores allow to be claimed. In: metrics/quality.json, quantisation.json, size.json, speed.json as mappings.
Out: sentences that claim no more than their intervals and tests show, a function each.
"""

from collections.abc import Mapping
from typing import Literal

from stages.evaluation.statistics import LEVEL
from stages.reporting import numbers
from stages.reporting.numbers import bounds, bracketed, counted, interval, listed, points, signed, span, spread

SIGNIFICANT = 0.05  # the p-value below which a difference is called significant
LEAST_LOST = 6  # images: p of a sign test of fewer is above that at best, where none is won (2 · 0.5⁵ = 0.06)
FORMS = {"int8": "In int8", "int8 weights": "With int8 weights", "fp16 weights": "With half-float weights"}


def paired_score(test: Mapping) -> str:
    """What paired_gain is a gain in. test: of quality.json."""
    return "mean IoU per image" if test["primary"] == "miou" else test["primary"]


def sentences(quality: Mapping, quantisation: Mapping, size: Mapping, speed: Mapping, teachers: int) -> list[str]:
    """The key findings. teachers: how many seeds the teacher was chosen from."""
    parts = (gain(quality), chance(quality), gap(quality, teachers), teacher_errors(quality),
             shipped(quality, quantisation), opposite(quality, quantisation), small(quality, quantisation),
             small_teacher(quality, quantisation, size, speed),
             saturating(quantisation), float_layers(quantisation), excessive_drop(quantisation))
    return [sentence for sentence in parts if sentence]


def side(row: Mapping[str, float], key: str, digits: int = 2) -> Literal["above", "below", "unclear"]:
    """Where the interval of `key` lies relative to 0, its ends rounded as printed; unclear also without an interval."""
    low, high = (round(end, digits) for end in bounds(row, key) or (0.0, 0.0))
    return "above" if low > 0 else "below" if high < 0 else "unclear"


def verdict(quality: Mapping) -> Literal["helped", "harmed", "ahead", "behind", "unclear", "no interval"]:
    """Whether the teacher helped. One seed shows only that its student is ahead or behind, not that others would be."""
    if not bounds(quality["distillation"], "gain"):
        return "no interval"
    several = quality["test"]["seeds"] > 1
    return {"above": "helped" if several else "ahead", "below": "harmed" if several else "behind",
            "unclear": "unclear"}[side(quality["distillation"], "gain")]


def gain(quality: Mapping) -> str:
    """The mean gain of distillation over the seeds."""
    table, test = quality["distillation"], quality["test"]
    student, baseline = (spread(quality[name], test["primary"], 2) for name in ("student", "baseline"))
    seeds = f"Averaged over {test['seeds']} seeds" if test["seeds"] > 1 else "With one seed"
    level = f"{points(table['gain'])} {'above' if table['gain'] > 0 else 'below'}"
    comparison = (f"{seeds}, the distilled student's {test['named']} is "
                  f"{level if round(table['gain'], 2) else 'level with'} the baseline's ({student} % against "
                  f"{baseline} %).")
    if not bounds(table, "gain"):
        return comparison
    one_seed = "does not contain 0: these two networks differ, but one seed cannot show whether others would"
    claim = {"helped": "lies above 0: the teacher helped", "harmed": "lies below 0: the teacher did harm",
             "ahead": one_seed, "behind": one_seed,
             "unclear": f"contains 0: no difference can be shown with {images(quality)} and "
                        f"{counted(test['seeds'], 'seed')}"}[verdict(quality)]
    return f"{comparison} The {LEVEL} % interval of that difference, {span(*bounds(table, 'gain'))} points, {claim}."


def chance(quality: Mapping) -> str:
    """Whether the two deployed files differ. The p-value decides; a disagreeing interval is mentioned."""
    table, test, p = quality["distillation"], quality["test"], quality["distillation"]["p_value"]
    student, baseline = quality["student"]["deployed"], quality["baseline"]["deployed"]
    chosen = bracketed("each the best of its seeds on val" if test["seeds"] > 1 else "")
    scores = f"Of the deployed networks{chosen}, the student scores {student:.2f} % and the baseline {baseline:.2f} %"
    within = interval(table, "paired_gain")
    evidence = bracketed(f"{test['paired_test']}, p {'< 0.0001' if p < 0.0001 else f'= {p:.4f}'}",
                         f"gain in {paired_score(test)} {signed(table['paired_gain'], 2)} points"
                         f"{within and ', '}{within}")
    if within and (p < SIGNIFICANT) == (side(table, "paired_gain") == "unclear"):
        evidence += f", a borderline case: the interval {'contains' if p < SIGNIFICANT else 'does not contain'} 0"
    if p >= SIGNIFICANT:
        return f"{scores}: no difference can be shown with {images(quality)}{evidence}."
    paired = round(table["paired_gain"], 2)
    if paired * round(student - baseline, 2) > 0:
        return f"{scores}: a significant difference on {images(quality)}{evidence}."
    # A mean over images and a score of all images together may disagree.
    level = f"{points(paired)} {'ahead' if paired > 0 else 'behind'} on average" if paired else "not level"
    return f"{scores}; but image by image, the student is {level}, a significant difference{evidence}."


def gap(quality: Mapping, teachers: int) -> str:
    """How far the student got from baseline to teacher, and how often it agrees with the teacher."""
    table, test = quality["distillation"], quality["test"]
    score = quality["teacher"][test["primary"]]
    lead = round(score - quality["baseline"][test["primary"]], 2)
    if lead <= 0:
        share = f"The teacher ({score:.2f} %) is not ahead of the baseline: there is no gap to recover."
    elif is_unsure_gap(table):
        share = (f"The teacher ({score:.2f} %) is {points(lead)} ahead of the baseline, but that may be chance: what "
                 "share of the gap the student recovers cannot be determined.")
    else:
        share = recovered(table, score)
    chosen = (f"The teacher is the best on val of {teachers} seeds; the others' scores are means over theirs. "
              if teachers > 1 else "")
    return (f"{share} {chosen}The deployed student and the teacher agree on {table['teacher_agreement']:.1f} % of the "
            f"{test['counted']}.")


def recovered(table: Mapping, teacher: float) -> str:
    """The share of the gap. teacher: its score, in %."""
    share, within = table["gap_recovered"], bracketed(interval(table, "gap_recovered", 0))
    if share <= 0:
        claim = "Of the gap between baseline and teacher, nothing is recovered"
    elif share > 100:
        claim = f"The student's mean score is above its teacher's ({teacher:.2f} %): {share:.0f} % of the gap"
    else:
        claim = f"The student recovers {share:.0f} % of the gap between baseline and teacher"
    if within and side(table, "gap_recovered", 0) == "unclear":
        claim += " by these scores, but whether any is recovered cannot be shown"
    return f"{claim}{within}."


def is_unsure_gap(table: Mapping) -> bool:
    """Whether the teacher's lead may be chance: the share recovered then has no interval."""
    return "gap_recovered" not in table or bool(bounds(table, "gain") and not bounds(table, "gap_recovered"))


def teacher_errors(quality: Mapping) -> str:
    """How many of the teacher's errors the others get right."""
    wrong, test = quality["test"]["teacher_errors"], quality["test"]
    if not wrong:
        return f"The teacher gets all of the {test['counted']} right: it makes no errors to compare the others on."
    shares = listed([f"{numbers.display_name(name)} {quality[name]['where_teacher_errs']:.1f} %"
                     for name in ("baseline", "student", "int8")])
    averaged = bracketed("means over the seeds" if test["seeds"] > 1 else "")
    return (f"Of the {test['counted']}, the teacher gets {wrong} wrong; of these, the others get right: "
            f"{shares}{averaged}.")


def shipped(quality: Mapping, quantisation: Mapping) -> str:
    """Which network the file is made of, where that is not the better student by its own merit."""
    role, on_val = quality["test"]["shipped_role"], quantisation["mean_on_val"]
    if role == "teacher":
        return "**The file that ships is made of the teacher**, as `quantize.ship` says."
    other = "student" if role == "baseline" else "baseline"
    mean = "mean " * (quality["test"]["seeds"] > 1)
    scores = (f"on val the {role}'s {mean}{quality['test']['named']} is {on_val[role]:.2f} %, the {other}'s "
              f"{on_val[other]:.2f} %")
    if quantisation["ship"] == "best":
        return (f"**The file that ships is made of the baseline**, not of the distilled student: {scores} "
                "(`quantize.ship`)." if role == "baseline" else "")
    if role == "baseline" or on_val[role] < on_val[other]:
        return f"**The file that ships is made of the {role}**, as `quantize.ship` says: {scores}."
    return ""


def opposite(quality: Mapping, quantisation: Mapping) -> str:
    """That val and test point in opposite directions, where they do."""
    on_val = quantisation["mean_on_val"]
    val, test = on_val["student"] - on_val["baseline"], quality["distillation"]["gain"]
    if round(val, 2) * round(test, 2) >= 0:
        return ""
    words = [f"{points(gain)} {'above' if gain > 0 else 'below'} the baseline's" for gain in (val, test)]
    return (f"Val and test point in opposite directions: the student's mean is {words[0]} on val and {words[1]} on "
            "test, so take neither difference as proven.")


def small(quality: Mapping, quantisation: Mapping) -> str:
    """What the small student loses on test."""
    table, drop = quality["distillation"], round(quality["distillation"]["int8_drop"], 2)
    change = f"{'loses' if drop > 0 else 'gains'} {points(drop)}" if drop else "scores as in float"
    low, high = bounds(table, "int8_drop") or (0.0, 0.0)
    within = interval(table, "int8_drop") and f"{LEVEL} % interval " + (
        f"{span(-high, -low)} points gained" if drop < 0 else f"{span(low, high)} points lost")
    unclear = "no difference can be shown" if within and drop and side(table, "int8_drop") == "unclear" else ""
    return f"{FORMS[quantisation['form']]} the {quality['test']['shipped_role']} {change}{bracketed(within, unclear)}."


def small_teacher(quality: Mapping, quantisation: Mapping, size: Mapping, speed: Mapping) -> str:
    """What one would ship without distilling, beside what ships; advised where val, too, has it ahead."""
    if quality["test"]["shipped_role"] == "teacher":
        return ""
    primary = quality["test"]["primary"]
    lead = round(quality["teacher_int8"][primary] - quality["int8"][primary], 2)
    where = f"{points(lead)} {'above' if lead > 0 else 'below'}" if lead else "level with"
    larger, slower = (table["teacher_int8"][key] / table["int8"][key] for table, key in (
        (size, "size_mb"), (speed, "latency_ms")))
    is_advised = lead > 0 and quantisation["teacher"]["int8"] > quantisation["val"]["int8"]
    advice = (" (on val it is ahead too: `quantize.ship: teacher` ships it, where the device has room and time for it)"
              if is_advised else "")
    return (f"The teacher made small in the same way is {where} the small student, in a file {larger:.1f} × the size "
            f"and at {slower:.1f} × the latency{advice}.")


def slower_than_float(quality: Mapping, speed: Mapping) -> str:
    """Empty where the deployed file takes no longer than its network in float. speed: of speed.json."""
    role = "teacher" if quality["test"]["shipped_role"] == "teacher" else "student"  # the baseline is the same network
    times = round(speed["int8"]["latency_ms"] / speed[role]["latency_ms"], 2)
    return (f"The deployed file takes {times:.2f} × as long as the same network in float here: it saves size, not time."
            if times > 1 else "")


def from_a_photograph(speed: Mapping) -> str:
    """What a user waits for, beside the model alone; empty in a speed.json in which it wasn't measured."""
    row = speed["int8"]
    if "photograph_ms" not in row:
        return ""
    return (f"From a JPEG of 12 megapixels to the answer `predict.py` takes {row['photograph_ms']:.0f} ms, decoding "
            f"and resizing included, from its start on {row['cold_start_ms']:.0f} ms, and at most "
            f"{row['photograph_memory_mb']:.0f} MB.")


def under_load(speed: Mapping, seconds: float) -> str:
    """Whether it slows down; empty in a speed.json in which it wasn't measured. seconds: how long it answered."""
    times = speed["int8"].get("sustained_slowdown")
    if times is None:
        return ""
    ratio = "" if round(times, 2) == 1 else f"{times:.2f} × "
    return (f"Sustained load: the small file answered single images for {counted(seconds, 'second')} without a pause; "
            f"the last fifth of the answers took {ratio}as long as the first, by their medians.")


def saturating(quantisation: Mapping) -> str:
    """Where a file in full range is wrong."""
    return ("**Its int8 sums saturate on x86 processors with AVX2 and without VNNI, where other answers may come out; "
            "`predict.py` computes exactly there, and more slowly.**") if quantisation["saturates"] else ""


def float_layers(quantisation: Mapping) -> str:
    count = len(quantisation["float_layers"])
    return f"Layers kept in float, because int8 lost too much there: {count}." if count else ""


def is_few(quantisation: Mapping) -> bool:
    """Whether the loss on val is one of so few images that it may be chance. That of masks is none of images."""
    return "val_images" in quantisation and _lost(quantisation) < LEAST_LOST


def _lost(quantisation: Mapping) -> int:
    """Images of val that the small model gets wrong more than the float one."""
    return round(quantisation["val"]["drop"] / 100 * quantisation["val_images"])


def excessive_drop(quantisation: Mapping) -> str:
    val = quantisation["val"]
    if val["drop"] <= val["max_drop"]:
        return ""
    if is_few(quantisation):
        return (f"On val it loses {points(val['drop'])}, {counted(_lost(quantisation), 'image')} of "
                f"{quantisation['val_images']}; that is more than `quantize.max_drop` allows ({val['max_drop']:g}), "
                "and may be chance.")
    return f"**On val it loses {points(val['drop'])}, more than `quantize.max_drop` allows ({val['max_drop']:g}).**"


def calibration(quality: Mapping) -> str:
    errors = listed([f"{quality[name]['ece']:.1f} points ({numbers.display_name(name)})" for name in (
        "teacher", "baseline", "student", "int8")])
    averaged = "; means over the seeds" if quality["test"]["seeds"] > 1 else ""
    return ("The expected calibration error (ECE), the average distance between a model's confidence and its accuracy, "
            f"is {errors}{averaged}.")


def intervals(quality: Mapping) -> str:
    """What the intervals account for; empty where there are none."""
    if not any(key.endswith("_low") for row in quality.values() for key in row):
        return ""
    scope = ("newly trained networks; those of the teacher and of the deployed pair account for new images only"
             if quality["test"]["seeds"] > 1 else
             "the same networks: one seed cannot show how newly trained ones would do")
    return (f"{LEVEL} % intervals, by {quality['test']['resamples']} bootstrap resamples, are for new images and "
            f"{scope}.")


def images(quality: Mapping) -> str:
    return counted(quality["test"]["images"], "test image")
