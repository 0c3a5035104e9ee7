"""Bad images and sets that lack what a stage needs end in one line that names the file or class and a remedy."""

import pytest
from sources import pack, picture, two_classes


def source(project, files: dict[str, bytes], *stages: str):
    """A project whose source holds `files`, and in which `stages` have run."""
    pack(project.source / "a.zip", files)
    project.set("data.source", "a.zip")
    project.main(*stages)
    return project


def test_only_bad_files(project, fails):
    source(project, {"cat/a.jpg": b"", "dog/b.png": b"no"}, "fetch", "scan")
    fails("clean", "data/raw.zip", "none of its 2 images", "decisions.csv", "replace")
    assert len((project.folder / "data/decisions.csv").read_text().splitlines()) == 3


def test_nothing_left_of_a_class(project, fails):
    source(project, two_classes(3) | {"owl/a.png": b"no"}, "fetch", "scan")
    fails("clean", "'owl'", "decisions.csv", "add images")


def test_unreadable_may_stop_the_stage(project, fails):
    source(project, two_classes(3) | {"cat/x.png": b"no"}, "fetch", "scan")
    project.set("clean.unreadable", "stop")
    fails("clean", "'cat/x.png'", "clean.unreadable")


@pytest.mark.parametrize("files, words", [
    ({"readme.txt": b"x"}, ["no images", "data.layout"]),
    ({"a.png": b"x", "cat/b.png": b"x"}, ["'a.png'", "no class folder", "data.layout"]),
    ({"train/cat/a.png": b"x", "extra/b.png": b"x"}, ["'extra/b.png'", "beside the split folders", "unlabelled"]),
    ({"train/cat/a.png": b"x", "train/b.png": b"x"}, ["'train/b.png'", "no class folder"]),
])
def test_files_that_fit_no_layout(project, fails, files, words):
    source(project, files, "fetch")
    fails("scan", "data/raw.zip", *words)


def test_tiny_imagenet_layout_on_something_else(project, fails):
    source(project, two_classes(2), "fetch").set("data.layout", "tiny_imagenet")
    fails("scan", "val_annotations.txt", "data.layout")


def test_a_class_with_one_image(project, fails):
    source(project, two_classes(5) | {"owl/a.png": picture(1, 1, 1)}, "fetch", "scan", "clean")
    fails("split", "'owl'", "1 training image", "train, test and val need one each", "add images")


def test_a_single_class(project, fails):
    source(project, {f"cat/{n}.png": picture(n, 0, 0) for n in range(6)}, "fetch", "scan", "clean")
    fails("split", "1 class", "cat", "at least two")


@pytest.mark.slow
@pytest.mark.parametrize("held", ["val", "test"])
def test_a_class_unseen_in_training(project, fails, held):
    files = {f"train/{name}": content for name, content in two_classes(5).items()}
    files |= {f"{held}/cat/a.png": picture(1, 1, 1), f"{held}/owl/b.png": picture(2, 2, 2)}
    source(project, files, "fetch", "scan", "clean")
    fails("split", "'owl'", held, "training images")


@pytest.mark.slow
def test_images_of_other_sizes_are_resized(project):
    odd = {"cat/wide.png": picture(1, 1, 1, size=(300, 3)), "dog/dot.png": picture(2, 2, 2, size=(1, 1))}
    source(project, two_classes(5) | odd, "fetch", "scan", "clean", "split")
