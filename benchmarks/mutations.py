"""Is every damaged archive and picture read, or refused in one line? Thousands are damaged by chance, and read as
`make new`, `fetch` and `scan` read them.

    python -m benchmarks.mutations [--archives 3000] [--pictures 500] [--seed 0] [--keep FOLDER]

Each reading is done in a process of its own kind, whose address space is limited to MEMORY more than it starts with,
and which is ended after SECONDS of processor time. Out: a table on stdout, and each failing case with what it raised on
stderr; exit status 1 if there is one. --keep: where the files of failing cases go.
"""

import argparse
import bz2
import gzip
import itertools
import lzma
import multiprocessing
import os
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import yaml
from tqdm import tqdm

from benchmarks import mutation_seeds
from stages.core import errors

MEMORY = 2**31  # bytes
SECONDS = 30.0
SOURCE = "data/source/a.bin"
REFUSED, READ, MEMORY_OUT, RAISED = "refused", "read", "over memory", "raised"
MARKS = (b"PK\1\2", b"PK\3\4", b"PK\5\6", b"ustar", b"PAR1", b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"\xff\xc0",
         b"\xff\xc2", b"\xff\xc4", b"\xff\xda", b"\xff\xe1", b"\xff\xdb", b"VP8", b"VP8L", b"GIF8", b"\x21\xf9", b"BM",
         b"II*\0", b"ftyp", b"meta", b"ispe", b"iloc", b"jp2h", b"ihdr", b"\xff\x4f", b"\xff\x51", b"\xff\x52")
EXTREMES = (b"\0", b"\xff", b"\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f",
            b"\0\0\x40\0", b"\x80\0\0\0", b"\xff" * 8)
Damage = Callable[[bytearray, random.Random], None]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutations", description=__doc__.splitlines()[0])
    parser.add_argument("--archives", type=int, default=3000)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    archives, pictures = mutation_seeds.archives(), mutation_seeds.pictures()
    raw = {"zip": archives["zip"]}
    cases = [(what, kind, number) for what, kinds, count in (
        ("archive", archives, options.archives), ("raw.zip", raw, options.archives // 10),
        ("picture", pictures, options.pictures)) for number, kind in zip(range(count), itertools.cycle(kinds))]
    counts, peak, slowest, worker = defaultdict(Counter), 0, 0.0, Worker()
    for what, kind, number in tqdm(cases, disable=None):
        chance = random.Random(f"{options.seed} {what} {kind} {number}")
        content = damaged(pictures[kind], chance) if what == "picture" else damaged_archive(*archives[kind], chance)
        outcome, message, memory, seconds = worker.read(what, content)
        peak, slowest = max(peak, memory), max(slowest, seconds)
        counts[what, kind][outcome] += 1
        if outcome not in (READ, REFUSED):
            print(f"{what} {kind} {number}: {outcome}: {message}", file=sys.stderr)
            if options.keep:
                options.keep.mkdir(exist_ok=True)
                (options.keep / f"{what}-{kind}-{number}".replace(" ", "-")).write_bytes(content)
    print_table(counts, peak, slowest)
    sys.exit(any(row.keys() - {READ, REFUSED} for row in counts.values()))


def print_table(counts: dict[tuple[str, str], Counter], peak: int, slowest: float) -> None:
    columns = (READ, REFUSED, RAISED, MEMORY_OUT, "over time")
    print(f"| damaged | files | {' | '.join(columns)} |\n|---|{'---:|' * 6}")
    total = Counter()
    for (what, kind), row in counts.items():
        total += row
        print(f"| {what}, {kind} | {row.total()} | {' | '.join(str(row[column]) for column in columns)} |")
    print(f"| all | {total.total()} | {' | '.join(str(total[column]) for column in columns)} |")
    print(f"\nMost memory that a file took: {peak / 1e6:.0f} MB, of {MEMORY / 1e6:.0f} allowed; longest: {slowest:.1f} "
          f"s of processor time, of {SECONDS:.0f} allowed.")


# Damage

def damaged(content: bytes, chance: random.Random) -> bytes:
    """One to three kinds of damage; what guards a format's parts by checksums is put right again, as often as not, so
    that damage gets behind the guard.
    """
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 3))):
        if changed:
            chance.choice(DAMAGES)(changed, chance)
    if chance.random() < 0.7:
        mend_png(changed)
        mend_tar(changed)
    return bytes(changed)


