"""U-Net of plain convolution, BatchNorm and ReLU: per-pixel logits for images of any size.

Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015, section
2; but convolutions are padded and followed by BatchNorm, and maps are resized, not up-convolved, on the way up.
"""

from itertools import pairwise
from typing import Literal

import pydantic
import torch
from torch import nn
from torch.nn import functional

from stages.core.params import Section
from stages.models.layers import conv_bn_relu, init_convolutions


class Options(Section):
    depth: int = pydantic.Field(ge=1, le=6)  # levels below the top, each of half the size
    width: int = pydantic.Field(ge=1, le=256)  # channels of the top; each level below has twice as many
    upsampling: Literal["nearest", "bilinear"]


class UNet(nn.Module):
    def __init__(self, options: Options, classes: int):
        super().__init__()
        widths = [options.width * 2**level for level in range(options.depth + 1)]
        self.down = nn.ModuleList(block(inside, outside) for inside, outside in pairwise([3, *widths]))
        self.up = nn.ModuleList(block(2 * width + width, width) for width in reversed(widths[:-1]))
        self.head = nn.Conv2d(options.width, classes, 1)
        self.upsampling = options.upsampling

    def forward(self, x):
        skips = []  # (N,width · 2^level,H/2^level,W/2^level) of each level but the lowest
        for level in self.down[:-1]:
            skips.append(level(x))
            x = functional.max_pool2d(skips[-1], 2)
        x = self.down[-1](x)
        for level in self.up:
            skip = skips.pop()
            # To the skip's own size: pooling has rounded odd ones down.
            x = functional.interpolate(x, skip.shape[-2:], mode=self.upsampling)
            x = level(torch.cat([x, skip], 1))
        return self.head(x)


def block(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(*conv_bn_relu(inside, outside), *conv_bn_relu(outside, outside))


def build(options: Options, classes: int, pretrained: bool) -> nn.Module:
    """In: float (N,3,H,W), H and W at least 2^depth. Out: logits (N,C,H,W)."""
    net = UNet(options, classes)
    init_convolutions(net.down)
    init_convolutions(net.up)
    return net
