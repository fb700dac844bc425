"""Audio to f0: the network's salience (`rmvpe.salience`), decoded (`rmvpe.decode`), as a track.

Audio is held once, as 16 kHz mono; everything else passes by in blocks. With `high_register` the network reads it
twice, the second time an octave lower, and the two are joined frame by frame. Voicing is decided once, from one
confidence and one level per frame of the whole file (`Estimator.pitch_curve`, which evaluation uses too).

An estimator may be called by several threads, pickled, and used in forked processes: see `rmvpe.turns`.
"""

import dataclasses
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rmvpe import audio as audio_files
from rmvpe import high_register, timing
from rmvpe.arguments import right_names
from rmvpe.arrays import rows_of
from rmvpe.audio import SAMPLE_RATE_HZ, Recording
from rmvpe.backends import Backend, choose_backend, device_name
from rmvpe.calibration import calibrated
from rmvpe.checkpoint.store import Checkpoint, opened
from rmvpe.chunked_gru import BLOCK_FRAMES
from rmvpe.config import USUAL, DecodeConfig, ModelConfig
from rmvpe.config_check import ConfigError
from rmvpe.decode import PitchCurve, pitch_in_blocks
from rmvpe.errors import UserError
from rmvpe.estimator_workers import batch_in_workers, in_workers, worker_count
from rmvpe.framing import frame_levels_db, frame_times, frames_at_hop, samples_to_frames
from rmvpe.high_register import Pitches
from rmvpe.pitch import N_BINS
from rmvpe.processes import checked_threads, jax_threads
from rmvpe.remote import open_backend
from rmvpe.salience import OVERLAP_FRAMES, WINDOW_FRAMES, Blocks, Progress, SalienceReader, part_of
from rmvpe.sound import channels
from rmvpe.sound.mono import Channel
from rmvpe.sound.reading import Source
from rmvpe.track import F0Track, check_hop

DEFAULT_WEIGHTS = "small"
FRONT_ENDS = ("host", "device")
DECODING = tuple(field.name for field in dataclasses.fields(DecodeConfig))
LOG = logging.getLogger("rmvpe")


@right_names(decoding=DECODING)
def load(
    weights: str | os.PathLike[str] | Checkpoint = DEFAULT_WEIGHTS,
    backend: str = "auto",
    device: Any = "auto",
    *,
    config: DecodeConfig | None = None,
    conv_dtype: str = "float32",
    front_end: str = "host",
    threads: int | None = None,
) -> "Estimator":
    """An estimator from weights with a name ("small", "rvc", "hf:OWNER/REPO"), a checkpoint file, or a `Checkpoint`.

    Names and files: `rmvpe.checkpoint.store.load`.

    backend: "torch", "jax", "onnx", or "auto": torch where it has an accelerator, else the first that is installed of
    ONNX Runtime, torch and JAX; an explicit device chooses a backend that has it. device: "auto", a name such as "cpu",
    "gpu", "cuda:1", "dml" or "mps", a `torch.device`, a device of JAX, or the number of a GPU. config: how to decode; a
    threshold or calibration of None in it, the default, is the weights' own. conv_dtype: "float32", or "bfloat16" or
    "float16" for the convolutions alone. front_end: where the spectrogram is computed; "host" gives all backends
    bit-identical input. threads: of the CPU, by default OMP_NUM_THREADS, else the physical cores that this process may
    use; torch's own number in your program stays as it is, and JAX has one for each CPU of its process, or NPROC. What
    was loaded is logged (`logging.getLogger("rmvpe")`, INFO). Raises UserError for weights, a backend, a device or
    threads that are not to be had, ConfigError for an unknown setting.
    """
    if front_end not in FRONT_ENDS:
        raise UserError(f"unknown front end {front_end!r}: choose {' or '.join(FRONT_ENDS)}")
    check_config(config)
    name = choose_backend(backend, device, conv_dtype)
    options: dict[str, Any] = {"device": device_name(device), "conv_dtype": conv_dtype}
    if threads is not None:
        options |= thread_options(threads, name)
    with nullcontext(weights) if isinstance(weights, Checkpoint) else opened(weights) as checkpoint:
        recommended = default_config(checkpoint)
        decoding = (config or DecodeConfig()).resolved(recommended)  # a mistake is found before the network is built
        network = open_backend(name, checkpoint, options)
    if threads is not None and network.threads is None:
        raise UserError(f"threads is a number for the CPU, and {network.device} computes: leave it out, or choose cpu")
    source = f"a Checkpoint of {checkpoint.config.name}" if isinstance(weights, Checkpoint) else weights
    on_cpu = f", {network.threads} threads" if network.threads else ""
    LOG.info("weights %s, %s on %s%s, convolutions in %s", source, name, network.device, on_cpu, conv_dtype)
    return Estimator(network, checkpoint.config, decoding, recommended=recommended, front_end=front_end)


