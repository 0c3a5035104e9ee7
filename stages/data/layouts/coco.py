"""COCO's JSON files: images, and the outlines of what they show, as polygons or run lengths. For segmentation.

Recognised: all files of the archive that hold outlines; of several about the same images those named instances_…
(COCO's own archive). The split is in the file's name (instances_train2017.json), or in the name of its folder or of the
image's (Roboflow's train/_annotations.coco.json). Images that no file names, or that have boxes alone, have no label,
and join the distillation.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Literal

import pydantic

from stages.core.errors import UserError
from stages.core.params import Section
from stages.data.annotations import outlines, split_names
from stages.data.annotations.tables import Images
from stages.data.image_files import image_names, leave_out
from stages.data.sample import OF_FILE, Sample

Read = Callable[[str], bytes]


class Options(Section):
    annotations: list[str] = pydantic.Field(min_length=1)  # names of the JSON files in the archive
    without_outline: Literal["background", "unlabelled"] = "background"  # an image that a file names with nothing in it
    missing: Literal["stop", "skip"] = "stop"  # an image that a file names and the archive lacks
    ignored: list[str] = pydantic.Field(default_factory=list)  # folders or files to leave out: preview, *_color.png


def recognise(names: Sequence[str], read: Read) -> dict[str, object] | None:
    """The JSON files; None where there are none, or where several name the same image."""
    files = [name for name in names if name.lower().endswith(".json") and _has_outlines(name, read)]
    instances = [name for name in files if "instances" in PurePosixPath(name).stem.lower()]
    for some in filter(None, (files, instances)):
        for policy in ({}, {"missing": "skip"}):
            with suppress(UserError):
                if any(sample.target for sample in samples(names, read, Options(annotations=some, **policy))):
                    return {"annotations": some} | policy
    return None


def samples(names: Sequence[str], read: Read, options: Options) -> Iterator[Sample]:
    """One sample per image, in the order of `names`. Raises UserError for a file that is no COCO file, and for an image
    that is not there, that may be several files, or that two files name.

    names: all files of the archive. read: the content of one.
    """
    images = leave_out(image_names(names, read), options.ignored)
    finder, found, missing = Images(images), {}, []
    for file in options.annotations:
        if file not in names:
            raise UserError(f"data/raw.zip holds no {file}; correct data.layout_options.annotations")
        content = outlines.coco(file, read)
        for number, entry in content.images.items():
            path = _image(entry["file_name"], finder, file)
            if not path:
                missing.append((entry["file_name"], file))
                continue
            if path in found:
                raise UserError(f"data/raw.zip: {path!r} is named by {found[path].target!r} and by {file!r}; leave one "
                                "out of data.layout_options.annotations")
            has_label = number not in content.boxed and (
                number in content.outlines or options.without_outline == "background")
            split, source_split = _split(file, path)
            found[path] = Sample(path, split if has_label else "unlabelled", source_split,
                                 f"{file}{OF_FILE}{number}" if has_label else "")
    if missing and (options.missing == "stop" or not found):
        raise UserError(f"data/raw.zip: {len(missing)} image(s) are not there, first {missing[0][0]!r} in "
                        f"{missing[0][1]}; add them, or set data.layout_options.missing to skip")
    _check_splits(found.values())
    return (found.get(name) or Sample(name, "unlabelled", split_names.split_of_path(name)[1], "") for name in images)


def _has_outlines(name: str, read: Read) -> bool:
    with suppress(UserError):
        return b'"categories"' in read(name) and bool(outlines.coco(name, read).labels)
    return False


def _image(called: str, finder: Images, file: str) -> str:
    """The path of the image; "" if there is none. Raises UserError if there are several."""
    found, split = finder.find(called, file), _split_of_file(file)[0]
    if len(found) > 1 and split:  # 0001.jpg of instances_train.json is train/0001.jpg, not val/0001.jpg
        found = [path for path in found if split_names.split_of_path(path)[0] == split] or found
    if len(found) > 1:
        raise UserError(f"data/raw.zip: {called!r} in {file} may be {found[0]!r} or {found[1]!r}; leave one out "
                        "(data.layout_options.ignored)")
    return found[0] if found else ""


def _split(file: str, path: str) -> tuple[str, str]:
    split, source_split = _split_of_file(file)
    return (split, source_split) if split else split_names.split_of_path(path)


def _split_of_file(file: str) -> tuple[str, str]:
    """The split, and the source's name for it; "", "" if neither the file's name nor its folder says one."""
    stem = PurePosixPath(file).stem
    parsed = split_names.parse(stem)
    return (parsed.split, stem) if parsed else split_names.split_of_path(file)


def _check_splits(found: Sequence[Sample]) -> None:
    by_split = defaultdict(list)
    for sample in found:
        by_split[sample.split].append(sample.path)
    divided = [split for split in by_split if split not in ("", "unlabelled")]
    if divided and by_split[""]:
        raise UserError(f"data/raw.zip: {by_split[divided[0]][0]!r} has a split and {by_split[''][0]!r} has none; name "
                        "the JSON files or the folders of all after their splits, or leave one out of "
                        "data.layout_options.annotations")
