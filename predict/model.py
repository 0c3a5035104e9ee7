"""A model in onnxruntime, and with it all that answers to one picture."""

from __future__ import annotations

import contextlib
import io
import os
import re
import time
from pathlib import Path

import numpy as np

from predict.answer import Answer, class_shares, top_classes
from predict.card import Card
from predict.masks import enlarge
from predict.sources import Source
from stages.core.errors import UserError, one_line
from stages.data.decode import Unreadable
from stages.data.image_size import pixels_text
from stages.deployment.runtime import session

CPUINFO = Path("/proc/cpuinfo")  # of Linux


class Model:
    """A file opened in onnxruntime on the CPU."""

    def __init__(self, path: str | Path, threads: int | None = None):
        """threads: None for as many as there are cores. Raises UserError where the file is missing, broken, or none of
        ours, or onnxruntime is.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(f"there is no model {path}; name one with --model")
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # where it doesn't fit numpy, that says so in thirty lines
                import onnxruntime  # noqa: F401
        except Exception as error:  # it was built for another numpy, a library of the system is missing, …
            raise UserError(f"onnxruntime can't be loaded ({one_line(error)}); run: pip install --upgrade onnxruntime "
                            "numpy pillow") from None
        try:
            self.session = session(str(path), threads or cores())
            metadata = self.session.get_modelmeta().custom_metadata_map
            if metadata.get("saturates") == "true" and adds_in_16_bits():
                self.session = session(str(path), threads or cores(), exact=True)
        except Exception as error:  # onnxruntime's own classes share no base but this one
            raise UserError(f"{path} is no readable ONNX model ({one_line(error)}); {_advice(path)}") from None
        self.name, self.seconds = path.name, 0.0
        self.card = Card.read(metadata, str(path))
        self._check_graph(path)

    def answer(self, picture: bytes | np.ndarray, topk: int = 5) -> dict:
        """The record of one picture: {"width", "height", "top": [{"class", "probability"}, …]}. By a segmentation model
        {"width", "height", "mask": uint8 (H,W), "shares": [{"class", "colour", "share"}, …]}.

        picture: a file's bytes; or uint8 (H,W,3), RGB, or (H,W), grey. Raises Unreadable where it is no picture,
        UserError where the model fails.
        """
        answer = Answer(Source("", "", picture=picture)).load(self.card)
        for top, left, pixels in answer.tiles(self.card):
            answer.add(top, left, [self(pixels[None])[0]], self.card)
        if answer.error:
            raise Unreadable(answer.error)
        output, size = answer.outputs[0], {"width": answer.width, "height": answer.height}
        if not self.card.masks:
            return size | {"top": top_classes(output, self.card.classes, topk)}
        mask = enlarge(output.finish(), answer.height, answer.width, self.card)
        return size | {"mask": mask, "shares": class_shares(output.counts, self.card)}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 (N,H,W,3) → float32 logits (N,C) or (N,C,H,W)."""
        start = time.perf_counter()
        try:
            logits = self.session.run(["logits"], {"image": images})[0]
        except Exception as error:
            advice = "try --batch 1" if len(images) > 1 else "copy the file again"
            raise UserError(f"{self.name} failed on {len(images)} picture(s) ({one_line(error)}); {advice}") from None
        finally:
            self.seconds += time.perf_counter() - start
        if logits.shape != (len(images), *self._answer_shape()):
            raise UserError(f"{self.name} answered {len(images)} picture(s) with numbers of shape {logits.shape}, "
                            "which isn't what it says of itself; copy the file again")
        return logits

    def warm_up(self) -> None:
        """The first run takes longer than all others, and isn't timed."""
        self(np.zeros((1, *self.card.input_size, 3), np.uint8))
        self.seconds = 0.0

    def _answer_shape(self) -> tuple[int, ...]:
        """Of the logits of one tile."""
        return (len(self.card.classes), *(self.card.input_size if self.card.masks else ()))

    def _check_graph(self, path: Path) -> None:
        """Raises UserError where inputs and outputs aren't what the card says."""
        card, shape = self.card, self._answer_shape()
        inputs = self.session.get_inputs()
        logits = next((output for output in self.session.get_outputs() if output.name == "logits"), None)
        takes_images = (len(inputs) == 1 and inputs[0].name == "image" and inputs[0].type == "tensor(uint8)"
                        and inputs[0].shape[1:] == [*card.input_size, 3])
        gives_logits = (logits and logits.type == "tensor(float)" and len(logits.shape) == 1 + len(shape)
                        and all(side == expected or not isinstance(side, int)
                                for side, expected in zip(logits.shape[1:], shape)))
        if not (takes_images and gives_logits):
            raise UserError(f"{path} is no model for {card.task} of {len(card.classes)} classes on uint8 RGB "
                            f"images of {pixels_text(card.image_size)}, though it says so; copy it again, or make it "
                            "anew with dvc repro")


def cores() -> int:
    """That this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


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
