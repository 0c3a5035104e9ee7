"""Where the arithmetic runs: device, threads, precision. Says so once, on stderr."""

import os
import resource
import sys
from contextlib import nullcontext
from pathlib import Path

STATUS = Path("/proc/self/status")


def thread_count() -> int:
    """Cores this process may use, or OMP_NUM_THREADS where that asks for fewer.

    More threads than cores makes bf16 thirty times slower in a container.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(asked)) if asked.isdigit() and int(asked) else cores


def choose_device(stage: str):
    """Set torch up for repeatable results and return its device: CUDA, else Apple's MPS, else the CPU."""
    # cuBLAS is deterministic only with a fixed workspace, and reads this when it starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    torch.set_num_threads(thread_count())
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    model = torch.cuda.get_device_name() if name == "cuda" else f"{thread_count()} threads" if name == "cpu" else "Apple GPU"
    print(f"{stage}: on {name} ({model})", file=sys.stderr)
    return torch.device(name)


def autocast(device, precision: str):
    """A context in which networks compute in `precision` ('fp32' or 'bf16') on `device`."""
    import torch

    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def peak_memory_mb() -> float:
    """Of this process, in MB (10⁶ bytes).

    Linux's VmHWM begins anew with the program; getrusage there would report the parent's peak, inherited by fork.
    """
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6  # in KiB there
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # in bytes on macOS
