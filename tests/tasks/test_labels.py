"""Labels of both tasks: how the pixels of masks become classes, and what the scan says of them."""

import io

import numpy as np
import pytest
import yaml
from PIL import Image
from sources import palette, png, saved

from stages.core import params
from stages.core.errors import UserError
from stages.data.decode import Unreadable, decode_mask
from stages.data.prepared import IGNORED
from stages.tasks.classification import labels as class_labels
from stages.tasks.segmentation import labels as mask_labels
from stages.tasks.segmentation.mask_params import MaskParams

LAND, WATER, NOBODY = [132, 41, 246], [226, 169, 41], [155, 155, 155]
STRICT = {"classes": {"land": LAND, "water": WATER}, "ignored": [NOBODY], "unknown": "stop",
          "other_size": "stop", "same_iou": 0.9}
INDEXED = STRICT | {"classes": {"road": 3, "sky": 0, "tree": 200}, "ignored": [255]}


@pytest.fixture
def masks(tmp_path, monkeypatch):
    """`masks(classes=…)` is the section data.masks from then on."""
    monkeypatch.chdir(tmp_path)

    def write(**values: object) -> None:
        (tmp_path / "params.yaml").write_text(yaml.safe_dump({"data": {"masks": values}}, sort_keys=False))

    return write


def grey(*rows: list[int], dtype: type = np.uint8) -> Image.Image:
    return Image.fromarray(np.array(rows, dtype))


def coloured(*rows: list[list[int]]) -> Image.Image:
    return Image.fromarray(np.array(rows, np.uint8))


def refused(function, *arguments) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def targets(content: bytes, *size: int) -> list[list[int]]:
    """size: H, W of the image; without it the mask's own."""
    height, width = size or Image.open(io.BytesIO(content)).size[::-1]
    row = {"target": "m.png", "height": str(height), "width": str(width)}
    found = mask_labels.target(row, mask_labels.classes([]), {"m.png": content}.get)
    assert found.dtype == mask_labels.STORED
    return found.tolist()


def examined(content: bytes, size: tuple[int, int] = (1, 3)) -> tuple[str, str, str]:
    return mask_labels.examine("m.png", {"m.png": content}.get, size)


def test_indices_are_the_stored_numbers(masks):
    masks(**INDEXED)
    assert mask_labels.classes([]) == ["road", "sky", "tree"]
    assert targets(png(grey([3, 0, 200], [255, 3, 3]))) == [[0, 1, 2], [IGNORED, 0, 0]]
    assert targets(png(palette(grey([3, 0, 200]), [[number] * 3 for number in range(255, -1, -1)]))) == [[0, 1, 2]]
    assert targets(saved(grey([3, 0, 255]), "TIFF")) == [[0, 1, IGNORED]]
    masks(**INDEXED | {"classes": {"low": 0, "high": 40_000}})
    assert targets(png(grey([0, 40_000, 255], dtype=np.uint16))) == [[0, 1, IGNORED]]
    masks(**INDEXED | {"classes": {"off": 0, "on": 1}})
    assert targets(png(Image.fromarray(np.array([[True, False]])))) == [[1, 0]]


def test_colours_are_read_through_the_palette_if_there_is_one(masks):
    masks(**STRICT)
    rgb = png(coloured([LAND, NOBODY, WATER]))
    assert targets(rgb) == [[0, IGNORED, 1]]
    through = png(palette(grey([7, 1, 0]), [WATER, NOBODY, *[[0, 0, 0]] * 5, LAND]))
    assert targets(through) == [[0, IGNORED, 1]]
    assert targets(png(Image.merge("RGBA", (*Image.open(io.BytesIO(rgb)).split(), Image.new("L", (3, 1), 9))))) == [
        [0, IGNORED, 1]]  # no transparency: a mask is not laid on white
    masks(**STRICT | {"classes": {"black": [0, 0, 0], "white": [255, 255, 255]}})
    assert targets(png(grey([0, 255]))) == [[0, 1]]


def test_a_mask_is_not_turned(masks):
    masks(**INDEXED)
    exif = Image.Exif()
    exif[0x0112] = 6
    assert targets(saved(grey([3, 0, 200]), "PNG", exif=exif)) == [[0, 1, 2]]


