"""Figures of a data set for the report. In: rows of data/scan.csv, findings. Out: PNGs in one folder.

`balance.png`   images of each class, of masks the class's share of the pixels, before and after cleaning
`sizes.png`     heights, widths and aspect ratios
`findings.png`  the worst findings of each issue, with picture, path and reason; only if there are findings
"""

import textwrap
import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from stages.cleaning.findings import Finding, Row
from stages.data.archive import Raw
from stages.data.decode import Unreadable, decode
from stages.evaluation import plotting
from stages.evaluation.lettering import chart_names, lettered

PER_ISSUE = 6  # findings shown
SIDE = 96  # height and width in pixels of a picture among them
MAX_BARS = 40  # classes with a bar each; more are plotted by rank

Counts = Mapping[str, Mapping[str, float]]  # split → class → images, or % of the pixels


def draw(rows: Sequence[Row], findings: Sequence[Finding], before: Counts, after: Counts, unit: str, folder: Path
         ) -> None:
    """unit: of before and after."""
    balance(before, after, unit, folder / "balance.png")
    sizes([row for row in rows if row["pixels"]], folder / "sizes.png")
    if findings:
        sheet(findings, folder / "findings.png")


def balance(before: Counts, after: Counts, unit: str, path: Path) -> None:
    """One panel per split, with a pair of bars per class, or the sorted counts of many classes. unit: of the counts."""
    names = sorted({name for counts in before.values() for name in counts})
    bars = len(names) <= MAX_BARS
    with plotting.figure(path, max(4, 3.2 * len(before)), 1.5 + (0.3 * len(names) if bars else 3),
                         layout="constrained") as drawn:
        for axes, split in zip(drawn.subplots(1, len(before), sharey=bars, squeeze=False)[0], before, strict=True):
            for counts, colour, label, shift in ((before, "tab:gray", "found", -0.2), (after, "tab:blue", "kept", 0.2)):
                values = np.array([counts.get(split, {}).get(name, 0) for name in names])
                if bars:
                    axes.barh(np.arange(len(names)) + shift, values, 0.4, color=colour, label=label)
                else:
                    axes.plot(np.sort(values)[::-1], color=colour, label=label)
            if bars:
                axes.set_yticks(range(len(names)), chart_names(names))
                axes.set(title=split, xlabel=unit, ylim=(len(names) - 0.4, -0.6))
            else:
                axes.set(title=split, xlabel="class, by rank", ylabel=unit, ylim=(0, None))
            axes.grid(axis="x" if bars else "y", alpha=0.3)
            axes.set_axisbelow(True)
        drawn.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)


def sizes(rows: Sequence[Row], path: Path) -> None:
    """A scatter plot of the images' sizes, with a larger dot for more images, and a histogram of aspect ratios."""
    width, height = (np.array([int(row[side]) for row in rows]) for side in ("width", "height"))
    different, counts = np.unique(np.stack([width, height]), axis=1, return_counts=True)
    with plotting.figure(path, 9, 3.6, layout="constrained") as drawn:
        left, right = drawn.subplots(1, 2)
        left.scatter(*different, s=12 + 200 * counts / counts.sum(), alpha=0.5, color="tab:blue", linewidths=0)
        left.set(title=f"{different.shape[1]} size(s) of {len(rows)} images", xlabel="width, pixels",
                 ylabel="height, pixels", xlim=(0, 1.1 * width.max()), ylim=(0, 1.1 * height.max()))
        right.hist(np.log2(width / height).clip(-3, 3), bins=np.linspace(-3.0625, 3.0625, 50), color="tab:blue")
        right.set(title="aspect ratio", xlabel="width : height", ylabel="images", yscale="log", ylim=(0.7, None))
        right.yaxis.set_major_formatter("{x:g}")
        right.set_xticks(range(-3, 4), ["≤ 1:8", "1:4", "1:2", "1:1", "2:1", "4:1", "≥ 8:1"])
        for axes in (left, right):
            axes.grid(alpha=0.3)
            axes.set_axisbelow(True)


def sheet(findings: Sequence[Finding], path: Path) -> None:
    """One line per issue: its worst findings, each beside the image it was compared with."""
    by_issue = defaultdict(list)
    for finding in findings:
        by_issue[finding.issue].append(finding)
    inches, columns = 1.9 * len(by_issue) + 0.3, max(2, min(PER_ISSUE, max(map(len, by_issue.values()))))
    with Raw() as raw, plotting.figure(path, 2.3 * columns, inches) as drawn:
        grid = drawn.subplots(len(by_issue), columns, squeeze=False)
        drawn.subplots_adjust(left=0.01, right=0.99, bottom=0.7 / inches, top=1 - 0.3 / inches, hspace=0.9)
        for line, (issue, some) in zip(grid, sorted(by_issue.items()), strict=True):
            line[0].set_title(f"{issue.replace('_', ' ')} ({len(some)})", loc="left", fontsize=10, weight="bold")
            for axes in line:
                axes.axis("off")
                axes.set_anchor("NW")
            for axes, finding in zip(line, sorted(some, key=_rank), strict=False):
                axes.imshow(_picture(raw, finding))
                name = lettered(finding.row["path"])
                text = [name if len(name) <= 34 else f"…{name[-33:]}",
                        *textwrap.wrap(lettered(f"{finding.action}: {finding.reason}"), 36)[:3]]
                axes.text(0, -0.06, "\n".join(text), transform=axes.transAxes, fontsize=6.5, va="top")


def _rank(finding: Finding) -> tuple[float, str]:
    """A sort key, the worst first: of near copies the highest similarity, of all others the lowest score."""
    score = finding.score or 0.0
    return -score if finding.keeper else score, finding.row["path"]


def _picture(raw: zipfile.ZipFile, finding: Finding) -> np.ndarray:
    """uint8 (SIDE, SIDE or 2·SIDE + 4, 3): the image, and right of it the one it was compared with."""
    image = _small(raw, finding.row["path"])
    if not finding.keeper:
        return image
    return np.concatenate([image, np.full((SIDE, 4, 3), 255, np.uint8), _small(raw, finding.keeper)], 1)


def _small(raw: zipfile.ZipFile, path: str) -> np.ndarray:
    """uint8 (SIDE,SIDE,3), padded with white; a grey cross if it is unreadable."""
    canvas = Image.new("RGB", (SIDE, SIDE), "white")
    with suppress(Unreadable):
        picture = Image.fromarray(decode(raw.read(path)))
        scale = SIDE / max(picture.size)
        picture = picture.resize([max(1, round(scale * side)) for side in picture.size], Image.Resampling.BILINEAR)
        canvas.paste(picture, [(SIDE - side) // 2 for side in picture.size])
        return np.asarray(canvas)
    cross = np.abs(np.subtract.outer(np.arange(SIDE), np.arange(SIDE))) < 2
    return np.where((cross | cross[::-1])[..., None], np.uint8(120), np.uint8(225)).repeat(3, 2)
