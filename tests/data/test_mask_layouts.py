"""Layouts of segmentation sets as they are downloaded: recognised by their names, and each image with its own mask.

The archives are made up. Each image is of one grey, its number, and so is its mask.
"""

from collections import Counter
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from sources import png

from stages.core.errors import UserError
from stages.data import listing
from stages.data.decode import decode
from stages.data.layouts import aerial_tiles, image_mask_pairs, image_mask_patterns
from stages.data.sample import Sample

Files = dict[str, bytes]
TRAIN, VAL, TEST = (1, 2, 3), (4, 5), (6, 7)


def grey(number: int) -> bytes:
    return png(Image.new("L", (8, 8), number))


def named(form: str, numbers: Sequence[int], **words: str) -> Files:
    """A file for each number, called after `form`: "train/{n}.png"."""
    return {form.format(n=number, **words): grey(number) for number in numbers}


def lines(*texts: str) -> bytes:
    return "".join(f"{text}\n" for text in texts).encode()


VOC = "VOCdevkit/VOC2012"
BUSI = "Dataset_BUSI_with_GT"
SPLITS = {"train": TRAIN, "val": VAL, "test": TEST}
ARCHIVES: dict[str, Files] = {
    "VOC": named(f"{VOC}/JPEGImages/2007_00{{n}}.jpg", (*TRAIN, *VAL, *TEST))
    | named(f"{VOC}/SegmentationClass/2007_00{{n}}.png", (*TRAIN, *VAL))
    | named(f"{VOC}/SegmentationObject/2007_00{{n}}.png", (*TRAIN, *VAL)) | {f"{VOC}/Annotations/2007_001.xml": b"<a/>"}
    | {f"{VOC}/ImageSets/{use}/{split}.txt": lines(*(f"2007_00{n}" for n in numbers))
       for split, numbers in {"train": TRAIN, "val": VAL, "trainval": TRAIN + VAL}.items()
       for use in ("Segmentation", "Main")},
    "CamVid": {name: content for split, numbers in SPLITS.items()
               for name, content in (named(f"CamVid/{split}/0001TP_{{n}}.png", numbers)
                                     | named(f"CamVid/{split}annot/0001TP_{{n}}.png", numbers)).items()},
    "CamVid, Kaggle": {name: content for split, numbers in SPLITS.items()
                       for name, content in (named(f"CamVid/{split}/0001TP_{{n}}.png", numbers)
                                             | named(f"CamVid/{split}_labels/0001TP_{{n}}_L.png", numbers)).items()},
    "CamVid, undivided": named("701_StillsRaw_full/0006R0_f{n}.png", TRAIN)
    | named("LabeledApproved_full/0006R0_f{n}_L.png", TRAIN),
    "Cityscapes": {name: content for split, numbers in SPLITS.items() for city in ("aachen", "bochum")
                   for name, content in (
                       named(f"leftImg8bit/{split}/{city}/{city}_{{n}}_19_leftImg8bit.png", numbers)
                       | {f"gtFine/{split}/{city}/{city}_{n}_19_gtFine_{kind}": grey(n) for n in numbers for kind in
                          ("labelIds.png", "color.png", "instanceIds.png", "polygons.json")}).items()},
    "Carvana": named("train/0cdf_{n}.jpg", TRAIN) | named("train_masks/0cdf_{n}_mask.gif", TRAIN)
    | named("test/0cdf_{n}.jpg", TEST) | {"metadata.csv": b"id,year\n"},
    "ISIC 2018": {name: content for split, numbers in {"Training": TRAIN, "Validation": VAL}.items()
                  for name, content in (
                      named(f"ISIC2018_Task1-2_{split}_Input/ISIC_000{{n}}.jpg", numbers)
                      | named(f"ISIC2018_Task1_{split}_GroundTruth/ISIC_000{{n}}_segmentation.png", numbers)).items()},
    "ISIC 2017": named("ISIC-2017_Training_Data/ISIC_000{n}.jpg", TRAIN)
    | named("ISIC-2017_Training_Data/ISIC_000{n}_superpixels.png", TRAIN)
    | named("ISIC-2017_Training_Part1_GroundTruth/ISIC_000{n}_segmentation.png", TRAIN),
    "Oxford Pets": named("images/Abyssinian_{n}.jpg", (*TRAIN, *VAL, *TEST))
    | named("annotations/trimaps/Abyssinian_{n}.png", (*TRAIN, *VAL, *TEST))
    | {"annotations/list.txt": lines("#Image CLASS-ID SPECIES BREED ID"),
       "annotations/trainval.txt": lines(*(f"Abyssinian_{n} 1 1 1" for n in TRAIN + VAL)),
       "annotations/test.txt": lines("Abyssinian_6 1 1 1")},
    "ADE20K": {f"ADEChallengeData2016/{folder}/{split}/ADE_{split}_{n}.{suffix}": grey(n)
               for folder, suffix in (("images", "jpg"), ("annotations", "png"))
               for split, numbers in {"training": TRAIN, "validation": VAL}.items() for n in numbers},
    "ADE20K, full": {f"ADE20K/images/ADE/{split}/{place}/ADE_{split}_{n}{ending}": grey(n)
                     for split, numbers in {"training": TRAIN, "validation": VAL}.items() for n in numbers
                     for place in ("urban/street", "home/attic") for ending in (".jpg", "_seg.png", "_parts_1.png")},
    "Roboflow": {f"{split}/road_{n}_jpg.rf.6c{n}{ending}": grey(n)
                 for split, numbers in {"train": TRAIN, "valid": VAL, "test": TEST}.items() for n in numbers
                 for ending in (".jpg", "_mask.png")} | {"train/_classes.csv": b"Pixel Value, Class\n0, background\n"},
    "BUSI": {f"{BUSI}/{kind}/{kind} ({n}){ending}.png": grey(n) for kind in ("benign", "malignant", "normal")
             for n in TRAIN for ending in ("", "_mask")} | {f"{BUSI}/benign/benign (2)_mask_1.png": grey(2)},
    "DeepGlobe": named("train/{n}_sat.jpg", TRAIN) | named("train/{n}_mask.png", TRAIN)
    | named("valid/{n}_sat.jpg", VAL),
    "LoveDA": {f"Train/Train/{place}/{folder}/{n}.png": grey(n + shift) for n in TRAIN
               for shift, place in enumerate(("Rural", "Urban")) for folder in ("images_png", "masks_png")},
    "in one folder": named("set/x{n}.jpg", TRAIN) | named("set/x{n}.png", TRAIN),
    "other beginnings": named("images/image_{n}.png", TRAIN) | named("masks/mask_{n}.png", TRAIN),
    "several suffixes": named("images/a{n}.jpg", TRAIN) | named("images/b{n}.png", VAL)
    | named("masks/a{n}.png", TRAIN) | named("masks/b{n}.bmp", VAL),
}
OPTIONS = {
    "VOC": {"images": "JPEGImages/{id}.jpg", "masks": "SegmentationClass/{id}.png",
            "lists": f"{VOC}/ImageSets/Segmentation/{{split}}.txt"},
    "CamVid": {"images": "{split}/{id}.png", "masks": "{split}annot/{id}.png"},
    "CamVid, Kaggle": {"images": "{split}/{id}.png", "masks": "{split}_labels/{id}_L.png"},
    "CamVid, undivided": {"images": "701_StillsRaw_full/{id}.png", "masks": "LabeledApproved_full/{id}_L.png"},
    "Cityscapes": {"images": "leftImg8bit/{split}/{id}_leftImg8bit.png",
                   "masks": "gtFine/{split}/{id}_gtFine_labelIds.png",
                   "splits": {"val": "test", "test": "unlabelled"}},
    "Carvana": {"images": "{split}/{id}.jpg", "masks": "{split}_masks/{id}_mask.gif", "missing_mask": "unlabelled"},
    "ISIC 2018": {"images": "ISIC2018_Task1-2_{split}_Input/{id}.jpg",
                  "masks": "ISIC2018_Task1_{split}_GroundTruth/{id}_segmentation.png"},
    "ISIC 2017": {"images": "ISIC-2017_{split}_Data/{id}.jpg",
                  "masks": "ISIC-2017_{split}_Part1_GroundTruth/{id}_segmentation.png"},
    "Oxford Pets": {"images": "images/{id}.jpg", "masks": "annotations/trimaps/{id}.png",
                    "lists": "annotations/{split}.txt"},
    "ADE20K": {"images": "images/{split}/{id}.jpg", "masks": "annotations/{split}/{id}.png"},
    "ADE20K, full": {"images": "{split}/{id}.jpg", "masks": "{split}/{id}_seg.png"},
    "Roboflow": {"images": "{split}/{id}.jpg", "masks": "{split}/{id}_mask.png"},
    "BUSI": {"images": "{id}.png", "masks": "{id}_mask*.png", "several_masks": "unite"},
    "DeepGlobe": {"images": "{split}/{id}_sat.jpg", "masks": "{split}/{id}_mask.png", "missing_mask": "unlabelled"},
    "LoveDA": {"images": "{split}/{part}/images_png/{id}.png", "masks": "{split}/{part}/masks_png/{id}.png"},
    "in one folder": {"images": "{id}.jpg", "masks": "{id}.png"},
    "other beginnings": {"images": "images/image_{id}.png", "masks": "masks/mask_{id}.png"},
    "several suffixes": {"images": "images/{id}.*", "masks": "masks/{id}.*"},
}
# Split → images with a mask, and (unlabelled) without.
COUNTS = {
    "VOC": {"train": 3, "val": 2, "unlabelled": 2}, "CamVid": {"train": 3, "val": 2, "test": 2},
    "CamVid, Kaggle": {"train": 3, "val": 2, "test": 2}, "CamVid, undivided": {"": 3},
    "Cityscapes": {"train": 6, "test": 4, "unlabelled": 4}, "Carvana": {"train": 3, "unlabelled": 2},
    "ISIC 2018": {"train": 3, "val": 2}, "ISIC 2017": {"train": 3},
    "Oxford Pets": {"train": 5, "test": 1, "unlabelled": 1}, "ADE20K": {"train": 3, "val": 2},
    "ADE20K, full": {"train": 6, "val": 4}, "Roboflow": {"train": 3, "val": 2, "test": 2}, "BUSI": {"": 9},
    "DeepGlobe": {"train": 3, "unlabelled": 2}, "LoveDA": {"train": 6}, "in one folder": {"": 3},
    "other beginnings": {"": 3}, "several suffixes": {"": 5},
}


