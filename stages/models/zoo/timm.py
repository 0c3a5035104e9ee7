"""Any classification architecture of timm, by its name there: tf_efficientnet_lite0, mobilenetv4_conv_small …"""

from types import ModuleType
from typing import Annotated

import torch
from torch import nn

from stages.core import efficientnet_lite
from stages.core.errors import UserError, one_line
from stages.core.params import Section, sides
from stages.models.layers import resize_input

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]


class Options(Section):
    architecture: str  # a name that timm.list_models() gives
    # Height and width that images are brought to inside the network, as split.image_size. None: they stay as they are.
    input_size: Annotated[tuple[int, int] | None, sides(32, 1024)] = None


def build(options: Options, classes: int, pretrained: bool) -> nn.Module:
    """In: float (N,3,H,W). Out: logits (N,C)."""
    net = _knowing(options.architecture).create_model(options.architecture)
    # Its own way to draw a head goes by the number of classes: of six, so large that fine-tuning spoils the rest.
    net.reset_classifier(classes)
    return resize_input(net, options.input_size)


def imagenet(options: Options) -> tuple[dict[str, torch.Tensor], Normalisation]:
    """ImageNet weights as a state dict, with the mean and deviation that they expect; all but EfficientNet-Lite0's are
    downloaded from where timm keeps them.
    """
    if options.architecture == efficientnet_lite.ARCHITECTURE:
        return efficientnet_lite.state(), efficientnet_lite.NORMALISATION
    timm = _knowing(options.architecture)
    if not timm.is_model_pretrained(options.architecture):
        raise UserError(f"params.yaml: timm has no pre-trained weights of {options.architecture}; set weights to none, "
                        "or take another architecture")
    try:
        net = timm.create_model(options.architecture, pretrained=True)
    except Exception as error:  # the client of timm's hub has errors of its own, which are no OSError
        raise UserError(f"timm's ImageNet weights of {options.architecture} can't be had ({one_line(error)}); connect "
                        "this machine, set weights in params.yaml to a local .safetensors file, or take "
                        f"{efficientnet_lite.ARCHITECTURE}, whose weights are here") from None
    mean, deviation = (tuple(255 * value for value in net.pretrained_cfg[part]) for part in ("mean", "std"))
    return net.state_dict(), (mean, deviation)


def _knowing(architecture: str) -> ModuleType:
    """timm, which takes a second to import. Raises UserError where it doesn't know the architecture."""
    import timm

    if not timm.is_model(architecture):
        raise UserError(f"params.yaml: architecture {architecture!r} is unknown to timm; some that it knows: "
                        f"{efficientnet_lite.ARCHITECTURE}, mobilenetv4_conv_small, resnet18d")
    return timm
