"""What make new sees in archives as they are downloaded: all of it where it is clear, else one line."""

import re

import pytest
from archives import ARCHIVES, Archive, seen


@pytest.mark.parametrize("archive", ARCHIVES.values(), ids=ARCHIVES.keys())
def test_archive(archive: Archive, tmp_path):
    layout, classes, splits, line = seen(archive, tmp_path)
    if archive.stops:
        assert re.search(archive.stops, line) and "\n" not in line and not layout
    else:
        assert (layout, classes, splits, line) == (archive.layout, archive.classes, archive.splits, "")


def test_there_are_many():
    assert len(ARCHIVES) >= 25
