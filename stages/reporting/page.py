"""The page from its templates. In: metrics, settings, tables by name. Out: Markdown, and HTML with embedded pictures.

page.md.j2 is the text; front matter makes it a model card. page.html.j2 is the frame around the same text, rendered.
"""

import base64
import contextlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import jinja2
from markdown_it import MarkdownIt
from markdown_it.token import Token
from PIL import Image

from stages.core.errors import UserError, one_line
from stages.data.image_size import pixels_text
from stages.evaluation import hints
from stages.evaluation.confusion import NAMED
from stages.evaluation.figures import MAX_BARS
from stages.reporting import abstract, card, class_results, numbers, outlook, preparation, results, training

TEXT, FRAME = "page.md.j2", "page.html.j2"
TEMPLATES = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), undefined=jinja2.StrictUndefined,
                               trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
                               autoescape=lambda name: name == FRAME)
TEMPLATES.globals |= {"card": card, "class_results": class_results, "preparation": preparation, "results": results,
                      "training": training, "NAMED": NAMED, "MAX_BARS": MAX_BARS,
                      **{name: getattr(numbers, name) for name in ("LEVEL", "counted", "escaped", "plain", "spread")}}
BROAD = 700  # pixels of width above which a phone shows a picture in a box that scrolls
LARGEST_WEBP = 16_383  # pixels of a side that the format allows
HEAVY = 300_000  # bytes of a PNG that is embedded as it is: only photographs have more, and take a sixth as WebP


class ClassScore(NamedTuple):
    """How well a class does: its column of plots/test/classes.csv, its label, what is counted, its mean."""

    key: str
    label: str
    unit: str
    overall: str


CLASS_SCORES = {"f1": ClassScore("f1", "F1", "image", "f1"), "iou": ClassScore("iou", "IoU", "pixel", "miou")}


def markdown(context: Mapping[str, object]) -> str:
    """The text, without front matter. context: what stages/report.py gathers.

    Raises UserError where something is missing.
    """
    with complete():
        text = TEMPLATES.get_template(TEXT).render(context | derived(context))
    return re.sub(r"\n{3,}", "\n\n", text)


@contextlib.contextmanager
def complete() -> Iterator[None]:
    """Raises UserError where a key is missing, which means that other code than this measured it."""
    try:
        yield
    except (jinja2.UndefinedError, KeyError) as error:
        raise UserError(f"the page lacks {one_line(error)}; run dvc repro to measure it") from None


def derived(context: Mapping) -> dict[str, object]:
    """What the template needs besides `context`."""
    quality, settings, index = context["quality"], context["settings"], context["index"]
    class_score = CLASS_SCORES["iou" if "iou" in quality["int8"] else "f1"]
    tiles = [int(row["windows"]) for row in index if row["split"] == "test"]
    tables = {name: context[name] for name in ("quality", "quantisation", "size", "speed", "data")}
    return {
        "abstract": summary(context), "outlook": next_steps(context, class_score), "class_score": class_score,
        "iou_classes": list(quality["teacher"].get("iou", ())),  # of the teacher, whose scores have no deviations
        "splits": preparation.table(index), "tiled": any(int(row["windows"]) > 1 for row in index),
        "names": [numbers.display_name(model) for model in context["models"]],
        "tiles": sum(tiles) / len(tiles), "inputs": pixels_text(settings["split"]["image_size"]),
        "hashes": [*context["hashes"].items(), ("params.yaml, canonical", card.settings_sha256(settings))],
        "sources": list(card.sources(tables | {"timing/distill": context["timing"]["distill"]},
                                     quality["test"]["primary"])),
    }


def summary(context: Mapping) -> str:
    """The abstract."""
    settings, quality, size = context["settings"], context["quality"], context["size"]
    sentences = (abstract.aim(size, settings["data"]["name"], settings["data"]["task"], len(context["classes"])),
                 abstract.cleaning(context["data"]), abstract.scores(quality), abstract.gain(quality),
                 abstract.small(quality, size, context["speed"], context["quantisation"]["form"]),
                 abstract.budget(context["budget"]))
    return " ".join(filter(None, sentences))


