"""Are the files that the stages made, and DVC's copies of them, still what was made?

    make check        or        python -m tools.check_outs

DVC trusts its cache, and what it hashed once: it puts damaged bytes back and says that all is up to date, even after
`dvc repro --force`. Here every byte is read again: of each file in the cache, whose name is its MD5, and of each out
that dvc.lock has an MD5 of. Prints a command that deletes what is damaged, and ends with status 1 where something is.
What is missing is no damage: `dvc repro` makes it.
"""

import argparse
import shlex
from collections.abc import Iterator
from pathlib import Path

import yaml
from dvc.exceptions import DvcException
from dvc.repo import Repo

from stages.core import errors
from stages.core.errors import UserError, one_line
from stages.core.outs import LOCK, damaged, file_md5


def main() -> None:
    argparse.ArgumentParser(prog="python -m tools.check_outs", description=__doc__.splitlines()[0]).parse_args()
    try:
        with Repo() as repo:
            def counts(path: Path) -> bool:
                return not repo.dvcignore.is_ignored_file(str(path.absolute()))

            found = [*damaged_objects(Path(repo.cache.local.path)), *damaged(outs(LOCK), counts)]
    except DvcException as error:
        raise UserError(one_line(error)) from None
    if found:
        print("\n".join(f"rm -rf {shlex.quote(str(path))}" for path in found))
        raise UserError(f"{len(found)} files or folders are not what was made; delete them by the command(s) above, "
                        "then run dvc repro, which makes them anew")
    print("every out that is here, and every file of DVC's cache, is what was made")


def damaged_objects(cache: Path) -> Iterator[Path]:
    """Files of DVC's cache (<cache>/ab/cdef…) whose content has another MD5 than their name says."""
    for path in sorted(cache.glob("[0-9a-f][0-9a-f]/*")):
        if path.is_file() and file_md5(path) != (path.parent.name + path.name).removesuffix(".dir"):
            yield path


def outs(lock: Path) -> dict[Path, str]:
    """Path → MD5 of all outs, by dvc.lock. Raises UserError where that can't be read."""
    try:
        stages = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"]
        return {Path(out["path"]): out["md5"] for stage in stages.values() for out in stage.get("outs", ())}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise UserError(f"{lock} is missing or broken ({one_line(error)[:100]}); run dvc repro, or git checkout {lock}"
                        ) from None


if __name__ == "__main__":
    errors.run(main)
