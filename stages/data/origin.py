"""Where the images come from: the keys of `data` that say so, and what they name on this machine."""

import hashlib
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

import pydantic
from tqdm import tqdm

from stages.core import files, params
from stages.core.errors import UserError
from stages.data import builtin
from stages.data.members import is_hidden, is_litter

SOURCE = Path("data/source")
HTTP = ("http://", "https://")
KEYS = ("source", "sha256", "max_unpacked_gb", "name", "task", "layout", "layout_options", "masks")  # of `data`


class SourceParams(params.Section):
    """Which images: the keys of `data` that the stage source reads."""

    model_config = pydantic.ConfigDict(extra="ignore")

    source: str = pydantic.Field(min_length=1)  # an embedded set, a name in data/source/, or a URL
    sha256: str = pydantic.Field(pattern="^([0-9a-fA-F]{64})?$")  # of the archive; "" leaves a local one unchecked

    @pydantic.model_validator(mode="before")
    @classmethod
    def _check_keys(cls, values: dict) -> dict:
        if unknown := [key for key in values if key not in KEYS]:
            raise ValueError(f"{unknown[0]!r} is unknown; known here: {', '.join(KEYS)}")
        return values

    @pydantic.model_validator(mode="after")
    def _check_url(self) -> Self:
        if self.source.startswith(HTTP) and not _has_host(self.source):
            raise ValueError(f"source is {params.shown(self.source)}, which names no machine that could be asked; "
                             "correct the URL")
        if self.source.startswith((*HTTP, "file://")) and not self.sha256:
            raise ValueError("sha256 is empty, but source is a URL; "
                             "give the 64 digits that `sha256sum` prints for the archive")
        return self


class DataParams(SourceParams):
    """The keys of `data` that fetch reads. Another layout or name does not fetch again."""

    max_unpacked_gb: float = pydantic.Field(gt=0)  # an archive that unpacks to more (10⁹ bytes) is refused


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname) and urlsplit(url).port != 0
    except ValueError:  # a port beyond 65535, half an IPv6 address
        return False


def local(data: SourceParams) -> Path | None:
    """The archive or folder that `data.source` names; None for an embedded set and for what is to be downloaded.
    Raises UserError if there is none.
    """
    source = data.source
    if source in builtin.SETS or source.startswith(HTTP):
        return None
    if source.startswith("file://"):
        path = Path(unquote(source.removeprefix("file://").removeprefix("localhost")))
        if not path.is_absolute() or not path.exists():
            raise UserError(f"params.yaml: data.source: {path} does not exist; correct the path")
        return _readable(path)
    is_inside = source not in (".", "README.md") and not Path(source).is_absolute() and ".." not in Path(source).parts
    if is_inside and (SOURCE / source).exists():
        return _readable(SOURCE / source)
    if is_inside and (SOURCE / f"{source}.dvc").exists():
        raise UserError(f"{SOURCE / source} is not here, but {source}.dvc says that DVC keeps it; run: dvc pull "
                        f"{SOURCE / source}.dvc")
    names = sorted(path.name for path in SOURCE.glob("[!.]*") if path.name != "README.md") if SOURCE.is_dir() else []
    raise UserError(f"params.yaml: data.source is {source!r}, which is not in {SOURCE}/ (there: "
                    f"{', '.join(names) or 'nothing'}); copy or link it there, or name one of those, an embedded set "
                    f"({', '.join(builtin.SETS)}) or a URL")


def _readable(path: Path) -> Path:
    """Raises UserError for what is neither file nor folder: reading a pipe would wait for ever."""
    if path.is_file() or path.is_dir():
        return path
    raise UserError(f"params.yaml: data.source: {path} is no file and no folder; put an archive in its place")


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes; of a folder's files, those that are left out apart: of their paths and their bytes."""
    below = [("", path)] if path.is_file() else sorted(
        (name, file) for file in path.rglob("*") if file.is_file()
        and not is_litter(name := file.relative_to(path).as_posix()) and not is_hidden(name))
    size = sum(file.stat().st_size for _, file in below)
    with tqdm(desc="source", total=size, unit="B", unit_scale=True, disable=None) as bar:
        digests = {name: files.sha256(file, bar.update) for name, file in below}
    if path.is_file():
        return digests[""]
    return hashlib.sha256("".join(f"{digest} {name}\n" for name, digest in digests.items()).encode(
        "utf-8", "surrogateescape")).hexdigest()
