"""Finds a student that fits the device. In: benchmark.budget of params.yaml, the prepared images, the teacher's
answers. Out: a table of students: what each would cost, and how it does on val. It is no stage of the pipeline, whose
params.yaml it writes, on request.

reads   data/prepared/ (train, val, unlabelled), models/targets.{npy,json}, models/teacher.safetensors
writes  plots/search.csv, plots/search.png, metrics/search.json; with --apply section student of params.yaml

Students that differ from the one in params.yaml in depth, width and stride are exported and made small as they are, and
measured; the widest that keep to the budget are distilled by successive halving, in about three times the time that
training one takes. An interrupted search goes on when the command is given again.
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from stages.core import device, errors, files, params, workdir
from stages.core.errors import UserError
from stages.data import prepared
from stages.deployment.quantize import QuantizeParams
from stages.distillation import student, teacher_logits
from stages.models import factory
from stages.setup import presets
from stages.sizing import candidates, halving, measure, table, trials
from stages.sizing.candidates import Demands
from stages.sizing.space import named

MOST, LEAST = 3, 2  # times what training one student takes: the whole search, and of it the training at least


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.search", description="Find a student within the budget.")
    parser.add_argument("--apply", action="store_true", help="write the student that was found into params.yaml")
    is_applied = parser.parse_args().apply
    own = student.settings()
    demands = Demands(measure.limits(), params.load("quantize", QuantizeParams),
                      params.load("benchmark", measure.Threads).threads)
    check_inputs(own)
    starts = [factory.WEIGHTS / name for name in candidates.starts(own.student)]
    settings = [own, demands, prepared.classes(), device.processor(), device.thread_count(), *starts]
    judged = [prepared.FOLDER / f"{part}.npy" for part in ("train/targets", "val/images", "val/targets")]
    inputs = [*starts, teacher_logits.LOGITS, *judged]
    digest = hashlib.sha256(repr([settings, *map(files.sha256, inputs)]).encode()).hexdigest()
    done = before()
    if done.get("searched") == digest:
        print(f"searched before: {table.CSV} has the table (to search again, delete {table.RESULT})")
    else:
        done = search(own, demands, starts, settings, digest)
    finish(own.student, done, is_applied)


def before() -> dict:
    """What an earlier search left; {} where it is none, or broken."""
    try:
        return files.read_json(table.RESULT, ("searched", "student", "val_scores", "fitting"))
    except UserError:
        return {}


def check_inputs(own: student.Settings) -> None:
    """Raises UserError where a stage has to run first, or where the teacher's answers aren't kept."""
    needed = [*(prepared.FOLDER / split / "images.npy" for split in ("train", "val", "unlabelled")),
              factory.TEACHER, teacher_logits.LOGITS, teacher_logits.ABOUT]
    if missing := [path for path in needed if not path.exists()]:
        raise UserError(f"{missing[0]} is missing, and students are trained on what the teacher answers; run dvc repro "
                        "teacher_targets first")
    if own.targets.mode == "online":
        raise UserError("params.yaml: targets.mode is online, so every epoch of every student would run the teacher; "
                        "set clean or views, and run dvc repro teacher_targets")
    factory.build(own.student, len(prepared.classes()), prepared.image_size(), own.recipe.seeds[0])


def search(own: student.Settings, demands: Demands, starts: Sequence[Path], settings: Sequence[object],
           digest: str) -> dict[str, object]:
    """Measures, trains, prints the table and writes it. Returns what metrics/search.json holds. starts: files that
    students may start from. digest: of all that the result depends on.
    """
    chip, epochs = device.choose_device("search"), own.recipe.epochs
    inputs = [*(prepared.FOLDER / split for split in ("train", "val", "unlabelled")),
              *starts, factory.TEACHER, teacher_logits.LOGITS]
    with workdir.folder("search", [*settings, device.thread_count(), chip], inputs) as folder:
        student.load_teacher(own, chip, folder).check_cache()
        notes = measure.Notebook(folder / "measured.json")
        fitting, others = candidates.find(own.student, demands, notes, folder)
        present, *seconds = trials.epoch_seconds(
            own, [own.student.options, *(row.options for row in fitting)], notes, chip, folder)
        once = epochs * present
        plan = halving.rungs(seconds, epochs, max(MOST * once - notes.cpu_seconds, LEAST * once))
        print(f"search: {len(fitting)} students keep to the budget; to train: " + (", then ".join(
            f"{rung.candidates} for {rung.epochs} epochs" for rung in plan) or "none"), file=sys.stderr)
        training = 0.0

        def train(numbers: Sequence[int], epochs: int) -> list[float]:
            nonlocal training
            results = trials.train([fitting[number] for number in numbers], epochs, own.recipe.seeds[0], chip, folder)
            training += sum(result.seconds for result in results)
            return [result.score for result in results]

        rows = table.ranked(fitting, others, halving.search(plan, train), plan, own.student.options)
        print(table.text(rows, plan))
        table.write(rows, plan, demands.limits)
        best, times = rows[0], (notes.cpu_seconds + training) / once
        found = {"student": {"options": best.options, "weights": best.weights}, "val_scores": best.scores,
                 "fitting": len(fitting),
                 **best.cost._asdict(), "cpu_seconds": {"measuring": round(notes.cpu_seconds, 1),
                                                        "training": round(training, 1),
                                                        "training_once": round(once, 1)}, "searched": digest}
        files.write_json(table.RESULT, found)
    clock = "processor time" if chip.type == "cpu" else "time, of the device and of the processor"
    print(f"\n{table.CSV}, {table.PLOT}: the table, and score against cost\n"
          f"{clock}: {notes.cpu_seconds:.0f} s to measure, {training:.0f} s to train; together {times:.1f} × the "
          f"{once:.0f} s of training the present student once")
    if best.scores and prepared.targets("val").ndim == 1:
        print(chance(best.scores[-1], len(prepared.targets("val"))))
    return found


def chance(score: float, images: int) -> str:
    """How large a difference on val says nothing: twice the standard deviation of a share, by Laplace's rule of
    succession, so that it isn't 0 where all are right. score: in %.
    """
    share = (score / 100 * images + 1) / (images + 2)
    deviation = 100 * (share * (1 - share) / images)**0.5
    return (f"On {images} val images one score varies by ± {deviation:.1f} points, and each student was trained with "
            f"one seed: students less than about {2 * deviation:.1f} points apart can't be told apart.")


def finish(present: factory.NetworkParams, done: dict, is_applied: bool) -> None:
    """Writes the student into params.yaml, or says how to. done: as `search` returns it."""
    now, found = present.model_dump(), done["student"]
    if not done["val_scores"] and done["fitting"] > 1:
        print(f"Nothing was trained, since {MOST} times one training does for less than two students; params.yaml "
              "stays as it is. With more student_training.epochs there is more to divide.")
        return
    values = {key: value for key, value in found.items() if value != now[key]}
    if not values:
        print("The student in params.yaml is the best that was found.")
    elif not is_applied:
        print(f"Best: {named(found['options'])}. To write it into params.yaml: python -m stages.search --apply")
    else:
        content = presets.changed(params.FILE.read_text(encoding="utf-8"), "student", values,
                                  f"Found by stages.search; {table.CSV} has what it was compared with.")
        with files.atomic_write(params.FILE) as file:
            file.write(content)
        print(f"{params.FILE}: student is now {named(found['options'])}, its weights {found['weights']}. "
              "dvc repro trains it.")


if __name__ == "__main__":
    errors.run(main)
