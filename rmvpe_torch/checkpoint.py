"""Checkpoints in PyTorch: build the network of a checkpoint, and write .pt files that other torch programs load.

`rmvpe.checkpoint.store` reads and writes our own safetensors files without torch.
"""

import json
import os
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rmvpe.checkpoint import store
from rmvpe.checkpoint.architecture import expected_tensors, timbre_filter_tensors
from rmvpe.checkpoint.store import FORMAT, Checkpoint, check_writable
from rmvpe.checkpoint.tensor_file import TORCH_METADATA_RECORD
from rmvpe.config_check import to_json
from rmvpe.errors import UserError
from rmvpe.files import atomic_path
from rmvpe_torch import compat
from rmvpe_torch.model import RMVPE

LAYOUTS = ("rvc", "yxlllc")


def load_model(
    weights: str | os.PathLike[str] | Checkpoint = "small", conv_dtype: torch.dtype = torch.float32
) -> RMVPE:
    """The network of bundled weights, of a file or folder (as `rmvpe.load` takes them), or of a `Checkpoint`.

    An `nn.Module` on the CPU in evaluation mode, with float32 copies of the weights: log-mel [B, T, n_mels] -> salience
    [B, T, 360] in 0..1, for any T > 0. It can be differentiated with respect to its input, on GPUs too; to use it as a
    loss, freeze the weights with `model.requires_grad_(False)`. `rmvpe_torch.mel.log_mel` makes a log-mel that can be
    differentiated. Raises UserError if there are no such weights; RuntimeError, as torch's strict loading does, if the
    tensors of a `Checkpoint` are not exactly those of its config.
    """
    checkpoint = weights if isinstance(weights, Checkpoint) else store.load(weights)
    with torch.device("meta"):  # no random numbers for weights that are replaced below
        model = RMVPE(checkpoint.config, conv_dtype)
    # Not to_empty: what it asks of tensors without memory imports sympy, which takes a third of a second
    model._apply(lambda tensor: torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu"))
    state = {name: torch.tensor(tensor) for name, tensor in checkpoint.tensors.items()}
    model.load_state_dict(state | _counters(state), strict=True)  # copies: torch 2.0 cannot assign
    return model.eval()


def save_torch(
    path: str | os.PathLike[str], checkpoint: Checkpoint, layout: str = "rvc", dtype: str = "float32"
) -> None:
    """Write a torch .pt file that other programs load with a strict `load_state_dict`, whole or not at all.

    `layout` "rvc": the state_dict itself, as RVC, so-vits-svc and DDSP-SVC load it. "yxlllc": `{"model": state_dict}`
    with `unet.tf.*` even if the network does not use it, because yxlllc's classes contain it; the blocks that are not
    used get convolutions of 0 and a neutral batch norm, so that each returns its input. `dtype` is "float32" or
    "float16". Config and metadata are in an additional record of the zip file, which torch ignores.
    Raises UserError if the tensors do not fit the config, are not finite or overflow float16, or the path cannot be
    written.
    """
    if layout not in LAYOUTS:
        raise UserError(f"unknown layout {layout!r}: choose one of {', '.join(LAYOUTS)}")
    if dtype not in ("float32", "float16"):
        raise UserError(f"unknown dtype {dtype!r}: choose float32 or float16")
    check_writable(checkpoint, dtype)
    tensors = {name: checkpoint.tensors[name] for name in expected_tensors(checkpoint.config)}
    if layout == "yxlllc":
        tensors = identity_timbre_filter(checkpoint) | tensors
    state = OrderedDict((name, _shared(tensor.astype(dtype, copy=False))) for name, tensor in tensors.items())
    state.update(_counters(state))
    with atomic_path(path) as temporary:
        with temporary.open("wb") as out:  # given a name, torch would write that temporary name into the archive
            compat.save({"model": state} if layout == "yxlllc" else state, out)
        _append_metadata(temporary, checkpoint)


def identity_timbre_filter(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """`unet.tf.*` whose blocks return their input unchanged: `x + relu(bn(0)) = x`. Float32."""
    ones = (".1.weight", ".4.weight", ".running_var")  # the two batch norms of a block are conv.1 and conv.4
    return {
        name: np.full(shape, 1.0 if name.endswith(ones) else 0.0, dtype=np.float32)
        for name, shape in timbre_filter_tensors(checkpoint.config).items()
    }


def _shared(array: np.ndarray) -> Tensor:
    """The array as a tensor, in the same memory where torch takes it: it wants what is writable and row-major."""
    return torch.from_numpy(np.require(array, requirements=("C", "W")))


def _counters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """`num_batches_tracked` for each batch norm: strict loading needs it, nothing uses it (our momentum is fixed)."""
    suffix = "running_var"
    names = [name.removesuffix(suffix) for name in state if name.endswith(suffix)]
    return {f"{name}num_batches_tracked": torch.tensor(0) for name in names}


def _append_metadata(path: Path, checkpoint: Checkpoint) -> None:
    table = {**checkpoint.metadata, "config": to_json(checkpoint.config), "format": FORMAT}
    with zipfile.ZipFile(path, "a") as archive:
        prefix = archive.namelist()[0].split("/")[0]  # torch takes the first record's folder for the archive's name
        # A fixed date keeps the file the same for the same checkpoint
        archive.writestr(zipfile.ZipInfo(f"{prefix}/{TORCH_METADATA_RECORD}"), json.dumps(table, sort_keys=True))
