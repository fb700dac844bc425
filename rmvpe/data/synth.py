"""Dry voices -> singing, speech and tones whose f0 is known exactly, because it was given to the synthesiser.

A clip is analysed by WORLD (Morise et al. 2016, through pyworld) into f0, spectral envelope and aperiodicity; a new
f0 contour is drawn and synthesised as harmonics plus noise; the label is that contour, not a measurement. Conventions:

- 16 kHz; WORLD frames every 5 ms, frame j at j x 5 ms, so the label at k x 10 ms is frame 2k exactly.
- "frames" below are those 5 ms frames; f0 is 0 where unvoiced, and such frames are noise only.
- Item i of a split depends on (seed, split, i) and the source folders only: never on other items or on the workers.
- Contours are drawn in MIDI semitones and handed on in Hz.
"""

import functools
import importlib.machinery
import importlib.util
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rmvpe.data.sources import AUDIO_SUFFIXES, SAMPLE_RATE_HZ, read_mono, write_hybrid_pair
from rmvpe.pitch import hz_to_midi, midi_to_hz

FRAME_SAMPLES = 80  # 5 ms: half a label step
FRAME_S = FRAME_SAMPLES / SAMPLE_RATE_HZ
FFT_SIZE = 1024  # WORLD's choice for f0 >= 47 Hz; as an impulse response (64 ms) it also covers synthesis at 32 Hz
ANALYSIS_F0_HZ = (60.0, 800.0)  # searched by harvest: from a low male to a raised cartoon voice
VOICING_FLOOR_DB = -45.0  # against the clip's loud level (95 % quantile): quieter frames count as unvoiced
SHORTEST_VOICED_S = 0.03  # shorter voiced islands are errors of the analysis or too short to carry pitch
PEAK_DBFS = (-12.0, -3.0)
SECONDS = (10.0, 15.0)

SPLITS = ("train", "valid", "test")

# Kept out of training, with the reason. What is not listed trains. Each valid or test group is wholly on one side;
# folders that may share a speaker (SOURCES.md, "Licence notes") stay together. Known doubt: hedgewars-singer's actor
# may be heard in other hedgewars-* folders, which train because they are the only raised voices.
HELD_OUT_VOICES: dict[str, dict[str, str]] = {
    "valid": {
        "ktuberling-sl": "own language, no other Slovenian folder",
        "klettres-nds": "own language, no other Low German folder",
        "tuxpaint-ru": "Russian group",
        "klettres-ru": "Russian group: the same projects may share speakers",
        "ktuberling-ru-m": "Russian group",
        "ktuberling-ru-f": "Russian group",
        "klettres-es": "Spanish group",
        "tuxpaint-es": "Spanish group",
        "unknown-horizons-en": "one narrator per language",
    },
    "test": {
        "asterisk-fr-june": "studio prompts, named speaker (June Wallack) of no other folder",
        "klettres-de-f": "German group: KDE games may share speakers",
        "klettres-de-m": "German group",
        "ktuberling-de": "German group",
        "unknown-horizons-de": "one narrator per language",
        "klettres-tn": "high voice (about 350 Hz), own language",
        "klettres-hu": "low noisy voice, own language",
        "tuxpaint-el": "Greek group",
        "ktuberling-el": "Greek group",
        "0ad-greek-f": "named speaker of no other folder",
        "0ad-latin-f": "named speaker of no other folder",
        "0ad-latin-m": "named speaker of no other folder",
        "hedgewars-singer": "the only sung folder; its actor may be in other hedgewars-* folders, see above",
    },
}
HELD_OUT_MUSIC: dict[str, dict[str, str]] = {
    "valid": {name: "whole package" for name in ("flare-game", "neverball-common", "naev-data", "wizznic-data")},
    "test": {
        "0ad-data": "orchestral, ethnic",
        "hyperrogue-music": "orchestral, electronic",
        "supertuxkart-data": "pop-rock; one of its composers also wrote for supertux-data, which trains",
        "xmoto-data": "rock",
        "lincity-ng-data": "blues, jazz",
        "pax-britannica-data": "ambient",
    },
}


