"""Bad archives and downloads end in one line that names the file and a remedy, and leave what was there."""

import hashlib
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from sources import pack, two_classes

from stages import new
from stages.core.errors import UserError
from stages.data import archive, members
from stages.data.members import Member
from stages.setup.source import Source


def test_missing_source_lists_what_is_there(project, fails):
    pack(project.source / "birds.zip", two_classes(1))
    (project.source / "README.md").write_text("not data")
    project.set("data.source", "brids.zip")
    line = fails("fetch", "data.source", "'brids.zip'", "birds.zip", "data/source/")
    assert "README.md" not in line
    for outside in ("../params.yaml", "/etc"):
        project.set("data.source", outside)
    fails("fetch", "data.source", "copy or link it there")


def tar(*members: tarfile.TarInfo) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return file.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname = kind, size, link
    return member


def link_in_zip() -> bytes:
    file, info = io.BytesIO(), zipfile.ZipInfo("cat/link.jpg")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    return file.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1:]


def encrypted(content: bytes) -> bytes:
    """With the flag set that says so, in the central directory."""
    at = content.index(b"PK\1\2") + 8
    return content[:at] + bytes([content[at] | 1]) + content[at + 1:]


def misnamed(content: bytes) -> bytes:
    """With a flag in the central directory that says that names are UTF-8, and one that isn't."""
    at = content.index(b"PK\1\2")
    return content[:at + 9] + bytes([content[at + 9] | 8]) + content[at + 10:at + 46] + b"\xff" + content[at + 47:]


def far_away(content: bytes) -> bytes:
    """With the first member where no file can have one."""
    at = content.index(b"PK\1\2") + 42
    return content[:at] + b"\xff\xff\xff\x7f" + content[at + 4:]


WHOLE = zipped(two_classes(3))


@pytest.mark.parametrize("content, words", [
    (b"", ["a.bin", "is empty", "download it again"]),
    (b"<html>404</html>" * 99, ["a.bin", "is no zip", "get the archive again"]),
    (WHOLE[:-300], ["a.bin", "cut off", "download the archive again"]),
    (flipped(WHOLE, 80), ["a.bin", "'cat/000.png'", "broken", "download the archive again"]),
    (encrypted(WHOLE), ["a.bin", "'cat/000.png'", "encrypted", "unpack"]),
    (zipped({}), ["a.bin", "holds no files", "data.source"]),
    (zipped({"../../evil.jpg": b"x"}), ["a.bin", "'../../evil.jpg'", "leads out"]),
    (zipped({"/etc/evil.jpg": b"x"}), ["a.bin", "'/etc/evil.jpg'", "leads out"]),
    (zipped({"..\\evil.jpg": b"x"}), ["a.bin", "evil.jpg'", "leads out"]),
    (zipped({"C:/evil.jpg": b"x"}), ["a.bin", "'C:/evil.jpg'", "leads out"]),
    (zipped({"a//b.jpg": b"x", "a/b.jpg": b"y"}), ["a.bin", "'a/b.jpg'", "twice", "keep one"]),
    (link_in_zip(), ["a.bin", "'cat/link.jpg'", "link", "put the file itself"]),
    (tar(entry("../evil.jpg", size=9)), ["a.bin", "'../evil.jpg'", "leads out"]),
    (tar(entry("cat/a.jpg", tarfile.SYMTYPE, link="/etc/passwd")), ["a.bin", "'cat/a.jpg'", "link"]),
    (tar(entry("cat/a.jpg", tarfile.LNKTYPE, link="../b")), ["a.bin", "'cat/a.jpg'", "link"]),
    (tar(entry("cat/a.jpg", tarfile.CHRTYPE)), ["a.bin", "'cat/a.jpg'", "device"]),
    (tar(entry("cat/a.jpg", size=5000))[:2048], ["a.bin", "cut off"]),
    (flipped(tar(entry("cat/a.jpg", size=9), entry("dog/b.jpg", size=9)), 1030), ["a.bin", "broken"]),
    (tar(entry("./", size=9)), ["a.bin", "has the name './'", "again"]),
    (tar(entry(5000 * "a" + ".jpg", size=9)), ["a.bin", "5004 characters", "again"]),
    (misnamed(WHOLE), ["a.bin", "broken", "download the archive again"]),
    (far_away(WHOLE), ["a.bin", "'cat/000.png'", "broken", "download the archive again"]),
], ids=["empty", "html", "cut zip", "bad CRC", "encrypted", "no members", "dots", "absolute", "backslash", "drive",
        "twice", "zip link", "tar dots", "tar symlink", "tar hard link", "tar device", "cut tar", "damaged tar",
        "no name", "long name", "no UTF-8", "far away"])
