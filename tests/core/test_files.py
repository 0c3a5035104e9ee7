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
    assert files.array_header_size(values.shape, "float32") == (tmp_path / "a.npy").stat().st_size - values.nbytes


@pytest.mark.parametrize("content", [None, "{", "\xff"])
def test_an_output_that_is_missing_or_broken(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    if content:
        Path("metrics").mkdir()
        Path("metrics/size.json").write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=r"^metrics/size.json is missing or broken; run dvc repro to make it$"):
        files.read_metrics("size")


def test_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")  # the example of FIPS 180-2
    assert files.sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
