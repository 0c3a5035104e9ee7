"""Files of the archive that are no samples: which, and why. Nothing vanishes without a word."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from stages.core.errors import printable
from stages.data.decode import has_image_suffix

TEXTS = {"", ".csv", ".tsv", ".json", ".jsonl", ".txt", ".xml", ".md", ".yaml", ".yml", ".html", ".pdf", ".py",
         ".ipynb", ".log", ".names", ".data", ".rst", ".doc", ".docx", ".xls", ".xlsx", ".cls", ".lst"}


def unused(names: Iterable[str], used: Iterable[str]) -> list[str]:
    """Those of the archive's files that are neither images nor masks in use, sorted. used: those that are."""
    return sorted(set(names) - set(used))


def reason(name: str) -> str:
    """Why a file isn't used, for data/decisions.csv."""
    if has_image_suffix(name):
        return "the layout takes it for no image of the set"
    suffix = PurePosixPath(name).suffix.lower()
    return f"{suffix} is the suffix of no format that is read" if suffix else "no suffix, and no image's first bytes"


def counts(names: Iterable[str]) -> dict[str, int]:
    """Suffix in lower case → number of files, the most frequent first."""
    found = Counter(PurePosixPath(name).suffix.lower() or "no suffix" for name in names)
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def summary(names: Sequence[str], used: Iterable[str]) -> str:
    """"84 files skipped: .heic 84; nothing is left of bird"; "" if all of `names` are used."""
    used = set(used)
    skipped = unused(names, used)
    if not skipped:
        return ""
    number = f"{len(skipped)} file{'s' * (len(skipped) > 1)} skipped"
    parts = [f"{number}: " + ", ".join(f"{suffix} {count}" for suffix, count in counts(skipped).items())]
    if emptied := _emptied(skipped, used):
        parts.append(f"nothing is left of {', '.join(emptied)}")
    return printable("; ".join(parts))


def _emptied(skipped: Iterable[str], used: Iterable[str]) -> list[str]:
    """Folders of skipped files that may be pictures, of which none is used, while folders beside them are."""
    alive = {folder for name in used for folder in PurePosixPath(name).parents}
    folders = {path.parent for path in map(PurePosixPath, skipped) if path.suffix.lower() not in TEXTS}
    return sorted({folder.name for folder in folders - alive if folder.parent in alive})
