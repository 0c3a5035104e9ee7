"""Guesses, from the names in an archive, where images and their masks lie: the patterns of image_mask_patterns.

Names are sorted into kinds: one folder (or one for each split) and the words around the name that say what it is, as
`_mask` or `_gtFine_labelIds`. Two kinds go together if the second sounds like masks, and nearly each of its names has
one of the first that is otherwise the same.
"""

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from stages.data.annotations.outlines import is_outlines

MASK = re.compile(r"mask|label|annot|seg|(?<![a-z])gt(?![a-z])|gtfine|ground.?truth|trimap|matte|outline|polygon",
                  re.IGNORECASE)
# Of the same pictures, but not the class of each pixel: instances, coloured copies, drawings over the picture.
OTHER = re.compile(r"object|instance|colou?r|overlay|visuali|preview|panoptic|depth|superpixel|boundar|edge|"
                   r"[ ._-]parts|gtcoarse|trainids", re.IGNORECASE)
WORD = (r"(?:masks?|labels?|l|seg|segmentation|segmented|annotations?|gt|ground[ _-]?truth|matte|images?|img|sat|rgb|"
        r"gtfine|labelids|labeltrainids|instanceids|leftimg8bit|colou?rs?|instances?|parts(?:[ ._-]\d+)?|superpixels)")
START = re.compile(rf"(?:{WORD}[ ._-])+", re.IGNORECASE)
ENDING = re.compile(rf"(?:[ ._-]{WORD})+$", re.IGNORECASE)
FURTHER = re.compile(r"[ ._-]\d{1,2}$")  # x_mask_1.png beside x_mask.png: a second mask of x
SPLIT = re.compile(r"(?<![a-z])(?i:train(?:ing|val)?|val(?:id(?:ation)?)?|test(?:ing)?|dev)(?=annot|set|[^a-z]|$)")
JPEG = (".jpg", ".jpeg")
PLACE = re.compile(r"jpeg|image|img|photo|picture|raw|still|input|data|scan", re.IGNORECASE)
LEAST_PAIRED = 0.95  # share of the masks whose image is there
MOST_KINDS = 100


class Kind(NamedTuple):
    """What files of one kind have in common."""

    folder: str  # "images/{split}/"
    start: str  # of the file's name: "mask_"
    ending: str  # of the file's name without the suffix: "_mask"
    suffix: str  # ".png"; ".*" where they differ

    @property
    def pattern(self) -> str:
        return f"{self.folder}{self.start}{{id}}{self.ending}{self.suffix}"


class File(NamedTuple):
    """A file's name and its parts."""

    name: str
    folder: str  # "" or "a/b"
    start: str
    id: str
    ending: str
    suffix: str


class Pair(NamedTuple):
    images: Kind
    masks: Kind
    paired: int  # masks whose image is there
    several: bool  # masks of one image


Ids = Mapping[str, list[str]]  # {split} and {id} of files of one kind → their paths


def guess(images: Sequence[str], others: Iterable[str]) -> tuple[str, str] | None:
    """The patterns of images and of their masks; None where no two kinds go together, or several may be the masks.

    images: the names of images and masks; others: those of files that may hold outlines.
    """
    files, best = _files([*images, *filter(is_outlines, others)]), []
    for form in (_whole, _below_places, _between_places, _nothing):
        pairs = sorted(_pairs(_kinds(files, form)), key=lambda pair: (-pair.paired, len(pair.images.pattern)))
        if pairs and (not best or pairs[0].paired > best[0].paired):
            best = pairs
    if not best or any(pair.masks != best[0].masks for pair in best if pair.paired == best[0].paired):
        return None
    images, masks, _, several = best[0]
    if several:
        masks = masks._replace(ending=f"{masks.ending}*")
    return _unwrapped(images.pattern, masks.pattern)


class Form(NamedTuple):
    """The folders of a file as its kind writes them, and what of them belongs to its id."""

    kind: Sequence[str]
    id: Sequence[str]


def _whole(folders: Sequence[str], plain: Sequence[str]) -> Form:
    """folders: with {split} for what names a split; plain: as they are."""
    return Form(folders, ())


def _below_places(folders: Sequence[str], plain: Sequence[str]) -> Form:
    """Folders below images/ or train/ belong to the id: the cities of Cityscapes."""
    depth = max((number for number, folder in enumerate(folders, 1) if _is_place(folder)), default=0)
    return Form(folders[:depth], plain[depth:])


def _between_places(folders: Sequence[str], plain: Sequence[str]) -> Form:
    """The last folder above images/ that says nothing becomes {part}: Tile 1/images/x.jpg."""
    above = max((number for number, folder in enumerate(folders) if _is_place(folder)), default=0)
    at = max((number for number, folder in enumerate(folders[:above]) if not _is_place(folder)), default=None)
    return Form(folders, ()) if at is None else Form([*folders[:at], "{part}", *folders[at + 1:]], plain[at:at + 1])


