"""Audio to f0: windows over the spectrogram, a backend's network, stitching, decoding. Long audio lives here only.

The U-Net reads windows of `WINDOW_FRAMES` frames that overlap by `OVERLAP_FRAMES`; its outputs are cross-faded in the
middle of the overlap (`rmvpe.framing`). The GRU runs through the whole recording (`rmvpe.chunked_gru`), so that the
result is that of the whole recording. Audio is held once, as 16 kHz mono; spectrogram and salience exist for one window
at a time, and the input of the GRU for at most 18 minutes. Only Viterbi keeps the salience of the whole file: its path
depends on every later frame. With `high_register` all of it happens twice, the second time an octave lower, and the two
are joined frame by frame. Voicing is decided once, from one confidence and one level per frame of the whole file
(`Estimator.pitch_curve`, which evaluation uses too).
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rmvpe import audio as audio_files
from rmvpe import high_register, mel
from rmvpe.audio import SAMPLE_RATE_HZ, Recording
from rmvpe.backends import Backend, backend_class, choose_backend
from rmvpe.calibration import calibrated
from rmvpe.checkpoint.store import Checkpoint
from rmvpe.checkpoint.store import load as load_checkpoint
from rmvpe.chunked_gru import BLOCK_FRAMES, salience_of_features
from rmvpe.config import DecodeConfig, ModelConfig
from rmvpe.decode import WHOLE_RECORDING, PitchCurve, pitch, pitch_in_blocks
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
from rmvpe.pitch import N_BINS
from rmvpe.track import F0Track, check_hop

DEFAULT_WEIGHTS = "small"
FRONT_ENDS = ("host", "device")
# With an overlap of four seconds the U-Net's output is that of the whole file: in 64 s of singing no voiced frame moved
# by more than 0.2 cents and salience by at most 3e-3 (1e-2 with 256 frames). On CPUs the speed is the same from 1024
# frames on.
WINDOW_FRAMES = 3072
OVERLAP_FRAMES = 384
Progress = Callable[[float], None]  # is called with the share of a file that is done, 0 to 1


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
    backend knows. config: how to decode; by default `DecodeConfig()` with the weights' own threshold and calibration.
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


class Estimator:
    """Pitch of whole recordings through one network. Immutable: `with_config` gives one with other settings.

    `backend`: the network on its device. `model`: the network's config. `config`: the decode settings, which each call
    can override. `window_frames`, `overlap_frames`: of the U-Net's windows; `block_frames`: of the GRU's steps through
    the recording; they bound memory and do not change the result.
    """

    def __init__(
        self,
        backend: Backend,
        model: ModelConfig,
        config: DecodeConfig | None = None,
        *,
        front_end: str = "host",
        window_frames: int = WINDOW_FRAMES,
        overlap_frames: int = OVERLAP_FRAMES,
        block_frames: int = BLOCK_FRAMES,
    ):
        if model.mel.sample_rate != SAMPLE_RATE_HZ:
            raise UserError(f"a network for {model.mel.sample_rate} Hz is not supported: only {SAMPLE_RATE_HZ} Hz is")
        if model.n_bins != N_BINS:
            raise UserError(f"a network of {model.n_bins} salience bins is not supported: only {N_BINS} are")
        self._backend = backend
        self._model = model
        self._config = config or DecodeConfig()
        self._front_end = front_end
        self._window_frames = window_frames
        self._overlap_frames = overlap_frames
        self._block_frames = block_frames

    @property
    def backend(self) -> Backend:
        """The network on its device."""
        return self._backend

    @property
    def model(self) -> ModelConfig:
        """The network's config."""
        return self._model

    @property
    def config(self) -> DecodeConfig:
        """How salience is decoded, unless a call says otherwise."""
        return self._config

    def __repr__(self) -> str:
        return f"Estimator({self.model.name}, {self.backend.name} on {self.backend.device}, {self.config})"

    def with_config(self, **decoding: Any) -> "Estimator":
        """An estimator with the same network and other decode settings, given as fields of `DecodeConfig`.

        Nothing is loaded or copied. Raises ConfigError for a setting out of range, TypeError for an unknown one.
        """
        return Estimator(
            self.backend,
            self.model,
            replace(self.config, **decoding),
            front_end=self._front_end,
            window_frames=self._window_frames,
            overlap_frames=self._overlap_frames,
            block_frames=self._block_frames,
        )

    def from_file(
        self,
        path: str | os.PathLike[str],
        *,
        hop_s: float | None = None,
        progress: Progress | None = None,
        **decoding: Any,
    ) -> F0Track:
        """The f0 of a sound file. Arguments as for `from_audio`; raises UserError as it and `rmvpe.audio.read` do."""
        config = self._call_config(hop_s, decoding)
        return self._track(audio_files.read(path), config, hop_s, progress)

    def from_recording(
        self, recording: Recording, *, hop_s: float | None = None, progress: Progress | None = None, **decoding: Any
    ) -> F0Track:
        """The f0 of a `Recording`, for callers who need the samples besides. Arguments as for `from_audio`."""
        return self._track(recording, self._call_config(hop_s, decoding), hop_s, progress)

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

        hop_s: seconds between frames, by default the network's own (10 ms); the number of frames is
        floor(duration / hop) + 1, none for no samples. progress: called with the share done. decoding: fields of
        `DecodeConfig` to override in this call. Raises UserError for unusable audio, ConfigError for a bad setting.
        """
        config = self._call_config(hop_s, decoding)
        return self._track(audio_files.from_array(audio, sample_rate), config, hop_s, progress)

    def from_files(
        self, paths: Iterable[str | os.PathLike[str]], *, hop_s: float | None = None, **decoding: Any
    ) -> Iterator[tuple[Path, F0Track | UserError]]:
        """Each path with its track, or with the UserError that says why there is none; one bad file stops nothing."""
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

        It is that of a single pass, whatever `high_register` of the settings: what a second pass finds is not in it.
        """
        return self._whole_salience(audio, pad or self.config.pad, progress, 0.0)

    def iter_salience(
        self, audio: np.ndarray, pad: str | None = None, progress: Progress | None = None
    ) -> Iterator[np.ndarray]:
        """The rows of `salience` in consecutive blocks [k, 360] of at most half a minute each, whatever the length."""
        return self._iter_salience(audio, pad or self.config.pad, progress, 0.0)

    def _call_config(self, hop_s: float | None, decoding: dict[str, Any]) -> DecodeConfig:
        """The settings of one call; mistakes are found here, before any work."""
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
        """As `_pitch`, from two passes; in the second the network reads everything an octave lower."""
        first = self._pitch(audio, high_register.first_pass(config), _part_of(progress, 0.0, 0.5))
        lower = high_register.KEY_SHIFT_SEMITONES
        second = self._pitch(audio, high_register.second_pass(config), _part_of(progress, 0.5, 1.0), lower)
        f0_hz, salience = high_register.join(first, second)
        return f0_hz, calibrated(salience, config.calibration)

    def _pitch(
        self, audio: np.ndarray, config: DecodeConfig, progress: Progress | None, key_shift_semitones: float = 0.0
    ) -> Pitches:
        """f0 in Hz and confidence of one pass, each [frames]."""
        if config.decoder in WHOLE_RECORDING:
            return pitch(self._whole_salience(audio, config.pad, progress, key_shift_semitones), config)
        return pitch_in_blocks(self._iter_salience(audio, config.pad, progress, key_shift_semitones), config)

    def _whole_salience(
        self, audio: np.ndarray, pad: str, progress: Progress | None, key_shift_semitones: float
    ) -> np.ndarray:
        """The blocks of `_iter_salience` in one array [frames, 360]."""
        n_frames = samples_to_frames(len(audio), self.model.mel.hop_samples)
        whole = np.empty((n_frames, self.model.n_bins), dtype=np.float32)
        done = 0
        for block in self._iter_salience(audio, pad, progress, key_shift_semitones):
            whole[done : done + len(block)] = block
            done += len(block)
        return whole

    def _iter_salience(
        self, audio: np.ndarray, pad: str, progress: Progress | None, key_shift_semitones: float
    ) -> Iterator[np.ndarray]:
        """Salience in consecutive blocks [k, 360]; the network reads the audio shifted by `key_shift_semitones`."""
        if not len(audio):
            return
        audio = np.asarray(audio, dtype=np.float32)
        plan = plan_padding(len(audio), self.model.mel, self.model.time_multiple, pad)
        windows = plan_windows(plan.padded_frames, self._window_frames, self._overlap_frames, self.model.time_multiple)
        windows_done = frames_done = 0

        def features() -> Iterator[np.ndarray]:
            nonlocal windows_done
            for output in self._window_features(audio, plan, windows, key_shift_semitones):
                windows_done += 1
                report()
                yield output

        def report() -> None:
            if progress is not None:
                progress((windows_done / len(windows) + frames_done / plan.n_frames) / 2)

        stitched = stitch(windows, features())
        for block in salience_of_features(self.backend, stitched, block_frames=self._block_frames):
            block = block[: plan.n_frames - frames_done]  # the rest belongs to frames of padding
            if not np.isfinite(block).all():
                raise UserError("the network's output is not finite: use conv_dtype float32, or other weights")
            frames_done += len(block)
            if len(block):
                yield block
            report()

    def _window_features(
        self, audio: np.ndarray, plan: PadPlan, windows: Sequence[Window], key_shift_semitones: float
    ) -> Iterator[np.ndarray]:
        """The U-Net's output for each window in turn: [window frames, features]."""
        at_once = max(1, self.backend.batch_windows)
        for start in range(0, len(windows), at_once):
            batch = windows[start : start + at_once]
            yield from self.backend.features(
                np.stack([self._window_mel(audio, plan, window, key_shift_semitones) for window in batch])
            )

    def _window_mel(self, audio: np.ndarray, plan: PadPlan, window: Window, key_shift_semitones: float) -> np.ndarray:
        """Log-mel [window frames, n_mels] of a window of the padded spectrogram: the same numbers as in the whole."""
        source = plan.frame_source[window.start : window.stop]
        first, stop = int(source[source >= 0].min()), int(source.max()) + 1
        config = self.model.mel
        # A key shift stretches the analysis window; frame k stays around sample k * hop
        analysed = replace(config, window_samples=mel.shifted_window(config, key_shift_semitones))
        samples = samples_of_frames(audio, plan.zeros_right, first, stop, analysed)
        if self._front_end == "host":
            log_mel = mel.log_mel(samples, config, key_shift_semitones=key_shift_semitones, centred=False)
        else:
            log_mel = self.backend.log_mel(samples[None], key_shift_semitones=key_shift_semitones)[0]
        shown = log_mel[np.maximum(source - first, 0)]
        shown[source < 0] = 0.0
        return shown


def _part_of(progress: Progress | None, start: float, stop: float) -> Progress | None:
    """Reports to `progress` a part of the work, which goes from the share `start` to the share `stop` of the whole."""
    return None if progress is None else lambda share: progress(start + share * (stop - start))