@dataclass(frozen=True)
class Recipe:
    """What a split is made of: shares of kinds, f0 limits in Hz, and (share, low, high) of the median pitch sung."""

    shares: dict[str, float]
    f0_range_hz: tuple[float, float]
    registers_hz: tuple[tuple[float, float, float], ...]


_FIGURES = Recipe({"sing": 0.75, "speech": 0.25}, (80.0, 1000.0), ((1.0, 105.0, 760.0),))
RECIPES = {
    # The whole range of the network's bins is trained, most of it on 60..1100 Hz; the figures are about people.
    "train": Recipe(
        {"sing": 0.60, "speech": 0.22, "tone": 0.08, "silent": 0.10},
        (32.5, 1950.0),
        ((0.70, 85.0, 800.0), (0.19, 700.0, 1800.0), (0.11, 38.0, 90.0)),
    ),
    "valid": _FIGURES,
    "test": _FIGURES,
}


@dataclass(frozen=True)
class Sources:
    """Sound files of one split by speaker and by music package, as paths relative to the two source folders."""

    voices: dict[str, tuple[str, ...]]
    music: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Plan:
    """What one item is made from; drawn without touching any sound, so that a manifest can list it beforehand."""

    split: str
    index: int
    seed: int
    kind: str
    seconds: float  # a multiple of 10 ms
    clips: tuple[str, ...]
    music: str | None

    @property
    def name(self) -> str:
        """File name without suffix: split, index, kind."""
        return f"{self.split}_{self.index:05d}_{self.kind}"


@dataclass(frozen=True)
class Analysis:
    """WORLD parameters of a voice on 5 ms frames: f0_hz [frames], log_envelope and aperiodicity [frames, 513]."""

    f0_hz: np.ndarray
    log_envelope: np.ndarray  # natural log of power
    aperiodicity: np.ndarray  # 0..1, amplitude ratio
    voiced: np.ndarray  # bool [frames]


@functools.cache
def world() -> Any:
    """pyworld's compiled functions, without its package __init__: that needs pkg_resources, gone from setuptools 82.

    Raises ModuleNotFoundError where pyworld is not installed.
    """
    package = importlib.util.find_spec("pyworld")
    folders = None if package is None else package.submodule_search_locations
    spec = importlib.machinery.PathFinder.find_spec("pyworld.pyworld", folders) if folders else None
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError("making synthetic voices needs pyworld: pip install pyworld")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- which sources, which item -------------------------------------------------------------------------------------


def split_sources(voices: str | Path, music: str | Path) -> dict[str, Sources]:
    """Sort the folders inside `voices` (one per speaker) and `music` (one per package) into the three splits.

    Raises FileNotFoundError for a missing folder, ValueError for one without sound files in sub-folders.
    """
    speakers, packages = _sound_folders(Path(voices), "speaker"), _sound_folders(Path(music), "package")
    return {
        split: Sources(_of_split(speakers, HELD_OUT_VOICES, split), _of_split(packages, HELD_OUT_MUSIC, split))
        for split in SPLITS
    }


def _sound_folders(root: Path, what: str) -> dict[str, tuple[str, ...]]:
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder: give the folder that holds one sub-folder per {what}")
    found = {
        folder.name: tuple(
            sorted(str(path.relative_to(root)) for path in folder.iterdir() if path.suffix.lower() in AUDIO_SUFFIXES)
        )
        for folder in sorted(root.iterdir())
        if folder.is_dir()
    }
    found = {name: files for name, files in found.items() if files}
    if not found:
        raise ValueError(f"{root} has no sub-folder with .wav or .flac files: put one sub-folder per {what} there")
    return found


def _of_split(folders: dict[str, Any], held_out: dict[str, dict[str, str]], split: str) -> dict[str, Any]:
    if split != "train":
        return {name: files for name, files in folders.items() if name in held_out[split]}
    elsewhere = {name for names in held_out.values() for name in names}
    return {name: files for name, files in folders.items() if name not in elsewhere}


