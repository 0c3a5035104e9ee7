"""On which processors and runtimes does a deployed file answer right? Out: a table, in Markdown.

    apt-get install qemu-user
    python3.9 -m venv old && old/bin/pip install onnxruntime==1.8.1 "numpy<2"
    python -m benchmarks.devices models/student.int8.onnx --pythons old/bin/python

In: ONNX files, data/prepared/test. Processors are emulated by qemu-user: times mean nothing there, but onnxruntime runs
the kernels that it would run on them. Haswell and EPYC have AVX2 and no VNNI, Nehalem has neither. Each other Python is
tried with each runtime that it has: onnxruntime, OpenVINO, OpenCV, tract; one may be a whole command, as in
"qemu-aarch64 -L DEBIAN DEBIAN/usr/bin/python3" for the folder of an arm64 Debian.

right: the accuracy is this machine's within 0.2 points; wrong; refuses, with what it says. Exit status 1 if any of the
processors named here, which run the same onnxruntime as this machine, gives another prediction.
"""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.answer import RUNTIMES
from stages.core import errors
from stages.core.device import processor
from stages.core.errors import UserError
from stages.data import prepared

SCRIPT = Path(__file__).with_name("answer.py")
EQUAL = 0.2  # points of accuracy
LACKS_RUNTIME = 3  # answer.py's exit status
LIMIT = 600  # seconds that a device may take


class Answer(NamedTuple):
    runtime: str  # with its version
    machine: str
    classes: np.ndarray  # (N,), or (N,H,W); empty where it refuses
    ms: float
    refusal: str  # "" where it answers


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.devices", description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL")
    parser.add_argument("--processors", nargs="*", default=["Haswell", "EPYC", "Nehalem"], metavar="NAME",
                        help="as qemu-x86_64 -cpu help lists them")
    parser.add_argument("--pythons", nargs="*", default=[], metavar="COMMAND",
                        help="other Pythons, each to be tried with the runtimes that it has")
    parser.add_argument("--images", type=int, default=500, help="of the test split, evenly spaced")
    options = parser.parse_args()
    emulated = [emulator(), "-cpu"] if options.processors else []
    rows = prepared.evenly_spaced(len(prepared.targets("test")), options.images)
    labels, differing = prepared.targets("test")[rows], 0
    print("| file | processor | runtime | | accuracy, % | other predictions | ms |\n|---|---|---|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder, "images.npy")
        np.save(images, prepared.images("test")[rows])
        for path in options.models:
            (own,) = answers([sys.executable], path, images, ["onnxruntime"])
            if own.refusal:
                raise UserError(f"{path} can't be run here: {own.refusal}")
            print(line(path, processor(), own, own, labels), flush=True)
            for name in options.processors:
                (given,) = answers([*emulated, name, sys.executable], path, images, ["onnxruntime"])
                differing += given.refusal != "" or int((given.classes != own.classes).sum())
                print(line(path, f"{name}, emulated", given, own, labels), flush=True)
            for command in map(shlex.split, options.pythons):
                for given in answers(command, path, images, RUNTIMES):
                    place = f"{given.machine}, emulated" if "qemu" in command[0] else processor()
                    print(line(path, place, given, own, labels), flush=True)
    sys.exit(differing > 0)


def emulator() -> str:
    """Raises UserError where it is missing."""
    if qemu := shutil.which("qemu-x86_64"):
        return qemu
    raise UserError("qemu-x86_64 is missing, which emulates other processors; install Debian's package qemu-user, or "
                    "give --processors no name")


def answers(python: Sequence[str], model: Path, images: Path, runtimes: Sequence[str]) -> list[Answer]:
    """Of each runtime that this Python has. python: a command."""
    given = []
    for runtime in runtimes:
        command = [*python, str(SCRIPT), runtime, str(model), str(images)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            given.append(Answer(runtime, "", np.array([]), 0.0, f"no answer within {LIMIT} s"))
            continue
        except OSError as error:
            raise UserError(f"{python[0]} can't be run ({error.strerror}); name a Python with --pythons") from None
        if not done.returncode:
            told = json.loads(done.stdout.splitlines()[-1])
            given.append(Answer(**told | {"classes": np.array(told["classes"])}))
        elif done.returncode != LACKS_RUNTIME:
            given.append(Answer(runtime, "", np.array([]), 0.0, f"it crashed, with status {done.returncode}"))
    return given


def line(path: Path, place: str, given: Answer, own: Answer, labels: np.ndarray) -> str:
    """A row of the table. own: of this machine; labels: (N,*S), negative where they don't count."""
    if given.refusal:
        return f"| {path} | {place} | {given.runtime} | refuses: {given.refusal[-100:].replace('|', '/')} | | | |"
    reached, expected = (100 * (answer.classes == labels)[labels >= 0].mean() for answer in (given, own))
    verdict = "right" if round(abs(reached - expected), 2) <= EQUAL else "**wrong**"
    ms = "" if "emulated" in place else f"{given.ms:.3f}"
    return (f"| {path} | {place} | {given.runtime} | {verdict} | {reached:.2f} | "
            f"{int((given.classes != own.classes).sum())} | {ms} |")


if __name__ == "__main__":
    errors.run(main)
