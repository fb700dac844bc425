"""Batch norm over the batches of all processes together, so that several with a share each learn what one would.

PyTorch brings one for GPUs alone (`nn.SyncBatchNorm`); this one runs wherever `torch.distributed` does.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from rmvpe.processes import Ranks
from rmvpe_torch.device import process_group
from rmvpe_torch.model import RMVPE


def synchronise(model: RMVPE, device: torch.device, ranks: Ranks) -> RMVPE:
    """The model with its batch norms over all processes; names, parameters and statistics stay the same ones."""
    if ranks.total == 1:
        return model
    if process_group(device) == "nccl":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, SyncBatchNorm2d(child, ranks))
    return model


class SyncBatchNorm2d(nn.BatchNorm2d):
    """`norm`, over equally large batches [B, C, T, F] of all processes."""

    def __init__(self, norm: nn.BatchNorm2d, ranks: Ranks):
        super().__init__(norm.num_features, norm.eps, norm.momentum, device="meta")
        self.ranks = ranks
        self.share = float(norm.momentum or 0.0)  # of the newest batch in the running statistics
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        wide = x.to(self.weight.dtype)  # low precision is for convolutions alone
        # The variance around the common mean: sums of squares would lose digits where the mean is large
        mean = self._over_all(wide.mean((0, 2, 3)))
        centred = wide - mean[:, None, None]
        variance = self._over_all(centred.square().mean((0, 2, 3)))
        self._remember(mean.detach(), variance.detach(), self.ranks.total * x.numel() // x.shape[1])
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    def _over_all(self, mean: Tensor) -> Tensor:
        total: Tensor = _SumOverProcesses.apply(mean)
        return total / self.ranks.total

    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        self.running_mean.lerp_(mean, self.share)
        self.running_var.lerp_(variance * (count / (count - 1)), self.share)


class _SumOverProcesses(torch.autograd.Function):
    """The sum over all processes; every one's result depends on every one's input, so gradients are summed too."""

    @staticmethod
    def forward(context: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total
