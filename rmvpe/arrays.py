"""Arrays of samples from numpy, torch, JAX, pandas and lists, as numpy's; one sentence for what is no sound.

No other library is imported: an array that comes from one is asked in the ways that all of them know.
"""

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from rmvpe.errors import UserError

MAX_CHANNELS = 32  # more channels than this, and than samples: the array must be [channels, samples]
INTEGERS = ("uint8", "int8", "int16", "int32")  # whose full scale is known
KINDS = {"c": "complex numbers", "b": "truth values", "U": "text", "S": "bytes", "M": "dates", "m": "durations"}


def as_numpy(audio: Any) -> np.ndarray:
    """The numbers of an array or list, in the byte order of this machine; the shape stays. Raises UserError.

    Tensors of torch may need a gradient, lie on another device, or be bfloat16, which becomes float32.
    """
    if isinstance(audio, (bytes, bytearray, str, os.PathLike)):
        raise UserError(f"audio is {type(audio).__name__}, not an array of samples: read a file with from_file")
    if isinstance(audio, np.ma.MaskedArray) and np.ma.is_masked(audio):
        raise UserError("audio is a masked array in which samples are missing: fill them, for example audio.filled(0)")
    try:
        if any(base.__module__.partition(".")[0] == "torch" for base in type(audio).__mro__):
            audio = audio.detach().cpu()
            audio = (audio.float() if str(audio.dtype) == "torch.bfloat16" else audio).numpy()
        array = np.asarray(audio)
    except Exception as error:  # whatever the library of the array, or numpy about a ragged list, raises
        raise UserError(
            f"audio cannot be read as an array of samples ({_reason(error)}): give a numpy array"
        ) from error
    if array.dtype.name == "bfloat16":  # JAX's, a type that numpy itself does not have
        array = array.astype(np.float32)
    _check_type(array)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def samples_by_channels(audio: Any) -> np.ndarray:
    """Audio [n], [n, channels] or [1, n] as an array [n, channels], floats or integers of a known full scale.

    Raises UserError for what is no such audio.
    """
    array = as_numpy(audio)
    if array.ndim == 1:
        return array[:, None]
    if array.ndim != 2 or array.shape[1] == 0:
        raise UserError(
            f"audio must be [samples] or [samples, channels], not of shape {list(array.shape)}{_hint(array)}"
        )
    if array.shape[0] == 1 and array.shape[1] > 1:
        return array.T
    if array.shape[1] > max(MAX_CHANNELS, array.shape[0]):
        raise UserError(
            f"audio of shape {list(array.shape)} is not [samples, channels]: "
            f"for one recording of {array.shape[0]} channels give its transpose, audio.T; "
            f"for {array.shape[0]} recordings use from_batch"
        )
    return array


def rows_of(audio: Any, lengths: Iterable[int] | None = None) -> list[Any]:
    """The recordings of a batch: rows of [batch, samples], or several arrays [samples], cut to `lengths`.

    Raises UserError if the shapes do not fit.
    """
    if isinstance(audio, (list, tuple)) and not (audio and all(np.isscalar(row) for row in audio)):
        rows = [as_numpy(row) for row in audio]
    else:
        array = as_numpy(audio)
        if array.ndim != 2:
            remedy = "use from_audio for one recording" if array.ndim == 1 else "take one channel, or their mean"
            raise UserError(f"a batch must be [batch, samples], not of shape {list(array.shape)}: {remedy}")
        rows = list(array)
    if wrong := [list(row.shape) for row in rows if row.ndim != 1]:
        raise UserError(f"each recording of a batch must be [samples], not of shape {wrong[0]}: take one channel of it")
    if lengths is None:
        return rows
    counts = [int(length) for length in lengths]
    if len(counts) != len(rows):
        raise UserError(f"{len(counts)} lengths do not fit a batch of {len(rows)}: give one for each recording")
    for number, (row, count) in enumerate(zip(rows, counts)):
        if not 0 <= count <= len(row):
            raise UserError(f"length {count} of recording {number} is not between 0 and its {len(row)} samples")
    return [row[:count] for row, count in zip(rows, counts)]


def _check_type(array: np.ndarray) -> None:
    kind = array.dtype.kind
    if kind == "f" or array.dtype.newbyteorder("=").name in INTEGERS:
        return
    if kind in "iu":
        raise UserError(
            f"audio of type {array.dtype.name} has no known full scale: give floats between -1 and 1, "
            "or 8, 16 or 32-bit integers"
        )
    what = KINDS.get(kind, f"objects of type {array.dtype}")
    raise UserError(f"audio holds {what}, which are no samples: give floats between -1 and 1")


def _hint(array: np.ndarray) -> str:
    if array.ndim == 3:
        return ": take one recording of the batch, for example audio[0].T, or use from_batch for [batch, samples]"
    return ": give the samples as an array"


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
