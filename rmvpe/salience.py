"""Audio to salience: windows over the spectrogram, a backend's network, stitching. Long audio lives here only.

The U-Net reads windows of `WINDOW_FRAMES` frames that overlap by `OVERLAP_FRAMES`; its outputs are cross-faded in the
middle of the overlap (`rmvpe.framing`). The GRU runs through the whole recording (`rmvpe.chunked_gru`), so that the
result is that of the whole recording. Spectrogram and salience exist for one window at a time, and the input of the GRU
for at most 18 minutes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from rmvpe import mel
from rmvpe.backends import Backend, Network
from rmvpe.batches import batch_of
from rmvpe.chunked_gru import BLOCK_FRAMES, salience_of_features
from rmvpe.config import ModelConfig
from rmvpe.errors import UserError
from rmvpe.framing import PadPlan, Window, plan_padding, plan_windows, samples_of_frames, stitch
from rmvpe.parallel import in_threads
from rmvpe.timing import LOG_MEL, span, timed

# With an overlap of four seconds the U-Net's output is that of the whole file: in 64 s of singing no voiced frame moved
# by more than 0.2 cents and salience by at most 3e-3 (1e-2 with 256 frames). On CPUs the speed is the same from 1024
# frames on.
WINDOW_FRAMES = 3072
OVERLAP_FRAMES = 384
MOST_FRAMES = 1 << 17  # of recordings that go through a device together: 22 minutes, 0.2 GB of features
Progress = Callable[[float], None]  # is called with the share of a file that is done, 0 to 1
# Salience of a recording in consecutive blocks [k, 360], for a padding, progress and key shift in semitones
Blocks = Callable[[str, Progress | None, float], Iterator[np.ndarray]]


@dataclass(frozen=True)
class SalienceReader:
    """A network with the way in which recordings go through it; the numbers of frames do not change the result.

    front_end: "host" or "device", where the spectrogram is computed. window_frames, overlap_frames: of the U-Net's
    windows. block_frames: of the GRU's steps.
    """

    backend: Backend
    model: ModelConfig
    front_end: str = "host"
    window_frames: int = WINDOW_FRAMES
    overlap_frames: int = OVERLAP_FRAMES
    block_frames: int = BLOCK_FRAMES

    def blocks(
        self, audio: np.ndarray, pad: str, progress: Progress | None = None, key_shift_semitones: float = 0.0
    ) -> Iterator[np.ndarray]:
        """Salience in consecutive blocks [k, 360] of 16 kHz mono audio [n], shifted by `key_shift_semitones`.

        Raises UserError if the network's output is not finite.
        """
        if not len(audio):
            return
        audio = np.asarray(audio, dtype=np.float32)
        if self.backend.whole_batches and self.fits(audio):
            (whole,) = self.together([audio], pad, key_shift_semitones)
            yield from (whole[start : start + self.block_frames] for start in range(0, len(whole), self.block_frames))
            if progress is not None:
                progress(1.0)
            return
        plan = plan_padding(len(audio), self.model.mel, self.model.time_multiple, pad)
        windows = plan_windows(plan.padded_frames, self.window_frames, self.overlap_frames, self.model.time_multiple)
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
        for block in self._recurrent(stitched):
            block = block[: plan.n_frames - frames_done]  # the rest belongs to frames of padding
            check_finite(block)
            frames_done += len(block)
            if len(block):
                yield block
            report()

    def fits(self, audio: np.ndarray) -> bool:
        """Whether a recording [n] is short enough for `together`."""
        return len(audio) // self.model.mel.hop_samples < MOST_FRAMES

    def groups(self, recordings: Sequence[np.ndarray]) -> list[list[int]]:
        """The numbers of the recordings that should be computed `together`, of similar lengths; the others alone."""
        order = sorted(range(len(recordings)), key=lambda number: len(recordings[number]))
        found: list[list[int]] = []
        for number in order:
            frames = len(recordings[number]) // self.model.mel.hop_samples + self.model.time_multiple
            full = not found or len(found[-1]) >= self.backend.batch_windows
            if full or (len(found[-1]) + 1) * frames > MOST_FRAMES:
                found.append([])
            found[-1].append(number)
        return found

    def blocks_of(self, recordings: Sequence[np.ndarray]) -> list[Blocks]:
        """`blocks` of each recording of a group: computed together when the first is asked for, and given once."""
        if len(recordings) == 1 or not all(map(len, recordings)):
            return [partial(self.blocks, audio) for audio in recordings]
        waiting: dict[tuple[str, float], dict[int, np.ndarray]] = {}

        def of_one(number: int, pad: str, progress: Progress | None, shift: float) -> Iterator[np.ndarray]:
            if number not in waiting.setdefault((pad, shift), {}):
                waiting[pad, shift] = dict(enumerate(self.together(recordings, pad, shift)))
            yield waiting[pad, shift].pop(number)
            if progress is not None:
                progress(1.0)

        return [partial(of_one, number) for number in range(len(recordings))]

    def together(
        self, recordings: Sequence[np.ndarray], pad: str, key_shift_semitones: float = 0.0
    ) -> list[np.ndarray]:
        """Salience [n, 360] of each of several recordings of 16 kHz mono audio [n > 0], as for `blocks`.

        Their windows go through the U-Net together, and on a device with `whole_batches` all else does so too. Together
        they should have at most `MOST_FRAMES` frames. Raises UserError if the network's output is not finite.
        """
        multiple = self.model.time_multiple
        plans = [plan_padding(len(audio), self.model.mel, multiple, pad) for audio in recordings]
        windows = [plan_windows(p.padded_frames, self.window_frames, self.overlap_frames, multiple) for p in plans]
        makers = [
            partial(self._window_mel, np.asarray(audio, np.float32), plan, window, key_shift_semitones)
            for audio, plan, places in zip(recordings, plans, windows)
            for window in places
        ]
        at_once = max(1, self.backend.batch_windows)
        with span(LOG_MEL):
            log_mels = in_threads(makers, at_once)
        backend = timed(self.backend)
        if self.backend.whole_batches:
            in_turn = iter(log_mels)
            batch = batch_of([[next(in_turn) for _ in places] for places in windows], windows)
            found = list(backend.salience(batch))
        else:
            pieces = [log_mels[start : start + at_once] for start in range(0, len(log_mels), at_once)]
            outputs = (output for piece in pieces for output in features_of(backend, piece))
            found = [np.concatenate(list(self._recurrent(stitch(places, outputs)))) for places in windows]
        found = [row[: plan.n_frames] for row, plan in zip(found, plans)]
        for row in found:
            check_finite(row)
        return found

    def _recurrent(self, features: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        return salience_of_features(timed(self.backend), features, block_frames=self.block_frames)

    def _window_features(
        self, audio: np.ndarray, plan: PadPlan, windows: Sequence[Window], key_shift_semitones: float
    ) -> Iterator[np.ndarray]:
        """The U-Net's output for each window in turn: [window frames, features]."""
        at_once = max(1, self.backend.batch_windows)
        makers = [partial(self._window_mel, audio, plan, window, key_shift_semitones) for window in windows]
        batches = [makers[start : start + at_once] for start in range(0, len(makers), at_once)]
        with span(LOG_MEL):
            log_mels = in_threads(batches[0], at_once)
        for following in [*batches[1:], []]:
            # The spectrograms of the next windows are computed beside the network
            computations: list[Callable[[], Sequence[np.ndarray]]] = [
                partial(features_of, timed(self.backend), log_mels),
                *(partial(lambda make: [make()], make) for make in following),
            ]
            outputs, *made = in_threads(computations, 2)
            log_mels = [log_mel for (log_mel,) in made]
            yield from outputs

    def _window_mel(self, audio: np.ndarray, plan: PadPlan, window: Window, key_shift_semitones: float) -> np.ndarray:
        """Log-mel [window frames, n_mels] of a window of the padded spectrogram: the same numbers as in the whole."""
        source = plan.frame_source[window.start : window.stop]
        first, stop = int(source[source >= 0].min()), int(source.max()) + 1
        config = self.model.mel
        # A key shift stretches the analysis window; frame k stays around sample k * hop
        analysed = replace(config, window_samples=mel.shifted_window(config, key_shift_semitones))
        samples = samples_of_frames(audio, plan.zeros_right, first, stop, analysed)
        if self.front_end == "host":
            log_mel = mel.log_mel(samples, config, key_shift_semitones=key_shift_semitones, centred=False)
        else:
            log_mel = self.backend.log_mel(samples[None], key_shift_semitones=key_shift_semitones)[0]
        shown = log_mel[np.maximum(source - first, 0)]
        shown[source < 0] = 0.0
        return shown


def check_finite(salience: np.ndarray) -> None:
    """Raise UserError for numbers that no threshold can judge."""
    if not np.isfinite(salience).all():
        raise UserError("the network's output is not finite: use conv_dtype float32, or other weights")


def features_of(network: Network, log_mels: Sequence[np.ndarray]) -> list[np.ndarray]:
    """`Network.features` of windows [n_i, n_mels] of several lengths, together: [n_i, features] each."""
    lengths = [len(log_mel) for log_mel in log_mels]
    longest = max(lengths)
    rows = [np.pad(log_mel, ((0, longest - len(log_mel)), (0, 0))) for log_mel in log_mels]
    found = network.features(np.stack(rows), None if min(lengths) == longest else lengths)
    return [row[:length] for row, length in zip(found, lengths)]


def part_of(progress: Progress | None, start: float, stop: float) -> Progress | None:
    """Reports to `progress` a part of the work, which goes from the share `start` to the share `stop` of the whole."""
    return None if progress is None else lambda share: progress(start + share * (stop - start))
