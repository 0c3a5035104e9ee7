"""Are the figures of a user's wait in metrics/speed.json true? The stage's own measurement beside one from outside.

    python -m benchmarks.end_to_end models/student.int8.onnx [--rounds N]

In turns, so that what else the machine does meets both alike: stages/deployment/photograph.py, which gives predict.py
paths on stdin, and benchmarks/as_a_user.py, which shares no code with it. Out: medians over the rounds of each figure,
of the ratio of the two in a round, and its quartiles. Exit status 1 where a ratio is farther from 1 than 5 %.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
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
    options = parser.parse_args()
    photograph.STARTS = 1  # of a round: the shorter the turns, the more alike is what else the machine does
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder, "photograph.jpg")
        photograph.write(picture)
        shutil.copy(photograph.PREDICT, folder)
        model = Path(shutil.copy(options.model, Path(folder, "student.int8.onnx")))
        rounds = [(photograph.measure(model, options.threads, picture), outside(Path(folder), options.threads))
                  for _ in range(options.rounds)]
    print(f"{options.model}, {processor()}, {options.threads} thread(s), {options.rounds} rounds\n")
    print("| | stage | from outside | ratio | quartiles |\n|---|---:|---:|---:|---|")
    are_true = [line(key, *np.array([[own[key], other[key]] for own, other in rounds]).T) for key in rounds[0][0]]
    sys.exit(not all(are_true))


def outside(folder: Path, threads: int) -> dict[str, float]:
    """What as_a_user.py says. Raises UserError where it fails."""
    done = subprocess.run([sys.executable, OUTSIDE, folder, str(threads)], capture_output=True, text=True)
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
