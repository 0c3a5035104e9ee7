"""Figures for the report, by matplotlib. In: numbers, maps, a path. Out: a PNG, of the same bytes every time."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from stages.core.files import atomic_write
from stages.evaluation.lettering import chart_names, families
from stages.evaluation.palette import palette

COLOURS = {"teacher": "tab:gray", "baseline": "tab:blue", "student": "tab:orange", "int8": "tab:green",
           "teacher_int8": "tab:purple"}
DPI = 110
PLAIN = {"text.parse_math": False}  # a class may be called $x$
SIDE, NARROWEST, GAP = 320, 160, 6  # of a sheet, in pixels: an image's longest side, a column, the white between


@contextmanager
def figure(path: Path, *size: float, **options):
    """A matplotlib Figure of (width, height) inches, options as it has them; written when the block ends.

    The PNG doesn't name matplotlib's version.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=size, dpi=DPI, **options)
    fonts = {"font.family": families()}
    with matplotlib.rc_context(fonts | PLAIN):
        yield drawn
    with atomic_write(path, "wb") as file, matplotlib.rc_context(fonts):
        FigureCanvasAgg(drawn).print_png(file, metadata={"Software": None})  # savefig draws twice to lay out


def text_width(text: str, points: float) -> int:
    """Pixels, of letters of this size."""
    import matplotlib
    from matplotlib.textpath import TextPath

    with matplotlib.rc_context({"font.family": families()} | PLAIN):
        # Points at which curves are bent lie no further right than the letters do, and are quicker than get_extents().
        return int(np.ceil(TextPath((0, 0), text, size=points).vertices[:, 0].max() * DPI / 72))


def confusion(counts: np.ndarray, written: Callable[[int, float], str], classes: Sequence[str], title: str,
              path: Path) -> None:
    """counts (C,C): rows are actual classes, coloured in % of each; written(count, %) of a cell while there is room."""
    share = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(3 + 0.45 * len(classes), 12)
    with figure(path, side + 1, side, layout="constrained") as drawn:
        axes = drawn.subplots()
        drawn.colorbar(axes.imshow(share, cmap="Blues", vmin=0, vmax=100), label="% of the actual class", shrink=0.8)
        axes.set(title=title, xlabel="predicted", ylabel="actual")
        names = chart_names(classes)
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), names)
        for (row, column), count in np.ndenumerate(counts):
            if count:
                axes.text(column, row, written(count, share[row, column]), ha="center", va="center", fontsize=8,
                          color="white" if share[row, column] > 50 else "black")


def sheet(numbers: Sequence[int], images: Callable[[int], np.ndarray], maps: Mapping[str, Sequence[np.ndarray]],
          notes: Mapping[str, Sequence[str]], classes: Sequence[str], path: Path) -> None:
    """A row for each of these test images: the image, uint8 (H,W,3), and its map (H,W) of classes under each title.

    Maps are hatched where they are below 0: ignored pixels. notes: texts for the corners of some titles' maps. Images
    are resized to fit SIDE; the legend has the classes that occur.
    """
    first = next(iter(maps.values()))
    sizes = _fitted([first[number].shape for number in numbers])
    column = max(width for _, width in sizes)
    tops = np.cumsum([0, *(height + GAP for height, _ in sizes)])
    wide = (1 + len(maps)) * (column + GAP) - GAP
    colours, present = palette(len(classes)), set()
    canvas = np.full((tops[-1], wide, 3), 255, np.uint8)
    corners = []
    for number, (height, width), top in zip(numbers, sizes, tops, strict=False):
        left = (column - width) // 2
        canvas[top:top + height, left:left + width] = Image.fromarray(images(number)).resize(
            (width, height), Image.Resampling.LANCZOS)
        for title, drawn in maps.items():
            left += column + GAP
            labels = _nearest(drawn[number], height, width)
            present.update(np.unique(labels).tolist())
            canvas[top:top + height, left:left + width] = _coloured(labels, colours)
            if title in notes:
                corners.append((left + 5, top + height - 6, notes[title][number]))
    names = chart_names(classes)
    legend = [(names[label], colours[label]) for label in sorted(present - {-1})]
    _write_sheet(canvas, column, ["photograph", *maps], corners, legend, -1 in present, path)


def _write_sheet(canvas: np.ndarray, column: int, titles: Sequence[str], corners: Sequence[tuple[int, int, str]],
                 legend: Sequence[tuple[str, np.ndarray]], ignored: bool, path: Path) -> None:
    """The canvas with a line of titles above and the legend below. corners: (x, y, text) in the canvas' pixels."""
    from matplotlib.patches import Patch

    high, wide = canvas.shape[:2]
    points = float(np.clip(wide / 120, 9, 15))  # a page shows a wide sheet smaller than it is
    line = round(points * DPI / 72 * 1.6)  # pixels
    # The space is for names like _background_: matplotlib hides labels that begin with an underscore.
    entries = [Patch(facecolor=colour / 255, edgecolor="black", linewidth=0.5, label=f" {name}")
               for name, colour in legend]
    if ignored:
        entries.append(Patch(facecolor="white", edgecolor="tab:gray", hatch="////", linewidth=0.5, label=" ignored"))
    longest = max(len(entry.get_label()) for entry in entries)
    columns = int(np.clip(wide / (line * (2.6 + 0.42 * longest)), 1, len(entries)))
    below = round((-(-len(entries) // columns) + 0.7) * 0.8 * line)
    total = line + high + below
    with figure(path, wide / DPI, total / DPI) as drawn:
        drawn.figimage(canvas, 0, below)
        for number, title in enumerate(titles):
            drawn.text((number * (column + GAP) + column / 2) / wide, 1 - 0.5 * line / total, title, ha="center",
                       va="center", fontsize=points)
        for x, y, text in corners:
            drawn.text(x / wide, 1 - (line + y) / total, text, fontsize=0.75 * points, va="bottom",
                       bbox={"facecolor": "white", "alpha": 0.9, "linewidth": 0, "pad": 2})
        drawn.legend(handles=entries, loc="lower center", bbox_to_anchor=(0.5, 0), ncols=columns, frameon=False,
                     fontsize=0.85 * points, handlelength=1.5, labelspacing=0.4, borderpad=0.2)


def _fitted(sizes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """(height, width) of each test image on the sheet: all of one width where their shapes allow it."""
    column = float(np.clip(min(SIDE * width / height for height, width in sizes), NARROWEST, SIDE))
    scales = [min(column / width, SIDE / height) for height, width in sizes]
    return [(max(1, round(scale * height)), max(1, round(scale * width)))
            for scale, (height, width) in zip(scales, sizes, strict=True)]


def _nearest(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H,W) → (height,width): the pixel under the middle of each new one; all below 0 become −1."""
    rows, columns = (((np.arange(new) + 0.5) * old / new).astype(int)
                     for new, old in zip((height, width), labels.shape, strict=True))
    return np.maximum(labels[rows[:, None], columns].astype(int), -1)


def _coloured(labels: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """(H,W) → uint8 (H,W,3); grey lines on white where it is below 0."""
    lines = np.add.outer(*map(np.arange, labels.shape)) % 8 < 2
    return np.where((labels < 0)[..., None], np.where(lines, 150, 255)[..., None], colours[labels]).astype(np.uint8)
