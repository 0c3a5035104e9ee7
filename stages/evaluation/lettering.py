"""Names in charts: short enough to leave room, one line each, and in letters that a font of this machine has."""

from collections import Counter
from collections.abc import Sequence
from functools import cache

from stages.core.errors import printable

LONGEST = 32  # characters of a name
# The first comes with matplotlib: Latin, Greek, Cyrillic, Arabic and more. Of the others, for what it lacks, those that
# are installed.
FAMILIES = ("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei",
            "Droid Sans Fallback", "Hiragino Sans GB", "Microsoft YaHei", "Malgun Gothic", "Arial Unicode MS",
            "Unifont")


def chart_names(names: Sequence[str]) -> list[str]:
    """Each as `lettered` has it, the middle left out where it is long; numbered where two would be the same."""
    short = [text if len(text) <= LONGEST else f"{text[:LONGEST * 2 // 3]}…{text[1 - LONGEST // 3:]}"
             for text in map(lettered, names)]
    several = {text for text, count in Counter(short).items() if count > 1}
    return [f"{text} ({number})" if text in several else text for number, text in enumerate(short)]


def lettered(text: str) -> str:
    """On one line; signs that can't be printed, or that no font has, as Python writes them: \\u732b."""
    return "".join(sign if _has_glyph(sign) else sign.encode("unicode_escape").decode()
                   for sign in printable(" ".join(text.split())))


@cache
def families() -> list[str]:
    """Those of FAMILIES that are installed."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return [family for family in FAMILIES if family in installed]


@cache
def _has_glyph(sign: str) -> bool:
    return sign.isascii() or any(font.get_char_index(ord(sign)) for font in _fonts())


@cache
def _fonts() -> list:
    from matplotlib import font_manager

    return [font_manager.get_font(font_manager.findfont(font_manager.FontProperties(family=family)))
            for family in families()]
