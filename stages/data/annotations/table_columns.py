"""What the columns of a table are: the image, its class, its split. Where this isn't clear, nothing is guessed."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from stages.core.errors import UserError
from stages.data.annotations import split_names
from stages.data.annotations.tables import Images, Row, Table, read_tables
from stages.data.decode import has_image_suffix

# Usual names in lower case, the more telling ones first.
LABELS = ("label_name", "class_name", "category_name", "label", "labels", "class", "classes", "target", "category",
          "classid", "class_id", "label_id", "category_id", "diagnosis", "dx", "breed", "species", "y")
SPLITS = ("split", "set", "subset", "partition", "phase", "data_set", "dataset", "usage", "fold_name")
SAMPLED = 1000  # rows by which columns are judged
LEAST_NAMED = 0.5  # share of the rows that name an image of the archive
LEAST_KNOWN = 0.5  # share of the rows whose split is known, where the column is one: of the others `samples` complains
MOST_NUMBERS = 20  # that a column has which isn't called as labels are: more are ages, or amounts
LEAST_REPEATED = 2  # rows a class, on average


class Columns(NamedTuple):
    image: str
    label: str | tuple[str, ...]  # several: one of them holds a 1
    split: str  # "" without one


def columns_of(table: Table, images: Images) -> Columns | None:
    """None where no column names the images, or none is clearly their class."""
    rows = table.rows[::max(1, len(table.rows) // SAMPLED)]
    named = {column: {found[0] for row in rows if len(found := images.find(row.get(column, ""), table.name)) == 1}
             for column in table.columns}
    image = max(table.columns, key=lambda column: _likeness(column, rows, len(named[column])))
    if len(named[image]) < LEAST_NAMED * len({row.get(image, "") for row in rows}) or not named[image]:
        return None
    known = {column: sum(bool(split_names.split_of(row.get(column, ""))) for row in rows) for column in table.columns
             if column.lower() in SPLITS and column != image}
    split = next((column for column, count in known.items() if count >= LEAST_KNOWN * len(rows)), "")
    label = _label(rows, [column for column in table.columns if column not in (image, split)])
    return Columns(image, label, split) if label else None


def _likeness(column: str, rows: Sequence[Row], named: int) -> tuple[bool, int, bool]:
    """Orders columns by how likely each is the image's: `12.png` says it, 12 may be a row's number that some image
    happens to be called by. named: how many images its values name.
    """
    values = [row.get(column, "") for row in rows]
    is_count = all(value.isdecimal() for value in values) and values == sorted(set(values), key=int)
    return bool(named) and any(map(has_image_suffix, values)), named, not is_count


def labelling(names: Sequence[str], read: Callable[[str], bytes],
              images: Sequence[str]) -> tuple[list[Table], Columns] | None:
    """The tables that together say the class of most images, and their columns, which they have in common. None if
    there are none, or if several sets of tables say it of as many.
    """
    known, groups = Images(images), defaultdict(list)

    def names_images(head: Table) -> bool:
        return any(known.find(value, head.name) for row in head.rows for value in row.values())

    for table in read_tables(names, read, names_images):
        if found := columns_of(table, known):
            key = found, frozenset(table.columns)
            groups[key].append(table)
    if not groups:
        return None
    covered = {key: len({tuple(known.find(row.get(key[0].image, ""), table.name)) for table in tables
                         for row in table.rows}) for key, tables in groups.items()}
    best, *others = sorted(groups, key=covered.get, reverse=True)
    if others and covered[others[0]] == covered[best]:
        return None
    return groups[best], best[0]


def check_agreement(names: Sequence[str], read: Callable[[str], bytes], images: Sequence[str],
                    classes: Mapping[str, str]) -> None:
    """Raises UserError if a table of the archive names the images, and has other labels for them than `classes`.

    classes: path → class, of the labelled images. Finer or coarser labels are no others.
    """
    if not (found := labelling(names, read, images)):
        return
    tables, columns = found
    known = Images(images)
    for table in tables:
        pairs = {(class_of(row, columns.label), classes.get(path, ""))
                 for row in table.rows for path in known.find(row.get(columns.image, ""), table.name)[:1]}
        told, folders = ({pair[side] for pair in pairs} for side in (0, 1))
        is_one_to_many = len(pairs) == max(len(told), len(folders)) and min(len(told), len(folders)) > 1
        if "" not in folders and (is_one_to_many or len(told) == 1):
            continue
        label = columns.label if isinstance(columns.label, str) else f"{columns.label[0]}, {columns.label[1]}, …"
        raise UserError(f"data/raw.zip: {table.name} names the images (column {columns.image!r}) and their classes "
                        f"({label!r}), and the folders say otherwise; set data.layout to image_table, or, if the "
                        "folders are right, data.layout_options to {tables: ignore}")


def class_of(row: Row, label: str | Sequence[str]) -> str:
    """The row's class; "" if it has none. Raises UserError where it has several."""
    if isinstance(label, str):
        return row.get(label, "")
    marked = [column for column in label if _is_one(row.get(column, ""))]
    if len(marked) > 1:
        raise UserError(f"data/raw.zip: a row of the table is of several classes ({', '.join(marked[:3])}), and "
                        "classification takes one an image; remove all but one of them")
    return marked[0] if marked else ""


