"""Text files that list the images of each split, a line an image: VOC's ImageSets, Oxford Pets' trainval.txt."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from stages.core.errors import UserError
from stages.data.annotations import split_names
from stages.data.annotations.path_patterns import Match, matches
from stages.data.annotations.tables import Images, decoded

BOTH = "trainval"  # such a list holds those of train and of val: where there are lists of each, they decide


def splits_of(pattern: str, names: Iterable[str], read: Callable[[str], bytes],
              images: Sequence[Match]) -> Mapping[str, str]:
    """Path of an image → the split's name in the name of the list that has it.

    pattern: of the lists' paths, with {split}. Raises UserError without a list, for a line that names no image, and for
    an image in the lists of several splits.
    """
    lists = sorted(matches(pattern, names), key=lambda match: BOTH not in match.fields["split"].lower())
    if not lists:
        raise UserError(f"data/raw.zip holds no text file like {pattern!r}; correct data.layout_options.lists")
    finder, found = _Finder(images), {}
    for file in lists:
        split = file.fields["split"]
        for line in filter(None, map(str.strip, decoded(read(file.path)).splitlines())):
            path = finder.find(line, file.path)
            if not path:
                raise UserError(f"data/raw.zip: {file.path} lists {line[:80]!r}, which names no image, or several; add "
                                "the image, or correct data.layout_options (images, lists)")
            other = found.setdefault(path, split)
            if split_names.split_of(other) != split_names.split_of(split) and BOTH not in other.lower():
                raise UserError(f"data/raw.zip: {path!r} is listed for {other} and for {split}; take it out of one")
            found[path] = split
    return found


def guess(names: Iterable[str], read: Callable[[str], bytes], images: Sequence[Match]) -> str:
    """The pattern of lists that name the most of these images; "" if there are none, or they name hardly any."""
    finder, counts = _Finder(images), defaultdict(int)
    for name in names:
        folder, slash, file = name.rpartition("/")
        stem, dot, suffix = file.rpartition(".")
        if suffix.lower() == "txt" and split_names.split_of(stem):
            lines = decoded(read(name)).split("\n")
            counts[f"{folder}{slash}{{split}}{dot}{suffix}"] += sum(
                bool(line.strip() and finder.find(line.strip(), name)) for line in lines)
    # Of lists that name as many, those whose folder says segmentation (VOC's ImageSets/Main is about boxes).
    best = max(counts, key=lambda pattern: ("seg" in pattern.lower() and counts[pattern] > 0, counts[pattern]),
               default="")
    return best if counts[best] else ""


class _Finder:
    """The image that a line is about: the whole line, or its first word, is its id, its path or the end of it."""

    def __init__(self, images: Sequence[Match]):
        self.by_path = Images(image.path for image in images)
        self.by_id = defaultdict(set)
        for image in images:
            self.by_id[image.fields["id"]].add(image.path)

    def find(self, line: str, file: str) -> str:
        """"" if there is none, or several."""
        for called in dict.fromkeys((line, line.split()[0])):
            found = self.by_id.get(called) or self.by_path.find(called, file)
            if len(found) == 1:
                return next(iter(found))
        return ""
