"""The page to try the student on: its arithmetic, its bytes, and, in a real browser, what it shows."""

import base64
import fcntl
import gzip
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import replace
from functools import cache
from html import unescape
from pathlib import Path

import finished
import numpy as np
import onnx
import pytest
from conftest import ROOT, Project
from known_digits import digits, nearest_network
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, PngImagePlugin
from sources import saved

from benchmarks.drawn_digits import DIGITS, picture
from demo import __main__ as demo
from stages.core import files
from stages.data import tiling
from stages.data.decode import decode
from stages.data.tiling import Sizing
from stages.deployment import onnx_model, quantize
from stages.evaluation.palette import palette

HERE, DEMO = Path(__file__).parent, ROOT / "demo"
PROGRAMS = {"chromium": ("chromium", "chromium-browser", "google-chrome"), "firefox": ("firefox", "firefox-esr")}
BROWSERS = {name: next(filter(None, map(shutil.which, programs)), None) for name, programs in PROGRAMS.items()}
NODE = pytest.mark.skipif(not shutil.which("node"), reason="Node.js is not installed")


def needs(browser: str) -> pytest.MarkDecorator:
    missing = not (BROWSERS[browser] and shutil.which("npm"))
    return pytest.mark.skipif(missing, reason=f"{browser.capitalize()} or npm is not installed")


def in_browser(test):
    return pytest.mark.slow(needs("chromium")(test))


def in_both(test):
    """The test's argument `browser` is each of them."""
    each = [pytest.param(browser, marks=needs(browser)) for browser in BROWSERS]
    return pytest.mark.slow(pytest.mark.parametrize("browser", each)(test))


# (height, width), how they are brought to squares
SIZED = [((32, 32), Sizing(32, 32, "squash", 1.0, 0)), ((37, 211), Sizing(32, 32, "squash", 1.0, 0)),
         ((32, 90), Sizing(32, 32, "squash", 1.0, 0)), ((1, 1), Sizing(16, 16, "squash", 1.0, 0)),
         ((7, 5), Sizing(64, 64, "squash", 1.0, 0)), ((700, 1900), Sizing(150, 150, "squash", 1.0, 0)),
         ((64, 91), Sizing(48, 48, "crop", 1.0, 0)), ((401, 300), Sizing(224, 224, "crop", 1.0, 0)),
         ((20, 21), Sizing(33, 33, "crop", 1.0, 0)),
         ((130, 257), Sizing(64, 64, "tiles", 1.0, 0)), ((301, 202), Sizing(64, 64, "tiles", 0.5, 16)),
         ((333, 97), Sizing(32, 32, "tiles", 0.37, 31)), ((9, 200), Sizing(32, 32, "tiles", 0.5, 8)),
         ((1, 70), Sizing(32, 32, "tiles", 1.0, 5)), ((131, 133), Sizing(32, 32, "tiles", 1.0, 7)),
         ((90, 31), Sizing(32, 32, "squash", 1.0, 0)), ((3000, 40), Sizing(16, 16, "squash", 1.0, 0)),
         ((2900, 750), Sizing(64, 64, "squash", 1.0, 0)), ((1100, 1000), Sizing(32, 32, "crop", 1.0, 0)),
         ((360, 640), Sizing(24, 40, "squash", 1.0, 0)), ((480, 641), Sizing(24, 40, "crop", 1.0, 0)),
         ((900, 333), Sizing(40, 24, "crop", 1.0, 0)), ((131, 133), Sizing(24, 40, "tiles", 1.0, 7)),
         ((96, 64), Sizing(32, 32, "squash", 1.0, 0)), ((97, 64), Sizing(32, 32, "squash", 1.0, 0))]


@NODE
def test_squares_and_whole_answers_are_those_of_python(tmp_path):
    chance, cases, expected = np.random.default_rng(5), [], {}
    for number, ((height, width), sizing) in enumerate(SIZED):
        name, classes = f"case-{number}", 2 + number % 3
        image = chance.integers(0, 256, (height, width, 3), dtype=np.uint8)
        opaque = np.full((height, width, 1), 255, np.uint8)
        np.concatenate([image, opaque], 2).tofile(tmp_path / f"{name}.rgba")
        rows = np.array(tiling.places(height, width, 0, sizing))
        logits = chance.normal(0, 3, (len(rows), classes, sizing.height, sizing.width)).astype(np.float32)
        logits.tofile(tmp_path / f"{name}.logits")
        expected[name] = tiling.cut_image(image, sizing), tiling.blend(rows, logits).argmax(0)
        cases.append({"name": name, "height": height, "width": width, "classes": classes, "sizing": sizing._asdict()})
    (tmp_path / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    subprocess.run(["node", HERE / "demo_squares.mjs", DEMO / "resize.js", tmp_path], check=True)
    for name, (squares, found) in expected.items():
        assert np.array_equal(np.fromfile(tmp_path / f"{name}.squares", np.uint8), squares.ravel()), name
        assert np.array_equal(np.fromfile(tmp_path / f"{name}.found", np.uint16), found.ravel()), name


def installed(folder: Path) -> bool:
    """Does its node_modules/ hold all that the lock file beside it names, of these versions? npm notes that last."""
    try:
        found, wanted = (json.loads((folder / name).read_text(encoding="utf-8"))["packages"]
                         for name in ("node_modules/.package-lock.json", "package-lock.json"))
    except (OSError, ValueError, KeyError):
        return False
    return found == {place: package for place, package in wanted.items() if place}


def install(folder: Path) -> None:
    """Once, whatever else asks for it: what is there already stays."""
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(DEMO / name, folder)
        if not installed(folder):
            done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder,
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"npm can't fetch the packages: {done.stderr[:200]}")


@pytest.fixture(scope="session")
def code(tmp_path_factory, pytestconfig) -> Path:
    """A copy of the code, and with it what npm fetches: the working tree, which other tests read meanwhile, stays as
    it is. The packages come from there if they are all there, else from pytest's cache."""
    source = DEMO
    if not installed(DEMO):
        if not shutil.which("npm"):
            pytest.skip("npm is not installed")
        source = pytestconfig.cache.mkdir("demo")
        install(source)
    copy = tmp_path_factory.mktemp("code")
    copy_code(copy)
    (copy / "demo/node_modules").symlink_to(source / "node_modules")
    return copy


