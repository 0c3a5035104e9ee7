"""Folders as classes: archives as they are downloaded are read right, or stop with one line; never nonsense classes."""

import pytest

from stages.core.errors import UserError
from stages.data import listing
from stages.data.annotations import split_names
from stages.data.annotations.class_names import check_classes
from stages.data.layouts import image_folder


def rows(*names: str, **options) -> list[tuple[str, str, str]]:
    """split, source_split and class of each image; the names come as an archive lists them."""
    samples = list(image_folder.samples(names, lambda name: b"", image_folder.Options(**options)))
    check_classes(samples)
    assert [sample.path for sample in samples] == [name for name in names if name.endswith(".jpg")][:len(samples)]
    return [tuple(sample)[1:4] for sample in samples]


def refused(*names: str, **files: str) -> str:
    contents = dict.fromkeys(names, b"") | {name: text.encode() for name, text in files.items()}
    with pytest.raises(UserError) as caught:
        check_classes(list(image_folder.samples(list(contents), contents.get)))
    assert "\n" not in str(caught.value) and str(caught.value).startswith("data/raw.zip: ")
    assert image_folder.recognise(list(contents), contents.get) is None
    return str(caught.value)


@pytest.mark.parametrize("names, expected", [
    # Kaggle's cats and dogs: each split folder holds itself once more.
    (["training_set/training_set/cats/1.jpg", "training_set/training_set/dogs/1.jpg", "test_set/test_set/cats/2.jpg"],
     [("train", "training_set", "cats"), ("train", "training_set", "dogs"), ("test", "test_set", "cats")]),
    (["w/sign_train/stop/1.jpg", "w/sign_train/go/1.jpg", "w/sign_test/stop/2.jpg"],
     [("train", "sign_train", "stop"), ("train", "sign_train", "go"), ("test", "sign_test", "stop")]),
    (["images_part_1/cat/1.jpg", "images_part_1/dog/1.jpg", "images_part_2/cat/2.jpg"],
     [("", "", "cat"), ("", "", "dog"), ("", "", "cat")]),
    (["d/part1/train/cat/1.jpg", "d/part2/train/dog/1.jpg", "d/part2/val/dog/2.jpg"],
     [("train", "train", "cat"), ("train", "train", "dog"), ("val", "val", "dog")]),
    (["train/part1/cat/1.jpg", "train/part2/dog/1.jpg", "test/part1/cat/2.jpg"],
     [("train", "train", "cat"), ("train", "train", "dog"), ("test", "test", "cat")]),
    (["Train_Images/images/cat/1.jpg", "Train_Images/images/dog/1.jpg", "Val_Images/images/cat/2.jpg"],
     [("train", "Train_Images", "cat"), ("train", "Train_Images", "dog"), ("val", "Val_Images", "cat")]),
    (["trn/cat/1.jpg", "dev/cat/2.jpg", "eval/cat/3.jpg"],
     [("train", "trn", "cat"), ("val", "dev", "cat"), ("test", "eval", "cat")]),
    # A vehicle among the classes of a divided set.
    (["train/bus/1.jpg", "train/train/1.jpg", "test/bus/2.jpg", "test/train/2.jpg"],
     [("train", "train", "bus"), ("train", "train", "train"), ("test", "test", "bus"), ("test", "test", "train")]),
    (["asl_train/asl_train/A/1.jpg", "asl_train/asl_train/B/1.jpg", "asl_test/asl_test/A_test.jpg"],
     [("train", "asl_train", "A"), ("train", "asl_train", "B"), ("unlabelled", "asl_test", "")]),
    (["bullet_train/1.jpg", "test_tube/1.jpg"], [("", "", "bullet_train"), ("", "", "test_tube")]),
    (["cat/train/1.jpg", "cat/test/2.jpg", "dog/train/3.jpg", "dog/test/4.jpg"],
     [("train", "train", "cat"), ("test", "test", "cat"), ("train", "train", "dog"), ("test", "test", "dog")]),
    # Test images without labels, in a folder that says nothing.
    (["train/cat/1.jpg", "train/dog/1.jpg", "test/images/2.jpg"],
     [("train", "train", "cat"), ("train", "train", "dog"), ("unlabelled", "test", "")]),
    (["set/1/a.jpg", "set/2/a.jpg", "set/10/a.jpg"], [("", "", "1"), ("", "", "2"), ("", "", "10")]),
])
def test_archives_as_they_are_downloaded(names, expected):
    assert rows(*names) == expected


