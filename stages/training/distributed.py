"""One network trained by several processes, on the GPUs or cores of one machine or of several.

Every batch is the one that a single process would draw. Each process runs its share of it through its copy of the
network; then all have all logits, so that each computes the loss of the whole batch, whatever that loss is, and the
same scores. A gradient is the sum of what each share contributes to it. With synchronised BatchNorm that is what one
process computes, up to the order of sums.

Gradients are added up once a step as one flat tensor, and not, as torch's DistributedDataParallel does, in groups that
it rearranges after the first step: a resumed run then ends in the same bytes, with any number of processes.
"""

from collections.abc import Iterable

import torch
from torch import nn

from stages.core import params, ranks
from stages.core.errors import UserError
from stages.training import sync_batch_norm
from stages.training.batches import Batch
from stages.training.launch import TrainingParams
from stages.training.sync_batch_norm import SyncBatchNorm


def check_size(batch_size: int, processes: int) -> None:
    """Raises UserError where a batch can't be shared, each process having two images of it for its BatchNorm."""
    if batch_size < 2 * processes > 2:
        raise UserError(f"params.yaml: a batch of {batch_size} images is too small to be shared by {processes} "
                        "processes, two images each; raise batch_size, or lower training.processes")


def set_up(network: nn.Module) -> None:
    """Make its BatchNorm layers those that training.batch_norm names."""
    if ranks.world() > 1 and params.load("training", TrainingParams).batch_norm == "synchronised":
        sync_batch_norm.convert(network)


def whole(logits: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, Batch]:
    """Logits and batch, but for its images, of all processes together."""
    if ranks.world() == 1:
        return logits, batch
    others = {name: ranks.gather(rows, batch.total) for name in ("labels", "teacher_logits")
              if (rows := getattr(batch, name)) is not None}
    return _Gather.apply(logits, batch.total), batch._replace(**others)


@torch.no_grad()
def add_gradients(network: nn.Module) -> None:
    """Put the sums over all processes into the gradients."""
    if ranks.world() > 1:
        _replace([parameter.grad for parameter in network.parameters() if parameter.grad is not None], 1)


@torch.no_grad()
def average_buffers(networks: Iterable[nn.Module]) -> None:
    """Put the means over all processes into BatchNorm's statistics, which are each process's own where it is local."""
    for network in networks if ranks.world() > 1 else ():
        local = [layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)
                 and not isinstance(layer, SyncBatchNorm) and layer.running_mean is not None]
        _replace([values for layer in local for values in (layer.running_mean, layer.running_var)], ranks.world())


def _replace(tensors: list[torch.Tensor], divisor: int) -> None:
    """Put the sum over all processes, divided, into each; they have one dtype."""
    if not tensors:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    ranks.add_up(flat)
    for tensor, values in zip(tensors, (flat / divisor).split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(values.view(tensor.shape))


class _Gather(torch.autograd.Function):
    """Rows of all processes; each process's loss is the same one, so that the gradient of the own rows is all there."""

    @staticmethod
    def forward(ctx, rows, total):
        ctx.own = ranks.share(total)
        return ranks.gather(rows, total)

    @staticmethod
    def backward(ctx, gradient):
        return gradient[ctx.own], None