def read_as_recognised(layout: ModuleType, files: Files) -> list[Sample]:
    options = layout.recognise(list(files), files.__getitem__)
    return listing.list_samples(layout, list(files), files.__getitem__, options)


def listed(files: Files, **options: object) -> list[Sample]:
    return listing.list_samples(image_mask_patterns, list(files), files.__getitem__, options)


def refused(function, *arguments, **options) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives_as_they_are_downloaded(name):
    files = ARCHIVES[name]
    assert image_mask_patterns.recognise(list(files), files.__getitem__) == OPTIONS[name]
    samples = read_as_recognised(image_mask_patterns, files)
    assert Counter(sample.split for sample in samples) == COUNTS[name]
    for sample in samples:
        assert bool(sample.target) == (sample.split != "unlabelled")
        for mask in filter(None, sample.target.split("|")):
            assert mask != sample.path
            assert np.array_equal(decode(files[mask]), decode(files[sample.path])), (sample.path, mask)
    assert listing.list_samples(image_mask_patterns, list(files), files.__getitem__, {}) == samples  # none given


def test_a_second_mask_of_an_image_adds_to_the_first():
    sample = next(sample for sample in read_as_recognised(image_mask_patterns, ARCHIVES["BUSI"])
                  if sample.path == f"{BUSI}/benign/benign (2).png")
    assert sample.target == f"{BUSI}/benign/benign (2)_mask.png|{BUSI}/benign/benign (2)_mask_1.png"


