"""Classifies pictures, or draws masks over them, with a model made here. In: pictures. Out: a record for each.

One file, to be copied to a device beside the model: it needs onnxruntime, numpy and Pillow, and nothing of ours.

    python predict.py photo.jpg folder/ "more/*.png"        # the student, student.int8.onnx beside this file
    find . -name "*.jpg" | python predict.py - --format csv --output answers.csv
    curl https://example.org/photo.jpg | python predict.py --stdin
    python predict.py folder/ --compare teacher.onnx

Or in a program, which gets the same without the path, and a mask as an array of class numbers:

    import predict
    predict.Model("student.int8.onnx").answer(bytes_of_a_file)    # or uint8 (H,W,3), RGB

A record of a picture: {"path", "width", "height" (upright), "top": [{"class", "probability"}, …]}. By a segmentation
model: {"path", "width", "height", "mask", "shares": [{"class", "colour", "share"}, …]}; a share is in % of the pixels
as the model saw them, the largest first. The mask is a PNG of the picture's own size, each pixel's index its class, in
the model's colours (legend.png beside it); with resize "crop" what lies outside the middle is index 255, transparent.
With --compare also "compare": {"model", "top", "same"}; for masks {"model", "shares", "agreement"}, in % of the pixels.
What can't be read is {"path", "error"}.

Exit status: 0; 1 if a picture couldn't be read; 2 if it couldn't go on, with one line on stderr; 130 interrupted; 141
the reader closed the pipe.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from predict.formats import FORMATS, Layout
from predict.model import Model, cores
from predict.output import atomic_output
from predict.records import Recorder, answers
from predict.sources import find_sources, from_stdin, is_picture
from stages.core.errors import UserError, one_line, printable
from stages.data.decode import silence_pillow

MODEL = "student.int8.onnx"


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        raise UserError(f"{message}; python predict.py --help says more")


def parse_arguments() -> argparse.Namespace:
    parser = Parser("predict.py", "python predict.py SRC… [options]", __doc__, allow_abbrev=False,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="*", metavar="SRC", help="a file; a folder, with all below it, hidden files "
                        "left out; a glob, quoted; or - for paths on stdin, one a line")
    parser.add_argument("--stdin", action="store_true", help="in place of SRC: one picture itself, its bytes, on stdin")
    parser.add_argument("--model", type=Path, help=f"an ONNX file (default: {MODEL} beside this file, or in models/ "
                        "there)")
    parser.add_argument("--topk", type=_positive, default=5, metavar="N", help="classes to name (default: 5)")
    parser.add_argument("--format", choices=FORMATS, default="text", help="default: text")
    parser.add_argument("--output", type=Path, metavar="FILE", help="instead of stdout; written whole or not at all, "
                        "and over no picture")
    parser.add_argument("--masks", type=Path, metavar="FOLDER", help="where masks go (default: masks)")
    parser.add_argument("--batch", type=_positive, default=1, metavar="N", help="pictures, or tiles of one, that run "
                        "at a time; on a CPU more need more memory and are hardly faster (default: 1)")
    parser.add_argument("--threads", type=_positive, default=cores(), metavar="N",
                        help="that the model runs on, and pictures that are decoded at a time, each in memory of its "
                        "own (default: the cores that this process may use, %(default)s)")
    parser.add_argument("--compare", type=Path, metavar="MODEL", help="a second ONNX file, to be asked the same")
    options = parser.parse_args()
    if bool(options.source) == options.stdin:
        parser.error("name pictures or folders as SRC, or give a picture to --stdin: one of the two is required")
    return options


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 up")
    return int(text)


def default_model() -> Path:
    """The student beside this file."""
    here = Path(__file__).resolve().parent
    for path in (here / MODEL, here / "models" / MODEL):
        if path.is_file():
            return path
    raise UserError(f"there is no {MODEL} beside predict.py, nor in models/ there; copy one, or name a model with "
                    "--model")


def predict(options: argparse.Namespace) -> int:
    """The exit status: 0, or 1 if a picture couldn't be read."""
    is_listed = "-" not in options.source  # else paths come one by one, and each is answered before the next is known
    if sys.stdin is None and (options.stdin or not is_listed):
        raise UserError("stdin is closed, so - can't be read; pass the paths to it, one a line, or name them")
    if not options.output and sys.stdout is None:
        raise UserError("stdout is closed; leave it open, or name a file with --output")
    if options.output and is_picture(options.output):
        raise UserError(f"--output {options.output} is a picture, which the answers would overwrite; name another file")
    models = _open_models(options)
    _raise_on_interrupt()
    sources, total, path_width = [from_stdin()] if options.stdin else find_sources(options.source), None, 0
    if is_listed:
        sources = list(sources)
        total = len(sources)
        path_width = min(100, max(len(printable(source.path)) for source in sources))
    card = models[0].card
    layout = Layout(card.classes, card.masks, len(models) == 2, options.topk, path_width)
    with atomic_output(options.output) if options.output else contextlib.nullcontext(sys.stdout) as out:
        recorder = Recorder(models, options.topk, options.masks or Path("masks"))
        decoders = options.threads if is_listed else 1
        records = map(recorder.record, answers(sources, models, options.batch, decoders))
        if sys.stderr.isatty() and not out.isatty():
            records = with_progress(records, total)
        for text in FORMATS[options.format](records, layout):
            print(text, end="", file=out, flush=True)
    for line in recorder.summary():
        say(line)
    return 1 if recorder.failed else 0


def _open_models(options: argparse.Namespace) -> list[Model]:
    """The model, and the one to compare it with. Raises UserError where they don't fit the options."""
    paths = [options.model or default_model(), *([options.compare] if options.compare else [])]
    models = [Model(path, options.threads) for path in paths]
    if not models[0].card.comparable(models[-1].card):
        raise UserError(f"{paths[0]} and {paths[1]} can't be compared: their classes, task or image sizes differ")
    if options.masks and not models[0].card.masks:
        raise UserError(f"{paths[0]} names whole pictures and draws no masks; leave --masks away, or name a model for "
                        "segmentation")
    if options.compare:
        for model in models:
            model.warm_up()
    return models


def with_progress(records: Iterable[dict], total: int | None) -> Iterator[dict]:
    """The same records, and their number on stderr."""
    of, last = f" of {total}" if total else "", time.monotonic()
    try:
        for number, record in enumerate(records, 1):
            yield record
            if time.monotonic() - last > 0.2:
                print(f"\rpredict: {number}{of} pictures", end="", file=sys.stderr, flush=True)
                last = time.monotonic()
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _raise_on_interrupt() -> None:
    """Ctrl-C, which has ended it at once while it was loading, is an exception from here on, and half-written files go.
    """
    if callable(signal.getsignal(signal.SIGINT)):  # not where a shell in the background has it ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)


def say(message: object) -> None:
    print(f"predict: {message}", file=sys.stderr)


def _discard_stdout() -> None:
    """Python would try once more to write what is left as it ends, and complain."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # the last: it was closed from the start
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> int:
    if sys.stderr is None:  # closed: print would take stdout in its place
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    silence_pillow()
    try:
        if sys.stdout:  # None where it is closed
            sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")
        return predict(parse_arguments())
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader has had enough
        _discard_stdout()
        return 141
    except UserError as error:
        say(one_line(error))
    except MemoryError:
        say("out of memory; lower --batch")
    except OSError as error:
        _discard_stdout()
        say(f"{error.filename}: {error.strerror}" if error.filename else one_line(error))
    except Exception as error:
        say(f"unexpected {type(error).__name__}: {one_line(error)}")
    return 2


if __name__ == "__main__":
    sys.exit(main())