def copy_code(folder: Path) -> None:
    for name in ("stages", "demo"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))


def run_demo(project: Project, *arguments: str, code: Path = ROOT, **environment: str) -> subprocess.CompletedProcess:
    fixed = {"PYTHONPATH": str(code), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    environment = os.environ | fixed | environment
    return subprocess.run([sys.executable, "-m", "demo", *arguments], cwd=project.folder, env=environment,
                          capture_output=True, text=True)


def build(project: Project, code: Path, *arguments: str, **environment: str) -> str:
    """Writes the page; returns what the command printed on stderr."""
    done = run_demo(project, *arguments, code=code, **environment)
    assert not done.returncode, done.stderr
    return done.stderr


def network(card: onnx_model.Card, seed: int, quantised: Path | None = None, sure: float = 1) -> onnx.ModelProto:
    """A small network with weights by chance, sure enough of itself that wrong pixels would show (0: of nothing); in
    int8 by way of a file `quantised`."""
    chance, width, number = np.random.default_rng(seed), 16, len(card.classes)
    shapes = {"w1": (width, 3, 3, 3), "b1": (width,), "w2": (width, width, 3, 3), "b2": (width,)}
    shapes |= {"w3": (number, width, 1, 1) if card.colours else (width, number), "b3": (number,)}
    scale = {"w1": 0.4, "w2": 0.15, "w3": 0.6 if card.colours else 3.0}
    factors = {"w3": sure, "b3": sure}
    weights = [numpy_helper.from_array((factors.get(name, 1) * chance.normal(0, scale.get(name, 0.2), shape)).astype(
        np.float32), name) for name, shape in shapes.items()]
    weights += [numpy_helper.from_array(np.float32(128), "mean"), numpy_helper.from_array(np.float32(64), "std")]
    steps = [("Cast", ["image"], {"to": TensorProto.FLOAT}), ("Transpose", ["1"], {"perm": [0, 3, 1, 2]}),
             ("Sub", ["2", "mean"], {}), ("Div", ["3", "std"], {}), ("Conv", ["4", "w1", "b1"], {"pads": [1] * 4}),
             ("Relu", ["5"], {}), ("Conv", ["6", "w2", "b2"], {"pads": [1] * 4}), ("Relu", ["7"], {})]
    steps += [("Conv", ["8", "w3", "b3"], {})] if card.colours else [
        ("GlobalAveragePool", ["8"], {}), ("Flatten", ["9"], {}), ("Gemm", ["10", "w3", "b3"], {})]
    nodes = [helper.make_node(kind, names, [str(at) if at < len(steps) else "logits"], **options)
             for at, (kind, names, options) in enumerate(steps, 1)]
    size = card.input_size
    graph = helper.make_graph(
        nodes, "small", [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", *size, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT,
                                       ["batch", number, *(size if card.colours else ())])], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if not quantised:
        return model
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        batches = iter([{"image": chance.integers(0, 256, (8, *size, 3), dtype=np.uint8)}])

        def get_next(self):
            return next(self.batches, None)

    quantization.quantize_static(model, quantised, Reader(), per_channel=True,
                                 activation_type=quantization.QuantType.QUInt8)
    return onnx.load(quantised)


def pattern(height: int, width: int, seed: int) -> np.ndarray:
    """uint8 (H,W,3): smooth patches with some noise."""
    chance = np.random.default_rng(seed)
    small = Image.fromarray(chance.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    noise = chance.integers(-20, 21, (height, width, 3))
    return (np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)) + noise).clip(0, 255).astype(np.uint8)


def save(path: Path, pixels: np.ndarray, mode: str | None = None, **options) -> Path:
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


COLOURS = tuple(map(tuple, palette(3).tolist()))
CARDS = {
    "squash": onnx_model.Card(("<cat> & co", "ape", "bee", "dög", "elk", "fox"), 32, "squash", 1.0, 0, "classification",
                              (128.0,) * 3, (64.0,) * 3, "small", "student", "int8", (), "ab" * 32, "cd" * 32),
    "crop": onnx_model.Card(("ape", "bee", "cat"), (24, 40), "crop", 1.0, 0, "classification", (128.0,) * 3,
                            (64.0,) * 3, "small", "student", "int8", (), "ab" * 32, "cd" * 32),
    # Sorted as text, which is how the pipeline numbers classes: 10 comes before 2.
    "twelve": onnx_model.Card(tuple(sorted(map(str, range(12)))), 32, "squash", 1.0, 0, "classification", (128.0,) * 3,
                              (64.0,) * 3, "small", "student", "int8", (), "ab" * 32, "cd" * 32),
    "digits": onnx_model.Card(tuple("0123456789"), 32, "squash", 1.0, 0, "classification", (128.0,) * 3, (64.0,) * 3,
                              "nearest", "student", "int8", (), "ab" * 32, "cd" * 32),
    "tiles": onnx_model.Card(("land", "sea", "road"), 32, "tiles", 0.5, 8, "segmentation", (128.0,) * 3, (64.0,) * 3,
                             "small", "student", "int8", COLOURS, "ab" * 32, "cd" * 32),
    "middle": onnx_model.Card(("land", "sea", "road"), (24, 40), "crop", 1.0, 0, "segmentation", (128.0,) * 3,
                              (64.0,) * 3, "small", "student", "int8", COLOURS, "ab" * 32, "cd" * 32),
}


PREPARED = ("data/raw.zip", "data/prepared/index.csv", "data/prepared/train/images.npy")  # by the stages, for the page