def plan_item(sources: Sources, split: str, index: int, seed: int) -> Plan:
    """Draw what item `index` of `split` is made from. Raises ValueError if the split has no voice or no music."""
    if not sources.voices or not sources.music:
        lacking = "voice" if not sources.voices else "music"
        raise ValueError(f"the {split} split has no {lacking}: its folders are listed in rmvpe/data/synth.py")
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    recipe = RECIPES[split]
    kind = str(rng.choice(list(recipe.shares), p=list(recipe.shares.values())))
    seconds = round(float(rng.uniform(*SECONDS)), 2)
    speaker, package = _draw_folder(sources.voices, rng), _draw_folder(sources.music, rng)
    clips = tuple(str(clip) for clip in rng.permutation(sources.voices[speaker])[:2])
    music = str(rng.choice(sources.music[package]))
    if kind == "tone":
        return Plan(split, index, seed, kind, seconds, (), None)
    return Plan(split, index, seed, kind, seconds, clips, music)


def _draw_folder(folders: dict[str, tuple[str, ...]], rng: np.random.Generator) -> str:
    # The square root lets large folders count for more, without drowning the speaker of three clips.
    weights = np.sqrt([len(files) for files in folders.values()])
    return str(rng.choice(list(folders), p=weights / weights.sum()))


def make_item(plan: Plan, voices: Path, music: Path, cache: Path, out: Path) -> Plan:
    """Render `plan` and write it to `out`/split; returns the plan. A process pool may call it in any order."""
    clips = [analyse_cached(voices / clip, cache) for clip in plan.clips]
    backing = None if plan.music is None else read_mono(music / plan.music)
    voice, accompaniment, f0_hz = render_item(plan, clips, backing)
    write_hybrid_pair(out / plan.split, plan.name, voice, accompaniment, f0_hz)
    return plan