@pytest.mark.parametrize("files", [
    named("train/cat/{n}.jpg", TRAIN) | named("train/dog/{n}.jpg", TRAIN),
    named("images/{n}.jpg", TRAIN),
    named("images/{n}.jpg", TRAIN) | named("masks/other{n}.png", TRAIN),
    # Which of the two is meant, the names don't say.
    named("images/{n}.jpg", TRAIN) | named("masks/{n}.png", TRAIN) | named("labels/{n}.png", TRAIN),
    # Pictures beside pictures.
    {f"set/{n}.{suffix}": png(Image.effect_noise((99, 99), 90)) for n in TRAIN for suffix in ("jpg", "png")},
    named("images/{n}.jpg", TRAIN) | {f"labels/{n}.txt": b"0 0.5 0.5 0.1 0.1\n" for n in TRAIN},  # boxes
])
def test_what_is_no_set_of_images_and_masks(files):
    assert image_mask_patterns.recognise(list(files), files.__getitem__) is None
    assert "data.layout_options: images, masks" in refused(listed, files)


PAIRS = named("images/{n}.jpg", TRAIN) | named("masks/{n}.png", TRAIN)
FORMS = {"images": "images/{id}.jpg", "masks": "masks/{id}.png"}


def test_patterns_that_are_given():
    files = {f"Tile {tile}/{folder}/{n}.{suffix}": grey(n) for tile in (1, 2) for n in TRAIN
             for folder, suffix in (("images", "JPG"), ("masks", "png"))} | {"images/stray.png": grey(9)}
    by_group = listed(files, images="Tile {group}/images/{id}.jpg", masks="Tile {group}/masks/{id}.png")
    assert [(sample.path, sample.target, sample.group) for sample in by_group] == [
        (f"Tile {tile}/images/{n}.JPG", f"Tile {tile}/masks/{n}.png", str(tile)) for tile in (1, 2) for n in TRAIN]
    assert [sample.target for sample in listed(files, **FORMS)] == [sample.target for sample in by_group]
    turned = listed({name.replace("Tile 1", "train").replace("Tile 2", "valid"): content
                     for name, content in files.items()},
                    images="{split}/images/{id}.*", masks="{split}/masks/{id}.*", splits={"valid": "test"})
    assert Counter((sample.split, sample.source_split) for sample in turned) == {
        ("train", "train"): 3, ("test", "valid"): 3}


