"""Every setting, frozen and typed, with unit, meaning and source; presets; strict JSON in and out.

A config is passed, never looked up, and is stored with each checkpoint, so that a checkpoint rebuilds its own model.
Unknown keys fail: a misspelt setting must not silently train another network.
"""

import dataclasses
import json
import types
import typing
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


class ConfigError(ValueError):
    """A setting is unknown, of the wrong type or out of range."""


@dataclass(frozen=True)
class MelConfig:
    """The front end of the published weights: 16 kHz, 1024-sample periodic Hann, 10 ms hop, 128 HTK mel bands."""

    sample_rate: int = 16000  # Hz
    window_samples: int = 1024  # also the FFT length
    hop_samples: int = 160  # 10 ms
    n_mels: int = 128
    f_min_hz: float = 30.0
    f_max_hz: float = 8000.0
    floor: float = 1e-5  # magnitudes below it are raised to it before the logarithm: silence is ln(1e-5) = -11.5

    @property
    def hop_s(self) -> float:
        """Seconds between frames."""
        return self.hop_samples / self.sample_rate


@dataclass(frozen=True)
class ModelConfig:
    """One network of the RMVPE family: a residual U-Net over the log-mel spectrogram, then a bidirectional GRU."""

    name: str = "e2e0"
    mel: MelConfig = field(default_factory=MelConfig)
    levels: int = 5  # encoder levels, and as many decoder levels; each halves time and frequency
    blocks: int = 4  # residual blocks of two 3x3 convolutions per level
    inter_layers: int = 4  # residual layers at the bottom of the U-Net
    channels: int = 16  # after the first encoder level; doubled at each level
    head_channels: int = 3  # the convolution between U-Net and GRU
    gru_hidden: int = 256  # per direction
    gru_layers: int = 1
    n_bins: int = 360  # 20 cents each, see rmvpe.pitch
    timbre_filter: bool = False  # residual blocks on the skip connections (the paper's own configuration)
    dropout: float = 0.25  # on the *logits*, in training only, as the reference has it; see docs/training.md
    bn_momentum: float = 0.01  # weight of the new batch (torch's convention; flax counts the other way round: 0.99)
    bn_epsilon: float = 1e-5

    def __post_init__(self) -> None:
        if self.mel.n_mels % self.time_multiple:
            raise ConfigError(
                f"n_mels {self.mel.n_mels} must be a multiple of 2^levels = {self.time_multiple}: "
                "the U-Net halves the frequency axis at each level"
            )

    @property
    def time_multiple(self) -> int:
        """Frames must come in multiples of this (32 for five levels)."""
        return 2**self.levels

    @property
    def level_channels(self) -> list[int]:
        """Channels after each encoder level."""
        return [self.channels * 2**level for level in range(self.levels)]

    @classmethod
    def e2e0(cls) -> "ModelConfig":
        """The network of the published weights (RVC's rmvpe.pt, yxlllc's model.pt)."""
        return cls()

    @classmethod
    def e2e(cls) -> "ModelConfig":
        """The paper's own configuration (Interspeech 2023): 256 mel bands, window 2048, 20 ms hop, TimbreFilter."""
        mel = MelConfig(window_samples=2048, hop_samples=320, n_mels=256)
        return cls(name="e2e", mel=mel, timbre_filter=True)

    @classmethod
    def small(cls) -> "ModelConfig":
        """The network of the bundled weights; what was compared to choose it is in docs/model.md."""
        return cls(name="small", blocks=2, inter_layers=1, channels=8, dropout=0.0)


PRESETS = {"e2e0": ModelConfig.e2e0, "e2e": ModelConfig.e2e, "small": ModelConfig.small}


def preset(name: str) -> ModelConfig:
    """The named `ModelConfig`; case does not matter. Raises ConfigError for an unknown name."""
    if name.lower() not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}")
    return PRESETS[name.lower()]()


PAD_MODES = ("silence", "reflect", "zero")
DECODERS = ("local-average", "viterbi")


@dataclass(frozen=True)
class DecodeConfig:
    """How salience becomes f0 and voicing. `threshold` is on the largest salience of a frame, 0 to 1."""

    decoder: str = "local-average"
    threshold: float = 0.03  # the default around the published weights; bundled weights bring their own
    f0_min_hz: float = 0.0  # bins outside [f0_min_hz, f0_max_hz] are not searched
    f0_max_hz: float = float("inf")
    pad: str = "silence"  # right padding to a multiple of the U-Net's stride: the author's advice

    def __post_init__(self) -> None:
        if self.decoder not in DECODERS:
            raise ConfigError(f"unknown decoder {self.decoder!r}: choose one of {', '.join(DECODERS)}")
        if self.pad not in PAD_MODES:
            raise ConfigError(f"unknown padding {self.pad!r}: choose one of {', '.join(PAD_MODES)}")
        if not 0.0 <= self.threshold <= 1.0:
            raise ConfigError(f"threshold {self.threshold} is not between 0 and 1")
        if not 0.0 <= self.f0_min_hz < self.f0_max_hz:
            raise ConfigError(f"f0 range {self.f0_min_hz} to {self.f0_max_hz} Hz is empty: f0_min must be below f0_max")


