"""torchvision's ImageNet weights, and what they expect of an image."""

import sys

from stages.core.errors import UserError, one_line

# Mean and standard deviation on the 0–255 scale: torchvision's (0.485, 0.456, 0.406), (0.229, 0.224, 0.225).
IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


def imagenet_weights(architecture: str, key: str = "weights") -> dict:
    """The best ones for this architecture as a state dict; downloaded once, checked by the hash in the file's name.

    key: of params.yaml, that an error names.
    """
    from torchvision import models

    try:
        weights = models.get_model_weights(architecture).DEFAULT
        print(f"ImageNet weights of {architecture}: {weights.url}", file=sys.stderr)
        return weights.get_state_dict(progress=sys.stderr.isatty(), check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise UserError(f"ImageNet weights of {architecture} can't be downloaded ({one_line(error)}); connect this "
                        f"machine, or set {key} in params.yaml to a local .safetensors file") from None
