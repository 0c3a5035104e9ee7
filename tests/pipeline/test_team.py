"""Several people, one set of images: DVC keeps it, a remote hands it on, and nobody runs anything twice."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest
from dvc.exceptions import ReproductionError
from dvc.repo import Repo
from dvc.utils.serialize import modify_yaml
from sources import pack, two_classes

from benchmarks import copies

pytestmark = pytest.mark.slow
MINE = Path("data/source/mine.zip")
RAW = Path("data/raw.zip")


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def machines(tmp_path_factory) -> Iterator[tuple[Path, Path]]:
    """The first has fetched its images and pushed them; the second has cloned and pulled."""
    space = tmp_path_factory.mktemp("team").resolve()
    patch = pytest.MonkeyPatch()
    patch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))  # DVC runs `python`
    one, two, remote = space / "one", space / "two", space / "remote"
    copies.make(one)
    (one / ".dvc/config.local").unlink()  # so that DVC asks git
    (one / "dvc.lock").unlink()
    git(one, "init", "--quiet")
    pack(one / MINE, two_classes(3))
    with modify_yaml(str(one / "params.yaml")) as values:
        values["data"]["source"] = MINE.name
    with chdir(one), Repo() as first:
        with first.config.edit("repo") as config:
            config["remote"] = {"shared": {"url": str(remote)}}
            config["core"]["remote"] = "shared"
        first.add(str(MINE))
    with chdir(one), Repo() as first:
        first.reproduce("fetch")
        first.push()
        git(one, "add", ".")
        git(one, "commit", "--quiet", "--message", "Our photos")
        git(space, "clone", "--quiet", str(one), str(two))
    with chdir(two), Repo() as second:
        second.pull(targets=["source", "fetch", f"{MINE}.dvc"])  # no other stage has run
    yield one, two
    patch.undo()


def test_what_dvc_keeps_is_in_git_by_name_and_not_by_bytes(machines):
    names = git(machines[0], "ls-files").splitlines()
    assert f"{MINE}.dvc" in names and str(MINE) not in names and str(RAW) not in names


def test_the_second_machine_reruns_nothing(machines):
    one, two = machines
    before = (two / RAW).stat()
    with chdir(two), Repo() as second:
        assert not second.reproduce("fetch")
    after = (two / RAW).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert all((two / path).read_bytes() == (one / path).read_bytes() for path in (MINE, RAW))


def test_what_lies_beside_the_images_fetches_nothing(machines):
    two = machines[1]
    (two / "data/source/overrides.csv").write_text("path,action,label\n")
    with chdir(two), Repo() as second:
        assert [stage.name for stage in second.reproduce("fetch")] == ["source"]


def test_an_experiment_in_a_copy_has_the_tracked_images(machines):
    """As those of a queue are run."""
    with chdir(machines[0]), Repo() as first:
        assert len(first.experiments.run(targets=["fetch"], tmp_dir=True, params=["data.max_unpacked_gb=2"])) == 1


def test_without_the_images_nothing_is_lost(machines):
    """As where only the outs were pulled: the check says so, and fetch has not thrown away what it can't make again."""
    two = machines[1]
    (two / f"{MINE}.dvc").unlink()
    (two / MINE).unlink()
    with chdir(two), Repo() as second, pytest.raises(ReproductionError, match="check"):
        second.reproduce()
    assert (two / RAW).exists()
