"""Do several processes learn what one learns, and the same each time? And how long do they take?

    python -m benchmarks.processes [--stage distill] [--processes 1 2 2 4] [--epochs 8] [--batch-norm synchronised]
                                   [--kill]

Needs what `dvc repro` leaves of the stages before. The stage runs in a folder of its own for each of the numbers, with
one seed; --kill kills one process of the last run halfway, and gives the same command again.

Out: a row a run: how far its loss is from the first run's, as a share of that, in the first epoch and in the epoch
where it is furthest; the score on val at the end; whether its weights are those of an earlier run with as many
processes; seconds of the epochs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import yaml

from stages.core import errors, params
from stages.core.errors import UserError
from stages.core.files import read_csv, read_json

ROOT = Path(__file__).resolve().parent.parent
NEEDED = ("data/prepared", "data/weights", "models/teacher.safetensors", "models/teacher.json", "models/targets.npy",
          "models/targets.json", "models/baseline/seeds.json")
CURVES = {"train_teacher": "teacher", "train_baseline": "baseline", "distill": "student"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.processes", description=__doc__.splitlines()[0])
    parser.add_argument("--stage", choices=CURVES, default="distill")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 2, 4])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-norm", choices=("synchronised", "local"), default="synchronised")
    parser.add_argument("--kill", action="store_true", help="a process of the last run")
    options = parser.parse_args()
    print("processes  loss, epoch 1  loss, furthest  val score     bytes  seconds", flush=True)
    first, seen = [], {}
    for number, count in enumerate(options.processes, 1):
        with tempfile.TemporaryDirectory() as folder:
            prepare(Path(folder), options.epochs, count, options.batch_norm)
            if options.kill and number == len(options.processes):
                train(Path(folder), options.stage, f"epoch {(options.epochs + 1) // 2}/")
            train(Path(folder), options.stage)
            curves = read_csv(Path(folder, "plots", f"{CURVES[options.stage]}.csv"))
            weights = [path.read_bytes() for path in sorted(Path(folder, "models").rglob("*.safetensors"))
                       if not path.is_symlink()]
            seconds = read_json(Path(folder, f"metrics/timing/{options.stage}.json"))["seconds"]
        first = first or curves
        same = "" if count not in seen else "the same" if seen[count] == weights else "OTHERS"
        seen.setdefault(count, weights)
        apart = [abs(float(own["loss"]) / float(row["loss"]) - 1) for own, row in zip(curves, first, strict=True)]
        print(f"{count:>9}  {apart[0]:>13.1e}  {max(apart):>14.1e}  {float(curves[-1]['val_score']):>9.2f}  {same:>8}  "
              f"{seconds:>7.2f}", flush=True)


def prepare(folder: Path, epochs: int, processes: int, batch_norm: str) -> None:
    """The stage's inputs as links, and its params.yaml."""
    for path in map(Path, NEEDED):
        if path.exists():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).symlink_to(path.resolve())
    values = params.load_all()
    values["training"] = {"processes": processes, "batch_norm": batch_norm}
    for section in ("teacher_training", "student_training"):
        recipe = values[section]
        values[section] = recipe | {"seeds": [0], "epochs": epochs,
                                    "warmup_epochs": min(float(epochs), recipe["warmup_epochs"])}
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def train(folder: Path, stage: str, kill_at: str = "") -> None:
    """kill_at: kill one of the processes when this has been printed; then the stage has to fail, else not to."""
    run = subprocess.Popen([sys.executable, "-m", f"stages.{stage}"], cwd=folder, stderr=subprocess.PIPE, text=True,
                           env=os.environ | {"PYTHONPATH": str(ROOT)})
    lines = []
    for line in run.stderr:
        lines.append(line)
        if kill_at and kill_at in line:
            workers = psutil.Process(run.pid).children()
            [worker for worker in workers if "spawn_main" in " ".join(worker.cmdline())][-1].kill()
            print(f"killed at {kill_at[:-1]}: ", end="", flush=True)
            kill_at = ""
    if bool(run.wait()) != (" the system ended " in lines[-1]):
        raise UserError("".join(lines))
    if run.returncode:
        print(lines[-1], end="")


if __name__ == "__main__":
    errors.run(main)