def test_every_colour_of_a_large_mask_against_a_dictionary(masks):
    random = np.random.default_rng(0)
    colours = np.unique(random.integers(0, 256, (40, 3)), axis=0)
    masks(**STRICT | {"classes": {f"c{number}": colour for number, colour in enumerate(colours.tolist())},
                      "ignored": [], "unknown": "ignore"})
    meaning = {tuple(colour): number for number, colour in enumerate(colours.tolist())}
    some = np.concatenate([colours, colours[:, ::-1], random.integers(0, 256, (40, 3))])
    mask = some[random.integers(0, len(some), (60, 50))]
    assert targets(png(Image.fromarray(mask.astype(np.uint8)))) == [
        [meaning.get(tuple(colour), IGNORED) for colour in row] for row in mask.tolist()]


def test_unknown_colours_stop_or_are_ignored(masks):
    odd = png(coloured([LAND, [1, 2, 3], [1, 2, 3]], [[9, 9, 9], WATER, LAND]))
    masks(**STRICT)
    for said in (refused(examined, odd, (2, 3)), refused(targets, odd)):
        for word in ("'m.png'", "(1, 2, 3) in 2 pixels", "1 more", "data.masks.classes", "data.masks.ignored",
                     "data.masks.unknown"):
            assert word in said
    masks(**INDEXED)
    assert "index 7 in 1 pixels" in refused(targets, png(grey([3, 7, 0])))
    masks(**STRICT | {"unknown": "ignore"})
    assert examined(odd, (2, 3))[1:] == ("unknown_colour", "50 % of the mask's pixels stand for nothing that "
                                         "params.yaml names")
    assert targets(odd) == [[0, IGNORED, IGNORED], [IGNORED, 1, 0]]


def test_several_codes_of_one_class_and_one_class_for_all_that_stands_nowhere(masks):
    masks(**INDEXED | {"classes": {"rest": None, "road": {"any": [7, 8, 9]}, "sky": 0}})
    assert targets(png(grey([7, 8, 9, 0, 255, 3]))) == [[1, 1, 1, 2, IGNORED, 0]]
    assert examined(png(grey([7, 3, 9])))[1:] == ("", "")
    masks(**STRICT | {"classes": {"rest": None, "road": {"any": [LAND, WATER]}}, "ignored": []})
    assert targets(png(coloured([LAND, WATER, NOBODY]))) == [[1, 1, 0]]


def test_grey_masks_are_read_however_they_are_stored(masks):
    masks(**INDEXED | {"classes": {"off": 0, "on": 255}, "ignored": []})
    row = grey([0, 255, 255])
    for image in (row, row.convert("RGB"), row.convert("RGBA"), row.convert("LA"), row.convert("1")):
        assert targets(png(image)) == [[0, 1, 1]], image.mode
    assert len({examined(png(image)) for image in (row, row.convert("RGB"), row.convert("1"))}) == 1


def test_soft_outlines_are_of_the_classes_beside_them(masks):
    masks(**STRICT | {"classes": {"low": 0, "middle": 128, "high": 255}, "ignored": [], "unknown": "nearest"})
    edge = [0, 0, 0, 0, 60, 128, 200, 255, 255, 255, 255]  # no class of 128 lies here, only a blend of 0 and 255
    assert targets(png(grey(*[edge] * 6)))[2] in ([0] * 5 + [2] * 6, [0] * 6 + [2] * 5)
    real = [0, 0, 0, 0, 60, 128, 128, 128, 200, 255, 255, 255]
    assert targets(png(grey(*[real] * 6)))[2] == [0] * 5 + [1] * 3 + [2] * 4
    assert examined(png(grey(*[edge] * 6)), (6, 11))[1:] == ("", "")
    assert examined(png(grey(*[[0] * 4 + [190] * 4] * 4)), (4, 8))[1] == "unknown_colour"  # an area like no class


@pytest.mark.parametrize("quality", [60, 90])
def test_masks_as_jpeg(masks, quality):
    masks(**STRICT | {"ignored": [], "unknown": "nearest"})
    rows, columns = np.indices((64, 64))
    inside = (rows - 30) ** 2 + (columns - 34) ** 2 < 400
    stored = saved(Image.fromarray(np.where(inside[..., None], LAND, WATER).astype(np.uint8)), "JPEG", quality=quality)
    assert (np.array(targets(stored)) == ~inside).mean() > 0.985
    assert examined(stored, (64, 64))[1:] == ("", "")
    masks(**STRICT | {"ignored": [], "unknown": "stop"})
    assert "to nearest" in refused(examined, stored, (64, 64))


