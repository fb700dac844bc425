"""Samples, frames and seconds; padding to the U-Net's stride; windows over long audio; the level of each frame.

Frames are centred: frame k is the spectrum around sample k * hop, at time k * hop / sample_rate, so audio of n samples
has n // hop + 1 frames. The network needs a multiple of 32 frames. Projects that use the published weights fill the
missing frames in three ways (`silence`, `reflect`, `zero`, see `plan_padding`). Long audio is split into overlapping
windows whose starts are multiples of 32 frames, so that the U-Net pools the same frames together as in the whole file.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rmvpe.config import MelConfig

LEVEL_BLOCK_FRAMES = 4096  # frames whose levels are computed at a time: 5 MB of samples in float64


def samples_to_frames(n_samples: int, hop_samples: int) -> int:
    """Number of centred frames of `n_samples` samples at a hop of `hop_samples`; 0 for no samples."""
    return n_samples // hop_samples + 1 if n_samples > 0 else 0


def frames_to_seconds(frames: np.ndarray | int, mel: MelConfig) -> np.ndarray:
    """Times [...] in seconds, float64, of frame numbers [...]."""
    return np.asarray(frames, dtype=np.float64) * mel.hop_samples / mel.sample_rate


def frames_at_hop(duration_s: float, hop_s: float) -> int:
    """Number of frames k with k * hop_s within `duration_s` > 0 seconds of audio, frame 0 included."""
    # The margin is for the rounding of seconds: 512 k samples hold exactly k hops of 512 samples
    return int(duration_s / hop_s + 1e-6) + 1


def frame_times(n_frames: int, mel: MelConfig) -> np.ndarray:
    """Times in seconds [n_frames] of the first `n_frames` frames."""
    return frames_to_seconds(np.arange(n_frames), mel)


def round_up(value: int, multiple: int) -> int:
    """The smallest multiple of `multiple` that is at least `value`."""
    return -(-value // multiple) * multiple


@dataclass(frozen=True)
class PadPlan:
    """How audio of `n_samples` becomes `padded_frames` network frames, of which the first `n_frames` are kept.

    `frame_source` [padded_frames] is the spectrogram frame that each network frame shows; -1 is a frame of zeros.
    """

    n_samples: int
    n_frames: int
    padded_frames: int
    zeros_right: int  # samples of silence after the audio, added before the spectrum is computed
    frame_source: np.ndarray


def plan_padding(n_samples: int, mel: MelConfig, multiple: int, mode: str) -> PadPlan:
    """Plan the right padding of `n_samples` > 0 samples to a multiple of `multiple` frames.

    `silence`: zeros after the audio, to (multiple * hop) n - hop samples (the author's advice; DiffSinger, RMVPE.cpp).
    `reflect`: the log-mel mirrored at its last frame (yxlllc); short audio is mirrored repeatedly instead of failing.
    `zero`: log-mel frames of 0.0 (RVC, so-vits-svc), which is *loud*: silence is ln(1e-5) = -11.5.
    Raises ValueError for another mode.
    """
    n_frames = samples_to_frames(n_samples, mel.hop_samples)
    padded = round_up(n_frames, multiple)
    if mode == "silence":
        # Audio may end up to hop - 1 samples after its last frame. In the padded audio these samples could start one
        # more frame, so the target length is counted in samples, as in the reference.
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
    """Audio [n + 2 * margin]: `audio` [n > 0] with `margin` mirrored samples on both sides, for a centred STFT."""
    return np.pad(audio, margin, mode="reflect" if len(audio) > 1 else "edge")


def samples_of_frames(audio: np.ndarray, zeros_right: int, first: int, stop: int, mel: MelConfig) -> np.ndarray:
    """The samples under frames [first, stop) of the centred STFT of `audio` [n > 0] followed by `zeros_right` zeros.

    Returns float32 [(stop - first - 1) * hop + window]. An uncentred STFT of it has exactly these frames, with the same
    numbers as after `reflect_pad` of the whole audio. Long audio is never copied as a whole.
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
    """Cover `n_frames` (a multiple of `multiple`) with windows that overlap by at least `overlap_frames`.

    All windows have exactly `window_frames` frames but for the last one, which ends with the audio: nothing is computed
    twice but the overlaps. Shorter audio is one shorter window. Raises ValueError unless `window_frames` is a multiple
    of `multiple` and the overlap leaves a step of at least `multiple` frames.
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
    n_windows = -(-(n_frames - window_frames) // step) + 1
    return [Window(k * step, min(k * step + window_frames, n_frames)) for k in range(n_windows)]


def fade_in(overlap_frames: int) -> np.ndarray:
    """Weights [overlap_frames] of the later window in the overlap of two: 0, a linear ramp over the middle half, 1.

    The outer quarters have the weight 0 or 1, because a frame at the very edge of a window lacks context on one side.
    """
    position = (np.arange(overlap_frames) + 0.5) / max(overlap_frames, 1)
    return np.clip(2.0 * position - 0.5, 0.0, 1.0).astype(np.float32)


def stitch(windows: Sequence[Window], outputs: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Cross-fade the windows' outputs [window frames, bins] into consecutive blocks that cover every frame once.

    A block [k, bins] is yielded as soon as no later window can change it, so at most one window is kept in memory.
    """
    tail = np.zeros((0, 0), dtype=np.float32)  # the part of earlier windows that overlaps the current one
    stops = [*(window.start for window in windows[1:]), windows[-1].stop] if windows else []
    for window, stop, output in zip(windows, stops, outputs):
        if len(tail):
            weight = fade_in(len(tail))[:, None]
            faded = tail * (1.0 - weight) + output[: len(tail)] * weight
            output = np.concatenate([faded, output[len(tail) :]])
        yield output[: stop - window.start]
        tail = output[stop - window.start :]


def frame_levels_db(audio: np.ndarray, config: MelConfig, *, block_frames: int = LEVEL_BLOCK_FRAMES) -> np.ndarray:
    """Level in dBFS, float64 [frames], of the samples under each frame's analysis window; -inf in digital silence.

    `audio` is mono [n] at the rate of `config`, with full scale 1; 0 dBFS is an RMS of 1. The frames are those of the
    centred spectrogram, mirrored at the ends as there, but without the analysis window's weights. `block_frames` levels
    are computed at a time.
    """
    n_frames = samples_to_frames(len(audio), config.hop_samples)
    power = np.empty(n_frames)
    for first in range(0, n_frames, block_frames):
        stop = min(first + block_frames, n_frames)
        samples = samples_of_frames(audio, 0, first, stop, config).astype(np.float64)
        frames = np.lib.stride_tricks.sliding_window_view(samples, config.window_samples)[:: config.hop_samples]
        power[first:stop] = (
            np.einsum("fs,fs->f", frames, frames) / config.window_samples
        )  # a view: frames are not copied
    with np.errstate(divide="ignore"):
        return 10.0 * np.log10(power)
