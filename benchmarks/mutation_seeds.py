"""Small archives and pictures of every kind that is read, for `benchmarks.mutations` to damage."""

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable

import numpy as np
from PIL import Image

Files = dict[str, bytes]


def pixels(seed: int, size: int = 12, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, channels), np.uint8)


def saved(image: Image.Image, form: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def photo(seed: int, form: str = "JPEG") -> bytes:
    return saved(Image.fromarray(pixels(seed)), form)


def pictures() -> Files:
    """By kind."""
    rgb, rgba = Image.fromarray(pixels(0, 40)), Image.fromarray(pixels(1, 40, 4))
    grey, exif = Image.fromarray(pixels(2, 40, 1)[..., 0]), Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    deep, blank = Image.fromarray(pixels(3, 40, 1)[..., 0].astype(np.uint16) * 257), Image.new("RGB", (9, 9), "red")
    see_through = {"transparency": 3}
    return {
        "jpeg baseline": saved(rgb, "JPEG", exif=exif), "jpeg progressive": saved(rgb, "JPEG", progressive=True),
        "jpeg cmyk": saved(rgb.convert("CMYK"), "JPEG"), "jpeg 2000": saved(rgb, "JPEG2000"),
        "png 8 bits": saved(rgba, "PNG"), "png 16 bits": saved(deep, "PNG"),
        "png 1 bit": saved(grey.convert("1"), "PNG"),
        "png palette": saved(rgb.quantize(16), "PNG", **see_through), "png interlaced": interlaced(),
        "webp lossy": saved(rgb, "WEBP"), "webp lossless": saved(rgba, "WEBP", lossless=True),
        "gif": saved(rgb.quantize(16), "GIF", **see_through),
        "gif animated": saved(rgb, "GIF", save_all=True, append_images=[blank, Image.fromarray(pixels(5, 40))]),
        "bmp": saved(rgb, "BMP"), "bmp palette": saved(rgb.quantize(16), "BMP"), "ppm": saved(rgb, "PPM"),
        "tiff": saved(rgb, "TIFF", exif=exif), "tiff lzw": saved(rgb, "TIFF", compression="tiff_lzw"),
        "tiff 16 bits": saved(deep, "TIFF"), "tiff float": saved(grey.convert("F"), "TIFF"),
        "tiff lab": saved(Image.frombytes("LAB", rgb.size, rgb.tobytes()), "TIFF"),
        "ico": saved(rgba, "ICO", sizes=[(16, 16), (32, 32)]), "tga": saved(rgba, "TGA", compression="tga_rle"),
        "avif": saved(rgb, "AVIF"), **heic(rgb)}


def interlaced() -> bytes:
    """Pillow writes none: one grey picture of 1×1 pixel, whose seven passes are one, its header saying interlaced."""
    content = bytearray(saved(Image.new("L", (1, 1), 7), "PNG"))
    content[28] = 1
    return bytes(content)


def heic(image: Image.Image) -> Files:
    try:
        import pillow_heif  # pi-heif only reads
    except ImportError:
        return {}
    pillow_heif.register_heif_opener()
    return {"heic": saved(image, "HEIF")}


def archives() -> dict[str, tuple[str, Files]]:
    """Kind → (form, members): `pack` makes the archive."""
    numbers = range(5)
    folders = {f"{name}/{number}.jpg": photo(10 * at + number) for at, name in enumerate(("cat", "dog"))
               for number in numbers}
    flat = {f"images/{number}.png": photo(number, "PNG") for number in range(10)}
    table = "\n".join(["id,label", *(f"{number}.png,{['cat', 'dog'][number % 2]}" for number in range(10))]) + "\n"
    shard = {f"{number:04d}.{suffix}": content for number in range(10) for suffix, content in (
        ("jpg", photo(number)), ("cls", b"%d" % (number % 2)))}
    notes = {f"{number:04d}.{suffix}": content for number in range(10) for suffix, content in (
        ("jpg", photo(number)), ("json", json.dumps({"label": number % 2}).encode()))}
    return {
        "zip": ("zip", folders), "zip deflated": ("deflated", folders), "zip lzma": ("lzma", folders),
        "tar": ("tar", folders), "tar of long names": ("tar", {f"{'long' * 30}/{name}": content
                                                               for name, content in folders.items()}),
        "tar.gz": ("tar.gz", folders), "tar.bz2": ("tar.bz2", folders), "tar.xz": ("tar.xz", folders),
        "zip in zip": ("zip", {"train.zip": pack("deflated", folders), "test.zip": pack("zip", folders)}),
        "tar.gz in zip": ("zip", {"train.tar.gz": pack("tar.gz", folders)}),
        "webdataset": ("tar", shard), "webdataset json": ("tar", notes),
        "table": ("zip", flat | {"train.csv": table.encode()}),
        "json lines": ("zip", {f"train/{name.split('/')[1]}": content for name, content in flat.items()} | {
            "train/metadata.jsonl": "".join(json.dumps({"file_name": f"{number}.png", "label": "ab"[number % 2]}) + "\n"
                                            for number in range(10)).encode()}),
        "masks": ("zip", flat | {f"masks/{number}.png": saved(Image.fromarray(
            (pixels(number, channels=1)[..., 0] > 99).astype(np.uint8)), "PNG") for number in range(10)}),
        "coco": ("zip", {name.replace("images", "train"): content for name, content in flat.items()} | {
            "annotations/instances_train.json": coco()}),
        **parquet(folders)}


def coco() -> bytes:
    shapes = ([[1, 1, 5, 1, 5, 5, 1, 5]], {"size": [12, 12], "counts": [30, 20, 94]},
              {"size": [12, 12], "counts": "j066000000000^1"})
    return json.dumps({
        "images": [{"id": number, "file_name": f"{number}.png", "width": 12, "height": 12} for number in range(10)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [{"id": number, "image_id": number, "category_id": 1 + number % 2, "iscrowd": 0, "area": 16,
                         "bbox": [1, 1, 4, 4], "segmentation": shapes[number % 3]} for number in range(10)]}).encode()


def parquet(files: Files) -> dict[str, tuple[str, Files]]:
    try:
        import pyarrow
        from pyarrow import parquet as library
    except ImportError:
        return {}
    column = [{"bytes": content, "path": name.rpartition("/")[2]} for name, content in files.items()]
    table = pyarrow.table({"image": column, "label": [name.split("/")[0] for name in files]})
    file = io.BytesIO()
    library.write_table(table, file, row_group_size=4)
    return {"parquet": ("plain", {"": file.getvalue()})}


def pack(form: str, files: Files) -> bytes:
    return PACKERS[form](files)


def _zip(files: Files, compression: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2000, 1, 1, 0, 0, 0)), data, compression)
    return content.getvalue()


def _tar(files: Files) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return content.getvalue()


PACKERS: dict[str, Callable[[Files], bytes]] = {
    "plain": lambda files: files[""], "zip": _zip, "tar": _tar,
    "deflated": lambda files: _zip(files, zipfile.ZIP_DEFLATED), "lzma": lambda files: _zip(files, zipfile.ZIP_LZMA),
    "tar.gz": lambda files: gzip.compress(_tar(files), 1, mtime=0), "tar.bz2": lambda files: bz2.compress(_tar(files)),
    "tar.xz": lambda files: lzma.compress(_tar(files), preset=0)}
