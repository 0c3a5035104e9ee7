"""Makes the files that are deployed. In: the trained networks, images to calibrate on. Out: ONNX, float and small.

reads   data/prepared/ (train, val), models/teacher.safetensors, models/baseline/, models/student/
writes  models/{teacher,baseline,student}.onnx, models/student.int8.onnx (the seed best on val),
        models/seeds/<baseline|student|int8>-<seed>.onnx (every seed), models/classes.txt, metrics/size.json,
        metrics/quantisation.json (what being small costs on val)
`python -m stages.quantize --explore` tries every way of making the student small, measures each on val and on this
machine, says which one to choose, and writes nothing.
"""

import argparse
import dataclasses
import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from stages.core import errors, files, params, workdir
from stages.data import prepared
from stages.deployment import explore, onnx_model, quantize
from stages.deployment.onnx_model import Card
from stages.deployment.preprocessing import Resizing
from stages.deployment.quantize import QuantizeParams
from stages.evaluation.palette import palette


class Origin(NamedTuple):
    """What all models have in common: the first fields of their cards."""

    classes: tuple[str, ...]
    image_size: int
    resize: str
    scale: float
    overlap: int
    task: str


SIZE, COST = Path("metrics/size.json"), Path("metrics/quantisation.json")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.quantize", description="Make the files that are deployed.")
    parser.add_argument("--explore", action="store_true",
                        help="try every way of making the student small, print what each is worth, and write nothing")
    if parser.parse_args().explore:
        print(explored())
    else:
        make_files()


def make_files() -> None:
    settings = params.load("quantize", QuantizeParams)
    origin = common()
    with workdir.folder("quantize", [], []):  # for its lock: an orphan of a killed run must not write beside this one
        shutil.rmtree(onnx_model.SEEDS, ignore_errors=True)  # a seed that is no longer asked for must not count
        parameters = {"teacher": export_teacher(origin), "baseline": export_seeds("baseline", origin)}
        parameters["student"] = parameters["int8"] = export_seeds("student", origin)
        cost = make_small(settings, origin)
    with files.atomic_write(onnx_model.FOLDER / "classes.txt") as file:
        file.writelines(f"{name}\n" for name in origin.classes)
    files.write_json(SIZE, sizes(parameters))
    files.write_json(COST, cost)


def explored() -> str:
    """The table of what was tried, and what to set."""
    settings = params.load("quantize", QuantizeParams)
    path = onnx_model.DEPLOYED["student"]
    card = onnx_model.open_model(path, 1).card
    return explore.table(explore.tried(path, card, settings, quantize.ValScorer(card.task)), settings)


def common() -> Origin:
    sizing = params.load("split", Resizing)
    return Origin(tuple(prepared.classes()), prepared.images("train").shape[1], sizing.resize, sizing.scale,
                  sizing.overlap, params.load_word("data.task"))


def export_teacher(origin: Origin) -> int:
    """Writes the teacher's file and returns its number of parameters."""
    from stages.models import factory

    teacher = params.load("teacher", factory.TeacherParams)
    return export_float("teacher", origin, teacher, factory.TEACHER, onnx_model.DEPLOYED["teacher"])


def export_seeds(name: str, origin: Origin) -> int:
    """Writes a file for each seed of `name`, the best on val also as deployed; returns the number of parameters."""
    from stages.models import factory

    student = params.load("student", factory.NetworkParams)
    seeds = trained(name)
    for seed in seeds["val"]:
        # Each seed is exported anew: BatchNorm is folded into the kernels, so weights can't be swapped in the graph.
        count = export_float(name, origin, student, onnx_model.FOLDER / name / f"seed-{seed}.safetensors",
                             seed_file(name, seed))
    shutil.copyfile(seed_file(name, seeds["best"]), onnx_model.DEPLOYED[name])
    return count


