"""Does a deployed file give the same predictions on other processors? Accuracy on the test split, on each.

    apt-get install qemu-user
    python -m benchmarks.devices models/student.int8.onnx [--processors Haswell Nehalem EPYC] [--images 500]

In: ONNX files, data/prepared/test. Processors are emulated by qemu-user: times mean nothing there, but onnxruntime runs
the kernels that it would run on them. Haswell and EPYC have AVX2 and no VNNI, Nehalem has neither. Out: a table on
stdout; exit status 1 if a prediction differs from this machine's.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from stages.core import errors
from stages.core.errors import UserError
from stages.data import prepared
from stages.deployment import onnx_model

HERE = "this machine"
BATCH = 16


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.devices", description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL")
    parser.add_argument("--processors", nargs="+", default=["Haswell", "EPYC", "Nehalem"], metavar="NAME",
                        help="as qemu-x86_64 -cpu help lists them")
    parser.add_argument("--images", type=int, default=500, help="of the test split, evenly spaced")
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)  # the child: print its predictions
    options = parser.parse_args()
    if options.answer:
        print(json.dumps(answers(options.models[0], options.images).tolist()))
        return
    rows = prepared.evenly_spaced(len(prepared.targets("test")), options.images)
    labels = prepared.targets("test")[rows]
    print("| file | processor | accuracy, % | other predictions |\n|---|---|---:|---:|")
    differing = 0
    for path in options.models:
        own = answers(path, options.images)
        for name in (HERE, *options.processors):
            given = own if name == HERE else emulated(path, options.images, name)
            others = int((given != own).sum())
            differing += others
            print(f"| {path} | {name} | {100 * (given == labels)[labels >= 0].mean():.2f} | {others} |", flush=True)
    sys.exit(differing > 0)


def answers(path: Path, images: int) -> np.ndarray:
    """The class of each image, (N,), or of each pixel, (N,H,W)."""
    model, stored = onnx_model.open_model(path, 1), prepared.images("test")
    rows = prepared.evenly_spaced(len(stored), images)
    batches = np.split(rows, range(BATCH, len(rows), BATCH))
    return np.concatenate([model(np.ascontiguousarray(stored[batch])).argmax(1) for batch in batches])


def emulated(path: Path, images: int, processor: str) -> np.ndarray:
    qemu = shutil.which("qemu-x86_64")
    if not qemu:
        raise UserError("qemu-x86_64 is missing, which emulates other processors; install Debian's package qemu-user")
    command = [qemu, "-cpu", processor, sys.executable, "-m", "benchmarks.devices", str(path), "--images", str(images)]
    done = subprocess.run([*command, "--answer"], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{path} on {processor}: {errors.one_line(Exception(done.stderr[-500:]))}")
    return np.array(json.loads(done.stdout))


if __name__ == "__main__":
    errors.run(main)
