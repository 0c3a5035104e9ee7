"""Archives inside archives: zips, WebDataset's tars, Hugging Face's Parquet files."""

import io
import json
import sys
import tarfile
import zipfile

import pytest
from sources import pack, picture, two_classes

from stages.core.errors import UserError
from stages.data import archive, listing
from stages.data.layouts import image_folder, image_table, webdataset


def tar(files: dict[str, bytes], mode: str = "w") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as shard:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            shard.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return packed.getvalue()


def members(tmp_path, files: dict[str, bytes]) -> dict[str, bytes]:
    """What the source reads as."""
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    with archive.open_members(pack(tmp_path / "a.zip", files), scratch, 10**9) as found:
        contents = {}
        for member in found:
            with member.open() as file:
                contents[member.path] = file.read()
            assert member.size == len(contents[member.path])
    return contents


def test_names_in_utf8_that_do_not_say_so(tmp_path):
    """As Linux's and Macintosh's zip write them; Latin letters of the format's own code page stay."""
    packed = zipped({"Café/1.png": b"1", "日本/2.png": b"2"})
    version, flag = (20).to_bytes(2, "little"), (1 << 11).to_bytes(2, "little")
    assert packed.count(version + flag) == 4  # of two files, and of both in the directory at the end
    (tmp_path / "a.zip").write_bytes(packed.replace(version + flag, version + b"\0\0"))
    old = tmp_path / "a.zip"
    with zipfile.ZipFile(old) as file:
        assert "Café/1.png" not in file.namelist()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with archive.open_members(old, scratch, 10**9) as found:
        assert [member.path for member in found] == ["Café/1.png", "日本/2.png"]


def test_archives_inside_are_folders(tmp_path):
    files = {"set/train.zip": zipped(two_classes(1)), "set/test.tar.gz": tar(two_classes(1), "w:gz"), "set/a.txt": b"a"}
    found = members(tmp_path, files)
    assert list(found) == ["set/a.txt", "set/test/cat/000.png", "set/test/dog/000.png", "set/train/cat/000.png",
                           "set/train/dog/000.png"]
    assert found["set/train/cat/000.png"] == found["set/test/cat/000.png"] == two_classes(1)["cat/000.png"]
    samples = image_folder.samples(list(found), found.get)
    assert [(sample.split, sample.target) for sample in samples] == [("test", "cat"), ("test", "dog"), ("train", "cat"),
                                                                    ("train", "dog")]


def test_an_archive_beside_what_it_holds_stays_closed(tmp_path):
    files = {"train.zip": zipped({"cat/1.png": b"1"}), "train/cat/1.png": b"1"}
    assert list(members(tmp_path, files)) == ["train.zip", "train/cat/1.png"]


def test_a_broken_archive_inside_is_named(tmp_path):
    with pytest.raises(UserError, match=r"a\.zip: 'train\.zip' is broken or cut off"):
        members(tmp_path, {"train.zip": zipped({"cat/1.png": bytes(999)})[:-30]})
    with pytest.raises(UserError, match=r"a\.zip: 'train\.zip': the member '\.\./x\.png' leads out"):
        members(tmp_path, {"train.zip": zipped({"../x.png": b"1"})})


SHARDS = {
    "train-0000.tar": tar({"01.png": picture(1, 1, 1), "01.cls": b"0\n", "02.png": picture(2, 2, 2), "02.cls": b"1"}),
    "train-0001.tar": tar({"03.png": picture(3, 3, 3), "03.cls": b"1"}),
    "val-0000.tar": tar({"01.png": picture(4, 4, 4), "01.cls": b"0", "09.png": picture(9, 9, 9)})}


def test_webdataset(tmp_path):
    found = members(tmp_path, SHARDS)
    assert webdataset.recognise(list(found), found.get) == {"label": "cls"}
    assert image_folder.recognise(list(found), found.get) is None
    samples = listing.list_samples(webdataset, list(found), found.get, {})
    assert [tuple(sample)[:4] for sample in samples] == [
        ("train-0000/01.png", "train", "train-0000", "0"), ("train-0000/02.png", "train", "train-0000", "1"),
        ("train-0001/03.png", "train", "train-0001", "1"), ("val-0000/01.png", "val", "val-0000", "0"),
        ("val-0000/09.png", "unlabelled", "val-0000", "")]


def test_shards_are_no_classes(tmp_path):
    found = members(tmp_path, {f"0000{number}.tar": shard for number, shard in enumerate(SHARDS.values())})
    with pytest.raises(UserError, match=r"labels beside them \(\.cls\); set data\.layout to webdataset"):
        image_folder.samples(list(found), found.get)


