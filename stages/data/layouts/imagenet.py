"""A folder a class in train/, and val/ without folders, whose classes a list has: ImageNet's own layout.

The list's lines hold an image and its class: a folder's name (`LOC_val_solution.csv`, of which the first word counts),
or its number among the sorted folders, from 0 (`val.txt`). ImageNet's test images have no labels, so its val is the
test set here, and val is drawn from train. Where the archive has synset_words.txt or the like, classes get readable
names.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath

import pydantic

from stages.core.errors import UserError
from stages.core.params import Section
from stages.data.annotations import split_names
from stages.data.annotations.tables import Images, Table, read_tables
from stages.data.annotations.wordnet import class_names
from stages.data.image_files import image_names
from stages.data.sample import Sample

Read = Callable[[str], bytes]
WORDS = ("synset_words.txt", "LOC_synset_mapping.txt", "words.txt")


class Options(Section):
    list: str = pydantic.Field(min_length=1)  # the name of the list in the archive


def recognise(names: Sequence[str], read: Read) -> dict[str, object] | None:
    """The first list that names all images of val, where train has class folders and val has none."""
    images = image_names(names, read)
    classes, val = _training(images), [name for name in images if split_names.split_of_path(name)[0] == "val"]
    if len(set(classes.values())) < 2 or not val or any(
            folder in set(classes.values()) for name in val for folder in PurePosixPath(name).parts[:-1]):
        return None
    for table in read_tables((name for name in names if PurePosixPath(name).name not in WORDS), read):
        try:
            labels = _labels(table, images, sorted(set(classes.values())))
        except UserError:
            continue
        if labels.keys() >= set(val):
            return {"list": table.name}
    return None


def samples(names: Sequence[str], read: Read, options: Options) -> Iterator[Sample]:
    """One sample per image. Raises UserError for a list that doesn't name each image of val with a class of train.

    names: all files of the archive. read: the content of one.
    """
    images = image_names(names, read)
    training = _training(images)
    table = next(iter(read_tables([name for name in names if name == options.list], read)), None)
    if not training or not table:
        lacking = f"list {options.list}" if training else "train/<class>/x.jpg"
        raise UserError(f"data/raw.zip holds no {lacking}; choose another data.layout, or correct "
                        "data.layout_options.list")
    labels = _labels(table, images, sorted(set(training.values())))
    words = next((name for name in names if PurePosixPath(name).name in WORDS), None)
    called = class_names(set(training.values()), read(words) if words else b"")
    for name in images:
        split, folder = split_names.split_of_path(name)
        if name in training:
            yield Sample(name, split, folder, called[training[name]])
        elif split == "val":
            if name not in labels:
                raise UserError(f"data/raw.zip: {name!r} has no line in {options.list}; get the archive again")
            yield Sample(name, "test", folder, called[labels[name]])
        else:
            yield Sample(name, "unlabelled", folder, "")


def _training(images: Sequence[str]) -> dict[str, str]:
    """Image → its class folder, of those in train/<class>/."""
    found = {}
    for name in images:
        split, folder = split_names.split_of_path(name)
        below = PurePosixPath(name).parts[:-1]
        below = below[below.index(folder) + 1:] if split == "train" else ()
        if below:
            found[name] = below[0]
    return found


def _labels(table: Table, images: Sequence[str], classes: Sequence[str]) -> dict[str, str]:
    """Image → class folder, of the images that the list names. Raises UserError for a class that train lacks."""
    known, found = Images(images), {}
    image, label = table.columns[:2]
    for row in table.rows:
        for path in known.find(row.get(image, ""), table.name)[:1]:
            found[path] = row.get(label, "").split(" ")[0]
    is_numbered = not set(found.values()) & set(classes)
    for path, value in found.items():
        if is_numbered and value.isdigit() and int(value) < len(classes):
            found[path] = classes[int(value)]
        elif value not in classes:
            raise UserError(f"data/raw.zip: {table.name} gives {path!r} the class {value!r}, which is neither a folder "
                            f"of train nor the number of one (0–{len(classes) - 1}); correct data.layout_options.list")
    return found
