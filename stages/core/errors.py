"""Errors that the user can mend end a stage with one line on stderr: `<stage>: <what is wrong, where, what to do>`."""

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from stages.core.outs import altered

# From version 1.29 on, onnxruntime tells its maker which models it runs, unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


class UserError(Exception):
    """An error that the user can mend. The message says, in one line, what is wrong, where, and what to do."""


def one_line(error: BaseException) -> str:
    """The message of an exception, with line breaks and runs of spaces as one space; its type where it has none."""
    return printable(" ".join(str(error).split()) or type(error).__name__)


def printable(text: str) -> str:
    """What a terminal would act on, in names from an archive for example, is written as Python writes it: \\x1b."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def run(main: Callable[[], object]) -> None:
    """Call a command's `main`. Errors that the user can mend exit with one line and status 1, Ctrl-C with status 130.

    Any other exception is a bug, and keeps its traceback; unless an out was altered since it was made.
    """
    script = Path(sys.argv[0])
    stage = script.parent.name if script.stem == "__main__" else script.stem  # python -m demo runs demo/__main__.py
    try:
        try:
            main()
        finally:  # a main that ends with sys.exit too
            sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"{stage}: interrupted; run the same command again (training resumes from its checkpoint)",
              file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # whoever reads the output has seen enough, as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain as it ends
        sys.exit(128 + signal.SIGPIPE)
    except Exception as error:
        message = one_line(error)
        if out_of_memory(error):
            message = f"out of memory ({message[:200]}); lower the batch size or the image size in params.yaml"
        elif full_disk(error):
            message = f"the disk is full ({message}); free some space and run the same command again"
        elif not isinstance(error, (UserError, OSError)):
            if not (changed := altered(stage)):
                raise
            message = (f"{', '.join(changed)} {'is' if len(changed) == 1 else 'are'} not what dvc.lock says was made "
                       f"({type(error).__name__}: {message[:200]}); run dvc repro to make it anew "
                       "(if that doesn't help: make check)")
        sys.exit(f"{stage}: {message}")


def out_of_memory(error: BaseException) -> bool:
    """torch raises a RuntimeError, worded differently for the CPU and for a GPU."""
    return isinstance(error, MemoryError) or any(
        words in str(error) for words in ("out of memory", "can't allocate memory"))


def full_disk(error: BaseException) -> bool:
    """Native writers (safetensors, zip) wrap the system's error: then only its message tells."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error)
