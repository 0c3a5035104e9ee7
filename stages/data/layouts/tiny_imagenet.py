"""Tiny ImageNet's archive: train/<wnid>/images/*, val/images/* with val_annotations.txt, test/images/* without labels.

Its test images have no labels, so its val is the test set here, and val is drawn from train.
"""

from collections.abc import Callable, Iterator

from stages.core.errors import UserError
from stages.data.annotations.wordnet import class_names
from stages.data.decode import has_image_suffix
from stages.data.sample import Sample

ANNOTATIONS = "val/val_annotations.txt"  # each line: file name, wnid, bounding box


def samples(names: list[str], read: Callable[[str], bytes]) -> Iterator[Sample]:
    """One sample per image; its class is the first word that words.txt gives for its wnid.

    names: all files of the archive. read: the content of one. Raises UserError if the annotations are incomplete.
    """
    root = next((name.removesuffix(ANNOTATIONS) for name in names if name.endswith(ANNOTATIONS)), None)
    if root is None:
        raise UserError(f"data/raw.zip holds no {ANNOTATIONS}, so it is not Tiny ImageNet; choose another data.layout")
    wnids = dict([*line.split("\t"), ""][:2] for line in _lines(read(root + ANNOTATIONS)))  # file name → wnid
    images = [(name, name.removeprefix(root).split("/")) for name in names
              if name.startswith(root) and has_image_suffix(name)]
    class_of = class_names({parts[1] for _, parts in images if parts[0] == "train"} | set(wnids.values()),
                            read(f"{root}words.txt") if f"{root}words.txt" in names else b"")
    for name, parts in images:
        if parts[0] == "train":
            yield Sample(name, "train", "train", class_of[parts[1]])
        elif parts[0] == "val":
            if parts[-1] not in wnids:
                raise UserError(f"data/raw.zip: {name!r} has no line in {root}{ANNOTATIONS}; get the archive again")
            yield Sample(name, "test", "val", class_of[wnids[parts[-1]]])
        elif parts[0] == "test":
            yield Sample(name, "unlabelled", "test", "")


def recognise(names: list[str], read: Callable[[str], bytes]) -> dict[str, object] | None:
    """{}; None where the annotations are missing or incomplete."""
    try:
        return {} if any(sample.split == "train" for sample in list(samples(names, read))) else None
    except UserError:
        return None


def _lines(content: bytes) -> list[str]:
    return [line for line in content.decode("utf-8", "replace").splitlines() if line.strip()]
