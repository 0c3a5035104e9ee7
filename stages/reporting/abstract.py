"""The page in under 150 words. In: what was measured. Out: sentences true for any numbers, a function a sentence."""

from collections.abc import Mapping, Sequence

from stages.deployment.budget import Verdict
from stages.reporting.numbers import bracketed, counted, escaped, interval, listed, parameters, plain, points, spread
from stages.reporting.results import images, verdict

AIMS = {"classification": "tell {classes} apart", "segmentation": "find {classes} in pictures, pixel by pixel"}
FILES = {"int8": "int8 file", "int8 weights": "file with int8 weights", "fp16 weights": "half-float file"}  # student's
NAME = (5, 60)  # words and letters of a data set's name; a longer one is left out


def aim(size: Mapping, name: str, task: str, classes: int) -> str:
    """What was trained for what."""
    said = AIMS.get(task, "answer on {classes}").format(classes=f"{classes} classes")
    teacher, student = (parameters(size[model]["parameters_m"]) for model in ("teacher", "student"))
    of = f" (data set: {escaped(name)})" if len(name.split()) <= NAME[0] and len(name) <= NAME[1] else ""
    return f"A teacher of {teacher} parameters taught a student of {student} to {said}{of}."


def cleaning(data: Mapping) -> str:
    found, dropped = data["images"]["found"], data["images"]["dropped"]
    return f"Of {counted(found, 'image')}, cleaning left out {dropped or 'none'}."


def scores(quality: Mapping) -> str:
    test = quality["test"]
    teacher, baseline, student = (spread(quality[name], test["primary"], 2) for name in (
        "teacher", "baseline", "student"))
    over = f"; mean ± standard deviation over {test['seeds']} seeds" if test["seeds"] > 1 else "; one seed"
    return (f"On {images(quality)} the teacher's {test['named']} is {teacher} %, the student's {student} %, and "
            f"{baseline} % where it was trained without a teacher{over}.")


def gain(quality: Mapping) -> str:
    """Whether the teacher helped."""
    table, difference = quality["distillation"], points(quality["distillation"]["gain"])
    found = verdict(quality)
    if found == "untold":
        where = f"{difference} {'ahead' if table['gain'] > 0 else 'behind'}" if round(table["gain"], 2) else "level"
        return f"The taught one is {where}."
    within = bracketed(f"{interval(table, 'gain')} points")
    if found in ("ahead", "behind"):
        return f"The taught one is {difference} {found}{within}; whether others would be, one seed doesn't tell."
    return {"helped": f"Distillation gained {difference}{within}.",
            "harmed": f"Distillation lost {difference}{within}.",
            "unclear": f"No difference between the two can be shown{within}."}[found]


def small(quality: Mapping, size: Mapping, speed: Mapping, form: str) -> str:
    """The file to ship."""
    return (f"The student's {FILES[form]} has {quality['int8']['deployed']:.2f} %, takes "
            f"{plain(size['int8']['size_mb'], 3)} MB (the teacher's {plain(size['teacher']['size_mb'], 3)}), and "
            f"answers in {plain(speed['int8']['latency_ms'], 2)} ms ({plain(speed['teacher']['latency_ms'], 2)}) on "
            f"{counted(speed['machine']['threads'], 'thread')} of the machine that measured it.")


def budget(verdicts: Sequence[Verdict]) -> str:
    """Empty where the device sets no limits."""
    broken = [verdict.what.split(",")[0] for verdict in verdicts if not verdict.met]
    if not verdicts:
        return ""
    return f"It fails the device's budget in {listed(broken)}." if broken else "It keeps to the device's budget."