def check_one_label(labels: Iterable[str]) -> None:
    """Raises UserError where labels are lists of labels: a|b beside b|c, or `a b` beside a and b."""
    labels = set(labels)
    for separator in ("|", ";", ",", " "):
        several = {label: {part.strip("[]\"' ") for part in label.split(separator)} for label in labels
                   if separator in label}
        parts = Counter(part for label in several.values() for part in label)
        for label, own in several.items():
            if own <= labels or (separator != " " and any(part in labels or parts[part] > 1 for part in own)):
                raise UserError(f"data/raw.zip: the label {label!r} names several classes of one image, and "
                                "classification takes one; choose another column by data.layout_options.label, or "
                                "remove these rows")


def _label(rows: Sequence[Row], columns: Sequence[str]) -> str | tuple[str, ...]:
    """"" where it isn't clear."""
    values = {column: {row.get(column, "") for row in rows} - {""} for column in columns}
    usual = [column for name in LABELS for column in columns if column.lower().replace(" ", "_") == name]
    # VOC's lists say of each image whether it shows one kind of thing: 1, -1 or, where that is hard to see, 0.
    columns = [column for column in columns if not "-1" in values[column] <= {"-1", "0", "1"}]
    usual = [column for column in usual if column in columns]
    numbers = {column for column in columns if values[column] and all(map(_is_number, values[column]))}
    measured = {column for column in numbers if not all(map(_is_whole, values[column]))}
    for column in usual:
        if len(values[column]) > 1 and column not in measured:
            return column
    marks = tuple(column for column in columns if values[column] and all(map(_is_mark, values[column])))
    if len(marks) > 1 and all(sum(_is_one(row.get(column, "")) for column in marks) == 1 for row in rows):
        return marks
    several = marks if len(marks) > 1 else ()  # classes as columns, and not one a row
    repeated = [column for column in columns
                if column not in several and 1 < len(values[column]) <= len(rows) / LEAST_REPEATED
                and not (column in numbers and (column in measured or len(values[column]) > MOST_NUMBERS))]
    return repeated[0] if len(repeated) == 1 else ""


def _is_number(value: str) -> bool:
    return bool(re.fullmatch(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?", value, re.IGNORECASE))


def _is_whole(value: str) -> bool:
    return float(value).is_integer()


def _is_mark(value: str) -> bool:
    return value in ("0", "1", "0.0", "1.0")


def _is_one(value: str) -> bool:
    return value in ("1", "1.0")