def _nothing(folders: Sequence[str], plain: Sequence[str]) -> Form:
    """All folders belong to the id: a mask lies beside its image."""
    return Form((), plain)


def _is_place(folder: str) -> bool:
    return "{split}" in folder or bool(MASK.search(folder) or PLACE.search(folder))


def _files(names: Iterable[str]) -> list[File]:
    split = [(name, *_split(name)) for name in names]
    masks = {(folder, stem) for _, folder, stem, _ in split if (end := ENDING.search(stem)) and MASK.search(end[0])}
    files = []
    for name, folder, stem, suffix in split:
        if (further := FURTHER.search(stem)) and (folder, stem[:further.start()]) in masks:
            stem = stem[:further.start()]
        start, end = START.match(stem), ENDING.search(stem)
        between = stem[start.end() if start else 0:end.start() if end else None]
        files.append(File(name, folder, start[0] if start else "", between, end[0] if end else "", suffix.lower()))
    return files


def _split(name: str) -> tuple[str, str, str]:
    """Folder, stem and suffix (".png"): pathlib's parts, which takes five times as long."""
    folder, _, file = name.rpartition("/")
    stem, dot, suffix = file.rpartition(".")
    return (folder, stem, dot + suffix) if stem else (folder, file, "")


def _kinds(files: Iterable[File], form: Callable[[Sequence[str], Sequence[str]], Form]) -> dict[Kind, Ids]:
    suffixes = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))  # Kind without suffix → suffix → Ids
    written = {}  # folders → the kind's, and what of them belongs to the id
    for file in files:
        if file.folder not in written:
            plain = file.folder.split("/") if file.folder else []
            with_split, split = _with_split(plain)
            kept, others = form(with_split, plain)
            written[file.folder] = "".join(f"{folder}/" for folder in kept), "/".join([split, *others, ""])
        folder, above = written[file.folder]
        kind = Kind(folder, file.start, file.ending, "")
        suffixes[kind][file.suffix][above + file.id].append(file.name)
    return dict(_by_suffix(suffixes))


def _with_split(folders: Sequence[str]) -> tuple[list[str], str]:
    """The folders with {split} for what names a split in the innermost that does, and what it is there."""
    at = [number for number, folder in enumerate(folders) if SPLIT.search(folder)]
    if not at:
        return list(folders), ""
    written = [SPLIT.sub("{split}" if number == at[-1] else "*", folder, count=1) if number in at else folder
               for number, folder in enumerate(folders)]
    return written, SPLIT.search(folders[at[-1]])[0]


def _by_suffix(suffixes: Mapping[Kind, Mapping[str, Ids]]) -> Iterator[tuple[Kind, Ids]]:
    """A kind for all suffixes together, or for each where names occur with several (x.jpg beside its x.png)."""
    for kind, by_suffix in suffixes.items():
        together = {}
        for ids in by_suffix.values():
            together = {**ids, **together}
        if len(together) == sum(map(len, by_suffix.values())):
            yield kind._replace(suffix=".*" if len(by_suffix) > 1 else next(iter(by_suffix))), together
        else:
            yield from ((kind._replace(suffix=suffix), ids) for suffix, ids in by_suffix.items())


def _pairs(kinds: Mapping[Kind, Ids]) -> Iterator[Pair]:
    """Nothing for more kinds than a set of masks has: the folders are classes, patients or the like."""
    for image, mask in itertools.permutations(kinds if len(kinds) <= MOST_KINDS else (), 2):
        if _sound(image, mask):
            ids, mask_ids = kinds[image], kinds[mask]
            count = sum(map(len, mask_ids.values()))
            paired = sum(len(mask_ids[key]) for key in mask_ids.keys() & ids.keys())
            if paired >= max(1, LEAST_PAIRED * count):
                yield Pair(image, mask, paired, len(mask_ids) < count)


def _sound(image: Kind, mask: Kind) -> bool:
    """Whether what the two don't share says mask of the second alone; or it is beside the first, which is a JPEG, or
    of another kind: x.jpg and x.png, x.png and x.json.
    """
    if is_outlines(image.pattern):
        return False
    if image[:3] == mask[:3]:
        return is_outlines(mask.pattern) or (image.suffix in JPEG and mask.suffix not in JPEG)
    image_words, mask_words = _unwrapped(image.pattern, mask.pattern)
    return bool(MASK.search(mask_words) and not MASK.search(image_words)
                and not OTHER.search(mask_words) and not OTHER.search(image_words))


def _unwrapped(image: str, mask: str) -> tuple[str, str]:
    """Two patterns without the folders above that they share, as far as these say nothing of a split."""
    while "/" in image and "{" not in image.partition("/")[0] and image.partition("/")[0] == mask.partition("/")[0]:
        image, mask = image.partition("/")[2], mask.partition("/")[2]
    return image, mask
