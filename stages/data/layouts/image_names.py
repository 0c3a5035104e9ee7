"""Labels in the files' names: `train/cat.0.jpg`, `great_pyrenees_12.jpg`, `dog (3).jpg`, as a pattern says.

Split folders are read as image_folder reads them; test images whose names fit no pattern have no label.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath

import pydantic

from stages.core.errors import UserError
from stages.core.params import Section
from stages.data.annotations import split_names
from stages.data.annotations.table_columns import labelling
from stages.data.image_files import image_names, leave_out
from stages.data.sample import Sample

Read = Callable[[str], bytes]
# {label} is the class, {number} digits, * anything.
PATTERNS = ("{label}.{number}", "{label}_{number}", "{label}-{number}", "{label} ({number})", "{label} {number}",
            "{number}.{label}", "{number}_{label}", "{number}-{label}", "{label}{number}")
PARTS = {"{label}": "(?P<label>[^/]+?)", "{number}": r"\d+", "*": "[^/]*"}
# What cameras and tools begin names with.
NO_LABELS = {"img", "image", "dsc", "dscn", "pic", "photo", "picture", "frame", "scan", "screenshot", "file", "sample",
             "train", "test", "val", "mask", "page", "x", "y", "im", "pxl", "vid", "mvimg", "p"}
# What they continue names with: no labels, where all names are made of these and of the words above.
NO_LABELS_TOGETHER = NO_LABELS | {"whatsapp", "at", "from", "video", "clip", "cam", "camera", "slide", "tile", "crop",
                                  "patch", "seq", "sequence", "shot", "snapshot"}
LEAST_IMAGES = 2  # of a class, on average: else names are just names


class Options(Section):
    pattern: str = pydantic.Field(pattern=r"\{label\}")  # of the name without its suffix, or of the path's end
    ignored: list[str] = pydantic.Field(default_factory=list)  # folders or files to leave out: masks, *_mask.png


def recognise(names: Sequence[str], read: Read) -> dict[str, object] | None:
    """The first of PATTERNS that all names fit; None if a table or folders may say the classes, or if names are but
    numbered.
    """
    images = image_names(names, read)
    folders = {PurePosixPath(name).parent for name in images}
    if len(folders) > 1 and not all(map(_says_no_class, (folder.name for folder in folders))):
        return None
    if labelling(names, read, images):
        return None
    for pattern in PATTERNS:
        labels = Counter(label for name in images if (label := _label(name, pattern)))
        training = [name for name in images if split_names.split_of_path(name)[0] not in ("test", "unlabelled")]
        if (all(_label(name, pattern) for name in training) and 1 < len(labels) <= len(images) / LEAST_IMAGES
                and all(re.search(r"[^\W\d_]", label) for label in labels)
                and not any(map(NO_LABELS.issuperset, map(_words, labels)))
                and not all(map(NO_LABELS_TOGETHER.issuperset, map(_words, labels)))):
            return {"pattern": pattern}
    return None


def samples(names: Sequence[str], read: Read, options: Options) -> Iterator[Sample]:
    """One sample per image. Raises UserError for a training image whose name doesn't fit the pattern.

    names: all files of the archive. read: the content of one.
    """
    for name in leave_out(image_names(names, read), options.ignored):
        split, source_split = split_names.split_of_path(name)
        label = _label(name, options.pattern) if split != "unlabelled" else ""
        if not label and split not in ("test", "unlabelled"):
            raise UserError(f"data/raw.zip: the name of {name!r} doesn't fit data.layout_options.pattern, "
                            f"{options.pattern!r}; correct it ({{label}}, {{number}}, * for anything), or leave the "
                            "file out by data.layout_options.ignored")
        yield Sample(name, split if label else "unlabelled", source_split, label)


def _label(name: str, pattern: str) -> str:
    """"" where the name doesn't fit."""
    regex = re.escape(pattern)
    for part, expression in PARTS.items():
        regex = regex.replace(re.escape(part), expression)
    found = re.fullmatch(f"(?:.*/)?{regex}", str(PurePosixPath(name).with_suffix("")))
    return found["label"] if found else ""


def _words(label: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", label.lower())


def _says_no_class(folder: str) -> bool:
    return bool(split_names.split_of(folder)) or split_names.is_generic(folder) or split_names.is_part(folder)
