"""Does a killed pipeline end in the same files? Runs it once undisturbed, and once killed at random moments.

    python -m benchmarks.kill [--params FILE] [--kills 5]

Each kill is a SIGKILL to DVC and all it started; then `dvc repro` is run again. Out: a table on stdout; exit status 1
if a file differs.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks import copies
from stages.core import errors


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kill", description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=Path, help="used in place of params.yaml")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as space:
        undisturbed, killed, log = Path(space, "undisturbed"), Path(space, "killed"), Path(space, "log")
        copies.make_fresh(undisturbed, options.params)
        started = time.monotonic()
        copies.finish(copies.start_repro(undisturbed, log), log)
        seconds = time.monotonic() - started
        print(f"undisturbed: {seconds:.0f} s", file=sys.stderr)

        copies.make_fresh(killed, options.params)
        moments = random.Random(options.seed)
        for _ in range(options.kills):  # after up to half of the whole time, so that later stages are reached too
            kill_after(moments.uniform(0, seconds / 2), copies.start_repro(killed, log))
        copies.finish(copies.start_repro(killed, log), log)
        sys.exit(not copies.print_comparison(undisturbed, killed))


def kill_after(seconds: float, run: subprocess.Popen) -> None:
    try:
        run.wait(seconds)
        print(f"ended by itself within {seconds:.1f} s, with status {run.returncode}", file=sys.stderr)
    except subprocess.TimeoutExpired:
        stage = running_stage(run.pid)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        print(f"killed after {seconds:.1f} s, in {stage}", file=sys.stderr)


def running_stage(pid: int) -> str:
    words = [word for child in psutil.Process(pid).children(recursive=True) for word in child.cmdline()]
    return next((word.removeprefix("stages.") for word in words if word.startswith("stages.")), "dvc itself")


if __name__ == "__main__":
    errors.run(main)
