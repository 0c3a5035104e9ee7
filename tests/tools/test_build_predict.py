"""predict.py is what its sources make, stands alone, and decodes, cuts and blends as the pipeline does."""

import ast
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from on_device import CLASSES, COLOURS, shipped
from PIL import Image
from strange import corpus

from stages.core.errors import UserError, one_line
from stages.data import tiling
from stages.data.decode import Unreadable, decode
from tools import build_predict

TEXT = (ROOT / "predict.py").read_text(encoding="utf-8")


def test_the_committed_file_is_what_the_sources_make():
    """Where this fails: python -m tools.build_predict."""
    assert build_predict.Build().text() == TEXT


def test_a_stale_file_is_told_by_the_exit_status_and_rewritten(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build_predict, "TARGET", tmp_path / "predict.py")
    monkeypatch.setattr(sys, "argv", ["build_predict", "--check"])
    with pytest.raises(UserError, match="run python -m tools"):
        build_predict.main()
    monkeypatch.setattr(sys, "argv", ["build_predict"])
    build_predict.main()
    assert (tmp_path / "predict.py").read_text(encoding="utf-8") == TEXT
    monkeypatch.setattr(sys, "argv", ["build_predict", "--check"])
    build_predict.main()


def test_it_imports_three_packages_and_nothing_of_ours():
    """And pi_heif, if it is there, for phones' pictures."""
    tree = ast.parse(TEXT)
    named = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    named |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in named} - sys.stdlib_module_names == {
        "numpy", "PIL", "onnxruntime", "pi_heif"}


def test_only_what_is_used_is_taken_over():
    assert "\ndef decode_image(" in TEXT and "\nImage.preinit()" in TEXT and TEXT.count("class UserError") == 1
    for name in ("decode_mask", "cut_mask", "IGNORED", "out_of_memory", "OtherKind"):
        assert name not in TEXT


def build(folder, **sources: str) -> str:
    """The text made of predict/<name>.py files, entry first."""
    (folder / "predict").mkdir()
    for name, source in sources.items():
        (folder / f"predict/{name}.py").write_text(source)
    return build_predict.Build(folder, f"predict.{next(iter(sources))}").text()


def test_parts_stand_in_the_order_of_dependence_with_their_comments(tmp_path):
    text = build(tmp_path, main='"""About."""\n\nimport os\n\nfrom predict.low import low\n\nprint(low(), os.sep)\n',
                 low="import io\nimport os\n\n# of low\nLOW = os.name\n\n\ndef low():\n    return LOW  # its end\n\n\n"
                     "def unused():\n    return io\n")
    assert text.startswith('"""About."""\n') and "import io" not in text and "predict.low" not in text
    assert text.count("import os") == 1 and text.endswith("""

# ── predict/low.py ──

# of low
LOW = os.name


def low():
    return LOW  # its end


# ── predict/main.py ──

print(low(), os.sep)
""")


@pytest.mark.parametrize(("low", "message"), [
    ("def helper(): pass\n\ndef low(): helper()\n", "helper is bound by predict.(main|low) and by predict.(main|low)"),
    ("def helper(): return 1\n\ndef low(): helper()\n", "helper is bound by"),  # the same text, too
    ("import json as os\n\ndef low(): os.dumps\n", "os is bound by"),
    ("def low(): print()\n\nprint = low\n\nlow()\n", "print is bound by .*Python itself"),
    ("import predict.main\n\ndef low(): pass\n", "write `from module import name`"),
    ("from predict import main\n\ndef low(): pass\n", "write `from module import name`"),
    ("from stages.core.errors import run as start\n\ndef low(): pass\n", "write `from module import name`"),
    ("def low():\n    from stages.core.errors import run\n", "write `from module import name` at the top")])
def test_what_would_not_work_in_one_file_is_an_error(tmp_path, low, message):
    main = "import os\nfrom predict.low import low\n\ndef helper(): return 1\n\nlow(), helper(), os.sep\n"
    with pytest.raises(UserError, match=message):
        build(tmp_path, main=main, low=low)


def test_the_help_says_what_the_records_are():
    done = subprocess.run([sys.executable, "-I", ROOT / "predict.py", "--help"], capture_output=True, text=True,
                          encoding="utf-8")
    assert done.returncode == 0 and '"top": [{"class", "probability"}, …]' in done.stdout and "--compare" in done.stdout


# ── The same pixels, squares and masks as in training ──

@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_pixels_are_those_of_training_or_both_refuse():
    for kind, file in corpus().items():
        try:
            expected = decode(file.content)
        except Unreadable as error:
            with pytest.raises(shipped.Unreadable) as refused:
                shipped.decode_image(file.content)
            assert one_line(refused.value) == one_line(error), kind
        else:
            assert np.array_equal(np.asarray(shipped.decode_image(file.content)), expected), kind


@pytest.mark.parametrize("sizing", [(16, 16, "squash", 1.0, 0), (16, 16, "crop", 1.0, 0), (9, 20, "crop", 1.0, 0),
                                    (16, 16, "tiles", 0.37, 15), (9, 14, "tiles", 1.0, 4)])
@pytest.mark.parametrize(("height", "width"), [(40, 71), (9, 1), (16, 15)])
def test_squares_and_blended_answers_are_those_of_the_pipeline(sizing, height, width):
    random, sizing = np.random.default_rng(height), tiling.Sizing(*sizing)
    picture = random.integers(0, 256, (height, width, 3), np.uint8)
    card = shipped.Card(CLASSES, [*sizing[:2]], *sizing[2:], "segmentation", COLOURS)
    squares = list(shipped.tiles(shipped.resized(Image.fromarray(picture), card.sizing), card.sizing))
    assert np.array_equal(np.stack([square for *_, square in squares]), tiling.cut_image(picture, sizing))
    rows = np.array(tiling.places(height, width, 0, sizing))
    assert [[top, left] for top, left, _ in squares] == rows[:, 1:3].tolist()

    logits = random.normal(size=(len(rows), 4, sizing.height, sizing.width)).astype(np.float32)
    classes = shipped.ClassMap(*rows[0, 3:], card)
    for (top, left, _), some in zip(squares, logits, strict=True):
        classes.add(top, left, some)
    expected = tiling.blend(rows, logits).argmax(0)
    assert np.array_equal(classes.finish(), expected)
    assert classes.counts.tolist() == np.bincount(expected.ravel(), minlength=4).tolist()
