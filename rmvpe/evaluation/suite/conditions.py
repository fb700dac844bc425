"""The conditions of the stress set: a table of named levels, each with the function that makes its clips.

Synthesised conditions sing along an f0 of their own. The others change the voices of `Material`: synthetic songs, or
the user's own recordings. Numbers in dB are the voice against what is added, RMS where it is sung.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rmvpe.audio import SAMPLE_RATE_HZ
from rmvpe.config import ModelConfig
from rmvpe.data import effects
from rmvpe.data.mixing import mix_at_snr, rms
from rmvpe.data.synthesis.contours import FRAME_SAMPLES, runs
from rmvpe.data.synthesis.tones import harmonic_tone
from rmvpe.errors import UserError
from rmvpe.evaluation.evaluate import CLEAN, MUSIC, mixed, snr_name
from rmvpe.evaluation.suite import channels, sung
from rmvpe.evaluation.suite.clips import (
    PHRASE_S,
    REST_S,
    Change,
    Clip,
    MakeClip,
    Material,
    at_level,
    clip_of,
    frames_of_clip,
    item_of,
    nobody,
    plain_contour,
    transformed,
)
from rmvpe.evaluation.suite.instruments import INSTRUMENTS
from rmvpe.evaluation.suite.voices import Sung, phrases

OCTAVES_HZ = (32.0, 64.0, 125.0, 250.0, 500.0, 1000.0, 2010.0, 3200.0)  # the last but one: the end of the bins
RT60_S = (0.3, 0.6, 1.0, 1.5)
PRE_DELAY_S = 0.005
HUM_DB, CLIP_DB, NOISE_DB = (20.0, 10.0, 0.0), (6.0, 12.0, 24.0), (20.0, 10.0, 5.0, 0.0, -5.0)
TUNED = {
    "150 ms, 1 semitone": (0.15, (1,)),
    "150 ms, 2 to 4": (0.15, (2, 3, 4)),
    "300 ms, 2 to 4": (0.3, (2, 3, 4)),
}
MAINS_HZ = (50.0, 60.0)
NOISE_COLOURS = {"white": 0.0, "pink": 1.0, "brown": 2.0}
QUIET_DBFS = -70.0
DESCRIPTIONS = {
    "voice": "the voices as they are: synthetic songs of a man, a woman and a high woman, or your own recordings",
    "register": "a sung voice with steady notes and glides, octave by octave; formants of a man up to 250 Hz, of a "
    "woman above; the last lies above the network's highest bin, where nothing but unvoiced is right",
    "harmonic tone": "tones of many timbres with the same notes",
    "pure tone": "sine waves with the same notes",
    "vibrato depth": "long notes with a vibrato of 5.5 Hz, that far up and down",
    "vibrato speed": "long notes with a vibrato of 100 cents up and down, that fast",
    "fry": "pulses at 35 to 70 Hz whose periods vary at random by that much (standard deviation); true is the rate "
    "of each period",
    "tuned": "a voice moved onto semitones: a step of so many, up or down, after so long, without any glide",
    "children": "formants 1.35 and 1.55 times those of a man, 220 to 520 Hz",
    "whisper": "vowels and consonants of noise: nobody sings",
    "choir": "that many singers in unison, about 15 cents apart; true is the melody they share",
    "duet": "a second voice 3 or 4 semitones away at -6 dB; true is the louder one",
    "room": "a room of that RT60 around the voice, the reverberation as loud as the voice",
    "telephone": "300 to 3400 Hz, 8 kHz, 8 bits of mu-law",
    "codec": "encoded and decoded again",
    "hum": "mains hum of 50 or 60 Hz, that far below the voice",
    "clipping": "made that much louder and cut off at its old peak",
    "noise": "pink noise, that far below the voice; and noise alone",
    "instruments": "instruments without a voice: nobody sings",
    "silence": "digital silence, and pink noise at -70 dBFS",
    "music": "music, that far below the voice; and music alone",
}


@dataclass(frozen=True)
class Level:
    """A line of the table: `condition`, one of `DESCRIPTIONS`; `level`, what of it; `make`, its clips by number."""

    condition: str
    level: str
    make: MakeClip
    of_voices: bool = False  # whether its clips are voices of `Material`, one for each of them

    @property
    def name(self) -> str:
        """Condition and level in one."""
        return f"{self.condition}: {self.level}" if self.level else self.condition


@dataclass(frozen=True)
class Suite:
    """The levels to score, and what was left out, with the reason: a sentence each."""

    levels: tuple[Level, ...]
    left_out: tuple[str, ...]


def suite(music_db: Sequence[float], has_music: bool) -> Suite:
    """All levels that can be made here. `music_db`: ratios of voice to music, if the material has any."""
    missing = channels.missing_codecs()
    left_out = [f"codec: {name} left out, {why}" for name, why in missing.items()]
    levels = [Level("voice", "", lambda material, number: clip_of(material.voice(number)), True)]
    levels += [*_pitches(), *_manners(), *_sounds_without_voice()]
    levels += [*_channels([name for name in channels.CODECS if name not in missing]), *_noises()]
    if has_music:
        levels += _musics(music_db)
    else:
        left_out.append("music left out: give --music FOLDER")
    order = list(DESCRIPTIONS)
    return Suite(tuple(sorted(levels, key=lambda level: order.index(level.condition))), tuple(left_out))


def chosen(every: Suite, conditions: str) -> Suite:
    """The levels of the conditions in a list such as "room, tuned". Raises UserError for another word."""
    wanted = [word.strip().lower() for word in conditions.split(",")]
    if unknown := [word for word in wanted if word not in DESCRIPTIONS]:
        raise UserError(f"{unknown[0]!r} is no condition of the stress set: give some of {', '.join(DESCRIPTIONS)}")
    levels = tuple(level for level in every.levels if level.condition in wanted)
    left_out = tuple(text for text in every.left_out if text.startswith(tuple(wanted)))
    if not levels:
        raise UserError(f"nothing to score: {'; '.join(left_out)}")
    return Suite(levels, left_out)


def _pitches() -> list[Level]:
    """Registers, tones, vibrato."""
    levels = []
    for low, high in itertools.pairwise(OCTAVES_HZ):
        name, inside = f"{low:g}-{high:g} Hz", (low * 1.005, high * 0.995)
        levels.append(Level("register", name, _sung("register", sung.register(inside))))
        levels.append(Level("harmonic tone", name, _tones(inside, pure=False)))
        levels.append(Level("pure tone", name, _tones(inside, pure=True)))
    levels += [
        Level("vibrato depth", f"{cents:g} cents", _sung("vibrato", sung.vibrato(cents, 5.5)))
        for cents in (50.0, 100.0, 200.0, 400.0)
    ]
    levels += [
        Level("vibrato speed", f"{rate:g} Hz", _sung("vibrato", sung.vibrato(100.0, rate))) for rate in (3.0, 8.0, 12.0)
    ]
    return levels


def _manners() -> list[Level]:
    """Fry, tuned, children, whisper, choir, duet."""
    levels = [Level("fry", f"{percent:g} %", _sung("fry", sung.fry(percent / 100.0))) for percent in (0.0, 3.0, 10.0)]
    levels += [Level("tuned", name, _sung("tuned", sung.tuned(*how))) for name, how in TUNED.items()]
    levels += [Level("children", name, _sung("children", make)) for name, make in sung.CHILDREN.items()]
    levels.append(Level("whisper", "", _sung("whisper", sung.whispered)))
    levels += [Level("choir", f"{count} singers", _sung("choir", sung.choir(count))) for count in (3, 8)]
    levels += [
        Level("duet", f"a third {where}", _sung("duet", sung.duet(sign)))
        for where, sign in (("above", 1), ("below", -1))
    ]
    return levels


def _channels(codecs: Sequence[str]) -> list[Level]:
    """Rooms, telephone, codecs, hum, clipping."""
    levels = [Level("room", f"{seconds:g} s", transformed(_room(seconds), "room"), True) for seconds in RT60_S]
    telephone = transformed(
        lambda voice, level, rng: channels.telephone(voice), "telephone", sample_rate=channels.TELEPHONE_RATE_HZ
    )
    levels.append(Level("telephone", "", telephone, True))
    levels += [Level("codec", name, transformed(_codec(name), "codec"), True) for name in codecs]
    levels += [Level("hum", f"{ratio:g} dB", transformed(_hum(ratio), "hum"), True) for ratio in HUM_DB]
    levels += [Level("clipping", f"{drive:g} dB", transformed(_clipping(drive), "clip"), True) for drive in CLIP_DB]
    return levels


def _noises() -> list[Level]:
    """Noise under a voice and alone."""
    levels = [Level("noise", f"{ratio:g} dB", transformed(_noise(ratio), "noise"), True) for ratio in NOISE_DB]
    return levels + [Level("noise", f"{name} alone", _noise_alone(colour)) for name, colour in NOISE_COLOURS.items()]


def _musics(music_db: Sequence[float]) -> list[Level]:
    """Music under a voice and alone."""
    ratios = [ratio for ratio in music_db if ratio not in (CLEAN, MUSIC)]
    levels = [Level("music", snr_name(ratio), _music(ratio), True) for ratio in ratios]
    return [*levels, Level("music", "alone", _music(MUSIC), True)]


def _sounds_without_voice() -> list[Level]:
    levels = [Level("instruments", name, _instrument(name)) for name in INSTRUMENTS]
    levels.append(Level("silence", "digital", _silent))
    levels.append(Level("silence", f"{QUIET_DBFS:g} dBFS", _quiet))
    return levels


def _samples() -> int:
    return (frames_of_clip() - 1) * FRAME_SAMPLES


def _sung(condition: str, make: sung.Sing) -> MakeClip:
    def clip(material: Material, number: int) -> Clip:
        rng = material.rng(condition, number)
        return clip_of(item_of(make(rng), f"{condition}-{number:02d}", rng))

    return clip


def _tones(range_hz: tuple[float, float], pure: bool) -> MakeClip:
    def make(rng: np.random.Generator) -> Sung:
        f0_hz = plain_contour(range_hz, rng)
        voiced = phrases(len(f0_hz), rng, PHRASE_S, REST_S)
        sound = np.zeros((len(f0_hz) - 1) * FRAME_SAMPLES)
        for start, end in runs(voiced):
            part = f0_hz[start:end]
            tone = sung.pure_tone(part) if pure else harmonic_tone(part, rng)
            sound[start * FRAME_SAMPLES : start * FRAME_SAMPLES + len(tone)] = tone
        return Sung(sound, np.where(voiced, f0_hz, 0.0))

    return _sung("register", make)


def _room(rt60_s: float) -> Change:
    def change(voice: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
        response = effects.room_response(rt60_s, 1.0, 0.0, PRE_DELAY_S, SAMPLE_RATE_HZ, rt60_s, rng)
        return effects.reverberate(np.pad(voice, (len(response) - 1, 0)), response, len(response) - 1)

    return change


def _codec(name: str) -> Change:
    return lambda voice, level, rng: channels.coded(voice, name)


def _hum(ratio_db: float) -> Change:
    def change(voice: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
        return mix_at_snr(voice, channels.hum(len(voice), float(rng.choice(MAINS_HZ)), rng), level, ratio_db)

    return change


def _clipping(drive_db: float) -> Change:
    return lambda voice, level, rng: channels.clipped(voice, drive_db)


def _noise(ratio_db: float) -> Change:
    def change(voice: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
        return mix_at_snr(voice, effects.coloured_noise(len(voice), SAMPLE_RATE_HZ, 1.0, rng), level, ratio_db)

    return change


def _noise_alone(colour: float) -> MakeClip:
    def make(material: Material, number: int) -> Clip:
        noise = effects.coloured_noise(_samples(), SAMPLE_RATE_HZ, colour, material.rng("noise alone", number))
        return clip_of(nobody(at_level(noise, 1.0), f"noise-{number:02d}"))

    return make


def _silent(material: Material, number: int) -> Clip:
    return clip_of(nobody(np.zeros(_samples()), f"silence-{number:02d}"))


def _quiet(material: Material, number: int) -> Clip:
    noise = effects.coloured_noise(_samples(), SAMPLE_RATE_HZ, 1.0, material.rng("silence", number))
    return clip_of(nobody(noise * 10.0 ** (QUIET_DBFS / 20.0), f"silence-{number:02d}"))


def _instrument(name: str) -> MakeClip:
    def make(material: Material, number: int) -> Clip:
        sound = INSTRUMENTS[name](_samples(), material.rng(name, number))
        return clip_of(nobody(at_level(sound, rms(sound)), f"{name}-{number:02d}"))

    return make


def _music(ratio_db: float) -> MakeClip:
    def make(material: Material, number: int) -> Clip | None:
        item = material.voice(number)
        sound = mixed(item, ratio_db, ModelConfig())
        if sound is None:
            return None
        clip = clip_of(item, sound)
        return clip if ratio_db != MUSIC else replace(clip, f0_hz=np.zeros_like(clip.f0_hz))

    return make
