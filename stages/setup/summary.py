"""What `make new` prints: what was found, what could not be known, how long `make` will take. Text alone."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from stages.setup import rules
from stages.setup.draft import Counts
from stages.setup.mask_codes import MaskCodes
from stages.setup.rules import Choice, Weights
from stages.setup.survey import Pictures, Reading

SHOWN = 8  # classes at each end of a long list
COLOUR_MODES = {"RGB", "RGBA", "P", "CMYK", "YCbCr", "LAB", "HSV", "RGBX", "RGBa", "PA"}
LONG = 3600  # seconds, from which on it is said what would be shorter
NIGHT = 8 * 3600  # seconds, from which on fewer epochs are offered too
DAYS = 48 * 3600  # seconds, from which on days are counted
BUSY = 1.3  # times as long, from which on it is worth a line
LABEL = 12  # characters


def found(reading: Reading, others: Sequence[str], counts: Counts, pictures: Pictures, codes: MaskCodes | None,
          skipped: str) -> Iterator[str]:
    """Lines on the source. skipped: a sentence on the files that are not used, "" where all are."""
    options = ", ".join(f"{key}: {value}" for key, value in reading.options.items())
    also = f"; {' and '.join(others)} would read as many files: to have that, set data.layout" if others else ""
    yield _line("layout", reading.layout + (f" ({options})" if options else "") + also)
    yield _line("task", f"{reading.task}, {_classes(counts.classes, codes)}")
    yield _line("splits", _splits(counts))
    yield _line("pictures", _pictures(pictures))
    for reason, number in pictures.unreadable.most_common(3):
        yield _line("unreadable", f"{number} of these: {reason}")
    if skipped:
        yield _line("not used", skipped)


def chosen(choices: Sequence[Choice]) -> Iterator[str]:
    """The choices that matter most, each with its reason."""
    shown = {choice.key: choice for choice in choices}
    for key in ("split.image_size", "teacher.options", "teacher.weights", "teacher_training.epochs", "student.options",
                "student.weights", "student_training.epochs", "student_training.imbalance", "distill.feature_weight"):
        if key in shown:
            reason = f"  # {shown[key].reason}" if shown[key].reason else ""
            yield f"  {key}: {_plain(shown[key].value)}{reason}"


def unknown(reading: Reading, counts: Counts, codes: MaskCodes | None, weights: tuple[Weights | None, str]
            ) -> Iterator[str]:
    """A line for each thing that only the user knows. weights: teacher's and student's."""
    yield "report.licence, provenance, out_of_scope: whose images these are, under which terms; what not to use it for"
    yield "benchmark.budget: what the device allows (size, latency, memory); no limit is set"
    if counts.drawn and not any(sample.group for sample in reading.samples):
        how = "; data.layout_options.group takes a column that says so" if reading.layout == "image_table" else ""
        yield (f"whether images belong together (frames of a video, pictures of one patient): if so, drawing "
               f"{' and '.join(counts.drawn)} image by image flatters the scores{how}")
    if reading.task == "classification":
        if not rules.mirror_matters(counts.classes):
            yield ("augment.flip (of teacher_training and student_training): false if a mirrored picture would be "
                   "of another class, or of none, as with text")
        if weights[1]:
            yield (f"student.weights: whether {weights[1]} may be used for what you do (data/weights/README.md says "
                   "what it was trained on); else none")
    else:
        yield "augment.turns: true if the pictures have no up, as seen from the air or through a microscope"
        if codes and not codes.are_named:
            yield f"data.masks.classes: what {', '.join(codes.classes)} are called"
        if codes and codes.are_mixed:
            yield f"data.masks: which of {codes.found} codes are classes, and not mixtures of others; check them"
    if not weights[0]:
        yield ("teacher.weights: none are in data/weights/, and none can be downloaded; with them teachers are "
               "better (data/weights/README.md)")


def time(seconds: Mapping[str, float], with_one_seed: float, first_look: tuple[Mapping[str, int], float], device: str,
         threads: int, busy: float) -> Iterator[str]:
    """The sum, the stages that take most of it, and what would be shorter. with_one_seed: seconds. first_look: epochs
    by section of a run that takes a night at most, if there is one, and its seconds. busy: how many times as long it
    takes with what else runs now.
    """
    longest = sorted(seconds, key=seconds.get, reverse=True)[:4]
    parts = ", ".join(f"{stage} {duration(seconds[stage])}" for stage in longest)
    total = sum(seconds.values())
    rest = total - sum(seconds[stage] for stage in longest)
    where = f"{threads} thread{'s' * (threads > 1)}" if device == "cpu" else device
    yield f"make will take about {duration(total)} on this machine ({where}): {parts}, the rest {duration(rest)}"
    if busy > BUSY:
        yield f"  {busy:.1f} × as long as things are, since other programs are at work"
    if total > LONG and with_one_seed < total:
        yield f"  with student_training.seeds: [0], and no measure of the spread, about {duration(with_one_seed)}"
    epochs, shorter = first_look
    if with_one_seed > NIGHT and shorter < with_one_seed:
        changes = ", ".join(f"{section}.epochs: {number}" for section, number in epochs.items())
        yield f"  for a first look, with one seed and {changes}, about {duration(shorter)}"


def memory(peak: float, processes: int, free: float) -> str:
    """What one process of those that train side by side takes at most, and what to do where that is more than there is.

    peak, free: GB.
    """
    several = f", of which {processes} train side by side" if processes > 1 else ""
    enough = ("" if processes * peak <= free else
              "; with OMP_NUM_THREADS=1 one trains after the other" if peak <= free else
              ", which is too little: take a smaller teacher, batch_size or split.image_size")
    return f"  with up to {peak:.1f} GB of memory in a process{several}; {free:.1f} GB are free here{enough}"


def duration(seconds: float) -> str:
    """Rounded to what an estimate is worth: 40 s, 12 min, 3 h 20 min, 2.5 days."""
    if seconds >= DAYS:
        return f"{seconds / 86400:.1f} days"
    if seconds < 90:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(10 * round(minutes / 10), 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def _line(label: str, text: str) -> str:
    return f"  {label:{LABEL}}{text}"


def _classes(classes: Mapping[str, int], codes: MaskCodes | None) -> str:
    if codes:
        parts = [f"{name} {100 * share:.3g} %" for name, share in codes.shares.items()]
        void = f"; ignored {', '.join(map(str, codes.ignored))}" if codes.ignored else ""
        return f"{len(parts)} classes, by pixels of {codes.looked_at} masks: {_some(parts)}{void}"
    ranked = sorted(classes, key=classes.get, reverse=True)
    return f"{len(classes)} classes: {_some([f'{name} {classes[name]}' for name in ranked])}"


def _some(parts: Sequence[str]) -> str:
    """All parts, or of many the first and the last."""
    if len(parts) <= 2 * SHOWN:
        return ", ".join(parts)
    return ", ".join([*parts[:SHOWN], "…", *parts[-SHOWN:]])


def _splits(counts: Counts) -> str:
    train, val, test = counts.after_draw
    unlabelled = f", {counts.unlabelled} unlabelled" if counts.unlabelled else ""
    drawn = [f"{split} ({100 * share:.0f} %)" for split, share in counts.drawn.items()]
    how = f"; {' and '.join(drawn)} will be drawn from train" if drawn else ""
    return f"{train} train, {val} val, {test} test{unlabelled}{how}"


def _pictures(pictures: Pictures) -> str:
    heights, widths = zip(*pictures.sizes, strict=True)
    (height, width), number = Counter(pictures.sizes).most_common(1)[0]
    sides = f"{min(widths)}–{max(widths)} × {min(heights)}–{max(heights)} px"
    if number == len(pictures.sizes):
        sides = f"all {width}×{height} px"
    elif 2 * number > len(pictures.sizes):
        sides = f"most {width}×{height} px, others {sides}"
    colour = sum(count for mode, count in pictures.modes.items() if mode in COLOUR_MODES) / pictures.modes.total()
    kind = "colour" if colour == 1 else "grey" if colour == 0 else f"{100 * colour:.0f} % colour, the rest grey"
    return f"{sides}, {kind} ({len(pictures.sizes)} looked at)"


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {part}" for key, part in value.items())
    return str(value)
