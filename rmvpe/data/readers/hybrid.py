"""The Hybrid folder: recordings with their pitch labels, one pair of files per item.

    Hybrid/{train,valid,test}/NAME.wav (or .flac) + NAME.pv

Conventions:

- NAME.pv holds one MIDI semitone number per line at 10 ms, 0 = unvoiced, and line k (counted from 1) is the time
  k x 10 ms. Time 0 has no line.
- A stereo file has the accompaniment in channel 0 and the voice in channel 1; a mono file is the voice alone.
- Files are 16 kHz; other rates are resampled when read.

Other data sets are in `rmvpe.data.readers.f0_corpora`.
"""

from pathlib import Path

import numpy as np

from rmvpe.audio import SAMPLE_RATE_HZ
from rmvpe.data.readers.base import RecordingFiles, Recordings, sound_files
from rmvpe.data.readers.labels import read_label
from rmvpe.errors import UserError
from rmvpe.files import atomic_path
from rmvpe.pitch import hz_to_midi

LABEL_STEP_S = 0.01
LENGTH_TOLERANCE_S = 0.03  # three lines: a label may end this much before or after its audio


class Hybrid(Recordings):
    """One split of a Hybrid folder.

    `root` is the folder with train/, valid/ and test/. Items are sorted by name. The constructor checks names only.
    A label is checked when its item is read, or all of them by `check`: it must end within 30 ms of its recording.
    Raises FileNotFoundError (no such split, a recording without label) or UserError (empty split, doubled name).
    """

    accompaniment_left = True
    channels = (1, 2)

    def __init__(self, root: str | Path, split: str) -> None:
        folder = Path(root) / split
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is not a folder: give the folder that holds {split}/")
        paths = sound_files(folder)
        if not paths:
            raise UserError(f"{folder} holds no .wav or .flac file: put recordings and their .pv labels there")
        _check_names(paths)
        self.recordings = [RecordingFiles(path.stem, path, path.with_suffix(".pv")) for path in paths]

    def annotation(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """`time_s` (10 ms, 20 ms, ...) and `f0_hz` [points]. Raises UserError if they do not fit the audio."""
        recording = self.recordings[index]
        f0_hz = read_label(recording.label)
        _check_lengths(recording.audio, len(f0_hz), self.duration_s(index))
        return LABEL_STEP_S * np.arange(1, len(f0_hz) + 1), f0_hz


def write_hybrid_pair(
    folder: str | Path, name: str, voice: np.ndarray, accompaniment: np.ndarray | None, f0_hz: np.ndarray
) -> None:
    """Write `folder`/`name`.wav (PCM 16, 16 kHz) and `name`.pv, each whole or not at all.

    `voice` and `accompaniment`: float [samples] within -1..1 at 16 kHz; without accompaniment (None) the file is mono.
    `f0_hz`: [frames] at 10 ms **from time 0**; its first value is not written, since time 0 has no line in a .pv file.
    Raises UserError for channels of different length, a label that does not fit the audio, a folder that cannot be
    written, or a full disk.
    """
    import soundfile

    folder = Path(folder)
    path = folder / f"{name}.wav"
    if accompaniment is not None and accompaniment.shape != voice.shape:
        raise UserError(f"{path}: accompaniment {accompaniment.shape} and voice {voice.shape} must have one length")
    _check_lengths(path, len(f0_hz) - 1, len(voice) / SAMPLE_RATE_HZ)
    channels = voice if accompaniment is None else np.stack([accompaniment, voice], axis=1)
    lines = "".join(f"{midi:.5f}\n" if midi else "0\n" for midi in hz_to_midi(f0_hz[1:]))
    try:
        # The label gets its name first: a recording is what makes an item, so it never stands without its label
        with atomic_path(path) as audio, atomic_path(path.with_suffix(".pv")) as label:
            label.write_text(lines, encoding="utf-8", newline="\n")
            soundfile.write(audio, channels, SAMPLE_RATE_HZ, subtype="PCM_16", format="WAV")
    except (OSError, soundfile.LibsndfileError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.error_string
        raise UserError(f"cannot write {path} ({reason}): free some space or choose another folder") from error


def _check_names(paths: list[Path]) -> None:
    for path in paths:
        if not path.with_suffix(".pv").is_file():
            raise FileNotFoundError(f"{path} has no label: put {path.stem}.pv beside it or remove the recording")
    stems = [path.stem for path in paths]
    for path, earlier in zip(paths[1:], stems, strict=False):
        if path.stem == earlier:
            raise UserError(f"{path} shares its name with another recording: keep one of {earlier}.wav and .flac")


def _check_lengths(path: Path, lines: int, duration_s: float) -> None:
    if abs(lines * LABEL_STEP_S - duration_s) > LENGTH_TOLERANCE_S + 1e-9:
        raise UserError(
            f"{path} lasts {duration_s:.2f} s but its label {lines * LABEL_STEP_S:.2f} s: "
            "write one line per 10 ms of the recording"
        )
