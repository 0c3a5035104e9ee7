"""Technical quality: cleanvision's scores, from our measures."""

from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from sources import saved

from stages.cleaning import image_quality
from stages.data import colour
from stages.data.decode import decode


def clouds(seed: int, size: tuple[int, int] = (48, 48)) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def examples() -> dict[str, Image.Image]:
    """Ordinary pictures, and one or more of each kind of finding."""
    ordinary = {f"{number}.png": clouds(number, (42 + number, 48)).filter(ImageFilter.UnsharpMask(3, 800))
                for number in range(12)}
    grain = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    return ordinary | {
        "dark.png": Image.fromarray(grain // 8), "light.png": Image.fromarray(244 + grain // 24),
        "white.png": Image.new("RGB", (48, 48), (255, 255, 250)), "black.png": Image.new("RGB", (48, 48), (0, 0, 9)),
        "blurry.png": clouds(3).filter(ImageFilter.GaussianBlur(9)),
        "wide.png": clouds(20, (140, 16)), "big.png": clouds(21, (300, 310)), "small.png": clouds(22, (4, 5)),
        "grey.png": clouds(23).convert("L"), "one.png": Image.new("RGB", (1, 1), (9, 200, 3)),
        "two colours.png": Image.fromarray(np.where(grain[..., :1] > 99, 200, 30).astype(np.uint8).repeat(3, 2)),
    }


def rows_of(pictures: dict[str, Image.Image]) -> list[dict[str, str]]:
    """Rows of scan.csv, as far as quality reads them."""
    decoded = {name: decode(saved(picture, "PNG")) for name, picture in pictures.items()}
    return [{"path": name, "height": str(pixels.shape[0]), "width": str(pixels.shape[1])}
            | {column: str(value) for column, value in image_quality.measure(pixels).items()}
            for name, pixels in decoded.items()]


def test_findings_are_those_of_cleanvision(tmp_path):
    from cleanvision import Imagelab

    pictures = examples()
    del pictures["two colours.png"]  # grey in its pixels, not in its mode
    for name, image in pictures.items():
        image.save(tmp_path / name)
    lab = Imagelab(data_path=str(tmp_path))
    theirs = {image_quality.CLEANVISION.get(issue, issue): issue for issue in image_quality.ISSUES}
    lab.find_issues({name: {} for name in theirs}, n_jobs=1, verbose=False)
    expected = {(Path(path).name, issue): row[f"{name}_score"] for path, row in lab.issues.iterrows()
                for name, issue in theirs.items() if row[f"is_{name}_issue"]}
    found = {(row["path"], issue): score for row, issue, score, threshold in image_quality.findings(rows_of(pictures))}
    assert found == pytest.approx(expected, abs=1e-9)
    assert {issue for _, issue in found} == set(image_quality.ISSUES)


def test_findings_have_their_thresholds_and_scores_below():
    found = list(image_quality.findings(rows_of(examples())))
    assert {(issue, threshold) for _, issue, _, threshold in found} == {
        ("dark", 0.32), ("light", 0.05), ("blurry", 0.29), ("low_information", 0.3), ("odd_size", 0.5),
        ("odd_aspect", 0.35), ("greyscale", 1.0)}
    assert all(0 <= score < threshold for _, _, score, threshold in found)
    kinds = {path: {issue for row, issue, _, _ in found if row["path"] == path} for path in examples()}
    assert not any(kinds[f"{number}.png"] for number in range(12))
    for path, issue in {"dark.png": "dark", "light.png": "light", "blurry.png": "blurry", "white.png": "light",
                        "black.png": "low_information", "wide.png": "odd_aspect", "big.png": "odd_size",
                        "small.png": "odd_size", "grey.png": "greyscale", "two colours.png": "greyscale"}.items():
        assert issue in kinds[path], path


def test_if_most_images_have_one_size_a_pixel_more_is_not_odd():
    sizes = {f"{number}.png": clouds(number) for number in range(9)} | {"other.png": clouds(9, (48, 47)),
                                                                        "small.png": clouds(9, (20, 20))}
    found = [(row["path"], threshold) for row, issue, _, threshold in image_quality.findings(rows_of(sizes))
             if issue == "odd_size"]
    assert found == [("small.png", 0.5)]


def test_grey_images_are_reported_only_as_a_minority():
    colour, grey = ({f"{name}{seed}": clouds(seed).convert(name) for seed in range(6)} for name in ("RGB", "L"))
    few = dict(islice(grey.items(), 5))
    assert Counter(issue for _, issue, _, _ in image_quality.findings(rows_of(colour | few)))["greyscale"] == 5
    assert not list(image_quality.findings(rows_of(colour | grey)))
    assert not list(image_quality.findings([]))


def test_measures_do_not_depend_on_the_strips(monkeypatch):
    pixels = np.asarray(clouds(4, (37, 29)))
    whole = image_quality.measure(pixels)
    for strip in (1, 37 * 5):
        monkeypatch.setattr(colour, "STRIP", strip)
        assert image_quality.measure(pixels) == whole


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 3), (64, 64), (65, 64), (333, 100)], ids=str)
def test_measures_equal_cleanvisions(size):
    from cleanvision.issue_managers.image_property import BlurrinessProperty, BrightnessProperty, EntropyProperty

    for seed, levels in enumerate((2, 9, 256)):
        image = Image.fromarray(np.random.default_rng(seed).integers(0, levels, (*size, 3), dtype=np.uint8))
        theirs = {name: value for rule in (BrightnessProperty("dark"), EntropyProperty(), BlurrinessProperty())
                  for name, value in rule.calculate(image).items()}
        ours = image_quality.measure(np.asarray(image))
        assert ours.pop("grey") == (size == (1, 1) and seed == 0 and len(set(image.getpixel((0, 0)))) == 1)
        assert ours == pytest.approx({name: theirs[name] for name in ours}, rel=1e-9, abs=1e-9)
