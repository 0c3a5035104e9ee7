"""What a layout yields: a file of the archive, and its part in the data set."""

from typing import NamedTuple

# What sources call their splits, and folders of images without labels, in small letters.
SPLITS = {"train": "train", "training": "train", "seg_train": "train",
          "val": "val", "valid": "val", "validation": "val",
          "test": "test", "testing": "test", "seg_test": "test"}
UNLABELLED = {"unlabeled", "unlabelled", "unsup", "pred", "seg_pred"}


class Sample(NamedTuple):
    path: str  # the image's name in raw.zip
    split: str  # train, val, test, unlabelled; "": the source has no splits, one is drawn later
    source_split: str  # what the source calls it
    target: str  # what kit/labels/<task>.py reads: a class name, or a mask's name in raw.zip; "" without a label
    group: str = ""  # images that belong together: a draw never parts them; "" for an image that stands alone
