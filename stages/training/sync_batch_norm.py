"""BatchNorm over the batch of all processes, on any device; torch's own SyncBatchNorm refuses CPUs.

In: (N,C,*S), a process's share. Mean and variance are those of all shares together, so that several processes compute
what one would (Ioffe and Szegedy, "Batch Normalization", 2015, algorithm 1, and the gradients below it).
"""

import torch
from torch import nn
from torch.nn import functional

from stages.core import ranks


class SyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """In eval mode as BatchNorm, with whose weights and statistics it shares its names."""

    def _check_input_dim(self, x: torch.Tensor) -> None:
        """Takes any number of places."""

    def forward(self, x):
        if not self.training:
            return super().forward(x)
        dims = [0, *range(2, x.ndim)]
        with torch.no_grad():
            mean, variance, count = _moments(x, dims)
            self._update(mean, variance, count)
        return _Normalise.apply(x, self.weight, self.bias, mean, variance, count, self.eps)

    def _update(self, mean: torch.Tensor, variance: torch.Tensor, count: torch.Tensor) -> None:
        if self.running_mean is None:
            return
        self.num_batches_tracked.add_(1)
        weight = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, weight)
        self.running_var.lerp_(variance * (count / (count - 1)), weight)


def convert(network: nn.Module) -> None:
    """Put a SyncBatchNorm, with the same tensors, in the place of each BatchNorm below the network."""
    for parent in list(network.modules()):
        for name, own in parent.named_children():
            if isinstance(own, nn.modules.batchnorm._BatchNorm):
                new = SyncBatchNorm(own.num_features, own.eps, own.momentum, own.affine, own.track_running_stats)
                new._parameters, new._buffers = own._parameters, own._buffers
                new.train(own.training)
                setattr(parent, name, new)


def _moments(x: torch.Tensor, dims: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean (C,) and biased variance (C,) over all processes, and the number of values behind each, a scalar."""
    variance, mean = torch.var_mean(x.float(), dims, correction=0)
    count = mean.new_tensor([x.numel() // len(mean)])
    parts = torch.stack(ranks.all_gather(torch.cat([mean, variance, count])))  # (processes,2C+1)
    means, variances, counts = parts.split([len(mean), len(mean), 1], 1)
    total = counts.sum()
    mean = (means * counts).sum(0) / total
    return mean, ((variances + (means - mean) ** 2) * counts).sum(0) / total, total


class _Normalise(torch.autograd.Function):
    """weight · (x − mean) / √(variance + eps) + bias, mean and variance being functions of all processes' x."""

    @staticmethod
    def forward(ctx, x, weight, bias, mean, variance, count, eps):
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt(), count)
        return functional.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    def backward(ctx, gradient):
        x, weight, mean, scale, count = ctx.saved_tensors  # scale: 1 / deviation
        dims, channels = [0, *range(2, x.ndim)], (1, -1, *(1,) * (x.ndim - 2))
        incoming, centred = gradient.float(), x.float() - mean.view(channels)
        of_bias, of_weight = incoming.sum(dims), (incoming * centred).sum(dims) * scale
        sums = torch.stack([of_bias, of_weight])
        ranks.add_up(sums)
        by_mean, by_deviation = sums / count
        factor = scale if weight is None else scale * weight
        inner = incoming - by_mean.view(channels) - centred * (by_deviation * scale).view(channels)
        given = (inner * factor.view(channels)).to(x.dtype)
        return given, *((None, None) if weight is None else (of_weight, of_bias)), None, None, None, None
