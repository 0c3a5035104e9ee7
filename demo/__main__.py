"""The page to try the student on, `python -m demo`. In: the deployed files, what was measured. Out: one HTML
file that needs nothing beside itself, neither server nor network.

reads   models/{teacher,student.int8}.onnx, metrics/{quality,size,speed}.json, demo/,
        for the gallery data/raw.zip, data/prepared/{index.csv,classes.txt}
writes  demo/index.html, and once demo/node_modules/: the runtime, held by npm against the lock's hashes
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
import zipfile
from collections import defaultdict
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
from PIL import Image

from stages.core import errors, files, params
from stages.core.device import thread_count
from stages.core.errors import UserError
from stages.data import builtin, prepared, tiling
from stages.data.decode import decode
from stages.deployment import onnx_model


class Titled(params.Section, extra="ignore"):
    """What of section `report` the page bears."""

    title: str


PAGE, METRICS, RAW = Path("demo/index.html"), Path("metrics"), Path("data/raw.zip")
HERE = Path(__file__).parent
RUNTIME = HERE / "node_modules/onnxruntime-web"
GALLERY = 12  # pictures of an embedded set that the page offers
TEACHER_MB = 20  # a larger teacher doesn't come along, only its answers to the gallery
LARGEST = 50_000_000  # pixels of a picture that the page works on
LONGEST = 1280  # pixels of a gallery picture's longer side, unless it is to be cut into tiles
LOSSLESS = 300_000  # bytes: up to there a gallery picture is stored as PNG, else as JPEG
TINY = 100  # pixels of a picture's longer side, below which it is enlarged without blur
KEPT = 5  # classes of a stored answer
SPACE = "\N{NO-BREAK SPACE}"
MODELS = ("teacher", "baseline", "student", "int8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo", description=f"Write {PAGE}.")
    parser.add_argument("--gallery", type=_count, metavar="N", help="put N test pictures into the page, for whoever "
                        f"may come to see it (of an embedded set {GALLERY} are in it anyway, of yours none)")
    asked = parser.parse_args().gallery
    measured = {name: read(files.read_json, METRICS / f"{name}.json") for name in ("quality", "size", "speed")}
    models = {"student": opened("int8", "student"), "teacher": opened("teacher", "teacher")}
    if models["student"].card.classes != models["teacher"].card.classes:
        raise UserError("models/student.int8.onnx and models/teacher.onnx know different classes; run dvc repro")
    is_embedded = params.load_word("data.source") in builtin.SETS
    shown = pictures(GALLERY if asked is None and is_embedded else asked or 0, models["student"].card)
    teacher = onnx_model.DEPLOYED["teacher"].read_bytes()
    inside = len(teacher) <= 1e6 * TEACHER_MB
    if not inside:
        for item in shown:
            item["teacher"] = answer(models["teacher"], item["content"])
    content = {"student": onnx_model.DEPLOYED["int8"].read_bytes()} | ({"teacher": teacher} if inside else {})
    text = page(params.load("report", Titled).title, models["student"].card, models["teacher"].card, measured, shown,
                content, web_runtime())
    with files.atomic_write(PAGE) as file:
        file.write(text)
    print(f"demo: {PAGE} ({len(text) / 1e6:.1f} MB, {len(shown)} pictures, the teacher "
          + ("runs in it too)" if inside else f"is larger than {TEACHER_MB} MB: its answers to them are in it)"),
          file=sys.stderr)


def opened(name: str, role: str) -> onnx_model.Model:
    """A deployed file. Raises UserError where it is missing, broken, or another's."""
    path = onnx_model.DEPLOYED[name]
    model = onnx_model.open_model(path, thread_count())
    if model.card.role != role:
        raise UserError(f"{path} is a {model.card.role}, where a {role} belongs; delete it and run dvc repro")
    if model.card.task != params.load_word("data.task"):
        raise UserError(f"{path} was made for {model.card.task}, and params.yaml says {params.load_word('data.task')}; "
                    "run dvc repro")
    return model


