"""One folder per class: `<class>/x.jpg` or `<split>/<class>/x.jpg`, in any number of wrapping folders.

Also read: repeated split folders (`seg_train/seg_train/<class>/x.jpg`), and images without labels, in a folder named
like one of UNLABELLED or directly in a test folder.
"""

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from stages.core.errors import UserError
from stages.data.decode import has_image_suffix
from stages.data.sample import SPLITS, UNLABELLED, Sample


def samples(names: list[str], read: Callable[[str], bytes]) -> Iterator[Sample]:
    """One sample per file of `names` with an image's suffix. Raises UserError for an image without a class.

    names: all files of the archive. read: for layouts with an index file.
    """
    folders_of = {name: PurePosixPath(name).parts[:-1] for name in names if has_image_suffix(name)}
    depth = _wrapping_depth(list(folders_of.values()))
    folders_of = {name: folders[depth:] for name, folders in folders_of.items()}
    has_splits = any(len(folders) > 1 and folders[0].lower() in SPLITS for folders in folders_of.values())
    with_classes = {folders[0] for folders in folders_of.values() if _below_split(folders)}
    for name, folders in folders_of.items():
        split = SPLITS.get(folders[0].lower() if folders else "")
        unlabelled = UNLABELLED & {folder.lower() for folder in folders[:2 if has_splits else 1]}
        if unlabelled or (split == "test" and folders[0] not in with_classes):
            yield Sample(name, "unlabelled", folders[0], "")
        elif has_splits:
            if not split:
                raise UserError(f"data/raw.zip: {name!r} lies beside the split folders, and in none of them; move it "
                                f"into one, or into a folder named unlabelled (split folders: {', '.join(SPLITS)})")
            if not _below_split(folders):
                raise UserError(f"data/raw.zip: {name!r} lies in the folder of a split, but in no class folder there; "
                                "move it into one, or into a folder named unlabelled")
            yield Sample(name, split, folders[0], _below_split(folders)[0])
        elif folders:
            yield Sample(name, "", "", folders[0])
        else:
            raise UserError(f"data/raw.zip: {name!r} lies in no class folder; the layout image_folder reads "
                            "<class>/x.jpg or <split>/<class>/x.jpg: move the image, or choose another data.layout")


def _below_split(folders: tuple[str, ...]) -> tuple[str, ...]:
    """The folders below the split folder, which may contain itself once more."""
    repeated = len(folders) > 1 and folders[1].lower() == folders[0].lower()
    return folders[2:] if repeated else folders[1:]


def _wrapping_depth(folders: list[tuple[str, ...]]) -> int:
    """Number of leading folders that all files share and that are neither split nor class."""
    depth = 0
    while (folders and all(len(parts) > depth + 1 for parts in folders)
           and len({parts[depth] for parts in folders}) == 1
           and folders[0][depth].lower() not in SPLITS.keys() | UNLABELLED):
        depth += 1
    return depth
