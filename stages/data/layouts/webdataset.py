"""WebDataset shards: tars, which fetch has unpacked, in which files of one key belong together: `0001.jpg`, `0001.cls`.

The label is the content of the file with the suffix that the option `label` names, `cls`; `json:class` is the value of
`class` in `0001.json`. Shards named like a split (`train-0000.tar`) are that split; a key without a label has none.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath

import pydantic

from stages.core.errors import UserError
from stages.core.params import Section
from stages.data.annotations import split_names
from stages.data.annotations.table_columns import LABELS
from stages.data.image_files import image_names
from stages.data.sample import Sample

Read = Callable[[str], bytes]
SUFFIXES = ("cls", "label", "class")
LEAST_LABELLED = 0.5  # share of the images, from which on the layout is recognised


class Options(Section):
    label: str = pydantic.Field(min_length=1)  # the suffix of the label's file, or json:<key>


def recognise(names: Sequence[str], read: Read) -> dict[str, object] | None:
    """The suffix beside most images, or the key in JSON files that is named like a label."""
    images, files = image_names(names, read), set(names)
    if suffix := label_suffix(images, names):
        return {"label": suffix}
    if _share(images, files, "json") >= LEAST_LABELLED:
        first = next(file for image in images if (file := f"{_key(image)}.json") in files)
        found = _json(first, read)
        if key := next((name for name in LABELS if isinstance(found.get(name), str | int)), None):
            return {"label": f"json:{key}"}
    return None


def label_suffix(images: Sequence[str], names: Sequence[str]) -> str:
    """The one of SUFFIXES that a file beside most images has; "" if there is none."""
    files = set(names)
    return next((suffix for suffix in SUFFIXES if _share(images, files, suffix) >= LEAST_LABELLED), "")


def samples(names: Sequence[str], read: Read, options: Options) -> Iterator[Sample]:
    """One sample per image. Raises UserError for a label that can't be read.

    names: all files of the archive. read: the content of one.
    """
    files = set(names)
    suffix, _, key = options.label.partition(":")
    for image in image_names(names, read):
        split, source_split = _split(image)
        label_file = f"{_key(image)}.{suffix}"
        label = _label(label_file, key, read) if label_file in files else ""
        yield Sample(image, split if label else "unlabelled", source_split, label)


def _label(name: str, key: str, read: Read) -> str:
    if not key:
        return read(name).decode("utf-8", "replace").strip()
    value = _json(name, read).get(key, "")
    if not isinstance(value, str | int):
        raise UserError(f"data/raw.zip: {name}: {key} is {value!r}, not a class; correct data.layout_options.label")
    return str(value)


def _json(name: str, read: Read) -> dict[str, object]:
    try:
        content = json.loads(read(name))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise UserError(f"data/raw.zip: {name} holds no JSON object; get the archive again, or correct "
                        "data.layout_options.label")
    return content


def _key(image: str) -> str:
    """What the files of a sample have in common: the path up to the first dot of the file's name."""
    path = PurePosixPath(image)
    return str(path.with_name(path.name.split(".")[0]))


def _share(images: Sequence[str], files: set[str], suffix: str) -> float:
    return sum(f"{_key(image)}.{suffix}" in files for image in images) / max(1, len(images))


def _split(image: str) -> tuple[str, str]:
    """Of the innermost folder whose name holds a split's; "", "" without one."""
    for folder in reversed(PurePosixPath(image).parts[:-1]):
        if found := split_names.parse(folder):
            return found.split, folder
    return "", ""
