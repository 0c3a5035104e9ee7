"""Files are complete or not there, and their bytes are those that git and other readers expect."""

import csv
import errno
from pathlib import Path

import numpy as np
import pytest

from stages.core import files
from stages.core.errors import UserError


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "new/folder/a.txt"
    with files.atomic_write(path) as file:
        file.write("a\r\nb\n")
        assert not path.exists()
    assert path.read_bytes() == b"a\r\nb\n" and list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(KeyError), files.atomic_write(path, "wb") as file:
        file.write(b"new")
        raise KeyError
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full, which Linux has")
def test_a_full_disk_leaves_nothing(tmp_path):
    (tmp_path / "a.npy.half").symlink_to("/dev/full")
    with pytest.raises(OSError) as error:
        files.write_array(tmp_path / "a.npy", (10_000,), "int64", [np.arange(10_000)])
    assert error.value.errno == errno.ENOSPC and not list(tmp_path.iterdir())


def test_json(tmp_path):
    files.write_json(tmp_path / "a.json", {"ü": [1, 0.5]})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "ü": [\n    1,\n    0.5\n  ]\n}\n'
    assert files.read_json(tmp_path / "a.json") == {"ü": [1, 0.5]}
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a.json", float("nan"))


def test_csv_keeps_line_breaks_in_names(tmp_path):
    path, names = tmp_path / "a.csv", ["plain", "a\rb", "a\nb", "a\r\nb", 'a"b', "a,b", ""]
    files.write_csv(path, ("name", "number"), ({"name": name, "number": 1} for name in names))
    assert path.read_bytes() == (b'name,number\nplain,1\n"a\rb",1\n"a\nb",1\n"a\r\nb",1\n"a""b",1\n"a,b",1\n,1\n')
    assert [row["name"] for row in files.read_csv(path)] == names
    with open(path, newline="") as file:
        assert len(list(csv.reader(file))) == 1 + len(names)


def test_arrays_in_chunks(tmp_path):
    values = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    files.write_array(tmp_path / "a.npy", values.shape, "float32", (values[:1], values[1:].astype(np.float64)))
    read = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert read.dtype == np.float32 and (read == values).all()
    assert len(files.array_header(values.shape, "float32")) == (tmp_path / "a.npy").stat().st_size - values.nbytes


@pytest.mark.parametrize("content", [None, "{", "\xff"])
def test_an_output_that_is_missing_or_broken(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    if content:
        Path("metrics").mkdir()
        Path("metrics/size.json").write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=r"^metrics/size.json is missing or broken; run dvc repro to make it \(.*\)$"):
        files.read_metrics("size")


def damaged(content: bytes) -> list[bytes]:
    """A file cut at every byte, emptied, zeroed and filled with noise."""
    noise = np.random.default_rng(0).integers(0, 256, len(content), np.uint8).tobytes()
    return [*(content[:end] for end in range(len(content))), bytes(len(content)), noise, content + b"\0"]


def test_whatever_happened_to_an_array_it_is_one_line(tmp_path):
    path = tmp_path / "a.npy"
    files.write_array(path, (4, 3), "uint8", [np.arange(12).reshape(4, 3)])
    assert (files.read_array(path, "uint8", 2) == np.arange(12).reshape(4, 3)).all()
    for wrong in (("floating", 2), ("uint8", 3)):
        with pytest.raises(UserError, match=r"a.npy is missing or broken"):
            files.read_array(path, *wrong)
    for content in damaged(path.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"a.npy is missing or broken"):
            files.read_array(path, "uint8", 2)


def test_an_array_of_nothing(tmp_path):
    files.write_array(tmp_path / "a.npy", (0, 8, 8, 3), "uint8", [])
    assert files.read_array(tmp_path / "a.npy", "uint8", 4).shape == (0, 8, 8, 3)


@pytest.mark.parametrize("content", [
    "", "null", "[]", "{}", '{"a": NaN}', "[" * 100_000, '{"a": 1', '{"b": 1}', "{\0}"])
def test_json_that_is_not_what_was_written(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match=r"a.json is missing or broken"):
        files.read_json(tmp_path / "a.json", ["a"])


@pytest.mark.parametrize("content", [
    "", "name\na\n", "name,number\na\n", "name,number\na,1,2\n", 'name,number\n"a,1\n', "name,number\na\0,1\n",
    'name,number\n"a"b,1\n', "name,number\n\xff,1\n"])
def test_a_table_that_is_not_what_was_written(tmp_path, content):
    (tmp_path / "a.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=r"a.csv is missing or broken"):
        files.read_csv(tmp_path / "a.csv", ("name", "number"))


def test_cells_like_those_above_are_one_text_in_memory(tmp_path):
    files.write_csv(tmp_path / "a.csv", ("path", "class"), (
        {"path": f"{number}.png", "class": "-wallaby"} for number in range(3)))
    rows = files.read_csv(tmp_path / "a.csv")
    assert [row["path"] for row in rows] == ["0.png", "1.png", "2.png"] and rows[2]["class"] == "-wallaby"
    files.write_csv(tmp_path / "a.csv", ("path", "class"), (
        {"path": f"{number}.png", "class": "wallaby"} for number in range(3)))
    assert len({id(row["class"]) for row in files.read_csv(tmp_path / "a.csv")}) == 1


def test_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")  # the example of FIPS 180-2
    assert files.sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
