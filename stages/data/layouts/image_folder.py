"""One folder per class: `<class>/x.jpg` or `<split>/<class>/x.jpg`, in any number of wrapping folders.

Also read: split folders of any usual name (`training_set`, `sign_test`; stages/data/annotations/split_names.py),
repeated ones (`seg_train/seg_train/<class>/x.jpg`), splits in the classes (`<class>/<split>/x.jpg`), folders that hold
parts of the set (`images_part_1/<class>/x.jpg`), images without labels: in a folder named unlabelled, or directly
in a test folder; and text files that list the images of each split (Food-101's `meta/train.txt`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

import pydantic

from stages.core.errors import UserError
from stages.core.params import Section
from stages.data.annotations import split_lists, split_names
from stages.data.annotations.class_names import check_classes, check_subfolders
from stages.data.annotations.path_patterns import Match
from stages.data.annotations.table_columns import check_agreement
from stages.data.image_files import image_names, leave_out
from stages.data.layouts import webdataset
from stages.data.sample import UNLABELLED, Sample

Read = Callable[[str], bytes]


class Options(Section):
    ignored: list[str] = pydantic.Field(default_factory=list)  # folders or files to leave out: masks, *_mask.png
    tables: Literal["stop", "ignore"] = "stop"  # where a table of the archive has other labels for the images
    subfolders: Literal["stop", "ignore"] = "stop"  # where the class folders all hold the same folders
    lists: str = ""  # text files that say which images are in which split: meta/{split}.txt


@dataclass
class Folder:
    """A folder of the archive, as far as it holds images."""

    path: str = ""  # in the archive; "" of several that are merged
    files: list[str] = field(default_factory=list)  # whole paths of its own images
    folders: dict[str, "Folder"] = field(default_factory=dict)

    def all_files(self) -> Iterator[str]:
        yield from self.files
        for folder in self.folders.values():
            yield from folder.all_files()


def samples(names: Sequence[str], read: Read, options: Options = Options()) -> Iterator[Sample]:  # noqa: B008
    """One sample per image, in the order of `names`. Raises UserError for an image without a class, and where a table
    of the archive has other classes.

    names: all files of the archive. read: the content of one.
    """
    images = leave_out(image_names(names, read), options.ignored)
    if options.tables == "stop" and (beside := webdataset.label_suffix(images, names)):
        raise UserError(f"data/raw.zip: the images have files with their labels beside them (.{beside}); set "
                        "data.layout to webdataset, or, if the folders are right, data.layout_options to "
                        "{tables: ignore}")
    found = {}
    try:
        found = {sample.path: sample for sample in _of_set(_tree(images))}
    finally:  # a table explains folders that are no classes
        if options.tables == "stop":
            check_agreement(names, read, images, {path: sample.target for path, sample in found.items()})
    if options.subfolders == "stop":
        check_subfolders(found.values())
    if options.lists:
        found = _divided(found, names, read, options.lists)
    return (found[name] for name in images)


def recognise(names: Sequence[str], read: Read) -> dict[str, object] | None:
    """{}, or the lists that divide them all; None if the folders are no classes."""
    try:
        found = list(samples(names, read))
        check_classes(found)
    except UserError:
        return None
    if not _can_be_trained(found):
        return None
    if not any(sample.split for sample in found if sample.target) and (
            lists := split_lists.guess(names, read, _as_matches(sample.path for sample in found))):
        with suppress(UserError):
            if _can_be_trained(list(samples(names, read, Options(lists=lists)))):
                return {"lists": lists}
    return {}


def _can_be_trained(found: Sequence[Sample]) -> bool:
    classes = {split: {sample.target for sample in found if sample.split in (split, "") and sample.target}
               for split in ("train", "val", "test")}
    return len(classes["train"]) > 1 and classes["train"] >= classes["val"] | classes["test"]


def _as_matches(paths: Iterable[str]) -> list[Match]:
    return [Match(path, "", {"id": path.rpartition(".")[0]}) for path in paths]


def _divided(found: Mapping[str, Sample], names: Sequence[str], read: Read, lists: str) -> dict[str, Sample]:
    """Each labelled image in the split whose list has it. Raises UserError for one that is in none."""
    listed = split_lists.splits_of(lists, names, read, _as_matches(found))
    if missing := sorted(path for path, sample in found.items() if sample.target and path not in listed):
        raise UserError(f"data/raw.zip: {missing[0]!r} is in none of the lists {lists}; add it to one, or set "
                        "data.layout_options to {}, so that val and test are drawn")
    return {path: sample._replace(split=split_names.split_of(listed[path]), source_split=listed[path])
            if sample.target else sample for path, sample in found.items()}


def _tree(images: Sequence[str]) -> Folder:
    root = Folder()
    for name in images:
        folder = root
        for part in PurePosixPath(name).parts[:-1]:
            folder = folder.folders.setdefault(part, Folder(f"{folder.path}{part}/"))
        folder.files.append(name)
    return root


def _of_set(root: Folder) -> Iterator[Sample]:
    """The samples below `root`: split folders are looked for first, then classes."""
    root = _unwrapped(root)
    splits = _splits(root)
    if not splits:
        yield from _of_undivided(root)
        return
    others = [folder for name, folder in root.folders.items() if name not in splits]
    if beside := [*root.files, *(name for folder in others for name in folder.all_files())]:
        ignored = [f"{folder.path}*" for folder in others] + root.files
        raise UserError(f"data/raw.zip: {beside[0]!r} lies beside the split folders ({', '.join(splits)}), and in none "
                        "of them; move it into one, or into a folder named unlabelled, or leave it out "
                        f"(data.layout_options: {{ignored: [{', '.join(ignored[:5])}]}})")
    for name, split in splits.items():
        if split == "unlabelled":
            yield from (Sample(path, split, name, "") for path in root.folders[name].all_files())
        else:
            yield from _of_classes(_below_split(root.folders[name], name), split, name)


def _of_undivided(root: Folder) -> Iterator[Sample]:
    """The classes of a set without split folders; each class may be divided itself."""
    inner = {name: _splits(folder) for name, folder in root.folders.items() if not _is_unlabelled(name)}
    if len(inner) > 1 and not root.files and all(
            splits.keys() == root.folders[name].folders.keys() and not root.folders[name].files
            for name, splits in inner.items()):
        for name in inner:
            for folder, split in inner[name].items():
                yield from (Sample(path, split, folder, "" if split == "unlabelled" else name)
                            for path in root.folders[name].folders[folder].all_files())
        root = Folder(folders={name: folder for name, folder in root.folders.items() if name not in inner})
    held_out = next((name for name in root.folders if split_names.split_of(name) in ("val", "test")), "")
    if held_out and sum(not split_names.split_of(name) for name in root.folders) > 1:
        raise UserError(f"data/raw.zip: {next(root.folders[held_out].all_files())!r} lies in a folder named "
                        f"{held_out!r} beside the classes, as if it were one: if its images have no labels, call it "
                        "unlabelled, or leave it out (data.layout_options: {ignored: "
                        f"[{root.folders[held_out].path}*]}}); if it is a class, call it otherwise")
    yield from _of_classes(root, "", "")


def _of_classes(root: Folder, split: str, source_split: str) -> Iterator[Sample]:
    """A folder of classes; directly in a test folder without classes lie images without labels."""
    if root.files and split == "test" and not root.folders:
        yield from (Sample(path, "unlabelled", source_split, "") for path in root.files)
    elif root.files and split:
        raise UserError(f"data/raw.zip: {root.files[0]!r} lies in the folder of a split, but in no class folder there; "
                        "move it into one, or into a folder named unlabelled; if its class is in its name, or in a "
                        "table, set data.layout to image_names or image_table")
    elif root.files:
        raise UserError(f"data/raw.zip: {root.files[0]!r} lies in no class folder; the layout image_folder reads "
                        "<class>/x.jpg or <split>/<class>/x.jpg: move the image, or choose another data.layout")
    for name, folder in root.folders.items():
        if _is_unlabelled(name):
            yield from (Sample(path, "unlabelled", source_split or name, "") for path in folder.all_files())
        else:
            yield from (Sample(path, split, source_split, name) for path in folder.all_files())


def _unwrapped(folder: Folder) -> Folder:
    """The innermost folder that holds all that this one holds, its parts merged, as far as it's no split or class."""
    while not folder.files:
        if folder.folders and all(split_names.is_part(name) and part.folders and not part.files
                                  for name, part in folder.folders.items()):
            folder = _merged(folder.folders.values())
            continue
        (name, only), *others = folder.folders.items() or [("", None)]
        if others or not only or only.files or split_names.split_of(name):
            break
        folder = only
    return folder


def _below_split(folder: Folder, name: str) -> Folder:
    """The folder of the classes: a split folder may contain itself once more, or folders that say nothing, or parts."""
    while len(folder.folders) == 1 and not folder.files:
        (inner, only), = folder.folders.items()
        same = split_names.parse(inner) and split_names.parse(inner) == split_names.parse(name)
        holds_classes = only.folders or split_names.parse(name).split == "test"
        if not holds_classes or not (same or split_names.is_generic(inner)):
            break
        folder = only
    unwrapped = _unwrapped(folder)
    return unwrapped if folder.folders and all(map(split_names.is_part, folder.folders)) else folder


def _merged(folders: Iterable[Folder]) -> Folder:
    merged = Folder()
    for folder in folders:
        merged.files += folder.files
        for name, inner in folder.folders.items():
            merged.folders[name] = _merged([merged.folders[name], inner]) if name in merged.folders else inner
    return merged


def _splits(folder: Folder) -> dict[str, str]:
    return split_names.divide({name: bool(inner.folders) for name, inner in folder.folders.items()})


def _is_unlabelled(name: str) -> bool:
    return split_names.split_of(name) == "unlabelled" or name.lower() in UNLABELLED