@pytest.mark.parametrize("names, words", [
    (["train/cat.0.jpg", "train/dog.0.jpg", "test1/1.jpg"], ["'train/cat.0.jpg'", "no class folder", "image_names"]),
    (["train_images/1.jpg", "test_images/2.jpg"], ["'train_images/1.jpg'", "no class folder", "image_table"]),
    (["train_images/1.jpg", "train_images/2.jpg"], ["train_images", "names of splits"]),
    (["train/a.jpg", "test/b.jpg", "cats/c.jpg"], ["cats, test, train", "names of splits"]),
    (["ham_part_1/1.jpg", "ham_part_2/2.jpg"], ["ham_part_1, ham_part_2", "parts"]),
    (["all/images/1.jpg"], ["images", "not of what is seen"]),
    (["color/apple/1.jpg", "color/pear/1.jpg", "grayscale/apple/1.jpg", "grayscale/pear/1.jpg",
      "segmented/apple/1.jpg", "segmented/pear/1.jpg"],
     ["color, grayscale, segmented", "apple, pear", "ignored: [grayscale, segmented]"]),
    (["images/1.jpg", "masks/1.png"], ["'masks/1.png'", "mask of another image", "segmentation"]),
    (["covid/images/1.png", "covid/masks/1.png", "flu/images/2.png", "flu/masks/2.png"],
     ["'covid/masks/1.png'", "(2 do)", "class 'covid'", "ignored: [masks"]),
    (["benign/b (1).png", "benign/b (1)_mask.png", "normal/n (1).png"], ["'benign/b (1)_mask.png'", "(1 do)"]),
    (["w/train/cat/1.jpg", "w/train/dog/1.jpg", "w/Meta/1.jpg", "w/papers/1.jpg"],
     ["'w/Meta/1.jpg'", "beside the split folders", "{ignored: [w/Meta/*, w/papers/*]}"]),
    (["images/1.jpg", "annotations/trimaps/1.png"], ["annotations, images", "not of what is seen"]),
    (["cat/1.jpg", "dog/1.jpg", "test/1.jpg"], ["'test/1.jpg'", "beside the classes", "{ignored: [test/*]}"]),
    (["w/cat/1.jpg", "w/dog/1.jpg", "w/valid/1.jpg"], ["'w/valid/1.jpg'", "{ignored: [w/valid/*]}"]),
])
def test_what_would_be_nonsense_stops(names, words):
    message = refused(*names)
    assert all(word in message for word in words), message


def test_what_is_named_is_left_out():
    names = ["color/apple/1.jpg", "color/pear/1.jpg", "grayscale/apple/1.jpg", "grayscale/pear/1.jpg"]
    assert rows(*names, ignored=["grayscale"]) == [("", "", "apple"), ("", "", "pear")]
    assert rows("flu/a.jpg", "cold/b.jpg", "flu/a_mask.jpg", ignored=["*_mask.jpg"]) == [("", "", "flu"),
                                                                                         ("", "", "cold")]


def test_a_folder_inside_one_of_its_name_may_be_left_out():
    """The archive of chest X-rays holds itself once more."""
    names = ["x/x/train/ill/1.jpg", "x/x/train/well/1.jpg", "x/train/ill/1.jpg", "x/train/well/1.jpg"]
    assert "{ignored: [x/x/*]}" in refused(*names)
    assert rows(*names[2:], ignored=["x/x/*"]) == [("train", "train", "ill"), ("train", "train", "well")]


def test_class_folders_may_hold_the_same_folders():
    names = ["cat/left/1.jpg", "cat/right/1.jpg", "dog/left/1.jpg", "dog/right/1.jpg"]
    assert "{subfolders: ignore}" in refused(*names)
    assert [row[2] for row in rows(*names, subfolders="ignore")] == ["cat", "cat", "dog", "dog"]


def test_a_table_that_says_otherwise_stops():
    names = ["train_images/1.jpg", "train_images/2.jpg", "train_images/3.jpg", "train_images/4.jpg"]
    message = refused(*names, **{"train.csv": "id_code,diagnosis\n1,0\n2,1\n3,0\n4,1\n"})
    assert "train.csv" in message and "'id_code'" in message and "'diagnosis'" in message and "image_table" in message
    # Roboflow's export: the classes of each split are in a table there.
    table = "filename, cat, dog\na.jpg, 1, 0\nb.jpg, 0, 1\n"
    message = refused("train/a.jpg", "train/b.jpg", "valid/a.jpg", "valid/b.jpg",
                      **{"train/_classes.csv": table, "valid/_classes.csv": table})
    assert "train/_classes.csv" in message and "image_table" in message


