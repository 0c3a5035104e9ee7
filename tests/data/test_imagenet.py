"""ImageNet's layout: class folders for training, a list for validation."""

import pytest

from stages.core.errors import UserError
from stages.data import listing
from stages.data.layouts import image_folder, imagenet

ROOT = "ILSVRC/Data/CLS-LOC"
IMAGES = dict.fromkeys([f"{ROOT}/train/n01/n01_1.JPEG", f"{ROOT}/train/n02/n02_1.JPEG", f"{ROOT}/val/v_1.JPEG",
                        f"{ROOT}/val/v_2.JPEG", f"{ROOT}/test/t_1.JPEG"], b"")
WORDS = {"LOC_synset_mapping.txt": b"n01 tench, Tinca tinca\nn02 goldfish\n"}
LISTS = {"LOC_val_solution.csv": b"ImageId,PredictionString\nv_1,n02 1 2 3 4 \nv_2,n01 1 2 3 4 n01 5 6 7 8 \n",
         "val.txt": b"v_1.JPEG 1\nv_2.JPEG 0\n", "val_list.txt": b"val/v_1.JPEG n02\nval/v_2.JPEG n01\n"}


def rows(contents: dict[str, bytes], **options) -> list[tuple[str, str, str]]:
    samples = listing.list_samples(imagenet, list(contents), contents.get, options)
    return [(sample.path.removeprefix(f"{ROOT}/"), sample.split, sample.target) for sample in samples]


@pytest.mark.parametrize("name", LISTS)
def test_the_list_has_the_classes_of_val_which_is_the_test_set(name):
    contents = IMAGES | {name: LISTS[name]}
    assert imagenet.recognise(list(contents), contents.get) == {"list": name}
    assert image_folder.recognise(list(contents), contents.get) is None
    assert rows(contents) == [
        ("test/t_1.JPEG", "unlabelled", ""), ("train/n01/n01_1.JPEG", "train", "n01"),
        ("train/n02/n02_1.JPEG", "train", "n02"), ("val/v_1.JPEG", "test", "n02"), ("val/v_2.JPEG", "test", "n01")]


def test_classes_have_readable_names():
    contents = IMAGES | WORDS | {"val.txt": LISTS["val.txt"]}
    assert [target for _, _, target in rows(contents)] == ["", "tench", "goldfish", "goldfish", "tench"]


@pytest.mark.parametrize("files, options, words", [
    ({"val.txt": b"v_1.JPEG 1\nv_2.JPEG 2\n"}, {"list": "val.txt"}, ["'2'", "number of one (0–1)"]),
    ({"val.txt": b"v_1.JPEG 1\n"}, {"list": "val.txt"}, ["v_2.JPEG' has no line in val.txt"]),
    ({}, {"list": "val.txt"}, ["no list val.txt", "data.layout"]),
    ({}, {}, ["set in data.layout_options: list"]),
])
def test_lists_that_do_not_fit(files, options, words):
    contents = IMAGES | files
    assert imagenet.recognise(list(contents), contents.get) is None
    with pytest.raises(UserError) as caught:
        rows(contents, **options)
    assert all(word in str(caught.value) for word in words) and "\n" not in str(caught.value)


def test_another_archive():
    contents = {"cat/1.jpg": b"", "dog/2.jpg": b"", "val.txt": b"1.jpg 0\n"}
    assert imagenet.recognise(list(contents), contents.get) is None
    with pytest.raises(UserError, match=r"no train/<class>/x\.jpg"):
        rows(contents, list="val.txt")
