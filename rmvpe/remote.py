"""A network in a fresh process, for a forked process in which the runtime cannot compute any more.

JAX keeps pools of threads, and CUDA a context, that a fork does not take along; neither can be made anew in the child.
But the child can start a new interpreter, which builds the same network on the same device and computes for it. It ends
with the process that started it.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from typing import IO, Any

import numpy as np

from rmvpe.backends import Backend, Pair, States, backend_class
from rmvpe.batches import Batch
from rmvpe.checkpoint.store import Checkpoint, in_memory
from rmvpe.errors import UserError
from rmvpe.timing import RUNTIME, span
from rmvpe.turns import Turns, is_inherited

CODE = "import sys; sys.path[:] = {path!r}; from rmvpe.remote import serve; serve({read}, {write})"


def open_backend(name: str, checkpoint: Checkpoint, options: dict[str, Any]) -> Backend:
    """The backend of a runtime with these arguments; in a fresh process where a fork leaves no other way."""
    with span(RUNTIME):
        runtime = backend_class(name)
    if is_inherited(name) and not runtime.works_after_fork(options["device"]):
        return RemoteBackend(name, checkpoint, options)
    backend: Backend = runtime(checkpoint, **options)
    return backend


class RemoteBackend:
    """A backend, `name` with these arguments, in a process of its own; an `rmvpe.backends.Backend`.

    Raises UserError if it cannot be started.
    """

    def __init__(self, name: str, checkpoint: Checkpoint, options: dict[str, Any]):
        self.name = name
        self._arguments = name, in_memory(checkpoint), options
        self._turn = Turns(self._start)
        self._start()

    def __reduce__(self) -> tuple[Any, ...]:
        """What pickles: the weights and the other arguments."""
        return open_backend, self._arguments

    def features(self, log_mel: np.ndarray, lengths: Sequence[int] | None = None) -> np.ndarray:
        """As `rmvpe.backends.Network`."""
        found: np.ndarray = self._call("features", log_mel, lengths)
        return found

    def gru(self, x: np.ndarray, state: np.ndarray | None, layer: int, *, reverse: bool) -> np.ndarray:
        """As `rmvpe.backends.Network`."""
        found: np.ndarray = self._call("gru", x, state, layer, reverse=reverse)
        return found

    def gru_pair(self, xs: Pair, states: States, layer: int) -> Pair:
        """As `rmvpe.backends.Network`."""
        found: Pair = self._call("gru_pair", xs, states, layer)
        return found

    def salience(self, batch: Batch) -> np.ndarray:
        """As `rmvpe.backends.Network`."""
        found: np.ndarray = self._call("salience", batch)
        return found

    def head(self, hidden: np.ndarray) -> np.ndarray:
        """As `rmvpe.backends.Network`."""
        found: np.ndarray = self._call("head", hidden)
        return found

    def log_mel(self, audio: np.ndarray, *, key_shift_semitones: float = 0.0) -> np.ndarray:
        """As `rmvpe.backends.Backend`."""
        found: np.ndarray = self._call("log_mel", audio, key_shift_semitones=key_shift_semitones)
        return found

    def _start(self) -> None:
        (read_requests, write_requests), (read_answers, write_answers) = os.pipe(), os.pipe()
        self._requests: IO[bytes] = os.fdopen(write_requests, "wb")
        self._answers: IO[bytes] = os.fdopen(read_answers, "rb")
        code = CODE.format(path=sys.path, read=read_requests, write=write_answers)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code], stdin=subprocess.DEVNULL, pass_fds=(read_requests, write_answers)
            )
        except (OSError, TypeError) as error:  # TypeError: a program that embeds Python has no sys.executable
            raise UserError(
                f"{self.name} cannot be used in this forked process, and Python cannot be started for it ({error}): "
                "start workers with the method spawn"
            ) from error
        finally:
            os.close(read_requests)
            os.close(write_answers)
        about = self._ask("build", *self._arguments)
        self.device, self.gru_layers, self.batch_windows, self.whole_batches, self.threads = about

    def _call(self, method: str, *arguments: Any, **named: Any) -> Any:
        with self._turn:
            return self._ask(method, *arguments, **named)

    def _ask(self, method: str, *arguments: Any, **named: Any) -> Any:
        try:
            pickle.dump((method, arguments, named), self._requests, pickle.HIGHEST_PROTOCOL)
            self._requests.flush()
            answer, error = pickle.load(self._answers)
        except (EOFError, BrokenPipeError) as gone:
            raise UserError(
                f"the process that computes for this forked one ended with exit code {self._process.wait()}: "
                "start workers with the method spawn"
            ) from gone
        if error is not None:
            raise error
        return answer


def serve(read: int, write: int) -> None:
    """The other end: answer requests from one pipe into the other, until the first is closed."""
    requests, answers = os.fdopen(read, "rb"), os.fdopen(write, "wb")
    backend: Any = None
    while True:
        try:
            method, arguments, named = pickle.load(requests)
        except EOFError:
            return
        answer, error = None, None
        try:
            if method == "build":
                name, checkpoint, options = arguments
                backend = backend_class(name)(checkpoint, **options)
                batches = backend.batch_windows, backend.whole_batches
                answer = backend.device, backend.gru_layers, *batches, backend.threads
            else:
                answer = getattr(backend, method)(*arguments, **named)
        except Exception as raised:  # it is raised where the call came from
            error = raised if isinstance(raised, UserError) else RuntimeError(f"{type(raised).__name__}: {raised}")
        pickle.dump((answer, error), answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()
