"""Where training runs: device, number of threads, precision; and how much memory this process took."""

import os
import platform
import re
import resource
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

from stages.core import ranks


def thread_count() -> int:
    """The number of cores that this process may use, or OMP_NUM_THREADS where that is smaller.

    More threads than cores make bf16 thirty times slower in a container.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(limit)) if limit.isdigit() and int(limit) else cores


def choose_device(stage: str):
    """Set torch up and return its device: CUDA, else Apple's MPS, else the CPU.

    Prints the choice on stderr, behind the name of the stage.
    """
    import torch

    set_up_torch()
    name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    details = {"cpu": f"{thread_count()} threads", "mps": "Apple GPU"}.get(name) or torch.cuda.get_device_name()
    print(f"{stage}: on {name} ({details})", file=sys.stderr)
    # Among several processes by its number: in the threads that make batches "cuda" is the first GPU.
    return torch.device(f"cuda:{torch.cuda.current_device()}" if name == "cuda" and ranks.world() > 1 else name)


def set_up_torch() -> None:
    """As many threads as this process may use, and results that repeat."""
    # cuBLAS is deterministic only with a fixed workspace, and reads this when it starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    torch.set_num_threads(thread_count())
    # Sets what use_deterministic_algorithms(True, warn_only=True) sets, without its second for importing inductor.
    torch.set_deterministic_debug_mode("warn")
    torch.backends.cudnn.benchmark = False


def autocast(device, precision: str):
    """A context in which networks compute in `precision` ('fp32' or 'bf16') on `device`."""
    import torch

    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def peak_memory_mb() -> float:
    """The largest resident memory of this process so far, in MB (10⁶ bytes).

    On Linux VmHWM starts anew with each program; getrusage would give the parent's peak, which fork passes on.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024 / 1e6  # in KiB there
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # in bytes on macOS


def processor() -> str:
    """Its maker's name for it; platform.processor() is empty on most Linux systems."""
    if Path("/proc/cpuinfo").exists():
        if name := re.search(r"^model name\s*: *(.*)", Path("/proc/cpuinfo").read_text(errors="replace"), re.MULTILINE):
            return name[1].strip()
    elif platform.system() == "Darwin":
        return subprocess.check_output(["sysctl", "-n", "machdep.cpu.brand_string"], text=True).strip()
    return platform.processor() or platform.machine()
