"""What a finished run measured, with known numbers in it, for tests of the report."""

import contextlib
import copy
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import finished
from conftest import Project

from stages import report
from stages.cleaning import exact_rules, heuristic_rules
from stages.core import files
from stages.deployment import budget
from stages.evaluation import seeds
from stages.setup import presets

MODELS = report.MODELS
SCORES = {"teacher": 95.0, "baseline": 90.0, "student": 92.0, "int8": 91.9, "teacher_int8": 94.9}
OTHERS = {"classification": {"balanced_accuracy": 90.0, "map": 95.0}, "segmentation": {"pixel_accuracy": 90.0}}
PRIMARY = {"classification": "accuracy", "segmentation": "miou"}
NO_FINDINGS = dict.fromkeys((*exact_rules.ISSUES, *heuristic_rules.ISSUES, "override"), 0)
PRESETS = {"classification": "digits", "segmentation": "digit_scenes"}
RUNS = {"classification": "classes", "segmentation": "masks"}
# What quality.json has only where there is a gap, or a difference; and tables by class or by kind of finding.
SOMETIMES = dict.fromkeys((f"{name}{end}" for name in ("gap_recovered", "gain", "paired_gain", "int8_drop")
                           for end in ("", "_low", "_high")), 0.0)
NAMED = ("before", "after", "acted_on", "iou")


settings = functools.cache(presets.values)


@functools.cache
def gathered(task: str) -> dict:
    """What stages/report.py gathers of a finished run, as it is."""
    with contextlib.chdir(finished.run(RUNS[task]).folder):
        return report.gather()


def edited(real: Mapping, known: Mapping) -> dict:
    """A copy of what a run has written, with these values in it: no key, and no kind of value, that it has not."""
    result = copy.deepcopy(dict(real))
    for name, value in known.items():
        before = (real if name in real else SOMETIMES)[name]
        assert isinstance(value, Mapping) == isinstance(before, Mapping) and (
            isinstance(value, Mapping) or type(value) is type(before)), f"{name}: {value!r} in place of {before!r}"
        result[name] = edited(before, value) if isinstance(value, Mapping) and name not in NAMED else value
    return result


def like(real: Sequence[Mapping], known: Sequence[Mapping]) -> list[dict[str, str]]:
    """Rows with just the columns of a table that a run has written; its first row gives what is not known."""
    return [{name: str(row.get(name, value)) for name, value in real[0].items()} for row in known]


def facts(task: str = "classification") -> dict:
    """What stages/report.py gathers: a gain of 2 points for sure, 1000 test images, 3 seeds, classes cat, dog, owl."""
    real = gathered(task)
    measured = edited(real, {
        "quality": quality(task),
        "size": {name: {"parameters_m": 0.25, "size_mb": 1.0} for name in MODELS}
        | {"teacher": {"parameters_m": 1.5, "size_mb": 6.0}, "teacher_int8": {"parameters_m": 1.5, "size_mb": 1.6},
           "ratio": {"parameters": 6.0, "size": 6.0}},
        "speed": {name: {"latency_ms": 8.0 if name == "teacher" else 2.0, "latency_p95_ms": 9.0, "images_per_s": 500.0,
                         "peak_memory_mb": 70.0} for name in MODELS}
        | {"ratio": {"latency": 4.0, "memory": 1.0}, "machine": {"processor": "a CPU", "cores": 2, "threads": 1}},
        "quantisation": {"form": "int8", "shipped": "student", "ship": "best",
                         "mean_on_val": {"student": 93.0, "baseline": 91.0}, "val": {"drop": 0.1, "max_drop": 0.5},
                         "teacher": {"int8": 94.0, "drop": 0.1}}
        | ({"val_images": 1000} if task == "classification" else {}),
        "data": {"images": {"found": 2000, "kept": 1900, "dropped": 100},
                 "findings": dict.fromkeys(real["data"]["findings"], 0) | {"duplicate": 100},
                 "acted_on": {"duplicate": 100}, "before": {"train": {"cat": 500, "dog": 500}, "test": {"cat": 1000}},
                 "after": {"train": {"cat": 400, "dog": 500}, "test": {"cat": 1000}}},
        "timing": {name: {"seconds": 10.0, "cpu_seconds": 10.0, "device": "cpu", "threads": 2}
                   for name in report.TIMED}})
    measured["data"].pop("labels", None)
    measured |= {
        "settings": copy.deepcopy(settings(PRESETS[task])),
        "rankings": {name: ranking(score)
                     for name, score in (("teacher", 96.0), ("baseline", 91.0), ("student", 93.0))},
        "curves": {name: like(rows, curve()) for name, rows in real["curves"].items()},
        "index": like(real["index"], [{"split": split, "windows": 1} for split in ("train", "val", "test")]),
        "classes": ["cat", "dog", "owl"],
        "each_class": like(real["each_class"], [
            {"model": "int8", "class": name, "precision": 90.0, "recall": 90.0, "f1": score, "iou": score,
             "support": 10} for name, score in (("cat", 95.0), ("dog", 80.0), ("owl", 99.0))]),
        "confused": like(real["confused"], [
            {"actual": "dog", "predicted": "cat", "images": 7, "pixels": 7, "percent_of_actual": 70.0}]),
        "pictures": {}, "hidden": [], "examples": []}
    return judged(measured, size_mb=2.0)


