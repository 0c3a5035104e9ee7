"""A page to try the student on: one HTML file that needs neither a server nor a network.

    make demo          or        python -m demo [--gallery N]

reads   models/{teacher,student.int8}.onnx, metrics/{quality,size,speed}.json, demo/; for the gallery data/raw.zip and
        data/prepared/index.csv; where classes are single characters data/prepared/train/images.npy
writes  demo/index.html; once, demo/node_modules/: the runtime, which npm checks against package-lock.json
"""

import argparse
import base64
import gzip
import hashlib
import io
import json
import shutil
import subprocess
import sys
from collections import defaultdict
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
from PIL import Image

from demo import strokes
from stages.core import errors, files, params
from stages.core.device import thread_count
from stages.core.errors import UserError
from stages.data import builtin, prepared, tiling
from stages.data.archive import Raw
from stages.data.decode import decode
from stages.deployment import onnx_model

PAGE = Path("demo/index.html")
HERE = Path(__file__).parent
RUNTIME = HERE / "node_modules/onnxruntime-web"
GALLERY = 12  # pictures of a built-in set that the page offers
TEACHER_MB = 20  # a larger teacher is left out, but for its answers to the gallery
MAX_PIXELS = 50_000_000  # of a picture that the page accepts
MAX_SIDE = 1280  # pixels of a gallery picture's longer side, unless it is cut into tiles
MAX_PNG = 300_000  # bytes: larger gallery pictures are stored as JPEG
TINY = 100  # pixels of the longer side, below which a picture is enlarged without blur
TOP = 5  # classes of a stored answer
SPACE = "\N{NO-BREAK SPACE}"


class ReportTitle(params.Section, extra="ignore"):
    """The page has the report's title."""

    title: str


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo", description=f"Write {PAGE}.")
    parser.add_argument("--gallery", type=_count, metavar="N", help="put N test pictures into the page, which anyone "
                        f"who gets it can see (default: {GALLERY} of a built-in set, none of yours)")
    options = parser.parse_args()
    metrics = {name: files.read_metrics(name) for name in ("quality", "size", "speed")}
    shipped = metrics["quality"]["test"]["shipped_role"]
    models = {"student": open_deployed("int8", shipped), "teacher": open_deployed("teacher", "teacher")}
    cards = {name: model.card for name, model in models.items()}
    if cards["student"].classes != cards["teacher"].classes:
        raise UserError("models/student.int8.onnx and models/teacher.onnx know different classes; run dvc repro")
    default = GALLERY if params.load_word("data.source") in builtin.SETS else 0
    count = default if options.gallery is None else options.gallery
    pictures = gallery(count, cards["student"]) if count else []
    content = {"student": onnx_model.DEPLOYED["int8"].read_bytes()}
    teacher = onnx_model.DEPLOYED["teacher"].read_bytes()
    if len(teacher) <= 1e6 * TEACHER_MB:
        content["teacher"], note = teacher, "runs in it too"
    else:
        note = f"is larger than {TEACHER_MB} MB: its answers to them are in it"
        for picture in pictures:
            picture["teacher"] = answer(models["teacher"], picture["content"])
    form = strokes.training_form(cards["student"].classes) if cards["student"].task == "classification" else None
    text = page(params.load("report", ReportTitle).title, cards, metrics, pictures, content, web_runtime(), form)
    with files.atomic_write(PAGE) as file:
        file.write(text)
    print(f"demo: {PAGE} ({len(text) / 1e6:.1f} MB, {len(pictures)} pictures, the teacher {note})", file=sys.stderr)


def open_deployed(name: str, role: str) -> onnx_model.Model:
    """Raises UserError where the file is missing or broken, or has another role or task."""
    path, task = onnx_model.DEPLOYED[name], params.load_word("data.task")
    model = onnx_model.open_model(path, thread_count())
    if model.card.role != role:
        raise UserError(f"{path} is a {model.card.role}, where a {role} belongs; delete it and run dvc repro")
    if model.card.task != task:
        raise UserError(f"{path} was made for {model.card.task}, and params.yaml says {task}; run dvc repro")
    return model


