"""What folders' names say: which split they hold (train, Training, seg_train, train_images, training_set, test1), that
they are parts of one folder (images_part_1), or nothing (images, data).
"""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

WORDS = {"train": ("train", "training", "trn", "trainval"),
         "val": ("val", "valid", "validation", "validate", "dev"),
         "test": ("test", "testing", "tst", "eval", "evaluation", "holdout"),
         "unlabelled": ("unlabeled", "unlabelled", "unsup", "pred")}
SPLIT_OF = {word: split for split, words in WORDS.items() for word in words}
GENERIC = {"set", "sets", "data", "dataset", "image", "images", "img", "imgs", "pic", "pics", "picture", "pictures",
           "photo", "photos", "sample", "samples", "folder", "dir", "split", "jpg", "jpeg", "png", "all", "raw", "seg",
           "of", "public", "private"}
PART = re.compile(r"(?:.*[^a-z])?(?:part|batch|chunk|shard|subset|fold|volume|vol)[ ._-]*\d+(?:[ ._-]*of[ ._-]*\d+)?"
                  r"|(?:images?|imgs?|data)[ ._-]*\d+", re.IGNORECASE)
# "trainset" is two words, so are "TrainingSet" and "train2017".
TOKEN = re.compile(rf"({'|'.join(sorted(SPLIT_OF, key=len, reverse=True))})(?=(?:set|data|images?|imgs?)$)"
                   r"|[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")


class SplitName(NamedTuple):
    split: str  # train, val, test or unlabelled
    rest: str  # what the name says besides: "seg" of seg_train; "" of train, train_images, test1


def parse(folder: str) -> SplitName | None:
    """What a folder's name says about a split; None if it names none, or several."""
    words = [word for match in TOKEN.finditer(folder) if not (word := match[0].lower()).isdigit()]
    if words[:2] == ["train", "val"]:
        words[:2] = ["trainval"]
    splits = {SPLIT_OF[word] for word in words if word in SPLIT_OF}
    if len(splits) != 1:
        return None
    return SplitName(splits.pop(), " ".join(word for word in words if word not in GENERIC | SPLIT_OF.keys()))


def split_of(folder: str) -> str:
    """train, val, test or unlabelled where the name says this and nothing else; else ""."""
    parsed = parse(folder)
    return parsed.split if parsed and not parsed.rest else ""


def split_of_path(path: str) -> tuple[str, str]:
    """The split that the uppermost folder of such a name stands for, and that folder; "", "" if there is none."""
    folders = PurePosixPath(path).parts[:-1]
    return next(((split, folder) for folder in folders if (split := split_of(folder))), ("", ""))


def divide(folders: Mapping[str, bool]) -> dict[str, str]:
    """The split of each of these folders, which lie side by side; {} where they are no splits.

    folders: name → whether it holds folders. They are splits if all are named so, in one way (seg_train and seg_test,
    but not bullet_train and test_tube), or if one that is named so, and no more, holds folders: these are classes then.
    A folder that has no split's name isn't in the answer.
    """
    named = {folder: parsed for folder in folders if (parsed := parse(folder))}
    kinds, rests = {parsed.split for parsed in named.values()}, {parsed.rest for parsed in named.values()}
    if len(named) == len(folders) and len(kinds) > 1 and len(rests) == 1:
        return {folder: parsed.split for folder, parsed in named.items()}
    plain = {folder: parsed.split for folder, parsed in named.items() if not parsed.rest}
    is_divided = any(folders[folder] and split != "unlabelled" for folder, split in plain.items())
    return plain if is_divided else {}


def is_part(folder: str) -> bool:
    return bool(PART.fullmatch(folder))


def is_generic(folder: str) -> bool:
    """Whether the name says nothing: images, data, all_images."""
    words = [match[0].lower() for match in TOKEN.finditer(folder)]
    return bool(words) and all(word in GENERIC or word.isdigit() for word in words) and not folder.isdigit()
