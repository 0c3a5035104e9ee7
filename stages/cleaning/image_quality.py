"""Technical quality of images: dark, blurry, empty, of an odd size, … In: pixels; rows of data/scan.csv.

Scores and thresholds are cleanvision's. Its measures are computed here from decoded pixels, to the same numbers
(a test compares them): cleanvision's own take fifty bytes of memory per pixel for brightness alone, and two seconds of
import in each process. An image is grey by its pixels; for cleanvision, by its file's mode.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from PIL import Image, ImageFilter

from stages.data.colour import strips

# cleanvision's names, which its scores require; and `grey`: 1 if red, green and blue are equal.
COLUMNS = ("brightness_perc_5", "brightness_perc_99", "entropy", "blurriness", "blurriness_grayscale_std", "grey")
ISSUES = ("dark", "light", "blurry", "low_information", "odd_size", "odd_aspect", "greyscale")
CLEANVISION = {"odd_aspect": "odd_aspect_ratio", "greyscale": "grayscale"}  # its names where they differ
BLUR_SIDE = 64  # blur is measured with the longer side scaled down to this
# 1000 × red², green², blue² by their weights in brightness: integers whose sum fits into int32.
SQUARED_LIGHT = np.array([[241], [691], [68]], np.int32) * np.arange(256, dtype=np.int32) ** 2
Row = Mapping[str, str]  # of data/scan.csv


def measure(pixels: np.ndarray) -> dict[str, float]:
    """COLUMNS of an image, uint8 (H,W,3), RGB. Brightness is 0–1, entropy in bits; blurriness as in cleanvision."""
    image = Image.fromarray(pixels)
    ratio = max(image.size) / BLUR_SIDE
    small = image.resize([max(int(side // ratio), 1) for side in image.size]) if ratio > 1 else image
    small = small.convert("L")
    edges = np.asarray(small.filter(ImageFilter.FIND_EDGES))
    values = (*_brightness(pixels, (5, 99)), image.entropy(), edges.std(), np.std(small.histogram()),
              (pixels == pixels[..., :1]).all())
    return dict(zip(COLUMNS, map(float, values), strict=True))


def findings(rows: Sequence[Row]) -> Iterator[tuple[Row, str, float, float]]:
    """Row, issue, score (0–1) and threshold for each score below its threshold, in readable images.

    Sizes are odd relative to the other rows. If most images have one size, an odd one is at most half of it, or half as
    much again; cleanvision would call any other size odd. Grey images are reported only where they are a minority.
    """
    import pandas
    from cleanvision.issue_managers.image_property_issue_manager import ImagePropertyIssueManager

    if not rows:
        return
    table = pandas.DataFrame({name: [float(row[name]) for row in rows] for name in (*COLUMNS, "width", "height")})
    table["size"] = np.sqrt(table["width"] * table["height"])
    table["aspect_ratio"] = np.minimum(table["width"] / table["height"], table["height"] / table["width"])
    table["color_space"] = np.where((table["grey"] == 1) & (table["grey"].mean() < 0.5), "L", "RGB")
    manager = ImagePropertyIssueManager()
    for issue in ISSUES:
        name = CLEANVISION.get(issue, issue)
        rule, options = manager.image_properties[name], manager.params[name]
        scores = rule.get_scores(table[rule.score_columns].copy(), name, **options).iloc[:, 0]
        # The threshold for sizes depends on the sizes; a grey image scores 0, any other 1.
        threshold = float(options.get("threshold", getattr(rule, "threshold", 1)))
        if issue == "odd_size" and threshold >= 1:  # half of the images or more have one size
            threshold = 0.5
        for number in np.flatnonzero(scores < threshold):
            yield rows[number], issue, float(scores[number]), threshold


def _brightness(pixels: np.ndarray, percents: Sequence[float]) -> Iterator[float]:
    """Percentiles of √(0.241 R² + 0.691 G² + 0.068 B²) ÷ 255 over the pixels, with linear interpolation."""
    light = np.empty(pixels.shape[:2], np.int32)
    for strip in strips(*light.shape):  # the sum's parts take memory too
        light[strip] = sum(weighted[pixels[strip, :, channel]] for channel, weighted in enumerate(SQUARED_LIGHT))
    light = light.ravel()
    places = [percent / 100 * (light.size - 1) for percent in percents]
    light.partition(sorted({end for place in places for end in (math.floor(place), math.ceil(place))}))
    for place in places:
        low, high = (math.sqrt(light[end] / 1000) / 255 for end in (math.floor(place), math.ceil(place)))
        yield low + (high - low) * (place % 1)
