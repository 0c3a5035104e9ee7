"""torchvision's ImageNet weights."""

import sys

from stages.core.errors import UserError, one_line


def imagenet_weights(architecture: str) -> dict:
    """The best ones for this architecture as a state dict; downloaded once, checked by the hash in the file's name."""
    from torchvision import models

    try:
        weights = models.get_model_weights(architecture).DEFAULT
        print(f"ImageNet weights of {architecture}: {weights.url}", file=sys.stderr)
        return weights.get_state_dict(progress=sys.stderr.isatty(), check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise UserError(f"ImageNet weights of {architecture} can't be downloaded ({one_line(error)}); connect this "
                        "machine, or set weights in params.yaml to a local .safetensors file") from None
