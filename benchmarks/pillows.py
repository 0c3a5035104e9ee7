"""Does predict.py get the same pixels in other Pythons, with other Pillows? Each has to give this one's, or a line.

    python -m benchmarks.pillows FOLDER python3.9 /elsewhere/bin/python …

In: a folder of pictures, Python programs that have numpy and Pillow. Out: a table on stdout; exit status 1 where one
reads other pixels than this Python does, or ends in a traceback.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from stages.core import errors

PREDICT = Path(__file__).resolve().parents[1] / "predict.py"
PROGRAM = """
import hashlib, importlib.util, json, sys, warnings
from pathlib import Path
spec = importlib.util.spec_from_file_location("predict", sys.argv[1])
predict = sys.modules["predict"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(predict)
warnings.simplefilter("ignore")
found = {}
for path in sorted(Path(sys.argv[2]).rglob("*")):
    if path.is_file():
        try:
            image = predict.decode_image(path.read_bytes())
            small = predict.resized(image, predict.Sizing(9, 9, "squash", 1.0, 0))
            found[str(path)] = [str(image.size), hashlib.sha256(image.tobytes() + small.tobytes()).hexdigest(), ""]
        except predict.Unreadable as error:
            found[str(path)] = ["", "", str(error)]
print(json.dumps([predict.PIL.__version__, sys.version.split()[0], found]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pillows", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("pythons", nargs="+", metavar="PYTHON")
    options = parser.parse_args()
    expected = decoded(sys.executable, options.folder)[2]
    print("| Python | Pillow | same pixels | refused by both | refused here alone | other pixels | read here alone |\n"
          "|---|---|---:|---:|---:|---:|---:|")
    wrong = []
    for python in options.pythons:
        pillow, version, found = decoded(python, options.folder)
        counts = compare(found, expected)
        print(f"| {version} | {pillow} |", " | ".join(str(len(paths)) for paths in counts), "|", flush=True)
        wrong += [f"{path}: Python {version}, Pillow {pillow}: {found[path]}, and here {expected[path]}"
                  for path in counts[3] + counts[4]]
    print("", *wrong, sep="\n")
    sys.exit(bool(wrong))


def decoded(python: str, folder: Path) -> tuple[str, str, dict[str, list[str]]]:
    """Pillow's version, Python's, and of each file: size, hash of its pixels and a small copy's, why it wasn't read.

    Raises UserError.
    """
    done = subprocess.run([python, "-c", PROGRAM, PREDICT, folder], capture_output=True, text=True)
    if done.returncode:
        raise errors.UserError(f"{python}: {(done.stderr.strip().splitlines() or ['it was killed'])[-1]}")
    return tuple(json.loads(done.stdout))


def compare(found: dict[str, list[str]], expected: dict[str, list[str]]) -> list[list[str]]:
    """Paths in the order of the table's columns."""
    groups = [[], [], [], [], []]
    for path, (size, digest, why) in found.items():
        is_known = not expected[path][2]
        if why:
            groups[2 if is_known else 1].append(path)
        elif not is_known:
            groups[4].append(path)
        else:
            groups[0 if [size, digest] == expected[path][:2] else 3].append(path)
    return groups


if __name__ == "__main__":
    errors.run(main)
