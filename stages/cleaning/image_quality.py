"""How good a picture is, technically: dark, blurry, empty, of an odd size, … In: pixels; rows of data/scan.csv.

What is found, and from which score on, is cleanvision's word: `findings` calls its scores with its thresholds. Its
measures are taken here anew, of pixels that are decoded already, to the same numbers (tests/test_scan.py compares):
cleanvision's own take fifty bytes a pixel in memory for the brightness alone, and two seconds to import in each
process. An image is grey by its pixels, where cleanvision goes by the file's mode.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from PIL import Image, ImageFilter

# cleanvision's own names, because its scores ask for them; and `grey`: 1 where red, green and blue are the same.
COLUMNS = ("brightness_perc_5", "brightness_perc_99", "entropy", "blurriness", "blurriness_grayscale_std", "grey")
ISSUES = ("dark", "light", "blurry", "low_information", "odd_size", "odd_aspect", "greyscale")
THEIRS = {"odd_aspect": "odd_aspect_ratio", "greyscale": "grayscale"}  # what cleanvision calls these
BLUR_SIDE = 64  # pixels of the longer side at which blur is measured
# 1000 × red², green² and blue² by their weight in brightness: whole numbers, which fit into int32 even added up.
LIGHT = np.array([[241], [691], [68]], np.int32) * np.arange(256, dtype=np.int32) ** 2
Row = Mapping[str, str]  # of data/scan.csv


def measure(pixels: np.ndarray) -> dict[str, float]:
    """COLUMNS of an image uint8 (H,W,3), RGB. Brightness is 0–1, entropy in bits; the others as cleanvision has them.
    """
    image = Image.fromarray(pixels)
    dark, bright = _brightness(pixels, (5, 99))
    small = _fitted(image).convert("L")
    edges = np.asarray(small.filter(ImageFilter.FIND_EDGES))
    red, green, blue = np.moveaxis(pixels, -1, 0)
    values = (dark, bright, image.entropy(), edges.std(), np.std(small.histogram()),
              (red == green).all() and (green == blue).all())
    return dict(zip(COLUMNS, map(float, values), strict=True))


def findings(rows: Sequence[Row]) -> Iterator[tuple[Row, str, float, float]]:
    """Row, issue, score and threshold of what is found in readable images: the score, of 0–1, is below the threshold.

    Sizes are odd beside those of the other rows (where most are the same, from half of it or half as much again: there
    cleanvision would call any other odd), and grey ones count only where they are fewer than the colourful.
    """
    import pandas
    from cleanvision.issue_managers.image_property_issue_manager import ImagePropertyIssueManager

    if not rows:
        return
    table = pandas.DataFrame({name: [float(row[name]) for row in rows] for name in (*COLUMNS, "width", "height")})
    table["size"] = np.sqrt(table["width"] * table["height"])
    table["aspect_ratio"] = np.minimum(table["width"] / table["height"], table["height"] / table["width"])
    grey = table["grey"] if table["grey"].mean() < 0.5 else 0 * table["grey"]
    table["color_space"] = np.where(grey, "L", "RGB")
    judge = ImagePropertyIssueManager()
    for issue in ISSUES:
        name = THEIRS.get(issue, issue)
        rule, options = judge.image_properties[name], judge.params[name]
        scores = rule.get_scores(table[rule.score_columns].copy(), name, **options).iloc[:, 0]
        # An odd size's threshold depends on the sizes; a grey image scores 0, any other 1.
        threshold = float(options.get("threshold", getattr(rule, "threshold", 1)))
        if issue == "odd_size" and threshold >= 1:  # half of the images or more are of one size, and any other is odd
            threshold = 0.5  # half that size, or half as much again
        for number in np.flatnonzero(scores < threshold):
            yield rows[number], issue, float(scores[number]), threshold


def _brightness(pixels: np.ndarray, percents: Sequence[float]) -> Iterator[float]:
    """These percentiles of √(0.241 R² + 0.691 G² + 0.068 B²) ÷ 255 over the pixels, linear between two of them."""
    light = sum(weighted[pixels[..., channel]] for channel, weighted in enumerate(LIGHT)).ravel()
    places = [percent / 100 * (light.size - 1) for percent in percents]
    light.partition(sorted({end for place in places for end in (math.floor(place), math.ceil(place))}))
    for place in places:
        low, high = (math.sqrt(light[end] / 1000) / 255 for end in (math.floor(place), math.ceil(place)))
        yield low + (high - low) * (place % 1)


def _fitted(image: Image.Image) -> Image.Image:
    ratio = max(image.size) / BLUR_SIDE
    return image.resize([max(int(side // ratio), 1) for side in image.size]) if ratio > 1 else image
