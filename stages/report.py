"""The report: one page, as Markdown and as HTML, which is also the model card. In: what the other stages measured.

reads   params.yaml, metrics/{data,quality,quantisation,size,speed}.json, metrics/timing/, data/raw.zip (its hash),
        plots/{teacher,baseline,student}.csv, plots/{data,test}/, data/prepared/{index.csv,classes.txt}, data/confused/,
        models/*.onnx (their hashes), the templates of stages/reporting/
writes  report/: report.md, index.html (the same, in one file), curves.png, losses.png, tradeoff.png, tradeoff.csv,
        and confused/ if report.pictures is true
`python -m stages.report --table` prints a short table of the models and writes nothing; `--pdf` prints the
existing page to report/report.pdf by Chromium.
"""

import argparse
import os
import shutil
import textwrap
from pathlib import Path

import pydantic

from stages.core import errors, files, params, workdir
from stages.data import prepared
from stages.deployment import budget, onnx_model
from stages.evaluation import hints, seeds
from stages.reporting import numbers, results

# Markdown that a text of params.yaml may not contain, by its markdown-it name: it would end the text's section, or not
# end itself.
REFUSED = {"heading_open": "a heading", "fence": "a code fence", "html_block": "HTML", "html_inline": "HTML"}


class DataName(params.Section, extra="ignore"):
    """The key of section `data` that the page prints; stages/data/origin.py knows the others."""

    name: str = pydantic.Field(min_length=1, max_length=200, pattern=r"^[^\n\t]*$")  # what the set is called


class ReportParams(params.Section):
    """What no measurement says. Texts are Markdown."""

    title: str = pydantic.Field(min_length=1, max_length=200, pattern=r"^[^\n\t]*$")  # of the page
    licence: str = pydantic.Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")  # of data and model, an id of the model hub
    provenance: str = pydantic.Field(min_length=1)  # where the data come from, and under which terms
    intended: str = pydantic.Field(min_length=1)  # what the model is for
    out_of_scope: str = pydantic.Field(min_length=1)  # what it is not for
    pictures: bool  # whether the page, which git keeps, shows photographs of the data

    @pydantic.field_validator("provenance", "intended", "out_of_scope")
    @classmethod
    def _stays_in_its_section(cls, text: str) -> str:
        from markdown_it import MarkdownIt

        tokens = MarkdownIt("commonmark").parse(text)
        types = {token.type for outer in tokens for token in (outer, *(outer.children or ()))}
        if kinds := dict.fromkeys(kind for token, kind in REFUSED.items() if token in types):
            raise ValueError(f"contains {' and '.join(kinds)}, which would change the page around it; write "
                             "paragraphs and lists, and \\< for <")
        return text


FOLDER, PLOTS, CONFUSED, RAW = Path("report"), Path("plots"), Path("data/confused"), Path("data/raw.zip")
PAGE, TEXT, PDF = FOLDER / "index.html", FOLDER / "report.md", FOLDER / "report.pdf"
MODELS = tuple(onnx_model.DEPLOYED)
TRAINED = MODELS[:3]
TIMED = ("train_teacher", "teacher_targets", "train_baseline", "distill")
# Metrics of quality.json on the page, if the task has them, and their labels.
METRICS = {"accuracy": "accuracy (weighted recall), %", "top5": "top-5 accuracy, %", "miou": "mean IoU, %",
           "pixel_accuracy": "pixel accuracy (weighted recall), %",
           "balanced_accuracy": "balanced accuracy (macro recall), %",
           "precision": "precision, macro, %", "recall": "recall, macro, %", "f1": "F1, macro, %",
           "precision_weighted": "precision, weighted, %", "f1_weighted": "F1, weighted, %",
           "map": "mAP, %", "mcc": "Matthews correlation", "ece": "expected calibration error (ECE), %",
           "brier": "Brier score", "log_loss": "log loss, nats"}
SAME = {"recall": "balanced_accuracy"}  # one number under two names: the first is left out where the second is there
PHOTOGRAPHS = (PLOTS / "data/findings.png", PLOTS / "test/pictures.png")  # on the page only if report.pictures is true


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.report", description="Write report/.")
    parser.add_argument("--table", action="store_true", help="print the short table instead")
    parser.add_argument("--pdf", action="store_true", help="make report/report.pdf from the existing page")
    options = parser.parse_args()
    if options.table:
        from stages.reporting import page

        with page.complete():
            print(short_table())
    elif options.pdf:
        print_pdf()
    else:
        write_page()


@workdir.lock("report")
def write_page() -> None:
    from stages.reporting import card, page

    own = params.load("report", ReportParams)
    with page.complete():
        context = gather()
        draw(context)
        context |= find_pictures(own.pictures)
        head = card.front_matter(context["settings"], context["quality"], context["quantisation"]["form"])
    text = page.markdown(context)
    with files.atomic_write(TEXT) as file:
        file.write(f"---\n{head}---\n{text}")
    with files.atomic_write(PAGE) as file:
        file.write(page.html(text, own.title, FOLDER))