def test_images_without_masks_and_folders_left_out():
    files = PAIRS | named("images/{n}.jpg", VAL) | named("preview/masks/{n}.png", TEST)
    assert "'preview/masks/6.png' has no image" in refused(listed, files, **FORMS)
    assert "'images/4.jpg' has no mask" in refused(listed, files, **FORMS, ignored=["preview"])
    samples = listed(files, **FORMS, ignored=["preview"], missing_mask="unlabelled")
    assert Counter(sample.split for sample in samples) == {"": 3, "unlabelled": 2}
    assert {sample.path for sample in samples if not sample.target} == {"images/4.jpg", "images/5.jpg"}


@pytest.mark.parametrize("files, options, words", [
    (PAIRS | named("other/masks/{n}.png", (1,)), FORMS, ["'masks/1.png' and 'other/masks/1.png'", "several_masks"]),
    (PAIRS | named("a/images/{n}.jpg", (1,)) | named("b/masks/{n}.png", (1,)), FORMS, ["'b/masks/1.png'", "no image"]),
    ({name.replace("images", "images/s"): grey(1) for name in PAIRS} | named("images/t/{n}.jpg", TRAIN),
     FORMS | {"images": "images/*/{id}.jpg"}, ["both the image of 'masks/1.png'", "tell them apart"]),
    (PAIRS, FORMS | {"images": "images/x.jpg"}, ["data.layout_options", "'images/x.jpg' lacks {id}"]),
    (PAIRS, FORMS | {"images": "images/{id}/{id}.jpg"}, ["names a part twice"]),
    (PAIRS, FORMS | {"images": "images/{id.jpg"}, ["lacks {id}"]),
    (PAIRS, FORMS | {"images": "images/{id}}.jpg"}, ["a brace too many"]),
    (PAIRS, FORMS | {"images": "images/{id}{0}.jpg"}, ["by a number"]),
    (PAIRS, FORMS | {"masks": "{split}/{id}.png"}, ["{split}", "which images lacks"]),
    (PAIRS, FORMS | {"lists": "train.txt"}, ["'train.txt'", "lacks {split}"]),
    (PAIRS, FORMS | {"lists": "sets/{split}.txt"}, ["no text file like 'sets/{split}.txt'"]),
    (PAIRS, FORMS | {"splits": {"train": "exam"}}, ["splits.train", "'exam'"]),
    (PAIRS, FORMS | {"images": "pictures/{id}.jpg"}, ["'masks/1.png' has no image"]),
    (PAIRS, {"images": "a/{id}.jpg", "masks": "b/{id}.png"}, ["no images where the layout image_mask_patterns"]),
    (PAIRS | {"train.txt": b"1\n2\n", "val.txt": b"3\n2\n"}, FORMS | {"lists": "{split}.txt"},
     ["'images/2.jpg' is listed for train and for val"]),
    (PAIRS | {"train.txt": b"1\nnowhere at all\n"}, FORMS | {"lists": "{split}.txt"},
     ["train.txt lists 'nowhere at all'", "no image"]),
])
def test_patterns_that_do_not_fit_end_in_one_line(files, options, words):
    message = refused(listed, files, **options)
    assert all(word in message for word in words), message


