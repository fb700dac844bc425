"""The weights that a host asks for, and one network for each in the process, however often a host builds its class.

Some hosts build the class for every call or every file, others in each of many threads. So a network is kept for each
weights, backend, device and precision. Weights are known by the resolved path, time and size of their file: a file that
changed is read again, and the networks of its old content are forgotten.
"""

import logging
import os
from typing import Any, NamedTuple

from rmvpe.backends import device_name
from rmvpe.checkpoint.store import Checkpoint, bundled_weights, is_name, locate
from rmvpe.checkpoint.store import load as load_checkpoint
from rmvpe.errors import UserError
from rmvpe.estimator import DEFAULT_WEIGHTS, Estimator
from rmvpe.estimator import load as load_estimator
from rmvpe.text import printable
from rmvpe.turns import Turns

LOG = logging.getLogger("rmvpe")
Named = str | os.PathLike[str]  # bundled by name, or a file or folder
Weights = Named | Checkpoint
Identity = tuple[str, int, int]  # resolved path or bundled name, time of the last change in ns, size in bytes
TRUE_WORDS, FALSE_WORDS = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "none", "")


class Loaded(NamedTuple):
    """A network, and the voicing threshold that its weights recommend, None if they recommend none."""

    estimator: Estimator
    own_threshold: float | None


def choose_weights(model_path: str | os.PathLike[str] | None, weights: Weights | None = None) -> Weights:
    """The weights to load: `weights` if given, else the file, folder or name `model_path`, if there is one.

    Without one they are the bundled ones, which a warning says once for each path. A file that exists is never
    replaced: if it is damaged, loading it raises UserError.
    """
    if weights is not None:
        return weights
    if model_path is None:
        _networks.warn_once("no file of weights is given: the bundled weights %s are used", DEFAULT_WEIGHTS)
        return DEFAULT_WEIGHTS
    if os.path.exists(model_path) or is_name(model_path):
        return model_path
    path = printable(os.path.abspath(model_path))
    _networks.warn_once("%s does not exist: the bundled weights %s are used", path, DEFAULT_WEIGHTS)
    return DEFAULT_WEIGHTS


def open_network(weights: Weights, backend: str = "auto", device: Any = None, half: bool = False) -> Loaded:
    """The network of these weights, built at most once in this process; a `Checkpoint` is built for each call.

    backend: as for `rmvpe.load`. device: a name, a `torch.device`, or None for the best there is. One that the backend
    cannot use, such as DirectML's "privateuseone:0", becomes the CPU with one warning: hosts choose a device for their
    own network, and this one is fast enough on a CPU. half: half precision for the convolutions; ignored on a CPU.
    Raises UserError for weights or a backend that are not there.
    """
    return _networks.open(weights, backend, device_name(device), half)


def is_true(value: Any) -> bool:
    """A host's `is_half`: a bool, a number, None (False), or a word such as "True" or "false" of a command line.

    Raises UserError for another word.
    """
    if not isinstance(value, str):
        return bool(value)
    word = value.strip().lower()
    if word not in (*TRUE_WORDS, *FALSE_WORDS):
        raise UserError(f"is_half must be true or false, not {value!r}")
    return word in TRUE_WORDS


class _Networks:
    """What this process has opened and said."""

    def __init__(self) -> None:
        self._turn = Turns(lambda: None)
        self._asked: dict[tuple[Identity, str, str, bool], Loaded] = {}  # by what was asked for
        self._built: dict[tuple[Identity, str, str, str], Loaded] = {}  # by what it became: "auto" is often "cpu"
        self._said: set[tuple[str, ...]] = set()

    def warn_once(self, text: str, *values: str) -> None:
        with self._turn:
            if (text, *values) not in self._said:
                self._said.add((text, *values))
                LOG.warning(text, *values)

    def open(self, weights: Weights, backend: str, device: str, half: bool) -> Loaded:
        if isinstance(weights, Checkpoint):
            return Loaded(self._build(weights, backend, device, half)[0], weights.threshold)
        with self._turn:
            identity = _identity(weights)
            found = self._asked.get((identity, backend, device, half))
            if found is None:
                found = self._asked.get((identity, backend, device, not half))
                if found is None or not _is_on_cpu(found.estimator):  # where precision is one and the same
                    found = self._load(identity, weights, backend, device, half)
                self._asked[identity, backend, device, half] = found
            return found

    def _load(self, identity: Identity, weights: Named, backend: str, device: str, half: bool) -> Loaded:
        checkpoint = load_checkpoint(weights)
        estimator, precision = self._build(checkpoint, backend, device, half)
        self._asked = {key: row for key, row in self._asked.items() if key[0] == identity or key[0][0] != identity[0]}
        self._built = {key: row for key, row in self._built.items() if key[0] == identity or key[0][0] != identity[0]}
        key = identity, estimator.backend.name, estimator.backend.device, precision
        return self._built.setdefault(key, Loaded(estimator, checkpoint.threshold))

    def _build(self, checkpoint: Checkpoint, backend: str, device: str, half: bool) -> tuple[Estimator, str]:
        """The estimator and the precision of its convolutions, on the CPU if the device cannot be used."""
        attempts = [(device, "float16")] if half and device != "cpu" else []
        attempts += [(device, "float32")] if device in ("cpu", "auto") else [(device, "float32"), ("cpu", "float32")]
        for number, (name, precision) in enumerate(attempts, 1):
            try:
                estimator = load_estimator(checkpoint, backend, name, conv_dtype=precision)
            except UserError as error:
                if number == len(attempts):
                    raise
                reason = str(error)
                continue
            if precision == "float16" and _is_on_cpu(estimator):
                continue
            if name != device:  # said only now, because a missing backend is no fault of the device
                self.warn_once("the device %s cannot be used, the CPU computes the pitch: %s", device, reason)
            return estimator, precision
        raise AssertionError("the last attempt returns or raises")


def _identity(weights: Named) -> Identity:
    if isinstance(weights, str) and weights in bundled_weights():
        return weights, 0, 0
    with locate(weights) as path:
        state = path.stat()
        return str(path.resolve()), state.st_mtime_ns, state.st_size


def _is_on_cpu(estimator: Estimator) -> bool:
    return estimator.backend.threads is not None


_networks = _Networks()
