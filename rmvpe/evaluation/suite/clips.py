"""A clip of the stress set: what an estimator hears, and the f0 that is true in it.

Every clip depends on the seed, the condition and its number alone, so that the levels of a condition (such as ratios
of voice to noise) have the same voices, and results are the same in every run, for all weights and backends.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rmvpe.audio import SAMPLE_RATE_HZ
from rmvpe.config import ModelConfig
from rmvpe.data import effects
from rmvpe.data.mixing import RMS_FLOOR, rms
from rmvpe.data.readers.base import Item, Source
from rmvpe.data.synthesis.contours import FRAME_S, FRAME_SAMPLES, dynamics, melody, smoothed
from rmvpe.data.synthesis.demo import REGISTERS_HZ
from rmvpe.evaluation.evaluate import evenly_spaced, voice_level, with_music
from rmvpe.evaluation.suite.voices import Sung, level_of, phrases, sing
from rmvpe.pitch import hz_to_midi, midi_to_hz

CLIP_S = 6.0
LONGEST_ITEM_S = 20.0  # of the user's own recordings no more than this is used
VOICE_DBFS, PEAK = -20.0, 0.97  # RMS where it is sung; quieter where a peak would be above full scale
FLOOR_DB = -60.0  # of the noise in every voice, against its level: a recording is never digitally silent
PHRASE_S, REST_S = (0.8, 2.0), (0.25, 0.6)
SCALES = (1.0, 1.17, 1.17)  # of the formants, for each of `REGISTERS_HZ`: a man, a woman, a high woman
NOTE_S, GLIDE_FRAMES = (0.35, 0.9), 25  # of plain contours; a glide of 125 ms between two notes


@dataclass(frozen=True)
class Clip:
    """Sound float32 [samples] at `sample_rate`, and its truth: f0_hz [points], 0 = unvoiced, at time_s [points]."""

    name: str
    sound: np.ndarray
    sample_rate: int
    time_s: np.ndarray
    f0_hz: np.ndarray


@dataclass(frozen=True)
class Material:
    """What clips are made of. `data`: recordings of the user's own, used instead of synthetic voices; `music`: files.

    count: clips of each level. `voice(k)`: voice number k, which conditions transform.
    """

    seed: int
    count: int
    data: Source | None = None
    music: Sequence[Path] | None = None
    _voices: dict[int, Item] = field(default_factory=dict, repr=False)

    def rng(self, condition: str, number: int) -> np.random.Generator:
        """The random numbers of one clip of a condition."""
        return np.random.default_rng([self.seed, zlib.crc32(condition.encode()), number])

    def voice(self, number: int) -> Item:
        """The user's recording or a synthetic voice, with its music if there is any; kept for the next condition."""
        if number not in self._voices:
            item = self._read(number) if self.data is not None else self._sing(number)
            self._voices[number] = with_music(item, self.music)
        return self._voices[number]

    def has_music(self) -> bool:
        """Whether there may be music to mix with: files, or what the user's recordings have beside the voice."""
        return self.music is not None or self.data is not None

    def voices(self) -> int:
        """How many voices there are."""
        return self.count if self.data is None else min(self.count, len(self.data))

    def voice_name(self, number: int) -> str:
        """The name of a voice, without reading it."""
        return f"voice-{number:02d}" if self.data is None else self.data.name(self._index(number))

    def _index(self, number: int) -> int:
        assert self.data is not None
        return evenly_spaced(len(self.data), self.voices())[number]

    def _read(self, number: int) -> Item:
        assert self.data is not None
        index = self._index(number)
        return self.data.read_excerpt(index, 0.0, min(LONGEST_ITEM_S, self.data.duration_s(index)))

    def _sing(self, number: int) -> Item:
        rng = self.rng("voice", number)
        register = number % len(REGISTERS_HZ)
        sung = song(REGISTERS_HZ[register], SCALES[register], rng)
        return item_of(sung, self.voice_name(number), rng)


# Of sound [samples], its level where it is sung, and random numbers, another sound
Change = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
# Number k of a level's clips; None if it takes music that is not there
MakeClip = Callable[[Material, int], Clip | None]


