"""The page from its templates. In: what was measured, by name. Out: Markdown, and HTML that holds all its pictures.

page.md.j2 is the text; front matter makes it a model card. page.html.j2 is the frame around the same text, rendered.
"""

import base64
import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import jinja2
from markdown_it import MarkdownIt
from markdown_it.token import Token

from stages.core.errors import UserError, one_line
from stages.reporting import abstract, card, numbers, outlook, preparation, results, training

HERE = Path(__file__).parent
TEXT, FRAME = "page.md.j2", "page.html.j2"
BROAD = 700  # pixels of width from which on a phone shows a picture in a box that scrolls


class Each(NamedTuple):
    """How well a class does: its column of plots/test/classes.csv, words for it, what is counted, the classes' mean."""

    key: str
    label: str
    unit: str
    overall: str


EACH = {"f1": Each("f1", "F1", "image", "f1"), "iou": Each("iou", "IoU", "pixel", "miou")}


class Heading(NamedTuple):
    """An entry of the table of contents."""

    level: int
    anchor: str
    text: str


def markdown(found: Mapping[str, object]) -> str:
    """The text, without front matter. found: what stages/report.py gathers.

    Raises UserError where something is missing.
    """
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                                     keep_trailing_newline=True)
    environment.globals |= {"card": card, "preparation": preparation, "results": results, "training": training}
    environment.globals |= {name: getattr(numbers, name) for name in ("counted", "escaped", "plain", "spread")}
    template = environment.from_string((HERE / TEXT).read_text(encoding="utf-8"))
    with complete():
        text = template.render(found | derived(found))
    return re.sub(r"\n{3,}", "\n\n", text)


@contextlib.contextmanager
def complete() -> Iterator[None]:
    """Raises UserError where something is missing, which then was measured by other code than this."""
    try:
        yield
    except (jinja2.UndefinedError, KeyError) as error:
        raise UserError(f"the page lacks {one_line(error)}; run dvc repro to measure it") from None


def derived(found: Mapping) -> dict[str, object]:
    """What the template says beside it."""
    quality, settings, index = found["quality"], found["settings"], found["index"]
    each = EACH["iou" if "iou" in quality["int8"] else "f1"]
    tested = [int(row["windows"]) for row in index if row["split"] == "test"]
    measured = {name: found[name] for name in ("quality", "quantisation", "size", "speed", "data")}
    return {
        "abstract": summary(found), "outlook": next_steps(found, each), "each": each,
        "each_iou": list(quality["teacher"].get("iou", ())),  # classes; the teacher has no deviations among them
        "splits": preparation.table(index), "tiled": any(int(row["windows"]) > 1 for row in index),
        "names": [numbers.called(model) for model in found["models"]],
        "squares": sum(tested) / len(tested), "side": settings["split"]["image_size"],
        "hashes": [*found["hashes"].items(), ("params.yaml, canonical", card.settings_sha256(settings))],
        "sources": list(card.sources(measured | {"timing/distill": found["timing"]["distill"]},
                                     quality["test"]["primary"])),
    }


def summary(found: Mapping) -> str:
    """The abstract."""
    settings, quality, size = found["settings"], found["quality"], found["size"]
    said = (abstract.aim(size, settings["data"]["name"], settings["data"]["task"], len(found["classes"])),
            abstract.cleaning(found["data"]), abstract.scores(quality), abstract.gain(quality),
            abstract.small(quality, size, found["speed"], found["quantisation"]["form"]),
            abstract.budget(found["budget"]))
    return " ".join(filter(None, said))


def next_steps(found: Mapping, each: Each) -> list[str]:
    """What the numbers ask for, the most urgent first."""
    quality, data = found["quality"], found["data"]
    said = (outlook.better_teacher(quality), outlook.gentler_teaching(quality), outlook.more_images(quality),
            outlook.more_seeds(quality), outlook.within_budget(found["budget"]),
            outlook.smaller_loss(quality, found["quantisation"]),
            outlook.weak_class(found["each_class"], found["confused"] or [], each.key, each.label, each.unit,
                               quality["int8"][each.overall]),
            outlook.calibration(quality), outlook.doubtful_labels(data))
    return [sentence for sentence in said if sentence]


def html(text: str, title: str, folder: Path) -> str:
    """The text (without front matter) as one file that asks for no other. folder: where its pictures' links start."""
    rules = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = rules.parse(text)
    headings = _anchored(tokens)
    _pictured(tokens, folder)
    _unbroken(tokens)
    rules.add_render_rule("table_open", lambda *_: '<div class="wide" tabindex="0"><table>\n')
    rules.add_render_rule("table_close", lambda *_: "</table></div>\n")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=True, trim_blocks=True,
                                     lstrip_blocks=True)
    frame = environment.from_string((HERE / FRAME).read_text(encoding="utf-8"))
    body = rules.renderer.render(tokens, rules.options, {})
    return frame.render(title=title, headings=headings, body=body)


def _anchored(tokens: Sequence[Token]) -> list[Heading]:
    """Gives every heading below the first level an anchor."""
    found = []
    for opened, inline in pairwise(tokens):
        if opened.type == "heading_open" and opened.tag in ("h2", "h3"):
            words = "".join(part.content for part in inline.children if part.type in ("text", "code_inline"))
            anchor = re.sub(r"\W+", "-", words.lower()).strip("-")
            opened.attrSet("id", anchor)
            found.append(Heading(int(opened.tag[1]), anchor, words))
    return found


def _pictured(tokens: Sequence[Token], folder: Path) -> None:
    """Puts every picture into its own tag. What is no PNG file is left as its words, so that nothing is asked for."""
    for part in _inner(tokens, "image"):
        file = folder / str(part.attrGet("src"))
        if file.suffix != ".png" or not file.is_file():
            part.type = "text"
            continue
        content = file.read_bytes()
        width, height = (int.from_bytes(content[start:start + 4]) for start in (16, 20))  # of the PNG's first chunk
        part.attrs |= {"src": f"data:image/png;base64,{base64.b64encode(content).decode()}", "width": width,
                       "height": height, "class": "broad" if width > BROAD else "slim"}


def _unbroken(tokens: Sequence[Token]) -> None:
    """Keeps a number and its unit on one line; in a cell a deviation may go below its mean."""
    cells = {id(part) for opened, inline in pairwise(tokens) if opened.type == "td_open" for part in inline.children}
    for part in _inner(tokens, "text"):
        units = r"%|ms|MB|points?" + ("" if id(part) in cells else "|±")
        part.content = re.sub(rf"(?<=\d) (?=(?:{units})(?!\w))|(?<=±) (?=\d)", "\u00a0", part.content)


def _inner(tokens: Sequence[Token], kind: str) -> Iterator[Token]:
    for inline in tokens:
        yield from (part for part in inline.children or () if part.type == kind)
