"""Bad data and bad params end in one line that names the file or key and a remedy: no traceback, nothing lost."""

import hashlib
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from sources import pack, picture, two_classes


def fails(project, stage: str, *words: str) -> str:
    """Run a stage, which must fail in one line on stderr that holds all of `words`."""
    result = project.run(stage)
    lines = result.stderr.splitlines()
    assert result.returncode not in (0, None) and len(lines) == 1, result.stderr
    assert lines[0].startswith(f"{stage}: ") and "Traceback" not in lines[0]
    for word in words:
        assert word in lines[0], lines[0]
    return lines[0]


def source(project, files: dict[str, bytes], *stages: str):
    """A project whose source holds `files`, and in which `stages` have run."""
    pack(project.source / "a.zip", files)
    project.set("data.source", "a.zip")
    if stages:
        assert project.run(*stages).returncode == 0
    return project


# --- params.yaml


@pytest.mark.parametrize("stage, key, value, words", [
    ("fetch", "data.sauce", "digits", ["data", "'sauce'", "unknown", "source"]),
    ("fetch", "dta.source", "digits", ["'dta'", "unknown", "data"]),
    ("fetch", "data.max_unpacked_gb", "lots", ["data.max_unpacked_gb", "'lots'", "number"]),
    ("fetch", "data.max_unpacked_gb", 0, ["data.max_unpacked_gb", "greater than 0"]),
    ("fetch", "data.sha256", "123", ["data.sha256", "'123'"]),
    ("fetch", "data.source", 7, ["data.source", "string"]),
    ("scan", "data.layout", "folders", ["data.layout", "'folders'", "image_folder", "tiny_imagenet"]),
    ("clean", "clean.leaks", "ignore", ["clean.leaks", "'ignore'", "'drop' or 'keep'"]),
    ("clean", "clean.duplicates", True, ["clean.duplicates", "'drop' or 'keep'"]),
    ("clean", "clean.quality.dark", "stop", ["clean.quality.dark", "'report' or 'drop'"]),
    ("clean", "clean.near_likeness", 1.5, ["clean.near_likeness", "less than or equal to 1"]),
    ("scan", "scan.backbone", "mobilenet_v2", ["scan", "weights"]),
    ("split", "data.task", "guessing", ["data.task", "'guessing'", "classification"]),
    ("split", "split.image_size", 4, ["split.image_size", "8"]),
    ("split", "split.image_size", 32.5, ["split.image_size", "integer"]),
    ("split", "split.val_fraction", 1.5, ["split.val_fraction", "less than 1"]),
    ("split", "split.labelled_fraction", 0.0, ["split.labelled_fraction", "greater than 0"]),
    ("split", "split.seed", -1, ["split.seed", "0"]),
    ("split", "split.resize", "stretch", ["split.resize", "'squash', 'crop' or 'tiles'"]),
])
def test_wrong_values_and_unknown_keys(project, stage, key, value, words):
    fails(project.set(key, value), stage, "params.yaml", *words)


@pytest.mark.parametrize("stage, key", [("fetch", "data.sha256"), ("clean", "clean.leaks"), ("split", "split")])
def test_missing_keys(project, stage, key):
    fails(project.remove(key), stage, "params.yaml", key, "missing")


def test_params_missing_or_no_yaml(project):
    (project.folder / "params.yaml").write_text("data: [1,\n")
    fails(project, "fetch", "params.yaml", "YAML")
    (project.folder / "params.yaml").unlink()
    fails(project, "fetch", "params.yaml", "presets/")


# --- archives


def test_missing_source_lists_what_is_there(project):
    pack(project.source / "birds.zip", two_classes(1))
    (project.source / "README.md").write_text("not data")
    project.set("data.source", "brids.zip")
    line = fails(project, "fetch", "data.source", "'brids.zip'", "birds.zip", "data/source/")
    assert "README.md" not in line
    for outside in ("../params.yaml", "/etc"):
        fails(project.set("data.source", outside), "fetch", "data.source", "copy or link it there")


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
], ids=["empty", "html", "cut zip", "bad CRC", "encrypted", "no members", "dots", "absolute", "backslash", "drive",
        "twice", "zip link", "tar dots", "tar symlink", "tar hard link", "tar device", "cut tar", "damaged tar"])
