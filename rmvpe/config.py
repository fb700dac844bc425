"""All settings, frozen and typed, with unit, meaning and source; and presets.

A config is passed as an argument and stored with each checkpoint, so that a checkpoint rebuilds its own model. Unknown
keys are an error: a misspelt setting must not train another network unnoticed.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, TypeVar

import numpy as np

from rmvpe.arguments import right_names
from rmvpe.config_check import ConfigError, check_ranges

T = TypeVar("T")

MAX_COUNT = 10**9  # of updates


MEL_RANGES = {
    "sample_rate": (8000, 192_000),
    "window_samples": (16, 32_768),
    "hop_samples": (16, 32_768),  # 1 ms at 16 kHz
    "n_mels": (1, 1024),
    "f_min_hz": (0.0, 96_000.0),
    "f_max_hz": (0.0, 96_000.0),
    "floor": (1e-30, 1.0),
}


@dataclass(frozen=True)
class MelConfig:
    """The front end of the published weights: 16 kHz, 1024-sample periodic Hann, 10 ms hop, 128 HTK mel bands."""

    sample_rate: int = 16000  # Hz
    window_samples: int = 1024  # also the FFT length
    hop_samples: int = 160  # 10 ms
    n_mels: int = 128
    f_min_hz: float = 30.0
    f_max_hz: float = 8000.0
    floor: float = 1e-5  # the smallest mel magnitude before the logarithm: silence is ln(1e-5) = -11.5

    def __post_init__(self) -> None:
        check_ranges(self, MEL_RANGES)
        if self.hop_samples > self.window_samples:
            raise ConfigError(f"hop_samples {self.hop_samples} is longer than window_samples {self.window_samples}")
        if not self.f_min_hz < self.f_max_hz <= self.sample_rate / 2:
            raise ConfigError(
                f"f_max_hz {self.f_max_hz} must be above f_min_hz {self.f_min_hz} and at most half of the sample rate"
            )

    @property
    def hop_s(self) -> float:
        """Seconds between frames."""
        return self.hop_samples / self.sample_rate


MODEL_RANGES = {
    "levels": (1, 10),
    "blocks": (1, 64),
    "inter_layers": (1, 64),
    "channels": (1, 1024),
    "head_channels": (1, 1024),
    "gru_hidden": (1, 8192),
    "gru_layers": (1, 16),
    "n_bins": (1, 4096),
    "dropout": (0.0, 0.99),
    "bn_momentum": (0.0, 1.0),
    "bn_epsilon": (1e-12, 1.0),
}
MAX_PARAMETERS = 10**9  # of a network: 4 GB; e2e0 has 9 x 10^7
MAX_FEATURES = 1 << 14  # channels x mel bands of a frame, of which a window has 3072; e2e has 2^12


@dataclass(frozen=True)
class ModelConfig:
    """One network of the RMVPE family: a residual U-Net over the log-mel spectrogram, then a bidirectional GRU.

    Source: Wei et al. 2023, Interspeech, https://arxiv.org/abs/2306.15412.
    """

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
    timbre_filter: bool = False  # residual blocks on the skip connections (the configuration of the paper)
    dropout: float = 0.25  # on the *logits*, in training only, as in the reference; see docs/training.md
    bn_momentum: float = 0.01  # weight of the new batch (torch's convention; flax counts the other way round: 0.99)
    bn_epsilon: float = 1e-5

    def __post_init__(self) -> None:
        check_ranges(self, MODEL_RANGES)
        features = max(self.channels, self.head_channels) * self.mel.n_mels
        if self.parameters_at_most > MAX_PARAMETERS or features > MAX_FEATURES:
            raise ConfigError(
                f"the network {self.name[:40]!r} would be too large: its levels, channels, blocks or layers are wrong"
            )
        if self.mel.n_mels % self.time_multiple:
            raise ConfigError(
                f"n_mels {self.mel.n_mels} must be a multiple of 2^levels = {self.time_multiple}: "
                "the U-Net halves the frequency axis at each level"
            )

    @property
    def parameters_at_most(self) -> int:
        """A little more than the network's parameters, from its widths alone."""
        blocks = self.blocks * (10 if self.timbre_filter else 8)  # two convolutions each, in encoder and decoder
        u_net = sum(9 * width * width * (blocks + 8) for width in self.level_channels)
        bottom = 2 * self.level_channels[-1]
        gates = 6 * self.gru_hidden * self.gru_layers
        inputs = self.head_channels * self.mel.n_mels + 3 * self.gru_hidden
        u_net += 18 * self.inter_layers * self.blocks * bottom * bottom
        return u_net + gates * inputs + 2 * self.gru_hidden * self.n_bins

    @property
    def time_multiple(self) -> int:
        """The number of frames must be a multiple of this (32 for five levels)."""
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
        """The configuration of the paper (arXiv 2306.15412): 256 mel bands, window 2048, 20 ms hop, TimbreFilter."""
        mel = MelConfig(window_samples=2048, hop_samples=320, n_mels=256)
        return cls(name="e2e", mel=mel, timbre_filter=True)

    @classmethod
    def small(cls) -> "ModelConfig":
        """The network of the bundled weights; docs/model.md says how it was chosen."""
        return cls(name="small", blocks=1, inter_layers=1, channels=12, dropout=0.0)


