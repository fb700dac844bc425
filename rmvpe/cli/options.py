"""The flags that decide f0 and voicing, the same for all commands that have them: fields of `DecodeConfig`, and more.

`NetworkWishes` is what the commands that predict also ask for: weights, backend, device, hop.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rmvpe.backends import BACKENDS, is_on_cpu
from rmvpe.checkpoint.hub import PREFIX as HUB_PREFIX
from rmvpe.checkpoint.store import locate
from rmvpe.config import DECODERS, DEFAULT_THRESHOLD, PAD_MODES, DecodeConfig
from rmvpe.estimator import DEFAULT_WEIGHTS, Estimator
from rmvpe.pictures.theme import DEFAULT_THEME, THEMES
from rmvpe.processes import checked_threads, set_jax_threads
from rmvpe.track import check_hop

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


@dataclass(frozen=True)
class NetworkWishes:
    """Which network predicts, and how. Raises UserError for an impossible hop.

    threads: of the CPU; None for the backend's own number. own_process: whether this process is a command's, whose
    environment is ours. hop_s: None for the network's own. decoding: fields of
    `DecodeConfig`. channel, track: what is read of a sound file, see `rmvpe.audio.read`.
    """

    weights: str = DEFAULT_WEIGHTS
    backend: str = "auto"
    device: str = "auto"
    threads: int | None = None
    hop_s: float | None = None
    decoding: Mapping[str, Any] = field(default_factory=dict)
    channel: str | int = "auto"
    track: int | None = None
    own_process: bool = False

    def __post_init__(self) -> None:
        if self.hop_s is not None:
            check_hop(self.hop_s)

    def estimator(self, load: Load) -> Estimator:
        """The network, loaded."""
        threads = {} if self.threads is None else {"threads": checked_threads(self.threads, "--threads")}
        if self.own_process:
            set_jax_threads(self.threads)
        return load(self.weights, self.backend, self.device, **threads).with_config(**self.decoding)

    def on_cpu(self) -> bool:
        """Whether the CPU computes, as far as can be seen before anything is loaded."""
        return is_on_cpu(self.backend, self.device)

    def fetch(self) -> None:
        """Download weights that are on the hub, unless they are there already: once, before several processes load."""
        if self.weights.startswith(HUB_PREFIX):
            with locate(self.weights):
                pass

    @property
    def reading(self) -> dict[str, Any]:
        """Arguments of `rmvpe.audio.read`."""
        return {"channel": self.channel, "track": self.track}


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `NetworkWishes`, but for those that `add_input_arguments` has."""
    add = parser.add_argument
    add("--backend", choices=("auto", *BACKENDS), default="auto", help="framework (default: by the device)")
    add("--device", default="auto", help="cpu, cuda, cuda:1, sdaa, mps, gpu, tpu, dml, coreml (default: the fastest)")
    add("--threads", type=int, metavar="N", help="of the CPU (default: one for each physical core)")
    add("--weights", default=DEFAULT_WEIGHTS, help=WEIGHTS_HELP)
    add("--hop-ms", type=float, metavar="MS", help="milliseconds between frames (default: the network's own)")
    add_decode_arguments(parser)


def network_wishes(arguments: argparse.Namespace) -> NetworkWishes:
    """What the command line wishes of the network."""
    return NetworkWishes(
        weights=arguments.weights,
        backend=arguments.backend,
        device=arguments.device,
        threads=arguments.threads,
        hop_s=None if arguments.hop_ms is None else arguments.hop_ms / 1000.0,
        decoding=decode_settings(arguments),
        channel=arguments.channel,
        track=arguments.track,
        own_process=arguments.own_process,
    )


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
