"""Names of arguments that people know from other programs, and what they are called here."""

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import ParamSpec, TypeVar

from rmvpe.errors import UserError

P = ParamSpec("P")
R = TypeVar("R")

# Right name -> what other programs call it, and what to write instead where that is more than the name
KNOWN_AS: dict[str, tuple[tuple[str, ...], str]] = {
    "hop_s": (
        ("hop", "hop_length", "hop_size", "hop_ms", "hopsize", "step", "step_size", "frame_period", "frame_shift"),
        "hop_s, in seconds: hop_s=0.01 is 10 ms",
    ),
    "f0_min_hz": (("fmin", "f_min", "f0_min", "f0min", "min_f0", "f0_floor", "pitch_floor", "f_min_hz"), ""),
    "f0_max_hz": (
        ("fmax", "f_max", "f0_max", "f0max", "max_f0", "f0_ceil", "pitch_ceiling", "f_max_hz"),
        "",
    ),
    "threshold": (
        ("thred", "thresh", "thr", "th", "threhold", "voicing_threshold", "confidence_threshold", "voiced_threshold"),
        "",
    ),
    "decoder": (("use_viterbi", "viterbi", "decode", "decoding", "method"), 'decoder="viterbi" or "local-average"'),
    "sample_rate": (("sr", "fs", "rate", "samplerate", "sampling_rate", "sampling_rate_hz", "orig_sr"), ""),
    "weights": (("model", "model_path", "model_name", "path_to_model", "checkpoint", "ckpt", "weights_path"), ""),
    "conv_dtype": (("is_half", "half", "fp16", "dtype", "precision", "half_precision"), 'conv_dtype="float16"'),
    "backend": (("framework", "runtime", "engine"), ""),
    "device": (("dev", "device_name", "gpu", "cuda", "use_gpu"), 'device="cuda" or another device'),
    "pad": (("padding", "pad_mode"), ""),
    "path": (("file", "filename", "filepath", "audio_path", "wav_path"), ""),
    "paths": (("files", "filenames"), ""),
    "audio": (("y", "x", "wav", "samples", "waveform", "signal", "array"), ""),
    "progress": (("callback", "progress_callback", "verbose", "show_progress"), "progress=, a function of the share"),
    "jobs": (("n_jobs", "num_jobs", "workers", "n_workers", "num_workers", "max_workers", "processes"), ""),
    "silence_gate_db": (("gate_db", "silence_db", "top_db", "silence_threshold"), ""),
}
RIGHT_NAME = {other: right for right, (others, _) in KNOWN_AS.items() for other in others}
# Where an argument belongs that the call does not have
ELSEWHERE = {
    "hop_s": "from_file, from_audio and from_files",
    "sample_rate": "from_audio",
    "weights": "rmvpe.load",
    "conv_dtype": "rmvpe.load",
    "backend": "rmvpe.load",
    "device": "rmvpe.load",
    "path": "from_file",
    "audio": "from_audio",
    "progress": "from_file and from_audio",
    "jobs": "from_files and from_batch",
}


class UnknownArgument(UserError, TypeError):
    """A call was given an argument that it does not have; the message names the right one."""


def right_names(
    *, also: Sequence[str] = (), decoding: Sequence[str] = (), drop_in: bool = False
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: the call refuses arguments that it does not have, with the right name (`check_names`).

    also: names that its `**` takes. decoding: fields of `DecodeConfig`, if the call does not take them itself. drop_in:
    the call has the names of another project (`rmvpe.hosts`), so that ours are no advice.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        own = inspect.signature(function).parameters.values()
        named = [row.name for row in own if row.kind in (row.POSITIONAL_OR_KEYWORD, row.KEYWORD_ONLY)]
        known = [name for name in (*named, *also) if name != "self"]
        title = function.__qualname__.removesuffix(".__init__")

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            check_names(title, kwargs, known, decoding, drop_in_advice if drop_in else advice)
            return function(*args, **kwargs)

        return checked

    return decorate


def check_names(
    call: str,
    given: Iterable[str],
    known: Sequence[str],
    decoding: Sequence[str] = (),
    advise: Callable[[str, Sequence[str], Sequence[str]], str] | None = None,
) -> None:
    """Raise UnknownArgument if one of the names `given` is not among those that the call has, `known`.

    advise: what says what to write instead, by default `advice`.
    """
    for name in given:
        if name not in known:
            raise UnknownArgument(f"{call} has no argument {name!r}: {(advise or advice)(name, known, decoding)}")


def advice(name: str, known: Sequence[str], decoding: Sequence[str] = ()) -> str:
    """What to write instead of an unknown argument."""
    right = RIGHT_NAME.get(name.lower(), name)
    if right in known:
        return f"use {KNOWN_AS[right][1] or right}"
    close = difflib.get_close_matches(name.lower(), [*known, *RIGHT_NAME, *ELSEWHERE, *decoding], n=1, cutoff=0.75)
    right = RIGHT_NAME.get(close[0], close[0]) if close and right == name and name not in ELSEWHERE else right
    if right in known:
        return f"did you mean {right}?"
    if right in ELSEWHERE:
        return f"{right} is an argument of {ELSEWHERE[right]}"
    if right in decoding:
        return f"give with_config({right}=...), or config=rmvpe.DecodeConfig({right}=...)"
    return f"it takes {', '.join(known)}"


def drop_in_advice(name: str, known: Sequence[str], decoding: Sequence[str] = ()) -> str:
    """As `advice`, for a call that has another project's names, one of which may mean the same."""
    right = RIGHT_NAME.get(name.lower(), name)
    same = [other for other in known if RIGHT_NAME.get(other, other) == right]
    return f"use {same[0]}" if same else f"it takes {', '.join(known)}"
