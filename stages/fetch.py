"""Fetches the images as one archive. In: data/source/, a URL, or an embedded set (`data.source`). Out: data/raw.zip."""

import io
from functools import partial
from pathlib import Path

from tqdm import tqdm

from stages.core import errors, files, params, workdir
from stages.core.errors import UserError
from stages.data import archive, builtin, download, origin
from stages.data.members import Member


def main() -> None:
    data = params.load("data", origin.DataParams)
    limit = int(data.max_unpacked_gb * 1e9)
    with workdir.folder("fetch", [data.source, data.sha256], []) as scratch:
        if data.source in builtin.SETS:
            members = (Member(path, len(content), partial(io.BytesIO, content))
                       for path, content in builtin.SETS[data.source]())
            archive.write(archive.RAW, data.source, members, limit)
            return
        source = origin.local(data) or download.download(data.source, data.sha256, scratch)
        if data.sha256:
            _verify(source, data)
        with archive.open_members(source, scratch, limit) as members:
            archive.write(archive.RAW, str(source), tqdm(members, "fetch", unit=" files", disable=None), limit)


def _verify(source: Path, data: origin.DataParams) -> None:
    if source.is_dir():
        raise UserError(f"params.yaml: data.sha256 is set, but {source} is a folder; set data.sha256 to \"\"")
    actual = files.sha256(source)
    if actual != data.sha256.lower():
        if data.source.startswith(origin.HTTP):
            source.unlink()
        raise UserError(f"{data.source}: wrong checksum: data.sha256 expects {data.sha256}, got {actual}; if the "
                        "publisher names the latter, put it into params.yaml, else get the archive again: it is "
                        "damaged or another")


if __name__ == "__main__":
    errors.run(main)
