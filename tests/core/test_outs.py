"""What dvc.lock says was made, and what is here now; and what a failed command says of it."""

import hashlib
import sys
from pathlib import Path

import pytest
import yaml

from stages.core import errors, files, outs


def everything(path: Path) -> bool:
    return True


def test_outs_of_every_kind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a").write_bytes(b"one")
    Path("b/below").mkdir(parents=True)
    Path("b/below/c").write_bytes(b"two")
    expected = {Path("a"): hashlib.md5(b"one").hexdigest(), Path("b"): outs.folder_md5(Path("b"), everything),
                Path("gone"): "0" * 32}
    assert not list(outs.damaged(expected, everything))
    Path("b/report.pdf").touch()
    assert list(outs.damaged(expected, everything)) == [Path("b")]
    assert not list(outs.damaged(expected, lambda path: path.suffix != ".pdf"))  # DVC ignores it
    Path("a").write_bytes(b"onf")
    Path("b/below/c").write_bytes(b"")
    assert list(outs.damaged(expected, everything)) == [Path("a"), Path("b")]
    Path("a").unlink()
    Path("a").mkdir()
    assert list(outs.damaged(expected, everything)) == [Path("a"), Path("b")]


@pytest.fixture
def locked(tmp_path, monkeypatch) -> Path:
    """A folder with two metrics, a folder of tables and a page, and the dvc.lock of the stages that made them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["stages/report.py"])
    files.write_json("metrics/size.json", {"int8": {"size_mb": 0.5}})
    files.write_json("metrics/speed.json", {"int8": {"latency_ms": 2.0}})
    files.write_csv("plots/test/classes.csv", ["class", "f1"], [{"class": "cat", "f1": 90.0}])
    files.write_json("report/page.json", {})
    made = [{"path": path, "md5": outs.file_md5(Path(path)), "size": 9}
            for path in ("metrics/size.json", "metrics/speed.json")]
    made += [{"path": path, "md5": outs.folder_md5(Path(path), everything), "size": 9} for path in ("plots/test",)]
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": {
        "evaluate": {"cmd": "a", "outs": made},
        "report": {"cmd": "b", "outs": [{"path": "report", "md5": "0.dir", "size": 9}],
                   "deps": [{"path": "metrics/size.json"}, {"path": "plots/test/classes.csv"}]}}}))
    return tmp_path


def size() -> None:
    print(f"{files.read_metrics('size')['int8']['size_mb']:.2f}")


@pytest.mark.parametrize(("garbled", "because"), [
    ({"int8": {"size_mb": "0.5"}}, "ValueError: Unknown format code 'f' for object of type 'str'"),
    ({"int8": {}}, "KeyError: 'size_mb'"), ({"int8": [1]}, "TypeError: list indices must be integers or slices"),
    ({}, "KeyError: 'int8'"),
])
def test_a_command_that_fails_on_an_altered_out_says_so_in_one_line(locked, garbled, because):
    errors.run(size)
    files.write_json("metrics/size.json", garbled)
    with pytest.raises(SystemExit) as end:
        errors.run(size)
    assert end.value.code.startswith(f"report: metrics/size.json is not what dvc.lock says was made ({because}")
    assert end.value.code.endswith("; run dvc repro to make it anew (if that doesn't help: make check)")


def test_what_a_stage_is_making_itself_is_not_altered(locked, monkeypatch):
    """Its error is a bug of its own, though another stage reads what it has written."""
    monkeypatch.setattr(sys, "argv", ["stages/evaluate.py"])
    files.write_json("metrics/size.json", {})
    with pytest.raises(KeyError):
        errors.run(size)


def test_where_nothing_is_altered_it_is_a_bug_and_keeps_its_traceback(locked):
    def fails():
        raise KeyError("size_mb")

    for unread in ("metrics/speed.json", "report/page.json"):
        Path(unread).write_text("{}")
    with pytest.raises(KeyError):
        errors.run(fails)
    Path("plots/test/classes.csv").write_text("class,f1\ncat,many\n")
    with pytest.raises(SystemExit, match="report: plots/test is not"):
        errors.run(fails)
    for lock in ("stages: {a: 1}", "[", "stages: {a: {outs: [{path: plots/test}]}}"):
        Path("dvc.lock").write_text(lock)
        with pytest.raises(KeyError):
            errors.run(fails)
