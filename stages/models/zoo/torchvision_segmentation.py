"""torchvision's segmentation architectures, by their names there: lraspp_mobilenet_v3_large, deeplabv3_resnet50 …"""

import sys

import torch
from torch import nn
from torch.nn import functional

from stages.core.errors import UserError, one_line
from stages.core.params import Section


class Options(Section):
    architecture: str  # a name that torchvision.models.list_models(module=torchvision.models.segmentation) gives


class Segmenter(nn.Module):
    """The parts of a torchvision network under their own names, so that state dicts are torchvision's own."""

    def __init__(self, backbone: nn.Module, classifier: nn.Module):
        super().__init__()
        self.backbone, self.classifier = backbone, classifier

    def forward(self, x):
        features = self.backbone(x)  # {"out": …}; LR-ASPP's head takes {"low": …, "high": …} whole
        logits = self.classifier(features.get("out", features))  # (N,C,H/8,W/8)
        return functional.interpolate(logits, x.shape[-2:], mode="bilinear", align_corners=False)


def build(options: Options, classes: int, pretrained: bool) -> nn.Module:
    """In: float (N,3,H,W). Out: logits (N,C,H,W). Without an auxiliary head."""
    from torchvision import models

    known = models.list_models(module=models.segmentation)
    if options.architecture not in known:
        raise UserError(f"params.yaml: architecture {options.architecture!r} is no segmentation network of torchvision; "
                    f"known: {', '.join(known)}")
    net = models.get_model(options.architecture, weights=None, weights_backbone=None, num_classes=classes)
    return Segmenter(net.backbone, net.classifier)


def imagenet(options: Options) -> dict[str, torch.Tensor]:
    """torchvision's best ImageNet weights of the backbone, in a whole state dict; the rest is as drawn, its heads of
    one class, so that they fit no data set. Downloaded once, checked by the hash in the file's name.
    """
    from torchvision import models

    net = build(options, classes=1, pretrained=True)
    backbone = options.architecture.partition("_")[2]  # fcn_resnet50 → resnet50
    try:
        weights = models.get_model_weights(backbone).DEFAULT
        print(f"ImageNet weights of {backbone}: {weights.url}", file=sys.stderr)
        state = weights.get_state_dict(progress=sys.stderr.isatty(), check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise UserError(f"ImageNet weights of {backbone} can't be downloaded ({one_line(error)}); connect this machine, "
                    "or set weights in params.yaml to a local .safetensors file") from None
    # A ResNet is cut before its pooling, of a MobileNet the features are taken.
    net.backbone.load_state_dict({key.removeprefix("features."): value for key, value in state.items()
                                  if not key.startswith(("fc.", "classifier."))})
    return net.state_dict()
