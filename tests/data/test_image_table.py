"""Labels in tables: found where they are clear, read as told, and refused with one line where they can't be meant."""

import json

import pytest

from stages.core.errors import UserError
from stages.data import listing
from stages.data.annotations import tables
from stages.data.annotations.class_names import check_classes
from stages.data.layouts import image_folder, image_table


def archive(*names: str, **tables: str) -> dict[str, bytes]:
    return dict.fromkeys(names, b"") | {name: text.encode() for name, text in tables.items()}


def rows(contents: dict[str, bytes], **options) -> dict[str, tuple[str, str, str]]:
    """path → split, source_split and class."""
    samples = listing.list_samples(image_table, list(contents), contents.get, options)
    check_classes(samples)
    return {sample.path: tuple(sample)[1:4] for sample in samples}


def refused(contents: dict[str, bytes], **options) -> str:
    with pytest.raises(UserError) as caught:
        rows(contents, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


KAGGLE = archive("w/train_set/0.png", "w/train_set/1.png", "w/train_set/2.png", "w/train_set/3.png",
                 "w/test_images/0.png", "w/test_images/9.png",
                 **{"w/train.csv": "id_code,diagnosis\n0,no\n1,mild\n2,no\n3,mild\n",
                    "w/test.csv": "id_code\n0\n9\n", "w/sample_submission.csv": "id_code,diagnosis\n0,no\n9,no\n"})
HUGGING_FACE = archive("train/a.png", "train/b.png", "train/c.png", "train/d.png", "test/a.png", "test/b.png",
                       **{"train/metadata.jsonl": "".join(
                           json.dumps({"file_name": f"{name}.png", "label": label}) + "\n"
                           for name, label in zip("abcd", (0, 1, 1, 0), strict=True)),
                          "test/metadata.jsonl": '{"file_name": "a.png", "label": 1}\n'
                                                 '{"file_name": "b.png", "label": 0}\n'})
ROBOFLOW = archive("train/a.jpg", "train/b.jpg", "valid/a.jpg", "valid/c.jpg", "README.roboflow.txt",
                   **{"train/_classes.csv": "filename, cat, dog\na.jpg, 1, 0\nb.jpg, 0, 1\n",
                      "valid/_classes.csv": "filename, cat, dog\na.jpg, 0, 1\nc.jpg, 1, 0\n"})
SPLIT_COLUMN = archive("images/a.jpg", "images/b.jpg", "images/c.jpg", "images/d.jpg",
                       **{"meta.tsv": "file\tspecies\tset\nimages/a.jpg\towl\ttrain\nimages/b.jpg\tjay\tTraining\n"
                                      "images/c.jpg\towl\tvalid\nimages/d.jpg\tjay\ttest\n"})
PARTS = archive("ham_part_1/i1.jpg", "ham_part_1/i2.jpg", "ham_part_2/i3.jpg", "ham_part_2/i4.jpg",
                **{"metadata.csv": "lesion,image_id,dx,sex\nl1,i1,nv,m\nl1,i2,nv,m\nl2,i3,bkl,f\nl3,i4,bkl,m\n",
                   "hmnist.csv": "pixel0,pixel1,label\n1,2,0\n3,4,1\n"})


@pytest.mark.parametrize("contents, options, expected", [
    (KAGGLE, {"tables": ["w/train.csv"], "path": "{id_code}", "label": "diagnosis", "split": "", "names": ""},
     {"w/train_set/0.png": ("train", "train_set", "no"), "w/train_set/1.png": ("train", "train_set", "mild"),
      "w/train_set/2.png": ("train", "train_set", "no"), "w/train_set/3.png": ("train", "train_set", "mild"),
      "w/test_images/0.png": ("unlabelled", "test_images", ""),
      "w/test_images/9.png": ("unlabelled", "test_images", "")}),
    (HUGGING_FACE, {"tables": ["test/metadata.jsonl", "train/metadata.jsonl"], "path": "{file_name}", "label": "label",
                    "split": "", "names": ""},
     {"train/a.png": ("train", "train", "0"), "train/b.png": ("train", "train", "1"),
      "train/c.png": ("train", "train", "1"), "train/d.png": ("train", "train", "0"),
      "test/a.png": ("test", "test", "1"), "test/b.png": ("test", "test", "0")}),
    (ROBOFLOW, {"tables": ["train/_classes.csv", "valid/_classes.csv"], "path": "{filename}", "label": ["cat", "dog"],
                "split": "", "names": ""},
     {"train/a.jpg": ("train", "train", "cat"), "train/b.jpg": ("train", "train", "dog"),
      "valid/a.jpg": ("val", "valid", "dog"), "valid/c.jpg": ("val", "valid", "cat")}),
    (SPLIT_COLUMN, {"tables": ["meta.tsv"], "path": "{file}", "label": "species", "split": "set", "names": ""},
     {"images/a.jpg": ("train", "train", "owl"), "images/b.jpg": ("train", "Training", "jay"),
      "images/c.jpg": ("val", "valid", "owl"), "images/d.jpg": ("test", "test", "jay")}),
    (PARTS, {"tables": ["metadata.csv"], "path": "{image_id}", "label": "dx", "split": "", "names": ""},
     {"ham_part_1/i1.jpg": ("", "", "nv"), "ham_part_1/i2.jpg": ("", "", "nv"),
      "ham_part_2/i3.jpg": ("", "", "bkl"), "ham_part_2/i4.jpg": ("", "", "bkl")}),
])
def test_tables_as_they_are_downloaded(contents, options, expected):
    assert image_table.recognise(list(contents), contents.get) == options
    assert rows(contents) == expected
    assert rows(contents, **options) == expected


@pytest.mark.parametrize("name, text", [
    ("labels.json", '[{"file": "1.jpg", "class": "a"}, {"file": "2.jpg", "class": "b"}]'),
    ("labels.json", '{"1.jpg": "a", "2.jpg": "b"}'),
    ("labels.json", '{"1.jpg": {"class": "a"}, "2.jpg": {"class": "b"}}'),
    ("labels.json", '{"file": {"0": "1.jpg", "1": "2.jpg"}, "class": {"0": "a", "1": "b"}}'),
    ("labels.json", '{"version": 1, "items": [{"file": "1.jpg", "class": "a"}, {"file": "2.jpg", "class": "b"}]}'),
    ("labels.csv", "\ufefffile;class\r\n1.jpg;a\r\n2.jpg;b\r\n"),
    ("labels.csv", 'class,file\na,"./img/1.jpg"\nb,"img\\2.jpg"\n'),
    ("list.txt", "img/1.jpg a\nimg/2.jpg b\n"),
    ("list.txt", "1.jpg,a\n2.jpg,b\n"),
])
def test_forms_of_tables(name, text):
    contents = archive("img/1.jpg", "img/2.jpg", "img/3.jpg", **{name: text})
    found = rows(contents)
    assert [found[f"img/{number}.jpg"][2] for number in (1, 2, 3)] == ["a", "b", ""]


def test_a_path_of_several_columns_and_a_group():
    contents = archive("x/p1/a.jpg", "x/p2/a.jpg",
                       **{"t.csv": "patient,view,dx\np1,a,sick\np2,a,well\n"})
    assert image_table.recognise(list(contents), contents.get) is None
    options = {"tables": ["t.csv"], "path": "{patient}/{view}.jpg", "label": "dx", "group": "patient"}
    samples = listing.list_samples(image_table, list(contents), contents.get, options)
    assert [(sample.path, sample.target, sample.group) for sample in samples] == [
        ("x/p1/a.jpg", "sick", "p1"), ("x/p2/a.jpg", "well", "p2")]


@pytest.mark.parametrize("name, text", [
    ("map.json", '{"0": "mosaic", "1": "healthy", "2": "rot"}'), ("map.csv", "name,number\nmosaic,0\nhealthy,1\n"),
    ("classes.txt", "0 mosaic\n1 healthy\n")])
def test_names_of_numbered_classes(name, text):
    contents = archive("a.jpg", "b.jpg", "c.jpg", **{"t.csv": "id,label\na,0\nb,1\n", name: text})
    assert image_table.recognise(list(contents), contents.get)["names"] == name
    options = image_table.recognise(list(contents), contents.get)
    assert rows(contents, **options) == {"a.jpg": ("", "", "mosaic"), "b.jpg": ("", "", "healthy"),
                                         "c.jpg": ("unlabelled", "", "")}
    assert rows(contents, **options | {"names": ""})["a.jpg"] == ("", "", "0")
    assert "a.jpg is no table of two columns with a name" in refused(contents, **options | {"names": "a.jpg"})


def test_tables_that_do_not_say_one_thing_are_not_recognised():
    voc = archive("1.jpg", "2.jpg", "3.jpg", "4.jpg", **{"Main/cat_train.txt": "1 -1\n2  1\n3  0\n4 -1\n"})
    assert image_table.recognise(list(voc), voc.get) is None
    two = archive("1.jpg", "2.jpg", "3.jpg", "4.jpg", **{"t.csv": "id,size,colour\n1,s,r\n2,l,r\n3,s,g\n4,l,g\n"})
    assert image_table.recognise(list(two), two.get) is None
    message = refused(two)
    assert "image_table" in message and "data.layout_options: tables, path, label" in message
    assert rows(two, tables=["t.csv"], path="{id}", label="colour")["3.jpg"][2] == "g"


BASE = archive("a/1.jpg", "b/2.jpg", **{"t.csv": "id,label\n1,x\n2,y\n"})


@pytest.mark.parametrize("contents, options, words", [
    (BASE, {"tables": ["u.csv"], "path": "{id}", "label": "label"}, ["no u.csv", "layout_options.tables"]),
    (BASE, {"tables": ["a/1.jpg"], "path": "{id}", "label": "label"}, ["a/1.jpg can't be read as a table"]),
    (BASE, {"label": "klass"}, ["t.csv has no column 'klass'", "id, label"]),
    (BASE, {"path": "{name}.jpg"}, ["t.csv has no column 'name'"]),
    (BASE, {"path": "c/{id}.jpg"}, ["2 row(s)", "'c/1.jpg'", "layout_options.path", "skip"]),
    (BASE, {"path": "c/{id}.jpg", "missing": "skip"}, ["2 row(s)"]),
    (BASE, {"path": 3}, ["data.layout_options.path is 3"]),
    (BASE, {"column": "x"}, ["data.layout_options.column is unknown", "missing"]),
    (BASE | archive("c/1.jpg"), {}, ["'1' in t.csv", "'a/1.jpg' or 'c/1.jpg'", "layout_options.path"]),
    (archive("1.jpg", **{"t.csv": "id,label\n1,x\n1,y\n"}), {}, ["'1.jpg' two classes", "'x' and 'y'"]),
    (archive("1.jpg", "2.jpg", "3.jpg", **{"t.csv": "id,label\n1,x|y\n2,y|z\n3,z\n"}), {}, ["several classes", "|"]),
    (archive("1.jpg", "2.jpg", "3.jpg", **{"t.csv": "id,label\n1,x y\n2,y\n3,x\n"}), {}, ["'x y'", "several classes"]),
    (archive("1.jpg", "2.jpg", **{"t.csv": "id,x,y\n1,1,1\n2,0,1\n"}),
     {"tables": ["t.csv"], "path": "{id}", "label": ["x", "y"]}, ["several classes", "x, y"]),
    (archive("1.jpg", "2.jpg", **{"t.csv": "id,label,part\n1,x,train\n2,y,left\n"}), {"split": "part"},
     ["the split 'left'", "'2.jpg'"]),
    (archive("train/1.jpg", "2.jpg", **{"t.csv": "id,label\n1,x\n2,y\n"}), {}, ["'train/1.jpg'", "'2.jpg'", "none"]),
])
def test_what_cannot_be_meant_stops(contents, options, words):
    message = refused(contents, **options)
    assert all(word in message for word in words), message


def test_rows_without_an_image_may_be_skipped():
    contents = archive("1.jpg", "2.jpg", **{"t.csv": "id,label\n1,x\n2,y\n3,x\n"})
    assert "1 row(s) name an image that is not there, first '3' in t.csv" in refused(contents)
    assert rows(contents, missing="skip") == {"1.jpg": ("", "", "x"), "2.jpg": ("", "", "y")}


@pytest.mark.parametrize("name, text", [
    ("t.csv", ""), ("t.csv", "\0\0,\0\n\0"), ("t.csv", 'a,b\n"' + "x" * (1 << 20) + '",1\n'), ("t.json", "[" * 9999),
    ("t.json", "{}"), ("t.json", '"text"'), ("t.json", "3"), ("t.jsonl", "1\n2\n"), ("t.txt", "no list at all\n"),
    ("t.txt", "\ufffd"), ("t.json", '{"a": [1], "b": [2]}'), ("t.json", '{"a": {"x": 1}, "b": {"y": 2}}'),
], ids=range(12))
def test_files_that_are_no_tables_are_no_matter(name, text):
    contents = archive("cat/1.jpg", "dog/2.jpg", **{name: text})
    assert image_table.recognise(list(contents), contents.get) is None
    assert image_folder.recognise(list(contents), contents.get) == {}


def test_a_table_of_pixels_is_not_read_to_its_end():
    rows = [",".join(map(str, range(900))), *[",".join(["7"] * 900)] * 60]
    contents = archive("a.jpg", **{"pixels.csv": "\n".join(rows)})
    lengths = []
    assert not list(tables.read_tables(contents, contents.get, lambda head: lengths.append(len(head.rows))))
    assert lengths == [tables.HEAD - 1]


def test_many_tables_beside_images_are_about_one_each(monkeypatch):
    contents = archive(*(f"{n}.jpg" for n in range(30)), **{f"{n}.txt": f"{n}.jpg 1" for n in range(30)})
    assert image_table.recognise(list(contents), contents.get) is None


def test_a_rows_number_is_no_name_of_an_image():
    """The pictures are called by numbers too, in another order."""
    contents = archive("0.png", "1.png", "2.png", "3.png",
                       **{"t.csv": "number,file,label\n0,2.png,x\n1,0.png,x\n2,3.png,y\n3,1.png,y\n"})
    assert image_table.recognise(list(contents), contents.get)["path"] == "{file}"
    ids = archive("0.png", "1.png", "2.png", "3.png", **{"t.csv": ",id,label\n0,2,x\n1,0,x\n2,3,y\n3,1,y\n"})
    assert image_table.recognise(list(ids), ids.get)["path"] == "{id}"
    assert rows(ids)["2.png"][2] == "x"


@pytest.mark.parametrize("other", ["", "extra"])
def test_a_split_that_some_rows_lack_stops(other):
    contents = archive(*(f"{number}.png" for number in range(6)), **{
        "t.csv": "file,label,split\n0.png,x,train\n1.png,y,train\n2.png,x,train\n3.png,y,test\n4.png,x,test\n"
                 f"5.png,y,{other}\n"})
    options = image_table.recognise(list(contents), contents.get)
    assert options["split"] == "split"
    assert "'5.png'" in refused(contents, **options)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_no_two_letters_become_one(encoding):
    contents = archive(*(f"{number}.png" for number in range(4)))
    contents["t.csv"] = "file,label\n0.png,pêche\n1.png,pèche\n2.png,pêche\n3.png,pèche\n".encode(encoding)
    assert [row[2] for row in rows(contents).values()] == ["pêche", "pèche"] * 2


def test_a_table_may_begin_with_an_image_or_a_remark():
    lines = "0.png,x\n1.png,y\n2.png,x\n3.png,y\n"
    for text in (lines, f"# by hand\n# in May\nfile,label\n{lines}"):
        contents = archive(*(f"{number}.png" for number in range(4)), **{"t.csv": text})
        assert [row[2] for row in rows(contents).values()] == ["x", "y", "x", "y"]


@pytest.mark.parametrize("called", ["/disk/set/test/{}.jpg", "C:\\set\\test\\{}.jpg", "https://a.org/set/test/{}.jpg",
                                    "TEST/{}.JPG", "test/{}.jpg"])
def test_paths_of_other_machines_and_spellings_are_found(called):
    """And never those of another split."""
    images, e = [f"{split}/é{number}.jpg" for split in ("train", "test") for number in range(4)], "e\u0301"
    lines = (f"{called.format(f'{e}{number}')},{'xy'[number % 2]}\n" for number in range(4))
    contents = archive(*images, **{"t.csv": "file,label\n" + "".join(lines)})
    found = rows(contents, tables=["t.csv"], path="{file}", label="label")
    assert [found[name][2] for name in images] == [""] * 4 + ["x", "y"] * 2


def test_several_classes_of_a_row_are_not_taken_for_one():
    contents = archive("1.jpg", "2.jpg", "3.jpg", "4.jpg", **{"t.csv": "id,x,y\n1,1,1\n2,0,1\n3,1,1\n4,0,1\n"})
    assert image_table.recognise(list(contents), contents.get) is None


@pytest.mark.parametrize(("column", "values"), [
    ("target", [0.1, 0.5, 0.1, 0.9] * 10), ("age", [number // 2 for number in range(60)]), ("y", [1.5, 2.25] * 20)])
def test_numbers_that_measure_something_are_no_classes(column, values):
    images = [f"{number}.png" for number in range(len(values))]
    lines = "".join(f"{image},{value}\n" for image, value in zip(images, values, strict=True))
    contents = archive(*images, **{"t.csv": f"file,{column}\n{lines}"})
    assert image_table.recognise(list(contents), contents.get) is None


def test_few_whole_numbers_are_grades():
    images = [f"{number}.png" for number in range(20)]
    contents = archive(*images, **{"t.csv": "image,grade\n" + "".join(
        f"{image},{number % 5}.0\n" for number, image in enumerate(images))})
    assert image_table.recognise(list(contents), contents.get)["label"] == "grade"
