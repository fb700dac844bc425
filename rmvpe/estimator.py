"""Audio to f0: windows over the spectrogram, a backend's salience, stitching, decoding. Long audio lives here only.

The U-Net reads windows of `WINDOW_FRAMES` frames that overlap by `OVERLAP_FRAMES`, and what it makes of them is
cross-faded in the middle of the overlap (`rmvpe.framing`). The GRU's memory is carried over the windows
(`rmvpe.chunked_gru`), so that the answer is that of the whole recording; a network that cannot be run in parts, as a
trainer's, has the salience of its windows cross-faded instead. Audio is held once, as 16 kHz mono; spectrogram and
salience exist for one window at a time, and what the GRU reads for at most 18 minutes. Only Viterbi keeps the salience
of the whole file: its path depends on every later frame. With `high_register` all of it happens twice, the second time
an octave lower, and the two are joined frame by frame. Voicing is decided once, from one confidence and one level per
frame of the whole file (`Estimator.pitch_curve`, which evaluation uses too).
"""

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rmvpe import audio as audio_files
from rmvpe import high_register, mel
from rmvpe.audio import SAMPLE_RATE_HZ, Recording
from rmvpe.backends import Backend, RecurrentNetwork, backend_class, choose_backend
from rmvpe.calibration import calibrated
from rmvpe.checkpoint.store import Checkpoint
from rmvpe.checkpoint.store import load as load_checkpoint
from rmvpe.chunked_gru import salience_of_features
from rmvpe.config import DecodeConfig, ModelConfig
from rmvpe.decode import PitchCurve, pitch, pitch_in_blocks
from rmvpe.errors import UserError
from rmvpe.framing import (
    PadPlan,
    Window,
    frame_levels_db,
    frame_times,
    frames_at_hop,
    plan_padding,
    plan_windows,
    samples_of_frames,
    samples_to_frames,
    stitch,
)
from rmvpe.high_register import Pitches
from rmvpe.track import F0Track, check_hop

DEFAULT_WEIGHTS = "small"
FRONT_ENDS = ("host", "device")
# With an overlap of four seconds the U-Net's answer is that of the whole file: of 64 s of singing no voiced frame moved
# by more than 0.2 cents and salience by at most 3e-3 (1e-2 with 256 frames). On CPUs the speed is the same from 1024
# frames on.
WINDOW_FRAMES = 3072
OVERLAP_FRAMES = 384
Progress = Callable[[float], None]  # is told the share of a file that is done, 0 to 1


def load(
    weights: str | os.PathLike[str] | Checkpoint = DEFAULT_WEIGHTS,
    backend: str = "auto",
    device: str = "auto",
    *,
    config: DecodeConfig | None = None,
    conv_dtype: str = "float32",
    front_end: str = "host",
) -> "Estimator":
    """An estimator from bundled weights ("small"), a checkpoint file, or a `Checkpoint`.

    backend: "torch", "jax", or "auto" for the one that is installed (torch first). device: "auto", or a name that the
    backend knows. config: how to decode; by default `DecodeConfig()` with the weights' own threshold and
    calibration.
    conv_dtype: "float32", or "bfloat16" or "float16" for the convolutions alone. front_end: where the spectrogram is
    computed; "host" gives both backends bit-identical input.
    Raises UserError for weights, a backend or a device that are not there, ConfigError for an unknown setting.
    """
    if front_end not in FRONT_ENDS:
        raise UserError(f"unknown front end {front_end!r}: choose {' or '.join(FRONT_ENDS)}")
    name = choose_backend(backend)
    checkpoint = weights if isinstance(weights, Checkpoint) else load_checkpoint(weights)
    network = backend_class(name)(checkpoint, device=device, conv_dtype=conv_dtype)
    return Estimator(network, checkpoint.config, config or default_config(checkpoint), front_end=front_end)


def default_config(checkpoint: Checkpoint) -> DecodeConfig:
    """Decoding as the weights recommend: their metadata's voicing threshold and calibration, else `DecodeConfig`'s."""
    plain, threshold = DecodeConfig(), checkpoint.threshold
    return replace(
        plain,
        threshold=plain.threshold if threshold is None else threshold,
        calibration=checkpoint.calibration or plain.calibration,
    )


def share_of(progress: Progress | None, start: float, stop: float) -> Progress | None:
    """Tells `progress` of a part of the work, which goes from the share `start` to the share `stop` of the whole."""
    return None if progress is None else lambda share: progress(start + share * (stop - start))


