"""Image files as people have them: cut off, damaged, disguised, odd in size, mode, format and name. `corpus()` makes
them all, the same bytes each time. What should become of each: data/test_strange_files.py.
"""

import io
import struct
import unicodedata
import zipfile
import zlib
from typing import NamedTuple

import numpy as np
from PIL import Image
from sources import saved

TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
         5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
         8: Image.Transpose.ROTATE_270}  # an EXIF orientation → what a camera held so makes of an upright picture
CUTS = (1, 25, 50, 90, 99)  # per cent of a file that are left
CMYK_RED = (0, 255, 255, 0)
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9"/></svg>\n'
HTML = b"<!DOCTYPE html><html><head><title>404</title></head><body>Not found</body></html>\n"
XMP = (b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
       b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>')


class File(NamedTuple):
    path: str  # in the archive
    content: bytes


def corpus() -> dict[str, File]:
    """A kind → its file. All lie in the class `cat`, and no two whole ones show the same."""
    kinds = {}
    for group in (cut, flipped, disguised, sized, modes, formats, turned):
        for kind, content in group().items():
            suffix = kind.split()[0].lower()
            kinds[kind] = File(f"cat/{kind.replace(' ', '-').replace('%', '')}.{suffix}", content)
    return kinds | named()


def picture(kind: str) -> Image.Image:
    """RGB, 24×16: six squares of random colours, others for each kind. Square by square, JPEG keeps them nearly."""
    colours = np.random.default_rng(zlib.crc32(kind.encode())).integers(0, 256, (2, 3, 3), dtype=np.uint8)
    return Image.fromarray(colours.repeat(8, axis=0).repeat(8, axis=1))


def grey(kind: str) -> np.ndarray:
    """uint8 (16,24), with 0 and 255 among its values."""
    values = np.array(picture(kind).convert("L"))
    values[:8, :8], values[8:, 16:] = 0, 255
    return values


def noise(kind: str) -> Image.Image:
    """RGB, 56×40, of which no format makes a short file."""
    return Image.fromarray(np.random.default_rng(zlib.crc32(kind.encode())).integers(0, 256, (40, 56, 3), np.uint8))


def whole(format: str) -> bytes:
    """A file of noise, some kilobytes long."""
    return saved(noise(format), format)


def cut() -> dict[str, bytes]:
    def without(count: int, format: str, **options) -> bytes:
        return saved(picture(f"{format} without its last {count}"), format, **options)[:-count]

    formats = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
    contents = {format: whole(format) for format in formats}
    files = {f"{format} {share} %": contents[format][:max(1, len(contents[format]) * share // 100)]
             for format in formats for share in CUTS}
    progressive, lzw = (saved(noise("cut"), format, **options) for format, options in
                        (("JPEG", {"progressive": True}), ("TIFF", {"compression": "tiff_lzw"})))
    return files | {
        "JPEG progressive 50 %": progressive[:len(progressive) // 2], "TIFF LZW 50 %": lzw[:len(lzw) // 2],
        "JPEG filled with zeros": contents["JPEG"][:999] + bytes(len(contents["JPEG"]) - 999),
        "JPEG 50 % and an end": contents["JPEG"][:len(contents["JPEG"]) // 2] + b"\xff\xd9",
        "JPEG progressive first scan and an end": progressive[:progressive.index(
            b"\xff\xc4", progressive.index(b"\xff\xda"))] + b"\xff\xd9",
        "JPEG without its last 2": without(2, "JPEG"), "PNG without its last 12": without(12, "PNG"),
        "GIF in its second frame": saved(picture("GIF in its second frame"), "GIF", save_all=True,
                                         append_images=[noise("second")])[:-1000]}


def flipped() -> dict[str, bytes]:
    """One byte turned over, at a place that decides."""
    def flip(content: bytes, at: int) -> bytes:
        return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1:]

    jpeg, png, bmp = (saved(picture(f"flipped {format}"), format) for format in ("JPEG", "PNG", "BMP"))
    deflated = saved(noise("flipped"), "TIFF", compression="tiff_adobe_deflate")
    return {
        "JPEG flipped start": flip(jpeg, 0),
        "JPEG flipped Huffman table": flip(jpeg, jpeg.index(b"\xff\xc4") + 10),
        "JPEG flipped frame height": flip(jpeg, jpeg.index(b"\xff\xc0") + 5),
        "JPEG flipped quantisation table": flip(jpeg, jpeg.index(b"\xff\xdb") + 5),
        "JPEG flipped middle": flip(whole("JPEG"), len(whole("JPEG")) * 3 // 4),
        "PNG flipped start": flip(png, 1), "PNG flipped header": flip(png, 18),
        "PNG flipped middle": flip(whole("PNG"), len(whole("PNG")) // 2),
        "GIF flipped start": flip(whole("GIF"), 2), "WEBP flipped start": flip(whole("WEBP"), 9),
        "TIFF flipped start": flip(whole("TIFF"), 2),
        "TIFF deflated flipped middle": flip(deflated, len(deflated) // 2),
        "BMP flipped start": flip(bmp, 0),
        "BMP flipped pixel": flip(bmp, 54)}  # the first of its pixels: the lowest row, from the left; blue


def disguised() -> dict[str, bytes]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.jpg", whole("JPEG"))
    eps, pdf = (saved(picture("document"), format) for format in ("EPS", "PDF"))
    return {
        "JPG that is a PNG": saved(picture("JPG that is a PNG"), "PNG"),
        "PNG that is a JPEG": saved(picture("PNG that is a JPEG"), "JPEG", quality=95, subsampling=0),
        "JPEG behind a line end": b"\n" + whole("JPEG"), "PNG with text behind": whole("PNG") + b"the end\n" * 99,
        "PNG that is text": b"a picture of a cat\n" * 9, "PNG that is SVG": SVG, "SVG": SVG,
        "JPG that is HTML": HTML, "JPG that is a zip": archive.getvalue(), "JPG that is a PDF": pdf,
        "EPS": eps, "JPG that is EPS": eps, "JPG that is a pickle": b"\x80\4\x95\5\0\0\0\0\0\0\0]\x94K\1a.",
        "JPG empty": b"", "PNG of one byte": b"\x89", "JPG of zeros": bytes(5000), "JPG of ones": b"\xff" * 5000,
        "JPG random": np.random.default_rng(0).bytes(5000)}


def sized() -> dict[str, bytes]:
    gif = b"GIF89a" + struct.pack("<HH", 65535, 65535) + bytes(3) + b"," + struct.pack("<4H", 0, 0, 65535, 65535)
    return {
        "PNG one pixel": saved(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG"),
        "GIF one pixel": saved(Image.new("L", (1, 1), 7), "GIF"),
        "PNG 20000×1": saved(Image.new("RGB", (20_000, 1), (9, 8, 7)), "PNG"),
        "PNG 20000×10": saved(Image.new("RGB", (20_000, 10), (90, 80, 70)), "PNG"),
        "PNG 1×20000": saved(Image.new("RGB", (1, 20_000), (7, 8, 9)), "PNG"),
        "PNG bomb": png(30_000, 30_000, bytes(1000)), "GIF bomb": gif + bytes(99),
        "ICO bomb": struct.pack("<3H4B2H2I", 0, 1, 1, 0, 0, 0, 0, 1, 32, 1100, 22) + png(30_000, 30_000, bytes(1000)),
        "PNG text bomb": png(8, 8, bytes(200), (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(70_000_000), 1))),
        "PNG of no width": png(0, 9, bytes(9))}


def modes() -> dict[str, bytes]:
    """Most from `grey(kind)` or `picture(kind)`; some of one colour, which a person can work out."""
    def sixteen(kind: str, order: str = "<") -> np.ndarray:
        return (grey(kind).astype(np.uint16) * 257).astype(order + "u2")

    def rgba(kind: str) -> Image.Image:
        """Its first square see-through."""
        image = picture(kind).convert("RGBA")
        image.paste((1, 2, 3, 0), (0, 0, 8, 8))
        return image

    def adobe(colour: tuple[int, ...], transform: int) -> bytes:
        """A JPEG of one CMYK colour; 2: it says of itself that it holds YCCK."""
        content = saved(Image.new("CMYK", (16, 8), colour), "JPEG", quality=95)
        at = content.index(b"Adobe") + 11
        return content[:at] + bytes([transform]) + content[at + 1:]

    palette = picture("PNG P with transparency").quantize(6)
    lab = Image.merge("LAB", [Image.new("L", (8, 24), value) for value in (138, 208, 195)])
    key = picture("PNG RGB with a key").getpixel((0, 0))
    return {
        "PNG 1": saved(Image.fromarray(grey("PNG 1") > 127), "PNG"),
        "PNG L": saved(Image.fromarray(grey("PNG L")), "PNG"),
        "PNG LA": saved(rgba("PNG LA").convert("LA"), "PNG"),
        "PNG P": saved(picture("PNG P").quantize(6), "PNG"),
        "PNG P with transparency": saved(palette, "PNG", transparency=palette.getpixel((0, 0))),
        "TIFF PA": saved(picture("TIFF PA").quantize(6).convert("PA"), "TIFF"),
        "PNG RGB with a key": saved(picture("PNG RGB with a key"), "PNG", transparency=key),
        "PNG RGBA": saved(rgba("PNG RGBA"), "PNG"),
        "PNG RGBA half red": saved(Image.new("RGBA", (8, 8), (255, 0, 0, 128)), "PNG"),
        "PNG RGBA of nothing": saved(Image.new("RGBA", (9, 9), (0, 0, 0, 0)), "PNG"),
        "TIFF RGBA": saved(rgba("TIFF RGBA"), "TIFF"),
        "TIFF CMYK red": saved(Image.new("CMYK", (9, 8), CMYK_RED), "TIFF"),
        "JPEG CMYK red": adobe(CMYK_RED, 0),
        # Cyan (0, 255, 255) in JPEG's Y, Cb, Cr is 179, 171, 1; Adobe stores all upside down.
        "JPEG YCCK red": adobe((255 - 179, 255 - 171, 255 - 1, 0), 2),
        "TIFF YCbCr": saved(picture("TIFF YCbCr").convert("YCbCr"), "TIFF"),
        "TIFF LAB red": saved(lab, "TIFF"),
        "TIFF I": saved(Image.fromarray(grey("TIFF I").astype(np.int32)), "TIFF"),
        "TIFF I from -50": saved(Image.fromarray(grey("TIFF I from -50").astype(np.int32) - 50), "TIFF"),
        "PNG I;16": saved(Image.fromarray(sixteen("PNG I;16")), "PNG"),
        "PNG I;16 mid-grey": saved(Image.fromarray(np.full((8, 8), 32896, np.uint16)), "PNG"),
        "TIFF I;16": saved(Image.fromarray(sixteen("TIFF I;16")), "TIFF"),
        "TIFF I;16 white is 0": tiff(16, [(65535 - sixteen("TIFF I;16 white is 0")).tobytes()], light=0),
        "TIFF of 12 bits": tiff(12, [bytes((0x00, 0x08, 0x00)) * 8 * 24]),  # 0 and 2048, in turns
        "TIFF F of 0 and 1": saved(Image.fromarray(np.float32(grey("TIFF F of 0 and 1") > 127)), "TIFF"),
        "TIFF I;16B": tiff(16, [sixteen("TIFF I;16B", ">").tobytes()], order=">"),
        "TIFF F": saved(Image.fromarray(np.float32(grey("TIFF F")) / 255), "TIFF"),
        "TIFF F with NaN": saved(Image.fromarray(np.float32([[0.5, np.nan], [1, 0]])), "TIFF"),
        "PNG RGB of 16 bits": png(3, 1, b"\0" + bytes((0, 0, 128, 128, 255, 255)) * 3, depth=16),
        "TIFF RGB of 16 bits": tiff(16, [np.repeat(np.array(picture("TIFF RGB of 16 bits")), 2).tobytes()], bands=3)}


def formats() -> dict[str, bytes]:
    def of(kind: str, format: str, *frames: str, **options) -> bytes:
        more = {"save_all": True, "append_images": [picture(frame) for frame in frames]} if frames else {}
        return saved(picture(kind), format, **more, **options)

    tiles = np.zeros((2, 16, 16, 3), np.uint8)
    tiles[0], tiles[1, :, :8] = np.split(np.array(picture("TIFF tiled")), [16], axis=1)
    return {
        "JPEG": of("JPEG", "JPEG", quality=95, subsampling=0),
        "JPEG progressive": of("JPEG progressive", "JPEG", quality=95, subsampling=0, progressive=True),
        "JPEG L": saved(Image.fromarray(grey("JPEG L")), "JPEG", quality=95),
        "MPO of two": of("MPO of two", "MPO", "other", quality=95, subsampling=0),
        "PNG interlaced": interlaced(np.array(picture("PNG interlaced"))),
        "PNG animated": of("PNG animated", "PNG", "second", "third"),
        "GIF": of("GIF", "GIF"), "GIF animated": of("GIF animated", "GIF", "second", "third"),
        "WEBP": saved(Image.fromarray(grey("WEBP")), "WEBP", quality=100),
        "WEBP lossless": of("WEBP lossless", "WEBP", lossless=True),
        "WEBP animated": of("WEBP animated", "WEBP", "second", "third", lossless=True),
        "BMP": of("BMP", "BMP"), "TIFF LZW": of("TIFF LZW", "TIFF", compression="tiff_lzw"),
        "TIFF of pages": of("TIFF of pages", "TIFF", "second", "third"),
        "TIFF tiled": tiff(8, [tile.tobytes() for tile in tiles], bands=3, tile=16),
        "ICO": of("ICO", "ICO", sizes=[(24, 16)]), "PPM": of("PPM", "PPM"),
        "PGM of 16 bits": b"P5 24 16 65535\n" + (grey("PGM of 16 bits").astype(">u2") * 257).tobytes(),
        "PGM dark": b"P5 24 16 65535\n" + np.full((16, 24), 200, ">u2").tobytes(),
        "TGA": of("TGA", "TGA"), "PCX": of("PCX", "PCX"), "JP2": of("JP2", "JPEG2000"),
        "AVIF": of("AVIF", "AVIF", quality=100, subsampling="4:4:4")}


def turned() -> dict[str, bytes]:
    """Stored as cameras do, with a word on which side is up; and with a word that means nothing."""
    def held(kind: str, orientation: int, format: str, **options) -> bytes:
        exif = Image.Exif()
        exif[0x0112] = orientation
        image = picture(kind).transpose(TURNS[orientation]) if orientation in TURNS else picture(kind)
        return saved(image, format, exif=exif, **options)

    jpeg = {"quality": 95, "subsampling": 0}
    return {f"JPEG EXIF {number}": held(f"JPEG EXIF {number}", number, "JPEG", **jpeg) for number in range(1, 10)} | {
        "PNG EXIF 6": held("PNG EXIF 6", 6, "PNG"), "WEBP EXIF 8": held("WEBP EXIF 8", 8, "WEBP", lossless=True),
        "JPEG XMP 6": saved(picture("JPEG XMP 6").transpose(TURNS[6]), "JPEG", xmp=XMP, **jpeg),
        "JPEG EXIF damaged": saved(picture("JPEG EXIF damaged"), "JPEG", exif=b"Exif\0\0MM\0*" + b"\xfe" * 60, **jpeg)}


def named() -> dict[str, File]:
    """A whole PNG under each name; broken ones, first by path; and what file managers and users leave beside them."""
    paths = {
        "name with spaces": "cat/ a  b .png", "name in NFC": unicodedata.normalize("NFC", "cat/é.png"),
        "name in NFD": unicodedata.normalize("NFD", "cat/é.png"), "name of two lines": "cat/a\nb.png",
        "name with a dash": "cat/-rf.png", "name very long": f"cat/{'long' * 60}.png", "name in capitals": "cat/A.PNG",
        "name of two dots": "cat/a.tar..png", "name in emoji": "cat/🐈.png", "name of signs": "cat/$x_1^{,';%s}\".png",
        "name in a folder named like an image": "cat/folder.png/a.png", "name in Chinese": "cat/猫.png"}
    files = {kind: File(path, saved(picture(kind), "PNG")) for kind, path in paths.items()}
    broken = {"broken of two lines": 'cat/ \n"quoted", 1.png', "broken in emoji": "cat/!💥.jpg",
              "broken of signs": "cat/#$x_1^{$.png"}
    beside = {
        "resource fork": "__MACOSX/cat/._a.png", "resource fork beside": "cat/._a.png", "Finder's": "cat/.DS_Store",
        "Explorer's": "cat/Thumbs.db", "suffix only": "cat/.png", "no suffix": "cat/image",
        "suffix of text": "cat/a.png.txt", "suffix and more": "cat/a.png?size=9",
        "folder named like an image": "cat/empty.png/"}
    return (files | {kind: File(path, b"no image") for kind, path in broken.items()}
            | {kind: File(path, b"" if path.endswith("/") else saved(picture(kind), "PNG"))
               for kind, path in beside.items()})


def png(width: int, height: int, rows: bytes, *chunks: tuple[bytes, bytes], depth: int = 8, passes: int = 1) -> bytes:
    """RGB. rows: each behind its filter's number, 0 for none. chunks: names and data of others. passes: 1 or 7."""
    head = struct.pack(">2I5B", width, height, depth, 2, 0, 0, passes == 7)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])


def interlaced(pixels: np.ndarray) -> bytes:
    """The seven passes of Adam7, which Pillow reads but doesn't write. pixels: uint8 (H,W,3)."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = [b"\0" + row.tobytes() for top, left, down, right in passes for row in pixels[top::down, left::right]]
    return png(pixels.shape[1], pixels.shape[0], b"".join(rows), passes=7)


def tiff(depth: int, blocks: list[bytes], bands: int = 1, tile: int = 0, order: str = "<", light: int = 1) -> bytes:
    """24×16, not compressed: one strip, or tiles, which Pillow reads but doesn't write. bands: 1 grey, 3 RGB.

    light: 1 where grey grows from black to white, 0 where it's the other way round.
    """
    places = [8 + sum(map(len, blocks[:number])) for number in range(len(blocks))]
    lengths = [len(block) for block in blocks]
    tags = {256: [24], 257: [16], 258: [depth] * bands, 259: [1], 262: [2 if bands == 3 else light], 277: [bands]}
    tags |= {322: [tile], 323: [tile], 324: places, 325: lengths} if tile else {273: places, 278: [16], 279: lengths}
    end = 8 + sum(lengths)
    entries, far = b"", b""
    for tag, values in tags.items():
        packed = struct.pack(f"{order}{len(values)}I", *values)
        if len(values) > 1:
            at = end + 2 + 12 * len(tags) + 4 + len(far)
            packed, far = struct.pack(f"{order}I", at), far + packed
        entries += struct.pack(f"{order}HHI", tag, 4, len(values)) + packed
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", end)
    return head + b"".join(blocks) + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + far
