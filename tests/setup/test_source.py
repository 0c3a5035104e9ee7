"""How images get into data/source/: linked, downloaded, or there already."""

import hashlib
from pathlib import Path

import pytest
from sources import pack, two_classes

from stages.core.errors import UserError
from stages.setup.source import bring


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    project = tmp_path / "project"
    (project / "data/source").mkdir(parents=True)
    monkeypatch.chdir(project)
    return project


@pytest.mark.parametrize("given", ["a.zip", "data/source/a.zip", "./data/source/a.zip"])
def test_what_is_there_is_taken(here, given):
    pack(here / "data/source/a.zip", two_classes(1))
    source = bring(given, here)
    assert (source.name, source.done, source.path) == ("a.zip", "", Path("data/source/a.zip"))


@pytest.mark.parametrize("form", [str, Path.as_uri])
def test_an_archive_elsewhere_is_linked(here, tmp_path, form):
    archive = pack(tmp_path / "a.zip", two_classes(1))
    source = bring(form(archive), here)
    assert source.name == "a.zip" and "link" in source.done
    assert source.path.is_symlink() and source.path.resolve() == archive
    assert bring(form(archive), here).done == ""  # once is enough


def test_a_folder_elsewhere_is_linked_file_by_file(here, tmp_path):
    for name, content in two_classes(1).items():
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_bytes(content)
    (tmp_path / "mine/cat/link.png").symlink_to(tmp_path / "mine/dog/000.png")
    source = bring("../mine", here)
    assert source.name == "mine" and "hard links" in source.done
    assert (source.path / "cat/000.png").samefile(tmp_path / "mine/cat/000.png")
    assert not [path for path in Path("data/source").rglob("*") if path.is_symlink()]
    assert (source.path / "cat/link.png").read_bytes() == (tmp_path / "mine/dog/000.png").read_bytes()


def test_a_download_is_kept_with_its_checksum(here, serve):
    content = pack(here / "made.zip", two_classes(1)).read_bytes()
    server = serve(content)
    source = bring(server.url, here)
    assert (source.name, source.sha256, source.url) == ("set.zip", hashlib.sha256(content).hexdigest(), server.url)
    assert source.path.read_bytes() == content
    asked = len(server.asked)
    again = bring(server.url, here)
    assert again.sha256 == source.sha256 and "lies there already" in again.done and len(server.asked) == asked


@pytest.mark.parametrize(("given", "words"), [
    ("", "SOURCE=my.zip"), ("b.zip", "there is no 'b.zip'"), ("digits", "make preset NAME=digits"),
    (".", "the project's own folder"), ("..", "the project's own folder"), ("README.md", "is no set of images"),
    ("../other/a.zip", "there is another one already")])
def test_what_can_not_be_taken(here, tmp_path, given, words):
    (here / "data/source/README.md").touch()
    pack(here / "data/source/a.zip", two_classes(1))
    (tmp_path / "other").mkdir()
    pack(tmp_path / "other/a.zip", two_classes(2))
    with pytest.raises(UserError, match=words) as error:
        bring(given, here)
    assert "\n" not in str(error.value)


def test_a_folder_with_a_dead_link(here, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/a.png").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"a\.png.*can't be read"):
        bring("../mine", here)
    assert not Path("data/source/mine").exists()
