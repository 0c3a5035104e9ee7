"""Every file of the archive is in use, or named with the reason."""

import base64
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from sources import pack, picture, saved, table, two_classes

from stages.core import files
from stages.data import leftover
from stages.data.decode import decode, has_image_suffix

# 16×8, red and blue halves, as pillow-heif 1.8 writes it at quality 60: pi-heif only reads.
HEIC = base64.b64decode("""
AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAXxtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9j
AAAAAERAAAEAAQAAAAABoAABAAAAAAAAAEQAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/Glw
cnAAAADcaXBjbwAAAHVodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQApQgEBA3AA
AAMAkAAAAwAAAwAeoCCBBZbqrprm4CGgwIAAAAyAAAADAIRiAAEABkQBwXPBiQAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABA
AAAAQAAAAChjbGFwAAAAEAAAAAEAAAAIAAAAAf///9AAAAAC////yAAAAAIAAAAQcGl4aQAAAAADCAgIAAAAGGlwbWEAAAAAAAAAAQABBYEC
AwWEAAAATG1kYXQAAABAKAGvCchoCRojmJb/e3/8dchOe4/6nxXCjH3MGn3a8u1AF4+JdXrid0DzLvmCl8PzzOOg6lD0b79ToORFVch4bA==
""")


@pytest.mark.parametrize("names, used, expected", [
    (["cat/1.jpg"], ["cat/1.jpg"], ""),
    (["w/cat/1.jpg", "w/bird/1.ORF", "w/bird/2.orf", "w/a.txt"], ["w/cat/1.jpg"],
     "3 files skipped: .orf 2, .txt 1; nothing is left of bird"),
    (["cat/1.jpg", "cat/2.raw", "labels/1.txt", "LICENSE"], ["cat/1.jpg"],
     "3 files skipped: .raw 1, .txt 1, no suffix 1"),
    (["cat/1.jpg", "cat/1.svg"], ["cat/1.jpg"], "1 file skipped: .svg 1"),
])
def test_summary(names, used, expected):
    assert leftover.summary(names, used) == expected


def test_what_is_skipped_is_said_and_listed(project):
    pack(project.source / "a.zip", two_classes(12) | {"bird/1.orf": b"x", "bird/2.orf": b"y", "readme": b"z"})
    done = project.set("data.source", "a.zip").run("fetch", "scan")
    assert done.stderr.splitlines()[-1].endswith("; 3 files skipped: .orf 2, no suffix 1; nothing is left of bird")
    project.main("clean")
    rows = [row for row in table(project.folder / "data/decisions.csv") if row["action"] == "skipped"]
    assert [(row["path"], row["issue"], row["reason"]) for row in rows] == [
        ("bird/1.orf", "no_image", ".orf is the suffix of no format that is read"),
        ("bird/2.orf", "no_image", ".orf is the suffix of no format that is read"),
        ("readme", "no_image", "no suffix, and no image's first bytes")]
    assert files.read_json(project.folder / "metrics/data.json")["skipped"] == {".orf": 2, "no suffix": 1}
    explained = project.run("clean", arguments=("--explain", "bird/1.orf")).stdout
    assert explained.splitlines() == [
        "bird/1.orf: not in use", "  no image: skipped; .orf is the suffix of no format that is read"]


def test_heic_and_avif_are_read():
    assert has_image_suffix("IMG_1.HEIC") and has_image_suffix("a.avif")
    read = decode(HEIC)
    assert read.shape == (8, 16, 3)
    assert np.abs(read[4, 3].astype(int) - (200, 30, 30)).max() < 12
    assert np.abs(read[4, 12].astype(int) - (20, 40, 200)).max() < 12
    flat = decode(saved(Image.new("RGB", (8, 8), (10, 200, 90)), "AVIF", quality=100))
    assert np.abs(flat.astype(int) - (10, 200, 90)).max() < 4


def test_without_pi_heif_heic_files_are_no_images():
    """As on a device that has numpy, Pillow and onnxruntime alone."""
    code = ("import sys; sys.modules['pi_heif'] = None\n"
            "from stages.data.decode import decode, has_image_suffix\n"
            "print(has_image_suffix('a.heic'), has_image_suffix('a.avif'), decode(sys.stdin.buffer.read()).shape)")
    done = subprocess.run([sys.executable, "-c", code], input=picture(1, 2, 3), capture_output=True, cwd=ROOT)
    assert done.stdout.decode() == "False True (8, 8, 3)\n", done.stderr


def test_a_set_of_heic_files_and_files_without_suffix(project):
    pack(project.source / "a.zip", two_classes(3) | {"bird/1.heic": HEIC, "bird/2": picture(1, 2, 3)})
    done = project.set("data.source", "a.zip").run("fetch", "scan")
    assert done.returncode == 0 and "skipped" not in done.stderr
    rows = {row["path"]: row for row in table(project.folder / "data/scan.csv")}
    assert rows["bird/1.heic"]["format"] == "HEIF" and rows["bird/2"]["format"] == "PNG"
    assert rows["bird/1.heic"]["issue"] == rows["bird/2"]["issue"] == ""


def test_a_name_does_nothing_to_a_terminal():
    assert leftover.summary(["a.\x1b[31m", "b.jpg"], ["b.jpg"]) == "1 file skipped: .\\x1b[31m 1"
