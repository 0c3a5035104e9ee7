"""What the cleaning rules share: the policy (`CleanParams`), their context and the form of a finding."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import pydantic

from stages.cleaning.overrides import Override
from stages.core.params import Section

HELD_OUT = {"test": 0, "val": 1}  # only copies inside these are removed; of images in both splits, test's stays
REMOVED = ("dropped", "quarantined")  # actions that take an image out of use
Row = dict[str, str]  # of data/scan.csv
Choice = Literal["report", "drop"]
Consequence = Literal["unreadable", "drop", "report"]  # unreadable: what clean.unreadable says


class QualityPolicy(Section):
    """What is done about training images of each kind; cleaning/image_quality.py defines the kinds."""

    dark: Choice
    light: Choice
    blurry: Choice
    low_information: Choice
    odd_size: Choice
    odd_aspect: Choice
    greyscale: Choice


class CleanParams(Section):
    """What is done about images that are not fit for use. Whatever it is, data/decisions.csv records it."""

    unreadable: Literal["drop", "stop"]  # files that can't be decoded completely
    duplicates: Literal["drop", "keep"]  # further copies inside a split, with the same label
    leaks: Literal["drop", "keep"]  # training and unlabelled copies of a val or test image
    conflicts: Literal["quarantine", "keep"]  # training copies of one image under several labels: all of them
    near_duplicates: Choice  # training images that are nearly another one, or nearly a val or test image
    near_likeness: float = pydantic.Field(gt=0, le=1)  # threshold; see cleaning/near_duplicates.py
    label_suspects: Literal["report", "drop", "relabel"]  # training images that look like another class
    min_accuracy: float = pydantic.Field(ge=0, le=100)  # % out of fold, below which suspects are not acted on
    quality: QualityPolicy
    max_share: float = pydantic.Field(gt=0, le=1)  # of a class's training images, removed by the heuristic rules in all


class Finding(NamedTuple):
    """An issue of one image, and what is done about it."""

    row: Row
    issue: str
    action: Literal["kept", "dropped", "quarantined", "relabelled"]
    keeper: str = ""  # path of the other image, if there is one
    reason: str = ""
    score: float | None = None  # of heuristic rules. Similarity: high is sure; all others: low is sure
    threshold: float | None = None
    label: str = ""  # the new one, if relabelled


@dataclass(frozen=True)
class CleanContext:
    """What the rules need besides the rows."""

    policy: CleanParams
    overrides: Mapping[str, Override]  # by path
    consequences: Mapping[str, Consequence]  # by issue of the scan
    similar: Sequence[tuple[str, str, float]]  # `pixels` of two images, and their similarity
    accuracy: float | None  # of the out-of-fold predictions, in %; None if there are none
    stratum: Callable[[Row], str]  # the class that max_share applies to
    classes: Collection[str]  # class names; empty for masks, where each label is its own

    def consequence(self, row: Row) -> Consequence | None:
        """Of the issue that the scan found."""
        return self.consequences[row["issue"]] if row["issue"] else None

    def may_remove(self, row: Row) -> bool:
        """False for images of val and test, and for those that the user has decided on."""
        return not is_held_out(row) and row["path"] not in self.overrides


def is_held_out(row: Row) -> bool:
    """Whether the image is in val or test. Training, unlabelled and undivided images are not."""
    return row["split"] in HELD_OUT
