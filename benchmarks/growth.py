"""How time and memory of the data stages and of the scoring grow with the images and the classes of a set.

    python -m benchmarks.growth [--images 1000 10000] [--classes 10 400 1000] [--run CLASSES [--each 10]]

Needs no data set: benchmarks/shapes.py makes one of each size. Out: a Markdown table on stdout. The exponent is that of
CPU time in the number of images, without what the stage takes for LEAST images, which is for imports above all. `score`
is what evaluate does with the predictions of one file, and its figures for four, on made-up logits; `nothing changed`
is `dvc repro` of these stages once more.

--run CLASSES: instead, the whole pipeline on some images of each class, with small networks and little training. Out:
what each stage took, what `dvc repro` takes when nothing changed, and the bytes of the pages; the project stays in the
folder that is named, to look at its report.
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml

from benchmarks import copies, shapes, small_run, stage_cost
from stages.core import errors
from stages.core.errors import UserError

SOURCE = "shapes.zip"
STAGES = ("source", "fetch", "scan", "clean", "split")
LEAST = 100  # images, in two classes
FEWEST = 5  # images of a class, and folds: with fewer images no label is checked
SCORE = "from benchmarks import growth; growth.score({images}, {classes})"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 400, 1000])
    parser.add_argument("--run", type=int, metavar="CLASSES", help="the whole pipeline on a set of so many classes")
    parser.add_argument("--each", type=int, default=10, metavar="IMAGES", help="of each class, for --run")
    options = parser.parse_args()
    if options.run:
        return whole_run(options.run, options.each)
    idle = {stage: seconds for stage, seconds, _ in costs(LEAST, classes=2)}
    print("| classes | images | stage | CPU, s | memory, MB | exponent |\n|---:|---:|---|---:|---:|---:|")
    for classes in options.classes:
        last = {}
        for images in options.images:
            if images < FEWEST * classes:
                continue
            for stage, seconds, megabytes in costs(images, classes):
                grown = ""
                if stage in last:
                    few, many = (max(value - idle[stage], 0.01) for value in (last[stage][1], seconds))
                    grown = f"{math.log(many / few) / math.log(images / last[stage][0]):.2f}"
                last[stage] = images, seconds
                print(f"| {classes} | {images} | {stage} | {seconds:.1f} | {megabytes:.0f} | {grown} |", flush=True)


def costs(images: int, classes: int):
    """(stage, CPU seconds, MB) of each."""
    with tempfile.TemporaryDirectory() as space:
        folder = project(Path(space), images, classes, folds=FEWEST)
        for stage in STAGES:
            cost = stage_cost.measure(stage, folder)
            yield stage, cost.cpu_seconds, cost.megabytes
        dvc(folder, "commit", "--force", "--quiet", *STAGES)
        cost = stage_cost.measure_command([sys.executable, "-m", "dvc", "repro", "--quiet", *STAGES], folder)
        yield "nothing changed", cost.cpu_seconds, cost.megabytes
        cost = stage_cost.measure_command([sys.executable, "-c", SCORE.format(images=images, classes=classes)], folder)
        yield "score", cost.cpu_seconds, cost.megabytes


def project(folder: Path, images: int, classes: int, folds: int) -> Path:
    """A copy of the project without outs, whose source is a set of this size. folds: by which labels are checked."""
    copies.make_fresh(folder, None, sources=False)
    shapes.write(folder / "data/source" / SOURCE, images, classes)
    values = small_run.params()
    values["data"] |= {"source": SOURCE, "name": "synthetic shapes"}
    values["report"] |= {"title": f"{classes} classes of synthetic shapes", "licence": "cc0-1.0",
                         "provenance": "Drawn by `benchmarks/shapes.py`.", "intended": "Measuring.",
                         "out_of_scope": "All else."}
    values["scan"]["folds"] = folds
    values["clean"]["near_likeness"] = 1.0  # pictures of a class are alike without being copies
    values["split"] |= {"image_size": shapes.SIDE, "labelled_fraction": 1.0}
    for section, width in (("teacher", 32), ("student", 16)):
        values[section]["options"] = {"depth": 8, "width": width, "stride": 2}
        values[f"{section}_training"] |= {"epochs": 6, "batch_size": 64, "seeds": [0]}
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return folder


def score(images: int, classes: int) -> None:
    """Score one file's made-up predictions, and draw those of four."""
    from stages.tasks.classification import figures, scores

    names, blank = [" ".join(kind) for kind in shapes.kinds(classes)], np.zeros((shapes.SIDE, shapes.SIDE, 3), np.uint8)
    generator = np.random.default_rng(0)
    targets = np.arange(images) % classes
    models = {}
    for name in ("teacher", "baseline", "student", "int8"):
        logits = generator.standard_normal((images, classes), np.float32)
        logits[np.arange(images), targets] += 3.5
        models[name] = scores.Predictions(logits, targets)
    scores.measure(models["int8"], names, 15)
    figures.draw(models, scores, names, 15, lambda number: blank, Path("plots/test"), Path("data/confused"))


def whole_run(classes: int, each: int) -> None:
    folder = project(Path(tempfile.mkdtemp(prefix="growth-")), each * classes, classes, folds=2)
    print(f"{folder}: {classes} classes, {each * classes} images", flush=True)
    for stage in yaml.safe_load((folder / "dvc.yaml").read_text(encoding="utf-8"))["stages"]:
        cost = stage_cost.measure(stage, folder)
        print(f"{stage:<16}{cost.cpu_seconds:>8.1f} s of CPU{cost.megabytes:>8.0f} MB", flush=True)
    dvc(folder, "commit", "--force", "--quiet")
    cost = stage_cost.measure_command([sys.executable, "-m", "dvc", "repro", "--quiet"], folder)
    print(f"nothing changed {cost.cpu_seconds:>8.1f} s of CPU{cost.megabytes:>8.0f} MB")
    for path in ("report", "report/index.html", "report/report.md", "plots/test", "plots/data"):
        files = [file for file in (folder / path, *(folder / path).rglob("*")) if file.is_file()]
        print(f"{path:<20}{sum(file.stat().st_size for file in files) / 1e6:>8.2f} MB in {len(files)} files")


def dvc(folder: Path, *arguments: str) -> None:
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, env={**os.environ, "PATH": paths})
    if done.returncode:
        raise UserError(f"dvc {' '.join(arguments)} failed")


if __name__ == "__main__":
    errors.run(main)
