"""Features of images by which labels are checked. In: uint8 (N,H,W,3), RGB. Out: float32 (N,D).

Both kinds together (`np.hstack`) find wrong labels better than a backbone alone where shapes tell the classes apart
(vehicles), and about as well elsewhere (scenes).
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from stages.core.errors import UserError, one_line
from stages.core.pretrained import IMAGENET, imagenet_weights

SIDE = 32  # height and width of a thumbnail
CELL, BINS = 4, 9  # pixels, height and width; orientations of an edge, over half a turn
COLOURS = 8  # height and width of the downscaled picture that gives the colours
WIDTH = 4 * BINS * (SIDE // CELL - 1) ** 2 + 3 * COLOURS**2  # 1956
BATCH = 512  # thumbnails at a time: bounds memory
WEIGHTS = Path("data/weights")
AUXILIARY = ("googlenet", "inception_v3")  # architectures with further heads, used in training only


def pixel_features(thumbnails: np.ndarray) -> np.ndarray:
    """Shape and colour of thumbnails, uint8 (N,32,32,3): float32 (N,1956). Needs no torch; 0.3 ms each."""
    features = np.empty((len(thumbnails), WIDTH), np.float32)
    for start in range(0, len(thumbnails), BATCH):
        pixels = thumbnails[start:start + BATCH].astype(np.float32) / 255
        colours = pixels.reshape(-1, COLOURS, SIDE // COLOURS, COLOURS, SIDE // COLOURS, 3).mean((2, 4))
        features[start:start + BATCH] = np.hstack([_edges(pixels), colours.reshape(len(pixels), -1)])
    return features


def _edges(pixels: np.ndarray) -> np.ndarray:
    """float32 (B,1764): strength of the edges of each orientation, per cell, with the three cells beside it.

    Histograms of oriented gradients, Dalal and Triggs, CVPR 2005: square-root gamma, the colour channel with the
    strongest gradient, blocks scaled to unit length and clipped at 0.2.
    """
    light = np.sqrt(pixels)
    across, down = np.zeros_like(light), np.zeros_like(light)
    across[:, :, 1:-1] = light[:, :, 2:] - light[:, :, :-2]
    down[:, 1:-1] = light[:, 2:] - light[:, :-2]
    strongest = np.hypot(across, down).argmax(-1)[..., None]
    across, down = (np.take_along_axis(part, strongest, -1)[..., 0] for part in (across, down))  # (B,32,32)
    strength, orientation = np.hypot(across, down), np.arctan2(down, across) % np.pi * (BINS / np.pi)
    # An edge between two orientations counts for both.
    distance = np.abs(orientation[..., None] - np.arange(BINS, dtype=np.float32))
    shares = strength[..., None] * np.maximum(0, 1 - np.minimum(distance, BINS - distance))
    cells = shares.reshape(-1, SIDE // CELL, CELL, SIDE // CELL, CELL, BINS).sum((2, 4))  # (B,8,8,9)
    blocks = np.concatenate([cells[:, :-1, :-1], cells[:, 1:, :-1], cells[:, :-1, 1:], cells[:, 1:, 1:]], -1)
    blocks /= np.linalg.norm(blocks, axis=-1, keepdims=True) + 0.1
    return np.minimum(blocks, 0.2).reshape(len(pixels), -1)


def backbone(architecture: str, weights: str, size: int, device) -> Callable[[np.ndarray], np.ndarray]:
    """A function from images, uint8 (B,size,size,3), to float32 (B,D): the input of the network's last linear layer.

    architecture: one of torchvision's classification networks, or EfficientNet-Lite0. weights: imagenet, or a
    .safetensors file in data/weights/, normalised by ImageNet's mean and deviation unless its metadata has others.
    device: of torch. The mean over image and mirror image is taken. Memory grows with B; batching changes nothing but
    rounding.
    Raises UserError, before any image is needed, for an unknown architecture, one without a linear layer, weights that
    are missing or don't fit, or a size that the network can't take.
    """
    # Cleaning has its own loader, so that an edit of stages/models does not rerun the scan.
    import torch

    net = _network(architecture)
    linear = [name for name, module in net.named_modules() if isinstance(module, torch.nn.Linear)]
    if not linear:
        raise UserError(f"params.yaml: scan.backbone is {architecture}, which has no linear layer to take features "
                        "from; choose another, mobilenet_v2 or resnet18 for example")
    state, normalisation = _load_weights(architecture, weights)
    parent, _, name = linear[-1].rpartition(".")
    setattr(net.get_submodule(parent), name, torch.nn.Identity())
    heads = (f"{linear[-1]}.", "aux", "Aux")
    try:
        net.load_state_dict({key: value for key, value in state.items() if not key.startswith(heads)})
    except (RuntimeError, ValueError) as error:
        raise UserError(f"params.yaml: scan.weights {weights} don't fit {type(net).__name__}: {one_line(error)[:300]}; "
                        "scan.backbone must be the architecture that they were made for") from None
    net = net.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    mean, deviation = (torch.tensor(part, device=device).view(1, 3, 1, 1) for part in normalisation)

    @torch.inference_mode()
    def features(batch: np.ndarray) -> np.ndarray:
        images = torch.from_numpy(np.array(batch)).to(device).permute(0, 3, 1, 2)
        image, mirror = (net((view.float() - mean) / deviation) for view in (images, images.flip(3)))
        return ((image + mirror) / 2).cpu().numpy()

    try:
        features(np.zeros((2, size, size, 3), np.uint8))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UserError(f"params.yaml: scan.backbone {architecture} can't take images of {size}×{size} "
                        f"({one_line(error)[:300]}); choose another architecture, or another scan.image_size") from None
    return features


def _network(architecture: str):
    """The bare network, of 1000 classes."""
    from torchvision import models

    from stages.core import efficientnet_lite

    if architecture == efficientnet_lite.ARCHITECTURE:
        return efficientnet_lite.network()
    if architecture not in models.list_models(module=models):
        raise UserError(f"params.yaml: scan.backbone: architecture {architecture!r} is unknown to torchvision; some "
                        f"that it knows: resnet18, resnet50, mobilenet_v2; or take {efficientnet_lite.ARCHITECTURE}")
    return models.get_model(architecture, weights=None, **{"aux_logits": False} if architecture in AUXILIARY else {})


def _load_weights(architecture: str, weights: str) -> tuple[dict, tuple]:
    """A state dict, and the mean and deviation of the images that it was trained on."""
    from safetensors import SafetensorError, safe_open

    from stages.core import efficientnet_lite

    if weights == "imagenet" and architecture == efficientnet_lite.ARCHITECTURE:
        return efficientnet_lite.state(), efficientnet_lite.NORMALISATION
    if weights == "imagenet":
        return imagenet_weights(architecture, "scan.weights"), IMAGENET
    try:
        with safe_open(WEIGHTS / weights, framework="pt") as file:
            normalisation = (file.metadata() or {}).get("normalisation")
            return ({name: file.get_tensor(name) for name in file.keys()},  # noqa: SIM118 (no mapping)
                    json.loads(normalisation) if normalisation else IMAGENET)
    except FileNotFoundError:
        raise UserError(f"weights {WEIGHTS / weights} not found; put the .safetensors file there, or set "
                        "scan.weights in params.yaml to imagenet, or to none with scan.backbone none") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{WEIGHTS / weights} is no readable safetensors file ({one_line(error)}); "
                        "other formats can hold code and are never loaded") from None
