"""What distilling was worth on several sets: one table of finished runs, beside what one would ship otherwise, the
pre-trained teacher itself made small.

    python -m benchmarks.sets FOLDER...

FOLDER: of a project whose stages all ran. Out: a Markdown table on stdout. Latencies of one run were measured together;
those of different runs are not for comparing.
"""

import argparse
from pathlib import Path

from stages.core import errors
from stages.core.files import read_json
from stages.reporting.numbers import bounds, signed, span, spread

HEAD = ("set", "test images", "alternative: teacher, small", "MB", "ms", "teacher", "baseline", "student", "gain",
        "int8", "MB", "ms")
ROLES = ("teacher", "baseline", "student")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sets", description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    print("|".join(["", *HEAD, ""]))
    print("|---|" + "---:|" * (len(HEAD) - 1))
    for folder in parser.parse_args().folders:
        print("|".join(["", *row(folder), ""]))


def row(folder: Path) -> list[str]:
    """The cells of one run. Raises UserError where it isn't finished."""
    quality, size, speed = (read_json(folder / f"metrics/{name}.json") for name in ("quality", "size", "speed"))
    test, distillation = quality["test"], quality["distillation"]

    def score(name: str) -> str:
        return spread(quality[name], test["primary"], 2) if name in quality else "–"

    def small(name: str) -> list[str]:
        has_file = name in size and name in speed
        return [score(name), *([f"{size[name]['size_mb']:.2f}", f"{speed[name]['latency_ms']:.2f}"] if has_file
                               else ["–", "–"])]

    within = bounds(distillation, "gain")
    gain = signed(distillation["gain"], 2) + (f" ({span(*within)})" if within else "")
    return [folder.resolve().name, str(test["images"]), *small("teacher_int8"), *map(score, ROLES), gain,
            *small("int8")]


if __name__ == "__main__":
    errors.run(main)
