"""Whether the classes that a layout has found can be meant. Names of splits or of parts are none, and neither are
pictures and their masks, nor, unless it is said, folders that all hold the same folders.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from stages.core.errors import UserError
from stages.data.annotations import split_names
from stages.data.sample import Sample

MASKS = {"mask", "masks", "label", "labels", "annotation", "annotations", "segmentation", "segmentations", "gt"}
MASK_ENDINGS = ("_mask", "_segmentation", "_seg", "_label", "-mask", ".mask")
LEAST_MASKS = 0.1  # share of the images that are masks of others, from which on they are no accident


def check_classes(samples: Iterable[Sample]) -> None:
    """Raises UserError, in one line, for classes that look like something else.

    samples: with class names as their targets; unlabelled ones are not looked at.
    """
    samples = [sample for sample in samples if sample.target]
    names = sorted({sample.target for sample in samples})
    folders = {folder for sample in samples for folder in PurePosixPath(sample.path).parts[:-1]}
    if names and folders.issuperset(names):  # else the names come from a table or the like
        _check_masks(samples)
        _check_names(names)


def check_subfolders(samples: Iterable[Sample]) -> None:
    """Raises UserError, in one line, where the class folders of an undivided set all hold the same folders."""
    below = defaultdict(set)  # class → the names right below its folder; "" for an image
    for sample in samples:
        if sample.split not in ("", "unlabelled"):
            return
        parts = PurePosixPath(sample.path).parts
        if sample.target in parts:
            at = parts.index(sample.target) + 1
            below[sample.target].add(parts[at] if at < len(parts) - 1 else "")
    names, inside = sorted(below), next(iter(below.values()), set())
    if (len(names) > 1 and len(inside) > 1 and all(found == inside for found in below.values())
            and not any(_says_nothing(name) or name.lower() in MASKS for name in inside)):
        raise UserError(f"data/raw.zip: the folders {_listed(names)} all hold the folders {_listed(sorted(inside))}, "
                        "which look like the classes; read one of them (data.layout_options: "
                        f"{{ignored: [{', '.join(names[1:])}]}}), or, if {names[0]} is a class, set {{subfolders: "
                        "ignore}")


def _check_names(names: Sequence[str]) -> None:
    splits = {split for name in names if (split := split_names.split_of(name))}
    are_telling = [not _says_nothing(name) and name.lower() not in MASKS for name in names]
    if len(splits) > 1 or (not any(are_telling) and any(map(_says_nothing, names))):
        raise UserError(f"data/raw.zip: the classes would be {_listed(names)}, which are names of splits or parts, not "
                        "of what is seen; put the images of each class into a folder of its name, or choose the "
                        "data.layout that knows where the labels are (image_table, image_names)")


def _check_masks(samples: Sequence[Sample]) -> None:
    images, masks, paired = {}, {}, []
    for path in (PurePosixPath(sample.path) for sample in samples):
        at = max((number for number, folder in enumerate(path.parts[:-1])
                  if folder.lower() in MASKS or split_names.is_generic(folder)), default=None)
        if at is not None:
            pairs = masks if path.parts[at].lower() in MASKS else images
            pairs[path.parts[:at], path.parts[at + 1:-1], _without_ending(path.stem)] = str(path)
        paired += [str(path)] if _without_ending(path.stem) != path.stem else []
    stems = {str(PurePosixPath(sample.path).with_suffix("")) for sample in samples}
    beside = [path for path in paired if _without_ending(str(PurePosixPath(path).with_suffix(""))) in stems]
    found = sorted({masks[key] for key in images.keys() & masks.keys()} | set(beside))
    if found and len(found) >= LEAST_MASKS * len(samples):
        raise UserError(f"data/raw.zip: {found[0]!r} looks like the mask of another image ({len(found)} do), but would "
                        f"be an image of class {_class_of(samples, found[0])!r}; leave masks out (data.layout_options: "
                        "{ignored: [masks, '*_mask.*']}), or set data.task to segmentation")


def _says_nothing(name: str) -> bool:
    """"" too, which stands for no folder."""
    return not name or bool(split_names.split_of(name)) or split_names.is_part(name) or split_names.is_generic(name)


def _without_ending(stem: str) -> str:
    return next((stem.removesuffix(ending) for ending in MASK_ENDINGS if stem.lower().endswith(ending)), stem)


def _class_of(samples: Iterable[Sample], path: str) -> str:
    return next(sample.target for sample in samples if sample.path == path)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f", … ({len(names)})" if len(names) > 4 else "")