def gather() -> dict[str, object]:
    """Metrics, settings and tables, by their names in page.md.j2."""
    tables = {name: files.read_metrics(name) for name in ("quality", "size", "speed", "quantisation", "data")}
    student = tables["quality"]["student"]
    limits = params.load("benchmark.budget", budget.BudgetParams)
    confused = PLOTS / "test/confused.csv"
    return tables | {
        "settings": params.load_all(), "models": MODELS,
        "timing": {name: files.read_metrics(f"timing/{name}") for name in TIMED},
        "curves": {name: files.read_csv(PLOTS / f"{name}.csv") for name in TRAINED},
        "rankings": rankings(),
        "index": files.read_csv(prepared.FOLDER / "index.csv"),
        "classes": prepared.classes(),
        "each_class": files.read_csv(PLOTS / "test/classes.csv"),
        "confused": files.read_csv(confused) if confused.is_file() else None,
        "budget": budget.verdicts(limits, tables["size"], tables["speed"], tables["quality"]),
        "metrics": {metric: label for metric, label in METRICS.items()
                    if metric in student and SAME.get(metric) not in student},
        "hashes": {path.as_posix(): files.read_output(files.sha256, path)
                   for path in (RAW, *onnx_model.DEPLOYED.values())},
    }


def draw(context: dict) -> None:
    from stages.reporting import curves, tradeoff

    quality = context["quality"]
    curves.draw(context["curves"], quality["test"]["named"], FOLDER / "curves.png")
    curves.draw_losses(context["curves"], FOLDER / "losses.png")
    points = tradeoff.rows(MODELS, quality, context["size"], context["speed"])
    files.write_csv(FOLDER / "tradeoff.csv", list(points[0]), points)
    tradeoff.draw(points, quality, FOLDER / "tradeoff.png")


def find_pictures(photographs: bool) -> dict[str, object]:
    """pictures: links by file name; examples: links to pictures of confused classes, copied beside the page because git
    does not keep data/; hidden: files that are left out because they show photographs.
    """
    pictures = [*FOLDER.glob("*.png"), *PLOTS.glob("data/*.png"), *PLOTS.glob("test/*.png")]
    examples = sorted(CONFUSED.glob("*.png"))
    hidden = [] if photographs else [*(file for file in PHOTOGRAPHS if file in pictures), *examples]
    copies = [FOLDER / "confused" / file.name for file in examples if photographs]
    for copy in copies:
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(CONFUSED / copy.name, copy)
    return {"pictures": {file.name: os.path.relpath(file, FOLDER) for file in pictures if file not in hidden},
            "examples": [os.path.relpath(file, FOLDER) for file in copies],
            "hidden": [file.as_posix() for file in hidden]}


def short_table() -> str:
    """Score, parameters, size and latency of the models, and where to look next."""
    quality, size, speed = map(files.read_metrics, ("quality", "size", "speed"))
    test, machine = quality["test"], speed["machine"]
    rows = [("", f"{test['named']}, %", "deployed", "parameters", "size", "latency")]
    rows += [(name.replace("_", " "), numbers.spread(quality[name], test["primary"], 2),
              f"{quality[name]['deployed']:.2f}", f"{size[name]['parameters_m']:.3f} M",
              f"{size[name]['size_mb']:.3f} MB", f"{speed[name]['latency_ms']:.2f} ms") for name in MODELS]
    rows.append(("teacher/int8", "", "", f"{size['ratio']['parameters']:.1f} ×", f"{size['ratio']['size']:.1f} ×",
                 f"{speed['ratio']['latency']:.1f} ×"))
    first, *widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([name.ljust(first), *map(str.rjust, cells, widths)]) for name, *cells in rows]
    times = [f"latency: one image, {machine['threads']} thread(s), {machine['processor']}",
             *wrapped(results.slower_than_float(quality, speed)), *wrapped(results.from_a_photograph(speed))]
    return "\n".join([*lines, "", *notes(quality), *times, "",
                      "report/report.md                    what these numbers mean, and how they came about",
                      "dvc metrics show, dvc plots show    all of them (.venv/bin/dvc)",
                      "presets/                            other data sets: make preset NAME=scenes, then make"])


def notes(quality: dict) -> list[str]:
    """What the reader of the short table has to know: where distilling didn't help, and what ships then."""
    from stages.reporting import outlook

    quantisation, curve = files.read_metrics("quantisation"), files.read_csv(PLOTS / "student.csv")
    settings = params.load_all()
    started = hints.started({role: settings[role]["weights"] for role in ("teacher", "student")})
    sentences = (results.shipped(quality, quantisation), results.opposite(quality, quantisation),
                 "" if results.verdict(quality) == "helped" else outlook.better_teacher(quality, started),
                 outlook.other_distillation(quality, rankings(), curve, started))
    return [line for sentence in filter(None, sentences) for line in (*wrapped(sentence), "")]


def wrapped(sentence: str) -> list[str]:
    """The lines of a Markdown sentence as plain text."""
    return textwrap.wrap(sentence.translate(str.maketrans("", "", "*`")), 120)


def rankings() -> dict[str, dict]:
    """How the seeds of teacher, baseline and student did on val."""
    return {role: seeds.read(role) for role in TRAINED}


def print_pdf() -> None:
    """Raises UserError where there is no page yet, or no browser to print it with."""
    from stages.reporting import pdf

    if not PAGE.is_file():
        raise errors.UserError(f"{PAGE} is missing; run dvc repro to make it")
    pdf.write(PAGE, PDF)
    print(PDF)


if __name__ == "__main__":
    errors.run(main)
