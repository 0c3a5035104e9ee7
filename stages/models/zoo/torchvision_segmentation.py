"""torchvision's segmentation architectures, by their names there: lraspp_mobilenet_v3_large, deeplabv3_resnet50 …"""

import torch
from torch import nn
from torch.nn import functional

from stages.core.errors import UserError
from stages.core.params import Section
from stages.core.pretrained import IMAGENET, imagenet_weights


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
        raise UserError(f"params.yaml: architecture {options.architecture!r} is no segmentation network of "
                        f"torchvision; known: {', '.join(known)}")
    net = models.get_model(options.architecture, weights=None, weights_backbone=None, num_classes=classes)
    return Segmenter(net.backbone, net.classifier)


def imagenet(options: Options) -> tuple[dict[str, torch.Tensor], tuple]:
    """A state dict with ImageNet weights for the backbone only (the head gets one class, so it never fits and stays
    random), and the mean and deviation that they expect.
    """
    net = build(options, classes=1, pretrained=True)
    state = imagenet_weights(options.architecture.partition("_")[2])  # fcn_resnet50 → resnet50
    # A ResNet is cut before its pooling; of a MobileNet the features are taken.
    net.backbone.load_state_dict({key.removeprefix("features."): value for key, value in state.items()
                                  if not key.startswith(("fc.", "classifier."))})
    return net.state_dict(), IMAGENET
