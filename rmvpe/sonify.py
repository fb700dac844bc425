"""f0 and notes to listen to: tones without clicks, alone or beside the recording in a stereo file.

A tone is computed at any time from a row of points, without state: its phase is the exact integral of the frequency,
which is linear between two points, so it is continuous. Its level fades in and out inside each part that sounds.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from rmvpe.errors import UserError
from rmvpe.files import atomic_path
from rmvpe.notes.note import Note
from rmvpe.sound.mono import SAMPLE_RATE_HZ
from rmvpe.sound.sonified import MARK
from rmvpe.track_display import TrackArrays

FADE_S = 0.005  # at both ends of what sounds: short for the ear, long enough not to click
HARMONICS = (1.0, 0.5, 0.25, 0.125)  # amplitudes in a file: low notes are heard from small loudspeakers, too
ONE_FRAME_S = 0.01
BLOCK = 1 << 18  # samples at once: 16 s
TONE_RMS = (0.005, 0.2)  # of the tone in a file, at least and at most, with full scale 1
MAX_WAV_S = 60_000.0  # 16-bit stereo at 16 kHz of this length still fits the 4 GB of a wav file


@dataclass(frozen=True)
class Tone:
    """A tone: its frequency at some times, and when it is heard.

    time_s: [points], not falling. f0_hz: [points], above 0. starts_s, stops_s: [parts] that are heard, in order.
    """

    time_s: np.ndarray
    f0_hz: np.ndarray
    starts_s: np.ndarray
    stops_s: np.ndarray

    def render(self, times_s: np.ndarray, sample_rate: float, harmonics: tuple[float, ...] = (1.0,)) -> np.ndarray:
        """The tone at `times_s` [samples], float64: sines of these amplitudes at multiples of the frequency.

        Harmonics fade out towards half of `sample_rate`.
        """
        if not len(self.starts_s) or not len(times_s):
            return np.zeros(len(times_s))
        step_s = np.diff(self.time_s)
        turns = np.concatenate([[0.0], np.cumsum(step_s * (self.f0_hz[1:] + self.f0_hz[:-1]) / 2)])
        k = np.clip(np.searchsorted(self.time_s, times_s, side="right") - 1, 0, len(self.time_s) - 1)
        after_s = times_s - self.time_s[k]
        slope = np.append(np.divide(np.diff(self.f0_hz), step_s, out=np.zeros_like(step_s), where=step_s > 0), 0.0)
        slope = np.where(after_s < 0, 0.0, slope[k])  # before the first point and after the last: as there
        turn = turns[k] + after_s * (self.f0_hz[k] + slope * after_s / 2)
        hz = self.f0_hz[k] + slope * after_s
        highest_hz = sample_rate / 2
        sound = np.zeros(len(times_s))
        for n, amplitude in enumerate(harmonics, 1):
            room = np.clip(10.0 * (1.0 - n * hz / highest_hz), 0.0, 1.0)
            sound += amplitude * room * np.sin(2 * np.pi * ((n * turn) % 1.0))
        heard: np.ndarray = sound * self._level(times_s)
        return heard

    def _level(self, times_s: np.ndarray) -> np.ndarray:
        """0 where nothing is heard, 1 where the tone is, smooth between."""
        part = np.clip(np.searchsorted(self.starts_s, times_s, side="right") - 1, 0, None)
        inside_s = np.minimum(times_s - self.starts_s[part], self.stops_s[part] - times_s)
        return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.clip(inside_s / FADE_S, 0.0, 1.0)))


def tone_of_track(track: TrackArrays) -> Tone:
    """The f0 of voiced frames. A frame is heard for a hop; so an unvoiced frame, or a gap in the times, is silent."""
    heard, hop_s = np.flatnonzero(track.voiced), hop_of(track)
    if not len(heard):
        return Tone(*np.zeros((4, 0)))
    time_s, f0_hz = track.time_s[heard], track.f0_hz[heard]
    first = np.concatenate([[True], (np.diff(heard) > 1) | (np.diff(time_s) > 1.5 * hop_s)])
    last = np.append(first[1:], True)
    starts, stops = time_s[first] - hop_s / 2, time_s[last] + hop_s / 2
    starts[0] = max(starts[0], track.time_s[0])
    if heard[-1] == len(track.time_s) - 1:
        stops[-1] = track.time_s[-1] + hop_s
    return Tone(time_s, f0_hz, starts, stops)


def tone_of_notes(notes: Iterable[Note]) -> Tone:
    """Each note at its pitch from its onset to its offset."""
    row = [note for note in notes if note.offset_s > note.onset_s]
    starts = np.array([note.onset_s for note in row])
    stops = np.array([note.offset_s for note in row])
    hz = np.array([note.pitch_hz for note in row])
    return Tone(np.stack([starts, stops], axis=-1).ravel(), np.repeat(hz, 2), starts, stops)


def hop_of(track: TrackArrays) -> float:
    """Seconds between two frames, also where the times have gaps; 10 ms for less than two frames."""
    return float(np.median(np.diff(track.time_s))) if len(track.time_s) > 1 else ONE_FRAME_S


def sound_of_track(track: TrackArrays, sample_rate: int) -> np.ndarray:
    """A sine at the f0 from the first frame to a hop after the last: float64 [samples], -1 to 1."""
    if not len(track.time_s):
        return np.zeros(0)
    first, hop_s = float(track.time_s[0]), hop_of(track)
    n_samples = round((float(track.time_s[-1]) - first + hop_s) * sample_rate)
    return tone_of_track(track).render(first + np.arange(n_samples) / sample_rate, sample_rate)


def sound_of_notes(notes: Iterable[Note], sample_rate: int) -> np.ndarray:
    """A sine at the pitch of each note, from time 0 to the last offset: float64 [samples], -1 to 1."""
    row = tuple(notes)
    n_samples = round(max((note.offset_s for note in row), default=0.0) * sample_rate)
    return tone_of_notes(row).render(np.arange(n_samples) / sample_rate, sample_rate)


def write_beside(samples: np.ndarray, tone: Tone, path: str | os.PathLike[str]) -> None:
    """A stereo wav file of 16 bits at 16 kHz: left the sound, right the tone, equally loud where the tone is heard.

    samples: 16 kHz mono [n]. Sound above full scale is made quieter, not clipped. The file is written completely or not
    at all, and holds a mark by which we know it. Raises UserError if it cannot be written.
    """
    import soundfile

    samples = np.asarray(samples, dtype=np.float32)
    if len(samples) / SAMPLE_RATE_HZ > MAX_WAV_S:
        raise UserError(f"{path} would be larger than a wav file can be: cut the recording first")
    left = 1.0 / max(1.0, float(np.abs(samples).max(initial=0.0)))
    right = left * level_beside(samples, tone)
    with atomic_path(path) as temporary:
        try:
            with soundfile.SoundFile(temporary, "w", SAMPLE_RATE_HZ, 2, "PCM_16", format="WAV") as file:
                file.comment = MARK
                for start in range(0, len(samples), BLOCK):
                    block = samples[start : start + BLOCK]
                    times_s = (start + np.arange(len(block))) / SAMPLE_RATE_HZ
                    tones = tone.render(times_s, SAMPLE_RATE_HZ, HARMONICS)
                    file.write(np.stack([left * block, right * tones], axis=1))
        except (OSError, soundfile.LibsndfileError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UserError(f"cannot write {path}: {reason}; make room or choose another folder") from error


def level_beside(samples: np.ndarray, tone: Tone) -> float:
    """The factor for a tone of `HARMONICS` that makes it as loud (RMS) as `samples` are where the tone is heard."""
    edges = np.round(np.stack([tone.starts_s, tone.stops_s], axis=-1) * SAMPLE_RATE_HZ).astype(np.int64)
    energy, count = 0.0, 0
    for start, stop in np.clip(edges, 0, len(samples)):
        part = samples[start:stop].astype(np.float64)
        energy, count = energy + float(part @ part), count + len(part)
    rms = float(np.clip(np.sqrt(energy / max(count, 1)), *TONE_RMS))
    return rms / float(np.sqrt(np.sum(np.square(HARMONICS)) / 2))
