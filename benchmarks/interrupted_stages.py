"""Do stages end in the same files after a kill, and after a power loss?

    python -m benchmarks.interrupted_stages [--kills 8] [--stages fetch scan …]

Runs the stages of a small run one after the other, without DVC, each in a process that is forked from this one, so that
a hundred of them take a minute or two; `benchmarks.kill` does the like with all of `dvc repro`. As DVC does, it deletes
a stage's outs before the stage.

Kills: SIGKILL at a moment drawn from the stage's processor time; then the stage once more. Power losses may leave a
file of which not all reached the disk: empty, cut, full of zeros; a disk may flip a bit. Each file that a killed stage
left in `.work/` is brought into each of these states, one at a time, then all together; each time the stage runs again.

Out: two tables on stdout; exit status 1 if a stage stops, or leaves another file than an undisturbed run.
"""

import argparse
import contextlib
import importlib
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import yaml

from benchmarks import copies, small_run
from stages.core import errors, workdir
from stages.core.files import sha256

SAME, OTHER, STOPS = "same", "OTHER FILES", "STOPS"
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "as it was": lambda content: content, "empty": lambda content: b"",
    "cut": lambda content: content[:len(content) // 2], "zeros": lambda content: bytes(len(content)),
    "a bit flipped": lambda content: content[:-9] + bytes(byte ^ 1 for byte in content[-9:-8]) + content[-8:]}
STAGES = ("check", "source", "fetch", "scan", "clean", "split", "train_teacher", "teacher_targets", "train_baseline",
          "distill", "quantize", "verify", "evaluate", "benchmark", "report")
KEEPING = ("train_teacher", "teacher_targets", "train_baseline", "distill", "verify")  # files in .work/


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.interrupted_stages",
                                     description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=8, help="of each stage")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES, help="to interrupt")
    options = parser.parse_args()
    for stage in STAGES:
        importlib.import_module(f"stages.{stage}")  # once, for all processes
    kills, losses, moments = [], [], random.Random(options.seed)
    with tempfile.TemporaryDirectory() as space:
        small_run.make(Path(space, "run"))
        os.chdir(Path(space, "run"))
        outs = outs_of_stages()
        for stage in STAGES[:1 + max(map(STAGES.index, options.stages))]:
            seconds = run(stage, outs[stage])
            if seconds is None:
                raise errors.UserError(f"{stage} failed undisturbed")
            if stage in options.stages:
                kills.append(kill_all(stage, outs[stage], seconds, options.kills, moments))
            if stage in options.stages and stage in KEEPING:
                losses += damage_all(stage, outs[stage], Path(space, "left"))
    print("\n| stage | kills | same files | other files | stops |\n|---|---:|---:|---:|---:|")
    for stage, ends in [*kills, ("all", sum((ends for _, ends in kills), Counter()))]:
        print(f"| {stage} | {ends.total()} | {ends[SAME]} | {ends[OTHER]} | {ends[STOPS]} |")
    print(f"\n| stage | file in `.work/` | bytes | {' | '.join(DAMAGES)} |\n|---|---|---:|{'---|' * len(DAMAGES)}")
    for stage, name, size, ends in losses:
        print(f"| {stage} | {name} | {size} | {' | '.join(ends)} |")
    sys.exit(any(ends.keys() - {SAME} for _, ends in kills) or any({*ends} - {SAME} for *_, ends in losses))


def kill_all(stage: str, outs: list[Path], seconds: float, count: int, moments: random.Random) -> tuple[str, Counter]:
    """The stage, and how often it ended how."""
    expected, ends = digests(outs), Counter()
    for _ in range(count):
        process, moment = start(stage, outs), moments.uniform(0, seconds)
        while process.is_alive() and copies.cpu_seconds(process.pid) < moment:
            time.sleep(0.002)
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        ends[end(stage, outs, expected)] += 1
    print(f"{stage}: {dict(ends)}", file=sys.stderr)
    return stage, ends


def damage_all(stage: str, outs: list[Path], left: Path) -> list[tuple[str, str, int, list[str]]]:
    """A row a file: stage, file, its bytes, how the stage ended from each state."""
    expected, rows = digests(outs), []
    interrupt(stage, outs)
    shutil.copytree(workdir.ROOT, left)
    names = [path.relative_to(left) for path in sorted(left.rglob("*")) if path.is_file() and path.stat().st_size]
    for which in [*([name] for name in names), names]:
        ends = []
        for damage in DAMAGES.values():
            shutil.rmtree(workdir.ROOT)
            shutil.copytree(left, workdir.ROOT)
            for name in which:
                (workdir.ROOT / name).write_bytes(damage((left / name).read_bytes()))
            ends.append(end(stage, outs, expected))
        sizes = sum((left / name).stat().st_size for name in which)
        rows.append((stage, str(which[0]) if len(which) == 1 else "all of these", sizes, ends))
        print(*rows[-1], file=sys.stderr)
    shutil.rmtree(left)
    return rows


def end(stage: str, outs: list[Path], expected: dict[str, str]) -> str:
    """How the stage ends when it is run again."""
    if run(stage, outs) is None:
        return STOPS
    return SAME if digests(outs) == expected else OTHER


def outs_of_stages() -> dict[str, list[Path]]:
    """Those without times in them."""
    stages = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    named = {name: [out if isinstance(out, str) else next(iter(out)) for kind in ("outs", "metrics")
                    for out in stage.get(kind, [])] for name, stage in stages.items()}
    return {name: [Path(out) for out in outs if not out.startswith(copies.TIMED)] for name, outs in named.items()}


def interrupt(stage: str, outs: list[Path]) -> None:
    """Kills it once its folder holds more than the key; later, where that works, so that there is more."""
    for delay in (0.5, 0.2, 0.05, 0.0, 0.0, 0.0):
        process = start(stage, outs)
        while process.is_alive() and not kept(stage):
            time.sleep(0.001)
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        if kept(stage):
            return
    raise errors.UserError(f"{stage} leaves nothing in {workdir.ROOT}, or can't be killed in time")


def kept(stage: str) -> list[Path]:
    return [path for path in (workdir.ROOT / stage).rglob("*") if path.is_file() and path.name != "key"]


def run(stage: str, outs: list[Path]) -> float | None:
    """The processor time it took; None where it failed."""
    before, process = os.times(), start(stage, outs)
    process.join()
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return None if process.exitcode else used


def start(stage: str, outs: list[Path]) -> multiprocessing.Process:
    """Its outs are deleted before it runs, as DVC does."""
    for out in outs:
        shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)
    process = multiprocessing.get_context("fork").Process(target=work, args=(stage,))
    process.start()
    return process


def work(stage: str) -> None:
    sys.argv = [f"{stage}.py"]
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        errors.run(sys.modules[f"stages.{stage}"].main)


def digests(outs: list[Path]) -> dict[str, str]:
    files = (path for out in outs for path in (out, *out.rglob("*")) if path.is_file())
    return {str(path): sha256(path) for path in files}


if __name__ == "__main__":
    errors.run(main)
