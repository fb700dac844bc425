"""Accuracy of a network on a data set with known f0, at chosen voice-to-music ratios.

The mix is made here, deterministically: the voice with its own accompaniment, or with a piece of other music
(`rmvpe.data.mixing`), at the given ratio (`mix_at_snr`), so that every network, framework and version meets the same
audio. The reference is the annotation, on its own times. What is judged is what a `Listener` decides, an `Estimator`
above all: its pitch in every frame (RPA, RCA), and its voicing at its settings (OA, VR, VFA).

Ratios are decibels; `CLEAN` is the voice alone, `MUSIC` the music alone, at which every pitch found is a false alarm.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rmvpe.config import DecodeConfig, ModelConfig
from rmvpe.data.mixing import RMS_FLOOR, active_rms, mix_at_snr, piece_of_music, rms
from rmvpe.data.pipeline import DEFAULT_VOICE_RMS
from rmvpe.data.readers.base import Item, Source
from rmvpe.decode import PitchCurve, pitch_in_blocks
from rmvpe.errors import UserError
from rmvpe.evaluation.metrics import TOLERANCE_CENTS, Aligned, Tally, align, melody_scores, pool, tally
from rmvpe.framing import frame_levels_db, frame_times, samples_to_frames
from rmvpe.interpolation import f0_at_times
from rmvpe.pitch import cents_between

# 16 kHz mono audio [n] -> salience [frames, 360], whole or in consecutive blocks: an estimator's (iter_)salience
SalienceOf = Callable[[np.ndarray], "np.ndarray | Iterable[np.ndarray]"]
CLEAN, MUSIC = math.inf, -math.inf
RATIO_NAMES = {CLEAN: "clean", MUSIC: "music"}


class Listener(Protocol):
    """What can be judged: an `rmvpe.Estimator`, or a `SalienceListener`. `config` decides voicing."""

    @property
    def model(self) -> ModelConfig: ...

    @property
    def config(self) -> DecodeConfig: ...

    def pitch_curve(self, audio: np.ndarray) -> PitchCurve:
        """A pitch for every frame of 16 kHz mono audio [n]."""
        ...


@dataclass(frozen=True)
class SalienceListener:
    """A network of which only the salience is known, decoded as an estimator does."""

    salience_of: SalienceOf
    model: ModelConfig
    config: DecodeConfig

    def pitch_curve(self, audio: np.ndarray) -> PitchCurve:
        """As `Estimator.pitch_curve`."""
        answer = self.salience_of(audio)
        blocks = [answer] if isinstance(answer, np.ndarray) else answer
        return PitchCurve(*pitch_in_blocks(blocks, self.config), frame_levels_db(audio, self.model.mel))


@dataclass(frozen=True)
class Reading:
    """One file's annotation and what a listener makes of it: a pitch for every frame, voicing not decided yet."""

    ref_time_s: np.ndarray
    ref_hz: np.ndarray
    est_time_s: np.ndarray
    curve: PitchCurve

    def aligned(self, config: DecodeConfig) -> Aligned:
        """Both on the annotation's times, voiced as `config` says."""
        return align(self.ref_time_s, self.ref_hz, self.est_time_s, self.curve.f0_hz, self.curve.voiced(config))

    def tally(self, config: DecodeConfig) -> Tally:
        """What the file adds to the scores when it is voiced as `config` says."""
        return tally(self.ref_time_s, self.ref_hz, self.est_time_s, self.curve.f0_hz, self.curve.voiced(config))


@dataclass(frozen=True)
class Evaluation:
    """Scores (`rmvpe.evaluation.metrics.Tally.scores`) at one voicing threshold.

    `pooled`: by ratio ("clean", "0 dB", "music"), all points of all annotations weighing the same; a ratio at which no
    file could be heard, for want of music, is absent. `files`: one row per file and ratio, {"file", "ratio", scores}.
    `failures`: what was wrong with files that could not be judged.
    """

    threshold: float
    pooled: dict[str, dict[str, float]]
    files: list[dict[str, Any]]
    failures: tuple[str, ...] = ()