def test_a_mask_of_another_size_but_the_same_shape_is_rescaled(masks):
    masks(**INDEXED | {"other_size": "rescale"})
    small = png(grey([3, 0], [200, 3]))
    assert targets(small, 4, 4) == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 0, 0], [2, 2, 0, 0]]
    large = png(grey([3, 3, 0, 0], [3, 3, 0, 0], [200, 200, 3, 3], [200, 200, 3, 3]))
    assert examined(small, (4, 4)) == examined(large, (4, 4))
    assert targets(png(grey(*[[3] * 20] * 10)), 5, 10) == [[0] * 10] * 5
    assert examined(png(grey(*[[3] * 99] * 66)), (1000, 1500))[1] == "one_class_mask"
    identity, issue, reason = examined(png(grey(*[[3] * 90] * 66)), (1000, 1500))
    assert (identity, issue) == ("", "mask_size") and "90×66" in reason


def test_masks_that_differ_in_a_few_pixels_are_one_label(masks):
    masks(**INDEXED)
    one, near, other = np.full((3, 40, 40), 3, np.uint8)
    one[10:30, 10:30] = near[10:30, 10:30] = 200
    near[10, 10:14] = 3  # 0.25 % of all pixels
    other[20:24, 10:30] = 200
    stored = {f"{name}.png": png(Image.fromarray(mask)) for name, mask in
              {"a": one, "b": near, "c": other, "d": near}.items()}
    rows = [{"target": name, "height": 40, "width": 40, "pixels": "same",
             "label": mask_labels.examine(name, stored.get, (40, 40))[0]} for name in stored]
    rows.append(rows[1] | {"pixels": "another"})
    before = [row["label"] for row in rows]
    mask_labels.unite_labels(rows, stored.get)
    assert [row["label"] for row in rows] == [before[0], before[0], before[2], before[0], before[1]]
    masks(**INDEXED | {"same_iou": 1.0})
    mask_labels.unite_labels(strict := [row | {"label": label} for row, label in zip(rows, before, strict=True)],
                             stored.get)
    assert [row["label"] for row in strict] == before


def test_a_mask_of_another_size_stops_or_is_dropped(masks):
    small = png(coloured([LAND, WATER]))
    masks(**STRICT)
    said = refused(examined, small, (4, 3))
    for word in ("'m.png'", "2×1", "3×4", "data.masks.other_size"):
        assert word in said
    masks(**STRICT | {"other_size": "drop"})
    assert examined(small, (4, 3))[:2] == ("", "mask_size") and "2×1" in examined(small, (4, 3))[2]
    assert examined(png(coloured([[1, 2, 3]] * 2)), (4, 3))[1] == "mask_size"  # its colours don't matter any more


@pytest.mark.parametrize("content, words", [
    (b"", "empty"), (b"text", "no image"), (png(Image.effect_noise((64, 64), 50))[:-200], ""),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "no image"),
], ids=["empty", "text", "cut", "EPS"])
def test_what_is_no_whole_mask_is_unreadable(masks, content, words):
    masks(**STRICT)
    identity, issue, reason = examined(content)
    assert (identity, issue) == ("", "unreadable_mask") and reason and words in reason


@pytest.mark.parametrize("values, content, words", [
    (INDEXED, png(coloured([LAND])), ["'m.png'", "colours (mode RGB)", "an index or [red, green, blue]"]),
    (INDEXED, saved(Image.new("CMYK", (1, 1)), "TIFF"), ["colours (mode CMYK)"]),
    (STRICT, png(grey([300], dtype=np.uint16)), ["'m.png'", "numbers (mode I;16)"]),
])
def test_masks_of_the_other_kind_stop(masks, values, content, words):
    masks(**values)
    said = refused(examined, content)
    assert all(word in said for word in words), said
    with pytest.raises(Unreadable):
        decode_mask(content, colours=values is STRICT)


