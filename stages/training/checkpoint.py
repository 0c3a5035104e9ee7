"""The state of a training run as one file: read back, it goes on as if it had never stopped.

A SHA-256 of all that follows, then a safetensors file. What doesn't match its hash (cut, emptied, a flipped bit) is no
state.
"""

import hashlib
import json
import os
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from stages.core.files import atomic_write

HASH = 32  # bytes
PROGRESS = "progress"  # the JSON of it, as uint8


class Unreadable(Exception):
    """A checkpoint that isn't what was written."""


def save(path: Path, networks: dict[str, nn.Module], optimizer: torch.optim.Optimizer, best: dict[str, torch.Tensor],
         progress: dict) -> None:
    """Written beside `path`, brought to the disk, then moved there: a kill or power loss leaves the old or the new."""
    state = {f"{name}/{key}": value for name, network in networks.items()
             for key, value in network.state_dict().items()}
    state |= {f"best/{key}": value for key, value in best.items()}
    state |= {f"optimizer/{number}/{key}": value for number, parameter in enumerate(_parameters(optimizer))
              for key, value in optimizer.state.get(parameter, {}).items() if value is not None}
    state[PROGRESS] = torch.frombuffer(bytearray(json.dumps(progress).encode()), dtype=torch.uint8)
    content = safetensors.torch.save({key: value.detach().cpu().contiguous() for key, value in state.items()})
    with atomic_write(path, "wb") as file:
        file.write(hashlib.sha256(content).digest())
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def restore(path: Path, networks: dict[str, nn.Module], optimizer: torch.optim.Optimizer) -> tuple[dict, dict]:
    """Fill networks and optimizer from `path`. Returns (best weights, progress).

    Raises Unreadable, before anything is filled, for a file that isn't what was written.
    """
    stored = path.read_bytes()
    if hashlib.sha256(stored[HASH:]).digest() != stored[:HASH]:
        raise Unreadable(f"{path} is damaged")
    state = safetensors.torch.load(stored[HASH:])
    progress = json.loads(bytes(state[PROGRESS].numpy()))
    for name, network in networks.items():
        network.load_state_dict(_below(state, f"{name}/"))
    for number, parameter in enumerate(_parameters(optimizer)):
        # AdamW's step counter lives on the CPU, whatever the device of the weights.
        optimizer.state[parameter] = {key: value if key == "step" else value.to(parameter.device)
                                      for key, value in _below(state, f"optimizer/{number}/").items()}
    return _below(state, "best/"), progress


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _below(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
