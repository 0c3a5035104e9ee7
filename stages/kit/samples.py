"""What a layout yields: a file of the archive, and its part in the data set."""

from typing import NamedTuple


class Sample(NamedTuple):
    path: str  # the image's name in raw.zip
    split: str  # train, val, test, unlabelled; "": the source has no splits, one is drawn later
    source_split: str  # what the source calls it
    target: str  # what the task reads: a class name, or a mask's name in raw.zip; "" without a label
