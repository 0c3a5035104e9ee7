"""What networks are built of."""

from functools import partial

import torch
from torch import nn
from torch.nn import functional


def conv_bn_relu(inside: int, outside: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """Convolution without a bias, BatchNorm, ReLU. (N,inside,H,W) → (N,outside,H/stride,W/stride)."""
    return nn.Sequential(nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False),
                         nn.BatchNorm2d(outside), nn.ReLU(inplace=True))


def init_convolutions(net: nn.Module) -> nn.Module:
    """He initialisation by fan-out of every convolution, in place."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net


def resize_input(net: nn.Module, size: tuple[int, int] | None) -> nn.Module:
    """The network itself, which from now on resizes its images (N,3,H,W) to (N,3,*size) first; None: as they are.

    By a hook, so that the weights keep their names.
    """
    if size:
        net.register_forward_pre_hook(partial(_resized, size=size))
    return net


def _resized(net: nn.Module, inputs: tuple[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
    return functional.interpolate(inputs[0], size, mode="bilinear", align_corners=False)
