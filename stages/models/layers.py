"""What our own networks are built of."""

from torch import nn


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
