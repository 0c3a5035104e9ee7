"""What a layout yields: a file of the archive, and its role in the data set."""

from typing import NamedTuple

# Folder names of sources, in lower case: those of splits, and of images without labels.
SPLITS = {"train": "train", "training": "train", "seg_train": "train",
          "val": "val", "valid": "val", "validation": "val",
          "test": "test", "testing": "test", "seg_test": "test"}
UNLABELLED = {"unlabeled", "unlabelled", "unsup", "pred", "seg_pred"}
AND = "|"  # between the names of several masks of one image
OF_FILE = "#"  # between the name of a JSON file that holds many masks, and the mask's name there


class Sample(NamedTuple):
    path: str  # the image's name in raw.zip
    split: str  # train, val, test or unlabelled; "" if the source has no splits: one is drawn later
    source_split: str  # the source's name for it
    target: str  # read by tasks/<task>/labels.py: a class name, or masks' names in raw.zip, AND between; "" without
    group: str = ""  # images of one group stay in one split; "" for an image on its own


def target_files(target: str) -> list[str]:
    """The files of raw.zip that a target names: masks, and files of outlines; a class name is given back as it is."""
    return [file_and_mask(name)[0] for name in target.split(AND)]


def file_and_mask(name: str) -> tuple[str, str]:
    """A mask's file, and its name there where the file holds many; else "": masks/a#0.png is a file."""
    file, sign, mask = name.rpartition(OF_FILE)
    return (file, mask) if sign and file.lower().endswith(".json") else (name, "")
