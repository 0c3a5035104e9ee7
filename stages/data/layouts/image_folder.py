"""A folder a class: `<class>/x.jpg` or `<split>/<class>/x.jpg`, in any number of wrapping folders.

Also read: split folders twice in a row (`seg_train/seg_train/<class>/x.jpg`), and images without labels: in a folder
of a name in UNLABELLED, or straight in a test folder.
"""

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from stages.core.errors import UserError
from stages.data.decode import has_image_suffix
from stages.data.sample import SPLITS, UNLABELLED, Sample


def samples(names: list[str], read: Callable[[str], bytes]) -> Iterator[Sample]:
    """A sample for each file of `names` that is named like an image. Raises UserError for one that has no class.

    names: all files of the archive. read: not used here; a layout with an index file reads it so.
    """
    found = {name: PurePosixPath(name).parts[:-1] for name in names if has_image_suffix(name)}
    depth = _wrapping(list(found.values()))
    found = {name: folders[depth:] for name, folders in found.items()}
    divided = {folders[0] for folders in found.values() if len(folders) > 1 and folders[0].lower() in SPLITS}
    with_classes = {folders[0] for folders in found.values() if len(_inside(folders)) > 0}
    for name, folders in found.items():
        top = folders[0].lower() if folders else ""
        unlabelled = UNLABELLED & {folder.lower() for folder in folders[:2 if divided else 1]}
        if unlabelled or (SPLITS.get(top) == "test" and folders[0] not in with_classes):
            yield Sample(name, "unlabelled", folders[0], "")
        elif divided:
            yield Sample(name, *_placed(name, folders))
        elif folders:
            yield Sample(name, "", "", folders[0])
        else:
            raise UserError(f"data/raw.zip: {name!r} lies in no class folder; the layout image_folder reads <class>/x.jpg "
                        "or <split>/<class>/x.jpg: move the image, or choose another data.layout")


def _placed(name: str, folders: tuple[str, ...]) -> tuple[str, str, str]:
    """Split, the source's name for it, and class of a file in a source that has split folders."""
    split, inside = SPLITS.get(folders[0].lower() if folders else ""), _inside(folders)
    if not split:
        raise UserError(f"data/raw.zip: {name!r} lies beside the split folders, and in none of them; move it into one, "
                    f"or into a folder named unlabelled (split folders: {', '.join(SPLITS)})")
    if not inside:
        raise UserError(f"data/raw.zip: {name!r} lies in the folder of a split, but in no class folder there; move it into "
                    "one, or into a folder named unlabelled")
    return split, folders[0], inside[0]


def _inside(folders: tuple[str, ...]) -> tuple[str, ...]:
    """What stands below the split folder, which may contain itself once more."""
    below = folders[1:]
    return below[1:] if below and below[0].lower() == folders[0].lower() else below


def _wrapping(folders: list[tuple[str, ...]]) -> int:
    """How many leading folders all files share that are neither split nor class."""
    depth = 0
    while (folders and all(len(parts) > depth + 1 for parts in folders)
           and len({parts[depth] for parts in folders}) == 1
           and folders[0][depth].lower() not in SPLITS.keys() | UNLABELLED):
        depth += 1
    return depth
