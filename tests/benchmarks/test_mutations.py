"""The damage gets behind checksums, is the same for a seed, and what a reader raises is told apart."""

import io
import random
import tarfile

import pytest
from PIL import Image, UnidentifiedImageError

from benchmarks import mutation_seeds, mutations
from stages.core.errors import UserError
from stages.data.decode import Unreadable


def test_checksums_are_put_right():
    png = bytearray(mutation_seeds.pictures()["png palette"])
    png[png.index(b"PLTE") + 4] ^= 255  # the first colour
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(png))
    mutations.mend_png(png)
    with Image.open(io.BytesIO(png)) as image:
        image.load()
    tar = bytearray(mutation_seeds.pack("tar", {"cat/0.jpg": b"x"}))
    tar[:3] = b"dog"
    with pytest.raises(tarfile.ReadError), tarfile.open(fileobj=io.BytesIO(tar)):
        pass
    mutations.mend_tar(tar)
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        assert archive.getnames() == ["dog/0.jpg"]


def test_a_seed_gives_the_same_damage():
    form, files = mutation_seeds.archives()["zip in zip"]
    some = [mutations.damaged_archive(form, files, random.Random(seed)) for seed in (1, 1, 2, 3)]
    assert some[0] == some[1] and len(set(some)) == 3


@pytest.mark.parametrize(("what", "kind"), [("archive", "zip"), ("raw.zip", "zip"), ("picture", "png palette")])
def test_what_is_whole_is_read(tmp_path, monkeypatch, what, kind):
    monkeypatch.chdir(tmp_path)
    whole = mutation_seeds.pictures()[kind] if what == "picture" else mutation_seeds.pack(
        *mutation_seeds.archives()[kind])
    assert mutations._outcome(mutations.READERS[what], whole) == (mutations.READ, "")


@pytest.mark.parametrize("error, outcome", [
    (None, mutations.READ), (UserError("a: broken; get it again"), mutations.REFUSED),
    (Unreadable("cut"), mutations.REFUSED), (UserError("two\nlines"), mutations.RAISED),
    (KeyError(1), mutations.RAISED),
    (OSError(22, "Invalid argument"), mutations.RAISED), (MemoryError(), mutations.MEMORY_OUT)])
def test_outcomes(error, outcome):
    def read(content: bytes) -> None:
        if error:
            raise error

    assert mutations._outcome(read, b"")[0] == outcome
