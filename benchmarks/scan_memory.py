"""How much memory do `fetch` and `scan` take of a set made to exhaust it, with many workers?

    python -m benchmarks.scan_memory [--workers 16] [--kinds gif png jpeg sparse]

The set: GIFs of 41 bytes that claim 13,000×13,000 pixels, PNGs of 12,000×12,000 pixels of one colour, JPEGs of
5000×3300 pixels, which just don't count as large, and a sparse tar of a few kilobytes whose members claim 300 MB each.
Out: a table on stdout of the largest memory of all processes together: PSS, in which pages that several processes share
count once.
"""

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import psutil
import yaml
from PIL import Image

from stages.core import errors
from stages.setup import presets

ROOT = Path(__file__).resolve().parent.parent
# A file a process at a time (the second default, `chunk`), so that a few dozen files keep all processes at work.
STAGE = """
import sys
import stages.{0} as stage
from stages.core import errors
from stages.data import parallel
parallel.WORKERS, parallel.map_in_processes.__defaults__ = {1}, (None, 1)
sys.argv = ['{0}.py']
errors.run(stage.main)
"""
COUNTS = {"gif": 16, "png": 3, "jpeg": 24, "sparse": 3}
SIDES = {"png": (12_000, 12_000), "jpeg": (5000, 3300)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scan_memory", description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--kinds", nargs="+", choices=COUNTS, default=list(COUNTS))
    options = parser.parse_args()
    print("| files | stage | workers | MB | s |\n|---|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as space:
        make(Path(space), options.kinds)
        for stage in ("fetch", "scan"):
            largest, seconds = measure(Path(space), stage, options.workers)
            print(f"| {', '.join(f'{COUNTS[kind]} {kind}' for kind in options.kinds)} | {stage} | {options.workers} "
                  f"| {largest / 1e6:.0f} | {seconds:.0f} |", flush=True)


def make(folder: Path, kinds: list[str]) -> None:
    """A folder of two classes, and a sparse tar, which stands for a third."""
    source = folder / "data/source/big"
    for kind in kinds:
        data = content(kind) if kind != "sparse" else b""
        for number in range(COUNTS[kind] if data else 0):
            place = source / ("cat", "dog")[number % 2] / f"{kind}{number}.{kind}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
    if "sparse" in kinds:
        source.mkdir(parents=True, exist_ok=True)
        sparse_tar(source / "owl.tar", COUNTS["sparse"])
    values = presets.values("digits")
    values["data"] |= {"source": "big", "max_unpacked_gb": 100.0}
    (folder / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


def content(kind: str) -> bytes:
    if kind == "gif":
        size = (13_000).to_bytes(2, "little") * 2
        return b"GIF89a" + size + b"\x80\0\0" + bytes(6) + b"," + bytes(4) + size + b"\0\x02\x02\x44\x01\0;"
    file = io.BytesIO()
    Image.new("RGB", SIDES[kind], "teal").save(file, kind.upper())
    return file.getvalue()


def sparse_tar(path: Path, count: int, size: int = 300_000_000) -> None:
    """GNU sparse files, each of which is a hole of `size` bytes."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for number in range(count):
            blocks = b"1\n%d\n0\n" % size
            entry = tarfile.TarInfo(f"sparse{number}.png")
            entry.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0",
                                 "GNU.sparse.name": entry.name, "GNU.sparse.realsize": str(size)}
            entry.size = 512
            archive.addfile(entry, io.BytesIO(blocks.ljust(512, b"\0")))


def measure(folder: Path, stage: str, workers: int) -> tuple[int, float]:
    """The largest PSS in bytes of the stage and its workers, and its seconds. Raises UserError if it fails."""
    started, largest = time.monotonic(), 0
    process = subprocess.Popen([sys.executable, "-c", STAGE.format(stage, workers)], cwd=folder,
                               env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE)
    while process.poll() is None:
        largest = max(largest, pss(process.pid))
        time.sleep(0.3)
    if process.returncode:
        raise errors.UserError(f"{stage} failed: {process.stderr.read().decode().splitlines()[-1]}")
    return largest, time.monotonic() - started


def pss(pid: int) -> int:
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for member in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(OSError, psutil.NoSuchProcess):
                lines = Path(f"/proc/{member.pid}/smaps_rollup").read_text().splitlines()
                total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


if __name__ == "__main__":
    errors.run(main)