def pictures(count: int, card: onnx_model.Card) -> list[dict]:
    """So many pictures of the test split, none chosen by hand: at even distances, from each class in turn."""
    if not count:
        return []
    groups = defaultdict(list)
    for row in read(files.read_csv, prepared.FOLDER / "index.csv"):
        if row["split"] == "test":
            groups[row["target"] if card.task == "classification" else ""].append(row)
    each = [[rows[at] for at in _even(len(rows), -(-count // len(groups)))] for _, rows in sorted(groups.items())]
    chosen = [row for row in chain.from_iterable(zip_longest(*each)) if row][:count]
    with read(zipfile.ZipFile, RAW) as raw:
        return [picture(raw.read(row["path"]), row, card) for row in chosen]


def picture(content: bytes, row: dict[str, str], card: onnx_model.Card) -> dict:
    """A gallery picture: {name, truth, kind, content}, encoded anew, for what stands in a file beside the picture (a
    place, a camera's number) is nobody's business."""
    drawn = Image.fromarray(decode(content))
    if card.resize != "tiles" and max(drawn.size) > LONGEST:
        drawn.thumbnail((LONGEST, LONGEST), Image.Resampling.BOX)
    kind, encoded = "png", _encoded(drawn, "PNG", optimize=True)
    if len(encoded) > LOSSLESS:
        kind, encoded = "jpeg", _encoded(drawn, "JPEG", quality=90)
    truth = card.classes[int(row["target"])] if card.task == "classification" else None
    return {"name": Path(row["path"]).name, "truth": truth, "kind": kind, "content": encoded,
            "tiny": max(drawn.size) < TINY}


def answer(model: onnx_model.Model, content: bytes) -> dict:
    """What a network says about a picture, as the page stores it: {top: [[class, probability], …]} of a classifier,
    {height, width, found: the class of each pixel} of a segmenter."""
    card, image = model.card, decode(content)
    sizing = tiling.Sizing(card.image_size, card.resize, card.scale, card.overlap)
    logits = np.concatenate([model(square[None]) for square in tiling.cut_image(image, sizing)])
    if card.task == "classification":
        powers = np.exp(logits[0] - logits[0].max())
        best = np.argsort(-powers, kind="stable")[:KEPT]
        return {"top": [[int(label), round(float(powers[label] / powers.sum()), 6)] for label in best]}
    rows = np.array(tiling.places(*image.shape[:2], 0, sizing))
    found = tiling.blend(rows, logits).argmax(0).astype("<u2")
    return {"height": found.shape[0], "width": found.shape[1], "found": packed(found.tobytes())}


def web_runtime() -> dict[str, bytes]:
    """onnxruntime-web's files, by what they are to the page. Fetched once, when they are not there."""
    lock = files.read_json(HERE / "package-lock.json")["packages"]["node_modules/onnxruntime-web"]
    try:
        there = files.read_json(HERE / "node_modules/.package-lock.json")["packages"]["node_modules/onnxruntime-web"]
    except (OSError, ValueError, KeyError):
        there = None
    if there != lock:
        fetch(f"onnxruntime-web {lock['version']}")
    names = {"script": "ort.wasm.min.js", "module": "ort-wasm-simd-threaded.mjs",
             "binary": "ort-wasm-simd-threaded.wasm"}
    return {key: (RUNTIME / "dist" / name).read_bytes() for key, name in names.items()}


def fetch(what: str) -> None:
    """npm's `ci`: exactly what the lock file names, and nothing of it is run. Raises UserError where that fails."""
    npm = shutil.which("npm")
    if not npm:
        raise UserError(f"npm is missing, which fetches {what}; install Node.js 18 or newer (on Debian and Ubuntu: "
                    "apt-get install nodejs npm), then run make demo again")
    print(f"demo: fetching {what} from the npm registry, once", file=sys.stderr)
    done = subprocess.run([npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=HERE,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        said = [line.removeprefix("npm error ") for line in done.stderr.splitlines() if line.startswith("npm error ")]
        raise UserError(f"npm could not fetch {what} ({'; '.join(said[:2]) or f'status {done.returncode}'}); "
                    "look at the network, then run make demo again")


def page(title: str, student: onnx_model.Card, teacher: onnx_model.Card, measured: dict[str, dict], shown: list[dict],
         models: dict[str, bytes], web: dict[str, bytes]) -> str:
    """The HTML file. The same arguments give the same bytes."""
    import jinja2

    code = {path.name: path.read_text(encoding="utf-8") for path in [*HERE.glob("*.js"), HERE / "style.css"]}
    facts = {
        "task": student.task, "classes": student.classes, "colours": student.colours, "largest": LARGEST,
        "sizing": {"size": student.image_size, "resize": student.resize, "scale": student.scale,
                   "overlap": student.overlap},
        "stored": [item.get("teacher") for item in shown],
    }
    worker = web["script"] + b"\n" + (code["resize.js"] + code["worker.js"]).encode()
    parts = {"worker": worker, "module": web["module"], "binary": web["binary"], **models}
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                                     autoescape=True, keep_trailing_newline=True,
                                     loader=jinja2.FileSystemLoader(HERE))
    environment.filters |= {"size": size, "count": count, "times": times, "ms": milliseconds}
    return environment.get_template("page.html").render(
        title=title, student=student, teacher=teacher, names=MODELS, **measured, inside="teacher" in models,
        teacher_mb=TEACHER_MB, version=files.read_json(RUNTIME / "package.json")["version"],
        shown=[item | {"data": base64.b64encode(item["content"]).decode()} for item in shown],
        style=code["style.css"], script=code["app.js"], style_hash=digest(code["style.css"]),
        script_hash=digest(code["app.js"]), parts={name: packed(part) for name, part in parts.items()},
        # `<` would let a class name end the element that holds it
        facts=json.dumps(facts, ensure_ascii=False).replace("<", "\\u003c"))


def packed(content: bytes) -> str:
    """Compressed, as text: the browser's DecompressionStream opens it. No time is in it."""
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def digest(text: str) -> str:
    """As a content security policy names a script that may run."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def size(megabytes: float) -> str:
    if megabytes < 0.9995:
        return f"{1e3 * megabytes:.3g}{SPACE}kB"
    return f"{megabytes:.3g}{SPACE}MB" if megabytes < 99.95 else f"{megabytes:.0f}{SPACE}MB"


def count(millions: float) -> str:
    return f"{1e3 * millions:.3g}{SPACE}k" if millions < 0.9995 else f"{millions:.3g}{SPACE}M"


def times(ratio: float) -> str:
    """12, or 1.3 where the whole number would say too little."""
    return f"{ratio:.0f}" if ratio >= 9.95 else f"{ratio:.1f}"


def milliseconds(value: float) -> str:
    if value < 1:
        return f"{value:#.2g}{SPACE}ms"
    return f"{value:.1f}{SPACE}ms" if value < 100 else f"{value:.0f}{SPACE}ms"


def read(how, path: Path):
    """`how(path)`. Raises UserError where the file is missing or broken: every one of them is made by a stage."""
    try:
        return how(path)
    except (OSError, ValueError, zipfile.BadZipFile):
        raise UserError(f"{path} is missing or broken; run dvc repro to make it") from None


def _even(length: int, count: int) -> list[int]:
    """`count` numbers below `length` at even distances, or all of them, none twice."""
    return sorted({(2 * at + 1) * length // (2 * count) for at in range(count)})


def _encoded(drawn: Image.Image, form: str, **options) -> bytes:
    file = io.BytesIO()
    drawn.save(file, form, **options)
    return file.getvalue()


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of pictures")
    return int(text)


if __name__ == "__main__":
    errors.run(main)
