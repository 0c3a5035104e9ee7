"""Layouts: which files of an archive are images, of which split, and what their labels are."""

import pytest

from stages.core.errors import UserError
from stages.data.decode import has_image_suffix
from stages.data.layouts import aerial_tiles, image_folder, image_mask_pairs, tiny_imagenet
from stages.data.sample import Sample


@pytest.mark.parametrize("names, expected", [
    (["cat/1.jpg", "dog/2.JPG", "notes.txt"], [("", "", "cat"), ("", "", "dog")]),
    (["a/b/cat/1.jpg", "a/b/dog/x/2.jpg", "a/README"], [("", "", "cat"), ("", "", "dog")]),
    (["train/cat/1.jpg", "valid/cat/2.jpg", "testing/dog/3.jpg"],
     [("train", "train", "cat"), ("val", "valid", "cat"), ("test", "testing", "dog")]),
    (["w/seg_train/seg_train/sea/1.jpg", "w/seg_test/seg_test/sea/2.jpg", "w/seg_pred/seg_pred/3.jpg"],
     [("train", "seg_train", "sea"), ("test", "seg_test", "sea"), ("unlabelled", "seg_pred", "")]),
    (["train/cat/1.jpg", "train/Unlabeled/2.jpg", "test/3.jpg"],
     [("train", "train", "cat"), ("unlabelled", "train", ""), ("unlabelled", "test", "")]),
    # A vehicle, not a split: it holds images, and other classes stand beside it.
    (["car/1.jpg", "train/2.jpg", "unlabelled/3.jpg"],
     [("", "", "car"), ("", "", "train"), ("unlabelled", "unlabelled", "")]),
])
def test_image_folder(names, expected):
    samples = list(image_folder.samples(names, lambda name: b""))
    assert [(sample.split, sample.source_split, sample.target) for sample in samples] == expected
    assert [sample.path for sample in samples] == [name for name in names if has_image_suffix(name)]


def test_tiny_imagenet_val_is_the_test_set_and_classes_have_readable_names():
    files = {"t/words.txt": b"n01\tgoldfish, Carassius\nn02\tcrane\nn03\tcrane, bird\nn09\tgoldfish\n",
             "t/val/val_annotations.txt": b"val_0.JPEG\tn02\t0\t0\t1\t1\n",
             "t/train/n01/images/a.JPEG": b"", "t/train/n01/n01_boxes.txt": b"", "t/train/n03/images/b.JPEG": b"",
             "t/val/images/val_0.JPEG": b"", "t/test/images/test_0.JPEG": b""}
    samples = [tuple(sample)[:4] for sample in tiny_imagenet.samples(sorted(files), files.get)]
    assert samples == [("t/test/images/test_0.JPEG", "unlabelled", "test", ""),
                     ("t/train/n01/images/a.JPEG", "train", "train", "goldfish"),
                     ("t/train/n03/images/b.JPEG", "train", "train", "crane (n03)"),
                     ("t/val/images/val_0.JPEG", "test", "val", "crane (n02)")]
    assert tiny_imagenet.recognise(sorted(files), files.get) == {}
    assert tiny_imagenet.recognise(sorted(files.keys() - {"t/val/val_annotations.txt"}), files.get) is None
    assert tiny_imagenet.recognise(sorted(files), (files | {"t/val/val_annotations.txt": b""}).get) is None


def refused(function, *arguments) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def pairs(*names: str) -> list[tuple[str, str, str, str]]:
    return [tuple(sample)[:4] for sample in image_mask_pairs.samples(list(names), read=None)]


