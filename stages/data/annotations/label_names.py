"""Readable names of numbered classes, from a table of the archive: {"0": "Cassava Mosaic Disease"}, `0,cat`."""

from collections.abc import Callable, Collection, Sequence

from stages.data.annotations.tables import Table, read_tables

Read = Callable[[str], bytes]


def names_of(table: Table, labels: Collection[str]) -> dict[str, str] | None:
    """label → name, where one of the table's two columns has all `labels`, each once, and the other their names."""
    for key, name in (table.columns, table.columns[::-1]) if len(table.columns) == 2 else ():
        found = {row.get(key, ""): row.get(name, "") for row in table.rows}
        is_one_to_one = len(table.rows) == len(found) == len(set(found.values()))
        if is_one_to_one and found.keys() >= set(labels) and not any(value.isdigit() or not value
                                                                     for value in found.values()):
            return found
    return None


def find(names: Sequence[str], read: Read, labels: Collection[str]) -> str:
    """The one table that names these labels; "" where they aren't numbers, or there is none, or several."""
    if not labels or not all(label.isdigit() for label in labels):
        return ""
    found = [table.name for table in read_tables(names, read, lambda head: len(head.columns) == 2)
             if names_of(table, labels)]
    return found[0] if len(found) == 1 else ""
