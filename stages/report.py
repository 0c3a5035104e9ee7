"""The page to hand in. In: what the stages above measured. Out: report/report.md, report/index.html and their pictures.

reads   params.yaml, metrics/{data,quality,quantisation,size,speed}.json, metrics/timing/, data/raw.zip (its hash),
        plots/{teacher,baseline,student}.csv, plots/{data,test}/, data/prepared/{index.csv,classes.txt}, data/confused/,
        models/*.onnx (their hashes), the templates of stages/reporting/
writes  report/: report.md, index.html (the same, in one file), curves.png, losses.png, tradeoff.png, tradeoff.csv,
        and confused/ where report.pictures allows it
`python -m stages.report --table` prints the short table of the four models and writes nothing; `--pdf` prints the page
that is there to report/report.pdf, by Chromium.
"""

import argparse
import shutil
from pathlib import Path

import pydantic

from stages.core import errors, files, params
from stages.data import prepared
from stages.deployment import budget, onnx_model
from stages.evaluation import statistics
from stages.reporting import numbers

# What a text of the page may not hold, as markdown-it names it: it ends the text's section, or never ends itself.
REFUSED = {"heading_open": "a heading", "fence": "a code fence", "html_block": "HTML", "html_inline": "HTML"}


class ReportParams(params.Section):
    """What the page says that no number tells. Texts are Markdown."""

    title: str = pydantic.Field(min_length=1)  # of the page
    licence: str = pydantic.Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")  # of data and model, an id of the model hub
    provenance: str = pydantic.Field(min_length=1)  # where the data come from, and under which terms
    intended: str = pydantic.Field(min_length=1)  # what the model is for
    out_of_scope: str = pydantic.Field(min_length=1)  # what it is not for
    pictures: bool  # whether photographs of the data get inside the page, which git keeps

    @pydantic.field_validator("provenance", "intended", "out_of_scope")
    @classmethod
    def _stays_in_its_place(cls, text: str) -> str:
        from markdown_it import MarkdownIt

        tokens = MarkdownIt("commonmark").parse(text)
        found = {token.type for outer in tokens for token in (outer, *(outer.children or ()))}
        if kinds := dict.fromkeys(kind for token, kind in REFUSED.items() if token in found):
            raise ValueError(f"holds {' and '.join(kinds)}, which would change the page around it; write paragraphs "
                             "and lists, a < as \\<")
        return text


FOLDER, PLOTS, CONFUSED, RAW = Path("report"), Path("plots"), Path("data/confused"), Path("data/raw.zip")
PAGE, TEXT, PDF = FOLDER / "index.html", FOLDER / "report.md", FOLDER / "report.pdf"
MODELS = tuple(onnx_model.DEPLOYED)
TRAINED = MODELS[:3]
TIMED = ("train_teacher", "teacher_targets", "train_baseline", "distill")
# Metrics of quality.json that the page shows, those of them that the task has.
SHOWN = {"accuracy": "accuracy (weighted recall), %", "top5": "top-5 accuracy, %", "miou": "mean IoU, %",
         "pixel_accuracy": "pixel accuracy (weighted recall), %",
         "balanced_accuracy": "balanced accuracy (macro recall), %",
         "precision": "precision, macro, %", "recall": "recall, macro, %", "f1": "F1, macro, %",
         "precision_weighted": "precision, weighted, %", "f1_weighted": "F1, weighted, %",
         "map": "mAP, %", "mcc": "Matthews correlation", "ece": "expected calibration error (ECE), %",
         "brier": "Brier score", "log_loss": "log loss, nats"}
TWICE = {"recall": "balanced_accuracy"}  # of one number under two names, where there are both: the other is shown
# Pictures that the page shows, those of them that the task draws: where, what they are, what to see there.
PICTURES = {
    PLOTS / "data/balance.png": ("images of each class, found and kept",
                                 "What each class has, before and after cleaning:"),
    PLOTS / "data/findings.png": (
        "the worst findings of each kind",
        "The worst findings of each kind, each beside the image it was compared with, if there is one:"),
    PLOTS / "data/sizes.png": ("sizes and aspect ratios",
                               "Sizes (a dot is the larger the more images have it) and aspect ratios:"),
    FOLDER / "curves.png": ("score and loss over the epochs",
                            "Score and cross-entropy over the epochs. Lines are means over the seeds, bands reach from "
                            "the lowest to the highest on val:"),
    FOLDER / "losses.png": ("parts of the losses, and the learning rate",
                            "What the losses are made of in training (parts unweighted; the teacher's has T² in it), "
                            "and the learning rate:"),
    FOLDER / "tradeoff.png": ("score against size and latency",
                              f"Score against size and latency; bars are {statistics.LEVEL} % intervals, or standard "
                              "deviations over the seeds where there are none; the dotted line joins what nothing "
                              "beats:"),
    PLOTS / "test/confusion.png": ("confusion matrix of the small student",
                                   "Where the small student errs (rows are what the image shows):"),
    PLOTS / "test/classes.png": (
        "precision and recall of each class",
        "How much of what a model calls a class is of that class, and how much of a class it finds:"),
    PLOTS / "test/reliability.png": ("reliability diagram",
                                     "How often a model is right, by how sure it is; on the diagonal it is as often "
                                     "right as it thinks:"),
    PLOTS / "test/precision_recall.png": ("precision against recall",
                                          "Precision against recall, all classes together, each against the rest:"),
    PLOTS / "test/pictures.png": (
        "test pictures and what the models make of them",
        "Test pictures and what each model makes of them; in the corner that picture's own mean IoU:"),
}
PHOTOGRAPHS = (PLOTS / "data/findings.png", PLOTS / "test/pictures.png")  # for who allows them on the page


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.report", description="Write report/.")
    parser.add_argument("--table", action="store_true", help="print the short table instead")
    parser.add_argument("--pdf", action="store_true", help="make report/report.pdf of the page that is there")
    asked = parser.parse_args()
    if asked.table:
        print(short_table())
    elif asked.pdf:
        print_pdf()
    else:
        write_page()


