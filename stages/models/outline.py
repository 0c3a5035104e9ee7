"""A network before it is trained: its layers and the shape of what it answers, found without its weights' memory."""

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from stages.models import factory

SMALL, LIGHT = 64**2, 10**7  # pixels of an image, weights of a network: to try these takes less than to describe them


@torch.no_grad()
def outline(params: factory.NetworkParams, classes: int,
            size: tuple[int, int]) -> tuple[nn.Module, tuple[int, ...]] | None:
    """The bare network, and the shape of its logits for two images (H, W); None for an architecture that computes with
    the weights themselves. Weights have no memory, and nothing is computed, but for a light network on small images:
    to run one without, torch imports its compiler.

    Raises UserError as `factory.build`.
    """
    factory.check_weights(params)
    if math.prod(size) <= SMALL:
        with contextlib.suppress(_Heavy), _light_alone():
            return _outline(params, classes, size)
    try:
        with torch.device("meta"):
            return _outline(params, classes, size)
    except NotImplementedError:
        return None


def _outline(params: factory.NetworkParams, classes: int,
             size: tuple[int, int]) -> tuple[nn.Module, tuple[int, ...]]:
    network = factory.Normalised(factory.bare(params, classes), *factory.CENTRED)
    factory.check_fit(network.net, params, classes)
    return network.net, factory.check_size(network, params, size)


class _Heavy(Exception):
    """The network has more than LIGHT weights."""


@contextlib.contextmanager
def _light_alone() -> Iterator[None]:
    """Raises _Heavy in the construction of a heavy network, before its weights are written: so far they take none of
    the memory that they have.
    """
    weights = 0

    def count_weights(module: nn.Module, name: str, weight: nn.Parameter | None) -> None:
        nonlocal weights
        weights += 0 if weight is None else weight.numel()
        if weights > LIGHT:
            raise _Heavy

    hook = register_module_parameter_registration_hook(count_weights)
    try:
        yield
    finally:
        hook.remove()