def test_a_table_that_agrees_with_the_folders_is_no_matter():
    contents = {"x/cat/1.jpg": b"", "x/cat/2.jpg": b"", "x/dog/3.jpg": b"", "x/dog/4.jpg": b"",
                "x/list.csv": b"path,label,breed\ncat/1.jpg,0,a\ncat/2.jpg,0,b\ndog/3.jpg,1,c\ndog/4.jpg,1,d\n"}
    assert image_folder.recognise(list(contents), contents.get) == {}


def test_lists_that_number_the_classes_in_two_ways_are_no_matter():
    """The archive of household waste: one list counts from zero, one from one."""
    contents = {f"{name}/{name}{number}.jpg": b"" for name in ("glass", "metal") for number in range(3)}
    for start in (0, 1):
        contents[f"from{start}.txt"] = "".join(f"{name}{number}.jpg {start + (name == 'metal')}\n" for name in
                                               ("glass", "metal") for number in range(3)).encode()
    assert image_folder.recognise(list(contents), contents.get) == {}


def test_tables_may_be_ignored():
    contents = {"cat/1.jpg": b"", "dog/2.jpg": b"", "cat/3.jpg": b"", "dog/4.jpg": b"",
                "list.csv": b"file,class\n1.jpg,a\n2.jpg,a\n3.jpg,b\n4.jpg,b\n"}
    with pytest.raises(UserError, match="tables: ignore"):
        image_folder.samples(list(contents), contents.get)
    samples = image_folder.samples(list(contents), contents.get, image_folder.Options(tables="ignore"))
    assert [sample.target for sample in samples] == ["cat", "dog", "cat", "dog"]


def test_classes_that_training_lacks_are_not_recognised():
    names = ["train/n01/images/a.JPEG", "train/n02/images/b.JPEG", "val/images/c.JPEG", "val/val_annotations.txt"]
    assert image_folder.recognise(names, lambda name: b"c.JPEG\tn01\t0\t0\t1\t1\n") is None


def test_files_without_a_suffix_are_known_by_their_first_bytes():
    contents = {"cat/0001": b"\xff\xd8\xff\xe0", "dog/x.17": b"\x89PNG\r\n\x1a\n", "dog/LICENSE": b"MIT"}
    samples = image_folder.samples(list(contents), contents.get)
    assert [sample.path for sample in samples] == ["cat/0001", "dog/x.17"]


@pytest.mark.parametrize("folder, split, rest", [
    ("train", "train", ""), ("Training", "train", ""), ("trainset", "train", ""), ("TrainingSet", "train", ""),
    ("train2017", "train", ""), ("train_val", "train", ""), ("VALID", "val", ""), ("validation-data", "val", ""),
    ("test1", "test", ""), ("seg_test", "test", ""), ("sign_train", "train", "sign"), ("test_tube", "test", "tube"),
])
def test_names_of_splits(folder, split, rest):
    assert split_names.parse(folder) == (split, rest)


@pytest.mark.parametrize("folder", ["train_test_split", "strain", "contest", "latest", "images", "1"])
def test_names_of_no_split(folder):
    assert split_names.parse(folder) is None


LISTED = {f"images/{label}/{label}{number}.jpg": b"" for label in ("cake", "pie") for number in range(4)} | {
    "meta/train.txt": b"cake/cake0\ncake/cake1\npie/pie0\npie/pie1\n",
    "meta/test.txt": b"cake/cake2\ncake/cake3\npie/pie2\npie/pie3\n", "meta/labels.txt": b"Cake\nPie\n"}


def test_lists_of_the_splits_are_read():
    assert image_folder.recognise(list(LISTED), LISTED.get) == {"lists": "meta/{split}.txt"}
    found = listing.list_samples(image_folder, list(LISTED), LISTED.get, {"lists": "meta/{split}.txt"})
    assert {sample.path: sample.split for sample in found} == {
        f"images/{label}/{label}{number}.jpg": "train" if number < 2 else "test"
        for label in ("cake", "pie") for number in range(4)}
    assert {sample.target for sample in found} == {"cake", "pie"}


def test_lists_that_leave_images_out_are_not_taken_for_the_splits():
    """Asked for, they are refused."""
    some = LISTED | {"meta/test.txt": b"cake/cake2\n"}
    assert image_folder.recognise(list(some), some.get) == {}
    with pytest.raises(UserError, match=r"'images/cake/cake3\.jpg' is in none of the lists meta/\{split\}\.txt"):
        listing.list_samples(image_folder, list(some), some.get, {"lists": "meta/{split}.txt"})
