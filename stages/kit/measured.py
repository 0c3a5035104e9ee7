"""What earlier stages have measured and made. In: a name or a path. Out: its content, or one line on what to run."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from stages.kit import tables
from stages.kit.faults import Fault

METRICS = Path("metrics")
Content = TypeVar("Content")


def metrics(name: str) -> dict:
    """metrics/<name>.json. Raises Fault where it is missing or broken."""
    return read(tables.read_json, METRICS / f"{name}.json")


def read(how: Callable[[Path], Content], path: Path) -> Content:
    """`how(path)`. Raises Fault where the file, which a stage has made, is missing or broken."""
    try:
        return how(path)
    except (OSError, ValueError):
        raise Fault(f"{path} is missing or broken; run dvc repro to make it") from None
