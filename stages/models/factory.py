"""Networks by name: built, given weights, saved, loaded. In: a section of params. Out: a module taking uint8 images.

Every network is wrapped in `Normalised`: images stay uint8 up to the model, so its normalisation can't be got wrong.
"""

import functools
import json
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Literal, Self

import pydantic
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from stages.core import plugins, ranks
from stages.core.errors import UserError, one_line
from stages.core.params import Section, parse
from stages.core.pretrained import IMAGENET

# Mean and standard deviation on the 0–255 scale: they make int8's first step the identity on uint8.
CENTRED = ((128.0,) * 3, (64.0,) * 3)
NORMALISATION = "normalisation"  # its key in the metadata of a safetensors file
TEACHER = Path("models/teacher.safetensors")
WEIGHTS = Path("data/weights")  # dvc.yaml names the file in it that a stage starts from


class NetworkParams(Section):
    """A network: which one, in what size, from which weights."""

    model: str  # a module of stages/models/zoo
    options: dict[str, int | float | str | bool | list[int]]  # what that module's Options declare
    weights: str  # none, imagenet (torchvision's or timm's), or the name of a .safetensors file in data/weights/


class TeacherParams(NetworkParams):
    mode: Literal["scratch", "finetune", "frozen"]  # frozen: only the head is trained

    @pydantic.model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.mode == "scratch") != (self.weights == "none"):
            raise ValueError(f"mode is {self.mode} and weights is {self.weights}: scratch starts from weights: none, "
                             "finetune and frozen from imagenet or a file of data/weights/")
        return self


class Normalised(nn.Module):
    """(image − mean) / std in float32, then `net`. In: uint8 (N,3,H,W), RGB. Out: float32 logits (N,C,*S)."""

    def __init__(self, net: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]):
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("std", torch.tensor(std), persistent=False)

    def forward(self, images):
        channels = (1, 3, 1, 1)
        return self.net((images.float() - self.mean.view(channels)) / self.std.view(channels)).float()


def build(params: NetworkParams, classes: int, size: tuple[int, int], seed: int) -> Normalised:
    """A network with `classes` outputs, its weights drawn from `seed` or taken from where `params.weights` says.

    Raises UserError for an unknown model, unknown options, weights that don't fit, or images of a size (H, W) that it
    can't take.
    """
    torch.manual_seed(seed)
    net, normalisation = bare(params, classes), CENTRED
    if params.weights != "none":
        state, normalisation = _weights(params)
        _adopt(net, state, classes, params.weights)
    network = Normalised(net, *normalisation).to(memory_format=torch.channels_last)
    check_size(network, params, size)
    return network


def save(network: Normalised, path: Path) -> None:
    """Weights of the bare network to one safetensors file, with the mean and deviation that they were trained for; of
    several processes that train together the main one writes it.
    """
    if not ranks.is_main():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().cpu().contiguous() for name, value in network.net.state_dict().items()}
    about = [[round(value, 4) for value in part.tolist()] for part in (network.mean, network.std)]
    save_file(state, path, metadata={NORMALISATION: json.dumps(about)})


def load(params: NetworkParams, path: Path, classes: int) -> Normalised:
    """The trained network of `path`, in eval mode, without gradients. Raises UserError where `params` differ."""
    net = bare(params, classes)
    state, normalisation = _read(path)
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{path} doesn't fit the model that params.yaml describes ({_first_line(error)}); "
                    "run dvc repro to train it again") from None
    return freeze(Normalised(net, *normalisation).to(memory_format=torch.channels_last))


def freeze(network: nn.Module) -> nn.Module:
    """Eval mode, so that BatchNorm and dropout stay as they are, and no gradients."""
    return network.eval().requires_grad_(False)