def gallery(count: int, card: onnx_model.Card) -> list[dict]:
    """`count` test pictures, evenly spaced in index.csv, from each class in turn."""
    groups = defaultdict(list)
    for row in files.read_csv(prepared.FOLDER / "index.csv"):
        if row["split"] == "test":
            groups[row["target"] if card.task == "classification" else ""].append(row)
    each = [_evenly(rows, -(-count // len(groups))) for _, rows in sorted(groups.items())]
    rows = [row for row in chain.from_iterable(zip_longest(*each)) if row][:count]
    with Raw() as raw:
        return [gallery_picture(raw.read(row["path"]), row, card) for row in rows]


def _evenly(rows: list, count: int) -> list:
    """`count` of the rows at even distances, or all of them."""
    return [rows[at] for at in sorted({(2 * at + 1) * len(rows) // (2 * count) for at in range(count)})]


def gallery_picture(content: bytes, row: dict[str, str], card: onnx_model.Card) -> dict:
    """Encoded anew, so that the file's metadata (a place, a camera's number) isn't published."""
    image = Image.fromarray(decode(content))
    if card.resize != "tiles" and max(image.size) > MAX_SIDE:
        image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BOX)
    kind, encoded = "png", _encoded(image, "PNG", optimize=True)
    if len(encoded) > MAX_PNG:
        kind, encoded = "jpeg", _encoded(image, "JPEG", quality=90)
    truth = row["target"] if card.task == "classification" else None  # the class's name; a mask's path
    return {"name": Path(row["path"]).name, "truth": truth, "kind": kind, "content": encoded,
            "tiny": max(image.size) < TINY}


def _encoded(image: Image.Image, form: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def answer(model: onnx_model.Model, content: bytes) -> dict:
    """A network's answer to a picture, as the page stores it. Of a classifier {top: [[class, probability], …]}, of a
    segmenter {height, width, labels: the class of each pixel, uint16, packed}.
    """
    from scipy.special import softmax

    image, sizing = decode(content), _sizing(model.card)
    logits = np.concatenate([model(tile[None]) for tile in tiling.cut_image(image, sizing)])
    if model.card.task == "classification":
        probabilities = softmax(logits[0])
        best = np.argsort(-probabilities, kind="stable")[:TOP]
        return {"top": [[int(label), round(float(probabilities[label]), 6)] for label in best]}
    labels = tiling.blend(np.array(tiling.places(*image.shape[:2], 0, sizing)), logits).argmax(0).astype("<u2")
    return {"height": labels.shape[0], "width": labels.shape[1], "labels": packed(labels.tobytes())}


def _sizing(card: onnx_model.Card) -> tiling.Sizing:
    return tiling.Sizing(*card.input_size, card.resize, card.scale, card.overlap)


def web_runtime() -> dict[str, bytes]:
    """onnxruntime-web's files: script, module, binary. npm fetches them if they are not there yet."""
    name = "node_modules/onnxruntime-web"
    locked = files.read_json(HERE / "package-lock.json")["packages"][name]
    try:
        installed = files.read_json(HERE / "node_modules/.package-lock.json")["packages"][name]
    except (UserError, KeyError):  # not there yet, or of another npm
        installed = None
    if installed != locked:
        fetch(f"onnxruntime-web {locked['version']}")
    names = {"script": "ort.wasm.min.js", "module": "ort-wasm-simd-threaded.mjs",
             "binary": "ort-wasm-simd-threaded.wasm"}
    return {key: (RUNTIME / "dist" / name).read_bytes() for key, name in names.items()}


def fetch(package: str) -> None:
    """`npm ci` installs exactly what the lock file names, and runs no script of it. Raises UserError if it fails."""
    npm = shutil.which("npm")
    if not npm:
        raise UserError(f"npm is missing, which fetches {package}; install Node.js 18 or newer (on Debian and Ubuntu: "
                        "apt-get install nodejs npm), then run make demo again")
    print(f"demo: fetching {package} from the npm registry, once", file=sys.stderr)
    done = subprocess.run([npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=HERE,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        lines = [line.removeprefix("npm error ") for line in done.stderr.splitlines() if line.startswith("npm error ")]
        raise UserError(f"npm could not fetch {package} ({'; '.join(lines[:2]) or f'status {done.returncode}'}); "
                        "look at the network, then run make demo again")


def page(title: str, cards: dict[str, onnx_model.Card], metrics: dict[str, dict], pictures: list[dict],
         models: dict[str, bytes], runtime: dict[str, bytes], form: dict | None) -> str:
    """The HTML file, with a drawing pad if there is a form of strokes. The same arguments give the same bytes."""
    import jinja2

    student = cards["student"]
    high, wide = student.input_size
    code = {path.name: path.read_text(encoding="utf-8") for path in [*HERE.glob("*.js"), HERE / "style.css"]}
    config = {"task": student.task, "classes": student.classes, "colours": student.colours, "maxPixels": MAX_PIXELS,
              "sizing": _sizing(student)._asdict(), "stored": [picture.get("teacher") for picture in pictures],
              "form": form}
    worker = runtime["script"] + b"\n" + (code["resize.js"] + code["strokes.js"] + code["worker.js"]).encode()
    parts = {"worker": worker, "module": runtime["module"], "binary": runtime["binary"], **models}
    script = code["app.js"] + code["pad.js"] + code["camera.js"]
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                                     autoescape=True, keep_trailing_newline=True,
                                     loader=jinja2.FileSystemLoader(HERE))
    environment.filters |= {"size": size, "count": count, "times": times, "ms": milliseconds}
    return environment.get_template("page.html").render(
        title=title, **cards, **metrics, high=high, wide=wide, has_teacher="teacher" in models, teacher_mb=TEACHER_MB,
        form=form,
        version=files.read_json(RUNTIME / "package.json")["version"],
        pictures=[picture | {"data": base64.b64encode(picture["content"]).decode()} for picture in pictures],
        style=code["style.css"], script=script, style_hash=csp_hash(code["style.css"]),
        script_hash=csp_hash(script), parts={name: packed(part) for name, part in parts.items()},
        # `<` would let a class name end the element that holds it
        config=json.dumps(config, ensure_ascii=False).replace("<", "\\u003c"))


def packed(content: bytes) -> str:
    """Gzip as base64, for the browser's DecompressionStream; without a time, so that bytes repeat."""
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def csp_hash(text: str) -> str:
    """As a content security policy names a script or style that is allowed."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def size(megabytes: float) -> str:
    if megabytes < 0.9995:
        return f"{1e3 * megabytes:.3g}{SPACE}kB"
    return f"{megabytes:.3g}{SPACE}MB" if megabytes < 99.95 else f"{megabytes:.0f}{SPACE}MB"


def count(millions: float) -> str:
    return f"{1e3 * millions:.3g}{SPACE}k" if millions < 0.9995 else f"{millions:.3g}{SPACE}M"


def times(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 9.95 else f"{ratio:.1f}"


def milliseconds(value: float) -> str:
    return f"{value:#.2g}{SPACE}ms" if value < 1 else f"{value:.{int(value < 100)}f}{SPACE}ms"


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of pictures")
    return int(text)


if __name__ == "__main__":
    errors.run(main)
