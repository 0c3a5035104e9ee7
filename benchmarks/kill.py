"""Does a killed pipeline end as if nothing had happened? Runs it once in peace, and once killed at random moments.

In: this folder as it stands; --params, another params.yaml. Out: a table on stdout; exit status 1 if a file differs.
Each kill is a SIGKILL to DVC and all it started; then `dvc repro` goes on. Run as `python -m benchmarks.kill`.
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=Path, help="used in place of params.yaml")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as space:
        peaceful, killed, log = Path(space, "peaceful"), Path(space, "killed"), Path(space, "log")
        copies.fresh(peaceful, options.params)
        started = time.monotonic()
        copies.finish(copies.repro(peaceful, log), log)
        seconds = time.monotonic() - started
        print(f"in peace: {seconds:.0f} s", file=sys.stderr)

        copies.fresh(killed, options.params)
        for pause in pauses(seconds, options.kills, options.seed):
            kill_after(pause, copies.repro(killed, log))
        copies.finish(copies.repro(killed, log), log)
        sys.exit(not copies.show(peaceful, killed))


def pauses(seconds: float, kills: int, seed: int) -> list[float]:
    """How long each run lives: up to half of a whole one, so that together they reach the later stages too."""
    draw = random.Random(seed)
    return [draw.uniform(0, seconds / 2) for _ in range(kills)]


def kill_after(pause: float, run: subprocess.Popen) -> None:
    try:
        run.wait(pause)
        print(f"ended by itself before its {pause:.1f} s were over, with status {run.returncode}", file=sys.stderr)
    except subprocess.TimeoutExpired:
        stage = at_work(run.pid)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        print(f"killed after {pause:.1f} s, in {stage}", file=sys.stderr)


def at_work(pid: int) -> str:
    """The stage that runs below process `pid`."""
    words = [word for child in psutil.Process(pid).children(recursive=True) for word in child.cmdline()]
    return next((word.removeprefix("stages.") for word in words if word.startswith("stages.")), "dvc itself")


if __name__ == "__main__":
    main()
