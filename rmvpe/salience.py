"""Audio to salience: windows over the spectrogram, a backend's network, stitching. Long audio lives here only.

The U-Net reads windows of `WINDOW_FRAMES` frames that overlap by `OVERLAP_FRAMES`; its outputs are cross-faded in the
middle of the overlap (`rmvpe.framing`). The GRU runs through the whole recording (`rmvpe.chunked_gru`), so that the
result is that of the whole recording. Spectrogram and salience exist for one window at a time, and the input of the GRU
for at most 18 minutes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rmvpe import mel
from rmvpe.backends import Backend
from rmvpe.chunked_gru import BLOCK_FRAMES, salience_of_features
from rmvpe.config import ModelConfig
from rmvpe.errors import UserError
from rmvpe.framing import PadPlan, Window, plan_padding, plan_windows, samples_of_frames, stitch
from rmvpe.timing import LOG_MEL, span, timed

# With an overlap of four seconds the U-Net's output is that of the whole file: in 64 s of singing no voiced frame moved
# by more than 0.2 cents and salience by at most 3e-3 (1e-2 with 256 frames). On CPUs the speed is the same from 1024
# frames on.
WINDOW_FRAMES = 3072
OVERLAP_FRAMES = 384
Progress = Callable[[float], None]  # is called with the share of a file that is done, 0 to 1


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
        for block in salience_of_features(timed(self.backend), stitched, block_frames=self.block_frames):
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
            with span(LOG_MEL):
                log_mel = np.stack([self._window_mel(audio, plan, window, key_shift_semitones) for window in batch])
            yield from timed(self.backend).features(log_mel)

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


def part_of(progress: Progress | None, start: float, stop: float) -> Progress | None:
    """Reports to `progress` a part of the work, which goes from the share `start` to the share `stop` of the whole."""
    return None if progress is None else lambda share: progress(start + share * (stop - start))
