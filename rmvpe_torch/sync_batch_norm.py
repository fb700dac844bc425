"""Batch norm over the batches of all processes together: N processes with a share each train as one with all would.

On CUDA this is PyTorch's `nn.SyncBatchNorm`. It refuses CPU tensors, in torch 2.13 too. Since torch 2.1 it accepts
tensors of devices such as SDAA, but such a device must then have special kernels (`batch_norm_stats` and others), and
we do not know whether SDAA has. `SyncBatchNorm2d` needs only ordinary operators and all-reduce, on any device.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from rmvpe.processes import Ranks
from rmvpe_torch.device import process_group
from rmvpe_torch.model import RMVPE


def synchronise(model: RMVPE, device: torch.device, ranks: Ranks) -> RMVPE:
    """Replace the model's batch norms by ones over all processes; names, parameters and statistics stay the same."""
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
    """`norm` over the batches [B, C, T, F] of all processes, which must be equally large."""

    def __init__(self, norm: nn.BatchNorm2d, ranks: Ranks):
        super().__init__(norm.num_features, norm.eps, norm.momentum, device="meta")
        self.ranks = ranks
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T, F] -> [B, C, T, F]."""
        if not self.training:
            return super().forward(x)
        wide = x.to(self.weight.dtype)  # only convolutions run in low precision
        # The variance around the common mean: sums of squares would lose digits where the mean is large
        mean = self._mean_over_processes(wide.mean((0, 2, 3)))
        centred = wide - mean[:, None, None]
        variance = self._mean_over_processes(centred.square().mean((0, 2, 3)))
        self._update_running(mean.detach(), variance.detach(), self.ranks.total * x.numel() // x.shape[1])
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    def _mean_over_processes(self, mean: Tensor) -> Tensor:
        total: Tensor = _SumOverProcesses.apply(mean)
        return total / self.ranks.total

    def _update_running(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)  # unbiased, as torch keeps it


class _SumOverProcesses(torch.autograd.Function):
    """The sum over all processes. Each result depends on the inputs of all, so gradients are summed as well."""

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
