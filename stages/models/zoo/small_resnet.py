"""Small ResNets of plain convolution, BatchNorm and ReLU: what int8 runtimes make fast.

Basic blocks and the depth rule (two convolutions a block, a stem, a head) are those of He et al., "Deep Residual
Learning for Image Recognition", CVPR 2016: section 4.2's three stages for small images, section 4.1's four else.
"""

from typing import Annotated, Literal

import pydantic
from torch import nn

from stages.core.params import Section, sides
from stages.models.layers import conv_bn_relu, init_convolutions, resize_input

# depth = 2 · (sum of blocks) + 2
BLOCKS = {8: (1, 1, 1), 10: (1, 1, 1, 1), 14: (2, 2, 2), 18: (2, 2, 2, 2), 20: (3, 3, 3), 26: (3, 3, 3, 3),
          34: (3, 4, 6, 3)}


class Options(Section):
    depth: Literal[8, 10, 14, 18, 20, 26, 34]  # layers with weights
    width: int = pydantic.Field(ge=1, le=1024)  # channels of the first stage; each later stage has twice as many
    stride: Literal[1, 2, 4]  # by how much the image is shrunk before the second stage
    # Height and width that images are brought to inside the network, as split.image_size: larger ones make a teacher
    # that sees more from weights of the same shapes. None: they stay as they are.
    input_size: Annotated[tuple[int, int] | None, sides(32, 1024)] = None


class Block(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int):
        super().__init__()
        self.first = conv_bn_relu(inside, outside, stride)
        self.second = conv_bn_relu(outside, outside, 1)[:2]
        # The block starts as its shortcut: Goyal et al., "Accurate, Large Minibatch SGD", 2017, section 5.1.
        nn.init.zeros_(self.second[1].weight)
        same = stride == 1 and inside == outside
        self.shortcut = nn.Identity() if same else conv_bn_relu(inside, outside, stride, kernel=1)[:2]
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.second(self.first(x)) + self.shortcut(x))


def build(options: Options, classes: int, pretrained: bool) -> nn.Module:
    """In: float (N,3,H,W). Out: logits (N,C)."""
    layers, inside = [conv_bn_relu(3, options.width, stride=min(options.stride, 2))], options.width
    for stage, blocks in enumerate(BLOCKS[options.depth]):
        outside = options.width * 2**stage
        for block in range(blocks):
            first = 2 if stage else options.stride // min(options.stride, 2)
            layers.append(Block(inside, outside, first if block == 0 else 1))
            inside = outside
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, classes))
    return resize_input(init_convolutions(net), options.input_size)
