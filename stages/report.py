"""The page to hand in. In: what the stages above measured. Out: report/report.md, report/curves.png.

reads   metrics/{data,quality,quantisation,size,speed}.json, metrics/timing/, plots/{teacher,baseline,student}.csv,
        data/prepared/{index.csv,classes.txt}, plots/{data,test}/*.png (linked), stages/kit/report.md.j2
`python -m stages.report --table` prints the short table of the four models and writes nothing.
"""

import argparse
from collections import Counter
from pathlib import Path

from stages.kit import budget, faults, params, prepared, tables, wording


class ReportParams(params.Section):
    title: str  # of the page


class Network(params.Section, extra="ignore"):
    """What sections `teacher` and `student` say that a reader wants to know."""

    model: str
    options: dict[str, int | float | str | bool]


class Distillation(params.Section, extra="ignore"):
    """The same of section `distill`."""

    loss: str
    temperature: float
    kd_weight: float
    ce_weight: float


class Squares(params.Section, extra="ignore"):
    """The same of section `split`."""

    image_size: int


METRICS, PLOTS, FOLDER = Path("metrics"), Path("plots"), Path("report")
TEMPLATE = Path(__file__).parent / "kit" / "report.md.j2"
MODELS = ("teacher", "baseline", "student", "int8")
TIMED = ("train_teacher", "teacher_targets", "train_baseline", "distill")
# Columns of quality.json that the page shows, those of them that the task has.
SHOWN = {"accuracy": "accuracy %", "balanced_accuracy": "balanced accuracy %", "miou": "mean IoU %",
         "pixel_accuracy": "pixel accuracy %", "f1": "F1 %", "map": "mAP %", "ece": "ECE %"}
# Files of plots/test that the page shows, those of them that the task draws: what they are, and what to see there.
PICTURES = {
    "confusion.png": ("confusion matrix of the int8 student",
                      "Where the int8 student errs (rows are what the image shows):"),
    "classes.png": ("precision and recall of each class",
                    "How much of what a model calls a class is of that class, and how much of a class it finds:"),
    "pictures.png": ("test pictures and what the models make of them",
                     "Test pictures and what each model makes of them; in the corner that picture's own mean IoU:"),
}
# The same of plots/data.
DATA_PICTURES = {
    "balance.png": ("images of each class, found and kept", "What each class has, before and after cleaning:"),
    "findings.png": ("the worst findings of each kind",
                     "The worst findings of each kind, each beside the image it was compared with, if there is one:"),
    "sizes.png": ("sizes and aspect ratios", "Sizes (a dot is the larger the more images have it) and aspect ratios:"),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.report", description="Write report/report.md.")
    parser.add_argument("--table", action="store_true", help="print the short table instead")
    print(short_table()) if parser.parse_args().table else write_page()


def write_page() -> None:
    import jinja2

    from stages.kit import curves

    facts = gather()
    curves.draw({name: read(tables.read_csv, PLOTS / f"{name}.csv") for name in MODELS if name != "int8"},
                facts["quality"]["test"]["named"], FOLDER / "curves.png")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                                     keep_trailing_newline=True)
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(facts)
    with tables.whole(FOLDER / "report.md") as file:
        file.write(page)


def gather() -> dict[str, object]:
    """All that the template may say, by name."""
    quality = measured("quality")
    timing = {name: measured(f"timing/{name}") for name in TIMED}
    baseline = timing["train_baseline"]["seconds"]
    index = read(tables.read_csv, prepared.FOLDER / "index.csv")
    size, speed, quantisation = (measured(name) for name in ("size", "speed", "quantisation"))
    tested = [int(row["windows"]) for row in index if row["split"] == "test"]
    return {
        "title": params.load("report", ReportParams).title, "name": params.word("data.name"),
        "networks": {"teacher": params.load("teacher", Network), "student": params.load("student", Network)},
        "distill": params.load("distill", Distillation),
        "data": measured("data"),
        "classes": len(read(lambda path: prepared.classes(), prepared.FOLDER / "classes.txt")),
        "splits": Counter(row["split"] for row in index),
        "side": params.load("split", Squares).image_size, "squares": sum(tested) / len(tested),
        "quality": quality, "size": size, "speed": speed, "models": MODELS,
        "budget": budget.verdicts(params.load("benchmark.budget", budget.BudgetParams), size, speed, quality),
        "shown": {metric: label for metric, label in SHOWN.items() if metric in quality["student"]},
        "each_iou": list(quality["teacher"].get("iou", ())),  # classes; the teacher has no deviations among them
        "pictures": _there("test", PICTURES), "data_pictures": _there("data", DATA_PICTURES),
        "spread": wording.spread, "timing": timing,
        "sentences": wording.distillation(quality) + wording.small(quality, quantisation),
        "form": quantisation["form"],
        "cost": timing["distill"]["seconds"] / baseline,
        "cost_with_targets": (timing["distill"]["seconds"] + timing["teacher_targets"]["seconds"]) / baseline,
    }


def _there(folder: str, pictures: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    return {file: said for file, said in pictures.items() if (PLOTS / folder / file).is_file()}


def short_table() -> str:
    """Accuracy, parameters, size and latency of the four models, and where to look next."""
    quality, size, speed = measured("quality"), measured("size"), measured("speed")
    metric = quality["test"]["primary"]
    rows = [("", quality["test"]["named"] + ", %", "deployed", "parameters", "size", "latency")]
    rows += [(name, wording.spread(quality[name], metric, 2), f"{quality[name]['deployed']:.2f}",
              f"{size[name]['parameters_m']:.3f} M", f"{size[name]['size_mb']:.3f} MB",
              f"{speed[name]['latency_ms']:.2f} ms") for name in MODELS]
    rows.append(("teacher/int8", "", "", f"{size['ratio']['parameters']:.1f} ×", f"{size['ratio']['size']:.1f} ×",
                 f"{speed['ratio']['latency']:.1f} ×"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) if not column else cell.rjust(width)
                       for column, (cell, width) in enumerate(zip(row, widths, strict=True))) for row in rows]
    machine = speed["machine"]
    return "\n".join([*lines, "", f"latency: one image, {machine['threads']} thread(s), {machine['processor']}", "",
                      "report/report.md                    what these numbers mean, and how they came about",
                      "dvc metrics show, dvc plots show    all of them (.venv/bin/dvc)",
                      "presets/                            other data sets: copy one over params.yaml, then make"])


def measured(name: str) -> dict:
    return read(tables.read_json, METRICS / f"{name}.json")


def read(how, path: Path):
    """`how(path)`. Raises Fault where the file is missing or broken: every one of them is made by a stage."""
    try:
        return how(path)
    except (OSError, ValueError):
        raise faults.Fault(f"{path} is missing or broken; run dvc repro to make it") from None


if __name__ == "__main__":
    faults.run(main)
