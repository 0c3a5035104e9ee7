"""A model in onnxruntime, and the card in its metadata that says how to use it."""

import json
import re
import time
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from stages.core.errors import UserError, one_line
from stages.data.tiling import Sizing
from stages.deployment.runtime import session

OUTSIDE = 255  # in a mask: a pixel that the model didn't see
CPUINFO = Path("/proc/cpuinfo")  # of Linux


@dataclass(frozen=True)
class Card:
    """The part of an ONNX file's metadata that is needed here."""

    classes: list[str]
    image_size: int  # height and width of the squares that the model sees
    resize: str  # squash: both sides to that | crop: the square in the middle | tiles: squares that cover the picture
    scale: float  # tiles: the picture is resized to this share of its size first
    overlap: int  # tiles: pixels that neighbours share at least
    task: str
    colours: list[list[int]]  # segmentation: (red, green, blue) of each class

    @classmethod
    def read(cls, metadata: dict[str, str], path: str) -> "Card":
        """Raises UserError where a field is missing or invalid."""
        metadata = {"colours": "[]"} | metadata
        try:
            card = cls(**{field.name: metadata[field.name] if field.type is str else json.loads(metadata[field.name])
                          for field in fields(cls)})
            problem = card._problems()
        except KeyError as error:
            problem = f"no {error.args[0]}"
        except (TypeError, ValueError) as error:
            problem = one_line(error)
        if problem:
            raise UserError(f"{path} doesn't describe itself ({problem}), so it wasn't made here; take a file that dvc "
                            "repro has put into models/")
        return card

    @property
    def masks(self) -> bool:
        """Whether the model draws masks."""
        return self.task == "segmentation"

    @property
    def sizing(self) -> Sizing:
        return Sizing(self.image_size, self.resize, self.scale, self.overlap)

    def _problems(self) -> str:
        colours = np.array(self.colours) if self.masks else None
        valid = {
            "classes": self.classes and all(isinstance(name, str) for name in self.classes),
            "image_size": isinstance(self.image_size, int) and self.image_size > 0,
            "resize": self.resize in ("squash", "crop", "tiles") and (self.masks or self.resize != "tiles"),
            "scale": 0 < self.scale <= 1, "overlap": 0 <= self.overlap < self.image_size,
            "task": self.task in ("classification", "segmentation"),
            "number of classes: a mask has room for 255": not self.masks or len(self.classes) <= OUTSIDE,
            "colours": not self.masks or (colours.shape == (len(self.classes), 3) and colours.dtype.kind == "i"
                                          and (colours >= 0).all() and (colours <= 255).all())}
        return ", ".join(f"odd {name}" for name, is_valid in valid.items() if not is_valid)

    def comparable(self, other: "Card") -> bool:
        """Whether both models get the same squares and answer with the same classes."""
        return all(getattr(self, field.name) == getattr(other, field.name) for field in fields(self)
                   if field.name != "colours")


class Model:
    """A file opened in onnxruntime on the CPU."""

    def __init__(self, path: Path, threads: int):
        """Raises UserError where the file is missing, broken, or none of ours."""
        if not path.is_file():
            raise UserError(f"there is no model {path}; name one with --model")
        try:
            self.session = session(str(path), threads)
            metadata = self.session.get_modelmeta().custom_metadata_map
            if metadata.get("saturates") == "true" and adds_in_16_bits():
                self.session = session(str(path), threads, exact=True)
        except ImportError as error:
            raise UserError(f"{error}; run: pip install onnxruntime numpy pillow") from None
        except Exception as error:  # onnxruntime's own classes share no base but this one
            raise UserError(f"{path} is no readable ONNX model ({one_line(error)}); {_advice(path)}") from None
        self.name, self.seconds = path.name, 0.0
        self.card = Card.read(metadata, str(path))
        self._check_graph(path)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 (N,size,size,3) → float32 logits (N,C) or (N,C,size,size)."""
        start = time.perf_counter()
        try:
            return self.session.run(["logits"], {"image": images})[0]
        except Exception as error:
            advice = "try --batch 1" if len(images) > 1 else "copy the file again"
            raise UserError(f"{self.name} failed on {len(images)} picture(s) ({one_line(error)}); {advice}") from None
        finally:
            self.seconds += time.perf_counter() - start

    def warm_up(self) -> None:
        """The first run takes longer than all others, and isn't timed."""
        self(np.zeros((1, self.card.image_size, self.card.image_size, 3), np.uint8))
        self.seconds = 0.0

    def _check_graph(self, path: Path) -> None:
        """Raises UserError where inputs and outputs aren't what the card says."""
        card = self.card
        inputs = self.session.get_inputs()
        logits = next((output for output in self.session.get_outputs() if output.name == "logits"), None)
        size = [card.image_size] * 2
        shape = [len(card.classes), *(size if card.masks else [])]
        takes_images = (len(inputs) == 1 and inputs[0].name == "image" and inputs[0].type == "tensor(uint8)"
                        and inputs[0].shape[1:] == [*size, 3])
        gives_logits = (logits and logits.type == "tensor(float)" and len(logits.shape) == 1 + len(shape)
                        and all(side == expected or not isinstance(side, int)
                                for side, expected in zip(logits.shape[1:], shape, strict=True)))
        if not (takes_images and gives_logits):
            raise UserError(f"{path} is no model for {card.task} of {len(card.classes)} classes on {size[0]}×{size[0]} "
                            "uint8 RGB images, though it says so; copy it again, or make it anew with dvc repro")


def adds_in_16_bits() -> bool:
    """Whether this processor adds products of int8 in 16 bits, as x86 with AVX2 and without VNNI does; True where that
    can't be told.
    """
    try:
        words = set(CPUINFO.read_text(encoding="utf-8", errors="replace").split())
    except OSError:  # not Linux
        return True
    return "avx2" in words and not words & {"avx512_vnni", "avx_vnni"}


def _advice(path: Path) -> str:
    """What to do about a file that onnxruntime refuses: it may be too old for it, which the file's metadata tell."""
    import onnxruntime

    needed = re.search(rb"oldest_onnxruntime\x12.(\d+)\.(\d+)", path.read_bytes())
    installed = re.match(r"(\d+)\.(\d+)", onnxruntime.__version__)
    if needed and tuple(map(int, needed.groups())) > tuple(map(int, installed.groups())):
        oldest = b".".join(needed.groups()).decode()
        return (f"it needs onnxruntime {oldest} or newer, and this is {onnxruntime.__version__}: pip install --upgrade "
                "onnxruntime")
    return "copy it again"
