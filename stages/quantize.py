"""Makes the files that are deployed. In: the trained networks, images to calibrate on. Out: ONNX, float and small.

reads   data/prepared/ (train, val), models/teacher.{safetensors,json}, models/baseline/, models/student/
writes  models/{teacher,baseline,student}.onnx, models/student.int8.onnx (what ships: of student and baseline the one
        that is better on val, or what quantize.ship says, and of its seeds the best on val), models/teacher.int8.onnx,
        models/seeds/<baseline|student|int8>-<seed>.onnx (every seed), models/classes.txt, metrics/size.json,
        metrics/quantisation.json (what being small costs on val)
`python -m stages.quantize --explore` tries every way of making that network small, measures each on val and on this
machine, recommends one, and writes nothing.
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
from stages.data.image_size import height_and_width
from stages.deployment import explore, onnx_model, quantize
from stages.deployment.card_fields import card_fields
from stages.deployment.onnx_model import DEPLOYED, FOLDER, SEEDS, Card
from stages.deployment.quantize import QuantizeParams
from stages.evaluation import seeds
from stages.evaluation.palette import palette

SIZE, COST = Path("metrics/size.json"), Path("metrics/quantisation.json")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.quantize", description="Make the files that are deployed.")
    parser.add_argument("--explore", action="store_true",
                        help="try every way of making it small, print what each is worth, and write nothing")
    options, settings = parser.parse_args(), params.load("quantize", QuantizeParams)
    if options.explore:
        role, _ = shipped_role(settings.ship, quantize.ValScorer(params.load_word("data.task")).score.primary)
        print(explore.table(explore.explore(DEPLOYED[role], settings), settings))
    else:
        make_files(settings)


def make_files(settings: QuantizeParams) -> None:
    from stages.deployment import export
    from stages.models import factory

    common = card_fields()
    teacher, student = params.load("teacher", factory.TeacherParams), params.load("student", factory.NetworkParams)
    with workdir.folder("quantize", [], []):  # for its lock: an orphan of a killed run must not write beside this one
        shutil.rmtree(SEEDS, ignore_errors=True)  # seeds that have left params.yaml must not count
        to_onnx, path = export.Exporter(height_and_width(common["image_size"])), DEPLOYED["teacher"]
        parameters = {"teacher": export_float("teacher", common, teacher, factory.TEACHER, path, to_onnx),
                      "baseline": export_seeds("baseline", common, student, to_onnx)}
        parameters["student"] = export_seeds("student", common, student, to_onnx)
        cost = make_small(settings, common["task"])
        parameters |= {"int8": parameters[cost["shipped"]], "teacher_int8": parameters["teacher"]}
    with files.atomic_write(FOLDER / "classes.txt") as file:
        file.writelines(f"{name}\n" for name in common["classes"])
    files.write_json(SIZE, sizes(parameters))
    files.write_json(COST, cost)


def export_seeds(role: str, common: dict, wanted, to_onnx) -> int:
    """Writes a file for each seed, the best on val also as deployed; returns the number of parameters."""
    trained = seeds.read(role)
    for seed in trained["val"]:
        weights = FOLDER / role / f"seed-{seed}.safetensors"
        count = export_float(role, common, wanted, weights, seed_file(role, seed), to_onnx)
    shutil.copyfile(seed_file(role, trained["best"]), DEPLOYED[role])
    return count


def export_float(role: str, common: dict, wanted, weights: Path, path: Path, to_onnx) -> int:
    """wanted: a factory.NetworkParams. common: of `card_fields`. to_onnx: an export.Exporter. Returns the number of
    parameters.
    """
    from stages.models import factory

    print(f"quantize: {path}", file=sys.stderr)
    net = factory.load(wanted, weights, len(common["classes"]))
    model = to_onnx(net, kind=repr(wanted))
    has_masks = len(model.graph.output[0].type.tensor_type.shape.dim) > 2
    card = Card(**common, mean=tuple(net.mean.tolist()), std=tuple(net.std.tolist()), model=wanted.model, role=role,
                form="float", colours=palette(len(common["classes"])).tolist() if has_masks else (),
                weights_sha256=files.sha256(weights), settings_sha256=digest(list(common.values()), wanted))
    onnx_model.write(model, card, path)
    return factory.count(net)


def make_small(settings: QuantizeParams, task: str) -> dict[str, object]:
    """Writes the teacher's small file, and one for each seed of the network that ships, the best on val also as
    deployed. Returns which network that is, and what being small costs on val.

    The way is chosen for the best seed, and is the same for all.
    """
    import onnx

    scorer = quantize.ValScorer(task)
    role, on_val = shipped_role(settings.ship, scorer.score.primary)
    # Where the teacher's is only there to be compared: its network may be too large to rank each of its layers.
    is_compared = role != "teacher" and settings.remedy != "none"
    own = settings.model_copy(update={"remedy": "forms"}) if is_compared else settings
    teacher = smallest(DEPLOYED["teacher"], own, scorer)
    write_small(teacher.form.model, teacher.card, teacher.form, DEPLOYED["teacher_int8"])

    trained = seeds.read(role)
    best = str(trained["best"])
    small = teacher if role == "teacher" else smallest(seed_file(role, best), settings, scorer)
    for seed in [best] if role == "teacher" else trained["val"]:
        path, model, card = seed_file(role, seed), small.form.model, small.card
        if seed != best:
            card = onnx_model.open_model(path, 1).card
            with quantize.quantiser(onnx.load(path), small.form.settings, card.centred()) as ready:
                model = ready.quantised(small.form.excluded_nodes)
        write_small(model, card, small.form, seed_file("int8", seed))
    shutil.copyfile(seed_file("int8", best), DEPLOYED["int8"])
    if small.drop > settings.max_drop:
        print(f"quantize: on val the small network is {small.drop:.2f} points behind the float one, and "
              f"quantize.max_drop is {settings.max_drop:g}; python -m stages.quantize --explore shows what other ways "
              "cost", file=sys.stderr)
    per_image = {"val_images": len(scorer.targets)} if scorer.targets.ndim == 1 else {}
    return small.kind() | {
        **onnx_model.facts(small.form.model), "float_layers": small.form.excluded_nodes,
        "shipped": role, "ship": settings.ship, "mean_on_val": on_val,
        "val": {role: round(small.before, 4), "int8": round(small.form.val, 4), "drop": round(small.drop, 4),
                "max_drop": settings.max_drop},
        "teacher": teacher.kind() | {"int8": round(teacher.form.val, 4), "drop": round(teacher.drop, 4)}} | per_image


class Small(NamedTuple):
    """What a float file becomes, and what that costs."""

    form: quantize.Candidate
    before: float  # the float file's score on val, in %
    card: Card  # the float file's

    @property
    def drop(self) -> float:
        """Points on val."""
        return self.before - self.form.val

    def kind(self) -> dict[str, str]:
        return {"form": quantize.FORMS[self.form.settings.mode], "weight_type": self.form.settings.weight_type}


def smallest(path: Path, settings: QuantizeParams, scorer: quantize.ValScorer) -> Small:
    """Of a float file's small forms the one that is best on val."""
    import onnx

    print(f"quantize: {path}, small", file=sys.stderr)
    model, card = onnx.load(path), onnx_model.open_model(path, 1).card
    before = scorer(model)
    with quantize.quantiser(model, settings, card.centred()) as ready:
        return Small(quantize.best(quantize.candidates(ready, scorer, scorer.least(before, settings.max_drop))),
                     before, card)


