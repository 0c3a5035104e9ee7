"""fetch: every kind of source becomes the same archive; downloads are checked and resumed."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from sources import done, pack, picture, saved, two_classes

from stages.core.errors import UserError
from stages.data import builtin
from stages.data.decode import decode


@pytest.mark.slow
def test_digits_are_1797_images_and_the_same_bytes_each_time(project):
    done(project.run("fetch"))
    with zipfile.ZipFile(project.folder / "data/raw.zip") as archive:
        names = archive.namelist()
        assert {name: archive.read(name) for name in names} == dict(builtin.digits())
        assert decode(archive.read("digits/0/0000.png")).shape == (32, 32, 3)
    assert names == sorted(names) and len(names) == 1797
    assert Counter(name.split("/")[1] for name in names)["3"] == 183


@pytest.mark.slow
def test_every_kind_of_source_gives_the_same_archive(project):
    files = two_classes(2) | {"dog/a b ü\n.png": picture(1, 2, 3)}
    litter = {"__MACOSX/cat/._000.png": b"x", "cat/.DS_Store": b"x", "dog/Thumbs.db": b"x", "._dog": b"x"}
    pack(project.source / "a.zip", dict(reversed(list((files | litter).items()))))
    for name, content in (files | litter).items():
        path = project.source / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for suffix in ("tar", "tar.gz", "tar.bz2", "tar.xz"):
        with tarfile.open(project.source / f"a.{suffix}", f"w:{suffix.partition('.')[2]}") as archive:
            archive.add(project.source / "folder", ".")
    made = set()
    for source in ("a.zip", "folder", "a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz"):
        done(project.set("data.source", source).run("fetch"))
        made.add((project.folder / "data/raw.zip").read_bytes())
    assert len(made) == 1
    with zipfile.ZipFile(io.BytesIO(made.pop())) as archive:
        assert archive.namelist() == sorted(files)
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}
        assert archive.read("cat/001.png") == files["cat/001.png"]
    assert not (project.folder / ".work/fetch").exists()


def test_the_source_is_told_from_what_lies_beside_it(project):
    """The stage `source`: its file is what fetch depends on."""
    def named(source: str) -> bytes:
        project.set("data.source", source).main("source")
        return (project.folder / "data/source.json").read_bytes()

    pack(project.source / "a.zip", two_classes(1))
    for name, content in two_classes(1).items():
        (project.source / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (project.source / "folder" / name).write_bytes(content)
    before = named("a.zip"), named("folder"), named("digits")
    assert hashlib.sha256((project.source / "a.zip").read_bytes()).hexdigest() in before[0].decode()
    assert len(set(before)) == 3
    (project.source / "overrides.csv").write_text("path,action\n")
    pack(project.source / "b.zip", two_classes(2))
    (project.source / "folder/.DS_Store").write_bytes(b"a window's place")
    assert (named("a.zip"), named("folder"), named("digits")) == before
    pack(project.source / "a.zip", two_classes(2))
    (project.source / "folder/cat/000.png").write_bytes(b"another picture")
    another = named("folder")
    (project.source / "folder/cat/000.png").rename(project.source / "folder/cat/00.png")
    assert named("a.zip") != before[0] and len({before[1], another, named("folder")}) == 3
    (project.source / "a.zip").unlink()
    with pytest.raises(UserError, match="not in data/source/"):
        named("a.zip")


@pytest.mark.parametrize("terminal", [True, False])
def test_reading_a_source_shows_how_far_it_is_on_a_terminal_alone(project, monkeypatch, capsys, terminal):
    for name, content in two_classes(1).items():
        (project.source / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (project.source / "folder" / name).write_bytes(content)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    project.set("data.source", "folder").main("source")
    assert ("source: 100%" in capsys.readouterr().err) == terminal


def large_archive(path: Path) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (2, 700, 700, 3), dtype=np.uint8)
    return pack(path, {f"{name}/1.png": saved(Image.fromarray(array), "PNG")
                       for name, array in zip(("cat", "dog"), noise, strict=True)}).read_bytes()


@pytest.mark.parametrize("ranges", [True, False])
def test_killed_download_goes_on_where_it_stopped(project, serve, ranges):
    content = large_archive(project.folder / "set.zip")
    server = serve(content, stall_after=1_500_000, ranges=ranges)
    project.set("data.source", server.url).set("data.sha256", hashlib.sha256(content).hexdigest())
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    first = subprocess.Popen([sys.executable, "-m", "stages.fetch"], cwd=project.folder, env=environment,
                             stderr=subprocess.DEVNULL)
    part = wait_for(lambda: next((path for path in project.folder.glob(".work/fetch/*.part")
                                  if path.stat().st_size >= 1_000_000), None))
    first.send_signal(signal.SIGKILL)
    first.wait()
    have = part.stat().st_size
    assert not (project.folder / "data/raw.zip").exists()
    done(project.run("fetch", timeout=120))
    assert f"bytes={have}-" in server.asked
    assert zipfile.ZipFile(project.folder / "data/raw.zip").namelist() == ["cat/1.png", "dog/1.png"]
    assert not (project.folder / ".work/fetch").exists()


def wait_for(condition, seconds: float = 15):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(0.02)
    raise AssertionError("the condition was never met")


def test_file_url_is_checked_and_read_in_place(project):
    archive = pack(project.folder / "set.zip", two_classes(2))
    project.set("data.source", archive.as_uri()).set("data.sha256", hashlib.sha256(archive.read_bytes()).hexdigest())
    done(project.run("fetch"))
    assert archive.exists() and len(zipfile.ZipFile(project.folder / "data/raw.zip").namelist()) == 4


@pytest.mark.parametrize("damage", [
    lambda content: b"", lambda content: content[:-9], lambda content: bytes(len(content))])
def test_a_download_that_a_power_loss_damaged_starts_anew(project, serve, capsys, damage):
    content = pack(project.folder / "set.zip", two_classes(2)).read_bytes()
    url = serve(content).url
    project.set("data.source", url).set("data.sha256", hashlib.sha256(content).hexdigest())
    project.set("data.max_unpacked_gb", 1e-9)  # stops it after the download
    with pytest.raises(UserError, match="unpacks to more"):
        project.main("fetch")
    left = project.folder / ".work/fetch/download"
    left.write_bytes(damage(left.read_bytes()))
    project.set("data.max_unpacked_gb", 1.0).main("fetch")
    assert f"what was left of {url} is damaged" in capsys.readouterr().err
    assert len(zipfile.ZipFile(project.folder / "data/raw.zip").namelist()) == 4
