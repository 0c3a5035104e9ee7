"""How a stage comes to run in several processes that train one network together: section `training` of params.yaml, or
torchrun. They run the same `main`, each knowing its rank (stages/core/ranks.py).
"""

import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import pydantic

from stages.core import params, ranks
from stages.core.params import Section
from stages.data import parallel

PATIENCE = 60  # seconds in which a process that has lost another waits to be ended


class TrainingParams(Section):
    """How many processes train a network together, and what their BatchNorm sees."""

    processes: int = pydantic.Field(ge=1, le=1024)  # on this machine; torchrun says it by itself
    batch_norm: Literal["synchronised", "local"]  # the whole batch, as in one process | each process's share


def run(main: Callable[[], None]) -> None:
    """Call a stage's `main`: in this process, in as many as training.processes says, or as one of torchrun's.

    Where one of them fails or is killed all are ended, and what it raised is raised here, or a UserError.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ["WORLD_SIZE"]) > 1:
        number, count, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
        with ranks.joined(number, count, local, "env://"):
            main()
        return
    count = params.load("training", TrainingParams).processes
    if count == 1:
        main()
        return
    with tempfile.TemporaryDirectory() as folder:
        parallel.together(partial(_run, main, Path(folder, "rendezvous"), count), count,
                          "the same command again (it resumes), or lower training.processes in params.yaml")


def _run(main: Callable[[], None], rendezvous: Path, count: int, number: int) -> None:
    try:
        with ranks.joined(number, count, number, f"file://{rendezvous}"):
            main()
    except ranks.Lost:
        time.sleep(PATIENCE)  # the process that started this one knows what has become of the other
        raise


def key() -> tuple[TrainingParams, int]:
    """What the bytes of a training depend on."""
    return params.load("training", TrainingParams), ranks.world()
