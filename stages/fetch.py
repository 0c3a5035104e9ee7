"""Fetches the images as one archive. In: data/source/, a URL, or an embedded set (`data.source`). Out: data/raw.zip."""

import io
from functools import partial
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

import pydantic
from tqdm import tqdm

from stages.core import errors, files, params, workdir
from stages.core.errors import UserError
from stages.data import archive, builtin, download
from stages.data.members import Member

SOURCE = Path("data/source")
HTTP = ("http://", "https://")


class DataParams(params.Section):
    """Where the images come from: the keys of `data` that fetch reads. Another layout or name does not fetch again."""

    model_config = pydantic.ConfigDict(extra="ignore")

    source: str = pydantic.Field(min_length=1)  # an embedded set, a name in data/source/, or a URL
    sha256: str = pydantic.Field(pattern="^([0-9a-fA-F]{64})?$")  # of the archive; "" leaves a local one unchecked
    max_unpacked_gb: float = pydantic.Field(gt=0)  # an archive that unpacks to more (10⁹ bytes) is refused

    @pydantic.model_validator(mode="before")
    @classmethod
    def _check_keys(cls, values: dict) -> dict:
        keys = [*cls.model_fields, "name", "task", "layout", "layout_options", "masks"]
        if unknown := [key for key in values if key not in keys]:
            raise ValueError(f"{unknown[0]!r} is unknown; known here: {', '.join(keys)}")
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


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname) and urlsplit(url).port != 0
    except ValueError:  # a port beyond 65535, half an IPv6 address
        return False


def main() -> None:
    data = params.load("data", DataParams)
    limit = int(data.max_unpacked_gb * 1e9)
    with workdir.folder("fetch", [data.source, data.sha256], []) as scratch:
        if data.source in builtin.SETS:
            members = (Member(path, len(content), partial(io.BytesIO, content))
                       for path, content in builtin.SETS[data.source]())
            archive.write(archive.RAW, data.source, members, limit)
            return
        source = local(data) or download.download(data.source, data.sha256, scratch)
        if data.sha256:
            _verify(source, data)
        with archive.open_members(source, scratch, limit) as members:
            archive.write(archive.RAW, str(source), tqdm(members, "fetch", unit=" files", disable=None), limit)


def local(data: DataParams) -> Path | None:
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


def _verify(source: Path, data: DataParams) -> None:
    if source.is_dir():
        raise UserError(f"params.yaml: data.sha256 is set, but {source} is a folder; set data.sha256 to \"\"")
    actual = files.sha256(source)
    if actual != data.sha256.lower():
        if data.source.startswith(HTTP):
            source.unlink()
        raise UserError(f"{data.source}: wrong checksum: data.sha256 expects {data.sha256}, got {actual}; if the "
                        "publisher names the latter, put it into params.yaml, else get the archive again: it is "
                        "damaged or another")


if __name__ == "__main__":
    errors.run(main)
