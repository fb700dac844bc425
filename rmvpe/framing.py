"""Samples, frames and seconds; padding to the U-Net's stride; windows over long audio and how they are stitched.

Frames are centred: frame k is the spectrum around sample k * hop, at time k * hop / sample_rate, so audio of n samples
has n // hop + 1 frames. The network wants a multiple of 32 frames; projects that share the published weights fill the
missing frames in three ways (`silence`, `reflect`, `zero`, see `PadPlan`). Long audio runs in overlapping windows whose
starts are multiples of 32 frames, so every window sees the pooling grid that the whole file would see.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rmvpe.config import MelConfig


def samples_to_frames(n_samples: int, hop_samples: int) -> int:
    """Number of centred frames of `n_samples` samples; none for no samples."""
    return n_samples // hop_samples + 1 if n_samples > 0 else 0


def frames_to_seconds(frames: np.ndarray | int, mel: MelConfig) -> np.ndarray:
    """Time in seconds of frame numbers."""
    return np.asarray(frames, dtype=np.float64) * mel.hop_samples / mel.sample_rate


def frames_at_hop(duration_s: float, hop_s: float) -> int:
    """Number of frames k with k * hop_s within `duration_s` > 0 seconds of audio, frame 0 included."""
    # The margin forgives the rounding of seconds: 512 k samples hold exactly k hops of 512 samples
    return int(duration_s / hop_s + 1e-6) + 1


def frame_times(n_frames: int, mel: MelConfig) -> np.ndarray:
    """Times in seconds [n_frames] of the first `n_frames` frames."""
    return frames_to_seconds(np.arange(n_frames), mel)


def round_up(value: int, multiple: int) -> int:
    """The smallest multiple of `multiple` that is at least `value`."""
    return -(-value // multiple) * multiple


@dataclass(frozen=True)
class PadPlan:
    """How audio of `n_samples` becomes `padded_frames` network frames, of which `n_frames` are answers.

    `frame_source` [padded_frames] names the spectrogram frame that each network frame shows; -1 is a frame of zeros.
    """

    n_samples: int
    n_frames: int
    padded_frames: int
    zeros_right: int  # samples of silence put after the audio before the spectrum is taken
    frame_source: np.ndarray


def plan_padding(n_samples: int, mel: MelConfig, multiple: int, mode: str) -> PadPlan:
    """Plan the right padding of `n_samples` > 0 samples to a multiple of `multiple` frames.

    `silence`: zeros after the audio, to (multiple * hop) n - hop samples (the author's advice; DiffSinger, RMVPE.cpp).
    `reflect`: the log-mel mirrored at its last frame (yxlllc); short audio is mirrored repeatedly instead of failing.
    `zero`: log-mel frames of 0.0 (RVC, so-vits-svc), which is *loud*: silence is ln(1e-5) = -11.5.
    """
    n_frames = samples_to_frames(n_samples, mel.hop_samples)
    padded = round_up(n_frames, multiple)
    if mode == "silence":
        # Audio may end up to hop - 1 samples after its last frame: those would open one more frame of their own
        # in the padded audio, so the target length is counted in samples, as the reference does.
        padded = round_up(n_samples + mel.hop_samples, multiple * mel.hop_samples) // mel.hop_samples
        zeros = padded * mel.hop_samples - mel.hop_samples - n_samples
        return PadPlan(n_samples, n_frames, padded, zeros, np.arange(padded))
    if mode == "reflect":
        source = np.pad(np.arange(n_frames), (0, padded - n_frames), mode="reflect" if n_frames > 1 else "edge")
    elif mode == "zero":
        source = np.pad(np.arange(n_frames), (0, padded - n_frames), constant_values=-1)
    else:
        raise ValueError(f"unknown padding {mode!r}: choose silence, reflect or zero")
    return PadPlan(n_samples, n_frames, padded, 0, source)


def reflect_pad(audio: np.ndarray, margin: int) -> np.ndarray:
    """Audio [n] with `margin` mirrored samples on both sides, as a centred STFT wants it; any n > 0."""
    return np.pad(audio, margin, mode="reflect" if len(audio) > 1 else "edge")


def samples_of_frames(audio: np.ndarray, zeros_right: int, first: int, stop: int, mel: MelConfig) -> np.ndarray:
    """The samples under frames [first, stop) of the centred STFT of `audio` [n > 0] followed by `zeros_right` zeros.

    An uncentred STFT of the result has exactly these frames: the same numbers as `reflect_pad` of everything would
    give, without ever making a copy of long audio.
    """
    n_samples, margin = len(audio) + zeros_right, mel.window_samples // 2
    index = np.arange(first * mel.hop_samples - margin, (stop - 1) * mel.hop_samples + margin)
    last = n_samples - 1
    index = np.abs((index + last) % max(2 * last, 1) - last)  # mirrored at both ends, as often as needed
    return np.where(index < len(audio), audio[np.minimum(index, len(audio) - 1)], np.float32(0.0))


@dataclass(frozen=True)
class Window:
    """Frames [start, stop) of the padded spectrogram that go through the network together."""

    start: int
    stop: int


def plan_windows(n_frames: int, window_frames: int, overlap_frames: int, multiple: int) -> list[Window]:
    """Cover `n_frames` (a multiple of `multiple`) with equal windows that overlap by at least `overlap_frames`.

    All but a single short window have exactly `window_frames` frames, so a compiling backend compiles once; the last
    one is moved back to end with the audio. `window_frames` must be a multiple of `multiple`.
    """
    if window_frames % multiple or not 0 <= overlap_frames < window_frames:
        raise ValueError(
            f"a window of {window_frames} frames with overlap {overlap_frames} does not fit the stride {multiple}"
        )
    if n_frames <= window_frames:
        return [Window(0, n_frames)]
    step = (window_frames - overlap_frames) // multiple * multiple
    if step < 1:
        raise ValueError(f"overlap {overlap_frames} leaves no step in windows of {window_frames} frames")
    starts = [*range(0, n_frames - window_frames, step), n_frames - window_frames]
    return [Window(start, start + window_frames) for start in starts]


def fade_in(overlap_frames: int) -> np.ndarray:
    """Weights [overlap_frames] of the later window in the overlap of two: 0, a linear ramp over the middle half, 1.

    The outer quarters carry no weight because a frame at the very edge of a window lacks the context on that side.
    """
    position = (np.arange(overlap_frames) + 0.5) / max(overlap_frames, 1)
    return np.clip(2.0 * position - 0.5, 0.0, 1.0).astype(np.float32)


def stitch(windows: Sequence[Window], outputs: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Cross-fade the windows' outputs [window frames, bins] into consecutive blocks that cover every frame once.

    A block is given out as soon as no later window can change it, so no more than one window is held.
    """
    tail = np.zeros((0, 0), dtype=np.float32)  # the part of earlier windows that lies under the current one
    stops = [*(window.start for window in windows[1:]), windows[-1].stop] if windows else []
    for window, stop, output in zip(windows, stops, outputs):
        if len(tail):
            weight = fade_in(len(tail))[:, None]
            faded = tail * (1.0 - weight) + output[: len(tail)] * weight
            output = np.concatenate([faded, output[len(tail) :]])
        yield output[: stop - window.start]
        tail = output[stop - window.start :]


LEVEL_FRAMES = 4096  # whose levels are taken at a time, from 5 MB of samples in float64


def frame_levels_db(audio: np.ndarray, config: MelConfig) -> np.ndarray:
    """Level in dBFS, float64 [frames], of the samples under each frame's analysis window; -inf in digital silence.

    `audio` is mono [n] at the rate of `config`, of full scale 1; 0 dBFS is an RMS of 1. The frames are those of the
    centred spectrogram, mirrored at the ends as there, and unweighted: a level is that of the samples alone.
    """
    n_frames = samples_to_frames(len(audio), config.hop_samples)
    power = np.empty(n_frames)
    for first in range(0, n_frames, LEVEL_FRAMES):
        stop = min(first + LEVEL_FRAMES, n_frames)
        samples = samples_of_frames(audio, 0, first, stop, config).astype(np.float64)
        frames = np.lib.stride_tricks.sliding_window_view(samples, config.window_samples)[:: config.hop_samples]
        power[first:stop] = np.einsum("fs,fs->f", frames, frames) / config.window_samples  # views: no copy of frames
    with np.errstate(divide="ignore"):
        return 10.0 * np.log10(power)
