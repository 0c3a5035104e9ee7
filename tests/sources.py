"""For tests of the data stages: small pictures, archives of them, a server on this machine, tables."""

import csv
import http.server
import io
import subprocess
import threading
import zipfile
from pathlib import Path

from PIL import Image


def picture(*colour: int, size: tuple[int, int] = (8, 8), format: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, format)
    return file.getvalue()


def saved(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def png(image: Image.Image) -> bytes:
    return saved(image, "PNG")


def palette(image: Image.Image, colours: list[list[int]]) -> Image.Image:
    """`image`, mode L, as indices into `colours`."""
    paletted = Image.new("P", image.size)
    paletted.putdata(list(image.tobytes()))
    paletted.putpalette([level for colour in colours for level in colour])
    return paletted


def pack(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def done(result: subprocess.CompletedProcess) -> subprocess.CompletedProcess:
    """`result`, of a command that succeeded."""
    assert result.returncode == 0, result.stderr
    return result


def two_classes(count: int, **others: bytes) -> dict[str, bytes]:
    """`count` different images of each of two classes."""
    return {f"{name}/{number:03d}.png": picture(red, number, 0) for red, name in ((10, "cat"), (200, "dog"))
            for number in range(count)} | others


class Server:
    """Serves one file on this machine; remembers the ranges asked for, and may stall after some bytes, once."""

    def __init__(self, content: bytes, stall_after: int = 0, ranges: bool = True, status: int = 200):
        self.asked, self.stall_after = [], stall_after
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked = self.headers.get("Range") if ranges else None
                owner.asked.append(self.headers.get("Range"))
                start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
                self.send_response(206 if asked else status)
                if asked:
                    self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                stop, owner.stall_after = owner.stall_after, 0
                self.wfile.write(content[start:stop or None])
                if stop:
                    self.wfile.flush()
                    owner.released.wait(20)

            def log_message(self, *_):
                pass

        self.released = threading.Event()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/set.zip"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.released.set()
        self.server.shutdown()