def damaged_archive(form: str, files: dict[str, bytes], chance: random.Random) -> bytes:
    """The archive as a whole, or what is compressed in it, or one of its members."""
    if chance.random() < 0.35:
        name = chance.choice(sorted(files, key=lambda name: (name.endswith((".csv", ".json", ".jsonl", ".cls")), name))[
            -12:])
        return mutation_seeds.pack(form, files | {name: damaged(files[name], chance)})
    content = mutation_seeds.pack(form, files)
    opened = COMPRESSED.get(form)
    if opened and chance.random() < 0.7:
        return opened[1](damaged(opened[0](content), chance))
    return damaged(content, chance)


COMPRESSED = {"tar.gz": (gzip.decompress, gzip.compress), "tar.bz2": (bz2.decompress, bz2.compress),
              "tar.xz": (lzma.decompress, lzma.compress)}


def _place(content: bytearray, chance: random.Random) -> int:
    """Anywhere, or near one of MARKS, where headers are."""
    found = [mark for mark in MARKS if mark in content]
    if not found or chance.random() < 0.3:
        return chance.randrange(len(content))
    mark, at, places = chance.choice(found), -1, []
    while (at := content.find(mark, at + 1)) >= 0 and len(places) < 50:
        places.append(at)
    before = 257 if mark == b"ustar" else 8  # a tar's header begins so far ahead
    return min(max(0, chance.choice(places) + chance.randrange(-before, 48)), len(content) - 1)


def flip(content: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 1, 4, 16))):
        content[_place(content, chance)] ^= 1 << chance.randrange(8)


def cut(content: bytearray, chance: random.Random) -> None:
    del content[_place(content, chance):]


def take_out(content: bytearray, chance: random.Random) -> None:
    at = _place(content, chance)
    del content[at:at + chance.choice((1, 4, 512, 3000))]


def insert(content: bytearray, chance: random.Random) -> None:
    at = _place(content, chance)
    content[at:at] = chance.choice((chance.randbytes(chance.choice((1, 7, 512))), bytes(600), bytes(content[:300])))


def swap(content: bytearray, chance: random.Random) -> None:
    """Two fields of the same length."""
    length = chance.choice((1, 2, 4, 8, 512))
    one, other = _place(content, chance), _place(content, chance)
    if abs(one - other) >= length and max(one, other) + length <= len(content):
        content[one:one + length], content[other:other + length] = (content[other:other + length],
                                                                   content[one:one + length])


def overstate(content: bytearray, chance: random.Random) -> None:
    value = chance.choice(EXTREMES)
    at = _place(content, chance)
    content[at:at + len(value)] = value


def blank(content: bytearray, chance: random.Random) -> None:
    at, length = _place(content, chance), chance.choice((8, 64, 512))
    content[at:at + length] = bytes(len(content[at:at + length]))


def rewrite_digits(content: bytearray, chance: random.Random) -> None:
    """Numbers in text: tables, JSON, the sizes in a tar."""
    digits = [at for at, byte in enumerate(content[:20000]) if 48 <= byte <= 57]
    if digits:
        content[chance.choice(digits)] = ord(chance.choice("0123456789-.eE\"x["))


DAMAGES: tuple[Damage, ...] = (flip, flip, cut, take_out, insert, swap, overstate, overstate, blank, rewrite_digits)