PRESETS = {"e2e0": ModelConfig.e2e0, "e2e": ModelConfig.e2e, "small": ModelConfig.small}


def preset(name: str) -> ModelConfig:
    """The named `ModelConfig`; case does not matter. Raises ConfigError for an unknown name."""
    if name.lower() not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}")
    return PRESETS[name.lower()]()


def _right_fields(cls: type[T]) -> type[T]:
    """A dataclass that refuses an unknown setting with the right name."""
    cls.__init__ = right_names()(cls.__init__)  # type: ignore[method-assign]
    return cls


PAD_MODES = ("silence", "reflect", "zero")
DECODERS = ("local-average", "viterbi")
DEFAULT_THRESHOLD = 0.03  # of weights that recommend none: the usual one for the published weights
DEFAULT_CALIBRATION = (1.0, 0.0)  # likewise: confidence is the salience
DECODE_RANGES = {"f0_min_hz": (0.0, 1e5), "f0_max_hz": (0.0, float("inf"))}


@_right_fields
@dataclass(frozen=True)
class DecodeConfig:
    """How salience becomes f0 and voicing. `threshold` is on the confidence of a frame, 0 to 1.

    `calibration` makes this confidence from the frame's largest salience (`rmvpe.calibration`). None for these two
    stands for what the weights recommend, else for those of `USUAL`: `rmvpe.load` and the calls of an `Estimator` fill
    them in; `rmvpe.decode`, which sees no weights, refuses None. `hysteresis` is how far below the threshold a frame
    may be and still continue a voiced run. `silence_gate_db` is a level in dBFS (0: an RMS of 1) over a frame's
    analysis window. `high_register`: see `rmvpe.high_register`.
    """

    decoder: str = "local-average"
    threshold: float | None = None  # None: as the weights recommend
    f0_min_hz: float = 0.0  # bins outside [f0_min_hz, f0_max_hz] are not searched
    f0_max_hz: float = float("inf")
    pad: str = "silence"  # right padding to a multiple of the U-Net's stride: the author's advice
    hysteresis: float = 0.0  # off: each frame decides alone
    silence_gate_db: float = -80.0  # only digital silence and 16-bit dither (-96 to -90) are below it; -inf: off
    calibration: tuple[float, float] | None = None  # slope and offset on the logit of salience; (1, 0): unchanged
    high_register: bool = False  # a second pass, for weights that give notes above 1040 Hz an octave too low

    def __post_init__(self) -> None:
        if self.decoder not in DECODERS:
            raise ConfigError(f"unknown decoder {self.decoder!r}: choose one of {', '.join(DECODERS)}")
        if self.pad not in PAD_MODES:
            raise ConfigError(f"unknown padding {self.pad!r}: choose one of {', '.join(PAD_MODES)}")
        if not isinstance(self.high_register, (bool, np.bool_)):
            raise ConfigError(f"high_register must be True or False, not {self.high_register!r}")
        object.__setattr__(self, "high_register", bool(self.high_register))
        self._make_numbers()
        if self.threshold is not None and not 0.0 <= self.threshold <= 1.0:
            raise ConfigError(f"threshold {self.threshold} is not between 0 and 1")
        limit = 1.0 if self.threshold is None else self.threshold
        if not 0.0 <= self.hysteresis <= limit:
            raise ConfigError(f"hysteresis {self.hysteresis} is not between 0 and the threshold, {limit}")
        if not self.silence_gate_db <= 0.0:
            raise ConfigError(f"silence gate {self.silence_gate_db} is not 0 dBFS or less: -inf switches it off")
        if self.calibration is not None:
            slope, offset = self.calibration
            if not (0.0 < slope < float("inf") and abs(offset) < float("inf")):
                raise ConfigError(f"calibration {self.calibration} is not a slope above 0 and an offset")
        check_ranges(self, DECODE_RANGES)
        if not 0.0 <= self.f0_min_hz < self.f0_max_hz:
            raise ConfigError(f"f0 range {self.f0_min_hz} to {self.f0_max_hz} Hz is empty: f0_min must be below f0_max")

    def _make_numbers(self) -> None:
        """Numbers of any kind become Python's, a list of two a tuple. Raises ConfigError for what is no number."""
        for name in ("threshold", "f0_min_hz", "f0_max_hz", "hysteresis", "silence_gate_db"):
            value = getattr(self, name)
            if not (name == "threshold" and value is None):
                object.__setattr__(self, name, _number(name, value))
        if self.calibration is not None:
            if not isinstance(self.calibration, Sequence) or len(self.calibration) != 2:
                raise ConfigError(f"calibration {self.calibration!r} is not a slope above 0 and an offset")
            object.__setattr__(self, "calibration", tuple(_number("calibration", part) for part in self.calibration))

    def resolved(self, recommended: "DecodeConfig") -> "DecodeConfig":
        """These settings with the threshold and calibration of `recommended` where they are None.

        Raises ConfigError if the hysteresis does not fit that threshold.
        """
        threshold = recommended.threshold if self.threshold is None else self.threshold
        calibration = recommended.calibration if self.calibration is None else self.calibration
        return dataclasses.replace(self, threshold=threshold, calibration=calibration)

    @property
    def known_threshold(self) -> float:
        """`threshold`. Raises ConfigError if it is None."""
        if self.threshold is None:
            raise _unresolved("threshold")
        return self.threshold

    @property
    def known_calibration(self) -> tuple[float, float]:
        """`calibration`. Raises ConfigError if it is None."""
        if self.calibration is None:
            raise _unresolved("calibration")
        return self.calibration


