"""How long a user waits for predict.py and how much memory it takes, measured from outside: no code of the pipeline.

    python as_a_user.py FOLDER THREADS

In: a folder as on a device: predict.py, student.int8.onnx, photograph.jpg. Out: a line of JSON with photograph_ms, an
answer of predict.Model in a program that has it open; cold_start_ms, from the command to its line; and
photograph_memory_mb, the largest resident memory (10⁶ bytes) that the system's account of that command has.
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
    start = time.monotonic_ns()
    with open("photograph.jpg", "rb") as file:
        model.answer(file.read())
    print(time.monotonic_ns() - start)
"""


def main(folder, threads):
    milliseconds, megabytes = command(folder, threads)
    print(json.dumps({"photograph_ms": median(answers(folder, threads)), "cold_start_ms": milliseconds,
                      "photograph_memory_mb": megabytes}))


def command(folder, threads):
    """(ms, MB) of predict.py on the photograph."""
    start = time.monotonic_ns()
    process = subprocess.Popen([sys.executable, "predict.py", "photograph.jpg", "--threads", threads], cwd=folder,
                               stdout=subprocess.PIPE)
    is_told, end = process.stdout.readline().startswith(b"photograph.jpg"), time.monotonic_ns()
    process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # else Popen would wait for it, too
    if process.returncode or not is_told:
        sys.exit("predict.py doesn't answer")
    return (end - start) / 1e6, usage.ru_maxrss / 1e6 * (1 if sys.platform == "darwin" else 1024)


def answers(folder, threads):
    """ms of each answer but the first."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, threads, str(ANSWERS)], cwd=folder, check=True,
                          stdout=subprocess.PIPE)
    return [int(line) / 1e6 for line in done.stdout.split()[1:]]


if __name__ == "__main__":
    main(*sys.argv[1:])
