"""Numbers that say what an image shows, for the judgement on labels. In: uint8 (N,H,W,3), RGB. Out: float32 (N,D).

Both kinds beside each other (`np.hstack`) judge better than a backbone's alone where shapes tell the classes apart
(vehicles), and about as well where they don't (scenes).
"""

from collections.abc import Callable

import numpy as np

from stages.core.errors import UserError

SIDE = 32  # of a thumbnail
CELL, BINS = 4, 9  # pixels, height and width; orientations of an edge, over half a turn
COLOURS = 8  # height and width of the picture that the colours are taken from
WIDTH = 4 * BINS * (SIDE // CELL - 1) ** 2 + 3 * COLOURS**2  # 1956
AT_ONCE = 512  # thumbnails: it bounds memory


def pixel_features(thumbnails: np.ndarray) -> np.ndarray:
    """Shape and colour of thumbnails, uint8 (N,32,32,3): float32 (N,1956), without torch, 0.3 ms each."""
    features = np.empty((len(thumbnails), WIDTH), np.float32)
    for start in range(0, len(thumbnails), AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        pixels = thumbnails[rows].astype(np.float32) / 255
        step = SIDE // COLOURS
        colours = pixels.reshape(-1, COLOURS, step, COLOURS, step, 3).mean((2, 4))
        features[rows] = np.hstack([_edges(pixels), colours.reshape(len(pixels), -1)])
    return features


def backbone(architecture: str, weights: str, size: int, device) -> Callable[[np.ndarray], np.ndarray]:
    """A function from a batch of images, uint8 (B,size,size,3), to float32 (B,D), the mean over image and mirror image.

    What goes into the last linear layer of a classification network of torchvision with `weights` (imagenet, or a file
    of data/weights), frozen. An image's features don't depend on the batch that it is in but for rounding; the caller
    chooses B (32 or so), and memory grows with B alone. device: what runtime.start returns.
    Raises UserError at once, before any image is asked for: unknown architecture, weights that are none or don't fit, a
    network without a linear layer, or a size that it can't take.
    """
    import torch

    from stages.models import factory
    from stages.models.zoo import torchvision

    if weights == "none":
        raise UserError(f"params.yaml: scan.backbone is {architecture} and scan.weights is none: what an untrained network "
                    "sees is of no use; set weights to imagenet or a file of data/weights/, or scan.backbone to none")
    chosen = factory.NetworkParams(model=torchvision.__name__.rpartition(".")[2], weights=weights,
                                   options={"architecture": architecture, "stem": "standard"})
    net = factory.freeze(factory.build(chosen, classes=1, size=(size, size), seed=0).to(device))
    try:
        parent, name, _ = factory.head(net.net)
    except UserError:
        raise UserError(f"params.yaml: scan.backbone is {architecture}, which has no linear layer to take features from; "
                    "choose another, mobilenet_v2 or resnet18 for example") from None
    setattr(parent, name, torch.nn.Identity())

    @torch.inference_mode()
    def features(batch: np.ndarray) -> np.ndarray:
        images = torch.from_numpy(np.array(batch)).to(device).permute(0, 3, 1, 2)
        return ((net(images) + net(images.flip(3))) / 2).cpu().numpy()

    return features


def _edges(pixels: np.ndarray) -> np.ndarray:
    """float32 (B,1764): how strong edges of each direction are in each cell, next to the three cells beside it.

    Histograms of oriented gradients, Dalal and Triggs, CVPR 2005: square-root gamma, the colour channel with the
    strongest gradient, blocks brought to unit length and clipped at 0.2.
    """
    light = np.sqrt(pixels)
    across, down = np.zeros_like(light), np.zeros_like(light)
    across[:, :, 1:-1] = light[:, :, 2:] - light[:, :, :-2]
    down[:, 1:-1] = light[:, 2:] - light[:, :-2]
    strongest = np.hypot(across, down).argmax(-1)[..., None]
    across, down = (np.take_along_axis(part, strongest, -1)[..., 0] for part in (across, down))  # (B,32,32)
    strength, turn = np.hypot(across, down), np.arctan2(down, across) % np.pi * (BINS / np.pi)
    # An edge between two directions counts for both.
    away = np.abs(turn[..., None] - np.arange(BINS, dtype=np.float32))
    shares = strength[..., None] * np.maximum(0, 1 - np.minimum(away, BINS - away))
    cells = shares.reshape(-1, SIDE // CELL, CELL, SIDE // CELL, CELL, BINS).sum((2, 4))  # (B,8,8,9)
    blocks = np.concatenate([cells[:, :-1, :-1], cells[:, 1:, :-1], cells[:, :-1, 1:], cells[:, 1:, 1:]], -1)
    blocks /= np.linalg.norm(blocks, axis=-1, keepdims=True) + 0.1
    return np.minimum(blocks, 0.2).reshape(len(pixels), -1)