def _unresolved(name: str) -> ConfigError:
    return ConfigError(
        f"{name} is None, which stands for that of the weights: give {name}=, "
        "or the config of an estimator, which knows its weights"
    )


def _number(name: str, value: Any) -> float:
    """A number of Python or numpy as Python's float. Raises ConfigError for anything else."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise ConfigError(f"{name} must be a number, not {value!r}")
    return float(value)


USUAL = DecodeConfig(threshold=DEFAULT_THRESHOLD, calibration=DEFAULT_CALIBRATION)  # for weights without their own


AUGMENT_RANGES: dict[str, tuple[float, float]] = {
    "key_shift_semitones": (-24.0, 24.0),
    "backing_db": (-120.0, 120.0),
    "music_speed_semitones": (-24.0, 24.0),
    "snr_db": (-120.0, 120.0),
    "rt60_s": (1e-3, 20.0),
    "rt60_high_share": (1e-3, 10.0),
    "direct_to_reverberant_db": (-120.0, 120.0),
    "pre_delay_s": (0.0, 1.0),
    "tilt_db": (0.0, 120.0),
    "high_pass_hz": (1.0, 8000.0),
    "low_pass_hz": (1.0, 8000.0),
    "noise_log10": (-20.0, 4.0),
    "noise_colour": (-4.0, 4.0),
    "compression_ratio": (1.0, 1000.0),
    "compression_threshold_db": (-120.0, 120.0),
    "clip_drive_db": (-120.0, 120.0),
    "codec_snr_db": (-120.0, 120.0),
    "gain_log10": (-20.0, 4.0),
}


@dataclass(frozen=True)
class AugmentConfig:
    """The effects on each training excerpt, in this order; see `rmvpe.data.augment`.

    A probability is that of the effect in an excerpt. Ranges are [low, high], drawn uniformly unless a comment says
    otherwise.
    """

    key_shift_probability: float = 0.5
    key_shift_semitones: tuple[float, float] = (-5.0, 5.0)  # by window stretch; the reference goes upward only
    voiceless_probability: float = 0.08  # of items with accompaniment: the voice is muted, all is unvoiced
    silence_probability: float = 0.15  # of those: the accompaniment is muted too, which leaves silence or noise
    backing_probability: float = 0.05  # another item's voice behind the lead, where the lead is active
    backing_db: tuple[float, float] = (-20.0, -6.0)  # its level over the lead's
    accompaniment_probability: float = 0.75  # of items that have an accompaniment channel
    foreign_probability: float = 0.5  # of items that have one: another item's accompaniment instead of its own
    music_speed_probability: float = 0.4  # of foreign accompaniments: resampled, faster and higher or the reverse
    music_speed_semitones: tuple[float, float] = (-4.0, 4.0)
    snr_db: tuple[float, float] = (-8.0, 25.0)  # active voice to accompaniment
    reverberation_probability: float = 0.3
    reverberation_of_mix_probability: float = 0.4  # of those: on the whole mix, not on the voice alone
    rt60_s: tuple[float, float] = (0.15, 1.5)  # time of 60 dB decay below 250 Hz, drawn logarithmically
    rt60_high_share: tuple[float, float] = (0.3, 0.9)  # of it, above 4 kHz
    direct_to_reverberant_db: tuple[float, float] = (0.0, 18.0)
    pre_delay_s: tuple[float, float] = (0.001, 0.04)
    tilt_probability: float = 0.5
    tilt_db: float = 12.0  # spectral slope from 30 Hz to 8 kHz, drawn from +-this: microphones and masters differ
    band_limit_probability: float = 0.2  # in equal parts: the low end, the high end, both (a telephone)
    high_pass_hz: tuple[float, float] = (60.0, 500.0)  # drawn logarithmically
    low_pass_hz: tuple[float, float] = (1500.0, 7000.0)  # drawn logarithmically
    noise_probability: float = 0.4
    noise_log10: tuple[float, float] = (-6.0, -0.3)  # coloured noise: log10 of its RMS over the active voice's RMS
    noise_colour: tuple[float, float] = (0.0, 2.0)  # 0: white, 1: pink, 2: brown
    compression_probability: float = 0.15
    compression_ratio: tuple[float, float] = (1.5, 8.0)  # drawn logarithmically
    compression_threshold_db: tuple[float, float] = (-20.0, 0.0)  # over the excerpt's RMS
    clip_probability: float = 0.1
    clip_drive_db: tuple[float, float] = (-6.0, 15.0)  # the peak over the knee of the soft clipper
    codec_probability: float = 0.15
    codec_snr_db: tuple[float, float] = (4.0, 20.0)  # of each critical band
    gain_log10: tuple[float, float] = (-1.5, 0.3)

    @classmethod
    def none(cls) -> "AugmentConfig":
        """No effects: the voice alone, as it was recorded."""
        off: dict[str, Any] = {name.name: 0.0 for name in dataclasses.fields(cls) if name.name.endswith("_probability")}
        return dataclasses.replace(cls(), gain_log10=(0.0, 0.0), **off)

    def __post_init__(self) -> None:
        probabilities = {name: (0.0, 1.0) for name in vars(self) if name.endswith("_probability")}
        check_ranges(self, AUGMENT_RANGES | probabilities)
        for name, value in vars(self).items():
            if isinstance(value, tuple) and value[0] > value[1]:
                raise ConfigError(f"augment.{name} must be [low, high], not {list(value)}")
        for name in ("rt60_s", "rt60_high_share", "high_pass_hz", "low_pass_hz", "compression_ratio"):
            if getattr(self, name)[0] <= 0.0:
                raise ConfigError(f"augment.{name} must be above 0, not {list(getattr(self, name))}")


CHOICES = {
    "schedule": ("step", "cosine", "hold"),
    "conv_dtype": ("float32", "bfloat16", "float16"),
    "loss": ("bce", "weighted", "focal"),
    "optimizer": ("adam", "adamw"),
}


TRAIN_RANGES: dict[str, tuple[float, float]] = {
    "excerpt_frames": (1, 1 << 17),
    "batch_size": (1, 1 << 14),
    "grad_accumulation": (1, 10_000),
    "iterations": (1, MAX_COUNT),
    "weight_decay": (0.0, 1000.0),
    "learning_rate": (1e-38, 100.0),
    "decay_steps": (1, MAX_COUNT),
    "decay_rate": (1e-6, 10.0),
    "warmup_steps": (0, MAX_COUNT),
    "clip_grad_norm": (0.0, 1e30),
    "ema_decay": (0.0, 1.0 - 1e-9),
    "validation_interval": (1, MAX_COUNT),
    "validation_files": (1, 1_000_000),
    "keep": (1, 1_000_000),
    "num_workers": (0, 256),
    "seed": (0, 2**63 - 1),  # the largest that every generator takes
}
MAX_BATCH_FRAMES = 1 << 20  # per rank and forward pass: three hours of audio, 0.7 GB


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    The defaults are those of the reference (https://github.com/yxlllc/RMVPE, train.py): Adam, 5e-4, times 0.98 every
    2000 steps, gradient norm clipped at 3. A *rank* is one device in training: a process of PyTorch, a local device of
    JAX.
    """

    model: ModelConfig = field(default_factory=ModelConfig.e2e0)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    data: str = "Hybrid"  # folder with train/ valid/ test/, or KIND:FOLDER, see rmvpe.data.readers.f0_corpora
    excerpt_frames: int = 128
    batch_size: int = 32  # excerpts per rank and forward pass
    grad_accumulation: int = 1  # forward passes per update
    iterations: int = 100  # updates
    loss: str = "bce"  # see rmvpe.training.losses
    optimizer: str = "adam"  # "adam", or "adamw": with `weight_decay`, decoupled
    weight_decay: float = 0.01  # of adamw; adam has none
    learning_rate: float = 5e-4
    schedule: str = "step"  # "step": times decay_rate every decay_steps; "cosine", "hold": see rmvpe.training.schedule
    decay_steps: int = 2000
    decay_rate: float = 0.98
    warmup_steps: int = 0
    clip_grad_norm: float = 3.0  # 0: no clipping
    ema_decay: float = 0.0  # 0: no averaged weights
    conv_dtype: str = "float32"  # or "bfloat16", "float16": lower precision for the convolutions only
    sdaa_conv_fp32: bool = False  # SDAA: float32 convolutions in float32, not in the card's default; see docs/sdaa.md
    sync_batch_norm: bool = False  # PyTorch: batch norm over all ranks, as always in JAX; see docs/devices.md
    validation_interval: int = 50  # updates between two validations and checkpoints
    validation_files: int = 8  # at most, evenly spaced in the split
    keep: int = 3  # newest training states kept, and that of the best validation
    num_workers: int = 0  # processes that prepare the data; 0: threads of this process
    seed: int = 0

    def __post_init__(self) -> None:
        check_ranges(self, TRAIN_RANGES)
        if self.batch_size * self.excerpt_frames > MAX_BATCH_FRAMES:
            raise ConfigError(
                f"batch_size {self.batch_size} x excerpt_frames {self.excerpt_frames} is more than "
                f"{MAX_BATCH_FRAMES:,} frames: use grad_accumulation for larger batches"
            )
        if self.excerpt_frames % self.model.time_multiple:
            raise ConfigError(f"excerpt_frames {self.excerpt_frames} must be a multiple of {self.model.time_multiple}")
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(f"unknown {name} {getattr(self, name)!r}: choose one of {', '.join(allowed)}")
