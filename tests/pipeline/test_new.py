"""make new, by the command that a user types: on archives made up, what it says of them and the params.yaml it writes.
"""

import contextlib
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from archives import ARCHIVES
from conftest import Project
from PIL import Image
from sources import pack, palette, picture, png, two_classes

from stages import new
from stages.core import params
from stages.core.errors import UserError
from stages.setup import measuring, presets, weights
from stages.setup.rules import Weights
from stages.setup.timing import Rates

RATES = Rates(*[0.001] * len(Rates._fields))


@pytest.fixture
def setup(project, monkeypatch, capsys):
    """`make new` in a project that has the default params.yaml; steps are not measured, nothing can be downloaded.
    Returns what it printed.
    """
    (project.folder / "params.yaml").write_text(presets.text("digits"))
    monkeypatch.setattr(measuring, "measure", lambda *_: RATES)
    monkeypatch.setattr(measuring, "bf16_gain", lambda *_: 1.5)
    monkeypatch.setattr(measuring.Stopwatch, "busy", 1.0)
    monkeypatch.setattr(weights, "can_be_had", lambda architecture: False)

    def run(*arguments: str) -> str:
        capsys.readouterr()
        with contextlib.chdir(project.folder), mock.patch.object(sys, "argv", ["stages/new.py", *arguments]):
            new.main()
        return capsys.readouterr().out

    return run


def spotted(number: int, size: tuple[int, int] = (40, 40)) -> Image.Image:
    """A picture that is like no other."""
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8))


def photographs(count: int, *folders: str, size: tuple[int, int] = (40, 40)) -> dict[str, bytes]:
    """Different pictures in each folder."""
    return {f"{folder}/{number}.png": png(spotted(1000 * place + number, size))
            for place, folder in enumerate(folders) for number in range(count)}


def test_an_archive_becomes_a_run(project, setup):
    pack(project.source / "my_pets.zip", {**photographs(12, "train/cat", "train/dog", "test/cat", "test/dog"),
                                          "notes.txt": b"", "train/bird/1.cr3": b"raw"})
    said = setup("my_pets.zip")
    for words in ("50 files", "image_folder", "classification, 2 classes: cat 12, dog 12", "20 train, 4 val, 24 test",
                  "val (20 %) will be drawn from train", "all 40×40 px, colour (48 looked at)", "2 files skipped",
                  ".cr3 1", "bird", "split.image_size: 32", "report.licence", "make will take about",
                  "GB of memory in a process"):
        assert words in said, said
    written = project.params()
    assert written["data"] | {"masks": None} == {
        "name": "my_pets", "task": "classification", "source": "my_pets.zip", "sha256": "", "layout": "image_folder",
        "layout_options": {}, "max_unpacked_gb": 20.0, "masks": None}
    assert written["report"] == {
        "title": "My pets, distilled", "licence": "other", "provenance": "Not stated.", "out_of_scope": "Not stated.",
        "intended": "Telling apart images of cat and dog.", "pictures": False}
    assert written["student_training"]["epochs"] == 300 and written["teacher"]["mode"] == "finetune"
    assert written.keys() == set(params.SECTIONS)
    text = (project.folder / "params.yaml").read_text()
    assert "# The size nearest to the images' median short side, 40 px.\n  image_size: 32      " in text
    project.main("check", "fetch", "scan", "clean", "split")  # they take it as it is
    assert (project.folder / "data/prepared/classes.txt").read_text() == "cat\ndog\n"


def test_an_edited_params_yaml_is_kept(project, setup):
    pack(project.source / "a.zip", photographs(10, "cat", "dog"))
    setup("a.zip")
    first = (project.folder / "params.yaml").read_text()
    setup("a.zip")  # its own work is no edit
    edited = first.replace("image_size: 32 ", "image_size: 48 ")
    assert edited != first
    (project.folder / "params.yaml").write_text(edited)
    with pytest.raises(UserError, match=r"params.yaml has been edited; .*FORCE=1"):
        setup("a.zip")
    assert (project.folder / "params.yaml").read_text() == edited
    setup("a.zip", "--force")
    assert (project.folder / "params.yaml").read_text() == first


def test_weights_are_used_where_they_are(project, setup, monkeypatch):
    own = Weights("torchvision", "mobilenet_v2", "mobilenet_v2-imagenet.safetensors")
    monkeypatch.setattr(weights, "teacher", lambda task: own)
    pack(project.source / "a.zip", photographs(10, "left", "right"))
    said = setup("a.zip")
    assert "teacher.weights: mobilenet_v2-imagenet.safetensors" in said and "augment.flip" not in said
    written = project.params()
    assert written["teacher"]["model"] == "torchvision" and written["scan"]["backbone"] == "mobilenet_v2"
    assert not written["student_training"]["augment"]["flip"]


