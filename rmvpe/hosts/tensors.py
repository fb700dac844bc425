"""Arrays to and from tensors of torch, for hosts that hand them or must get them. Only `to_tensor` imports torch."""

import sys
from typing import Any

import numpy as np


def is_tensor(value: Any) -> bool:
    """Whether this is a tensor of torch. If torch was never imported, nothing is."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def to_numpy(value: Any) -> np.ndarray:
    """A tensor on any device, with or without gradient, or an array, as float32 of numpy; maybe not a copy."""
    if is_tensor(value):
        value = value.detach().cpu().float().numpy()
    return np.asarray(value, dtype=np.float32)


def like(array: np.ndarray, given: Any) -> Any:
    """`array` as what the host gave: a tensor on the device of the tensor `given`, else the array itself."""
    return to_tensor(array, given.device) if is_tensor(given) else array


def to_tensor(array: np.ndarray, device: Any = "cpu") -> Any:
    """A new tensor with its own memory on a device of torch, of the array's type.

    device: a name or a `torch.device`. One that this torch cannot use, which a host may give to a network of another
    runtime, is an error of torch's own.
    """
    import torch

    return torch.from_numpy(np.array(array)).to(device)
