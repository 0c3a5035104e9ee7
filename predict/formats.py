"""From records to text, CSV, JSON and JSON lines: pieces of text that follow one another."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stages.core.cells import as_cell
from stages.core.errors import printable


@dataclass(frozen=True)
class Layout:
    """What the formats need to know besides the records."""

    classes: list[str]
    masks: bool
    compare: bool
    topk: int
    path_width: int  # of the paths' column


def as_text(records: Iterable[dict], layout: Layout) -> Iterator[str]:
    """A line a picture; of masks, the `topk` largest classes that occur."""
    width = min(24, max(len(printable(name)) for name in layout.classes))
    for record in records:
        path = printable(record["path"]).ljust(layout.path_width)
        if "error" in record:
            yield f"{path}  error: {printable(record['error'])}\n"
        elif layout.masks:
            shares = [(entry["class"], entry["share"]) for entry in record["shares"] if entry["share"]][:layout.topk]
            yield f"{path}  {_columns(shares, width)}  mask: {printable(record['mask'])}{_comparison(record)}\n"
        else:
            percents = [(entry["class"], 100 * entry["probability"]) for entry in record["top"]]
            yield f"{path}  {_columns(percents, width)}{_comparison(record)}\n"


def _columns(entries: list[tuple[str, float]], width: int) -> str:
    return "  ".join(f"{printable(name):<{width}} {percent:6.2f} %" for name, percent in entries)


def _comparison(record: dict) -> str:
    other = record.get("compare")
    if not other:
        return ""
    if "agreement" in other:
        return f"  {printable(other['model'])}: {other['agreement']:.2f} % of the pixels alike"
    first = other["top"][0]
    return f"  {'=' if other['same'] else '≠'} {printable(other['model'])}: " + _columns(
        [(first["class"], 100 * first["probability"])], 0)


def as_csv(records: Iterable[dict], layout: Layout) -> Iterator[str]:
    """A row a picture and rank, or a picture and error."""
    entries, value = ("shares", "share") if layout.masks else ("top", "probability")
    columns = ["path", "rank", "class", value, *["mask"] * layout.masks, "error",
               *["compare_class", f"compare_{value}"] * layout.compare]
    yield _csv_row(columns)
    for record in records:
        rows = [{"error": record["error"]}] if "error" in record else []
        others = record.get("compare", {}).get(entries, record.get(entries))
        for rank, (entry, other) in enumerate(zip(record.get(entries, []), others or []), 1):
            rows.append({"rank": rank, "class": entry["class"], value: f"{entry[value]:.6f}",
                         "mask": record.get("mask"),
                         "compare_class": other["class"], f"compare_{value}": f"{other[value]:.6f}"})
        for row in rows:
            yield _csv_row([(row | {"path": record["path"]}).get(column, "") for column in columns])


def _csv_row(values: list) -> str:
    """Texts that a spreadsheet would compute are marked as texts. Ends in a line feed. Were the writer told so, it
    wouldn't quote a carriage return in a name.
    """
    line = io.StringIO()
    csv.writer(line).writerow(map(as_cell, values))
    return line.getvalue().removesuffix("\r\n") + "\n"


def as_json(records: Iterable[dict], _: Layout) -> Iterator[str]:
    before = "[\n"
    for record in records:
        yield before + _dumped(record)
        before = ",\n"
    yield "\n]\n" if before == ",\n" else "[]\n"


def as_jsonl(records: Iterable[dict], _: Layout) -> Iterator[str]:
    for record in records:
        yield _dumped(record) + "\n"


def _dumped(record: dict) -> str:
    text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # a path that is no UTF-8: escaped, it still leads to the file
        text = json.dumps(record, allow_nan=False)
    return text


FORMATS = {"text": as_text, "json": as_json, "jsonl": as_jsonl, "csv": as_csv}
