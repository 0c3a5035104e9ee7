"""Where the images lie that `make new` is given, and how they get into data/source/, which DVC watches: a name there is
taken as it is; an archive elsewhere is linked, a folder elsewhere too, file by file; a URL is downloaded.
"""

import os
import re
import shutil
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from stages.core import files
from stages.core.errors import UserError
from stages.data import builtin, origin
from stages.data.download import download

FOLDER = origin.SOURCE
OWN_FILES = ("README.md", "overrides.csv")  # of data/source/ itself


class Source(NamedTuple):
    """A file or folder in data/source/."""

    name: str  # below that folder: what `data.source` is to be
    done: str  # what was done to get it there, a sentence; "" where nothing was
    sha256: str = ""  # of what was downloaded
    url: str = ""  # from where it was
    is_linked_folder: bool = False  # of hard links or copies, made just now

    @property
    def path(self) -> Path:
        return FOLDER / self.name


def bring(given: str, scratch: Path) -> Source:
    """given: a name in data/source/, a path, or a URL. Raises UserError where there is nothing, or where another file
    of that name lies in data/source/ already.

    scratch: for a download that is not complete.
    """
    if not given:
        raise UserError("name the images: make new SOURCE=my.zip, a folder or a URL")
    if given.startswith(("http://", "https://")):
        return _downloaded(given, scratch)
    path = Path(unquote(urlsplit(given).path) if given.startswith("file://") else given)
    below = path.relative_to(FOLDER) if path.is_relative_to(FOLDER) else path
    if below.parts and not below.is_absolute() and ".." not in below.parts and (FOLDER / below).exists():
        if below.name in OWN_FILES:
            raise UserError(f"{FOLDER / below} is no set of images; name an archive, a folder or a URL")
        return Source(below.as_posix(), "")
    if not path.exists():
        raise UserError(_nothing(given))
    if Path.cwd().is_relative_to(path.resolve()):
        raise UserError(f"{given!r} is the project's own folder, or one above it; name the folder of the images")
    place = FOLDER / path.resolve().name
    if place.is_file() and path.is_file() and place.samefile(path):
        return Source(place.name, "")
    if place.exists() or place.is_symlink():
        raise UserError(f"{path} is to become {place}, but there is another one already; rename one of them, or say "
                        f"SOURCE={place.name} if that is meant")
    place.parent.mkdir(parents=True, exist_ok=True)
    return _linked_folder(path, place) if path.is_dir() else _linked_file(path, place)


def _linked_file(path: Path, place: Path) -> Source:
    place.symlink_to(path.resolve())
    return Source(place.name, f"{place} is now a link to {path}, which stays where it is.")


def _linked_folder(path: Path, place: Path) -> Source:
    """Of hard links: DVC does not look behind a link to a folder, and would not notice changes there."""
    half, copied = place.with_name(place.name + ".half"), 0
    shutil.rmtree(half, ignore_errors=True)

    def link(source: str, target: str) -> None:
        nonlocal copied
        try:
            os.link(os.path.realpath(source), target)
        except OSError:  # another file system, or one without links
            shutil.copy2(source, target)
            copied += 1

    try:
        shutil.copytree(path, half, copy_function=link)
    except shutil.Error as error:  # a list of what failed
        source, _, reason = error.args[0][0]
        raise UserError(f"{source} can't be read ({reason}); mend or remove it") from None
    os.replace(half, place)
    how = "copies of" if copied else "hard links to"
    return Source(place.name, f"{place} now holds {how} the files of {path}; what is added there later is not seen.",
                  is_linked_folder=True)


def _downloaded(url: str, scratch: Path) -> Source:
    name = re.sub(r"[^\w.-]", "-", PurePosixPath(unquote(urlsplit(url).path)).name).lstrip(".-") or "download"
    place = FOLDER / name
    if place.is_file():
        return Source(name, f"{place} lies there already and is taken for what {url} brings; if it is another file, "
                      "move it away and run again.", files.sha256(place), url)
    file = download(url, "", scratch)
    sha256 = files.sha256(file)
    place.parent.mkdir(parents=True, exist_ok=True)
    os.replace(file, place)
    return Source(name, f"{place} is what {url} brought.", sha256, url)


def _nothing(given: str) -> str:
    if given in builtin.SETS:
        return f"{given} is a set that comes with this project: make preset NAME={given}"
    there = sorted(path.name for path in FOLDER.glob("[!.]*") if path.name not in OWN_FILES) if FOLDER.is_dir() else []
    return (f"there is no {given!r}, neither here nor in {FOLDER}/ (there: {', '.join(there) or 'nothing'}); give an "
            "archive, a folder or a URL")
