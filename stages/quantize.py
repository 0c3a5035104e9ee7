"""Makes the files that are deployed. In: the trained networks, images to calibrate on. Out: ONNX, float and int8.

reads   data/prepared/, models/teacher.safetensors, models/baseline/, models/student/
writes  models/{teacher,baseline,student}.onnx, models/student.int8.onnx (the seed best on val),
        models/seeds/<baseline|student|int8>-<seed>.onnx (every seed), models/classes.txt, metrics/size.json
"""

import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydantic

from stages.kit import faults, onnx_files, params, prepared, tables, work


class QuantizeParams(params.Section):
    calibration_images: int = pydantic.Field(ge=1)  # of train, spread evenly; all where there are fewer
    per_channel: bool  # a scale for each output channel of the weights; false: one a tensor, smaller, less exact


class Resizing(params.Section, extra="ignore"):
    """What of section `split` a user of the models has to know."""

    resize: str
    scale: float
    overlap: int


class Origin(NamedTuple):
    """What all models have in common."""

    classes: tuple[str, ...]
    image_size: int
    resize: str
    scale: float
    overlap: int
    task: str


SIZE = Path("metrics/size.json")


def main() -> None:
    settings = params.load("quantize", QuantizeParams)
    images = prepared.images("train")
    calibration = spread(images, settings.calibration_images)
    sizing = params.load("split", Resizing)
    origin = Origin(tuple(prepared.classes()), images.shape[1], sizing.resize, sizing.scale, sizing.overlap,
                    params.word("data.task"))
    with work.folder("quantize", [], []):  # for its lock: an orphan of a killed run must not write beside this one
        shutil.rmtree(onnx_files.SEEDS, ignore_errors=True)  # a seed that is no longer asked for must not count
        parameters = {"teacher": export_teacher(origin)}
        parameters["baseline"] = export_seeds("baseline", origin, settings, None)
        parameters["student"] = parameters["int8"] = export_seeds("student", origin, settings, calibration)
    with tables.whole(onnx_files.FOLDER / "classes.txt") as file:
        file.writelines(f"{name}\n" for name in origin.classes)
    tables.write_json(SIZE, sizes(parameters))


def spread(images: np.ndarray, count: int) -> np.ndarray:
    """`count` images (N,H,W,3) at even distances, or all of them: however they are sorted, every class is likely in."""
    rows = np.unique(np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int))
    return np.ascontiguousarray(images[rows])


def export_teacher(origin: Origin) -> int:
    """Writes the teacher's file and returns its number of parameters."""
    from stages.kit import export, network

    teacher = params.load("teacher", network.TeacherParams)
    net = network.load(teacher, network.TEACHER, len(origin.classes))
    say("teacher")
    model = export.to_onnx(net, origin.image_size)
    onnx_files.write(model, card(origin, net, teacher.model), onnx_files.DEPLOYED["teacher"])
    return network.count(net)


def export_seeds(name: str, origin: Origin, settings: QuantizeParams, calibration: np.ndarray | None) -> int:
    """Writes a file for each seed of `name`, and with `calibration` its int8 form; the best on val also as deployed."""
    from stages.kit import export, int8, network

    student = params.load("student", network.NetworkParams)
    seeds = trained(name)
    for seed in seeds["val"]:
        # Each seed is exported anew: BatchNorm is folded into the kernels, so weights can't be swapped in the graph.
        net = network.load(student, onnx_files.FOLDER / name / f"seed-{seed}.safetensors", len(origin.classes))
        about = card(origin, net, student.model)
        say(f"{name}, seed {seed}")
        model = export.to_onnx(net, origin.image_size)
        made = {name: model}
        if calibration is not None:
            made["int8"] = int8.quantise(model, calibration, about.centred(), settings.per_channel)
        for kind, model in made.items():
            path = onnx_files.SEEDS / f"{kind}-{seed}.onnx"
            onnx_files.write(model, about, path)
            if seed == str(seeds["best"]):
                shutil.copyfile(path, onnx_files.DEPLOYED[kind])
    return network.count(net)


def trained(name: str) -> dict:
    """models/<name>/seeds.json: {"best": seed, "val": {seed: scores}}."""
    path = onnx_files.FOLDER / name / "seeds.json"
    try:
        return tables.read_json(path)
    except (OSError, ValueError):
        raise faults.Fault(f"{path} is missing or broken; run dvc repro to train the {name} again") from None


def card(origin: Origin, net, model: str) -> onnx_files.Card:
    mean, std = tuple(net.mean.tolist()), tuple(net.std.tolist())
    return onnx_files.Card(*origin, mean=mean, std=std, model=model)


def sizes(parameters: dict[str, int]) -> dict[str, dict[str, float]]:
    """Millions of parameters and MB (10⁶ bytes) of each deployed file, and how many times smaller int8 is."""
    size = {name: path.stat().st_size for name, path in onnx_files.DEPLOYED.items()}
    table = {name: {"parameters_m": round(parameters[name] / 1e6, 4), "size_mb": round(size[name] / 1e6, 4)}
             for name in size}
    return table | {"ratio": {"parameters": round(parameters["teacher"] / parameters["int8"], 2),
                              "size": round(size["teacher"] / size["int8"], 2)}}


def say(what: str) -> None:
    print(f"quantize: {what}", file=sys.stderr)


if __name__ == "__main__":
    faults.run(main)