def quality(task: str) -> dict:
    """metrics/quality.json."""
    primary = PRIMARY[task]
    scores = {name: {primary: score, f"{primary}_low": score - 1, f"{primary}_high": score + 1, "deployed": score,
                     "precision": 90.0, "recall": 90.0, "f1": 90.0, "ece": 2.0, "mcc": 0.9} | OTHERS[task]
              for name, score in SCORES.items()}
    shipped = {metric: scores["int8"][metric] for metric in (primary, "precision", "recall", "f1", "ece", "mcc")}
    shipped |= {primary: 91.8} | OTHERS[task]
    scores["int8"]["deployed"] = 91.8  # the means over the seeds are others
    for name in MODELS[1:]:
        scores[name]["where_teacher_errs"] = 30.0
    for name in MODELS[1:4]:  # of several seeds
        scores[name][f"{primary}_std"] = 0.5
    if task == "segmentation":
        for row in scores.values():
            row["iou"] = {"cat": 90.0, "dog": 80.0, "owl": 99.0}
    distillation = {"p_value": 0.001, "teacher_agreement": 93.0}
    for key, value, low, high in (("gain", 2.0, 1.0, 3.0), ("gap_recovered", 40.0, 20.0, 60.0),
                                  ("paired_gain", 2.0, 0.8, 3.2), ("int8_drop", 0.1, -0.2, 0.4)):
        distillation |= {key: value, f"{key}_low": low, f"{key}_high": high}
    return edited(gathered(task)["quality"], scores | {"shipped": shipped, "distillation": distillation, "test": {
        "images": 1000, "seeds": 3, "shipped_role": "student", "teacher_errors": 50, "resamples": 2000}})


def ranking(score: float) -> dict:
    """seeds.json of a network with two seeds, of which the second is better by a point. score: their mean on val."""
    return {"best": 1, "val": {str(seed): {"loss": 1.0, **dict.fromkeys(PRIMARY.values(), score - 0.5 + seed)}
                               for seed in (0, 1)}}


def curve() -> list[dict[str, str]]:
    """Two seeds, two epochs."""
    return [{"seed": seed, "epoch": epoch, "learning_rate": "0.1", "loss": "1.5", "cross_entropy": "1.0",
             "train_score": "50.0", "val_loss": "1.0", "val_score": str(60 + 10 * int(epoch) + int(seed))}
            for seed in "01" for epoch in "12"]


def judged(measured: dict, **limits: float) -> dict:
    """The same with the verdicts on these limits of benchmark.budget."""
    own = budget.BudgetParams(**{name: limits.get(name) for name in budget.BudgetParams.model_fields})
    return measured | {"budget": budget.verdicts(own, measured["size"], measured["speed"], measured["quality"])}


def changed(measured: Mapping, changes: Mapping[str, object]) -> dict:
    """A copy with changes like {"quality.distillation.gain": 3}; None removes a key. Tables keep their columns."""
    measured = copy.deepcopy(dict(measured))
    for key, value in changes.items():
        *groups, last = key.split(".")
        group = measured
        for name in groups:
            group = group[name]
        if value is None:
            del group[last]
        else:
            before = group.get(last)
            is_table = isinstance(before, list) and before and isinstance(before[0], Mapping)
            group[last] = like(before, value) if is_table else value
    return measured


def write(folder: Path, measured: Mapping) -> Project:
    """A finished run in `folder`, of which the page's numbers are these."""
    project = finished.copied("classes", folder)
    for name in ("quality", "size", "speed", "quantisation", "data"):
        files.write_json(folder / f"metrics/{name}.json", measured[name])
    for role, values in measured["rankings"].items():
        files.write_json(folder / seeds.path(role), values)
    for name, row in measured["timing"].items():
        files.write_json(folder / f"metrics/timing/{name}.json", row)
    named = {f"plots/{name}.csv": rows for name, rows in measured["curves"].items()}
    named |= {"data/prepared/index.csv": measured["index"], "plots/test/classes.csv": measured["each_class"],
              "plots/test/confused.csv": measured["confused"]}
    for path, rows in named.items():
        files.write_csv(folder / path, list(rows[0]), rows)
    (folder / "data/prepared/classes.txt").write_text("\n".join(measured["classes"]) + "\n", encoding="utf-8")
    project.write(measured["settings"])
    return project


def capture_axes(monkeypatch, module) -> list:
    """A list that fills with the axes of every figure that `module` draws."""
    axes, figure = [], module.figure

    @contextlib.contextmanager
    def captured(*arguments, **options):
        with figure(*arguments, **options) as drawn:
            yield drawn
            axes.extend(drawn.axes)

    monkeypatch.setattr(module, "figure", captured)
    return axes