def test_the_same_classes_are_the_same_label_whatever_the_file(masks):
    masks(**STRICT)
    row = coloured([LAND, WATER, WATER, LAND])
    same = {examined(content, (1, 4)) for content in (
        png(row), saved(row, "BMP"), png(palette(grey([1, 0, 0, 1]), [WATER, LAND])))}
    assert len(same) == 1 and same.pop()[1:] == ("", "")
    turned = coloured([LAND, WATER], [WATER, LAND])  # the same bytes in another shape
    assert examined(png(turned), (2, 2))[0] != examined(png(row), (1, 4))[0]
    assert mask_labels.examine("", None, (1, 4)) == ("", "", "")
    assert class_labels.examine("cat", None, (1, 4)) == ("cat", "", "")


def test_shapes_and_strata():
    assert (mask_labels.shape((8, 12)), class_labels.shape((8, 12))) == ((8, 12), ())
    row = {"target": "cat", "split": "train"}
    assert (mask_labels.stratum(row), class_labels.stratum(row)) == ("", "cat")
    found = class_labels.target(row, ["ant", "cat"], None)
    assert found.shape == () and found.dtype == class_labels.STORED and found == 1


@pytest.mark.parametrize("values, words", [
    ({"classes": {"a": 1, "b": [1, 2, 3]}, "ignored": []}, ["mix"]),
    ({"classes": {"a": 1, "b": 2}}, ["mix"]),  # ignored is a colour
    ({"ignored": [LAND]}, ["(132, 41, 246)", "twice"]),
    ({"classes": {"a": 1, "b": 1}, "ignored": []}, ["1 stands twice"]),
    ({"classes": {"a": [1, 2, 256], "b": [1, 2, 3]}}, ["classes.a", "[1, 2, 256]", "0–255"]),
    ({"classes": {"a": [1, 2], "b": [1, 2, 3]}}, ["classes.a", "[1, 2]", "[red, green, blue]"]),
    ({"classes": {"a": "#aabbcc", "b": [1, 2, 3]}}, ["classes.a", "'#aabbcc'", "index"]),
    ({"ignored": [True]}, ["ignored.0", "True", "index"]),
    ({"ignored": [-1]}, ["ignored.0", "-1", "index"]),
    ({"classes": {"a": "road", "b": [1, 2, 3]}}, ["mix", "labels"]),
    ({"classes": {"a": {"any": [1, 1]}, "b": 2}, "ignored": []}, ["1 stands twice"]),
    ({"classes": {"a": {"any": []}, "b": 2}, "ignored": []}, ["classes.a", "{'any': []}", "{any: [1, 2]}"]),
    ({"classes": {"a": {"all": [1]}, "b": 2}, "ignored": []}, ["classes.a", "{any: [1, 2]}"]),
    ({"classes": {"a": {"any": [1, "#00"]}, "b": 2}, "ignored": []}, ["classes.a", "'#00'"]),
    ({"classes": {"a": None, "b": None, "c": 1}, "ignored": []}, ["'a' and 'b'", "no code"]),
    ({"classes": {"a": None, "b": 1}, "ignored": [], "unknown": "nearest"}, ["nearest", "give 'a' one"]),
    ({"classes": {"a": "x", "b": "y"}, "ignored": [], "unknown": "nearest"}, ["nearest", "every class"]),
    ({"same_iou": 0.0}, ["same_iou", "greater than 0"]),
    ({"classes": {"a\nb": LAND, "b": WATER}}, ["'a\\nb'", "rename"]),
    ({"classes": {"": LAND, "b": WATER}}, ["''", "rename"]),
    ({"classes": {"land": LAND}}, ["1 class", "at least two"]),
    ({"classes": {}, "ignored": []}, ["0 class", "at least two"]),
    ({"unknown": "drop"}, ["unknown", "'stop', 'ignore' or 'nearest'"]),
    ({"colours": {}}, ["colours", "unknown", "classes"]),
])
def test_wrong_tables_are_refused_in_one_line(masks, values, words):
    masks(**STRICT | values)
    said = refused(mask_labels.classes, [])
    assert "params.yaml" in said and "data.masks" in said
    assert all(word in said for word in words), said


def test_no_more_classes_than_int16_holds():
    many = INDEXED | {"classes": {f"c{number}": number for number in range(30_001)}, "ignored": []}
    assert "30001" in refused(params.parse, MaskParams, many, "data.masks")


def test_a_task_without_masks_leaves_the_tables_empty(masks):
    masks(classes={}, ignored=[], unknown="stop", other_size="stop", same_iou=0.9)
    assert params.load("data.masks", MaskParams).classes == {}
