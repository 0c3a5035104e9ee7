"""Any classification architecture of torchvision, by its name there: resnet18, mobilenet_v2, convnext_tiny …"""

from typing import Annotated, Literal

from torch import nn

from stages.core.errors import UserError
from stages.core.params import Section, sides
from stages.core.pretrained import IMAGENET, imagenet_weights
from stages.models.layers import resize_input

AUXILIARY = ("googlenet", "inception_v3")


class Options(Section):
    architecture: str  # a name that torchvision.models.list_models() gives
    stem: Literal["standard", "small"]  # small: for images of 32–64 px, no shrinking before the first stage
    # Height and width that images are brought to inside the network: one that was pre-trained on larger images knows
    # its objects at that size. As split.image_size: n or [height, width]. None: they stay as they are.
    input_size: Annotated[tuple[int, int] | None, sides(32, 1024)] = None


def build(options: Options, classes: int, pretrained: bool) -> nn.Module:
    """In: float (N,3,H,W). Out: logits (N,C). `pretrained` keeps the stem's kernel, so that weights still fit."""
    from torchvision import models

    known = models.list_models(module=models)
    if options.architecture not in known:
        raise UserError(f"params.yaml: architecture {options.architecture!r} is unknown to torchvision; "
                        f"some that it knows: resnet18, resnet50, mobilenet_v2, {known[0]}")
    # The auxiliary heads of the Inception family answer in training alone, with a tuple.
    plain = {"aux_logits": False} if options.architecture in AUXILIARY else {}
    net = models.get_model(options.architecture, weights=None, num_classes=classes, **plain)
    if options.stem == "small":
        _shrink_less(net, options.architecture, keep_kernel=pretrained)
    return resize_input(net, options.input_size)


def imagenet(options: Options) -> tuple[dict, tuple]:
    """ImageNet weights as a state dict, without the auxiliary heads, and the mean and deviation that they expect."""
    return {key: value for key, value in imagenet_weights(options.architecture).items()
            if not key.lower().startswith("aux")}, IMAGENET


def _shrink_less(net: nn.Module, architecture: str, keep_kernel: bool) -> None:
    """First convolution at stride 1, no max-pooling behind it; a fresh 7×7 kernel becomes 3×3 (He et al., 2016)."""
    name, stem = next((name, module) for name, module in net.named_modules() if isinstance(module, nn.Conv2d))
    if stem.stride != (2, 2):
        raise UserError(f"params.yaml: stem: small is not known for {architecture}, whose first stride is "
                        f"{stem.stride[0]}; use stem: standard")
    parent, _, last = name.rpartition(".")
    size = stem.kernel_size[0] if keep_kernel or stem.kernel_size[0] <= 3 else 3
    setattr(net.get_submodule(parent), last,
            nn.Conv2d(stem.in_channels, stem.out_channels, size, 1, size // 2, bias=stem.bias is not None))
    if hasattr(net, "maxpool"):
        net.maxpool = nn.Identity()
