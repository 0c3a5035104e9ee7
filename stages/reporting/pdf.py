"""The page as a PDF. In: an HTML file. Out: a PDF, printed by the Chromium or Chrome on the PATH."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from stages.core.errors import UserError, one_line
from stages.core.files import atomic_write

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
SECONDS = 120


def write(page: Path, path: Path) -> None:
    """Raises UserError where there is no browser, or it makes no PDF."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not browser:
        raise UserError("a PDF needs Chromium or Chrome on the PATH; install one (Debian, Ubuntu: apt-get install "
                    f"chromium), or open {page} in any browser and print it")
    with tempfile.TemporaryDirectory() as folder:
        printed = Path(folder, "page.pdf")
        # No sandbox, which a container without user namespaces lacks: the page is our own and loads nothing.
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile",
                   "--no-pdf-header-footer", f"--print-to-pdf={printed}", page.resolve().as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise UserError(f"{browser} made no PDF of {page} in {SECONDS} seconds; run this again when the machine is "
                            "less busy, or open the page in any browser and print it") from None
        if not printed.is_file():
            last = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
            raise UserError(f"{browser} made no PDF of {page}: {one_line(ValueError(last))[:200]}")
        with atomic_write(path, "wb") as file:
            file.write(printed.read_bytes())