def test_a_processor_without_bf16(project, setup, monkeypatch):
    monkeypatch.setattr(measuring, "bf16_gain", lambda *_: 0.25)
    pack(project.source / "a.zip", photographs(10, "cat", "dog"))
    setup("a.zip")
    precisions = [project.params()[section]["precision"] for section in ("teacher_training", "targets",
                                                                         "student_training")]
    assert precisions == ["fp32"] * 3
    assert "# Measured here: in bf16 a step takes 4.0 × as long." in (project.folder / "params.yaml").read_text()


def test_oblong_pictures(project, setup):
    pack(project.source / "a.zip", photographs(10, "cat", "dog", size=(40, 72)))
    said = setup("a.zip")
    assert "split.image_size: [24, 40]  # Height and width. Most images are about 1.80 times as wide as high" in said
    assert "split.val_fraction: 0.2" not in said and project.params()["split"]["image_size"] == [24, 40]
    text = (project.folder / "params.yaml").read_text()
    assert "  image_size: [24, 40] " in text and "few images.\n  val_fraction: 0.2 " in text
    project.main("check", "fetch", "scan", "clean", "split")
    assert np.load(project.folder / "data/prepared/train/images.npy").shape[1:] == (24, 40, 3)


def test_a_student_that_starts_from_weights(project, setup, monkeypatch):
    monkeypatch.setattr(weights, "student", lambda: "small.safetensors")
    pack(project.source / "a.zip", photographs(10, "cat", "dog", size=(64, 64)))
    assert "student.weights: whether small.safetensors may be used" in setup("a.zip")
    assert project.params()["student"]["weights"] == "small.safetensors"


def test_elsewhere_is_linked(project, setup, tmp_path):
    archive = pack(tmp_path / "a.zip", photographs(10, "cat", "dog"))
    assert "is now a link to" in setup(str(archive))
    assert (project.source / "a.zip").is_symlink() and project.params()["data"]["source"] == "a.zip"


def masks_of(images: dict[str, bytes], indices: tuple[int, ...], form=lambda mask: mask) -> dict[str, bytes]:
    """A mask of vertical stripes for each image."""
    mask = Image.fromarray(np.tile(np.repeat(np.array(indices, np.uint8), 10), (40, 1)))
    return {name.replace("images/", "masks/"): png(form(mask)) for name in images}


def test_a_folder_that_was_refused_is_looked_at_again(setup, tmp_path):
    """Hard links to its files of before would not show that it has been mended."""
    for name, content in photographs(12, "pets/cat").items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match="1 class"):
        setup(str(tmp_path / "pets"))
    (tmp_path / "pets/dog").mkdir()
    for name, content in photographs(12, "pets/cat", "pets/dog").items():
        (tmp_path / name).write_bytes(content)
    assert "cat 12, dog 12" in setup(str(tmp_path / "pets"))


@pytest.mark.parametrize(("indices", "form", "classes", "ignored"), [
    ((0, 255), lambda mask: mask, {"background": 0, "foreground": 255}, []),
    ((0, 1, 3, 255), lambda mask: mask, {"class_0": 0, "class_1": 1, "class_3": 3}, [255]),
    ((0, 1, 2), lambda mask: palette(mask, [[0, 0, 0], [9, 9, 255], [255, 0, 0]]).convert("RGB"),
     {"colour_000000": [0, 0, 0], "colour_0909ff": [9, 9, 255], "colour_ff0000": [255, 0, 0]}, [])])
def test_masks(project, setup, indices, form, classes, ignored):
    images = photographs(12, "images", size=(40, 10 * len(indices)))
    pack(project.source / "a.zip", images | masks_of(images, indices, form))
    said = setup("a.zip")
    assert f"segmentation, {len(classes)} classes, by pixels of 12 masks: " in said
    assert ("data.masks.classes: what" in said) == (len(classes) > 2)
    written = project.params()
    assert written["data"]["masks"]["classes"] == classes and written["data"]["masks"]["ignored"] == ignored
    assert written["split"]["resize"] == "tiles" and written["student"]["model"] == "unet"
    project.main("fetch", "scan", "clean", "split")


