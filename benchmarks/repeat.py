"""Does the pipeline repeat itself? Runs it in two fresh copies of the project and compares every file it made.

    python -m benchmarks.repeat [--params FILE]

Out: a table on stdout; exit status 1 if a file differs.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import copies
from stages.core import errors


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.repeat", description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=Path, help="used in place of params.yaml")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as space:
        runs = [Path(space, name) for name in ("one", "other")]
        for folder in runs:
            copies.make_fresh(folder, options.params)
            log, started = Path(space, f"{folder.name}.log"), time.monotonic()
            copies.finish(copies.start_repro(folder, log), log)
            print(f"{folder.name} run: {time.monotonic() - started:.0f} s", file=sys.stderr)
        sys.exit(not copies.print_comparison(*runs))


if __name__ == "__main__":
    errors.run(main)