def export_float(role: str, origin: Origin, wanted, weights: Path, path: Path) -> int:
    """wanted: a network.NetworkParams. Returns the number of parameters."""
    from stages.deployment import export
    from stages.models import factory

    print(f"quantize: {path}", file=sys.stderr)
    net = factory.load(wanted, weights, len(origin.classes))
    model = export.to_onnx(net, origin.image_size)
    masks = len(model.graph.output[0].type.tensor_type.shape.dim) > 2
    drawn = tuple(map(tuple, palette(len(origin.classes)).tolist())) if masks else ()
    card = Card(*origin, mean=tuple(net.mean.tolist()), std=tuple(net.std.tolist()), model=wanted.model, role=role,
                form="float", colours=drawn, weights_sha256=files.sha256(weights),
                settings_sha256=digest(origin, wanted))
    onnx_model.write(model, card, path)
    return factory.count(net)


def make_small(settings: QuantizeParams, origin: Origin) -> dict[str, object]:
    """Writes a small file for each seed of the student, the best on val also as deployed. Returns what it costs there.

    Layers that stay float are found for the best seed, and stay so in all.
    """
    import onnx

    seeds, calibration = trained("student"), quantize.evenly_spaced(prepared.images("train"), settings.calibration_images)
    best = str(seeds["best"])
    for seed in sorted(seeds["val"], key=lambda seed: seed != best):  # the best first
        path = seed_file("int8", seed)
        print(f"quantize: {path}", file=sys.stderr)
        card = onnx_model.open_model(seed_file("student", seed), 1).card
        model = onnx.load(seed_file("student", seed))
        with quantize.quantiser(model, settings, calibration, card.centred()) as ready:
            if seed == best:
                judge = quantize.ValScorer(origin.task)
                before = judge(model)
                found = quantize.best(quantize.candidates(ready, settings, judge, before - settings.max_drop))
            small = found.small if seed == best else ready.small(settings, found.in_float)
        about = dataclasses.replace(card, form=quantize.FORMS[settings.mode],
                                    settings_sha256=digest(card.settings_sha256, settings, found.in_float))
        onnx_model.write(small, about, path)
    shutil.copyfile(seed_file("int8", best), onnx_model.DEPLOYED["int8"])
    drop = before - found.val
    if drop > settings.max_drop:
        print(f"quantize: on val the small student is {drop:.2f} points behind the float one, and quantize.max_drop is "
              f"{settings.max_drop:g}; python -m stages.quantize --explore shows what other ways cost", file=sys.stderr)
    return {"form": quantize.FORMS[settings.mode], "float_layers": found.in_float,
            "val": {"student": round(before, 4), "int8": round(found.val, 4), "drop": round(drop, 4),
                    "max_drop": settings.max_drop}}


def seed_file(kind: str, seed: str | int) -> Path:
    return onnx_model.SEEDS / f"{kind}-{seed}.onnx"


def digest(*settings: object) -> str:
    """The hash of sections of params.yaml and of what goes with them, as JSON."""
    plain = [found.model_dump() if isinstance(found, params.Section) else found for found in settings]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def trained(name: str) -> dict:
    """models/<name>/seeds.json: {"best": seed, "val": {seed: scores}}."""
    path = onnx_model.FOLDER / name / "seeds.json"
    try:
        return files.read_json(path)
    except (OSError, ValueError):
        raise errors.UserError(f"{path} is missing or broken; run dvc repro to train the {name} again") from None


def sizes(parameters: dict[str, int]) -> dict[str, dict[str, float]]:
    """Millions of parameters and MB (10⁶ bytes) of each deployed file, and how many times smaller int8 is."""
    size = {name: path.stat().st_size for name, path in onnx_model.DEPLOYED.items()}
    table = {name: {"parameters_m": round(parameters[name] / 1e6, 4), "size_mb": round(size[name] / 1e6, 4)}
             for name in size}
    return table | {"ratio": {"parameters": round(parameters["teacher"] / parameters["int8"], 2),
                              "size": round(size["teacher"] / size["int8"], 2)}}


if __name__ == "__main__":
    errors.run(main)
