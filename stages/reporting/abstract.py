"""The abstract, in under 150 words. In: metrics and settings as mappings. Out: sentences, a function each."""

from collections.abc import Mapping, Sequence

from stages.deployment.budget import Verdict
from stages.reporting.numbers import bracketed, counted, escaped, interval, listed, parameters, plain, points, spread
from stages.reporting.results import images, verdict

AIMS = {"classification": "classify images into {classes}", "segmentation": "segment images into {classes}"}
FILES = {"int8": "int8 file", "int8 weights": "file with int8 weights", "fp16 weights": "half-float file"}
MAX_WORDS, MAX_LETTERS = 5, 60  # of a data set's name; a longer one is left out


def aim(size: Mapping, name: str, task: str, classes: int) -> str:
    """Who was trained for what."""
    teacher, student = (parameters(size[model]["parameters_m"]) for model in ("teacher", "student"))
    aim = AIMS.get(task, "predict {classes}").format(classes=f"{classes} classes")
    is_short = len(name.split()) <= MAX_WORDS and len(name) <= MAX_LETTERS
    return (f"A teacher with {teacher} parameters taught a student with {student} to {aim}"
            f"{f' (data set: {escaped(name)})' if is_short else ''}.")


def cleaning(data: Mapping) -> str:
    images = data["images"]
    return f"Cleaning removed {images['dropped'] or 'none'} of {counted(images['found'], 'image')}."


def scores(quality: Mapping) -> str:
    test = quality["test"]
    teacher, student, baseline = (spread(quality[name], test["primary"], 2) for name in (
        "teacher", "student", "baseline"))
    seeds = f"mean ± standard deviation over {test['seeds']} seeds" if test["seeds"] > 1 else "one seed"
    return (f"On {images(quality)}, {test['named']} is {teacher} % for the teacher, {student} % for the student and "
            f"{baseline} % for the baseline, which is the same network trained without a teacher ({seeds}).")


def gain(quality: Mapping) -> str:
    """Whether the teacher helped."""
    table, difference = quality["distillation"], points(quality["distillation"]["gain"])
    within = bracketed(f"{interval(table, 'gain')} points")
    match verdict(quality):
        case "no interval":
            side = f"{difference} {'ahead of' if table['gain'] > 0 else 'behind'}"
            return f"The distilled student is {side if round(table['gain'], 2) else 'level with'} the baseline."
        case "ahead" | "behind" as side:
            return (f"The distilled student is {difference} {'ahead of' if side == 'ahead' else side} the baseline"
                    f"{within}; one seed cannot show whether other seeds would agree.")
        case "helped":
            return f"Distillation gained {difference}{within}."
        case "harmed":
            return f"Distillation lost {difference}{within}."
    return f"No difference between student and baseline can be shown{within}."


def small(quality: Mapping, size: Mapping, speed: Mapping, form: str) -> str:
    """The deployed file beside the teacher's. form: the number format, as metrics/quantisation.json has it."""
    (own_size, teacher_size), (own_time, teacher_time) = (
        [plain(table[model][key], digits) for model in ("int8", "teacher")]
        for table, key, digits in ((size, "size_mb", 3), (speed, "latency_ms", 2)))
    return (f"The {quality['test']['shipped_role']}'s {FILES[form]} scores {quality['int8']['deployed']:.2f} %, takes "
            f"{own_size} MB (teacher: {teacher_size} MB) and runs in {own_time} ms per image (teacher: {teacher_time} "
            f"ms) on {counted(speed['machine']['threads'], 'thread')} of the benchmark machine.")


def budget(verdicts: Sequence[Verdict]) -> str:
    """Empty where the device sets no limits."""
    failed = [verdict.what.split(",")[0] for verdict in verdicts if not verdict.met]
    if failed:
        return f"It fails the device budget in {listed(failed)}."
    return "It meets the device budget." if verdicts else ""