class Estimator:
    """Pitch of whole recordings through one network. `config` holds the decode settings a call can override."""

    def __init__(
        self,
        backend: Backend,
        model: ModelConfig,
        config: DecodeConfig | None = None,
        *,
        front_end: str = "host",
        window_frames: int = WINDOW_FRAMES,
        overlap_frames: int = OVERLAP_FRAMES,
    ):
        if model.mel.sample_rate != SAMPLE_RATE_HZ:
            raise UserError(f"a network for {model.mel.sample_rate} Hz is not supported: only {SAMPLE_RATE_HZ} Hz is")
        self.backend = backend
        self.model = model
        self.config = config or DecodeConfig()
        self.front_end = front_end
        self.window_frames = window_frames
        self.overlap_frames = overlap_frames
        self._key_shift_semitones = 0.0  # of what the network is shown

    def __repr__(self) -> str:
        return f"Estimator({self.model.name}, {self.backend.name} on {self.backend.device}, {self.config})"

    def from_file(
        self,
        path: str | os.PathLike[str],
        *,
        hop_s: float | None = None,
        progress: Progress | None = None,
        **decoding: Any,
    ) -> F0Track:
        """The f0 of a sound file. Arguments as for `from_audio`; raises UserError as it and `rmvpe.audio.read` do."""
        config = self._config(hop_s, decoding)
        return self._track(audio_files.read(path), config, hop_s, progress)

    def from_recording(
        self, recording: Recording, *, hop_s: float | None = None, progress: Progress | None = None, **decoding: Any
    ) -> F0Track:
        """The f0 of a `Recording`, for callers who need the samples besides. Arguments as for `from_audio`."""
        return self._track(recording, self._config(hop_s, decoding), hop_s, progress)

    def from_audio(
        self,
        audio: Any,
        sample_rate: float,
        *,
        hop_s: float | None = None,
        progress: Progress | None = None,
        **decoding: Any,
    ) -> F0Track:
        """The f0 of audio [samples] or [samples, channels] at `sample_rate` Hz; see `rmvpe.audio.from_array`.

        hop_s: seconds between the answer's frames, by default the network's own (10 ms); the count is
        floor(duration / hop) + 1, none for no samples. progress: called with the share done. decoding: fields of
        `DecodeConfig` to override in this call. Raises UserError for unusable audio, ConfigError for a bad setting.
        """
        config = self._config(hop_s, decoding)
        return self._track(audio_files.from_array(audio, sample_rate), config, hop_s, progress)

    def from_files(
        self, paths: Iterable[str | os.PathLike[str]], *, hop_s: float | None = None, **decoding: Any
    ) -> Iterator[tuple[Path, F0Track | UserError]]:
        """Each path with its track, or with the UserError that tells why there is none; one bad file stops nothing."""
        for path in map(Path, paths):
            try:
                yield path, self.from_file(path, hop_s=hop_s, **decoding)
            except UserError as error:
                yield path, error

    def pitch_curve(
        self, audio: np.ndarray, config: DecodeConfig | None = None, progress: Progress | None = None
    ) -> PitchCurve:
        """A pitch for every frame of 16 kHz mono audio [n], voiced or not, and what its voicing is decided from.

        `config`: by default the estimator's own. `pitch_curve(audio).voiced(estimator.config)` is the voicing of
        `from_audio`, whose f0 is this one where it is voiced. Frame k is at k hops.
        """
        config = config or self.config
        find = self._pitch_twice if high_register.is_wanted(config) else self._pitch
        pitches = find(audio, replace(config, high_register=False), progress)
        return PitchCurve(*pitches, frame_levels_db(audio, self.model.mel))

    def salience(self, audio: np.ndarray, pad: str | None = None, progress: Progress | None = None) -> np.ndarray:
        """Salience float32 [frames, 360] of 16 kHz mono audio [n]; frame k is at k hops. `pad` as in `DecodeConfig`.

        It is that of a single pass, whatever `high_register` of the settings: what its second pass finds is not in it.
        """
        n_frames = samples_to_frames(len(audio), self.model.mel.hop_samples)
        whole = np.empty((n_frames, self.model.n_bins), dtype=np.float32)
        done = 0
        for block in self.iter_salience(audio, pad, progress):
            whole[done : done + len(block)] = block
            done += len(block)
        return whole

    def iter_salience(
        self, audio: np.ndarray, pad: str | None = None, progress: Progress | None = None
    ) -> Iterator[np.ndarray]:
        """The rows of `salience` in consecutive blocks [k, 360] of at most half a minute each, whatever the length."""
        if not len(audio):
            return
        audio = np.asarray(audio, dtype=np.float32)
        plan = plan_padding(len(audio), self.model.mel, self.model.time_multiple, pad or self.config.pad)
        windows = plan_windows(plan.padded_frames, self.window_frames, self.overlap_frames, self.model.time_multiple)
        heard = done = 0

        def outputs(run: Callable[[np.ndarray], np.ndarray]) -> Iterator[np.ndarray]:
            nonlocal heard
            for output in self._outputs(audio, plan, windows, run):
                heard += 1
                tell()
                yield output

        def tell() -> None:
            if progress is not None:
                progress((heard / len(windows) + done / plan.n_frames) / 2)

        if len(windows) > 1 and isinstance(self.backend, RecurrentNetwork):
            blocks = salience_of_features(self.backend, stitch(windows, outputs(self.backend.features)))
        else:
            blocks = stitch(windows, outputs(self.backend.salience))
        for block in blocks:
            block = block[: plan.n_frames - done]  # the rest answers frames of padding
            if not np.isfinite(block).all():
                raise UserError("the network's answer is not finite: use conv_dtype float32, or other weights")
            done += len(block)
            if len(block):
                yield block
            tell()

    def _config(self, hop_s: float | None, decoding: dict[str, Any]) -> DecodeConfig:
        """This call's settings; mistakes come to light here, before any work."""
        if hop_s is not None:
            check_hop(hop_s)
        return replace(self.config, **decoding)

    def _track(
        self, recording: Recording, config: DecodeConfig, hop_s: float | None, progress: Progress | None
    ) -> F0Track:
        curve = self.pitch_curve(recording.samples, config, progress)
        voiced = curve.voiced(config)
        f0_hz = np.where(voiced, curve.f0_hz, 0.0)
        track = F0Track(frame_times(len(f0_hz), self.model.mel), f0_hz, voiced, curve.confidence)
        if hop_s is None:
            return track
        return track.resampled(hop_s, frames_at_hop(recording.duration_s, hop_s) if len(track) else 0)

    def _pitch_twice(self, audio: np.ndarray, config: DecodeConfig, progress: Progress | None) -> Pitches:
        """As `_pitch`, from two passes: of this estimator, and of one to which everything sounds an octave lower."""
        lower = copy.copy(self)
        lower._key_shift_semitones = high_register.KEY_SHIFT_SEMITONES
        first = self._pitch(audio, high_register.first_pass(config), share_of(progress, 0.0, 0.5))
        second = lower._pitch(audio, high_register.second_pass(config), share_of(progress, 0.5, 1.0))
        f0_hz, salience = high_register.join(first, second)
        return f0_hz, calibrated(salience, config.calibration)

    def _pitch(self, audio: np.ndarray, config: DecodeConfig, progress: Progress | None) -> Pitches:
        """f0 in Hz and confidence of one pass, each [frames]."""
        if config.decoder == "viterbi":
            return pitch(self.salience(audio, config.pad, progress), config)
        return pitch_in_blocks(self.iter_salience(audio, config.pad, progress), config)

    def _outputs(
        self, audio: np.ndarray, plan: PadPlan, windows: Sequence[Window], run: Callable[[np.ndarray], np.ndarray]
    ) -> Iterator[np.ndarray]:
        """What the network's `run` makes of each window in turn: [window frames, ...]."""
        at_once = max(1, self.backend.batch_windows)
        for start in range(0, len(windows), at_once):
            yield from run(
                np.stack([self._window_mel(audio, plan, window) for window in windows[start : start + at_once]])
            )

    def _window_mel(self, audio: np.ndarray, plan: PadPlan, window: Window) -> np.ndarray:
        """Log-mel [window frames, n_mels] of a window of the padded spectrogram: the same numbers as in the whole."""
        source = plan.frame_source[window.start : window.stop]
        first, stop = int(source[source >= 0].min()), int(source.max()) + 1
        config, key_shift = self.model.mel, self._key_shift_semitones
        analysed = replace(config, window_samples=mel.shifted_window(config, key_shift))  # still around sample k * hop
        samples = samples_of_frames(audio, plan.zeros_right, first, stop, analysed)
        if self.front_end == "host":
            log_mel = mel.log_mel(samples, config, key_shift_semitones=key_shift, centred=False)
        else:
            log_mel = self.backend.log_mel(samples[None], key_shift_semitones=key_shift)[0]
        shown = log_mel[np.maximum(source - first, 0)]
        shown[source < 0] = 0.0
        return shown