def test_hidden_files_are_named_and_litter_is_not(tmp_path, capsys):
    files = {"cat/1.png": b"1", "cat/.DS_Store": b"", "__MACOSX/._1.png": b"", "Thumbs.db": b""}
    assert list(members(tmp_path, files)) == ["cat/1.png"] and capsys.readouterr().err == ""
    assert list(members(tmp_path, files | {".dog/1.png": b"2", ".dog/2.png": b"3"})) == ["cat/1.png"]
    assert "a.zip: 2 hidden file(s) left out, first '.dog/1.png'" in capsys.readouterr().err


def test_webdataset_with_json():
    files = {"s/a.x.png": b"", "s/a.json": b'{"label": "cat", "id": 1}', "s/b.png": b"",
             "s/b.json": b'{"label": "dog"}'}
    assert webdataset.recognise(list(files), files.get) == {"label": "json:label"}
    samples = listing.list_samples(webdataset, list(files), files.get, {})
    assert [(sample.path, sample.split, sample.target) for sample in samples] == [
        ("s/a.x.png", "", "cat"), ("s/b.png", "", "dog")]
    for label, content, words in (("json:boxes", b'{"boxes": [1]}', "boxes is .1."), ("json:label", b"{", "no JSON")):
        with pytest.raises(UserError, match=words):
            listing.list_samples(webdataset, ["a.png", "a.json"], {"a.png": b"", "a.json": content}.get,
                                 {"label": label})
    assert webdataset.recognise(["a.png", "a.txt"], lambda name: b"a picture of a cat") is None


def parquet(rows: list[dict], names: list[str] | None = None) -> bytes:
    """With a row group for each two rows."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.Table.from_pylist(rows)
    if names:
        feature = {"label": {"names": names, "_type": "ClassLabel"}, "image": {"_type": "Image"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": feature}})})
    file = io.BytesIO()
    parquet.write_table(table, file, row_group_size=2)
    return file.getvalue()


def test_parquet_as_hugging_face_stores_it(tmp_path):
    images = [picture(number, 0, 0) for number in range(5)]
    train = [{"image": {"bytes": image, "path": f"x/{number}.png"}, "label": number % 2}
             for number, image in enumerate(images[:3])]
    test = [{"image": {"bytes": image, "path": None}, "label": number} for number, image in enumerate(images[3:])]
    found = members(tmp_path, {"data/train-00000-of-00001-0123456789abcdef.parquet": parquet(train, ["cat", "dog"]),
                               "data/test-00000-of-00001.parquet": parquet(test, ["cat", "dog"])})
    folders = {split: f"data/{split}-00000-of-00001" for split in ("train", "test")}
    assert found == {
        f"{folders['test']}/0000000.png": images[3], f"{folders['test']}/0000001.png": images[4],
        f"{folders['test']}/metadata.jsonl": b'{"file_name": "0000000.png", "label": "cat"}\n'
                                             b'{"file_name": "0000001.png", "label": "dog"}\n',
        **{f"{folders['train']}/000000{number}_{number}.png": images[number] for number in range(3)},
        f"{folders['train']}/metadata.jsonl": b'{"file_name": "0000000_0.png", "label": "cat"}\n'
                                              b'{"file_name": "0000001_1.png", "label": "dog"}\n'
                                              b'{"file_name": "0000002_2.png", "label": "cat"}\n'}
    samples = listing.list_samples(image_table, list(found), found.get, {})
    assert [(sample.split, sample.target) for sample in samples] == [
        ("test", "cat"), ("test", "dog"), ("train", "cat"), ("train", "dog"), ("train", "cat")]


def test_parquet_of_bytes_and_of_no_images(tmp_path):
    rows = [{"id": 1, "jpg": picture(1, 1, 1)}, {"id": 2, "jpg": None}]
    found = members(tmp_path, {"a.parquet": parquet(rows), "labels.parquet": parquet([{"id": 1, "label": "cat"}])})
    assert found == {"a/0000000.png": picture(1, 1, 1),
                     "a/metadata.jsonl": b'{"file_name": "0000000.png", "id": 1}\n{"id": 2}\n',
                     "labels/metadata.jsonl": b'{"id": 1, "label": "cat"}\n'}


def test_a_broken_parquet_file(tmp_path):
    with pytest.raises(UserError, match=r"a\.zip: 'a\.parquet' (is broken|can't be read)"):
        members(tmp_path, {"a.parquet": parquet([{"id": 1}])[:-20]})


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"a\.parquet is a Parquet file, which needs pyarrow; run: pip install"), \
            archive.open_members(tmp_path / "a.parquet", tmp_path, 10**9):
        pass
