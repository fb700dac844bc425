"""The network of a checkpoint for prediction: batch norms made part of the convolutions before them, tensor by tensor.

At no time is there a second copy of the network. Folded in float64 and rounded once, it moves salience by less than
1e-6 and needs fewer passes over memory. The first batch norm of the network stays: zero padding lies between it and the
convolution after it.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from rmvpe.checkpoint.architecture import expected_tensors
from rmvpe.checkpoint.store import Checkpoint
from rmvpe.memory import give_back
from rmvpe_torch.model import RMVPE

NORM = ("weight", "bias", "running_mean", "running_var")


def load_folded(checkpoint: Checkpoint, conv_dtype: torch.dtype, device: torch.device) -> RMVPE:
    """The network on `device` in evaluation mode, in channels last, with copies of the weights.

    Each tensor of the checkpoint is asked for once or twice. Raises KeyError if one is missing, ValueError for one of
    another shape.
    """
    with torch.device("meta"):  # no memory for weights that are replaced below
        model = RMVPE(checkpoint.config, conv_dtype).eval()
    tensors = checkpoint.tensors
    for path, conv, norm, module in list(_pairs(model)):
        transposed = isinstance(module[conv], nn.ConvTranspose2d)
        weight, bias = fold(tensors, f"{path}.{conv}", f"{path}.{norm}", checkpoint.config.bn_epsilon, transposed)
        module[conv].bias = nn.Parameter(
            module[norm].get_parameter("bias")
        )  # these convolutions have none of their own
        _place(module[conv], {"weight": weight, "bias": bias}, device)
        module[norm] = nn.Identity()
    for path, module in model.named_modules():
        names = [name for name, tensor in module._parameters.items() if tensor is not None and tensor.is_meta]
        names += [name for name in module._buffers if name in NORM]
        _place(module, {name: tensors[f"{path}.{name}"] for name in names}, device)
        if "num_batches_tracked" in module._buffers:
            module._buffers["num_batches_tracked"] = torch.tensor(0, device=device)
    give_back()
    return model


def fold(
    tensors: Mapping[str, np.ndarray], conv: str, norm: str, epsilon: float, transposed: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias, float32, of the convolution named `conv` that does the work of the batch norm named `norm` too.

    transposed: whether its weight is [in, out, H, W] and not [out, in, H, W].
    """
    scale, shift, mean, variance = (tensors[f"{norm}.{name}"].astype(np.float64) for name in NORM)
    inverse = 1.0 / np.sqrt(variance + epsilon)
    factor = (scale * inverse)[:, None, None] if transposed else (scale * inverse)[:, None, None, None]
    weight = tensors[f"{conv}.weight"]
    folded = np.empty(weight.shape, np.float32)
    np.multiply(weight, factor, out=folded, dtype=np.float64, casting="same_kind")  # no float64 copy of all of it
    return folded, ((0.0 - mean) * inverse * scale + shift).astype(np.float32)


def folded_checkpoint(model: RMVPE, metadata: Mapping[str, str]) -> Checkpoint:
    """A checkpoint that gives the very bits of `model` again, one of `load_folded` on the CPU, whose memory it shares.

    The batch norms in it do nothing but add the bias: a variance of 1 - epsilon is rounded to float32, which makes a
    factor within 2^-26 of 1, and that changes no float32 weight.
    """
    tensors: dict[str, np.ndarray] = {}
    for path, conv, norm, module in _pairs(model, nn.Identity):
        weight, bias = (getattr(module[conv], name).detach().numpy() for name in ("weight", "bias"))
        tensors[f"{path}.{conv}.weight"] = weight
        variance = np.full(bias.shape, 1.0 - model.config.bn_epsilon, np.float32)
        plain = (np.ones_like(bias), bias, np.zeros_like(bias), variance)
        tensors |= {f"{path}.{norm}.{name}": array for name, array in zip(NORM, plain, strict=True)}
    found = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    names = expected_tensors(model.config)
    return Checkpoint(
        model.config, {name: tensors[name] if name in tensors else found[name] for name in names}, dict(metadata)
    )


def _pairs(model: RMVPE, kind: type[nn.Module] = nn.BatchNorm2d) -> Iterator[tuple[str, int, int, nn.Sequential]]:
    """Each convolution with a batch norm after it: path of their sequence, their places in it, the sequence."""
    for path, module in model.named_modules():
        if isinstance(module, nn.Sequential):
            for place in range(len(module) - 1):
                if isinstance(module[place], (nn.Conv2d, nn.ConvTranspose2d)) and isinstance(module[place + 1], kind):
                    yield path, place, place + 1, module


def _place(module: nn.Module, arrays: Mapping[str, np.ndarray], device: torch.device) -> None:
    """Give a module its parameters and statistics, which have had no memory yet."""
    for name, array in arrays.items():
        expected = getattr(module, name).shape
        if tuple(array.shape) != tuple(expected):
            raise ValueError(f"{name} has the shape {list(array.shape)}, not {list(expected)}")
        tensor: Tensor = torch.tensor(array, dtype=torch.float32)  # also of a network that is trained in float64
        # Channels last: a third faster on CPUs, and what tensor cores want
        tensor = tensor.to(device, memory_format=torch.channels_last) if tensor.ndim == 4 else tensor.to(device)
        setattr(module, name, nn.Parameter(tensor) if name in module._parameters else tensor)