@cache
def prepared(kind: str) -> dict[str, bytes]:
    """What the data stages make of an archive with these classes: some for training, and fourteen or more for testing.

    An odd number in a picture's name: for testing.
    """
    card = CARDS[kind]
    with tempfile.TemporaryDirectory() as folder:
        project = preset(Path(folder), card).set("data.source", "own.zip").set("split.image_size", [*card.input_size])
        project.set("split.labelled_fraction", 1.0)
        known = digits(6)[0].reshape(10, 6, 32, 32)
        project.set("split.resize", card.resize).set("split.scale", card.scale).set("split.overlap", card.overlap)
        project.set("data.layout", "image_mask_pairs" if card.colours else "image_folder")
        if card.colours:
            project.set("data.masks.classes", {name: number for number, name in enumerate(card.classes)})
        with zipfile.ZipFile(project.source / "own.zip", "w") as archive:
            for number in range(max(36, 6 * len(card.classes))):
                split, name = ("train", "test")[number % 2], f"{number:02d}.png"
                label = number // 2 % len(card.classes)
                image = pattern(40 + number, 50, number)
                if kind == "digits":
                    image = known[label, number // 20 * 2 + number % 2]
                if card.colours:
                    archive.writestr(f"{split}/images/{name}", saved(Image.fromarray(image), "PNG"))
                    mask = Image.fromarray(np.full(image.shape[:2], label, np.uint8))
                    archive.writestr(f"{split}/masks/{name}", saved(mask, "PNG"))
                else:
                    archive.writestr(f"{split}/{card.classes[label]}/{name}", saved(Image.fromarray(image), "PNG"))
        project.main("fetch", "scan", "clean", "split")
        assert tuple((Path(folder) / "data/prepared/classes.txt").read_text("utf-8").splitlines()) == card.classes
        return {path: (Path(folder) / path).read_bytes() for path in PREPARED}


def preset(folder: Path, card: onnx_model.Card) -> Project:
    return Project(folder, "digit_scenes" if card.colours else "digits")


def make(folder: Path, kind: str) -> Project:
    """A project as the pipeline leaves it, as far as the page needs it: models, metrics, test pictures. It says that
    the set is one of ours, of which pictures are shown. kind: "classes", a finished run; or one of CARDS, with networks
    made for what a test looks at.
    """
    if kind == "classes":
        return finished.copied(kind, folder).set("data.source", "digits")
    card = CARDS[kind]
    project = preset(folder, card)
    shutil.copytree(finished.run("masks" if card.colours else "classes").folder / "metrics", folder / "metrics")
    (folder / "models").mkdir()
    for path, content in prepared(kind).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    student = nearest_network(100) if kind == "digits" else network(card, 1, folder / "int8.onnx")
    onnx_model.write(student, card, folder / onnx_model.DEPLOYED["int8"])
    write_teacher(folder, card)
    return project


def write_teacher(folder: Path, card: onnx_model.Card, **changes) -> None:
    told = {name: getattr(card, name) for name in card.__dataclass_fields__} | {"role": "teacher", "form": "float"}
    onnx_model.write(network(card, 2), onnx_model.Card(**told | changes), folder / onnx_model.DEPLOYED["teacher"])


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    """The page of a finished run, with eight pictures."""
    return without_runtime(finished.copied("classes", tmp_path_factory.mktemp("page")), "--gallery", "8")


def without_runtime(project: Project, *arguments: str) -> str:
    """Its page, without what npm would fetch."""
    (project.folder / "package.json").write_text('{"version": "1.0.0"}', encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "web_runtime", lambda: dict.fromkeys(("script", "module", "binary"), b""))
        patch.setattr(demo, "RUNTIME", project.folder)
        patch.setattr(sys, "argv", ["demo", *arguments])
        patch.chdir(project.folder)
        demo.main()
    return html(project)


@pytest.fixture(scope="module")
def pages(code, tmp_path_factory):
    """pages(kind): the project of that name with its page built, once."""
    @cache
    def built(kind: str) -> Project:
        project = make(tmp_path_factory.mktemp(kind), kind)
        build(project, code)
        return project

    return built


def html(project: Project) -> str:
    return (project.folder / "demo/index.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_page_has_the_same_bytes_every_time_and_no_path_or_date(pages, code, tmp_path):
    project, text = pages("squash"), html(pages("squash"))
    shutil.copytree(project.folder, tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "elsewhere/demo")
    there = object.__new__(Project)
    there.folder = tmp_path / "elsewhere"
    build(there, code, PYTHONHASHSEED="7")
    assert html(there) == text
    for secret in (str(ROOT), str(code), str(project.folder), str(Path.home()) + "/", time.strftime("%Y-%m-%d")):
        assert secret not in text
        for part in re.findall(r'<script type="text/plain" id="part-\w+">(.*?)</script>', text):
            assert secret.encode() not in gzip.decompress(base64.b64decode(part))


def test_the_page_asks_for_nothing(page):
    text = page
    assert not re.findall(r"""(?:src|href|action)=["'](?!data:)""", text)
    assert not re.findall(r"@import|url\(", text.partition("</style>")[0])
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text).group(1)
    assert policy.startswith("default-src 'none';") and "http" not in policy and "unsafe-inline" not in policy


def test_names_and_titles_are_text_and_no_html(page):
    text = page
    assert "<cat>" not in text and "&lt;cat&gt; &amp; co" in text
    config = re.search(r'id="config">(.*?)</script>', text).group(1)
    assert json.loads(config)["classes"] == list(finished.CLASSES)


def test_the_numbers_are_those_that_were_measured(page):
    text = re.sub(r"\s+", " ", page.partition('<script type="application/json"')[0])
    size, quality = (finished.read("classes", f"metrics/{name}.json") for name in ("size", "quality"))
    assert f"<strong>{demo.times(size['ratio']['size'])}<i>×</i></strong> <span>smaller" in text
    for name in ("teacher", "baseline", "student", "int8"):
        assert f"<td>{quality[name]['deployed']:.2f} %</td>" in text
    assert f"on {quality['test']['images']} test pictures" in text


@pytest.mark.parametrize(("role", "shipped"), [
    ("student", "small student, distilled, int8"), ("baseline", "small student, taught by labels alone, int8"),
    ("teacher", "small teacher, int8")])
def test_the_table_names_the_models(tmp_path, role, shipped):
    project, card = make(tmp_path, "crop"), replace(CARDS["crop"], role=role)
    onnx_model.write(network(card, 1), card, tmp_path / onnx_model.DEPLOYED["int8"])
    quality = files.read_json(tmp_path / "metrics/quality.json")
    quality["test"]["shipped_role"] = role
    files.write_json(tmp_path / "metrics/quality.json", quality)
    assert re.findall(r'<th scope="row">([^<]*)</th><td>', without_runtime(project)) == [
        "teacher", "student, taught by labels alone", "student, distilled", shipped, "small teacher"]


def test_the_gallery_shows_test_pictures_of_each_class_in_turn(page):
    truths = re.findall(r'data-name="(\d)(\d+).png" data-truth="([^"]*)"', page)
    shown = [unescape(truth) for *_, truth in truths]
    assert shown == 2 * ["<cat> & co", "=a|b", "gull", "gull_std"]  # none of `dög` is there to test on
    assert shown == [finished.CLASSES[int(label)] for label, *_ in truths] and len(set(truths)) == 8
    tested = {row["path"] for row in files.read_csv(finished.run("classes").folder / "data/prepared/index.csv")
              if row["split"] == "test"}
    assert {f"test/{unescape(truth)}/{label}{number}.png" for label, number, truth in truths} <= tested


def test_truths_are_the_classes_own_names_whatever_their_order(tmp_path, monkeypatch):
    """Class 10 is the third of twelve."""
    project = make(tmp_path, "twelve")
    monkeypatch.chdir(project.folder)
    shown = demo.gallery(24, CARDS["twelve"])
    assert sorted({picture["truth"] for picture in shown}, key=int) == [str(number) for number in range(12)]
    assert all(int(picture["name"].split(".")[0]) // 2 % 12 == CARDS["twelve"].classes.index(picture["truth"])
               for picture in shown)


@pytest.mark.slow
@pytest.mark.parametrize("form", quantize.FORMS.values())
def test_the_student_is_called_what_it_is(code, tmp_path, form):
    project, card = make(tmp_path, "crop"), replace(CARDS["crop"], form=form)
    onnx_model.write(network(card, 1), card, tmp_path / onnx_model.DEPLOYED["int8"])
    build(project, code)
    body = html(project).partition("<body")[2].partition('<script type="application/json"')[0]
    named = re.findall(r"int8(?: weights)?|fp16 weights", re.sub(r'data-name="[^"]*"|base64,[^"]*', "", body))
    assert set(named) == {form} and len(named) == 4  # above the ratios, on the card, in the table, in the list


@pytest.mark.slow
def test_nobody_s_pictures_are_in_the_page_unless_asked_for(code, tmp_path):
    project = make(tmp_path, "crop").set("data.source", "mine.zip")
    hidden = PngImagePlugin.PngInfo()
    hidden.add_text("Comment", "taken at home")
    content = io.BytesIO()
    Image.fromarray(pattern(30, 2000, 1)).save(content, "PNG", pnginfo=hidden)
    paths = [row["path"] for row in files.read_csv(tmp_path / "data/prepared/index.csv")]
    with zipfile.ZipFile(tmp_path / "data/raw.zip", "w") as raw:
        for path in paths:
            raw.writestr(path, content.getvalue())
    assert "0 pictures" in build(project, code)
    assert 'data-gallery="' not in html(project) and "data:image/png" not in html(project)
    assert "3 pictures" in build(project, code, "--gallery", "3")
    shown = [base64.b64decode(found) for found in re.findall(r'src="data:image/\w+;base64,([^"]*)"', html(project))]
    assert len(shown) == 3 and not any(b"taken at home" in picture for picture in shown)
    assert {Image.open(io.BytesIO(picture)).size for picture in shown} == {(demo.MAX_SIDE, 19)}


def spoilt(folder: Path, name: str) -> None:
    """The project with one thing wrong."""
    card = CARDS["crop"]
    match name:
        case "no student":
            (folder / onnx_model.DEPLOYED["int8"]).unlink()
        case "no teacher":
            (folder / onnx_model.DEPLOYED["teacher"]).unlink()
        case "broken":
            (folder / onnx_model.DEPLOYED["int8"]).write_bytes(b"no model")
        case "student as teacher":
            write_teacher(folder, card, role="student")
        case "other classes":
            write_teacher(folder, card, classes=("ape", "bee", "cow"))
        case "other task":
            write_teacher(folder, card, task="segmentation")
        case "no metrics":
            (folder / "metrics/speed.json").unlink()
        case "no pictures":
            (folder / "data/raw.zip").write_bytes(b"no archive")


@pytest.mark.parametrize(("name", "said"), [
    ("no student", "models/student.int8.onnx is missing"), ("no teacher", "models/teacher.onnx is missing"),
    ("broken", "models/student.int8.onnx is no readable ONNX model"),
    ("student as teacher", "models/teacher.onnx is a student, where a teacher belongs"),
    ("other classes", "know different classes"), ("other task", "was made for segmentation"),
    ("no metrics", "metrics/speed.json is missing or broken"), ("no pictures", "data/raw.zip is missing or broken"),
])
def test_what_is_wrong_is_one_line(tmp_path, name, said):
    project = make(tmp_path, "crop")
    spoilt(tmp_path, name)
    done = run_demo(project)
    assert done.returncode == 1 and said in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("demo: "), "the name of the command, not of __main__.py"
    assert not (tmp_path / "demo").exists()


def test_no_number_of_pictures_is_a_usage_error(project):
    done = run_demo(project, "--gallery", "-1")
    assert done.returncode == 2 and "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("paths", "said"), [
    ("", "npm is missing, which fetches onnxruntime-web 1.30.0; install Node.js"),
    pytest.param(os.environ["PATH"], "npm could not fetch onnxruntime-web 1.30.0 (", marks=pytest.mark.skipif(
        not shutil.which("npm"), reason="npm is not installed")),
])
def test_without_node_or_network_one_line_says_what_to_do(tmp_path, paths, said):
    code = tmp_path / "code"
    copy_code(code)
    project = make(tmp_path / "project", "crop")
    nowhere = {"PATH": paths, "npm_config_registry": "http://127.0.0.1:9",
               "npm_config_fetch_retries": "0", "npm_config_cache": str(tmp_path / "cache")}
    done = run_demo(project, code=code, **nowhere)
    lines = [line for line in done.stderr.splitlines() if not line.endswith("from the npm registry, once")]
    assert done.returncode == 1 and len(lines) == 1 and said in lines[0], done.stderr


