"""What the rules of cleaning know and say: the policy, the case, a finding. Out: `CleanParams`, `Case`, `Finding`."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import pydantic

from stages.cleaning.overrides import Override
from stages.core.params import Section

HELD_OUT = {"test": 0, "val": 1}  # nothing goes but further copies inside; the first one's stays when both share one
GONE = ("dropped", "quarantined")  # actions after which an image is out of use
Row = Mapping[str, str]  # of data/scan.csv
Choice = Literal["report", "drop"]
Fate = Literal["unreadable", "drop", "report"]  # unreadable: as clean.unreadable says


class QualityPolicy(Section):
    """What is done about training images of each kind; cleaning/image_quality.py says what they are."""

    dark: Choice
    light: Choice
    blurry: Choice
    low_information: Choice
    odd_size: Choice
    odd_aspect: Choice
    greyscale: Choice


class CleanParams(Section):
    """What happens to images that are not fit for use. Whatever it is, data/decisions.csv records it."""

    unreadable: Literal["drop", "stop"]  # files that do not decode whole
    duplicates: Literal["drop", "keep"]  # further copies inside a split, with the same label
    leaks: Literal["drop", "keep"]  # training and unlabelled copies of a val or test image
    conflicts: Literal["quarantine", "keep"]  # training copies of one image under several labels: all of them
    near_duplicates: Choice  # training images that are nearly another one, or nearly a val or test image
    near_likeness: float = pydantic.Field(gt=0, le=1)  # from which on; cleaning/near_duplicates.py
    label_suspects: Literal["report", "drop", "relabel"]  # training images that look like another class
    min_accuracy: float = pydantic.Field(ge=0, le=100)  # % out of fold, below which suspects are not acted on
    quality: QualityPolicy
    max_share: float = pydantic.Field(gt=0, le=1)  # of a class's training images that these choices may take in all


class Finding(NamedTuple):
    """What a rule found in an image, and what is done about it."""

    row: Row
    issue: str
    action: Literal["kept", "dropped", "quarantined", "relabelled"]
    keeper: str = ""  # path of the other image, where there is one
    reason: str = ""
    score: float | None = None  # a matter of degree: how sure; alike, the more the higher, all else the lower
    threshold: float | None = None
    label: str = ""  # the new one, where it is relabelled


@dataclass(frozen=True)
class CleanContext:
    """What the rules know beside the rows."""

    policy: CleanParams
    overrides: Mapping[str, Override]  # by path
    fates: Mapping[str, Fate]  # of the issues that the scan has found
    alike: Sequence[tuple[str, str, float]]  # the `pixels` of two pictures, and their likeness
    accuracy: float | None  # of the out-of-fold labels, in %; None where there are none
    stratum: Callable[[Row], str]  # the class whose share is limited
    classes: Collection[str]  # that a label can name; none where labels are masks, each one of its own


def fate(row: Row, case: CleanContext) -> Fate | None:
    return case.fates[row["issue"]] if row["issue"] else None


def trains(row: Row) -> bool:
    """Whether the image can be in training; one of no split yet may come to be."""
    return row["split"] not in HELD_OUT


def free(row: Row, case: CleanContext) -> bool:
    """Whether a rule may take the image: it is not held out, and the user hasn't said that it stays."""
    return trains(row) and row["path"] not in case.overrides