def write_page() -> None:
    own = params.load("report", ReportParams)
    found = gather()
    draw(found)
    found["pictures"], found["hidden"], found["examples"] = shown(own.pictures)

    from stages.reporting import card, page

    with page.complete():
        head = card.front_matter(found["settings"], found["quality"], found["quantisation"]["form"])
    text = page.markdown(found)
    with files.atomic_write(TEXT) as file:
        file.write(f"---\n{head}---\n{text}")
    with files.atomic_write(PAGE) as file:
        file.write(page.html(text, own.title, FOLDER))


def gather() -> dict[str, object]:
    """What was measured and set, by the name that page.md.j2 has for it."""
    found = {name: files.read_metrics(name) for name in ("quality", "size", "speed", "quantisation", "data")}
    quality = found["quality"]
    limits = params.load("benchmark.budget", budget.BudgetParams)
    confused = PLOTS / "test/confused.csv"
    return found | {
        "settings": params.load_all(), "models": MODELS,
        "timing": {name: files.read_metrics(f"timing/{name}") for name in TIMED},
        "curves": {name: files.read_output(files.read_csv, PLOTS / f"{name}.csv") for name in TRAINED},
        "index": files.read_output(files.read_csv, prepared.FOLDER / "index.csv"),
        "classes": files.read_output(lambda path: prepared.classes(), prepared.FOLDER / "classes.txt"),
        "each_class": files.read_output(files.read_csv, PLOTS / "test/classes.csv"),
        "confused": files.read_csv(confused) if confused.is_file() else None,
        "budget": budget.verdicts(limits, found["size"], found["speed"], quality),
        "shown": {metric: label for metric, label in SHOWN.items() if metric in quality["student"]
                  and TWICE.get(metric) not in quality["student"]},
        "hashes": {path.as_posix(): files.read_output(files.sha256, path) for path in (RAW, *onnx_model.DEPLOYED.values())},
    }


def draw(found: dict) -> None:
    from stages.reporting import curves, tradeoff

    named = found["quality"]["test"]["named"]
    curves.draw(found["curves"], named, FOLDER / "curves.png")
    curves.draw_losses(found["curves"], FOLDER / "losses.png")
    points = tradeoff.rows(MODELS, found["quality"], found["size"], found["speed"])
    tradeoff.write(points, FOLDER / "tradeoff.csv")
    tradeoff.draw(points, found["quality"], FOLDER / "tradeoff.png")


def shown(photographs: bool) -> tuple[dict[str, dict[str, str]], list[str], list[str]]:
    """The pictures that there are, by file name; those that params keep off the page; examples of what is confused.

    Examples are copied beside the page, since git doesn't keep data/.
    """
    there = {file: words for file, words in PICTURES.items() if file.is_file()}
    examples = sorted(CONFUSED.glob("*.png"))
    hidden = [] if photographs else [file for file in (*there, *examples) if file in (*PHOTOGRAPHS, *examples)]
    pictures = {file.name: {"alt": alt, "said": said, "link": link(file)} for file, (alt, said) in there.items()
                if file not in hidden}
    copies = [FOLDER / "confused" / file.name for file in examples if photographs]
    for copy in copies:
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(CONFUSED / copy.name, copy)
    return pictures, [file.as_posix() for file in hidden], [link(copy) for copy in copies]


def link(file: Path) -> str:
    """As seen from the page."""
    return file.relative_to(FOLDER).as_posix() if file.is_relative_to(FOLDER) else f"../{file.as_posix()}"


def short_table() -> str:
    """Accuracy, parameters, size and latency of the four models, and where to look next."""
    quality, size, speed = map(files.read_metrics, ("quality", "size", "speed"))
    metric = quality["test"]["primary"]
    rows = [("", quality["test"]["named"] + ", %", "deployed", "parameters", "size", "latency")]
    rows += [(name, numbers.spread(quality[name], metric, 2), f"{quality[name]['deployed']:.2f}",
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
                      "presets/                            other data sets: make preset NAME=scenes, then make"])


def print_pdf() -> None:
    """Raises UserError where there is no page yet, or nothing to print it with."""
    from stages.reporting import pdf

    if not PAGE.is_file():
        raise errors.UserError(f"{PAGE} is missing; run dvc repro to make it")
    pdf.write(PAGE, PDF)
    print(PDF)


if __name__ == "__main__":
    errors.run(main)