def write_small(model, card: Card, form: quantize.Candidate, path: Path) -> None:
    """model: an onnx.ModelProto that was made as `form` was. card: of the float file that it was made of."""
    card = dataclasses.replace(card, form=quantize.FORMS[form.settings.mode], settings_sha256=digest(
        card.settings_sha256, form.settings, form.excluded_nodes))
    onnx_model.write(model, card, path)


def shipped_role(wish: str, primary: str) -> tuple[str, dict[str, float]]:
    """Which network ships, of student and baseline as equals the student; and each one's mean score on val over the
    seeds, in %.

    wish: quantize.ship.
    """
    on_val = {role: round(seeds.mean_score(seeds.read(role), primary), 4) for role in ("student", "baseline")}
    role = max(on_val, key=on_val.get) if wish == "best" else wish
    print(f"quantize: {DEPLOYED['int8']} is made of the {role} (quantize.ship: {wish}); on val the distilled student "
          f"has {on_val['student']:.2f} %, the baseline {on_val['baseline']:.2f} %", file=sys.stderr)
    return role, on_val


def seed_file(kind: str, seed: str | int) -> Path:
    """kind: a role, or int8. Of the teacher's seeds only the best on val is kept."""
    return DEPLOYED["teacher"] if kind == "teacher" else SEEDS / f"{kind}-{seed}.onnx"


def digest(*settings: object) -> str:
    """SHA-256 of the settings as JSON: sections of params.yaml and what else a file is made by."""
    plain = [part.model_dump() if isinstance(part, params.Section) else part for part in settings]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def sizes(parameters: dict[str, int]) -> dict[str, dict[str, float]]:
    """Millions of parameters and MB (10⁶ bytes) of each deployed file, and how many times smaller int8 is."""
    size = {name: path.stat().st_size for name, path in DEPLOYED.items()}
    table = {name: {"parameters_m": round(parameters[name] / 1e6, 4), "size_mb": round(size[name] / 1e6, 4)}
             for name in DEPLOYED}
    return table | {"ratio": {"parameters": round(parameters["teacher"] / parameters["int8"], 2),
                              "size": round(size["teacher"] / size["int8"], 2)}}


if __name__ == "__main__":
    errors.run(main)
