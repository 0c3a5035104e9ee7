"""U-Net whose way down is a classification network of torchvision, which may be pre-trained: per-pixel logits.

Ronneberger, Fischer and Brox, "U-Net", MICCAI 2015, with an encoder that knows pictures already, as in Iglovikov and
Shvets, "TernausNet", 2018. The way up is plain convolution, BatchNorm and ReLU, as in unet.py.
"""

from collections.abc import Iterator, Mapping

import pydantic
import torch
from torch import nn
from torch.nn import functional

from stages.core.errors import UserError
from stages.core.params import Section
from stages.core.pretrained import IMAGENET, imagenet_weights
from stages.models.layers import conv_bn_relu, init_convolutions

TRIAL_SIZE = 64  # pixels of the picture that shows where an encoder shrinks it


class Options(Section):
    architecture: str  # a name that torchvision.models.list_models() gives: mobilenet_v2, resnet18, efficientnet_b0 …
    depth: int = pydantic.Field(ge=1, le=5)  # levels of it that are used, each of half the size
    width: int = pydantic.Field(ge=1, le=256)  # channels of the way up at full size; each level below has twice as many


class UNetTorchvision(nn.Module):
    def __init__(self, options: Options, classes: int):
        super().__init__()
        levels, channels = _encoder(options)
        self.encoder = nn.ModuleList(levels)
        widths = [options.width * 2**level for level in range(options.depth)]
        below = [*widths[1:], channels[-1]]
        self.up = nn.ModuleList(block(below[level] + channels[level], widths[level])
                                for level in reversed(range(options.depth)))
        self.head = nn.Conv2d(options.width, classes, 1)

    def forward(self, x):
        skips = []  # the image (N,3,H,W), and what each level but the last makes of it
        for level in self.encoder:
            skips.append(x)
            x = level(x)
        for level in self.up:
            skip = skips.pop()
            x = functional.interpolate(x, skip.shape[-2:], mode="bilinear")
            x = level(torch.cat([x, skip], 1))
        return self.head(x)

    def with_encoder(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
        """A state dict of this network, its encoder from torchvision's `state` of the architecture, the rest as it is.

        None where `state` lacks some of the encoder's tensors: it is then a whole network's, or one's that doesn't fit.
        Only counts of batches may be missing, as in the files of torchvision's first years.
        """
        own = self.state_dict()
        names = {key: key.split(".", 2)[2] for key in own if key.startswith("encoder.")}  # encoder.<level>.<name>
        counts = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")}
        found = {key: state.get(f"features.{name}", state.get(name, counts.get(key))) for key, name in names.items()}
        return None if any(value is None for value in found.values()) else own | found


def build(options: Options, classes: int, pretrained: bool) -> nn.Module:
    """In: float (N,3,H,W), H and W at least 2^depth. Out: logits (N,C,H,W)."""
    net = UNetTorchvision(options, classes)
    init_convolutions(net.up)
    return net


def imagenet(options: Options) -> tuple[dict[str, torch.Tensor], tuple]:
    """ImageNet weights of the architecture, for the encoder, and the mean and deviation that they expect."""
    return imagenet_weights(options.architecture), IMAGENET


def block(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(*conv_bn_relu(inside, outside), *conv_bn_relu(outside, outside))


def _encoder(options: Options) -> tuple[list[nn.Sequential], list[int]]:
    """Its levels, each up to the next layer that shrinks the picture; channels of the image and of what each gives.

    Raises UserError for an architecture that is no row of layers, or has fewer levels.
    """
    levels, channels, x = [nn.Sequential()], [3], torch.zeros(1, 3, TRIAL_SIZE, TRIAL_SIZE)
    for name, layer in _layers(options.architecture):
        with torch.no_grad():
            y = layer.eval()(x)
        if y.shape[-1] < x.shape[-1] < TRIAL_SIZE:
            if len(levels) == options.depth:
                break
            levels.append(nn.Sequential())
            channels.append(x.shape[1])
        levels[-1].add_module(name, layer.train())
        x = y
    if len(levels) < options.depth:
        raise UserError(f"params.yaml: options.depth is {options.depth}, but {options.architecture} halves a "
                        f"picture {len(levels)} times")
    return levels, [*channels, x.shape[1]]


def _layers(architecture: str) -> Iterator[tuple[str, nn.Module]]:
    """Ahead of the pooling and the head, by torchvision's names for them."""
    from torchvision import models

    known = models.list_models(module=models)
    net = models.get_model(architecture, weights=None) if architecture in known else None
    if isinstance(getattr(net, "features", None), nn.Sequential):
        yield from net.features.named_children()
    elif isinstance(net, models.ResNet):
        yield from [(name, layer) for name, layer in net.named_children() if name not in ("avgpool", "fc")]
    else:
        raise UserError(f"params.yaml: architecture {architecture!r} is no network of torchvision that can be a "
                        "U-Net's encoder; some that can: mobilenet_v2, resnet18, resnet50, efficientnet_b0")
