"""What went wrong, as one line for a person.

In: a stage's `main`. Out: its exit status; on a fault one line on stderr, `<stage>: <what, where, what to do>`.
"""

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path


class UserError(Exception):
    """Something the user can mend: the message says what was wrong, where, and what to do. It never spans lines."""


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def run(main: Callable[[], object]) -> None:
    """Call a stage's `main`, and turn what a user can mend into one line and exit status 1 (130 when interrupted)."""
    script = Path(sys.argv[0])
    stage = script.parent.name if script.stem == "__main__" else script.stem  # python -m demo runs demo/__main__.py
    try:
        try:
            main()
        finally:
            sys.stdout.flush()
    except UserError as fault:
        sys.exit(f"{stage}: {one_line(fault)}")
    except KeyboardInterrupt:
        print(f"{stage}: interrupted; run the same command again, and it goes on from its last checkpoint",
              file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # whoever reads the output has seen enough, as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain as it ends
        sys.exit(128 + signal.SIGPIPE)
    except Exception as error:
        if out_of_memory(error):
            sys.exit(f"{stage}: out of memory ({one_line(error)[:200]}); "
                     "lower the batch size or the image size in params.yaml")
        if full_disk(error):
            sys.exit(f"{stage}: the disk is full ({one_line(error)}); free some space and run the same command again")
        if isinstance(error, OSError):
            sys.exit(f"{stage}: {one_line(error)}")
        raise


def out_of_memory(error: BaseException) -> bool:
    """torch raises a RuntimeError, on the CPU and on a GPU in other words."""
    said = str(error)
    return isinstance(error, MemoryError) or "out of memory" in said or "can't allocate memory" in said


def full_disk(error: BaseException) -> bool:
    """Native writers (safetensors, zip) wrap the system's error, so its words are looked for as well as its number."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error)
