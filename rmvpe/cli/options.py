"""The flags that decide f0 and voicing, the same for `rmvpe predict` and `rmvpe evaluate`: fields of `DecodeConfig`."""

import argparse
from collections.abc import Callable
from typing import Any

from rmvpe.config import DECODERS, DEFAULT_THRESHOLD, PAD_MODES, DecodeConfig
from rmvpe.estimator import Estimator
from rmvpe.pictures.theme import DEFAULT_THEME, THEMES

WEIGHTS_HELP = "a name (small, rvc, yxlllc, hf:OWNER/REPO) or a checkpoint file (default: %(default)s)"
Load = Callable[..., Estimator]  # of weights, backend, device, and what else `rmvpe.load` takes by name
# Fields of `DecodeConfig` that have a flag, and how a headline prints their values
SETTINGS = {
    "threshold": "threshold {:g}",
    "hysteresis": "hysteresis {:g}",
    "silence_gate_db": "silence gate {:g} dBFS",
    "f0_min_hz": "f0 from {:g} Hz",
    "f0_max_hz": "f0 up to {:g} Hz",
    "decoder": "{}",
    "pad": "padding {}",
    "high_register": "high register",
}


def add_decode_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each of `SETTINGS`. A flag that is not given is None: the weights' recommendation stays."""
    decode, add = DecodeConfig(), parser.add_argument
    text = f"voiced from this confidence on, 0 to 1 (default: as the weights recommend, else {DEFAULT_THRESHOLD})"
    add("--threshold", type=float, help=text)
    text = f"how far below the threshold a voiced run goes on (default: {decode.hysteresis:g})"
    add("--hysteresis", type=float, help=text)
    text = f"unvoiced below this level in dBFS; -inf: never (default: {decode.silence_gate_db:g})"
    add("--silence-gate-db", type=float, metavar="DB", help=text)
    add("--f0-min", type=float, dest="f0_min_hz", metavar="HZ", help="lowest pitch in Hz (default: the network's)")
    add("--f0-max", type=float, dest="f0_max_hz", metavar="HZ", help="highest pitch in Hz (default: the network's)")
    add("--decoder", choices=DECODERS, help=f"how a pitch is chosen (default: {decode.decoder})")
    add("--pad", choices=PAD_MODES, help=f"what follows the end of the audio (default: {decode.pad})")
    text = "a second pass for weights that read notes above 1040 Hz an octave low; takes twice the time"
    add("--high-register", action="store_const", const=True, help=text)


def add_theme_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag that chooses the colours of a picture."""
    text = "colours of the picture; light: for white paper (default: %(default)s)"
    parser.add_argument("--theme", choices=tuple(THEMES), default=DEFAULT_THEME, help=text)


def decode_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings that the command line gives, by the names of `DecodeConfig`'s fields."""
    return {name: getattr(arguments, name) for name in SETTINGS if getattr(arguments, name) is not None}


def describe_settings(config: DecodeConfig) -> str:
    """The threshold, and what else differs from the defaults, for a headline: "threshold 0.24, hysteresis 0.1"."""
    plain = DecodeConfig()
    shown = [name for name in SETTINGS if name == "threshold" or getattr(config, name) != getattr(plain, name)]
    return ", ".join(SETTINGS[name].format(getattr(config, name)) for name in shown)
