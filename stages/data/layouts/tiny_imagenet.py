"""Tiny ImageNet's archive: train/<wnid>/images/*, val/images/* with val_annotations.txt, test/images/* without labels.

Since its test images have no labels, its val is the test set here, and val is drawn from train.
"""

from collections import Counter
from collections.abc import Callable, Iterator

from stages.core.errors import UserError
from stages.data.decode import has_image_suffix
from stages.data.sample import Sample

ANNOTATIONS = "val/val_annotations.txt"  # lines of: file name, wnid, bounding box


def samples(names: list[str], read: Callable[[str], bytes]) -> Iterator[Sample]:
    """A sample an image; class = the first of the words that words.txt gives for a wnid. Raises UserError."""
    root = next((name.removesuffix(ANNOTATIONS) for name in names if name.endswith(ANNOTATIONS)), None)
    if root is None:
        raise UserError(f"data/raw.zip holds no {ANNOTATIONS}, so it is not Tiny ImageNet; choose another data.layout")
    wnids = dict([*line.split("\t"), ""][:2] for line in _lines(read(root + ANNOTATIONS)))  # file name → wnid
    inside = [(name, name.removeprefix(root).split("/")) for name in names
              if name.startswith(root) and has_image_suffix(name)]
    readable = _readable({parts[1] for _, parts in inside if parts[0] == "train"} | set(wnids.values()),
                         read(f"{root}words.txt") if f"{root}words.txt" in names else b"")
    for name, parts in inside:
        if parts[0] == "train":
            yield Sample(name, "train", "train", readable[parts[1]])
        elif parts[0] == "val":
            if parts[-1] not in wnids:
                raise UserError(f"data/raw.zip: {name!r} has no line in {root}{ANNOTATIONS}; get the archive again")
            yield Sample(name, "test", "val", readable[wnids[parts[-1]]])
        elif parts[0] == "test":
            yield Sample(name, "unlabelled", "test", "")


def _readable(wnids: set[str], words: bytes) -> dict[str, str]:
    """wnid → a name for people: 'goldfish' rather than 'n01443537', with the wnid where two share a word."""
    first = {wnid: rest.split(",")[0].strip() for wnid, _, rest in (line.partition("\t") for line in _lines(words))
             if wnid in wnids}
    shared = Counter(first.values())
    return {wnid: wnid if wnid not in first else first[wnid] if shared[first[wnid]] == 1 else f"{first[wnid]} ({wnid})"
            for wnid in wnids}


def _lines(content: bytes) -> list[str]:
    return [line for line in content.decode("utf-8", "replace").splitlines() if line.strip()]