def test_archives(project, content, words):
    (project.source / "a.bin").write_bytes(content)
    old = project.folder / "data/raw.zip"
    old.write_bytes(b"what was there")
    fails(project.set("data.source", "a.bin"), "fetch", *words)
    assert old.read_bytes() == b"what was there" and not list(project.folder.glob("data/*.half"))


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz"])
def test_cut_compressed_tars(project, suffix):
    with tarfile.open(project.source / "a.tar", f"w:{suffix}") as archive:
        member = entry("cat/a.jpg", size=100_000)
        archive.addfile(member, io.BytesIO(os.urandom(100_000)))
    whole = (project.source / "a.tar").read_bytes()
    (project.source / "a.tar").write_bytes(whole[:-5000])
    fails(project.set("data.source", "a.tar"), "fetch", "data/source/a.tar", "cut off", "again")


def lying(name: str, size: int) -> bytes:
    """A zip whose headers promise ten bytes for a member of `size` bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(size))
    return file.getvalue().replace(size.to_bytes(4, "little"), (10).to_bytes(4, "little"))


def test_absurd_sizes_are_refused_before_they_fill_the_disk(project):
    project.set("data.max_unpacked_gb", 0.001)
    pack(project.source / "a.zip", {"cat/a.jpg": b"x", "cat/bomb.jpg": bytes(50_000_000)})
    assert (project.source / "a.zip").stat().st_size < 60_000
    fails(project.set("data.source", "a.zip"), "fetch", "a.zip", "cat/bomb.jpg", "0.001 GB", "data.max_unpacked_gb")
    with tarfile.open(project.source / "a.tgz", "w:gz") as archive:
        archive.addfile(entry("cat/bomb.jpg", size=50_000_000), io.BytesIO(bytes(50_000_000)))
    fails(project.set("data.source", "a.tgz"), "fetch", "a.tgz", "0.001 GB", "data.max_unpacked_gb")
    (project.source / "lie.zip").write_bytes(lying("cat/bomb.jpg", 50_000_000))
    fails(project.set("data.source", "lie.zip"), "fetch", "lie.zip", "cat/bomb.jpg", "broken")
    assert not (project.folder / "data/raw.zip").exists()


def test_links_in_a_folder(project):
    (project.source / "set/cat").mkdir(parents=True)
    (project.source / "set/cat/a.jpg").symlink_to("/etc/passwd")
    fails(project.set("data.source", "set"), "fetch", "data/source/set", "'cat/a.jpg'", "link")


# --- downloads


def test_wrong_checksum(project):
    archive = pack(project.source / "a.zip", two_classes(2))
    got, expected = hashlib.sha256(archive.read_bytes()).hexdigest(), "0" * 64
    project.set("data.sha256", expected)
    fails(project.set("data.source", "a.zip"), "fetch", "a.zip", "checksum", expected, got, "params.yaml")
    fails(project.set("data.source", archive.as_uri()), "fetch", "a.zip", "checksum", expected, got)
    assert archive.exists() and not (project.folder / "data/raw.zip").exists()


def test_url_without_checksum(project):
    fails(project.set("data.source", "http://127.0.0.1:9/a.zip"), "fetch", "sha256", "URL", "sha256sum")


def test_url_of_nothing(project, serve):
    project.set("data.sha256", "0" * 64)
    project.set("data.source", (project.folder / "none.zip").as_uri())
    fails(project, "fetch", "none.zip", "does not exist", "correct")
    url = serve(b"", status=404).url
    fails(project.set("data.source", url), "fetch", url, "404", "check the address", "again")


def test_wrong_download_is_not_kept(project, serve):
    server = serve(b"something else")
    project.set("data.sha256", "0" * 64).set("data.source", server.url)
    fails(project, "fetch", server.url, "checksum", "0" * 64)
    assert not list(project.folder.glob(".work/fetch/download*"))


# --- images and classes


def test_only_bad_files(project):
    source(project, {"cat/a.jpg": b"", "dog/b.png": b"no"}, "fetch", "scan")
    fails(project, "clean", "data/raw.zip", "none of its 2 images", "decisions.csv", "replace")
    assert len((project.folder / "data/decisions.csv").read_text().splitlines()) == 3


def test_nothing_left_of_a_class(project):
    source(project, two_classes(3) | {"owl/a.png": b"no"}, "fetch", "scan")
    fails(project, "clean", "'owl'", "decisions.csv", "add images")


def test_unreadable_may_stop_the_stage(project):
    source(project, two_classes(3) | {"cat/x.png": b"no"}, "fetch", "scan")
    fails(project.set("clean.unreadable", "stop"), "clean", "'cat/x.png'", "clean.unreadable")


@pytest.mark.parametrize("files, words", [
    ({"readme.txt": b"x"}, ["no images", "data.layout"]),
    ({"a.png": b"x", "cat/b.png": b"x"}, ["'a.png'", "no class folder", "data.layout"]),
    ({"train/cat/a.png": b"x", "extra/b.png": b"x"}, ["'extra/b.png'", "beside the split folders", "unlabelled"]),
    ({"train/cat/a.png": b"x", "train/b.png": b"x"}, ["'train/b.png'", "no class folder"]),
])
def test_files_that_fit_no_layout(project, files, words):
    fails(source(project, files, "fetch"), "scan", "data/raw.zip", *words)


def test_tiny_imagenet_layout_on_something_else(project):
    source(project, two_classes(2), "fetch").set("data.layout", "tiny_imagenet")
    fails(project, "scan", "val_annotations.txt", "data.layout")


def test_a_class_with_one_image(project):
    source(project, two_classes(5) | {"owl/a.png": picture(1, 1, 1)}, "fetch", "scan", "clean")
    fails(project, "split", "'owl'", "1 training image", "train and test and val", "add images")


def test_a_single_class(project):
    source(project, {f"cat/{n}.png": picture(n, 0, 0) for n in range(6)}, "fetch", "scan", "clean")
    fails(project, "split", "1 class", "cat", "at least two")


@pytest.mark.parametrize("held", ["val", "test"])
def test_a_class_unseen_in_training(project, held):
    files = {f"train/{name}": content for name, content in two_classes(5).items()}
    files |= {f"{held}/cat/a.png": picture(1, 1, 1), f"{held}/owl/b.png": picture(2, 2, 2)}
    source(project, files, "fetch", "scan", "clean")
    fails(project, "split", "'owl'", held, "training images")


def test_images_of_other_sizes_are_resized(project):
    odd = {"cat/wide.png": picture(1, 1, 1, size=(300, 3)), "dog/dot.png": picture(2, 2, 2, size=(1, 1))}
    assert source(project, two_classes(5) | odd).run("fetch", "scan", "clean", "split").returncode == 0


# --- a full disk


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full, which Linux has")
def test_full_disk(project):
    source(project, two_classes(200))
    outs = {"fetch": "data/raw.zip", "scan": "data/scan.csv", "clean": "data/manifest.csv",
            "split": "data/prepared/train/images.npy"}
    for stage, out in outs.items():
        half = project.folder / f"{out}.half"
        half.parent.mkdir(parents=True, exist_ok=True)
        half.symlink_to("/dev/full")  # where a stage writes first: a device without room
        fails(project, stage, "disk is full", "free some space")
        assert not (project.folder / out).exists() and not half.is_symlink()
        assert project.run(stage).returncode == 0 and (project.folder / out).stat().st_size > 10_000
