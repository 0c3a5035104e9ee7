"""Downloads an archive, going on where an interrupted download stopped. In: a URL. Out: a file."""

import sys
from pathlib import Path

from tqdm import tqdm

from stages.core import errors, files
from stages.core.errors import UserError, one_line

TIMEOUT = (10, 60)  # seconds to connect, and to the next bytes


def download(url: str, sha256: str, scratch: Path) -> Path:
    """The URL's file in `scratch`. An interrupted download is resumed; where that is not `sha256` (in any case; "": not
    known), since a power loss damaged what was there, it starts anew.
    """
    def partial_sizes() -> dict[Path, int]:
        return {path: path.stat().st_size for path in scratch.glob("*.part")}

    target = scratch / "download"
    is_resumed = target.exists() or bool(partial_sizes())
    if not target.exists():
        before = partial_sizes()
        try:
            _transfer(url, target)
        except UserError:
            # If no byte was added, the server can't resume or its file has changed: start again.
            if not before or partial_sizes() != before:
                raise
            for path in before:
                path.unlink()
            _transfer(url, target)
    if is_resumed and sha256 and files.sha256(target) != sha256.lower():
        print(f"what was left of {url} is damaged, so it is downloaded anew", file=sys.stderr)
        target.unlink()
        _transfer(url, target)
    return target


def _transfer(url: str, target: Path) -> None:
    # gdown resumes, retries, checks that the file is unchanged, and knows Google Drive's links; pooch does not resume,
    # and pypdl does not check the range that the server sends.
    import gdown

    with tqdm(desc=f"fetch {url}", unit="B", unit_scale=True, disable=None) as bar:
        def progress(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        try:
            gdown.download(url, str(target), quiet=True, use_cookies=False, resume=True, user_agent="gdown",
                           progress=progress, timeout=TIMEOUT, retries=5)
        except (gdown.DownloadError, OSError) as error:  # an OSError: requests' own, too
            if errors.full_disk(error):
                raise
            raise UserError(f"{url} can't be downloaded ({one_line(error)}); check the address and the connection "
                            f"and run again, which resumes, or put the archive into data/source/ yourself") from None
