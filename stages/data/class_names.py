"""Whether the classes that a layout has found can be meant: names of splits are none."""

from collections.abc import Iterable

from stages.core.errors import UserError
from stages.data.sample import SPLITS, Sample


def check_classes(samples: Iterable[Sample]) -> None:
    """Raises UserError, in one line, for classes that look like something else."""
    names = sorted({sample.target for sample in samples if sample.target})
    if names and all(name.lower() in SPLITS for name in names):
        raise UserError(f"data/raw.zip: the classes would be {', '.join(names)}, which are names of splits; choose "
                        "another data.layout, or put the images of each class into a folder of its name")
