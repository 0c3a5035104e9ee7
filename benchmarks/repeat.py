"""Does the pipeline repeat itself? Runs it whole in two fresh copies of the project and compares every file it made.

In: this folder as it stands; --params, another params.yaml. Out: a table on stdout; exit status 1 if a file differs.
Run as `python -m benchmarks.repeat`.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import copies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=Path, help="used in place of params.yaml")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as space:
        runs = [Path(space, name) for name in ("one", "other")]
        for folder in runs:
            copies.fresh(folder, options.params)
            log, started = Path(space, f"{folder.name}.log"), time.monotonic()
            copies.finish(copies.repro(folder, log), log)
            print(f"{folder.name} run: {time.monotonic() - started:.0f} s", file=sys.stderr)
        sys.exit(not copies.show(*runs))


if __name__ == "__main__":
    main()
