"""The teacher's raw logits: which passes over the images a mode needs, and one pass. Knows no loss and no temperature.

A pass is a number: in `clean` mode 0 is the image as stored and 1 its mirror image; else the number of a seeded view.
Of per-pixel logits every stride-th row and column is kept, since neighbours are much alike.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pydantic
import torch
from torch import nn

from stages.core import files, ranks
from stages.core.device import autocast
from stages.core.errors import UserError
from stages.core.params import Section, Seed
from stages.data import augmentation

LOGITS = Path("models/targets.npy")  # float16 (V,N,C,*S): pass, image (train's, then unlabelled), class; or C + D
ABOUT = Path("models/targets.json")


class TargetParams(Section):
    """How the teacher's logits are computed and cached; with its features (V,N,C+D)."""

    mode: Literal["clean", "views", "online"]  # the image and its mirror | seeded views, cycled | nothing cached
    views: int = pydantic.Field(ge=1, le=10**6)  # V, for views: view e mod V in epoch e
    seed: Seed  # of the views, in modes views and online
    features: bool  # classification: what the teacher's last layer is given is kept too, behind the logits
    stride: int = pydantic.Field(ge=1, le=4096)  # segmentation: every stride-th row and column of the logits is kept
    batch_size: int = pydantic.Field(ge=1, le=2**20)
    precision: Literal["fp32", "bf16"]


def pass_count(params: TargetParams, augment: augmentation.Augment) -> int:
    """V: how many passes over the images are cached."""
    return {"clean": 2 if augment.flip else 1, "views": params.views, "online": 0}[params.mode]


def about(params: TargetParams, augment: augmentation.Augment, images: dict[str, int], teacher_sha256: str) -> dict:
    """What the cached logits depend on, as targets.json holds it. images: how many each split has."""
    return {**params.model_dump(), "augment": augment.model_dump(), "teacher_sha256": teacher_sha256,
            "passes": pass_count(params, augment), "images": images}


def load(path: Path) -> np.ndarray:
    """float16 (V,N,C,*S), mapped from the file."""
    return files.read_array(path, "floating", 3)


def view_number(params: TargetParams, epoch: int) -> int:
    """Which seeded view this epoch shows, in modes views and online."""
    return epoch % params.views if params.mode == "views" else epoch


def subsample(values: torch.Tensor, places: int, stride: int) -> torch.Tensor:
    """(…,*S) → (…,*S/stride), from the middle of each stride; `places` is how many of the last axes S has."""
    return values[(..., *(slice(stride // 2, None, stride),) * places)]


def teacher_view(images: augmentation.ImageArrays, samples: np.ndarray, params: TargetParams,
                 augment: augmentation.Augment, number: int) -> np.ndarray:
    """What the teacher is shown of these images in pass `number`. uint8 (B,H,W,3)."""
    if params.mode == "clean":
        return augmentation.unaugmented(images, samples, mirror=number == 1)
    return augmentation.view(images, samples, augment, params.seed, number)


def check_places(params: TargetParams, places: Sequence[int]) -> None:
    """places: S, of the teacher's logits. Raises UserError for mode clean with per-pixel logits, which don't follow the
    student's crops, for features of such, and for a stride larger than half the map.
    """
    if params.mode == "clean" and places:
        raise UserError("params.yaml: targets.mode is clean, but this teacher's logits are per pixel, and pixels "
                        "move with the student's crops; use views or online")
    if params.features and places:
        raise UserError("params.yaml: targets.features goes with classification, and this teacher's logits are per "
                        "pixel; set it false")
    if 2 * params.stride > min(places, default=2 * params.stride):
        raise UserError(f"params.yaml: targets.stride is {params.stride}, so that of logits for "
                        f"{'×'.join(map(str, places))} pixels hardly any would be kept; lower it")


def logits(teacher: nn.Module, images: augmentation.ImageArrays, samples: np.ndarray, params: TargetParams,
           augment: augmentation.Augment, number: int) -> Iterator[np.ndarray]:
    """The teacher's logits of these images in pass `number`, in chunks of float16 (≤ batch_size,C,*S); of
    several processes each computes so many of a chunk, and has all.

    Raises UserError as `check_places`.
    """
    device = next(teacher.parameters()).device
    for rows, total in ranks.shares(len(samples), params.batch_size):
        views = teacher_view(images, samples[rows], params, augment, number)
        batch = torch.from_numpy(views).to(device).permute(0, 3, 1, 2)
        with torch.inference_mode(), autocast(device, params.precision):
            output = teacher(batch)
        check_places(params, output.shape[2:])
        kept = subsample(output, output.ndim - 2, params.stride).half()
        yield ranks.gather(kept, total).cpu().numpy()
