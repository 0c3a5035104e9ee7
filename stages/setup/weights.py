"""Which pre-trained weights are at hand: files of data/weights/, or torchvision's own where there is a network."""

import sys
import urllib.request
from pathlib import Path

from stages.core import efficientnet_lite
from stages.core.errors import UserError
from stages.models import factory
from stages.setup.rules import ENCODER, STARTED_SIZE, STUDENT, Weights, student_options

FIRST = "mobilenet_v2"  # small, quick to fine-tune, a good teacher
STUDENT_FILE = f"small_resnet_{STUDENT['depth']}_{STUDENT['width']}.safetensors"
CLASSES, SIZE = 2, (96, 96)  # of the networks that are built to see whether weights fit
SECONDS = 5  # to wait for an answer


def teacher(task: str) -> Weights | None:
    """A file that is named like an architecture of torchvision and fits it; else MobileNetV2's ImageNet weights, whose
    students were the best (benchmarks/RESULTS.md), if they can be had; else EfficientNet-Lite0's, which are in a
    package.

    task segmentation: what fits the encoder of a U-Net, for which there are none in the package.
    """
    from torchvision import models

    known = set(models.list_models(module=models))
    found = {}
    for path in sorted(factory.WEIGHTS.glob("*.safetensors")):
        architecture = path.stem.partition("-")[0].lower()
        if architecture in known and architecture not in found:
            if problem := _teacher_problem(task, architecture, path.name):
                print(f"new: not used: {problem}", file=sys.stderr)
            else:
                found[architecture] = path.name
    if found:
        architecture = FIRST if FIRST in found else next(iter(found))
        return Weights("torchvision", architecture, found[architecture])
    if can_be_had(FIRST):
        return Weights("torchvision", FIRST, "imagenet")
    return Weights("timm", efficientnet_lite.ARCHITECTURE, "imagenet") if task == "classification" else None


def student() -> str:
    """The name of the file that fits the student of the rules; "" where there is none."""
    is_there, options = (factory.WEIGHTS / STUDENT_FILE).is_file(), student_options(STARTED_SIZE)
    return STUDENT_FILE if is_there and not _problem("small_resnet", options, STUDENT_FILE) else ""


def _teacher_problem(task: str, architecture: str, weights: str) -> str:
    if task == "segmentation":
        return _problem("unet_torchvision", {"architecture": architecture} | ENCODER, weights, has_head=False)
    return _problem("torchvision", {"architecture": architecture, "stem": "standard"}, weights)


def _problem(model: str, options: dict, weights: str, has_head: bool = True) -> str:
    """Why a file of data/weights/ can't be used; "" if it can. has_head: ends in one, as scan wants it."""
    try:
        network = factory.NetworkParams(model=model, options=options, weights=weights)
        net = factory.build(network, CLASSES, SIZE, seed=0).net
        if has_head:
            factory.head(net)
    except UserError as error:
        return str(error)
    return ""


def can_be_had(architecture: str, library: str = "torchvision") -> bool:
    """Whether the ImageNet weights of this library, torchvision or timm, are stored here, or their server answers."""
    if library == "timm":
        return _timm_has(architecture)
    import torch
    from torchvision import models

    url = models.get_model_weights(architecture).DEFAULT.url
    if Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2]).is_file():
        return True
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=SECONDS):
            return True
    except OSError:
        return False


def _timm_has(architecture: str) -> bool:
    import huggingface_hub
    import timm

    source = getattr(timm.get_pretrained_cfg(architecture, allow_unregistered=True), "hf_hub_id", None)
    if not source:
        return False
    if isinstance(huggingface_hub.try_to_load_from_cache(source, "model.safetensors"), str):
        return True
    try:
        return bool(huggingface_hub.model_info(source, timeout=SECONDS))
    except Exception:  # the client of the hub has errors of its own, which are no OSError
        return False
