"""python -m tools.check_outs: what DVC takes for sound though its bytes have changed."""

import hashlib
import os
import shutil
import subprocess

import pytest
import small_project

from stages.core.errors import UserError
from tools import check_outs


def test_objects_of_the_cache(tmp_path):
    for content in (b"one", b"[]", b"three"):
        md5 = hashlib.md5(content).hexdigest()
        folder = tmp_path / md5[:2]
        folder.mkdir(exist_ok=True)
        (folder / (md5[2:] + ".dir" * (content == b"[]"))).write_bytes(content)
    assert not list(check_outs.damaged_objects(tmp_path))
    names = sorted(path for path in tmp_path.glob("*/*"))
    for name, content in zip(names, (b"", b"x", b"thref"), strict=True):
        name.write_bytes(content)
    assert list(check_outs.damaged_objects(tmp_path)) == names


@pytest.mark.parametrize("content", [None, "", "a: [", "stages: 1", "stages: {split: {outs: [{path: a}]}}"])
def test_a_lock_that_cannot_be_read(tmp_path, content):
    if content is not None:
        (tmp_path / "dvc.lock").write_text(content)
    with pytest.raises(UserError, match=r"dvc.lock is missing or broken"):
        check_outs.outs(tmp_path / "dvc.lock")


@pytest.mark.slow
def test_damage_that_dvc_puts_back_is_found_and_mended(tmp_path):
    """As a user meets it: a bit flips in the cache, and `dvc repro` calls it up to date."""
    folder = small_project.make(tmp_path / "project")

    def check() -> subprocess.CompletedProcess:
        return small_project.run(folder, "python", "-m", "tools.check_outs", check=False)

    done = check()
    assert (done.returncode, done.stderr) == (0, "") and "is what was made" in done.stdout
    out = folder / "models/student"
    shutil.rmtree(out) if out.is_dir() else out.unlink()
    (stored,) = [path for path in (folder / ".dvc/cache/files/md5").glob("*/*")
                 if path.read_bytes() == str(4.0).encode()]
    times = stored.stat()
    stored.chmod(0o644)
    stored.write_bytes(b"5.0")
    os.utime(stored, ns=(times.st_atime_ns, times.st_mtime_ns))
    stored.chmod(0o444)
    small_project.run(folder, "dvc", "repro")
    done = check()
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert str(stored.relative_to(folder)) in done.stdout
    for line in done.stdout.splitlines():
        subprocess.run(line, shell=True, cwd=folder, check=True)
    small_project.run(folder, "dvc", "repro")
    assert check().returncode == 0 and (folder / "models/student/weights").read_text() == "4.0"