def frames_of_clip() -> int:
    """The 5 ms frames of a synthetic clip."""
    return round(CLIP_S / FRAME_S) + 1


def song(register_hz: tuple[float, float], scale: float, rng: np.random.Generator) -> Sung:
    """A melody as singers sing it: scoops, portamento, vibrato, drift, and dynamics."""
    f0_hz, voiced = tune(register_hz, rng)
    sung = sing(f0_hz, voiced, rng, scale=scale)
    return Sung(sung.sound * dynamics(voiced, len(sung.sound), rng), sung.f0_hz)


def tune(register_hz: tuple[float, float], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """f0 in Hz and voicing, both [frames], of a melody whose median pitch is in `register_hz`."""
    voiced = phrases(frames_of_clip(), rng, PHRASE_S, REST_S)
    low, high = hz_to_midi(np.array(register_hz))
    return midi_to_hz(melody(voiced, rng.uniform(low, high), (low - 9, high + 9), rng).midi), voiced


def plain_contour(
    range_hz: tuple[float, float], rng: np.random.Generator, note_s: tuple[float, float] = NOTE_S
) -> np.ndarray:
    """f0 in Hz [frames] that stays within `range_hz`: steady notes anywhere in it, joined by glides."""
    frames = frames_of_clip()
    lengths = np.round(rng.uniform(*note_s, int(frames * FRAME_S / note_s[0]) + 1) / FRAME_S).astype(int)
    low, high = hz_to_midi(np.array(range_hz))
    pitches = rng.uniform(low, high, len(lengths))
    return midi_to_hz(smoothed(np.repeat(pitches, lengths)[:frames], GLIDE_FRAMES))


def item_of(sung: Sung, name: str, rng: np.random.Generator) -> Item:
    """A voice at its level, with its noise floor, as a recording with labels at 10 ms."""
    voiced = sung.f0_hz > 0
    level = level_of(sung.sound, voiced) or rms(sung.sound)
    floor = effects.coloured_noise(len(sung.sound), SAMPLE_RATE_HZ, 1.0, rng) * level * 10.0 ** (FLOOR_DB / 20.0)
    return labelled(at_level(sung.sound + floor, level), sung.f0_hz, name)


def at_level(sound: np.ndarray, level: float) -> np.ndarray:
    """`sound` [samples], whose RMS is `level`, at the level of all voices, but no peak above full scale."""
    gain = 10.0 ** (VOICE_DBFS / 20.0) / max(level, RMS_FLOOR)
    return sound * min(gain, PEAK / max(float(np.abs(sound).max(initial=0.0)), 1e-9))


def labelled(sound: np.ndarray, f0_hz: np.ndarray, name: str) -> Item:
    """`sound` [samples] and its f0 on frames of 5 ms as a recording with labels at 10 ms."""
    labels = f0_hz[::2]
    time_s = np.arange(len(labels)) * (2 * FRAME_SAMPLES / SAMPLE_RATE_HZ)
    return Item(name, sound.astype(np.float32), None, labels.astype(np.float32), time_s)


def nobody(sound: np.ndarray, name: str) -> Item:
    """`sound` [samples] in which nobody sings, as a recording."""
    return labelled(sound, np.zeros(len(sound) // FRAME_SAMPLES + 1), name)


def clip_of(item: Item, sound: np.ndarray | None = None, sample_rate: int = SAMPLE_RATE_HZ) -> Clip:
    """An item's truth with `sound`, or with its voice alone; quieter if it is above full scale."""
    heard = item.voice if sound is None else sound
    heard = heard / max(1.0, float(np.abs(heard).max(initial=0.0)))
    return Clip(item.name, heard.astype(np.float32), sample_rate, item.time_s, item.f0_hz.astype(np.float64))


def transformed(change: Change, condition: str, sample_rate: int = SAMPLE_RATE_HZ) -> MakeClip:
    """A maker of clips that are voices of the material, changed; `sample_rate`: of what `change` returns."""

    def make(material: Material, number: int) -> Clip:
        item = material.voice(number)
        level = voice_level(item, ModelConfig())
        return clip_of(item, change(item.voice, level, material.rng(condition, number)), sample_rate)

    return make
