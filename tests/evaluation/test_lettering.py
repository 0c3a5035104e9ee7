"""Names in charts: of any length and script."""

import pytest

from stages.evaluation import lettering
from stages.evaluation.lettering import LONGEST, chart_names, lettered


@pytest.fixture
def only_matplotlibs(monkeypatch):
    """As on a machine without other fonts."""
    monkeypatch.setattr(lettering, "FAMILIES", lettering.FAMILIES[:1])
    for cached in (lettering.families, lettering._fonts, lettering._has_glyph):
        cached.cache_clear()
    yield
    for cached in (lettering.families, lettering._fonts, lettering._has_glyph):
        cached.cache_clear()


def test_signs_that_no_font_has_are_written_as_python_does(only_matplotlibs):
    assert lettered("naïve Ωμέγα собака") == "naïve Ωμέγα собака"
    assert lettered("猫 a") == "\\u732b a"
    assert lettered("\x1b[31mred\n\nand\u202eb") == "\\x1b[31mred and\\u202eb"


def test_long_names_are_cut_in_the_middle_and_stay_apart():
    long = ["x" * 40 + str(number) + "y" * 34 for number in range(2)]
    names = chart_names(["cat", *long, "z" * LONGEST, "z" * 75])
    assert names[0] == "cat" and names[3] == "z" * LONGEST
    assert names[1] == "x" * 21 + "…" + "y" * 9 + " (1)" and names[2].endswith(" (2)")
    assert len(set(names)) == 5 and names[4] == "z" * 21 + "…" + "z" * 9
