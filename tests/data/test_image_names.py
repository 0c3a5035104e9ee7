"""Labels in files' names."""

import pytest

from stages.core.errors import UserError
from stages.data import listing
from stages.data.layouts import image_names


def rows(*names: str, **options) -> list[tuple[str, str, str]]:
    samples = {sample.path: tuple(sample)[1:4]
               for sample in listing.list_samples(image_names, names, lambda name: b"", options)}
    return [samples[name] for name in names]


@pytest.mark.parametrize("names, pattern, labels", [
    (["cat.0.jpg", "cat.1.jpg", "dog.0.jpg", "dog.1.jpg"], "{label}.{number}", ["cat", "cat", "dog", "dog"]),
    (["great_pyrenees_1.jpg", "great_pyrenees_12.jpg", "Abyssinian_1.jpg", "Abyssinian_2.jpg"], "{label}_{number}",
     ["great_pyrenees", "great_pyrenees", "Abyssinian", "Abyssinian"]),
    (["ill (1).jpg", "ill (2).jpg", "well (1).jpg", "well (2).jpg"], "{label} ({number})",
     ["ill", "ill", "well", "well"]),
    (["01_a.jpg", "02_a.jpg", "03_b.jpg", "04_b.jpg"], "{number}_{label}", ["a", "a", "b", "b"]),
    (["cat1.jpg", "cat2.jpg", "dog1.jpg", "dog2.jpg"], "{label}{number}", ["cat", "cat", "dog", "dog"]),
])
def test_names_as_they_are_found(names, pattern, labels):
    names = [f"set/images/{name}" for name in names]
    assert image_names.recognise(names, None) == {"pattern": pattern}
    assert rows(*names) == [("", "", label) for label in labels]


def test_splits_are_folders_and_test_images_may_have_no_label():
    names = ["d/train/cat.0.jpg", "d/train/cat.1.jpg", "d/train/dog.0.jpg", "d/train/dog.1.jpg", "d/test1/1.jpg"]
    assert image_names.recognise(names, None) == {"pattern": "{label}.{number}"}
    assert rows(*names) == [("train", "train", "cat"), ("train", "train", "cat"), ("train", "train", "dog"),
                            ("train", "train", "dog"), ("unlabelled", "test1", "")]


@pytest.mark.parametrize("names", [
    ["IMG_1.jpg", "IMG_2.jpg", "DSC_1.jpg", "DSC_2.jpg"],  # cameras
    ["1_1.jpg", "1_2.jpg", "2_1.jpg", "2_2.jpg"],  # numbers alone
    [f"IMG_2021011{day}_{number}.jpg" for day in range(3) for number in range(2)],  # cameras' dates
    [f"video{video}_frame{number}_0.jpg" for video in range(3) for number in range(2)],
    [f"Screenshot from 2021-01-0{day} {number}.png" for day in range(3) for number in range(2)],
    ["cat_1.jpg", "cat_2.jpg"],  # one class
    ["cat_1.jpg", "dog_1.jpg", "owl_1.jpg"],  # one image a class
    ["cat/cat_1.jpg", "cat/cat_2.jpg", "dog/dog_1.jpg", "dog/dog_2.jpg"],  # the folders say it
    ["cat_1.jpg", "cat_2.jpg", "dog_1.jpg", "dog_2.jpg", "portrait.jpg"],
])
def test_names_that_do_not_say_a_class(names):
    assert image_names.recognise(names, None) is None
    with pytest.raises(UserError, match=r"set in data\.layout_options: pattern"):
        rows(*names)


def test_a_table_says_it_better():
    contents = {f"{name}{number}.jpg": b"" for name in "ab" for number in range(3)}
    assert image_names.recognise(list(contents), contents.get) == {"pattern": "{label}{number}"}
    contents["labels.csv"] = b"id,breed\na0,pug\na1,boxer\na2,pug\nb0,boxer\n"
    assert image_names.recognise(list(contents), contents.get) is None


def test_a_pattern_of_ones_own():
    names = ["x/s1_cat_left.jpg", "x/s2_dog_right.jpg"]
    assert rows(*names, pattern="s{number}_{label}_*") == [("", "", "cat"), ("", "", "dog")]
    assert rows("a/cat/left/1.jpg", "a/dog/left/1.jpg", pattern="{label}/left/*") == [("", "", "cat"), ("", "", "dog")]
    with pytest.raises(UserError, match=r"'x/s2_dog_right.jpg' doesn't fit"):
        rows(*names, pattern="{label}_left")
    with pytest.raises(UserError, match=r"data\.layout_options\.pattern is 'cat'"):
        rows(*names, pattern="cat")
