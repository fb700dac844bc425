"""`tccl` for simulated cards: gloo carries the messages, which are in the cards' memory."""

from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class ProcessGroup(dist.ProcessGroup):
    """The collectives that this project and `DistributedDataParallel` use; each is finished when it returns."""

    def __init__(self, store: dist.Store, rank: int, size: int, timeout: timedelta):
        super().__init__(rank, size)
        self._gloo = dist.ProcessGroupGloo(store, rank, size, timeout)
        # The last reference to a tensor must not be in gloo's threads: freeing it needs Python, which may have ended
        self._kept: deque[Any] = deque(maxlen=64)

    def getBackendName(self) -> str:
        return "tccl"

    def getSize(self) -> int:
        return self._gloo.size()

    def getRank(self) -> int:
        return self._gloo.rank()

    def allreduce(self, tensors: list[Tensor], options: Any) -> dist.Work:
        return self._run(self._gloo.allreduce, tensors, _views(tensors), options)

    def broadcast(self, tensors: list[Tensor], options: Any) -> dist.Work:
        return self._run(self._gloo.broadcast, tensors, _views(tensors), options)

    def allgather(self, outputs: list[list[Tensor]], inputs: list[Tensor], options: Any = None) -> dist.Work:
        return self._run(
            self._gloo.allgather,
            outputs,
            [_views(row) for row in outputs],
            _views(inputs),
            options or dist.distributed_c10d.AllgatherOptions(),
        )

    def barrier(self, opts: Any) -> dist.Work:
        return self._run(self._gloo.barrier, [])

    def _run(self, collective: Callable[..., Any], result: list[Any], *arguments: Any) -> dist.Work:
        work = collective(*arguments)
        work.wait()
        self._kept.append((work, arguments))
        done: torch.futures.Future[list[Any]] = torch.futures.Future(devices=[_device(result)] if result else None)
        done.set_result(result)
        return torch._C._distributed_c10d._create_work_from_future(done)


def _device(result: list[Any]) -> torch.device:
    first = result[0]
    return first.device if isinstance(first, Tensor) else _device(first)


def _views(tensors: list[Tensor]) -> list[Tensor]:
    """Host tensors on the same memory, for gloo. Raises ValueError for tensors that are not on a card."""
    for tensor in tensors:
        if tensor.device.type != "sdaa":
            raise ValueError(f"tccl was given a tensor on {tensor.device}: it takes only tensors of a card")
    return [torch.ops.simulated_sdaa.host_view(tensor.detach()) for tensor in tensors]


def register() -> None:
    """Register the backend "tccl", as importing the real package does."""
    if dist.is_available():
        dist.Backend.register_backend("tccl", ProcessGroup, devices=["sdaa"])