def test_soft_masks(project, setup):
    images = photographs(12, "images", size=(40, 240))
    row = np.clip(np.linspace(-255, 510, 240), 0, 255).astype(np.uint8)  # black, a third of shades, white
    mask = png(Image.fromarray(np.tile(row, (40, 1))))
    pack(project.source / "a.zip", images | {name.replace("images/", "masks/"): mask for name in images})
    assert "codes are classes, and not mixtures" in setup("a.zip")
    masks = project.params()["data"]["masks"]
    assert masks["classes"] == {"background": 0, "foreground": 255} and masks["unknown"] == "nearest"


@pytest.mark.parametrize("name", ["Kaggle, train.csv", "Roboflow, _classes.csv", "dogs vs cats (train/cat.0.jpg)",
                                  "WebDataset shards", "Pascal VOC", "Roboflow, COCO", "labelme"])
def test_what_is_written_is_read_by_the_stages(project, setup, name):
    """Options of layouts among it, and codes of masks."""
    archive = ARCHIVES[name]
    pack(project.source / "a.zip", archive.files())
    setup("a.zip")
    assert project.params()["data"]["layout"] == archive.layout and project.params()["data"]["layout_options"]
    project.main("check", "fetch", "scan", "clean", "split")
    classes = (project.folder / "data/prepared/classes.txt").read_text().split()
    assert classes == archive.classes.split() or (not archive.classes and len(classes) > 1)


def test_what_is_not_clear_is_told(project, setup):
    pack(project.source / "a.zip", photographs(6, *(f"{kind}/{name}" for kind in ("colour", "grey")
                                                    for name in ("cat", "dog"))))
    with pytest.raises(UserError, match=r"{ignored: \[grey\]}.*; make new takes both: LAYOUT"):
        setup("a.zip")
    assert "classification, 2 classes: cat 6, dog 6" in setup("a.zip", "--options", "{ignored: [grey]}")
    assert project.params()["data"]["layout_options"] == {"ignored": ["grey"]}
    project.main("fetch", "scan")
    for arguments, words in ((["--layout", "folders"], "known: aerial_tiles"), (["--options", "x"], "should be like"),
                             (["--options", "{colour: 1}"], "no layout has the options colour"),
                             (["--layout", "coco"], "coco")):
        with pytest.raises(UserError, match=words):
            setup("a.zip", *arguments)


@pytest.mark.parametrize(("files", "words"), [
    ({"notes.txt": b"x"}, "a.zip holds no images"),
    (photographs(3, "cat"), r"1 class\(es\) to train on \(cat\)"),
    (photographs(3, "train/cat", "train/dog", "test/cow"), "no training image of 'cow'"),
    (photographs(12, "training_set", "test_set"), "a.zip"),
    (photographs(12, "images", "masks"), "are they photographs"),
    (photographs(12, "cat") | photographs(2, "dog"), "'dog' has fewer than 3 training images"),
    (photographs(3, "images") | {"labels/0.txt": b"0 0.5 0.5 0.25 1.0\n"}, "'labels/0.txt' holds boxes, which are no"),
    (photographs(3, "images") | {"a.xml": b"<annotation><object><bndbox><xmin>1"}, "'a.xml' holds boxes"),
    (photographs(3, "images") | {"a.json": b'{"annotations": [{"bbox": [1, 2, 3, 4]}]}'}, "'a.json' holds boxes"),
    ({f"{name}/{number}.png": b"broken" for name in ("cat", "dog") for number in range(5)}, "none of 10 images"),
])
def test_what_makes_no_run_ends_in_one_line(project, setup, files, words):
    pack(project.source / "a.zip", files)
    before = (project.folder / "params.yaml").read_text()
    with pytest.raises(UserError, match=words) as error:
        setup("a.zip")
    assert "\n" not in str(error.value) and "raw.zip" not in str(error.value)
    assert (project.folder / "params.yaml").read_text() == before


@pytest.mark.slow
def test_by_itself(project: Project):
    """With all that is measured, in a process of its own."""
    (project.folder / "params.yaml").unlink()
    pack(project.source / "a.zip", {**two_classes(10), "bird/1.png": picture(1, 2, 3)} | photographs(9, "bird"))
    options = {"TORCH_HOME": str(project.folder), "http_proxy": "http://localhost:9", "https_proxy": "http://localhost:9"}
    done = project.run("new", arguments=("a.zip",), env=options)
    assert done.returncode == 0, done.stderr
    assert "make will take about" in done.stdout and "teacher.weights: imagenet" in done.stdout
    assert project.params()["split"]["image_size"] == 32 and not Path(project.folder, ".work/new").exists()
    wrong = project.run("new", arguments=("b.zip",))
    assert wrong.returncode == 1 and wrong.stderr.startswith("new: there is no 'b.zip'")
