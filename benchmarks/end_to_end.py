"""Are the figures of a user's wait in metrics/speed.json true? The stage's own measurement beside one from outside.

    python -m benchmarks.end_to_end models/student.int8.onnx [--rounds N] [--clock processor]

In turns, so that what else the machine does meets both alike: stages/deployment/photograph.py, which gives predict.py
paths on stdin, and benchmarks/as_a_user.py, which shares no code with it. Out: medians over the rounds of each figure,
of the ratio of the two in a round, and its quartiles. Exit status 1 where a ratio is farther from 1 than 5 %.

On a machine whose cores are taken, most of the time by the wall's clock is other work's. With --clock processor both,
the stage's code as it is, are given a clock that goes on only while predict.py runs (on Linux).
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import types
from pathlib import Path

import numpy as np

from stages.core import errors
from stages.core.device import processor
from stages.core.errors import UserError
from stages.deployment import photograph

OUTSIDE = Path(__file__).with_name("as_a_user.py")
WITHIN = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.end_to_end", description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall")
    options = parser.parse_args()
    photograph.STARTS = 1  # of a round: the shorter the turns, the more alike is what else the machine does
    if options.clock == "processor":
        photograph.time = types.SimpleNamespace(perf_counter=processor_seconds, monotonic=time.monotonic)
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder, "photograph.jpg")
        photograph.write(picture)
        shutil.copy(photograph.PREDICT, folder)
        model = Path(shutil.copy(options.model, Path(folder, "student.int8.onnx")))
        rounds = [(photograph.measure(model, options.threads, picture),
                   outside(Path(folder), options.threads, options.clock)) for _ in range(options.rounds)]
    print(f"{processor()}, {options.threads} thread(s), {options.rounds} rounds, by the clock of the {options.clock}\n")
    print("| | stage | from outside | ratio | quartiles |\n|---|---:|---:|---:|---|")
    are_true = [line(key, *np.array([[own[key], other[key]] for own, other in rounds]).T) for key in rounds[0][0]]
    sys.exit(not all(are_true))


def processor_seconds() -> float:
    """That the processes which this thread started, and which still run, took so far."""
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
    return sum(time.clock_gettime(~int(child) << 3 | 2) for child in children)  # Linux's id of a process's clock


def outside(folder: Path, threads: int, clock: str) -> dict[str, float]:
    """What as_a_user.py says. Raises UserError where it fails."""
    done = subprocess.run([sys.executable, OUTSIDE, folder, str(threads), clock], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{OUTSIDE} failed: {(done.stderr.strip().splitlines() or ['it was killed'])[-1]}")
    return json.loads(done.stdout)


def line(key: str, own: np.ndarray, other: np.ndarray) -> bool:
    """Print a row of the table; whether the ratio is within bounds. own, other: of each round, (R,)."""
    low, ratio, high = np.percentile(own / other, (25, 50, 75))
    print(f"| {key} | {np.median(own):.1f} | {np.median(other):.1f} | {ratio:.3f} | {low:.3f} to {high:.3f} |")
    return bool(abs(ratio - 1) <= WITHIN)


if __name__ == "__main__":
    errors.run(main)