def next_steps(context: Mapping, class_score: ClassScore) -> list[str]:
    """What the numbers suggest, the most urgent first."""
    quality = context["quality"]
    key, label, unit, overall = class_score
    started = hints.started({role: context["settings"][role]["weights"] for role in ("teacher", "student")})
    sentences = (outlook.better_teacher(quality, started), outlook.more_images(quality),
                 outlook.other_distillation(quality, context["rankings"], context["curves"]["student"], started),
                 outlook.more_seeds(quality), outlook.within_budget(context["budget"]),
                 outlook.other_quantisation(quality, context["quantisation"]),
                 outlook.weak_class(context["each_class"], context["confused"] or [], key, label, unit,
                                    quality["int8"][overall]),
                 outlook.calibration(quality), outlook.doubtful_labels(context["data"], context["settings"]))
    return [*filter(None, sentences)]


def html(text: str, title: str, folder: Path) -> str:
    """The text (without front matter) as one file that loads no other. folder: what picture links are relative to."""
    rules = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = rules.parse(text)
    headings = _add_anchors(tokens)
    _embed_pictures(tokens, folder)
    _keep_units_with_numbers(tokens)
    rules.add_render_rule("table_open", lambda *_: '<div class="wide" tabindex="0"><table>\n')
    rules.add_render_rule("table_close", lambda *_: "</table></div>\n")
    body = rules.renderer.render(tokens, rules.options, {})
    return TEMPLATES.get_template(FRAME).render(title=title, headings=headings, body=body)


def _add_anchors(tokens: Sequence[Token]) -> list[tuple[str, str, str]]:
    """Gives every heading of levels 2 and 3 an anchor; (tag, anchor, text) of each, for the table of contents."""
    headings = []
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open" and opening.tag in ("h2", "h3"):
            words = "".join(part.content for part in inline.children if part.type in ("text", "code_inline"))
            anchor = re.sub(r"\W+", "-", words.lower()).strip("-")
            opening.attrSet("id", anchor)
            headings.append((opening.tag, anchor, words))
    return headings


def _embed_pictures(tokens: Sequence[Token], folder: Path) -> None:
    """Puts every PNG into its tag, a heavy one as WebP. Any other picture becomes its alternative text: the page loads
    nothing.
    """
    for part in _children(tokens, "image"):
        file = folder / str(part.attrGet("src"))
        if file.suffix != ".png" or not file.is_file():
            part.type = "text"
            continue
        content = file.read_bytes()
        width, height = (int.from_bytes(content[start:start + 4]) for start in (16, 20))  # of the PNG's first chunk
        is_photographs = len(content) > HEAVY and max(width, height) <= LARGEST_WEBP
        kind, content = ("webp", _as_webp(content)) if is_photographs else ("png", content)
        part.attrs |= {"src": f"data:image/{kind};base64,{base64.b64encode(content).decode()}", "width": width,
                       "height": height, "class": "broad" if width > BROAD else "slim"}


def _as_webp(content: bytes) -> bytes:
    out = io.BytesIO()
    with Image.open(io.BytesIO(content)) as image:
        image.convert("RGB").save(out, "WEBP", quality=85)
    return out.getvalue()


def _keep_units_with_numbers(tokens: Sequence[Token]) -> None:
    """Keeps a number and its unit on one line; in a table's cell, a deviation may go below its mean."""
    cells = {id(part) for opening, inline in pairwise(tokens) if opening.type == "td_open" for part in inline.children}
    for part in _children(tokens, "text"):
        units = r"%|ms|MB|points?" + ("" if id(part) in cells else "|±")
        part.content = re.sub(rf"(?<=\d) (?=(?:{units})(?!\w))|(?<=±) (?=\d)", "\u00a0", part.content)


def _children(tokens: Sequence[Token], kind: str) -> Iterator[Token]:
    for inline in tokens:
        yield from (part for part in inline.children or () if part.type == kind)