def render_item(
    plan: Plan, clips: list[Analysis], music: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """The sound and label of `plan`.

    `music`: float [samples] at 16 kHz. Returns voice [samples], accompaniment [samples] or None, both float within
    -1..1, and f0_hz [samples / 160 + 1] at 10 ms from time 0. The accompaniment has the RMS of the voice's voiced
    part: the mix level is the trainer's choice.
    """
    rng = np.random.default_rng([plan.seed, SPLITS.index(plan.split), plan.index, 1])
    samples = round(plan.seconds * SAMPLE_RATE_HZ)
    recipe = RECIPES[plan.split]
    makers = {"sing": _sing, "speech": _speak, "silent": _breathe}
    if plan.kind == "tone":
        voice, f0_hz = tones(samples, recipe.f0_range_hz, rng)
    else:
        voice, f0_hz = makers[plan.kind](clips, samples, recipe, rng)
    # A breath is a quiet thing; sung and spoken voices are recorded near full scale.
    peak_db = rng.uniform(-50.0, -15.0) if plan.kind == "silent" else rng.uniform(*PEAK_DBFS)
    voice = voice * (10 ** (peak_db / 20) / max(np.abs(voice).max(), 1e-9))
    label = f0_hz[::2]
    if music is None:
        return voice, None, label
    accompaniment = _excerpt(music, samples, rng)
    level = _rms(voice[np.repeat(label[:-1] > 0, 160)]) if label[:-1].any() else 10 ** (rng.uniform(-26, -16) / 20)
    accompaniment = accompaniment * (level / max(_rms(accompaniment), 1e-6))
    # Music with a large crest factor may pass full scale: both channels step back, the balance stays.
    full = max(np.abs(accompaniment).max() / 0.99, 1.0)
    return voice / full, accompaniment / full, label


def _excerpt(audio: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    audio = np.tile(audio, -(-samples // len(audio)))
    start = int(rng.integers(len(audio) - samples + 1))
    return audio[start : start + samples]


def _rms(audio: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(audio)))) if len(audio) else 0.0


# --- analysis ------------------------------------------------------------------------------------------------------


def analyse(audio: np.ndarray) -> Analysis:
    """WORLD analysis of a dry voice, float [samples] at 16 kHz, on frames at 0, 5, 10 ... ms."""
    audio = np.ascontiguousarray(audio, dtype=np.float64)
    low, high = ANALYSIS_F0_HZ
    f0_hz, time_s = world().harvest(audio, SAMPLE_RATE_HZ, low, high, frame_period=1000 * FRAME_S)
    f0_hz = world().stonemask(audio, f0_hz, time_s, SAMPLE_RATE_HZ)
    envelope = world().cheaptrick(audio, f0_hz, time_s, SAMPLE_RATE_HZ, fft_size=FFT_SIZE)
    # threshold 0: D4C estimates every frame with an f0; voicing is decided below, by energy.
    aperiodicity = world().d4c(audio, f0_hz, time_s, SAMPLE_RATE_HZ, threshold=0.0, fft_size=FFT_SIZE)
    voiced = drop_short((f0_hz > 0) & _loud(audio, len(f0_hz)), round(SHORTEST_VOICED_S / FRAME_S))
    return Analysis(f0_hz, np.log(envelope).astype(np.float32), aperiodicity.astype(np.float32), voiced)


def analyse_cached(path: Path, cache: Path) -> Analysis:
    """`analyse` of a sound file, kept in folder `cache` for the versions still to be made of the same clip."""
    stored = cache / f"{path.parent.name}--{path.stem}.npy"
    if stored.is_file():
        table = np.load(stored)
    else:
        found = analyse(read_mono(path))
        table = np.hstack([found.f0_hz[:, None], found.voiced[:, None], found.log_envelope, found.aperiodicity])
        table = table.astype(np.float32)
        cache.mkdir(parents=True, exist_ok=True)
        part = stored.with_name(f"{stored.name}.{np.random.default_rng().integers(1 << 62)}")  # other workers' parts
        with part.open("wb") as file:
            np.save(file, table)
        part.replace(stored)
    bins = FFT_SIZE // 2 + 1
    return Analysis(table[:, 0].astype(np.float64), table[:, 2 : 2 + bins], table[:, 2 + bins :], table[:, 1] > 0)


def _loud(audio: np.ndarray, frames: int) -> np.ndarray:
    """bool [frames]: energy over 20 ms about each frame is above the floor."""
    padded = np.pad(np.square(audio), (2 * FRAME_SAMPLES, 4 * FRAME_SAMPLES))
    blocks = np.add.reduceat(padded, np.arange(0, len(padded), FRAME_SAMPLES))
    power = np.convolve(blocks, np.ones(4), mode="valid")[:frames]
    return power > np.quantile(power, 0.95) * 10 ** (VOICING_FLOOR_DB / 10)


def runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """[start, end) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def drop_short(mask: np.ndarray, shortest: int) -> np.ndarray:
    """`mask` without runs of fewer than `shortest` frames."""
    kept = mask.copy()
    for start, end in runs(mask):
        kept[start:end] = end - start >= shortest
    return kept


# --- contours ------------------------------------------------------------------------------------------------------


def melody(voiced: np.ndarray, centre_midi: float, limits_midi: tuple[float, float], rng: Any) -> np.ndarray:
    """A sung contour in MIDI, [frames], for the given voicing: notes, portamento, scoops, vibrato, drift, jitter."""
    edges = _note_edges(voiced, rng)
    pitches = _note_pitches(len(edges) - 1, centre_midi, limits_midi, rng)
    contour = np.repeat(pitches, np.diff(edges))
    lengths = np.diff(edges)
    for note, start in enumerate(edges[1:-1]):
        # Portamento of 20..160 ms, a half cosine, within half of each note.
        half = int(min(rng.uniform(2, 16), lengths[note] // 2, lengths[note + 1] // 2))
        ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(2 * half) + 0.5) / max(2 * half, 1))
        contour[start - half : start + half] = pitches[note] + (pitches[note + 1] - pitches[note]) * ramp
    vibrato_habit = rng.uniform(0, 1)
    for start, end in itertools.pairwise(edges):
        contour[start:end] += _ornament(end - start, vibrato_habit, rng)
    drift = 0.15 * rng.uniform(0, 2) * _smooth_noise(len(contour), 0.4, rng)
    jitter = 0.04 * rng.uniform(0, 2) * _smooth_noise(len(contour), 0.02, rng)
    # A larynx does not jump: what scoops and falls leave as steps is spread over 20 ms.
    return _smoothed(contour, 7) + drift + jitter


def _note_edges(voiced: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Frames where notes begin, with 0 and the end: most voiced islands start a note, long ones hold several."""
    typical_s = rng.uniform(0.2, 0.7)
    edges = [0]
    for start, end in runs(voiced):
        at = start if rng.random() < 0.85 else start + _note_frames(typical_s, rng)
        while at < end - 0.12 / FRAME_S or at == start:
            edges.append(at)
            at += _note_frames(typical_s, rng)
    return np.unique([*edges, len(voiced)])


def _note_frames(typical_s: float, rng: np.random.Generator) -> int:
    return round(float(np.clip(rng.lognormal(np.log(typical_s), 0.6), 0.12, 2.0)) / FRAME_S)


def _note_pitches(count: int, centre: float, limits: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    # The interval sizes of songs: mostly seconds and thirds; octaves are rare but a tracker must survive them.
    sizes, shares = [0, 1, 2, 3, 4, 5, 7, 12], [0.12, 0.17, 0.30, 0.14, 0.10, 0.09, 0.05, 0.03]
    tuning = rng.uniform(-0.5, 0.5)
    low, high = max(limits[0] + 1.5, centre - 10), min(limits[1] - 1.5, centre + 10)
    pitches, at = np.empty(count), centre
    for note in range(count):
        # The further from the centre, the likelier the way back.
        up = rng.random() < np.clip(0.5 - 0.06 * (at - centre), 0.05, 0.95)
        step = rng.choice(sizes, p=shares) * (1 if up else -1)
        at = at + step if low <= at + step <= high else float(np.clip(at - step, low, high))
        pitches[note] = np.round(at) + tuning + rng.normal(0, 0.12)
    return pitches


def _ornament(frames: int, vibrato_habit: float, rng: np.random.Generator) -> np.ndarray:
    """Semitones added to one note: a scoop into it, a slide along it, a fall at its end, a vibrato fading in."""
    time_s = FRAME_S * np.arange(frames)
    added = np.zeros(frames)
    if rng.random() < 0.25:
        added -= rng.uniform(0.3, 3.0) * np.exp(-time_s / rng.uniform(0.02, 0.08))
    if rng.random() < 0.08:
        added += np.linspace(0, rng.uniform(-4, 4), frames)
    if rng.random() < 0.08:
        added -= rng.uniform(0.5, 4.0) * np.exp(-time_s[::-1] / rng.uniform(0.02, 0.06))
    if time_s[-1] > 0.3 and rng.random() < vibrato_habit:
        depth = min(abs(rng.normal(0, 0.6)), 1.5)
        rate_hz = rng.uniform(4.0, 7.5) * (1 + 0.05 * _smooth_noise(frames, 0.3, rng))
        onset = np.clip((time_s - rng.uniform(0.05, 0.3)) / rng.uniform(0.05, 0.5), 0, 1)
        added += depth * onset * np.sin(2 * np.pi * np.cumsum(rate_hz) * FRAME_S + rng.uniform(0, 6.28))
    return added


def _smooth_noise(frames: int, width_s: float, rng: np.random.Generator) -> np.ndarray:
    """Unit-variance noise [frames], smoothed by a Hann window of about 2 x `width_s`."""
    window = np.hanning(2 * max(round(width_s / FRAME_S), 1) + 3)
    noise = np.convolve(rng.standard_normal(frames + len(window) - 1), window, mode="valid")
    return noise / np.sqrt(np.sum(np.square(window)))


def _smoothed(values: np.ndarray, width: int) -> np.ndarray:
    """`values` [frames] under a Hann window of `width` frames (odd), the ends held."""
    window = np.hanning(width) / np.hanning(width).sum()
    return np.convolve(np.pad(values, width // 2, mode="edge"), window, mode="valid")


def natural_contour(f0_hz: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """The clip's own contour in MIDI, [frames], without gaps and without octave jumps of the analysis."""
    reliable = voiced & (f0_hz > 0)
    if not reliable.any():
        return np.full(len(f0_hz), 57.0)
    for start, end in runs(reliable):
        if end - start > 12:  # harvest's extrapolation into the borders is often wild
            reliable[[*range(start, start + 3), *range(end - 3, end)]] = False
    midi = hz_to_midi(f0_hz)
    frames = np.arange(len(midi))
    filled = np.interp(frames, frames[reliable], midi[reliable])
    around = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(filled, 30, mode="edge"), 61), axis=1)
    steady = reliable & (np.abs(midi - around) < 5)
    filled = np.interp(frames, frames[steady], midi[steady]) if steady.any() else around
    return _smoothed(filled, 13)


# --- voices --------------------------------------------------------------------------------------------------------


def _sing(clips: list[Analysis], samples: int, recipe: Recipe, rng: Any) -> tuple[np.ndarray, np.ndarray]:
    shares = np.array([share for share, _, _ in recipe.registers_hz])
    _, low, high = recipe.registers_hz[rng.choice(len(shares), p=shares / shares.sum())]
    limits = hz_to_midi(np.array(recipe.f0_range_hz))
    centre = rng.uniform(*hz_to_midi(np.array([low, high])))
    source, positions = _stretched(clips, samples, (1.0, 5.0), rng)
    shift = centre - _median_midi(source)
    frames = resample_frames(source, positions, _formant_factor(shift, rng))
    # Two and a half periods are the least that can be heard as pitch; at 40 Hz that is 60 ms.
    shortest = max(SHORTEST_VOICED_S, 2.5 / float(midi_to_hz(centre)))
    voiced = drop_short(frames.voiced, round(shortest / FRAME_S))
    midi = np.clip(melody(voiced, centre, (limits[0], limits[1]), rng), *limits)
    f0_hz = np.where(voiced, midi_to_hz(midi), 0)
    voice = synthesise(_voice_colour(frames, rng, centre_midi=centre), f0_hz, samples, rng)
    return voice * _dynamics(voiced, samples, rng), f0_hz


def _speak(clips: list[Analysis], samples: int, recipe: Recipe, rng: Any) -> tuple[np.ndarray, np.ndarray]:
    source, positions = _stretched(clips, samples, (0.8, 1.3), rng)
    own, median = natural_contour(source.f0_hz, source.voiced), _median_midi(source)
    limits = hz_to_midi(np.array(recipe.f0_range_hz))
    centre = np.clip(median + rng.uniform(-9, 14), limits[0] + 4, limits[1] - 6)
    midi = centre + rng.uniform(0.6, 1.8) * (np.interp(positions, np.arange(len(own)), own) - median)
    midi = np.clip(midi + 0.05 * _smooth_noise(len(midi), 0.02, rng), *limits)
    frames = resample_frames(source, positions, _formant_factor(centre - median, rng))
    f0_hz = np.where(frames.voiced, midi_to_hz(midi), 0)
    voice = synthesise(_voice_colour(frames, rng, centre_midi=centre), f0_hz, samples, rng)
    return voice * _dynamics(frames.voiced, samples, rng), f0_hz


def _breathe(clips: list[Analysis], samples: int, recipe: Recipe, rng: Any) -> tuple[np.ndarray, np.ndarray]:
    """Nobody sings: half of the time digital silence, else a whisper or breath; all labels 0."""
    f0_hz = np.zeros(samples // FRAME_SAMPLES + 1)
    if rng.random() < 0.5:
        return np.zeros(samples), f0_hz
    source, positions = _stretched(clips, samples, (0.8, 2.0), rng)
    frames = resample_frames(source, positions, _formant_factor(0.0, rng))
    # A whisper has no voice bar: the open glottis takes the lowest octaves away.
    octaves = np.log2(np.linspace(0, 1, frames.log_envelope.shape[1]) * SAMPLE_RATE_HZ / 2 / 1500 + 1e-2)
    tilted = frames.log_envelope + rng.uniform(0.5, 2.0) * np.minimum(octaves, 0)
    return synthesise(Analysis(f0_hz, tilted, frames.aperiodicity, f0_hz > 0), f0_hz, samples, rng), f0_hz


def _stretched(clips: list[Analysis], samples: int, stretch: tuple[float, float], rng: Any) -> tuple[Analysis, Any]:
    """The clips joined, and for each of the samples / 80 + 1 output frames its position (fractional) in them.

    Voiced islands are stretched by a factor drawn log-uniformly from `stretch`, but for 20 ms at either border, so
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


def _median_midi(source: Analysis) -> float:
    return float(np.median(hz_to_midi(source.f0_hz[source.voiced]))) if source.voiced.any() else 57.0


def _formant_factor(shift_semitones: float, rng: np.random.Generator) -> float:
    # Higher voices have shorter vocal tracts: the factor leans with the shift, but only leans.
    return float(np.exp(np.clip(0.012 * shift_semitones + rng.normal(0, 0.1), np.log(0.8), np.log(1.3))))


def resample_frames(source: Analysis, positions: np.ndarray, formant_factor: float) -> Analysis:
    """`source` read at fractional frame `positions`, its formants moved up by `formant_factor`; f0 is left at 0."""
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


def _voice_colour(frames: Analysis, rng: np.random.Generator, centre_midi: float) -> Analysis:
    """Random breathiness and spectral tilt; high voices lean on their fundamental, as sopranos tune to it."""
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

    The noise is WORLD's. The harmonics are summed here: WORLD places one pulse per period, and above 700 Hz its
    pulses scatter enough to lie only 18 dB above the scatter, which blurs the very pitch that is to be exact.
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
    # WORLD's noise is the same in every call: a lead-in of random length, cut off again, sets the place in it.
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
    turn = np.exp(2j * np.pi * np.cumsum(_between(f0)) / SAMPLE_RATE_HZ)
    total, power = np.zeros(len(turn)), np.ones(len(turn), dtype=np.complex128)
    for harmonic in range(count):
        power *= turn
        total += (_between(weights[:, harmonic]) * power).real
    return total


def _minimum_phase(log_power: np.ndarray) -> np.ndarray:
    """Complex log spectrum [frames, bins] of the minimum-phase filter with `log_power` [frames, bins]."""
    cepstrum = np.fft.irfft(log_power / 2, axis=1)
    cepstrum[:, 1 : FFT_SIZE // 2] *= 2
    cepstrum[:, FFT_SIZE // 2 + 1 :] = 0
    return np.fft.rfft(cepstrum, axis=1)


def _between(values: np.ndarray) -> np.ndarray:
    """Frame `values` [frames] read at every sample by straight lines: [(frames - 1) x 80], the first at frame 0."""
    part = np.arange(FRAME_SAMPLES) / FRAME_SAMPLES
    return (values[:-1, None] + np.diff(values)[:, None] * part).ravel()


def _dynamics(voiced: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """A gain [samples]: +-8 dB from phrase to phrase (pauses over 120 ms part them), +-2 dB within."""
    phrase_db = np.empty(len(voiced))
    pauses = [(start + end) // 2 for start, end in runs(~voiced) if end - start > 0.12 / FRAME_S]
    for start, end in itertools.pairwise([0, *pauses, len(voiced)]):
        phrase_db[start:end] = rng.uniform(-8, 8)
    gain_db = _smoothed(phrase_db, 21) + 2.0 * _smooth_noise(len(voiced), 0.5, rng)
    return 10 ** (np.interp(np.arange(samples) / FRAME_SAMPLES, np.arange(len(voiced)), gain_db) / 20)


# --- tones ---------------------------------------------------------------------------------------------------------


def tones(samples: int, f0_range_hz: tuple[float, float], rng: Any) -> tuple[np.ndarray, np.ndarray]:
    """Harmonic tones, steady, gliding or trembling, with silent gaps; log-uniform in f0.

    Returns sound [samples] and f0_hz [samples / 80 + 1] on 5 ms frames. The phase is the integral of f0, which is
    interpolated linearly from frame to frame, so the label is exact at every frame.
    """
    frames = samples // FRAME_SAMPLES + 1
    sound, f0_hz, at = np.zeros(samples), np.zeros(frames), 0
    limits = hz_to_midi(np.array(f0_range_hz)) + np.array([0.3, -0.3])
    while at < frames:
        length = int(min(rng.uniform(0.25, 3.0) / FRAME_S, frames - at))
        if rng.random() > 0.25 and length > 20:
            start, end = rng.uniform(*limits, size=2)
            end = start if rng.random() < 0.5 else start + (end - start) * rng.uniform(0.02, 0.7)
            midi = np.linspace(start, end, length)
            if rng.random() < 0.3:
                midi = np.clip(midi + _ornament(length, 1.0, rng), *limits)
            f0_hz[at : at + length] = midi_to_hz(midi)
            tone = harmonic_tone(f0_hz[at : at + length], rng)[: samples - at * FRAME_SAMPLES]
            sound[at * FRAME_SAMPLES : at * FRAME_SAMPLES + len(tone)] = tone * 10 ** (rng.uniform(-12, 0) / 20)
            at += length
        at += int(rng.uniform(0.05, 0.8) / FRAME_S)
    return sound, f0_hz


def harmonic_tone(f0_hz: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Band-limited tone of unit RMS along `f0_hz` [frames] > 0; float64 [(frames - 1) x 80 + 1], its ends faded."""
    time = np.arange((len(f0_hz) - 1) * FRAME_SAMPLES + 1) / FRAME_SAMPLES
    f0 = np.interp(time, np.arange(len(f0_hz)), f0_hz)
    phase = 2 * np.pi * np.cumsum(f0) / SAMPLE_RATE_HZ
    amplitudes = _harmonic_amplitudes(int(7600 / f0_hz.min()), float(np.median(f0_hz)), rng)
    tone = np.zeros(len(f0))
    for harmonic, amplitude in enumerate(amplitudes, start=1):
        if amplitude > 1e-4 * amplitudes.max():
            # Harmonics that glide towards half the sampling rate fade out over 400 Hz.
            fade = np.clip((7600 - harmonic * f0) / 400, 0, 1)
            tone += amplitude * fade * np.sin(harmonic * phase + rng.uniform(0, 2 * np.pi))
    edge = round(rng.uniform(0.004, 0.02) * SAMPLE_RATE_HZ)
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(edge) / edge)
    tone[:edge] *= ramp
    tone[-edge:] *= ramp[::-1]
    return tone / max(_rms(tone), 1e-9)


def _harmonic_amplitudes(count: int, f0_hz: float, rng: np.random.Generator) -> np.ndarray:
    """[count] amplitudes of one timbre: near-sinusoid, tilted, irregular, formants, or a weak fundamental."""
    number = np.arange(1, count + 1)
    timbre = rng.choice(["sine", "tilt", "irregular", "formants", "weak fundamental"])
    amplitudes = number ** -rng.uniform(0.4, 2.0)
    if timbre == "sine":
        amplitudes = number ** -rng.uniform(3.0, 6.0)
    elif timbre == "irregular":
        amplitudes = amplitudes * rng.lognormal(0, 0.8, count)
    elif timbre == "formants":
        centres = np.array([rng.uniform(250, 900), rng.uniform(800, 2500), rng.uniform(2200, 3500)])[:, None]
        peaks = 1 / (1 + np.square((number * f0_hz - centres) / rng.uniform(60, 250, (3, 1))))
        amplitudes = amplitudes * (0.03 + peaks.sum(axis=0))
    elif timbre == "weak fundamental" and count > 4:
        # Only where enough harmonics remain to tell f0 from its octave.
        amplitudes[0] *= 10 ** (-rng.uniform(10, 40) / 20)
    return amplitudes
