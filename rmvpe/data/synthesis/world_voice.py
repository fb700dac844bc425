"""Analysis of a dry voice by WORLD, and synthesis of it along another f0.

WORLD: Morise, Yokomori, Ozawa 2016, https://doi.org/10.1587/transinf.2015EDP7457, through pyworld. In the order of use:
analysis, stretching and joining of clips, formants and voice colour, synthesis. The noise of a synthesised voice is
WORLD's; its harmonics are summed here, so that they follow the given f0 exactly. "frames" are 5 ms frames at 16 kHz; f0
is 0 where unvoiced, and such frames are noise only.
"""

import hashlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rmvpe.audio import SAMPLE_RATE_HZ
from rmvpe.data.synthesis.contours import FRAME_S, FRAME_SAMPLES, at_every_sample, drop_short, runs
from rmvpe.errors import UserError
from rmvpe.files import atomic_path
from rmvpe.pitch import hz_to_midi
from rmvpe.reading import reading

FFT_SIZE = 1024  # WORLD's choice for f0 >= 47 Hz; as an impulse response (64 ms) it also covers synthesis at 32 Hz
ANALYSIS_F0_HZ = (60.0, 800.0)  # searched by harvest: from a low male to a raised cartoon voice
VOICING_FLOOR_DB = -45.0  # against the clip's loud level (95 % quantile): quieter frames count as unvoiced
SHORTEST_VOICED_S = 0.03  # shorter voiced parts are errors of the analysis or too short to have a pitch


@dataclass(frozen=True)
class Analysis:
    """WORLD parameters of a voice on 5 ms frames: f0_hz [frames], log_envelope and aperiodicity [frames, 513]."""

    f0_hz: np.ndarray
    log_envelope: np.ndarray  # natural log of power
    aperiodicity: np.ndarray  # 0..1, amplitude ratio
    voiced: np.ndarray  # bool [frames]


def world() -> Any:
    """pyworld's compiled functions, without its package __init__, which needs pkg_resources (not in setuptools 82).

    Raises UserError if pyworld is not installed.
    """
    name = "pyworld.pyworld"
    package = importlib.util.find_spec("pyworld")
    folders = None if package is None else package.submodule_search_locations
    spec = importlib.machinery.PathFinder.find_spec(name, folders) if folders else None
    if spec is None or spec.loader is None:
        raise UserError("making synthetic voices needs pyworld: run pip install pyworld")
    if name not in sys.modules:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module
    return sys.modules[name]


def analyse(audio: np.ndarray) -> Analysis:
    """WORLD analysis of a dry voice, float [samples] at 16 kHz, on frames at 0, 5, 10 ... ms."""
    audio = np.ascontiguousarray(audio, dtype=np.float64)
    low, high = ANALYSIS_F0_HZ
    f0_hz, time_s = world().harvest(audio, SAMPLE_RATE_HZ, low, high, frame_period=1000 * FRAME_S)
    f0_hz = world().stonemask(audio, f0_hz, time_s, SAMPLE_RATE_HZ)
    envelope = world().cheaptrick(audio, f0_hz, time_s, SAMPLE_RATE_HZ, fft_size=FFT_SIZE)
    # threshold 0: D4C estimates every frame with an f0; voicing is decided below, by energy.
    aperiodicity = world().d4c(audio, f0_hz, time_s, SAMPLE_RATE_HZ, threshold=0.0, fft_size=FFT_SIZE)
    voiced = drop_short((f0_hz > 0) & loud(audio, len(f0_hz)), round(SHORTEST_VOICED_S / FRAME_S))
    return Analysis(f0_hz, np.log(envelope).astype(np.float32), aperiodicity.astype(np.float32), voiced)


