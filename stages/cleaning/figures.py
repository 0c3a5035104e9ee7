"""Pictures of a data set for the report. In: the rows of data/scan.csv, what was found. Out: PNGs in one folder.

`balance.png`   images of each class, before and after
`sizes.png`     heights, widths and aspect ratios
`findings.png`  the worst findings of each kind: picture, path, reason; only where there are findings
"""

import textwrap
import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from stages.cleaning.exact_rules import RAW
from stages.cleaning.findings import Finding, Row
from stages.data.decode import Unreadable, decode
from stages.evaluation import plotting

ABREAST = 6  # findings of a kind on the sheet
SIDE = 96  # pixels of a picture there, height and width
MOST = 40  # classes whose bars have room

Counts = Mapping[str, Mapping[str, int]]  # split → class → images


def draw(rows: Sequence[Row], findings: Sequence[Finding], before: Counts, after: Counts, folder: Path) -> None:
    balance(before, after, folder / "balance.png")
    sizes([row for row in rows if row["pixels"]], folder / "sizes.png")
    if findings:
        sheet(findings, folder / "findings.png")


def balance(before: Counts, after: Counts, path: Path) -> None:
    """A panel a split, a pair of bars a class; of many classes the numbers alone, by rank."""
    names = sorted({name for counts in before.values() for name in counts})
    few = len(names) <= MOST
    with plotting.figure(path, max(4, 3.2 * len(before)), 1.5 + (0.3 * len(names) if few else 3),
                         layout="constrained") as drawn:
        for axes, split in zip(drawn.subplots(1, len(before), sharey=few, squeeze=False)[0], before, strict=True):
            counts = [np.array([some.get(split, {}).get(name, 0) for name in names]) for some in (before, after)]
            if few:
                axes.barh(np.arange(len(names)) - 0.2, counts[0], 0.4, color="tab:gray", label="found")
                axes.barh(np.arange(len(names)) + 0.2, counts[1], 0.4, color="tab:blue", label="kept")
                axes.set_yticks(range(len(names)), names)
                axes.set(title=split, xlabel="images", ylim=(len(names) - 0.4, -0.6))
            else:
                for values, colour, label in zip(counts, ("tab:gray", "tab:blue"), ("found", "kept"), strict=True):
                    axes.plot(np.sort(values)[::-1], color=colour, label=label)
                axes.set(title=split, xlabel="class, by rank", ylabel="images", ylim=(0, None))
            axes.grid(axis="x" if few else "y", alpha=0.3)
            axes.set_axisbelow(True)
        drawn.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)


def sizes(rows: Sequence[Row], path: Path) -> None:
    """Where the images' sizes lie: a dot a size, the larger the more images have it; and their aspect ratios."""
    wide, high = (np.array([int(row[side]) for row in rows]) for side in ("width", "height"))
    different, counts = np.unique(np.stack([wide, high]), axis=1, return_counts=True)
    with plotting.figure(path, 9, 3.6, layout="constrained") as drawn:
        left, right = drawn.subplots(1, 2)
        left.scatter(*different, s=12 + 200 * counts / counts.sum(), alpha=0.5, color="tab:blue", linewidths=0)
        left.set(title=f"{different.shape[1]} size(s) of {len(rows)} images", xlabel="width, pixels",
                 ylabel="height, pixels", xlim=(0, 1.1 * wide.max()), ylim=(0, 1.1 * high.max()))
        right.hist(np.log2(wide / high).clip(-3, 3), bins=np.linspace(-3.0625, 3.0625, 50), color="tab:blue")
        right.set(title="aspect ratio", xlabel="width : height", ylabel="images", yscale="log", ylim=(0.7, None))
        right.yaxis.set_major_formatter("{x:g}")
        right.set_xticks(range(-3, 4), ["≤ 1:8", "1:4", "1:2", "1:1", "2:1", "4:1", "≥ 8:1"])
        for axes in (left, right):
            axes.grid(alpha=0.3)
            axes.set_axisbelow(True)


def sheet(findings: Sequence[Finding], path: Path) -> None:
    """A row a kind: its worst ABREAST findings, each beside the image it was compared with."""
    kinds = defaultdict(list)
    for finding in findings:
        kinds[finding.issue].append(finding)
    tall, abreast = 1.9 * len(kinds) + 0.3, min(ABREAST, max(map(len, kinds.values())))  # inches; pictures
    with zipfile.ZipFile(RAW) as raw, plotting.figure(path, 2.3 * max(2, abreast), tall) as drawn:
        grid = drawn.subplots(len(kinds), max(2, abreast), squeeze=False)
        drawn.subplots_adjust(left=0.01, right=0.99, bottom=0.7 / tall, top=1 - 0.3 / tall, hspace=0.9)
        for line, (issue, some) in zip(grid, sorted(kinds.items()), strict=True):
            line[0].set_title(f"{issue.replace('_', ' ')} ({len(some)})", loc="left", fontsize=10, weight="bold")
            for axes in line:
                axes.axis("off")
                axes.set_anchor("NW")
            for axes, finding in zip(line, sorted(some, key=_rank), strict=False):
                axes.imshow(_beside(raw, finding))
                said = [_short(finding.row["path"], 34), *textwrap.wrap(f"{finding.action}: {finding.reason}", 36)[:3]]
                axes.text(0, -0.06, "\n".join(said), transform=axes.transAxes, fontsize=6.5, va="top")


def _rank(finding: Finding) -> tuple[float, str]:
    """The worst first: of what is alike the most alike, of all else the lowest score."""
    score = finding.score or 0.0
    return -score if finding.keeper else score, finding.row["path"]


def _beside(raw: zipfile.ZipFile, finding: Finding) -> np.ndarray:
    """uint8 (SIDE, SIDE or 2·SIDE + gap, 3): the image, and right of it the one it was compared with."""
    white = np.full((SIDE, 4, 3), 255, np.uint8)
    shown = [_small(raw, finding.row["path"])]
    return np.concatenate([*shown, white, _small(raw, finding.keeper)] if finding.keeper else shown, 1)


def _small(raw: zipfile.ZipFile, path: str) -> np.ndarray:
    """uint8 (SIDE,SIDE,3), white around the picture; a grey cross where it can't be read."""
    canvas = Image.new("RGB", (SIDE, SIDE), "white")
    with suppress(Unreadable):
        picture = Image.fromarray(decode(raw.read(path)))
        scale = SIDE / max(picture.size)
        picture = picture.resize([max(1, round(scale * side)) for side in picture.size], Image.Resampling.BILINEAR)
        canvas.paste(picture, [(SIDE - side) // 2 for side in picture.size])
        return np.asarray(canvas)
    cross = np.abs(np.subtract.outer(np.arange(SIDE), np.arange(SIDE))) < 2
    return np.where((cross | cross[::-1])[..., None], np.uint8(120), np.uint8(225)).repeat(3, 2)


def _short(path: str, most: int) -> str:
    """The end of a path, on one line."""
    path = " ".join(path.split())
    return path if len(path) <= most else "…" + path[1 - most:]