def check_supported(model: ModelConfig) -> None:
    """Raise UserError for a network of another sample rate, or whose salience has other bins."""
    if model.mel.sample_rate != SAMPLE_RATE_HZ:
        raise UserError(f"a network for {model.mel.sample_rate} Hz is not supported: only {SAMPLE_RATE_HZ} Hz is")
    if model.n_bins != N_BINS:
        raise UserError(f"a network of {model.n_bins} salience bins is not supported: only {N_BINS} are")


def thread_options(threads: int, backend: str) -> dict[str, int]:
    """What to give a backend for its number of threads. Raises UserError if it cannot have that many."""
    number = checked_threads(threads)
    if backend != "jax":
        return {"threads": number}
    if number != jax_threads():
        raise UserError(
            f"JAX takes no threads={number}: it has {jax_threads()}, as many as this process has CPUs, or NPROC; set "
            f"NPROC={number} before your program starts, or choose the backend onnx or torch"
        )
    return {}


def default_config(checkpoint: Checkpoint) -> DecodeConfig:
    """Decoding as the weights recommend: the voicing threshold and calibration in their metadata, else the defaults."""
    return DecodeConfig(threshold=checkpoint.threshold, calibration=checkpoint.calibration).resolved(USUAL)


class Estimator:
    """Pitch of whole recordings through one network. Immutable: `with_config` gives one with other settings.

    `backend`: the network on its device. `model`: the network's config. `config`: the decode settings, which each call
    can override; a threshold or calibration of None is that of `recommended`, what the weights recommend, here and in
    each call. `window_frames`, `overlap_frames`: of the U-Net's windows; `block_frames`: of the GRU's steps through
    the recording; they bound memory and do not change the result.

    Several threads may call one estimator: they take turns at the network, and each gets the bits that it gets alone.
    An estimator pickles, with its weights; it also works in forked and spawned processes.
    """

    def __init__(
        self,
        backend: Backend,
        model: ModelConfig,
        config: DecodeConfig | None = None,
        *,
        recommended: DecodeConfig = USUAL,
        front_end: str = "host",
        window_frames: int = WINDOW_FRAMES,
        overlap_frames: int = OVERLAP_FRAMES,
        block_frames: int = BLOCK_FRAMES,
    ):
        check_supported(model)
        check_config(config)
        self._reader = SalienceReader(backend, model, front_end, window_frames, overlap_frames, block_frames)
        self._recommended = recommended.resolved(USUAL)
        self._config = (config or DecodeConfig()).resolved(self._recommended)

    @property
    def backend(self) -> Backend:
        """The network on its device."""
        return self._reader.backend

    @property
    def model(self) -> ModelConfig:
        """The network's config."""
        return self._reader.model

    @property
    def config(self) -> DecodeConfig:
        """How salience is decoded, unless a call says otherwise; threshold and calibration are never None."""
        return self._config

    def __repr__(self) -> str:
        return f"Estimator({self.model.name}, {self.backend.name} on {self.backend.device}, {self.config})"

    @right_names(also=DECODING)
    def with_config(self, **decoding: Any) -> "Estimator":
        """An estimator with the same network and other decode settings, given as fields of `DecodeConfig`.

        Nothing is loaded or copied. threshold=None returns to the weights' own, and so for the calibration. Raises
        ConfigError for a setting out of range, UserError, which is a TypeError too, for an unknown one.
        """
        reader = self._reader
        return Estimator(
            reader.backend,
            reader.model,
            replace(self.config, **decoding),
            recommended=self._recommended,
            front_end=reader.front_end,
            window_frames=reader.window_frames,
            overlap_frames=reader.overlap_frames,
            block_frames=reader.block_frames,
        )

    @right_names(also=DECODING)
    def from_file(
        self,
        path: Source,
        *,
        channel: Channel = "auto",
        track: int | None = None,
        hop_s: float | None = None,
        progress: Progress | None = None,
        **decoding: Any,
    ) -> F0Track:
        """The f0 of a sound file: of a path, the bytes of a file, or a binary stream.

        channel, track: see `rmvpe.audio.read`. The other arguments are those of `from_audio`; raises UserError as it
        and `rmvpe.audio.read` do. What the file lacks is logged as a warning, and what was decided about it as
        information (`logging.getLogger("rmvpe")`).
        """
        config = self._call_config(hop_s, decoding)
        recording = audio_files.read(path, channel=channel, track=track)
        return self._track(_logged(recording), config, hop_s, progress)

    @right_names(also=DECODING)
    def from_recording(
        self, recording: Recording, *, hop_s: float | None = None, progress: Progress | None = None, **decoding: Any
    ) -> F0Track:
        """The f0 of a `Recording`, for callers who need the samples besides. Arguments as for `from_audio`."""
        return self._track(recording, self._call_config(hop_s, decoding), hop_s, progress)

    @right_names(also=DECODING)
    def from_audio(
        self,
        audio: Any,
        sample_rate: float,
        *,
        channel: Channel = "auto",
        hop_s: float | None = None,
        progress: Progress | None = None,
        **decoding: Any,
    ) -> F0Track:
        """The f0 of audio [samples] or [samples, channels] at `sample_rate` Hz; see `rmvpe.audio.from_array`.

        channel: as there. hop_s: seconds between frames, by default the network's own (10 ms); the number of frames is
        floor(duration / hop) + 1, none for no samples. progress: called with the share done. decoding: fields of
        `DecodeConfig` to override in this call. Raises UserError for unusable audio, ConfigError for a bad setting.
        """
        config = self._call_config(hop_s, decoding)
        recording = audio_files.from_array(audio, sample_rate, channel=channel)
        return self._track(_logged(recording), config, hop_s, progress)

    @right_names(also=DECODING)
    def from_batch(
        self,
        audio: Any,
        sample_rate: float,
        lengths: Iterable[int] | None = None,
        *,
        hop_s: float | None = None,
        progress: Progress | None = None,
        jobs: int | str = 1,
        **decoding: Any,
    ) -> list[F0Track]:
        """The f0 of each row of audio [batch, samples], or of each of several arrays [samples].

        lengths: how many samples of each row are sound, for padded batches. Each track is that of `from_audio` of the
        row: to the bit on a CPU, while an accelerator computes several at once and rounds differently. jobs: as for
        `from_files`. The other arguments are those of `from_audio`. Raises UserError as it does, or if the shapes do
        not fit.
        """
        config = self._call_config(hop_s, decoding)
        rows = rows_of(audio, lengths)
        if (count := worker_count(jobs, rows, self._on_cpu)) > 1:
            arguments = {"sample_rate": sample_rate, "hop_s": hop_s, **decoding}
            return batch_in_workers(self.from_audio, arguments, rows, count, progress)
        recordings = [_logged(audio_files.from_array(row, sample_rate)) for row in rows]
        samples = [recording.samples for recording in recordings]
        tracks: dict[int, F0Track] = {}
        for group in self._reader.groups(samples):
            group_blocks = self._reader.blocks_of([samples[number] for number in group])
            for number, blocks in zip(group, group_blocks):
                part = part_of(progress, len(tracks) / len(samples), (len(tracks) + 1) / len(samples))
                tracks[number] = self._track(recordings[number], config, hop_s, part, blocks)
        return [tracks[number] for number in range(len(samples))]

    @right_names(also=DECODING)
    def from_files(
        self,
        paths: Iterable[str | os.PathLike[str]],
        *,
        channel: Channel = "auto",
        track: int | None = None,
        hop_s: float | None = None,
        jobs: int | str = 1,
        **decoding: Any,
    ) -> Iterator[tuple[Path, F0Track | UserError]]:
        """Each path with its track, or with the UserError that says why there is none; one bad file stops nothing.

        jobs: how many files at once, each in a process of its own with its share of the cores; "auto" for one on each
        core. The order of the paths and the tracks stay the same, and at most a few tracks wait for their turn; the
        processes end with the iterator. Other arguments as for `from_file`. A bad setting is raised at once.
        """
        self._call_config(hop_s, decoding)
        channels.checked(channel)
        if isinstance(paths, (str, os.PathLike)):
            raise UserError(f"from_files takes a list of paths, not one: use from_file({str(paths)!r})")
        arguments = {"channel": channel, "track": track, "hop_s": hop_s, **decoding}
        return self._each(paths, arguments, worker_count(jobs, paths, self._on_cpu))

    def _each(
        self, paths: Iterable[str | os.PathLike[str]], arguments: dict[str, Any], count: int
    ) -> Iterator[tuple[Path, F0Track | UserError]]:
        if count > 1:
            for path, track, error in in_workers(self.from_file, arguments, map(Path, paths), count):
                if error is not None and not isinstance(error, UserError):
                    raise error
                yield path, track if error is None else error
            return
        for path in map(Path, paths):
            try:
                yield path, self.from_file(path, **arguments)
            except UserError as error:
                yield path, error

    @right_names(decoding=DECODING)
    def pitch_curve(
        self,
        audio: Any,
        sample_rate: float,
        *,
        config: DecodeConfig | None = None,
        progress: Progress | None = None,
    ) -> PitchCurve:
        """A pitch for every frame of `audio`, as in `from_audio`, voiced or not, and what its voicing is decided from.

        `config`: by default the estimator's own. `pitch_curve(audio, rate).voiced(estimator.config)` is the voicing of
        `from_audio`, whose f0 is this one where it is voiced. Frame k is at k hops. Raises UserError as `from_audio`.
        """
        check_config(config)
        config = self.config if config is None else config.resolved(self._recommended)
        return self._curve(audio_files.from_array(audio, sample_rate).samples, config, progress)

    @right_names(decoding=DECODING)
    def salience(
        self, audio: Any, sample_rate: float, *, pad: str | None = None, progress: Progress | None = None
    ) -> np.ndarray:
        """Salience float32 [frames, 360] of `audio`, as in `from_audio`; frame k is at k hops.

        `pad` as in `DecodeConfig`. It is that of a single pass, whatever `high_register` of the settings: what a second
        pass finds is not in it. Raises UserError as `from_audio`.
        """
        samples, pad = self._checked(audio, sample_rate, pad)
        n_frames = samples_to_frames(len(samples), self.model.mel.hop_samples)
        whole = np.empty((n_frames, self.model.n_bins), dtype=np.float32)
        done = 0
        for block in self._reader.blocks(samples, pad, progress):
            whole[done : done + len(block)] = block
            done += len(block)
        return whole

    @right_names(decoding=DECODING)
    def iter_salience(
        self, audio: Any, sample_rate: float, *, pad: str | None = None, progress: Progress | None = None
    ) -> Iterator[np.ndarray]:
        """The rows of `salience` in consecutive blocks [k, 360] of at most half a minute each, whatever the length."""
        return self._reader.blocks(*self._checked(audio, sample_rate, pad), progress)

    @property
    def _on_cpu(self) -> bool:
        return self.backend.threads is not None

    def _checked(self, audio: Any, sample_rate: float, pad: str | None) -> tuple[np.ndarray, str]:
        """16 kHz mono samples and the padding."""
        padding = replace(self.config, pad=pad).pad if pad is not None else self.config.pad
        return audio_files.from_array(audio, sample_rate).samples, padding

    def _call_config(self, hop_s: float | None, decoding: dict[str, Any]) -> DecodeConfig:
        """The settings of one call; mistakes are found here, before any work."""
        if hop_s is not None:
            check_hop(hop_s)
        return replace(self.config, **decoding).resolved(self._recommended)

    def _track(
        self,
        recording: Recording,
        config: DecodeConfig,
        hop_s: float | None,
        progress: Progress | None,
        blocks: Blocks | None = None,
    ) -> F0Track:
        """The track of a recording; `blocks` gives its salience, if it has been computed with that of others."""
        with timing.span(timing.DECODING):
            curve = self._curve(recording.samples, config, progress, blocks)
            voiced = curve.voiced(config)
        f0_hz = np.where(voiced, curve.f0_hz, 0.0)
        track = F0Track(frame_times(len(f0_hz), self.model.mel), f0_hz, voiced, curve.confidence)
        if hop_s is None:
            return track
        return track.resampled(hop_s, frames_at_hop(recording.duration_s, hop_s) if len(track) else 0)

    def _curve(
        self, samples: np.ndarray, config: DecodeConfig, progress: Progress | None, blocks: Blocks | None = None
    ) -> PitchCurve:
        """The pitch of 16 kHz mono samples [n]."""
        find = _pitch_twice if high_register.is_wanted(config) else _pitch
        pitches = find(blocks or partial(self._reader.blocks, samples), replace(config, high_register=False), progress)
        return PitchCurve(*pitches, frame_levels_db(samples, self.model.mel))


