"""How long a user waits for predict.py and how much memory it takes, measured from outside: no code of the pipeline.

    python as_a_user.py FOLDER THREADS wall|processor

In: a folder as on a device: predict.py, student.int8.onnx, photograph.jpg. Out: a line of JSON with photograph_ms, an
answer of predict.Model in a program that has it open; cold_start_ms, from the command to its line; and
photograph_memory_mb, the largest resident memory (10⁶ bytes) that the system's account of that command has. By the
wall's clock, or by the processor time that predict.py took (Linux), which doesn't count what other processes do.
benchmarks/end_to_end.py runs it, in a process that is smaller than predict.py's: the account begins with its parent's.
"""

import json
import os
import subprocess
import sys
import time
from statistics import median

ANSWERS = 5  # of a program; the first isn't timed
PROGRAM = """
import sys, time, predict
model = predict.Model("student.int8.onnx", int(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    start = getattr(time, sys.argv[3])()
    with open("photograph.jpg", "rb") as file:
        model.answer(file.read())
    print(getattr(time, sys.argv[3])() - start)
"""


def main(folder, threads, clock):
    milliseconds, megabytes = command(folder, threads, clock)
    print(json.dumps({"photograph_ms": median(answers(folder, threads, clock)), "cold_start_ms": milliseconds,
                      "photograph_memory_mb": megabytes}))


def command(folder, threads, clock):
    """(ms, MB) of predict.py on the photograph. Its stdin is open until it has answered: then it does nothing more."""
    start = time.monotonic()
    process = subprocess.Popen([sys.executable, "predict.py", "-", "--threads", threads], cwd=folder,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(b"photograph.jpg\n")
    process.stdin.flush()
    is_told = process.stdout.readline().startswith(b"photograph.jpg")
    seconds = time.monotonic() - start if clock == "wall" else time.clock_gettime(~process.pid << 3 | 2)  # Linux's id
    process.stdin.close()
    process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # else Popen would wait for it, too
    if process.returncode or not is_told:
        sys.exit("predict.py doesn't answer")
    return 1e3 * seconds, usage.ru_maxrss / 1e6 * (1 if sys.platform == "darwin" else 1024)


def answers(folder, threads, clock):
    """ms of each answer but the first."""
    named = {"wall": "monotonic_ns", "processor": "process_time_ns"}[clock]
    done = subprocess.run([sys.executable, "-c", PROGRAM, threads, str(ANSWERS), named], cwd=folder, check=True,
                          stdout=subprocess.PIPE)
    return [int(line) / 1e6 for line in done.stdout.split()[1:]]


if __name__ == "__main__":
    main(*sys.argv[1:])
