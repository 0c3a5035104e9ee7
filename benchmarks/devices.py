"""On which processors and runtimes does a deployed file answer right? Out: a table, in Markdown.

    apt-get install qemu-user
    python3.9 -m venv old && old/bin/pip install onnxruntime==1.8.1 "numpy<2"
    python -m benchmarks.devices models/student.int8.onnx --pythons old/bin/python

In: ONNX files in the folders of one or several runs; each is tried on its own run's data/prepared/test. Processors are
emulated by qemu-user: times mean nothing there, but onnxruntime runs the kernels that it would run on them. Haswell
and EPYC have AVX2 and no VNNI, Nehalem has neither. Each other Python is tried with each runtime that it has:
onnxruntime, OpenVINO, OpenCV, tract, ncnn; one may be a whole command, as in "qemu-aarch64 -L DEBIAN
DEBIAN/usr/bin/python3" for the folder of an arm64 Debian.

right: the accuracy, or the mean IoU of the tiles, is this machine's within 0.2 points; wrong; refuses, with what it
says below the table. Exit status 1 if a processor named here, which runs the same onnxruntime as this machine, is not
right.
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
from stages.core import errors, files
from stages.core.device import processor
from stages.core.errors import UserError
from stages.data import prepared
from stages.evaluation import confusion

SCRIPT = Path(__file__).with_name("answer.py")
EQUAL = 0.2  # points of accuracy or mean IoU
LACKS_RUNTIME = 3  # answer.py's exit status
LIMIT = 3600  # seconds that a process may take, for all its files


class Answer(NamedTuple):
    runtime: str  # with its version
    machine: str
    classes: np.ndarray  # (N,), or (N,H,W); empty where it refuses
    ms: float
    refusal: str  # "" where it answers


class Subject(NamedTuple):
    """A file, and what this machine makes of test images."""

    labels: np.ndarray  # (N,*S), negative where they don't count
    own: Answer

    def score(self, given: Answer) -> float:
        """Accuracy, or the mean IoU of the squares, in %."""
        counts, predicted = self.labels >= 0, given.classes
        table = confusion.count(self.labels[counts], predicted[counts],
                                1 + max(self.labels.max(), predicted.max()))
        return 100 * float(confusion.mean_iou(table) if self.labels.ndim > 1 else np.trace(table) / table.sum())

    def is_right(self, given: Answer) -> bool:
        return not given.refusal and round(abs(self.score(given) - self.score(self.own)), 2) <= EQUAL

    def cell(self, given: Answer) -> str:
        """right or wrong, the score, the share of other predictions if there are any; refuses."""
        if given.refusal:
            return "refuses"
        other = 100 * float((given.classes != self.own.classes).mean())
        return (f"{'right' if self.is_right(given) else '**wrong**'} {self.score(given):.2f}"
                + f" ({other:.2g} % other)" * (other > 0))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.devices", description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL")
    parser.add_argument("--processors", nargs="*", default=["Haswell", "EPYC", "Nehalem"], metavar="NAME",
                        help="as qemu-x86_64 -cpu help lists them")
    parser.add_argument("--pythons", nargs="*", default=[], metavar="COMMAND",
                        help="other Pythons, each to be tried with the runtimes that it has")
    parser.add_argument("--images", type=int, default=500, help="of each test split, evenly spaced")
    options = parser.parse_args()
    emulated, refusals, are_right = [emulator(), "-cpu"] if options.processors else [], [], True
    with tempfile.TemporaryDirectory() as folder:
        tried, labels = zip(*(sample(path, options.images, Path(folder)) for path in options.models), strict=True)
        subjects = [Subject(*pair) for pair in zip(labels, own(tried), strict=True)]
        print("| processor | runtime |", *(f"{path} | ms |" for path in options.models))
        print("|---|---|" + "---|---:|" * len(subjects))
        print(line(processor(), subjects, [subject.own for subject in subjects]), flush=True)
        for name in options.processors:
            given = answers([*emulated, name, sys.executable], tried, "onnxruntime")
            print(line(f"{name}, emulated", subjects, given), flush=True)
            are_right &= all(map(Subject.is_right, subjects, given))
            refusals += told(given, options.models)
        for command in map(shlex.split, options.pythons):
            for given in filter(None, (answers(command, tried, runtime) for runtime in RUNTIMES)):
                place = f"{given[0].machine}, emulated" if "qemu" in command[0] else processor()
                print(line(place, subjects, given), flush=True)
                refusals += told(given, options.models)
    print("", *refusals, sep="\n")
    sys.exit(not are_right)


def sample(path: Path, count: int, folder: Path) -> tuple[tuple[Path, Path], np.ndarray]:
    """The file with test images of its own run, which are written to the folder, and their labels. Raises UserError."""
    run = next((parent for parent in path.absolute().parents if (parent / prepared.FOLDER).is_dir()), None)
    if run is None:
        raise UserError(f"{path} lies in no folder of a run; name a file in one that has {prepared.FOLDER} too")
    stored, images = run / prepared.FOLDER / "test", folder / f"{len(list(folder.iterdir()))}.npy"
    labels = files.read_array(stored / "targets.npy", "integer", 1)
    rows = prepared.evenly_spaced(len(labels), count)
    np.save(images, files.read_array(stored / "images.npy", "uint8", 4)[rows])
    return (path, images), labels[rows]


def own(tried: Sequence[tuple[Path, Path]]) -> list[Answer]:
    """This machine's, with which all others are compared. Raises UserError where a file can't be run here."""
    given = answers([sys.executable], tried, "onnxruntime")
    for (path, _), answer in zip(tried, given, strict=True):
        if answer.refusal:
            raise UserError(f"{path} can't be run here: {answer.refusal}")
    return given


def told(given: Sequence[Answer], paths: Sequence[Path]) -> list[str]:
    """What each one that refuses says."""
    return [f"{answer.runtime}, {path}: {answer.refusal}"
            for path, answer in zip(paths, given, strict=True) if answer.refusal]


def emulator() -> str:
    """Raises UserError where it is missing."""
    if qemu := shutil.which("qemu-x86_64"):
        return qemu
    raise UserError("qemu-x86_64 is missing, which emulates other processors; install Debian's package qemu-user, or "
                    "give --processors no name")


def answers(python: Sequence[str], tried: Sequence[tuple[Path, Path]], runtime: str) -> list[Answer]:
    """One for each file; none where this Python lacks the runtime. python: a command; tried: files and their images."""
    given = []
    while rest := tried[len(given):]:  # a crash ends the process; what comes after it gets another
        command = [*python, str(SCRIPT), runtime, *(str(path) for pair in rest for path in pair)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=LIMIT)
        except subprocess.TimeoutExpired as late:
            done = subprocess.CompletedProcess(command, None, late.stdout or b"", late.stderr or b"")
        except OSError as error:
            raise UserError(f"{python[0]} can't be run ({error.strerror}); name a Python with --pythons") from None
        if done.returncode == LACKS_RUNTIME:
            break
        told = map(json.loads, done.stdout.rpartition(b"\n")[0].splitlines())  # whole lines only
        given += [Answer(**answer | {"classes": np.array(answer["classes"])}) for answer in told]
        if len(given) < len(tried):
            given.append(Answer(runtime, "", np.array([]), 0.0, _fault(done)))
    return given


def _fault(done: subprocess.CompletedProcess) -> str:
    """Why it ended early, and its last line on stderr. returncode: None where its time was up."""
    why = f"no answer within {LIMIT} s" if done.returncode is None else f"it crashed, with status {done.returncode}"
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return ": ".join([why, *(errors.printable(line[:300]) for line in lines[-1:])])


def line(place: str, subjects: Sequence[Subject], given: Sequence[Answer]) -> str:
    """A row of the table. given: of one device, an answer for each subject."""
    times = ["" if "emulated" in place or answer.refusal else f"{answer.ms:.3f}" for answer in given]
    cells = [f"{subject.cell(answer)} | {ms} |"
             for subject, answer, ms in zip(subjects, given, times, strict=True)]
    return " ".join([f"| {place} | {given[0].runtime} |", *cells])


if __name__ == "__main__":
    errors.run(main)
