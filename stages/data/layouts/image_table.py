"""Labels in a table beside the images: CSV, TSV, JSON, JSON lines, or lines of a path and a label in a text file.

Recognised: Kaggle's `train.csv` with a column for the image and one for the class, Hugging Face's `metadata.csv|jsonl`
with `file_name`, one table a split (Roboflow's `train/_classes.csv`), and classes as columns, of which one holds a 1.
Images that no row names have no label, and join the distillation.

Where no column gives the split, the folders say it (`test/x.jpg`), or the table's name (`train.csv`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Literal

import pydantic

from stages.core.errors import UserError
from stages.core.params import Section
from stages.data.annotations import label_names, split_names
from stages.data.annotations.table_columns import check_one_label, class_of, labelling
from stages.data.annotations.tables import Images, Row, Table, cell, filled, read_tables
from stages.data.image_files import image_names, leave_out
from stages.data.sample import Sample

Read = Callable[[str], bytes]


class Options(Section):
    tables: list[str] = pydantic.Field(min_length=1)  # their names in the archive
    path: str = pydantic.Field(min_length=1)  # the image of a row: "{id}", "train/{id}.jpg", with columns in braces
    label: str | list[str]  # the column of the class; several: the classes themselves, of which one holds a 1
    split: str = ""  # the column of the split
    group: str = ""  # the column of what must not be divided between splits: a patient, a video
    names: str = ""  # another table, which has the classes' names: {"0": "cat"}
    missing: Literal["stop", "skip"] = "stop"  # rows whose image is not in the archive
    ignored: list[str] = pydantic.Field(default_factory=list)  # folders or files to leave out: masks, *_mask.png


def recognise(names: Sequence[str], read: Read) -> dict[str, object] | None:
    """The tables and their columns; None where they aren't clear."""
    found = labelling(names, read, image_names(names, read))
    if not found:
        return None
    tables, (image, label, split) = found
    labels = {class_of(row, label) for table in tables for row in table.rows} - {""}
    others = sorted(set(names) - {table.name for table in tables})
    return {"tables": [table.name for table in tables], "path": f"{{{image}}}",
            "label": label if isinstance(label, str) else list(label), "split": split,
            "names": label_names.find(others, read, labels)}


def samples(names: Sequence[str], read: Read, options: Options) -> Iterator[Sample]:
    """One sample per image, in the order of `names`. Raises UserError for a table, a column or an image that is not
    there, and for an image with two labels.

    names: all files of the archive. read: the content of one.
    """
    images = leave_out(image_names(names, read), options.ignored)
    known, found, missing = Images(images), {}, []
    for table in _tables(names, read, options):
        for row in table.rows:
            called = filled(options.path, row, table.name)
            path = _image(called, known, table)
            if not path:
                missing.append((called, table.name))
                continue
            sample = _sample(path, row, table, options)
            if found.setdefault(path, sample).target != sample.target:
                raise UserError(f"data/raw.zip: {table.name} gives {path!r} two classes, {found[path].target!r} and "
                                f"{sample.target!r}; classification takes one an image: remove one of the rows")
    if missing and (options.missing == "stop" or not found):
        called, table = missing[0]
        raise UserError(f"data/raw.zip: {len(missing)} row(s) name an image that is not there, first {called!r} in "
                        f"{table}; add the images, correct data.layout_options.path ({options.path}), or set "
                        "data.layout_options.missing to skip")
    check_one_label({sample.target for sample in found.values()})
    _check_splits(found, options)
    if options.names:
        found = _with_names(found, names, read, options)
    return (found.get(name) or Sample(name, "unlabelled", split_names.split_of_path(name)[1], "") for name in images)


def _tables(names: Sequence[str], read: Read, options: Options) -> list[Table]:
    if lacking := set(options.tables) - set(names):
        raise UserError(f"data/raw.zip holds no {min(lacking)}; correct data.layout_options.tables")
    tables = list(read_tables(options.tables, read))
    if lacking := set(options.tables) - {table.name for table in tables}:
        raise UserError(f"data/raw.zip: {min(lacking)} can't be read as a table of two columns or more (CSV, TSV, "
                        "JSON, JSON lines, or lines of a path and a label); correct data.layout_options.tables")
    return tables


def _image(called: str, known: Images, table: Table) -> str:
    """The path of the image; "" if there is none. Raises UserError if there are several."""
    found = known.find(called, table.name)
    if len(found) > 1:
        raise UserError(f"data/raw.zip: {called!r} in {table.name} may be {found[0]!r} or {found[1]!r}; say which by "
                        "data.layout_options.path, as train/{id}.jpg, with the table's columns in braces")
    return found[0] if found else ""


def _sample(path: str, row: Row, table: Table, options: Options) -> Sample:
    target = _target(row, table, options)
    if options.split:
        source_split = cell(row, options.split, table.name)
        split = split_names.split_of(source_split)
        if source_split and not split:
            raise UserError(f"data/raw.zip: {table.name}: the split {source_split!r} of {path!r} is none that is known "
                            "(train, val, test or the like); correct it, or set data.layout_options.split to \"\"")
    else:
        split, source_split = _split_of(path, table)
    group = cell(row, options.group, table.name) if options.group else ""
    return Sample(path, split if target else "unlabelled", source_split, target, group)


def _target(row: Row, table: Table, options: Options) -> str:
    for column in [options.label] if isinstance(options.label, str) else options.label:
        cell(row, column, table.name)  # raises UserError where the column is missing
    return class_of(row, options.label)


def _split_of(path: str, table: Table) -> tuple[str, str]:
    """The split, and the source's name for it: of the image's folders, else of the table's name."""
    split, folder = split_names.split_of_path(path)
    stem = PurePosixPath(table.name).stem
    return (split, folder) if split else (split_names.split_of(stem), stem if split_names.split_of(stem) else "")


def _with_names(found: Mapping[str, Sample], names: Sequence[str], read: Read, options: Options) -> dict[str, Sample]:
    labels = {sample.target for sample in found.values() if sample.target}
    table = next(iter(read_tables([name for name in names if name == options.names], read)), None)
    called = label_names.names_of(table, labels) if table else None
    if not called:
        raise UserError(f"data/raw.zip: {options.names} is no table of two columns with a name for each class (first "
                        f"{min(labels, default='')!r}); correct data.layout_options.names, or set it to \"\"")
    return {path: sample._replace(target=called.get(sample.target, "")) for path, sample in found.items()}


def _check_splits(found: Mapping[str, Sample], options: Options) -> None:
    undivided = next((path for path, sample in found.items() if not sample.split), None)
    divided = next((path for path, sample in found.items() if sample.split not in ("", "unlabelled")), None)
    if undivided and divided:
        raise UserError(f"data/raw.zip: {divided!r} has a split and {undivided!r} has none; give all rows one "
                        f"(data.layout_options.split is {options.split!r}: the table's column), or leave the tables of "
                        "one kind out of data.layout_options.tables")
