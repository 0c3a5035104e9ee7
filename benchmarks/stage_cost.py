"""Runs a stage in a process of its own and measures what it takes."""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import psutil

from stages.core.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
INTERVAL = 0.01  # seconds between two looks at the memory; of what takes longer than a second, a hundredth of its time


class Cost(NamedTuple):
    seconds: float
    cpu_seconds: float  # of all cores
    megabytes: float  # peak of all its processes together, 1 MB = 10⁶ bytes


def measure(stage: str, folder: Path) -> Cost:
    """Run `stages.<stage>` in `folder`. Raises UserError with its stderr if it fails."""
    return measure_command([sys.executable, "-m", f"stages.{stage}"], folder)


def measure_command(command: list[str], folder: Path) -> Cost:
    """The same of any command that finds this project's modules.

    Memory is what the system can't take back: pages mapped from files and shared ones are left out.
    """
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with (folder / "stderr").open("w+") as log, subprocess.Popen(
            command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=log) as running:
        peak = 0
        while running.poll() is None:
            peak = max(peak, _own_memory(psutil.Process(running.pid)))
            time.sleep(max(INTERVAL, (time.perf_counter() - started) / 100))
        seconds = time.perf_counter() - started
        log.seek(0)
        if running.returncode:
            raise UserError(f"{' '.join(command[1:])} failed: {log.read().strip()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, peak / 1e6)


def _own_memory(process: psutil.Process) -> int:
    """Bytes of a process and its children; of one that has just ended, none."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            memory = one.memory_info()
            total += memory.rss - memory.shared
        except psutil.NoSuchProcess:
            pass
    return total