def test_the_runtime_is_pinned_with_its_hash():
    wanted = json.loads((DEMO / "package.json").read_text(encoding="utf-8"))["dependencies"]
    locked = json.loads((DEMO / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    for name, version in wanted.items():
        assert locked[f"node_modules/{name}"]["version"] == version
    assert all(found["integrity"].startswith("sha512-") for place, found in locked.items() if place)


@pytest.mark.parametrize(("name", "change"), [
    ("onnxruntime-web", {}), ("onnxruntime-web", {"version": "1.29.0"}), ("playwright-core", {"version": "1.65.0"}),
    ("playwright-core", None),  # as the demo's `npm ci --omit=dev` leaves it
])
def test_packages_of_another_lock_are_not_taken_for_installed(tmp_path, name, change):
    shutil.copy(DEMO / "package-lock.json", tmp_path)
    packages = json.loads((DEMO / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    for place in packages:
        (tmp_path / place if place else tmp_path / "node_modules").mkdir(parents=True, exist_ok=True)
    assert not installed(tmp_path)  # npm was stopped midway
    del packages[""]
    found = packages.pop(f"node_modules/{name}")
    if change is not None:
        packages[f"node_modules/{name}"] = found | change
    (tmp_path / "node_modules/.package-lock.json").write_text(json.dumps({"packages": packages}), encoding="utf-8")
    assert installed(tmp_path) == (change == {})


# ---- in a browser

@pytest.fixture(scope="module")
def drive(code):
    """drive(project, steps, page=None, **options): what demo_browser.mjs answers. A browser serves all tests."""
    driver = subprocess.Popen(["node", HERE / "demo_browser.mjs", code / "demo"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)

    def driven(project: Project, steps: list[dict], page: Path | None = None, **options) -> dict:
        plan = {"page": str(page or project.folder / "demo/index.html"), "browser": "chromium", "width": 1280,
                "height": 800, "theme": "light", "steps": steps} | options
        plan["program"] = BROWSERS[plan["browser"]]
        driver.stdin.write(json.dumps(plan) + "\n")
        driver.stdin.flush()
        found = json.loads(driver.stdout.readline())
        assert "failure" not in found, found["failure"]
        return found

    yield driven
    driver.communicate(timeout=60)  # closes its input, which ends it


def python_says(project: Project, name: str, content: bytes) -> np.ndarray:
    """Probabilities (C) of a classifier; classes (H,W) of a segmenter."""
    model = onnx_model.open_model(project.folder / onnx_model.DEPLOYED[name], 1)
    card, image = model.card, decode(content)
    sizing = Sizing(*card.input_size, card.resize, card.scale, card.overlap)
    logits = model(tiling.cut_image(image, sizing))
    if card.colours:
        return tiling.blend(np.array(tiling.places(*image.shape[:2], 0, sizing)), logits).argmax(0)
    powers = np.exp(logits[0].astype(np.float64) - logits[0].max())
    return powers / powers.sum()


def agrees(project: Project, step: dict, content: bytes, tolerance: float) -> None:
    """The bars that were shown are Python's, to so much in probability."""
    classes = onnx_model.open_model(project.folder / onnx_model.DEPLOYED["int8"], 1).card.classes
    for row, name in (("student", "int8"), ("teacher", "teacher")):
        expected, shown = python_says(project, name, content), step["bars"][row]
        assert len(shown) == min(5, len(classes)) and not step["wrong"]
        values = [float(value.removesuffix(" %")) / 100 for _, value in shown]
        assert values == sorted(values, reverse=True)
        for (label, _), value in zip(shown, values, strict=True):
            assert abs(value - expected[classes.index(label)]) < tolerance, (row, label)
        assert max(values) > max(expected) - tolerance


def strange_pictures(folder: Path) -> dict[str, tuple[Path, float]]:
    """Pictures that are easily read otherwise, and how far the browser's answer may be off."""
    darker = PngImagePlugin.PngInfo()
    darker.add(b"gAMA", struct.pack(">I", 100000))  # linear light: a viewer would show it lighter
    alpha = np.concatenate([pattern(90, 120, 3), np.where(np.indices((90, 120)).sum(0) % 40 < 20, 255, 0)[
        ..., None].astype(np.uint8)], 2)
    turned = Image.Exif()
    turned[0x0112] = 6  # stored lying on its left side
    soft = Image.fromarray(pattern(8, 8, 9)).resize((160, 100), Image.Resampling.BICUBIC)
    soft.save(folder / "turned.jpg", quality=95, subsampling=0, exif=turned)
    return {
        "large": (save(folder / "large.png", pattern(413, 611, 1)), 1e-3),
        "tall": (save(folder / "tall.png", pattern(500, 60, 2)), 1e-3),
        "small": (save(folder / "small.png", pattern(7, 5, 3)), 1e-3),
        "grey": (save(folder / "grey.png", pattern(80, 70, 4), "L"), 1e-3),
        "palette": (save(folder / "palette.png", pattern(64, 90, 5), "P"), 1e-3),
        "gamma": (save(folder / "gamma.png", pattern(64, 64, 6), pnginfo=darker), 1e-3),
        "alpha": (save(folder / "alpha.png", alpha), 1e-3),
        "turned": (folder / "turned.jpg", 0.03),  # browsers decode JPEG a level or two differently
    }


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "browser"), [
    pytest.param(kind, browser, marks=needs(browser))
    for kind, browser in (("squash", "chromium"), ("classes", "firefox"), ("crop", "chromium"))])
def test_probabilities_in_the_browser_are_python_s(pages, drive, tmp_path, kind, browser):
    project, pictures = pages(kind), strange_pictures(tmp_path)
    steps = [{"do": "gallery", "index": 3}]
    steps += [{"do": "drop", "files": [str(path)]} for path, _ in pictures.values()]
    found = drive(project, steps, browser=browser)
    gallery = [base64.b64decode(shown) for shown in re.findall(r'src="data:image/png;base64,([^"]*)"', html(project))]
    agrees(project, found["steps"][0], gallery[0], 1e-3)  # shown at once
    agrees(project, found["steps"][1], gallery[3], 1e-3)
    for step, (path, tolerance) in zip(found["steps"][2:], pictures.values(), strict=True):
        assert step["caption"].startswith(path.name)
        agrees(project, step, path.read_bytes(), tolerance)
    assert not found["problems"]


@in_browser
def test_no_request_leaves_the_page(pages, drive, tmp_path):
    project = pages("squash")
    own = [str(save(tmp_path / f"{number}.png", pattern(50, 50, number))) for number in range(2)]
    found = drive(project, [{"do": "gallery", "index": 1}, {"do": "choose", "files": own}, {"do": "leak"}])
    assert found["steps"][2]["strip"] == demo.GALLERY + 2
    outside = [address for address in found["requests"] if not address.startswith(("blob:", "data:"))]
    tried = [address for address in outside if address.startswith("http://127.0.0.1")]
    assert [address[:8] for address in outside if address not in tried] == ["file:///"]
    assert found["steps"][3]["blocked"] == [True, True, True] and not found["steps"][3]["reached"]


@in_browser
@pytest.mark.parametrize(("kind", "width"), [("squash", 1280), ("squash", 390), ("tiles", 1280), ("tiles", 390)])
def test_nothing_jumps_and_nothing_is_wider_than_the_screen(pages, drive, tmp_path, kind, width):
    own = str(save(tmp_path / "wide.png", pattern(40, 400, 1)))
    told = [{"do": "gallery", "index": 2}, {"do": "drop", "files": [own]}]
    steps = drive(pages(kind), told, width=width)["steps"]
    assert steps[-1]["caption"].startswith("wide.png") and steps[-1]["wide"] <= 0
    assert len({json.dumps([step["board"], step["about"]]) for step in steps}) == 1
    assert steps[0]["jumped"] < 0.001  # the browser's own measure, from the first paint to the first answer


@in_both
def test_masks_in_the_browser_are_python_s(pages, drive, tmp_path, browser):
    project, card = pages("tiles"), CARDS["tiles"]
    chosen = [save(tmp_path / "wide.png", pattern(130, 311, 1)), save(tmp_path / "small.png", pattern(30, 41, 2))]
    found = drive(project, [{"do": "drop", "files": [str(path)]} for path in chosen] + [{"do": "opacity", "value": 25}],
                  browser=browser)
    for step, path in zip(found["steps"][1:], chosen, strict=False):
        for name, deployed in (("student", "int8"), ("teacher", "teacher")):
            expected, mask = python_says(project, deployed, path.read_bytes()), step["masks"][name]
            drawn = np.frombuffer(base64.b64decode(mask["rgba"]), np.uint8).reshape(mask["height"], mask["width"], 4)
            assert drawn.shape[:2] == expected.shape and (drawn[..., 3] == 255).all()
            right = (drawn[..., :3] == np.array(card.colours, np.uint8)[expected]).all(-1)
            assert right.mean() > 0.999
            shares = 100 * np.bincount(expected.ravel(), minlength=3) / expected.size
            shown = [float(row[1 if name == "student" else 2].removesuffix(" %")) for row in step["shares"]]
            assert np.abs(shares - shown).max() < 0.1
    assert [row[0] for row in found["steps"][1]["shares"]] == list(card.classes)
    assert found["steps"][-1]["opacity"] == "0.25" and not found["problems"]


@in_browser
def test_a_mask_covers_what_the_networks_get_of_the_picture(pages, drive, tmp_path):
    """Of 24 × 40 pixels' shape: 75 × 125 pixels in the middle of 75 × 250 and of 150 × 125; tiles cover all."""
    own = [str(save(tmp_path / f"{width}.png", pattern(height, width, 1))) for height, width in ((75, 250), (150, 125))]
    drops = [{"do": "drop", "files": [path]} for path in own]
    _, wide, high = drive(pages("middle"), drops)["steps"]
    for step, path, part in ((wide, own[0], [0.25, 0, 0.75, 1]), (high, own[1], [0, 0.25, 1, 0.75])):
        for name, deployed in (("student", "int8"), ("teacher", "teacher")):
            expected, mask = python_says(pages("middle"), deployed, Path(path).read_bytes()), step["masks"][name]
            drawn = np.frombuffer(base64.b64decode(mask["rgba"]), np.uint8).reshape(24, 40, 4)
            assert (drawn[..., :3] == np.array(COLOURS, np.uint8)[expected]).all(-1).mean() > 0.99
            assert step["parts"][name] == pytest.approx(part, abs=0.005)
    tiled = drive(pages("tiles"), drops[:1])["steps"][1]
    assert tiled["parts"]["student"] == pytest.approx([0, 0, 1, 1], abs=0.005)


@in_browser
def test_bad_pictures_are_one_line_and_the_last_good_one_stays(pages, drive, tmp_path):
    whole = save(tmp_path / "good.png", pattern(60, 60, 1))
    (tmp_path / "cut.png").write_bytes(save(tmp_path / "noise.png", pattern(200, 200, 2)).read_bytes()[:3000])
    (tmp_path / "notes.txt").write_text("no picture", encoding="utf-8")
    Image.new("1", (8000, 6300)).save(tmp_path / "huge.png")
    Image.new("1", (7000, 7000)).save(tmp_path / "nearly.png")
    chosen = ("good.png", "cut.png", "notes.txt", "huge.png", "nearly.png")
    found = drive(pages("squash"), [{"do": "drop", "files": [str(tmp_path / name)]} for name in chosen])
    _, good, cut, notes, huge, nearly = found["steps"]
    agrees(pages("squash"), good, whole.read_bytes(), 1e-3)
    for step, said in ((cut, "cut.png is no picture that this browser can read."),
                       (notes, "notes.txt is no picture that this browser can read."),
                       (huge, "huge.png has 50.4 megapixels; this page takes up to 50.")):
        assert step["wrong"] and step["hint"] == said and step["state"] == "ready"
        assert step["caption"] == good["caption"] and step["bars"] == good["bars"] and step["strip"] == good["strip"]
    assert not nearly["wrong"] and nearly["caption"] == "nearly.png, 7000 × 7000"


@in_browser
@pytest.mark.parametrize("when", ["page", "worker"])
def test_what_is_dropped_while_the_networks_load_is_shown(pages, drive, tmp_path, when):
    own = save(tmp_path / "own.png", pattern(50, 60, 1))
    (tmp_path / "notes.txt").write_text("no picture", encoding="utf-8")
    early = {"when": when, "files": [str(own), str(tmp_path / "notes.txt")]}
    step = drive(pages("squash"), [], early=early)["steps"][0]
    assert step["caption"] == "own.png, 60 × 50" and step["strip"] == demo.GALLERY + 1
    assert step["wrong"] and step["hint"] == "notes.txt is no picture that this browser can read."
    agrees(pages("squash"), step | {"wrong": False}, own.read_bytes(), 1e-3)


@in_browser
def test_a_picture_that_is_overtaken_leaves_nothing_behind(pages, drive, tmp_path):
    """What was chosen can be chosen again, and what was wrong with the rest is said."""
    Image.new("1", (5000, 5000)).save(tmp_path / "slow.png")
    (tmp_path / "notes.txt").write_text("no picture", encoding="utf-8")
    save(tmp_path / "quick.png", pattern(30, 40, 1))
    (tmp_path / "broken.png").write_bytes(save(tmp_path / "noise.png", pattern(200, 200, 2)).read_bytes()[:3000])
    slow, notes, quick, broken = (str(tmp_path / name) for name in ("slow.png", "notes.txt", "quick.png", "broken.png"))
    _, once, again, bad = drive(pages("squash"), [
        {"do": "overtake", "files": [slow, notes], "then": [quick]}, {"do": "choose", "files": [slow]},
        {"do": "overtake", "files": [slow], "then": [broken]}])["steps"]
    assert once["chosen"] == "" and once["caption"] == "quick.png, 40 × 30"
    assert once["wrong"] and once["hint"] == "notes.txt is no picture that this browser can read."
    assert again["caption"] == "slow.png, 5000 × 5000" and not again["wrong"]
    assert bad["caption"] == again["caption"] and bad["hint"].startswith("broken.png is no picture")


@in_browser
def test_pictures_that_find_no_room_are_counted(pages, drive, tmp_path):
    own = [str(save(tmp_path / f"{number:02d}.png", pattern(9, 9, number))) for number in range(27)]
    notes = [str(tmp_path / f"{number}.txt") for number in range(2)]
    for path in notes:
        Path(path).write_text("no picture", encoding="utf-8")
    _, many, last, full = drive(pages("squash"), [
        {"do": "drop", "files": [*notes, *own[:26]]}, {"do": "drop", "files": own[26:]},
        {"do": "gallery", "index": 0}])["steps"]
    assert many["strip"] == last["strip"] == demo.GALLERY + 24
    assert many["caption"].startswith("00.png") and last["caption"].startswith("26.png")
    assert many["hint"] == ("0.txt is no picture that this browser can read. And 1 more was left out. "
                            "Only 24 of your pictures fit in: 2 are not among them.")
    assert last["hint"] == "Only 24 of your pictures fit in: 1 is not among them."
    assert not full["wrong"]


@in_browser
def test_keyboard_paste_and_dark_colours(pages, drive, tmp_path):
    pasted = save(tmp_path / "pasted.png", pattern(33, 44, 7))
    found = drive(pages("squash"), [
        {"do": "keys", "keys": ["Tab", "Tab"]}, {"do": "keys", "keys": ["ArrowRight"] * 3 + ["Enter"]},
        {"do": "paste", "files": [str(pasted)]}, {"do": "theme"}])
    _, choose, second, paste, theme = found["steps"]
    shown = [base64.b64decode(one) for one in re.findall(r'src="data:image/png;base64,([^"]*)"', html(pages("squash")))]
    assert choose["focus"] == "choose" and second["focus"].startswith("Test picture")
    agrees(pages("squash"), second, shown[1], 1e-3)
    agrees(pages("squash"), paste, pasted.read_bytes(), 1e-3)
    assert theme["theme"] == "dark"


@in_browser
@pytest.mark.parametrize("kind", ["squash", "tiles"])
def test_a_large_teacher_s_answers_are_stored(code, drive, tmp_path, monkeypatch, kind):
    project = make(tmp_path / kind, kind)
    monkeypatch.setattr(demo, "TEACHER_MB", 0)
    monkeypatch.setattr(demo, "HERE", code / "demo")
    monkeypatch.setattr(demo, "RUNTIME", code / "demo/node_modules/onnxruntime-web")
    monkeypatch.setattr(sys, "argv", ["demo"])
    monkeypatch.chdir(project.folder)
    demo.main()
    assert "part-teacher" not in html(project)
    own = str(save(tmp_path / "own.png", pattern(50, 60, 1)))
    first, gallery, dropped = drive(project, [{"do": "gallery", "index": 2}, {"do": "drop", "files": [own]}])["steps"]
    shown = [base64.b64decode(one) for one in re.findall(r'src="data:image/png;base64,([^"]*)"', html(project))]
    for step, content in ((first, shown[0]), (gallery, shown[2])):
        assert step["absent"] is None and step["times"]["teacher"] == "stored answer"
        if kind == "squash":
            agrees(project, step, content, 1e-3)
        else:
            drawn = np.frombuffer(base64.b64decode(step["masks"]["teacher"]["rgba"]), np.uint8).reshape(-1, 4)
            palette = np.array(CARDS[kind].colours, np.uint8)
            assert (drawn[:, :3] == palette[python_says(project, "teacher", content).ravel()]).all()
    assert dropped["caption"].startswith("own.png") and "too large for this page" in dropped["absent"]
    assert not dropped["masks"]["teacher"]


def with_clock(text: str, tick: float) -> str:
    """The page, whose worker has a clock of so many milliseconds a tick."""
    part = re.search(r'id="part-worker">([^<]*)', text).group(1)
    clock = ("{ const now = performance.now.bind(performance); "
             f"performance.now = () => Math.floor(now() / {tick}) * {tick}; }}\n")
    return text.replace(part, demo.packed(clock.encode() + gzip.decompress(base64.b64decode(part))))


@in_browser
@pytest.mark.parametrize("kind", ["squash", "tiles"])
@pytest.mark.parametrize("tick", [1, 100])  # Firefox's; and its clock where asked to resist fingerprinting
def test_a_coarse_clock_gives_times_that_can_be_told_and_no_other(pages, drive, tmp_path, tick, kind):
    (tmp_path / "coarse.html").write_text(with_clock(html(pages(kind)), tick), encoding="utf-8")
    own = str(save(tmp_path / "own.png", pattern(90, 160, 1)))
    steps = drive(pages(kind), [{"do": "drop", "files": [own]}], page=tmp_path / "coarse.html")["steps"]
    for step in steps:
        assert all(float(time.removesuffix(" ms")) > 0 for time in step["times"].values())
        compared = re.search(r"(takes \d+(\.\d)? times as long|too close to tell which is faster)\.$", step["verdict"])
        assert compared if tick == 1 else step["verdict"].endswith("clock is too coarse to compare their times.")


@in_browser
def test_a_network_that_is_unsure_is_called_so(code, drive, tmp_path):
    project, card = make(tmp_path / "squash", "squash"), CARDS["squash"]
    onnx_model.write(network(card, 1, tmp_path / "int8.onnx", sure=0), card,
                     project.folder / onnx_model.DEPLOYED["int8"])
    build(project, code)
    step = drive(project, [])["steps"][0]
    (guess, share), teacher = step["bars"]["student"][0], step["bars"]["teacher"][0]
    assert float(share.removesuffix(" %")) < 50 < float(teacher[1].removesuffix(" %"))
    assert step["verdict"].startswith(f"The student is unsure: perhaps {guess}; the teacher says {teacher[0]}.")
    assert step["unsure"] == {"student": True, "teacher": False}


@in_browser
@pytest.mark.parametrize(("part", "said"), [("student", "The student can't be loaded: "), ("teacher", "")])
def test_a_model_that_fails_to_load_is_one_line(pages, drive, tmp_path, part, said):
    project = pages("squash")
    broken = re.sub(rf'(id="part-{part}">)[^<]*', rf"\1{demo.packed(b'no model')}", html(project))
    (tmp_path / "broken.html").write_text(broken, encoding="utf-8")
    step = drive(project, [], page=tmp_path / "broken.html")["steps"][0]
    if part == "student":
        assert step["state"] == "failed" and step["wrong"] and step["hint"].startswith(said)
    else:
        assert step["state"] == "ready" and step["absent"].startswith("The teacher can't be loaded: ")
        assert step["bars"]["student"][0][1] != "–" and step["verdict"].startswith("The student says ")


def few(stroke: list) -> list:
    """Every third point of it, and the last."""
    return [*stroke[:-1:3], stroke[-1]] if len(stroke) > 6 else stroke


@in_both
def test_digits_drawn_on_the_pad_are_read(pages, drive, browser):
    """Dark on light in the one browser, light on dark in the other."""
    drawing = [{"do": "draw", "strokes": [few(stroke) for stroke in digit]} for digit in DIGITS]
    first = [{"do": "pad"}] + [{"do": "theme"}] * (browser == "firefox")
    found = drive(pages("digits"), [*first, *drawing, {"do": "clear"}], browser=browser)
    opened, *drawn, cleared = found["steps"][len(first):]
    answers = [step["bars"]["student"][0][0] for step in drawn]
    assert sum(answer == str(digit) for digit, answer in enumerate(answers)) >= 9, answers
    for empty in (opened, cleared):
        assert all(bar == ["–", "–"] for bars in empty["bars"].values() for bar in bars)
        assert empty["caption"] == "an empty pad" and empty["verdict"].startswith("Draw one of 10 ")
    assert drawn[0]["caption"] == "Your drawing" and not found["problems"]


@in_both
def test_clearing_the_pad_or_leaving_it_ends_the_stroke_that_is_being_drawn(pages, drive, browser):
    draw = {"do": "draw", "strokes": DIGITS[1]}
    steps = [{"do": "pad"}, {"do": "interrupt", "button": "#clear"}, draw,
             {"do": "interrupt", "button": '[data-gallery="2"]'}, {"do": "pad"}, draw]
    found = drive(pages("digits"), steps, browser=browser)
    _, _, cleared, drawn, left, shown_again, drawn_again = found["steps"]
    assert cleared["caption"] == "an empty pad" and ", labelled " in left["caption"]
    assert shown_again["bars"] == drawn["bars"]  # the stroke that was broken off isn't part of it
    assert drawn["caption"] == shown_again["caption"] == drawn_again["caption"] == "Your drawing"
    assert drawn_again["bars"] == drawn["bars"] and not found["problems"]


@in_browser
def test_own_pictures_of_strokes_are_brought_to_form_unless_that_is_switched_off(pages, drive, tmp_path):
    project = pages("digits")
    two = save(tmp_path / "two.png", picture(DIGITS[2], width=12, ink=20, ground=240))
    blank = save(tmp_path / "blank.png", np.full((30, 30), 200, np.uint8))
    _, test, refused, formed, plain = drive(project, [
        {"do": "gallery", "index": 4}, {"do": "drop", "files": [str(blank)]}, {"do": "drop", "files": [str(two)]},
        {"do": "strokes"}])["steps"]
    assert formed["bars"]["student"][0][0] == "2"
    shown = [base64.b64decode(one) for one in re.findall(r'src="data:image/png;base64,([^"]*)"', html(project))]
    agrees(project, test, shown[4], 1e-3)  # a picture of the set has that form already
    assert refused["hint"] == "blank.png shows no strokes that stand out from their ground."
    assert refused["bars"] == test["bars"]
    agrees(project, plain, two.read_bytes(), 1e-3)  # switched off, it is shown anew


@in_both
def test_the_camera_s_picture_is_answered_and_where_there_is_none_one_line_says_why(pages, drive, browser):
    _, taken, denied = drive(pages("squash"), [{"do": "camera", "clicks": 2}, {"do": "camera", "denied": True}],
                             browser=browser)["steps"]
    assert taken["films"] == [False]  # two quick clicks open it once, and it is stopped
    assert re.fullmatch(r"photograph.png, \d+ × \d+", taken["caption"]) and not taken["wrong"]
    assert denied["wrong"] and denied["hint"] == "The camera can't be used: it isn't allowed to this page."
    assert denied["bars"] == taken["bars"]


@in_browser
@pytest.mark.parametrize("kind", ["digits", "tiles"])
def test_axe_finds_nothing_serious(pages, drive, kind):
    """On light and dark, at a desktop's width and a telephone's."""
    each = [{"do": "axe"}, {"do": "theme"}, {"do": "axe"}]
    steps = drive(pages(kind), [*each, {"do": "size", "width": 390, "height": 844}, *each])["steps"]
    findings = [step["findings"] for step in steps if "findings" in step]
    assert len(findings) == 4 and not any(findings), findings