def mend_png(content: bytearray) -> None:
    """The checksums of its chunks."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return
    at = 8
    while at + 12 <= len(content):
        length = struct.unpack_from(">I", content, at)[0]
        if at + 12 + length > len(content):
            return
        struct.pack_into(">I", content, at + 8 + length, zlib.crc32(content[at + 4:at + 8 + length]))
        at += 12 + length


def mend_tar(content: bytearray) -> None:
    """The checksums of its headers."""
    at = -1
    while (at := content.find(b"ustar", at + 1)) >= 0:
        header = at - 257
        if header >= 0 and header + 512 <= len(content):
            content[header + 148:header + 156] = b" " * 8
            content[header + 148:header + 156] = b"%06o\0 " % sum(content[header:header + 512])


# Reading

class Worker:
    """A process that reads one file after the other; a new one where it has died."""

    def __init__(self):
        self.process = None

    def read(self, what: str, content: bytes) -> tuple[str, str, int, float]:
        """Outcome, message, the bytes of memory and the seconds of processor time that it took."""
        is_new = not self.process or not self.process.is_alive()
        if is_new:
            self.pipe, end = multiprocessing.Pipe()
            self.process = multiprocessing.get_context("spawn").Process(target=serve, args=(end,), daemon=True)
            self.process.start()
            end.close()
        self.pipe.send((what, content))
        try:
            answer = self.pipe.recv()
        except EOFError:
            self.process.join()
            code = -self.process.exitcode
            return "over time" if code == signal.SIGPROF else RAISED, f"the process died of signal {code}", 0, SECONDS
        if answer[0] == MEMORY_OUT and not is_new:  # address space that allocators kept from files before
            self.process.kill()
            self.process.join()
            return self.read(what, content)
        return answer


def serve(pipe) -> None:
    from stages import new, scan  # noqa: F401  imported before the memory is limited

    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        os.chdir(folder)
        sys.stderr = nowhere
        read_picture(mutation_seeds.photo(0))  # what the libraries load at their first picture
        space = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (space + MEMORY, space + MEMORY))
        while True:
            what, content = pipe.recv()
            shutil.rmtree("data", ignore_errors=True)
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
            before, started = _memory("VmRSS"), time.process_time()
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            outcome, message = _outcome(READERS[what], content)
            signal.setitimer(signal.ITIMER_PROF, 0)
            pipe.send((outcome, message, _memory("VmHWM") - before, time.process_time() - started))


def _outcome(read: Callable[[bytes], None], content: bytes) -> tuple[str, str]:
    from stages.data.decode import Unreadable

    try:
        read(content)
        return READ, ""
    except (errors.UserError, Unreadable) as error:
        return (REFUSED if len(str(error).splitlines()) == 1 else RAISED), str(error)
    except MemoryError:
        return MEMORY_OUT, traceback.format_exc()
    except Exception:
        return RAISED, traceback.format_exc()


def _memory(what: str) -> int:
    return int(Path("/proc/self/status").read_text().split(f"{what}:")[1].split()[0]) * 1024


def read_archive(content: bytes) -> None:
    """As `make new` looks into it, `fetch` writes it anew, and `scan` inspects its images."""
    from stages import new, scan
    from stages.data import archive
    from stages.setup import presets
    from stages.setup.source import Source

    Path("data/source").mkdir(parents=True)
    Path("data/scratch").mkdir()
    Path(SOURCE).write_bytes(content)
    found = new.look(Source("a.bin", ""), Path("data/scratch"), "", {})
    masks = {"classes": found.codes.classes} if found.codes else {}
    values = presets.values("digits")
    values["data"]["masks"] |= masks | {"unknown": "ignore", "other_size": "drop"}
    Path("params.yaml").write_text(yaml.safe_dump(values))
    with archive.open_members(Path(SOURCE), Path("data/scratch"), 10**8) as members:
        archive.write(archive.RAW, SOURCE, members, 10**8)
    scan._opened.cache_clear()
    for sample in found.reading.samples:
        scan.inspect(sample, found.reading.task, 0)


def read_raw(content: bytes) -> None:
    """data/raw.zip as the stages read it."""
    from stages.data import archive

    archive.RAW.parent.mkdir()
    archive.RAW.write_bytes(content)
    with archive.Raw() as raw:
        for name in raw.namelist():
            raw.read(name)


def read_picture(content: bytes) -> None:
    """As scan and split decode it, as an image and as a mask."""
    from stages.data import decode

    decode.decode_with_header(content)
    try:
        decode.decode_mask(content, colours=False)
    except decode.OtherKind:
        decode.decode_mask(content, colours=True)


READERS = {"archive": read_archive, "raw.zip": read_raw, "picture": read_picture}

if __name__ == "__main__":
    errors.run(main)