def test_archives(project, fails, content, words):
    (project.source / "a.bin").write_bytes(content)
    old = project.folder / "data/raw.zip"
    old.write_bytes(b"what was there")
    project.set("data.source", "a.bin")
    fails("fetch", *words)
    assert old.read_bytes() == b"what was there" and not list(project.folder.glob("data/*.half"))


@pytest.mark.parametrize("content", [flipped(WHOLE, 80), far_away(WHOLE)])
def test_make_new_says_which_file_of_an_archive_is_broken(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "data/source/a.zip"
    source.parent.mkdir(parents=True)
    source.write_bytes(content)
    with pytest.raises(UserError, match=r"^data/source/a\.zip: 'cat/000\.png' is broken"):
        new.look(Source("a.zip", ""), tmp_path, "", {})


def test_memory_that_a_damaged_header_claims_is_no_want_of_memory():
    def claim() -> io.BytesIO:
        raise MemoryError  # as lzma does for a dictionary of 4 GB

    with pytest.raises(UserError, match=r"^a\.zip: 'cat/a\.jpg' asks for more memory than there is, or is broken"):
        archive.read(Path("a.zip"), Member("cat/a.jpg", 9, claim))


@pytest.mark.parametrize("damaged", [flipped(WHOLE, 80), encrypted(WHOLE), misnamed(WHOLE), far_away(WHOLE), b""])
def test_a_damaged_raw_zip_ends_in_one_line(damaged, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "RAW", tmp_path / "raw.zip")
    archive.RAW.write_bytes(damaged)
    with pytest.raises(UserError, match=r"raw\.zip is missing or broken .*run dvc repro"), archive.Raw() as raw:
        raw.read("cat/000.png")


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz"])
def test_cut_compressed_tars(project, fails, suffix):
    with tarfile.open(project.source / "a.tar", f"w:{suffix}") as archive:
        member = entry("cat/a.jpg", size=100_000)
        archive.addfile(member, io.BytesIO(os.urandom(100_000)))
    whole = (project.source / "a.tar").read_bytes()
    (project.source / "a.tar").write_bytes(whole[:-5000])
    project.set("data.source", "a.tar")
    fails("fetch", "data/source/a.tar", "cut off", "again")


def lying(name: str, size: int) -> bytes:
    """A zip whose headers promise ten bytes for a member of `size` bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(size))
    return file.getvalue().replace(size.to_bytes(4, "little"), (10).to_bytes(4, "little"))


def test_absurd_sizes_are_refused_before_they_fill_the_disk(project, fails):
    project.set("data.max_unpacked_gb", 0.001)
    pack(project.source / "a.zip", {"cat/a.jpg": b"x", "cat/bomb.jpg": bytes(50_000_000)})
    assert (project.source / "a.zip").stat().st_size < 60_000
    project.set("data.source", "a.zip")
    fails("fetch", "a.zip", "cat/bomb.jpg", "0.001 GB", "data.max_unpacked_gb")
    with tarfile.open(project.source / "a.tgz", "w:gz") as archive:
        archive.addfile(entry("cat/bomb.jpg", size=50_000_000), io.BytesIO(bytes(50_000_000)))
    project.set("data.source", "a.tgz")
    fails("fetch", "a.tgz", "0.001 GB", "data.max_unpacked_gb")
    (project.source / "lie.zip").write_bytes(lying("cat/bomb.jpg", 50_000_000))
    project.set("data.source", "lie.zip")
    fails("fetch", "lie.zip", "cat/bomb.jpg", "broken")
    assert not (project.folder / "data/raw.zip").exists()


def test_links_in_a_folder(project, fails):
    (project.source / "set/cat").mkdir(parents=True)
    (project.source / "set/cat/a.jpg").symlink_to("/etc/passwd")
    project.set("data.source", "set")
    fails("fetch", "data/source/set", "'cat/a.jpg'", "link")


# --- downloads


def test_wrong_checksum(project, fails):
    archive = pack(project.source / "a.zip", two_classes(2))
    got, expected = hashlib.sha256(archive.read_bytes()).hexdigest(), "0" * 64
    project.set("data.sha256", expected)
    project.set("data.source", "a.zip")
    fails("fetch", "a.zip", "checksum", expected, got, "params.yaml")
    project.set("data.source", archive.as_uri())
    fails("fetch", "a.zip", "checksum", expected, got)
    assert archive.exists() and not (project.folder / "data/raw.zip").exists()


def test_url_without_checksum(project, fails):
    project.set("data.source", "http://127.0.0.1:9/a.zip")
    fails("fetch", "sha256", "URL", "sha256sum")


def test_url_of_nothing(project, fails, serve):
    project.set("data.sha256", "0" * 64)
    project.set("data.source", (project.folder / "none.zip").as_uri())
    fails("fetch", "none.zip", "does not exist", "correct")
    url = serve(b"", status=404).url
    project.set("data.source", url)
    fails("fetch", url, "404", "check the address", "again")


def test_wrong_download_is_not_kept(project, fails, serve):
    server = serve(b"something else")
    project.set("data.sha256", "0" * 64).set("data.source", server.url)
    fails("fetch", server.url, "checksum", "0" * 64)
    assert not list(project.folder.glob(".work/fetch/download*"))


def test_a_member_larger_than_any_picture(project, fails, monkeypatch):
    """By what the archive claims, and by what comes out where it claims less."""
    monkeypatch.setattr(members, "LARGEST_MEMBER", 5000)
    pack(project.source / "a.zip", two_classes(2) | {"cat/large.png": bytes(6000)})
    project.set("data.source", "a.zip")
    fails("fetch", "a.zip", "'cat/large.png'", "unpacks to more than 5e-06 GB", "take it out")
    understated = [Member("cat/large.png", 10, lambda: io.BytesIO(bytes(6000)))]
    with pytest.raises(UserError, match=r"'cat/large.png' unpacks to more"):
        archive.write(project.folder / "raw.zip", "a.zip", understated, 10**9)
    assert not (project.folder / "raw.zip").exists()


def test_a_sparse_member_counts_as_what_it_unpacks_to(project, fails):
    """A tar of 10 KB whose one member is 3 GB of holes."""
    large = tarfile.TarInfo("cat/large.png")
    large.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "cat/large.png",
                         "GNU.sparse.realsize": str(3 * 10**9)}
    content = b"1\n0\n0\n".ljust(512, b"\0")
    large.size = len(content)
    with tarfile.open(project.source / "a.tar", "w", format=tarfile.PAX_FORMAT) as file:
        file.addfile(large, io.BytesIO(content))
    project.set("data.source", "a.tar")
    fails("fetch", "a.tar", "cat/large.png", "unpacks to more than 1 GB")


def test_a_pipe_is_not_waited_for(project, fails):
    os.mkfifo(project.source / "a.zip")
    project.set("data.source", "a.zip")
    fails("fetch", "data/source/a.zip is no file and no folder")
    project.set("data.source", f"file://{project.source}/a.zip").set("data.sha256", "0" * 64)
    fails("fetch", "a.zip is no file and no folder")


@pytest.mark.parametrize("url", ["http://[::1", "http://", "https://a:99999/b.zip", "http://:80/b.zip"])
def test_a_url_without_a_machine(project, fails, url):
    project.set("data.source", url).set("data.sha256", "0" * 64)
    fails("fetch", "data: source is", "names no machine")


def test_damage_to_raw_zip_is_one_line_in_the_stages_that_read_it(project, fails):
    pack(project.source / "a.zip", two_classes(4))
    project.set("data.source", "a.zip")
    project.main("fetch", "scan", "clean")
    path = project.folder / "data/raw.zip"
    raw = path.read_bytes()
    for damaged in (b"", raw[:-40], bytes(len(raw)), flipped(raw, raw.index(b"IDAT") + 12), None):
        path.unlink() if damaged is None else path.write_bytes(damaged)
        for stage in ("scan", "split"):
            fails(stage, "data/raw.zip is missing or broken", "dvc repro", "make check")