@pytest.mark.parametrize("names, expected", [
    (["images/x.jpg", "masks/x.png", "readme.txt"], [("images/x.jpg", "", "", "masks/x.png")]),
    (["a/b/Img/s/x.y.jpg", "a/b/Labels/s/x.y.png"], [("a/b/Img/s/x.y.jpg", "", "", "a/b/Labels/s/x.y.png")]),
    (["w/train/images/x.jpg", "w/train/masks/x.png", "w/Valid/images/x.jpg", "w/Valid/masks/x.png"],
     [("w/train/images/x.jpg", "train", "train", "w/train/masks/x.png"),
      ("w/Valid/images/x.jpg", "val", "Valid", "w/Valid/masks/x.png")]),
    (["images/training/x.jpg", "annotations/training/x.png", "images/test/x.jpg", "annotations/test/x.png"],
     [("images/training/x.jpg", "train", "training", "annotations/training/x.png"),
      ("images/test/x.jpg", "test", "test", "annotations/test/x.png")]),
    (["images/a.jpg", "images/b.jpg", "images/c.jpg", "masks/a_mask.png", "masks/b_label.png", "masks/c_seg.gif"],
     [("images/a.jpg", "", "", "masks/a_mask.png"), ("images/b.jpg", "", "", "masks/b_label.png"),
      ("images/c.jpg", "", "", "masks/c_seg.gif")]),
    # A name that ends like a mask's is taken as it stands first.
    (["images/a.jpg", "images/a_mask.jpg", "masks/a.png", "masks/a_mask.png"],
     [("images/a.jpg", "", "", "masks/a.png"), ("images/a_mask.jpg", "", "", "masks/a_mask.png")]),
    (["images/x.jpg", "masks/x.png", "Unlabelled/y.jpg", "images/unsup/z.jpg", "pred/images/x.jpg"],
     [("images/x.jpg", "", "", "masks/x.png"), ("Unlabelled/y.jpg", "unlabelled", "Unlabelled", ""),
      ("images/unsup/z.jpg", "unlabelled", "unsup", ""), ("pred/images/x.jpg", "unlabelled", "pred", "")]),
])
def test_image_mask_pairs(names, expected):
    assert pairs(*names) == expected


@pytest.mark.parametrize("names, words", [
    (["images/x.jpg", "masks/x.png", "images/y.jpg"], ["image 'images/y.jpg'", "no mask", "unlabelled"]),
    (["images/x.jpg", "masks/x.png", "masks/y.png"], ["mask 'masks/y.png'", "no image"]),
    (["a/images/x.jpg", "b/masks/x.png"], ["'b/masks/x.png'", "no image"]),
    (["images/train/x.jpg", "masks/val/x.png"], ["'masks/val/x.png'", "no image"]),
    (["unlabelled/images/x.jpg", "unlabelled/masks/x.png"], ["'unlabelled/masks/x.png'", "no image"]),
    (["images/x.jpg", "masks/x.png", "masks/x.tif"], ["'masks/x.png'", "'masks/x.tif'", "both the mask", "keep one"]),
    (["images/x.jpg", "masks/x.png", "masks/x_seg.png"], ["'masks/x.png'", "'masks/x_seg.png'", "both the mask"]),
    (["images/x.jpg", "images/x.png", "masks/x.png"], ["'images/x.jpg'", "'images/x.png'", "both the image"]),
    (["images/x.jpg", "masks/x.png", "preview.png"], ["'preview.png'", "no folder", "data.layout"]),
    (["train/images/x.jpg", "train/masks/x.png", "images/x.jpg", "masks/x.png"],
     ["'images/x.jpg'", "beside the split folders", "seg_test"]),
])
def test_files_that_are_no_pairs_are_refused(names, words):
    message = refused(pairs, *names)
    assert message.startswith("data/raw.zip: ")
    assert all(word in message for word in words), message


def test_aerial_tiles():
    names = [f"Semantic segmentation dataset/Tile {tile}/{kind}" for tile in (1, 10)
             for kind in ("images/p_1.jpg", "images/p_2.jpg", "masks/p_1.png", "masks/p_2.png")]
    samples = list(aerial_tiles.samples(["Semantic segmentation dataset/classes.json", *names], read=None))
    assert [sample.path for sample in samples] == [name for name in names if name.endswith("jpg")]
    assert samples[2] == Sample(names[4], "", "", names[6], "Tile 10")
    assert [sample.group for sample in samples] == ["Tile 1", "Tile 1", "Tile 10", "Tile 10"]

    def read(*some: str) -> list[Sample]:
        return list(aerial_tiles.samples(list(some), read=None))

    message = refused(read, *names[:3])
    for part in ("Tile 1/images/p_2.jpg'", "Tile 1/masks/p_2.png", "get the archive again"):
        assert part in message
    assert "data.layout" in refused(read, "Tile 1/p_1.jpg", "images/x.jpg", "masks/x.png")


def test_both_layouts_call_splits_the_same():
    for split in ("seg_train", "Validation", "testing"):
        folder, = image_folder.samples([f"{split}/cat/x.jpg"], read=None)
        pair, = image_mask_pairs.samples([f"{split}/images/x.jpg", f"{split}/masks/x.png"], read=None)
        assert folder[1:3] == pair[1:3]