@dataclass(frozen=True)
class AugmentConfig:
    """What each training excerpt goes through. Ranges are [low, high], drawn uniformly unless said otherwise."""

    key_shift_semitones: tuple[float, float] = (-5.0, 5.0)  # by window stretch; the reference goes upward only
    key_shift_probability: float = 0.5
    accompaniment_probability: float = 0.75  # of items that have an accompaniment channel
    foreign_probability: float = 0.5  # of those: another item's accompaniment instead of its own
    snr_db: tuple[float, float] = (-8.0, 25.0)  # active voice to accompaniment
    voiceless_probability: float = 0.06  # of items with accompaniment: the voice is muted, nobody sings
    noise_probability: float = 0.4
    noise_log10: tuple[float, float] = (-6.0, -0.3)  # coloured noise: log10 of its RMS over the active voice's RMS
    gain_log10: tuple[float, float] = (-1.5, 0.3)
    tilt_probability: float = 0.5
    tilt_db: float = 12.0  # spectral slope from 30 Hz to 8 kHz, drawn from +-this: microphones and masters differ
    band_limit_probability: float = 0.15  # of tilted excerpts
    band_limit_hz: tuple[float, float] = (1500.0, 7000.0)


@dataclass(frozen=True)
class TrainConfig:
    """One training run. Defaults follow the reference recipe (FACTS: Adam 5e-4, x0.98 every 2000 steps, clip 3)."""

    model: ModelConfig = field(default_factory=ModelConfig.small)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    data: str = "Hybrid"  # folder with train/ valid/ test/
    excerpt_frames: int = 128
    batch_size: int = 32
    iterations: int = 100
    learning_rate: float = 5e-4
    schedule: str = "step"  # "step": times decay_rate every decay_steps; "cosine": warm up, then half a cosine to 0
    decay_steps: int = 2000
    decay_rate: float = 0.98
    warmup_steps: int = 0
    clip_grad_norm: float = 3.0
    ema_decay: float = 0.0  # 0: no averaged weights
    conv_dtype: str = "float32"  # or "bfloat16": lower precision for the convolutions only
    validation_interval: int = 50
    validation_files: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("excerpt_frames", "batch_size", "iterations", "validation_interval", "decay_steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.excerpt_frames % self.model.time_multiple:
            raise ConfigError(f"excerpt_frames {self.excerpt_frames} must be a multiple of {self.model.time_multiple}")
        if self.schedule not in ("step", "cosine"):
            raise ConfigError(f"unknown schedule {self.schedule!r}: choose step or cosine")
        if self.conv_dtype not in ("float32", "bfloat16", "float16"):
            raise ConfigError(f"unknown conv_dtype {self.conv_dtype!r}: choose float32, bfloat16 or float16")


def to_dict(config: Any) -> dict[str, Any]:
    """The config as plain nested dicts and lists, ready for JSON."""
    return dataclasses.asdict(config)


def to_json(config: Any) -> str:
    """The config as JSON text."""
    return json.dumps(to_dict(config), indent=1)


def from_dict(cls: type[T], data: Any, where: str = "") -> T:
    """Rebuild a config of class `cls` from `to_dict`'s output; ConfigError lists every unknown or ill-typed key."""
    where = where or cls.__name__
    if not isinstance(data, dict):
        raise ConfigError(f"{where} must be a table of settings, not {type(data).__name__}")
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(data) - set(hints))
    if unknown:
        raise ConfigError(f"{where}: unknown setting {', '.join(unknown)}; known are {', '.join(hints)}")
    return cls(**{key: _coerce(hints[key], value, f"{where}.{key}") for key, value in data.items()})


def from_json(cls: type[T], text: str) -> T:
    """Rebuild a config of class `cls` from `to_json`'s output. Raises ConfigError."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{cls.__name__}: not JSON ({error})") from error
    return from_dict(cls, data)


def _coerce(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(type, hint), value, where)
    if typing.get_origin(hint) is tuple:
        kinds = typing.get_args(hint)
        if not isinstance(value, (list, tuple)) or len(value) != len(kinds):
            raise ConfigError(f"{where} must hold {len(kinds)} values, not {value!r}")
        return tuple(_coerce(kind, item, where) for kind, item in zip(kinds, value, strict=True))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    wanted = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        raise ConfigError(f"{where} must be {hint}, not {value!r}")
    return value