def analyse_cached(read: Callable[[], np.ndarray], clip: str, cache: Path) -> Analysis:
    """`analyse` of what `read` returns; the folder `cache` keeps the result under the name `clip` for other items."""
    stored = cache / f"{hashlib.sha256(clip.encode()).hexdigest()[:24]}.npy"  # a clip's name is a path
    if stored.is_file():
        with reading(stored, "delete it: it is computed again"):
            table = np.load(stored, allow_pickle=False)
            if table.ndim != 2 or table.dtype != np.float32 or table.shape[1] != 2 + 2 * (FFT_SIZE // 2 + 1):
                raise ValueError(f"it holds {table.dtype} {list(table.shape)}")
    else:
        found = analyse(read())
        table = np.hstack([found.f0_hz[:, None], found.voiced[:, None], found.log_envelope, found.aperiodicity])
        table = table.astype(np.float32)
        with atomic_path(stored) as temporary:  # several workers may analyse the same clip at once
            np.save(temporary, table)
    bins = FFT_SIZE // 2 + 1
    return Analysis(table[:, 0].astype(np.float64), table[:, 2 : 2 + bins], table[:, 2 + bins :], table[:, 1] > 0)


def loud(audio: np.ndarray, frames: int) -> np.ndarray:
    """bool [frames of 5 ms]: energy over 20 ms about each frame is above the floor."""
    padded = np.pad(np.square(audio), (2 * FRAME_SAMPLES, 4 * FRAME_SAMPLES))
    blocks = np.add.reduceat(padded, np.arange(0, len(padded), FRAME_SAMPLES))
    power = np.convolve(blocks, np.ones(4), mode="valid")[:frames]
    return power > np.quantile(power, 0.95) * 10 ** (VOICING_FLOOR_DB / 10)


def stretched(clips: list[Analysis], samples: int, stretch: tuple[float, float], rng: Any) -> tuple[Analysis, Any]:
    """The clips joined, and for each of the samples / 80 + 1 output frames its position (fractional) in them.

    Voiced parts are stretched by a factor drawn log-uniformly from `stretch`, except 20 ms at either border, so
    that vowels sustain while consonants and their transitions keep their pace.
    """
    frames = samples // FRAME_SAMPLES + 1
    source = _joined(clips, frames + 8, rng)
    pace = np.ones(len(source.voiced))
    for start, end in runs(source.voiced):
        if end - start > 8:
            pace[start + 4 : end - 4] = np.exp(rng.uniform(*np.log(stretch)))
    pace = np.convolve(np.pad(pace, 2, mode="edge"), np.full(5, 0.2), mode="valid")
    arrival = np.concatenate([[0.0], np.cumsum(pace)])[:-1]
    # Pace below 1 may leave the joined clips a little short; the last frame is then held.
    return source, np.interp(np.arange(frames), arrival, np.arange(len(pace)))


def _joined(clips: list[Analysis], frames: int, rng: np.random.Generator) -> Analysis:
    """At least `frames` frames: the first clip from a random pause on, then the clips in turn, over and over."""
    pauses = np.flatnonzero(~clips[0].voiced)
    start = int(rng.choice(pauses)) if len(pauses) else 0
    parts, total, turn = [(clips[0], start)], len(clips[0].voiced) - start, 1
    while total < 1.3 * frames:
        parts.append((clips[turn % len(clips)], 0))
        total += len(parts[-1][0].voiced)
        turn += 1
    return Analysis(
        np.concatenate([clip.f0_hz[at:] for clip, at in parts]),
        np.concatenate([clip.log_envelope[at:] for clip, at in parts]),
        np.concatenate([clip.aperiodicity[at:] for clip, at in parts]),
        np.concatenate([clip.voiced[at:] for clip, at in parts]),
    )


def median_midi(source: Analysis) -> float:
    """Median pitch of the voiced frames in MIDI; 57 (220 Hz) if there is none."""
    return float(np.median(hz_to_midi(source.f0_hz[source.voiced]))) if source.voiced.any() else 57.0


def formant_factor(shift_semitones: float, rng: np.random.Generator) -> float:
    """Draw what the formants of a voice are multiplied by, 0.8..1.3, when its pitch moves by `shift_semitones`."""
    # Higher voices tend to have shorter vocal tracts, so the mean of the factor rises a little with the shift
    return float(np.exp(np.clip(0.012 * shift_semitones + rng.normal(0, 0.1), np.log(0.8), np.log(1.3))))


def resample_frames(source: Analysis, positions: np.ndarray, formant_factor: float) -> Analysis:
    """`source` at fractional frame `positions` [frames], formants moved up by `formant_factor`; f0 stays 0."""
    lower = np.clip(np.floor(positions).astype(int), 0, len(source.voiced) - 1)
    upper = np.minimum(lower + 1, len(source.voiced) - 1)
    part = (positions - lower)[:, None].astype(np.float32)
    nearest = np.where(part[:, 0] < 0.5, lower, upper)
    bins = np.arange(source.log_envelope.shape[1]) / formant_factor
    left = np.minimum(bins.astype(int), len(bins) - 2)
    across = np.clip(bins - left, 0, 1).astype(np.float32)

    def read(table: np.ndarray) -> np.ndarray:
        rows = table[lower] * (1 - part) + table[upper] * part
        return rows[:, left] * (1 - across) + rows[:, left + 1] * across

    envelope, aperiodicity = read(source.log_envelope), read(source.aperiodicity)
    return Analysis(np.zeros(len(positions)), envelope, aperiodicity, source.voiced[nearest])


def voice_colour(frames: Analysis, rng: np.random.Generator, centre_midi: float) -> Analysis:
    """Random breathiness and spectral tilt; high voices get a stronger fundamental, as by sopranos' formant tuning."""
    # D4C calls speech above 3 kHz nearly all noise at 16 kHz; sung vowels have harmonics there.
    aperiodicity = np.power(frames.aperiodicity * rng.uniform(0.2, 1.0), rng.uniform(0.8, 1.6))
    hz = np.linspace(0, SAMPLE_RATE_HZ / 2, aperiodicity.shape[1])
    if rng.random() < 0.2:
        # Breath is high: the noise of a leaking glottis passes the harmonics from about 1.5 kHz on.
        breath = rng.uniform(0.1, 0.7) * np.clip((hz - 500) / 2000, 0.01, 1)
        aperiodicity = aperiodicity + breath * (1 - aperiodicity)
    octaves = np.log2(np.maximum(hz, 200.0) / 200.0)
    tilt_db = rng.uniform(-5, 3) if rng.random() < 0.4 else 0.0
    tilt_db -= rng.uniform(0, 0.4) * max(centre_midi - 72, 0)
    envelope = frames.log_envelope + (tilt_db * np.log(10) / 10) * octaves
    return Analysis(frames.f0_hz, envelope.astype(np.float64), aperiodicity.astype(np.float64), frames.voiced)


def synthesise(frames: Analysis, f0_hz: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Voice of `frames` along `f0_hz` [frames], 0 = noise only; returns float64 [samples].

    The noise is WORLD's. The harmonics are summed here: WORLD places one pulse per period, and above 700 Hz its pulses
    are so irregular that harmonics are only 18 dB above the noise this makes, and the pitch would not be exact.
    """
    hz = np.linspace(0, SAMPLE_RATE_HZ / 2, frames.log_envelope.shape[1])
    # The noise of a singing glottis comes with its pulses; below f0 there is next to none.
    below_f0 = np.minimum(hz / np.maximum(f0_hz, 1.0)[:, None], 1.0)
    noisiness = np.clip(frames.aperiodicity * below_f0, 0.001, 0.999)
    noisiness[f0_hz == 0] = 1.0
    voice = _noise(frames.log_envelope + 2 * np.log(noisiness), samples, rng)
    log_harmonic = frames.log_envelope + np.log1p(-np.square(np.minimum(noisiness, 0.999)))
    for start, end in runs(f0_hz > 0):
        first, sung = max(start - 1, 0) * FRAME_SAMPLES, _harmonics(log_harmonic, f0_hz, start, end)
        sung = sung[: samples - first]
        voice[first : first + len(sung)] += sung
    return voice


def _noise(log_envelope: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    # WORLD's noise is the same in every call: a lead-in of random length, cut off again, gives another part of it
    lead = int(rng.integers(10, 200))
    power = np.exp(np.pad(log_envelope.astype(np.float64), ((lead, 4), (0, 0)), mode="edge"))
    noise = world().synthesize(
        np.zeros(len(power)), np.ascontiguousarray(power), np.ones(power.shape), SAMPLE_RATE_HZ, 1000 * FRAME_S
    )
    return noise[lead * FRAME_SAMPLES : lead * FRAME_SAMPLES + samples]


def _harmonics(log_envelope: np.ndarray, f0_hz: np.ndarray, start: int, end: int) -> np.ndarray:
    """The harmonics of voiced frames [start, end), from one frame before to one after, where they are 0.

    Their phases are those of the minimum-phase filter with that envelope, on a pulse train.
    """
    rows = np.clip(np.arange(max(start - 1, 0), end + 1), start, end - 1)
    f0 = f0_hz[rows]
    count = int(SAMPLE_RATE_HZ / 2 / f0.min())
    number = np.arange(1, count + 1)
    bins = np.minimum(f0[:, None] * number * FFT_SIZE / SAMPLE_RATE_HZ, FFT_SIZE / 2)  # [rows, count]
    lower = np.minimum(bins.astype(int), FFT_SIZE // 2 - 1)
    part, at = bins - lower, np.arange(len(rows))[:, None]
    spectrum = _minimum_phase(log_envelope[rows])
    log_spectrum = spectrum[at, lower] * (1 - part) + spectrum[at, lower + 1] * part
    # Harmonics that glide towards half the sampling rate fade out over 300 Hz. sqrt(f0) keeps the power per Hz.
    fade = np.clip((SAMPLE_RATE_HZ / 2 - 100 - f0[:, None] * number) / 300, 0, 1)
    weights = 2 * np.sqrt(f0[:, None] / SAMPLE_RATE_HZ) * fade * np.exp(log_spectrum)
    weights[-1] = 0.0
    if start > 0:
        weights[0] = 0.0
    turn = np.exp(2j * np.pi * np.cumsum(at_every_sample(f0)) / SAMPLE_RATE_HZ)
    total, power = np.zeros(len(turn)), np.ones(len(turn), dtype=np.complex128)
    for harmonic in range(count):
        power *= turn
        total += (at_every_sample(weights[:, harmonic]) * power).real
    return total


def _minimum_phase(log_power: np.ndarray) -> np.ndarray:
    """Complex log spectrum [frames, bins] of the minimum-phase filter with `log_power` [frames, bins]."""
    cepstrum = np.fft.irfft(log_power / 2, axis=1)
    cepstrum[:, 1 : FFT_SIZE // 2] *= 2
    cepstrum[:, FFT_SIZE // 2 + 1 :] = 0
    return np.fft.rfft(cepstrum, axis=1)
