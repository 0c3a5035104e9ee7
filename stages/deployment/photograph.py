"""What predict.py takes from a photograph to its answer: the time and memory that a user sees, decoding included.

In: a deployed file. Out: milliseconds and MB. predict.py runs as a user runs it, in a process of its own; it gets the
path of one photograph again and again on stdin, and answers before it gets the next. The system has the file in memory.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from stages.core import errors

PREDICT = Path(__file__).resolve().parents[2] / "predict.py"
WIDTH, HEIGHT = 4000, 3000  # 12 megapixels, as telephones take them
STARTS = 3  # processes, each of which starts cold
REPEATS = 4  # answers of each that are timed, after the first
PATIENCE = 10  # seconds, after which no more is asked for; one answer of each kind is timed in any case


def write(path: Path) -> None:
    """A JPEG of some 4 MB: smooth shapes and a small sensor's noise, in four equal parts. The same bytes each time."""
    random, (width, height) = np.random.default_rng(0), (WIDTH // 2, HEIGHT // 2)
    shapes = Image.fromarray(random.integers(0, 256, (20, 30, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC)
    noise = random.integers(-10, 11, (height, width, 1), dtype=np.int16)
    quarter = (np.asarray(shapes) + noise).clip(0, 255).astype(np.uint8)
    Image.fromarray(np.tile(quarter, (2, 2, 1))).save(path, "JPEG", quality=90)


def measure(model: Path, threads: int, photograph: Path) -> dict[str, float]:
    """Medians over processes and answers: photograph_ms, of an answer of a running process; cold_start_ms, from the
    command to its first answer; photograph_memory_mb, the largest resident memory. Raises UserError where it fails.
    """
    cold, warm, memory, deadline = [], [], [], time.monotonic() + PATIENCE
    for _ in range(STARTS):
        if warm and time.monotonic() > deadline:  # a mask of many tiles takes seconds
            break
        start = time.perf_counter()
        with subprocess.Popen([sys.executable, PREDICT, "-", "--model", model.resolve(), "--threads", str(threads),
                               "--format", "jsonl"], cwd=photograph.parent, text=True, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            try:
                _ask(process, photograph)
                cold.append(time.perf_counter() - start)
                for _ in range(REPEATS):
                    if warm and time.monotonic() > deadline:
                        break
                    start = time.perf_counter()
                    _ask(process, photograph)
                    warm.append(time.perf_counter() - start)
                memory.append(_peak_memory_mb(process))
            finally:
                process.kill()
    return {"photograph_ms": round(1e3 * median(warm), 2), "cold_start_ms": round(1e3 * median(cold), 1),
            "photograph_memory_mb": round(median(memory), 1)}


def _ask(process: subprocess.Popen, photograph: Path) -> None:
    """Raises UserError where there is no answer."""
    try:
        print(photograph, file=process.stdin, flush=True)
        record = json.loads(process.stdout.readline())
    except (BrokenPipeError, json.JSONDecodeError):
        record = {"error": (process.stderr.read().strip().splitlines() or ["it was killed"])[-1]}
    if "error" in record:
        raise errors.UserError(f"predict.py doesn't answer to {photograph}: {record['error']}")


def _peak_memory_mb(process: subprocess.Popen) -> float:
    """In 10⁶ bytes, as stages/core/device.py: peak_memory_mb has it."""
    status = Path(f"/proc/{process.pid}/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    process.stdin.close()
    return os.wait4(process.pid, 0)[2].ru_maxrss / 1e6  # in bytes on macOS