def _pitch_twice(blocks: Blocks, config: DecodeConfig, progress: Progress | None) -> Pitches:
    """As `_pitch`, from two passes; in the second the network reads everything an octave lower."""
    first = _pitch(blocks, high_register.first_pass(config), part_of(progress, 0.0, 0.5))
    lower = high_register.KEY_SHIFT_SEMITONES
    second = _pitch(blocks, high_register.second_pass(config), part_of(progress, 0.5, 1.0), lower)
    f0_hz, salience = high_register.join(first, second)
    return f0_hz, calibrated(salience, config.known_calibration)


def _pitch(
    blocks: Blocks, config: DecodeConfig, progress: Progress | None, key_shift_semitones: float = 0.0
) -> Pitches:
    """f0 in Hz and confidence of one pass, each [frames]."""
    return pitch_in_blocks(blocks(config.pad, progress, key_shift_semitones), config)


def check_config(config: object) -> None:
    """Raise ConfigError unless `config` is a DecodeConfig or None."""
    if config is not None and not isinstance(config, DecodeConfig):
        raise ConfigError(f"config must be a rmvpe.DecodeConfig, not {type(config).__name__}")


def _logged(recording: Recording) -> Recording:
    """The recording, after its warnings and notes have gone to the log."""
    for text in recording.warnings:
        LOG.warning("%s", text)
    for text in recording.notes:
        LOG.info("%s", text)
    return recording
