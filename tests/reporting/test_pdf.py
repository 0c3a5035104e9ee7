"""The page as a PDF."""

import pytest

from stages.core.errors import UserError
from stages.reporting import pdf


def test_a_browser_that_takes_too_long_is_one_line(tmp_path, monkeypatch):
    slow = tmp_path / "chromium"
    slow.write_text("#!/bin/sh\nexec sleep 9\n", encoding="utf-8")
    slow.chmod(0o755)
    monkeypatch.setattr(pdf, "SECONDS", 0.1)
    monkeypatch.setattr(pdf.shutil, "which", lambda name: str(slow))
    with pytest.raises(UserError, match=r"made no PDF of .* in 0.1 seconds"):
        pdf.write(tmp_path / "index.html", tmp_path / "report.pdf")


def test_no_browser_names_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(pdf.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=r"needs Chromium or Chrome on the PATH; .*apt-get install chromium"):
        pdf.write(tmp_path / "index.html", tmp_path / "report.pdf")


def test_a_browser_that_fails_is_quoted(tmp_path, monkeypatch):
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\necho first >&2\necho no display >&2\n", encoding="utf-8")
    broken.chmod(0o755)
    monkeypatch.setattr(pdf.shutil, "which", lambda name: str(broken))
    with pytest.raises(UserError, match=r"made no PDF of .*index.html: .*no display"):
        pdf.write(tmp_path / "index.html", tmp_path / "report.pdf")