def with_music(item: Item, music: Sequence[Path] | None) -> Item:
    """The item with the piece of these sound files that belongs to its name as accompaniment; as it is for None."""
    if music is None:
        return item
    return replace(item, accompaniment=piece_of_music(music, item.name, len(item.voice)))


def mixed(item: Item, snr_db: float, model: ModelConfig) -> np.ndarray | None:
    """The item's audio [samples] at one ratio, or None if that takes music and the item has none.

    The RMS of the accompaniment over the whole item is set against the voice's over its voiced samples; alone, the
    accompaniment keeps its level.
    """
    voice, accompaniment = item.voice, item.accompaniment
    if snr_db == CLEAN:
        return voice
    if accompaniment is None or rms(accompaniment) < RMS_FLOOR:
        return None
    mix = accompaniment if snr_db == MUSIC else mix_at_snr(voice, accompaniment, _voice_level(item, model), snr_db)
    return mix / max(1.0, float(np.abs(mix).max()))  # a sound file could not hold more


def _voice_level(item: Item, model: ModelConfig) -> float:
    times = frame_times(samples_to_frames(len(item.voice), model.mel.hop_samples), model.mel)
    f0_hz = f0_at_times(item.time_s, item.f0_hz, times)
    return active_rms(item.voice, f0_hz, model.mel.hop_samples) or DEFAULT_VOICE_RMS


def read_file(listener: Listener, item: Item, snr_db: float) -> Reading | None:
    """One item at one ratio; None if that takes music and the item has none."""
    audio = mixed(item, snr_db, listener.model)
    if audio is None:
        return None
    curve = listener.pitch_curve(audio)
    ref_hz = np.zeros_like(item.f0_hz) if snr_db == MUSIC else item.f0_hz
    return Reading(item.time_s, ref_hz, frame_times(len(curve.f0_hz), listener.model.mel), curve)


def readings(
    listener: Listener,
    source: Source,
    snr_db: Sequence[float],
    indices: Sequence[int] | None = None,
    progress: bool = False,
    music: Sequence[Path] | None = None,
) -> dict[str, list[Reading]]:
    """Readings of the items by ratio, for choosing a threshold; `judge` scores a data set without keeping them."""
    rows: dict[str, list[Reading]] = {snr_name(snr): [] for snr in snr_db}
    for index in _bar(range(len(source)) if indices is None else indices, progress):
        item = with_music(source[index], music)
        for snr in snr_db:
            if reading := read_file(listener, item, snr):
                rows[snr_name(snr)].append(reading)
    return {name: files for name, files in rows.items() if files}


def judged(reading: Reading) -> tuple[np.ndarray, np.ndarray]:
    """Confidence [frames] of the frames that the annotation covers, and whether each is right, bool [frames].

    Right is: the annotation has a voice there, within 50 cents of the estimate's pitch, whatever the threshold.
    """
    inside = (reading.est_time_s >= reading.ref_time_s[0]) & (reading.est_time_s <= reading.ref_time_s[-1])
    ref_hz = f0_at_times(reading.ref_time_s, reading.ref_hz, reading.est_time_s[inside])
    est_hz, sung = reading.curve.f0_hz[inside], ref_hz > 0
    off = cents_between(np.maximum(est_hz, 1.0), np.where(sung, ref_hz, 1.0))
    return reading.curve.confidence[inside], sung & (np.abs(off) <= TOLERANCE_CENTS)


def scores(files: list[Reading], config: DecodeConfig) -> dict[str, float]:
    """The pooled scores (`rmvpe.evaluation.metrics.Tally.scores`) of one reading or more, voiced as `config` says."""
    first, *others = (reading.tally(config) for reading in files)
    return sum(others, first).scores()


def evaluate(
    salience_of: SalienceOf, source: Source, model: ModelConfig, *, threshold: float, **items: Any
) -> Evaluation:
    """`judge` a network of which only the salience is known, as in training; frames are voiced from `threshold` on.

    `salience_of`: 16 kHz mono audio [n] -> salience [frames, 360]. Other settings are `DecodeConfig`'s own. `items`:
    what else `judge` takes.
    """
    return judge(SalienceListener(salience_of, model, DecodeConfig(threshold=threshold)), source, **items)


