"""Does a killed pipeline end in the same files? A small run is done once undisturbed; others are killed in each stage.

    python -m benchmarks.kill [--rounds 7] [--orphans 1] [--seed 0] [--params FILE]

A round is a run of its own: as each stage begins, a share of its processor time is drawn, and once that is used,
SIGKILL goes to DVC and all that it started; then what `make` does is given again (DVC's notes are cleared up, then
`dvc repro`), and the next stage's turn comes. What DVC does after a stage (hashing, caching, dvc.lock) belongs to its
time. In rounds of `--orphans` DVC alone is killed, the stage lives on, and the same is given again at once. A round
ends with a whole run, whose outs are compared.

Out: a line a kill on stderr, and a table on stdout after each round; exit status 1 if a file differs, or if `dvc repro`
ever failed (but for the line that an orphan is still at work): then somebody would have had to do something.
"""

import argparse
import itertools
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from benchmarks import copies, small_run
from stages.core import errors

POLL = 0.05  # seconds
ORPHAN = re.compile(r"another \w+ is still running in this folder")


class Repro:
    """A `dvc repro` that runs, and what it says of its stages."""

    def __init__(self, folder: Path, log: Path):
        self._log, self._start = log, log.stat().st_size if log.exists() else 0
        self.process = copies.start_repro(folder, log)

    def text(self) -> str:
        with open(self._log, "rb") as file:
            file.seek(self._start)
            return file.read().decode(errors="replace")

    def begun(self) -> list[str]:
        return re.findall(r"^Running stage '(\w+)'", self.text(), re.MULTILINE)

    def cpu_seconds(self) -> float:
        """Of DVC, of what it started, and of what these started, ended ones included."""
        return sum(map(copies.cpu_seconds, _family(self.process.pid)))

    def kill(self, orphan: bool) -> str:
        """orphan: DVC alone. Returns what was at work: the stage, or `dvc` where it had not begun or had ended."""
        at_work = self.begun()[-1] if len(_family(self.process.pid)) > 1 else "dvc"
        os.kill(self.process.pid, signal.SIGKILL) if orphan else os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        return at_work

    def wait_for_all(self) -> None:
        """For orphans too."""
        self.process.wait()
        while True:
            try:
                os.killpg(self.process.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(POLL)


class Tally:
    """What came of all kills."""

    def __init__(self):
        self.kills, self.in_dvc, self.orphaned = Counter(), Counter(), Counter()  # by the stage whose turn it was
        self.refused = 0  # runs that stopped because an orphan was at work
        self.manual = []  # runs that failed otherwise
        self.wrong = []  # files that differ

    def failed(self, when: str, repro: Repro) -> None:
        self.manual.append(f"{when}: {repro.text().splitlines()[-1]}")
        print(f"FAILED {self.manual[-1]}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kill", description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=Path, help="the run of this params.yaml, in place of the small one")
    parser.add_argument("--rounds", type=int, default=7, help="with kills of all processes")
    parser.add_argument("--orphans", type=int, default=1, help="rounds with kills of DVC alone, which follow")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    os.environ["PYTHONUNBUFFERED"] = "1"  # or DVC's lines come late
    tally, moments = Tally(), random.Random(options.seed)
    with tempfile.TemporaryDirectory() as space:
        log, undisturbed = Path(space, "log"), make(Path(space, "undisturbed"), options.params)
        costs = measure(undisturbed, log)
        print("undisturbed:", *(f"{stage} {cost:.1f} s" for stage, cost in costs.items()), file=sys.stderr)
        for number in range(options.rounds + options.orphans):
            folder = make(Path(space, "killed"), options.params)
            play(folder, log, costs, moments, number >= options.rounds, tally)
            tally.wrong += [f"round {number}: {name}" for name in copies.wrong(undisturbed, folder)]
            print_tally(costs, tally, number + 1, len(copies.md5s(undisturbed)))
            shutil.rmtree(folder)
    sys.exit(bool(tally.manual or tally.wrong))


def make(folder: Path, params: Path | None) -> Path:
    folder.mkdir()
    copies.make_fresh(folder, params) if params else small_run.make(folder)
    return folder


def measure(folder: Path, log: Path) -> dict[str, float]:
    """Runs everything. Returns the seconds of processor time of each stage, in the order in which they ran."""
    marks, repro = {}, Repro(folder, log)  # a stage → the time used when it began
    used = 0.0
    while repro.process.poll() is None:
        for stage in repro.begun()[len(marks):]:
            marks[stage] = repro.cpu_seconds()
        used = repro.cpu_seconds() or used
        time.sleep(POLL)
    copies.finish(repro.process, log)
    return {stage: end - start for stage, (start, end) in zip(
        marks, itertools.pairwise([*marks.values(), used]), strict=True)}


def play(folder: Path, log: Path, costs: dict[str, float], moments: random.Random, orphan: bool, tally: Tally) -> None:
    """A round."""
    for stage, cost in costs.items():
        share, repro = moments.random(), Repro(folder, log)
        while repro.process.poll() is None and stage not in repro.begun():
            time.sleep(POLL)
        before = repro.cpu_seconds()
        while repro.process.poll() is None and repro.cpu_seconds() < before + share * cost:
            time.sleep(POLL)
        if repro.process.poll() is not None:
            print(f"{stage}: ended with status {repro.process.returncode} before its kill", file=sys.stderr)
            if repro.process.returncode:
                tally.failed(stage, repro)
            continue
        at_work = repro.kill(orphan)
        (tally.orphaned if orphan else tally.kills)[stage] += 1
        tally.in_dvc[stage] += not orphan and at_work == "dvc"
        print(f"killed {'dvc alone ' if orphan else ''}at {share:.0%} of {stage}, {at_work} at work", file=sys.stderr)
        if orphan:
            again = Repro(folder, log)
            if again.process.wait() and ORPHAN.search(again.text()):
                tally.refused += 1
            elif again.process.returncode:
                tally.failed(f"beside an orphan of {stage}", again)
            repro.wait_for_all()
    final = Repro(folder, log)
    if final.process.wait():
        tally.failed("at the end", final)


def print_tally(stages: Iterable[str], tally: Tally, rounds: int, files: int) -> None:
    counters = tally.kills, tally.in_dvc, tally.orphaned
    print("| stage | kills of all | of these while DVC was at work | kills of DVC alone |\n|---|---:|---:|---:|")
    for stage in stages:
        print(f"| {stage} | {' | '.join(str(counter[stage]) for counter in counters)} |")
    print(f"| all | {' | '.join(str(counter.total()) for counter in counters)} |")
    print(f"{rounds} rounds; {tally.refused} runs stopped beside an orphan, as they should; manual steps: "
          f"{len(tally.manual)}; files that differ: {len(tally.wrong)} of {rounds * files}", flush=True)
    for line in tally.manual + tally.wrong:
        print(line, flush=True)


def _family(pid: int) -> list[int]:
    """The process and all below it that are alive."""
    try:
        below = [int(child) for task in Path(f"/proc/{pid}/task").iterdir()
                 for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [pid, *(member for child in below for member in _family(child))]


if __name__ == "__main__":
    errors.run(main)
