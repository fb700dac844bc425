"""Dry voices -> singing, speech and tones whose f0 is known exactly, because it was given to the synthesiser.

Here is what a data set is made of: splits, held-out folders, recipes, plans, and the rendering of an item. A clip is
analysed by WORLD into f0, spectral envelope and aperiodicity (`world_voice`); a new f0 contour is drawn (`contours`)
and synthesised as harmonics plus noise; the label is that contour, not a measurement. Conventions:

- 16 kHz; WORLD frames every 5 ms, frame j at j x 5 ms, so the label at k x 10 ms is frame 2k exactly.
- "frames" below are those 5 ms frames; f0 is 0 where unvoiced, and such frames are noise only.
- Item i of a split depends on (seed, split, i) and the source folders only, not on other items or on the workers.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rmvpe.audio import SAMPLE_RATE_HZ
from rmvpe.data.mixing import rms
from rmvpe.data.readers.base import read_mono
from rmvpe.data.readers.hybrid import write_hybrid_pair
from rmvpe.data.synthesis.contours import (
    FRAME_S,
    FRAME_SAMPLES,
    REPEATS,
    breaks,
    drop_short,
    dynamics,
    edge_glides,
    melody,
    natural_contour,
    smooth_noise,
    smoothed,
)
from rmvpe.data.synthesis.splits import MIN_RECORDINGS, SPLITS, Folders, divide, read_clip, sound_folders, usable_clips
from rmvpe.data.synthesis.sung_notes import notes_of_melody, notes_of_syllables, syllable_edges, syllables
from rmvpe.data.synthesis.tones import tones
from rmvpe.data.synthesis.world_voice import (
    SHORTEST_VOICED_S,
    Analysis,
    analyse_cached,
    formant_factor,
    median_midi,
    resample_frames,
    stretched,
    synthesise,
    voice_colour,
)
from rmvpe.errors import UserError
from rmvpe.notes import files as note_files
from rmvpe.notes.note import Note
from rmvpe.pitch import hz_to_midi, midi_to_hz

PEAK_DBFS = (-12.0, -3.0)
SECONDS = (10.0, 15.0)  # of an item
KINDS = ("sing", "speech", "tone", "silent", "syllables")  # syllables: sung, one note on most; in no recipe
SUNG_STRETCH = (1.5, 6.0)  # of spoken vowels, for syllables
SYLLABLE_REPEATS = 0.3  # songs with words repeat more notes than a melody alone
NOTES_SUFFIX = ".notes.csv"

# Folders kept out of training, with the reason; all others are for training. If the folders given include none of
# these, as with voices of your own, `splits.divide` decides instead. Folders that may share a speaker (see the
# sources' licence notes) are in the same split. One doubt is known: the actor of hedgewars-singer may also speak in
# other hedgewars-* folders, which are for training because they are the only raised voices.
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
        "hedgewars-singer": "the only sung folder; see above",
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


_VOICES_ONLY = Recipe({"sing": 0.75, "speech": 0.25}, (80.0, 1000.0), ((1.0, 105.0, 760.0),))
RECIPES = {
    # Training covers the whole range of the network's bins, mostly 60 to 1100 Hz; validation and test are voices only
    "train": Recipe(
        {"sing": 0.67, "speech": 0.18, "tone": 0.05, "silent": 0.10},
        (32.5, 1950.0),
        ((0.70, 85.0, 800.0), (0.19, 700.0, 1800.0), (0.11, 38.0, 90.0)),
    ),
    "valid": _VOICES_ONLY,
    "test": _VOICES_ONLY,
}


@dataclass(frozen=True)
class Sources:
    """Clips of one split by speaker, and music files by package, as paths relative to the two source folders."""

    voices: Folders
    music: Folders = field(default_factory=dict)  # empty: items have no accompaniment


@dataclass(frozen=True)
class Plan:
    """What one item is made from; drawn without reading any sound, so that a manifest can list it beforehand."""

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
class SplitSources:
    """`Sources` by split, and sentences about how they were divided and what was skipped."""

    of_split: dict[str, Sources]
    remarks: tuple[str, ...]


class Item(NamedTuple):
    """What is made of a plan.

    voice, accompaniment: float [samples] within -1..1 at 16 kHz, accompaniment or None. f0_hz [samples / 160 + 1]: at
    10 ms from time 0. notes: what is sung; none in silence; None where there is a voice without notes.
    """

    voice: np.ndarray
    accompaniment: np.ndarray | None
    f0_hz: np.ndarray
    notes: list[Note] | None


def split_sources(voices: str | Path, music: str | Path | None = None) -> SplitSources:
    """Sort the folders inside `voices` (one per speaker) and `music` (one per package) into the three splits.

    Either may hold the sound files itself. Raises UserError for a missing folder, one without sound, and voices too
    short to be divided.
    """
    clips, skipped = usable_clips(Path(voices), sound_folders(Path(voices), "speaker"))
    of_voices = divide(clips, HELD_OUT_VOICES, "speaker")
    if of_voices.shared:
        raise UserError(
            f"{voices} holds too little to be split: give at least {MIN_RECORDINGS} recordings, or one of two minutes"
        )
    remarks = [f"skipped, because it holds no sound: {clip}" for clip in skipped]
    remarks.append(f"voices are split {of_voices.how}")
    if music is None:
        return SplitSources({split: Sources(of_voices.of_split[split]) for split in SPLITS}, tuple(remarks))
    of_music = divide(sound_folders(Path(music), "package"), HELD_OUT_MUSIC, "package")
    remarks.append(f"music is split {of_music.how}")
    return SplitSources(
        {split: Sources(of_voices.of_split[split], of_music.of_split[split]) for split in SPLITS}, tuple(remarks)
    )


def plan_item(
    sources: Sources,
    split: str,
    index: int,
    seed: int,
    length_s: tuple[float, float] = SECONDS,
    kind: str | None = None,
) -> Plan:
    """Draw what item `index` of `split` is made from, and its length between the two of `length_s`.

    kind: one of `KINDS`, for items of this kind alone; drawn by the split's recipe if None.
    """
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    recipe = RECIPES[split]
    drawn = str(rng.choice(list(recipe.shares), p=list(recipe.shares.values())))
    kind = drawn if kind is None else kind
    seconds = round(float(rng.uniform(*length_s)), 2)
    speaker = _draw_folder(sources.voices, rng)
    package = _draw_folder(sources.music, rng) if sources.music else None
    clips = tuple(str(clip) for clip in rng.permutation(sources.voices[speaker])[:2])
    music = None if package is None else str(rng.choice(sources.music[package]))
    if kind == "tone":
        return Plan(split, index, seed, kind, seconds, (), None)
    return Plan(split, index, seed, kind, seconds, clips, music)


def _draw_folder(folders: dict[str, tuple[str, ...]], rng: np.random.Generator) -> str:
    # By the square root of its size, a large folder is drawn more often, and one of three clips is not lost
    weights = np.sqrt([len(files) for files in folders.values()])
    return str(rng.choice(list(folders), p=weights / weights.sum()))


def make_item(plan: Plan, voices: Path, music: Path | None, cache: Path, out: Path) -> Plan:
    """Render `plan` and write it to `out`/split; returns the plan. Processes may do this in any order."""
    clips = [analyse_cached(partial(read_clip, voices, clip), clip, cache) for clip in plan.clips]
    backing = None if plan.music is None or music is None else read_mono(music / plan.music)
    voice, accompaniment, f0_hz, notes = render_item(plan, clips, backing)
    if notes is not None:
        note_files.write(notes, None, out / plan.split / f"{plan.name}{NOTES_SUFFIX}", "csv")
    write_hybrid_pair(out / plan.split, plan.name, voice, accompaniment, f0_hz)
    return plan


def render_item(plan: Plan, clips: list[Analysis], music: np.ndarray | None) -> Item:
    """The sound and labels of `plan`.

    `music`: float [samples] at 16 kHz. The accompaniment has the RMS of the voice's voiced
    part: the mix level is the trainer's choice.
    """
    rng = np.random.default_rng([plan.seed, SPLITS.index(plan.split), plan.index, 1])
    samples = round(plan.seconds * SAMPLE_RATE_HZ)
    recipe = RECIPES[plan.split]
    notes: list[Note] | None = None
    if plan.kind == "tone":
        voice, f0_hz = tones(samples, recipe.f0_range_hz, rng)
    elif plan.kind == "speech":
        voice, f0_hz = _speak(clips, samples, recipe, rng)
    elif plan.kind == "silent":
        voice, f0_hz = _breathe(clips, samples, recipe, rng)
        notes = []
    else:
        voice, f0_hz, notes = _sing(clips, samples, recipe, rng, on_syllables=plan.kind == "syllables")
    # Breath is quiet; sung and spoken voices are recorded near full scale
    peak_db = rng.uniform(-50.0, -15.0) if plan.kind == "silent" else rng.uniform(*PEAK_DBFS)
    voice = voice * (10 ** (peak_db / 20) / max(np.abs(voice).max(), 1e-9))
    label = f0_hz[::2]
    if music is None:
        return Item(voice, None, label, notes)
    accompaniment = _excerpt(music, samples, rng)
    level = rms(voice[np.repeat(label[:-1] > 0, 160)]) if label[:-1].any() else 10 ** (rng.uniform(-26, -16) / 20)
    accompaniment = accompaniment * (level / max(rms(accompaniment), 1e-6))
    # Music with a large crest factor may exceed full scale: then both channels are scaled, and their ratio stays
    full = max(np.abs(accompaniment).max() / 0.99, 1.0)
    return Item(voice / full, accompaniment / full, label, notes)


def _sing(
    clips: list[Analysis], samples: int, recipe: Recipe, rng: Any, on_syllables: bool
) -> tuple[np.ndarray, np.ndarray, list[Note]]:
    shares = np.array([share for share, _, _ in recipe.registers_hz])
    _, low, high = recipe.registers_hz[rng.choice(len(shares), p=shares / shares.sum())]
    limits = hz_to_midi(np.array(recipe.f0_range_hz))
    centre = rng.uniform(*hz_to_midi(np.array([low, high])))
    source, positions = stretched(clips, samples, SUNG_STRETCH if on_syllables else (1.0, 5.0), rng)
    shift = centre - median_midi(source)
    frames = resample_frames(source, positions, formant_factor(shift, rng))
    # Pitch needs about two and a half periods; at 40 Hz that is 60 ms
    shortest = max(SHORTEST_VOICED_S, 2.5 / float(midi_to_hz(centre)))
    broken = np.zeros(len(frames.voiced), dtype=bool) if on_syllables else breaks(frames.voiced, rng)
    voiced = drop_short(frames.voiced & ~broken, round(shortest / FRAME_S))
    # From silent, as a stop, to as loud as the vowel, as a breathy break
    hush = smoothed(np.where(broken, rng.uniform(0, 6), 0.0), 5)[:, None]  # in nepers of power
    frames = replace(frames, log_envelope=frames.log_envelope - hush)
    parts = syllables(replace(frames, voiced=voiced)) if on_syllables else []
    edges = syllable_edges(parts, len(voiced), rng) if on_syllables else None
    sung = melody(voiced, centre, (limits[0], limits[1]), rng, edges, SYLLABLE_REPEATS if on_syllables else REPEATS)
    f0_hz = np.where(voiced, midi_to_hz(np.clip(sung.midi, *limits)), 0)
    voice = synthesise(voice_colour(frames, rng, centre_midi=centre), f0_hz, samples, rng)
    notes = notes_of_syllables(sung, parts) if on_syllables else notes_of_melody(sung, voiced)
    return voice * dynamics(voiced, samples, rng), f0_hz, notes


def _speak(clips: list[Analysis], samples: int, recipe: Recipe, rng: Any) -> tuple[np.ndarray, np.ndarray]:
    source, positions = stretched(clips, samples, (0.8, 1.3), rng)
    own, median = natural_contour(source.f0_hz, source.voiced), median_midi(source)
    limits = hz_to_midi(np.array(recipe.f0_range_hz))
    centre = np.clip(median + rng.uniform(-9, 14), limits[0] + 4, limits[1] - 6)
    midi = centre + rng.uniform(0.6, 1.8) * (np.interp(positions, np.arange(len(own)), own) - median)
    frames = resample_frames(source, positions, formant_factor(centre - median, rng))
    midi = midi + 0.05 * smooth_noise(len(midi), 0.02, rng) + edge_glides(frames.voiced, rng)
    midi = np.clip(midi, *limits)
    f0_hz = np.where(frames.voiced, midi_to_hz(midi), 0)
    voice = synthesise(voice_colour(frames, rng, centre_midi=centre), f0_hz, samples, rng)
    return voice * dynamics(frames.voiced, samples, rng), f0_hz


def _breathe(clips: list[Analysis], samples: int, recipe: Recipe, rng: Any) -> tuple[np.ndarray, np.ndarray]:
    """No pitch: digital silence in half of the items, otherwise a whisper or breath; all labels 0."""
    f0_hz = np.zeros(samples // FRAME_SAMPLES + 1)
    if rng.random() < 0.5:
        return np.zeros(samples), f0_hz
    source, positions = stretched(clips, samples, (0.8, 2.0), rng)
    frames = resample_frames(source, positions, formant_factor(0.0, rng))
    # A whisper has little energy in the lowest octaves, because the glottis is open
    octaves = np.log2(np.linspace(0, 1, frames.log_envelope.shape[1]) * SAMPLE_RATE_HZ / 2 / 1500 + 1e-2)
    tilted = frames.log_envelope + rng.uniform(0.5, 2.0) * np.minimum(octaves, 0)
    return synthesise(Analysis(f0_hz, tilted, frames.aperiodicity, f0_hz > 0), f0_hz, samples, rng), f0_hz


def _excerpt(audio: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    audio = np.tile(audio, -(-samples // len(audio)))
    start = int(rng.integers(len(audio) - samples + 1))
    return audio[start : start + samples]
