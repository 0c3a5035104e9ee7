"""The state of a training run as one safetensors file: read back, it goes on as if it had never stopped."""

import json
import os
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn


def save(path: Path, networks: dict[str, nn.Module], optimizer: torch.optim.Optimizer, best: dict[str, torch.Tensor],
         progress: dict) -> None:
    """Written beside `path`, then moved there: a kill leaves the old state or the new one."""
    state = {f"{name}/{key}": value for name, network in networks.items()
             for key, value in network.state_dict().items()}
    state |= {f"best/{key}": value for key, value in best.items()}
    state |= {f"optimizer/{number}/{key}": value for number, parameter in enumerate(_parameters(optimizer))
              for key, value in optimizer.state.get(parameter, {}).items() if value is not None}
    half = path.with_suffix(".half")
    save_file({key: value.detach().cpu().contiguous() for key, value in state.items()}, half,
              metadata={"progress": json.dumps(progress)})
    os.replace(half, path)


def restore(path: Path, networks: dict[str, nn.Module], optimizer: torch.optim.Optimizer) -> tuple[dict, dict]:
    """Fill networks and optimizer from `path`. Returns (best weights, progress)."""
    with safe_open(path, framework="pt") as file:
        progress = json.loads(file.metadata()["progress"])
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
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