def judge(
    listener: Listener,
    source: Source,
    *,
    snr_db: Sequence[float] = (CLEAN, 0.0),
    indices: Sequence[int] | None = None,
    music: Sequence[Path] | None = None,
    progress: bool = False,
    keep_going: bool = False,
) -> Evaluation:
    """Score the items `indices` of `source` (all by default) at each ratio, one file in memory at a time.

    What `listener` decides is judged: an estimator's pitch and voicing at its settings. `music`: see `with_music`.
    `progress`: a bar on stderr. `keep_going`: a file that cannot be read is passed over and told in `failures`;
    UserError if none is left. Without it the first such file raises, as UserError or FileNotFoundError.
    """
    tallies: dict[str, Tally] = {}
    files: list[dict[str, Any]] = []
    failures: list[str] = []
    for index in _bar(range(len(source)) if indices is None else indices, progress):
        try:
            item = with_music(source[index], music)
            heard = [(snr_name(snr), read_file(listener, item, snr)) for snr in snr_db]
        except (UserError, FileNotFoundError) as error:
            if not keep_going:
                raise
            failures.append(str(error))
            continue
        for ratio, reading in heard:
            if reading is None:
                continue
            found = reading.tally(listener.config)
            tallies[ratio] = tallies[ratio] + found if ratio in tallies else found
            files.append({"file": item.name, "ratio": ratio, **found.scores()})
    if failures and not files:
        raise UserError(f"none of {len(failures)} files can be judged; the first: {failures[0]}")
    pooled = {name: tallies[name].scores() for name in map(snr_name, snr_db) if name in tallies}
    return Evaluation(listener.config.threshold, pooled, files, tuple(failures))


def _bar(indices: Iterable[int], progress: bool) -> Iterator[int]:
    from tqdm import tqdm

    return iter(tqdm(indices, unit="file", dynamic_ncols=True, disable=not progress))


def best_threshold(
    rows: dict[str, list[Reading]],
    candidates: Sequence[float],
    config: DecodeConfig | None = None,
    most_false_alarms: Mapping[str, float] | None = None,
) -> float:
    """The voicing threshold with the highest overall accuracy, averaged over the voice-to-music ratios.

    `config`: what decides voicing besides, by default as `DecodeConfig` has it. `most_false_alarms`: by ratio, the
    voicing false alarm (0 to 1) that a threshold may have there at most; where no candidate keeps to all of them, the
    one that exceeds them least.
    """
    limits = most_false_alarms or {}

    def merit(threshold: float) -> tuple[float, float]:
        settings = replace(config or DecodeConfig(), threshold=threshold)
        pooled = {
            ratio: melody_scores(pool([reading.aligned(settings) for reading in files]))
            for ratio, files in rows.items()
        }
        excess = max([0.0, *(pooled[ratio]["VFA"] - most for ratio, most in limits.items())])
        return -excess, float(np.mean([scores["OA"] for scores in pooled.values()]))

    return max(candidates, key=merit)


def spread(count: int, wanted: int) -> list[int]:
    """At most `wanted` of `count` indices, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).round().astype(int)).tolist()


def snr_name(snr_db: float) -> str:
    """How tables call a voice-to-music ratio."""
    return RATIO_NAMES.get(snr_db) or f"{snr_db:g} dB"


def parse_ratio(text: str) -> float:
    """A ratio from "clean", "music", "20", "-5" or "20 dB", and so from what `snr_name` gives; UserError otherwise."""
    named = {name: snr_db for snr_db, name in RATIO_NAMES.items()}
    word = text.strip().lower()
    try:
        snr_db = named[word] if word in named else float(word.removesuffix("db"))
        if word in named or math.isfinite(snr_db):
            return snr_db
    except ValueError:
        pass
    raise UserError(f"{text.strip()!r} is no voice-to-music ratio: give decibels, {' or '.join(named)}")