def head(net: nn.Module, wish: str = "teacher.mode frozen",
         instead: str = "mode: finetune") -> tuple[nn.Module, str, nn.Linear]:
    """The last linear layer: its parent, its name there, itself. Raises UserError for a network that has none or ends
    in two, which says what in params.yaml wants one, and what to set instead.
    """
    linear = [name for name, module in net.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise UserError(f"params.yaml: {wish} goes with a network that ends in a linear layer, and "
                        f"{type(net).__name__} has none; use {instead}")
    if isinstance(getattr(net, "get_classifier", nn.Identity)(), tuple):  # timm's way to say so
        raise UserError(f"params.yaml: {wish} goes with a network that ends in one linear layer, and "
                        f"{type(net).__name__} averages two; use {instead}")
    parent, _, name = linear[-1].rpartition(".")
    return net.get_submodule(parent), name, net.get_submodule(linear[-1])


def count(network: nn.Module) -> int:
    """Trainable or not: all weights, without BatchNorm's running statistics."""
    return sum(parameter.numel() for parameter in network.parameters())


def bare(params: NetworkParams, classes: int) -> nn.Module:
    """The network as its module of the zoo builds it: float images to logits, without the weights that `params` names.
    Raises UserError for an unknown model or unknown options.
    """
    module = plugins.module("models/zoo/*", params.model, "model")
    options = parse(module.Options, params.options, f"params.yaml: options of {params.model}")
    return module.build(options, classes, pretrained=params.weights != "none")


@torch.no_grad()
def check_size(network: Normalised, params: NetworkParams, size: tuple[int, int]) -> tuple[int, ...]:
    """The shape of the logits of two images (H, W). Raises UserError before the first epoch where an architecture can't
    take this size, and NotImplementedError where it can't compute without memory for its weights.
    """
    try:
        shape = network.eval()(torch.zeros(2, 3, *size, dtype=torch.uint8)).shape
    except (RuntimeError, AssertionError, ValueError) as error:
        if isinstance(error, NotImplementedError) and network.mean.is_meta:
            raise  # says nothing of the size
        raise UserError(f"params.yaml: {params.model} with {params.options} can't take images of {size[1]}×{size[0]} "
                    f"({_first_line(error)}); choose another architecture, or another image_size") from None
    network.train()
    return shape


def check_weights(params: NetworkParams) -> None:
    """Raises UserError where the weights that `params` names are not there; what they hold is not read."""
    if params.weights == "imagenet":
        _with_imagenet(params)
    elif params.weights != "none" and not (WEIGHTS / params.weights).is_file():
        raise _not_found(WEIGHTS / params.weights)


def check_fit(net: nn.Module, params: NetworkParams, classes: int) -> None:
    """Raises UserError where the file that `params.weights` names doesn't fit; the network may be without memory."""
    if params.weights not in ("none", "imagenet"):
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # that nothing is copied
            _adopt(net, _weights(params)[0], classes, params.weights)


def _weights(params: NetworkParams) -> tuple[dict[str, torch.Tensor], tuple]:
    """State dict and normalisation."""
    if params.weights != "imagenet":
        return _read(WEIGHTS / params.weights)
    module = _with_imagenet(params)
    return module.imagenet(parse(module.Options, params.options, f"params.yaml: options of {params.model}"))


def _with_imagenet(params: NetworkParams) -> ModuleType:
    """The model's module, if it has ImageNet weights."""
    module = plugins.module("models/zoo/*", params.model, "model")
    if not hasattr(module, "imagenet"):
        raise UserError(f"params.yaml: weights is 'imagenet', but {params.model} has none; "
                        "use weights: none, or a model of torchvision or timm that has them")
    return module


def _adopt(net: nn.Module, state: dict[str, torch.Tensor], classes: int, source: str) -> None:
    """Load `state` strictly, except heads for another number of classes, which stay as initialised.

    A head is a tensor whose shape differs in the first dimension alone, which is `classes` here. A hidden layer can't
    be taken for one: the next layer's input would differ too. A network with an encoder takes the weights of a
    classification network for that, and says so.
    """
    if hasattr(net, "with_encoder") and (encoded := net.with_encoder(state)):
        _tell_once(f"weights {source}: taken for the encoder; what follows it starts as drawn")
        state = encoded
    heads = {key: own for key, own in net.state_dict().items() if key in state and state[key].ndim
             and state[key].shape[1:] == own.shape[1:] and own.shape[:1] == (classes,) != state[key].shape[:1]}
    try:
        net.load_state_dict(state | heads)
    except RuntimeError as error:
        raise UserError(f"weights {source} don't fit {type(net).__name__}: {_first_line(error)}; "
                    "params.yaml's model and options must be those that the weights were made for") from None


@functools.cache
def _tell_once(line: str) -> None:
    """In this process, however many networks it builds."""
    print(line, file=sys.stderr)


def _read(path: Path) -> tuple[dict[str, torch.Tensor], tuple]:
    """State dict and normalisation of a safetensors file; ImageNet's where the file comes from elsewhere."""
    try:
        with safe_open(path, framework="pt") as file:
            about = (file.metadata() or {}).get(NORMALISATION)
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        return state, tuple(map(tuple, json.loads(about))) if about else IMAGENET
    except FileNotFoundError:
        raise _not_found(path) from None
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} is no readable safetensors file ({one_line(error)}); "
                    "other formats can hold code and are never loaded") from None


def _not_found(weights: Path) -> UserError:
    return UserError(f"weights {weights} not found; put the .safetensors file there, or say 'imagenet' or 'none' in "
                     "params.yaml")


def _first_line(error: Exception) -> str:
    """torch lists every key on a line of its own: the first two lines say enough."""
    lines = str(error).splitlines()
    return one_line(Exception(" ".join(lines[:2])))[:300]