def test_lists_name_images_by_path_too():
    files = PAIRS | {"train.txt": b"/set/images/1.jpg /set/masks/1.png\r\n\r\nimages/2.jpg\n", "test.txt": b"3\n"}
    samples = listed({f"set/{name}": content for name, content in files.items()}, **FORMS, lists="{split}.txt")
    assert [(sample.split, sample.source_split) for sample in samples] == [
        ("train", "train"), ("train", "train"), ("test", "test")]


def test_layouts_without_patterns_know_their_own():
    def recognised(layout: ModuleType, files: Files) -> dict | None:
        return layout.recognise(list(files), files.__getitem__)

    tiles = named("Tile 1/images/{n}.jpg", TRAIN) | named("Tile 1/masks/{n}.png", TRAIN)
    assert recognised(aerial_tiles, tiles) == {}
    assert recognised(aerial_tiles, PAIRS) is None
    assert recognised(aerial_tiles, tiles | named("Tile 2/images/{n}.jpg", TRAIN)) is None
    assert recognised(image_mask_pairs, PAIRS) == {}
    assert recognised(image_mask_pairs, ARCHIVES["ADE20K"]) == {}
    some = PAIRS | named("images/{n}.jpg", VAL)
    assert recognised(image_mask_pairs, some) == {"missing_mask": "unlabelled"}
    assert Counter(sample.split for sample in read_as_recognised(image_mask_pairs, some)) == {"": 3, "unlabelled": 2}
    assert recognised(image_mask_pairs, named("images/{n}.jpg", TRAIN)) is None
    assert recognised(image_mask_pairs, ARCHIVES["Oxford Pets"]) is None
    assert "unlabelled" in refused(listing.list_samples, image_mask_pairs, list(some), some.get, {})
    assert len(listing.list_samples(image_mask_pairs, [*PAIRS, "junk/9.png"], PAIRS.get, {"ignored": ["junk"]})) == 3
