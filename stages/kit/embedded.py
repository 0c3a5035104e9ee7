"""Data sets that need no download. Out: the files of an image folder, one after the other, as (path, bytes)."""

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

SIDE = 32  # pixels: the smallest image that small ResNets are made for


def digits() -> Iterator[tuple[str, bytes]]:
    """scikit-learn's 1797 handwritten digits, 8×8 in 17 levels, at 32×32: `digits/<class>/<NNNN>.png`.

    Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    grey = np.rint(found.images * (255 / 16)).astype(np.uint8)  # (N,8,8)
    for number in np.lexsort((np.arange(len(grey)), found.target)):
        image = Image.fromarray(grey[number]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        yield f"digits/{found.target[number]}/{number:04d}.png", _png(image)


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


SETS = {"digits": digits}
