"""Runs stages in processes of their own that need not import torch anew: each is forked from one that has.

A stage spends a second and more on imports, and the suite runs hundreds.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

IMPORTED = ["torch", "torchvision", "onnx", "onnxruntime.quantization", "scipy.stats", "sklearn.pipeline",
            "matplotlib.figure", "pydantic", "ruamel.yaml", "PIL.Image"]
Environment = dict[str, str]
ENVIRONMENT = {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}


def run(stage: str, arguments: tuple[str, ...], folder: Path, environment: Environment) -> subprocess.CompletedProcess:
    """`python -m stages.<stage>` in the folder, with just this environment."""
    os.environ |= ENVIRONMENT  # for the process that is forked; it starts with the first call
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    with tempfile.TemporaryDirectory() as written:
        process = context.Process(target=_child, args=(stage, arguments, folder, environment, written))
        process.start()
        process.join()
        output, errors = (Path(written, name).read_text(encoding="utf-8", errors="replace") for name in ("1", "2"))
    return subprocess.CompletedProcess([sys.executable, "-m", f"stages.{stage}", *arguments], process.exitcode, output,
                                       errors)


def _child(stage: str, arguments: tuple[str, ...], folder: Path, environment: Environment, written: str) -> None:
    for number in (1, 2):
        os.dup2(os.open(Path(written, str(number)), os.O_WRONLY | os.O_CREAT, 0o600), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ |= environment
    sys.argv[1:] = arguments
    runpy.run_module(f"stages.{stage}", run_name="__main__", alter_sys=True)
