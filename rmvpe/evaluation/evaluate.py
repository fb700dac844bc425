"""Accuracy of a network on a data set with known f0, at chosen voice-to-music ratios.

The mix is made here, deterministically: the voice with its own accompaniment, or with a piece of other music
(`rmvpe.data.mixing`), at the given ratio (`mix_at_snr`), so that every network, framework and version gets the same
audio. The reference is the annotation, on its own times. Scored are an estimator's pitch in every frame (RPA, RCA), and
its voicing at its settings (OA, VR, VFA).

Ratios are decibels; `CLEAN` is the voice alone, `MUSIC` the music alone, at which every pitch found is a false alarm.
"""

import functools
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from rmvpe.config import DecodeConfig, ModelConfig
from rmvpe.console import print_traceback
from rmvpe.data.mixing import RMS_FLOOR, active_rms, mix_at_snr, piece_of_music, rms
from rmvpe.data.pipeline import DEFAULT_VOICE_RMS
from rmvpe.data.readers.base import Item, Source
from rmvpe.decode import PitchCurve
from rmvpe.errors import UserError, failure_message
from rmvpe.evaluation.metrics import TOLERANCE_CENTS, Aligned, Tally, align, melody_scores, pool, tally
from rmvpe.framing import frame_times, samples_to_frames
from rmvpe.interpolation import f0_at_times
from rmvpe.pitch import cents_between

CLEAN, MUSIC = math.inf, -math.inf
T = TypeVar("T")
RATIO_NAMES = {CLEAN: "clean", MUSIC: "music"}


class PitchEstimator(Protocol):
    """What can be evaluated, above all an `rmvpe.Estimator`. `config` decides voicing."""

    @property
    def model(self) -> ModelConfig: ...

    @property
    def config(self) -> DecodeConfig: ...

    def pitch_curve(self, audio: np.ndarray, sample_rate: float) -> PitchCurve:
        """A pitch for every frame of mono audio [n] at `sample_rate` Hz."""
        ...


@dataclass(frozen=True)
class Prediction:
    """One file's annotation and an estimator's pitch curve: a pitch for every frame, voicing not decided yet."""

    ref_time_s: np.ndarray
    ref_hz: np.ndarray
    est_time_s: np.ndarray
    curve: PitchCurve
    file: str = ""  # the item's name

    def aligned(self, config: DecodeConfig) -> Aligned:
        """Both on the annotation's times, voiced as `config` says."""
        return align(self.ref_time_s, self.ref_hz, self.est_time_s, self.curve.f0_hz, self.curve.voiced(config))

    def tally(self, config: DecodeConfig) -> Tally:
        """What the file adds to the scores when it is voiced as `config` says."""
        return tally(self.ref_time_s, self.ref_hz, self.est_time_s, self.curve.f0_hz, self.curve.voiced(config))


@dataclass(frozen=True)
class Evaluation:
    """Scores (`rmvpe.evaluation.metrics.Tally.scores`) at one voicing threshold.

    `pooled`: by ratio ("clean", "0 dB", "music"), all points of all annotations weighing the same; a ratio for which no
    file has music is absent. `files`: one row per file and ratio, {"file", "ratio", scores}. `failures`: why files
    could not be evaluated, `warnings`: what recordings lack of what their headers claim; a sentence each.
    """

    threshold: float
    pooled: dict[str, dict[str, float]]
    files: list[dict[str, Any]]
    failures: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


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
    mix = accompaniment if snr_db == MUSIC else mix_at_snr(voice, accompaniment, voice_level(item, model), snr_db)
    return mix / max(1.0, float(np.abs(mix).max()))  # a sound file could not hold more


def voice_level(item: Item, model: ModelConfig) -> float:
    """RMS of an item's voice where it is sung; a usual one if it never is."""
    times = frame_times(samples_to_frames(len(item.voice), model.mel.hop_samples), model.mel)
    f0_hz = f0_at_times(item.time_s, item.f0_hz, times)
    return active_rms(item.voice, f0_hz, model.mel.hop_samples) or DEFAULT_VOICE_RMS


def predict_item(estimator: PitchEstimator, item: Item, snr_db: float) -> Prediction | None:
    """One item at one ratio; None if that takes music and the item has none."""
    audio = mixed(item, snr_db, estimator.model)
    if audio is None:
        return None
    curve = estimator.pitch_curve(audio, estimator.model.mel.sample_rate)
    ref_hz = np.zeros_like(item.f0_hz) if snr_db == MUSIC else item.f0_hz
    return Prediction(item.time_s, ref_hz, frame_times(len(curve.f0_hz), estimator.model.mel), curve, item.name)


def predictions(
    estimator: PitchEstimator,
    source: Source,
    snr_db: Sequence[float],
    indices: Sequence[int] | None = None,
    progress: bool = False,
    music: Sequence[Path] | None = None,
) -> dict[str, list[Prediction]]:
    """Predictions of the items by ratio, for `scored` and for choosing a threshold."""
    rows: dict[str, list[Prediction]] = {snr_name(snr): [] for snr in snr_db}
    for index in _bar(range(len(source)) if indices is None else indices, progress):
        item = with_music(source[index], music)
        for snr in snr_db:
            if prediction := predict_item(estimator, item, snr):
                rows[snr_name(snr)].append(prediction)
    return {name: files for name, files in rows.items() if files}


def scored(rows: dict[str, list[Prediction]], config: DecodeConfig) -> Evaluation:
    """Scores of `predictions`, voiced as `config` says; `evaluate` gives the same without keeping predictions."""
    files: list[dict[str, Any]] = []
    pooled: dict[str, dict[str, float]] = {}
    for ratio, found in rows.items():
        tallies = [prediction.tally(config) for prediction in found]
        files += [
            {"file": prediction.file, "ratio": ratio, **tally.scores()} for prediction, tally in zip(found, tallies)
        ]
        pooled[ratio] = functools.reduce(operator.add, tallies).scores()
    return Evaluation(config.known_threshold, pooled, files)


def correct_frames(prediction: Prediction) -> tuple[np.ndarray, np.ndarray]:
    """Confidence [frames] of the frames that the annotation covers, and whether each is right, bool [frames].

    Right is: the annotation has a voice there, within 50 cents of the estimate's pitch, whatever the threshold.
    """
    inside = (prediction.est_time_s >= prediction.ref_time_s[0]) & (prediction.est_time_s <= prediction.ref_time_s[-1])
    ref_hz = f0_at_times(prediction.ref_time_s, prediction.ref_hz, prediction.est_time_s[inside])
    est_hz, sung = prediction.curve.f0_hz[inside], ref_hz > 0
    off = cents_between(np.maximum(est_hz, 1.0), np.where(sung, ref_hz, 1.0))
    return prediction.curve.confidence[inside], sung & (np.abs(off) <= TOLERANCE_CENTS)


def evaluate(
    estimator: PitchEstimator,
    source: Source,
    *,
    snr_db: Sequence[float] = (CLEAN, 0.0),
    indices: Sequence[int] | None = None,
    music: Sequence[Path] | None = None,
    progress: bool = False,
    keep_going: bool = False,
    debug: bool = False,
) -> Evaluation:
    """Score the items `indices` of `source` (all by default) at each ratio, one file in memory at a time.

    Scored are an estimator's pitch and its voicing at its settings. `music`: see `with_music`. `progress`: a bar on
    stderr. `keep_going`: a file on which anything fails is skipped and listed in `failures`; UserError if none is left.
    `debug` prints its traceback on stderr. Without `keep_going` the exception of the first such file is raised, which
    is UserError or FileNotFoundError for one that cannot be read.
    """

    def score(index: int, item: Item, snr: float) -> Tally | None:
        prediction = predict_item(estimator, item, snr)
        return None if prediction is None else prediction.tally(estimator.config)

    scored = score_items(
        score,
        source,
        snr_db=snr_db,
        indices=indices,
        music=music,
        progress=progress,
        keep_going=keep_going,
        debug=debug,
    )
    pooled = {ratio: functools.reduce(operator.add, tallies).scores() for ratio, tallies in scored.by_ratio().items()}
    files = [{"file": file, "ratio": ratio, **tally.scores()} for file, ratio, tally in scored.rows]
    return Evaluation(estimator.config.known_threshold, pooled, files, scored.failures, scored.warnings)


@dataclass(frozen=True)
class Scored(Generic[T]):
    """What was found for each file and ratio: `rows` of (file, ratio, found), by file.

    `ratios`: in the order asked for. `failures`, `warnings`: as in `Evaluation`.
    """

    rows: list[tuple[str, str, T]]
    ratios: tuple[str, ...]
    failures: tuple[str, ...]
    warnings: tuple[str, ...]

    def by_ratio(self) -> dict[str, list[T]]:
        """What was found, by ratio; a ratio for which no file has music is absent."""
        found: dict[str, list[T]] = {}
        for ratio in self.ratios:
            if files := [one for _, name, one in self.rows if name == ratio]:
                found[ratio] = files
        return found


def score_items(
    score: Callable[[int, Item, float], T | None],
    source: Source,
    *,
    snr_db: Sequence[float],
    indices: Sequence[int] | None = None,
    music: Sequence[Path] | None = None,
    progress: bool = False,
    keep_going: bool = False,
    debug: bool = False,
) -> Scored[T]:
    """Call `score` with the index of each item, the item and each ratio; the other arguments as for `evaluate`.

    `score` returns None if the ratio takes music and the item has none.
    """
    rows: list[tuple[str, str, T]] = []
    failures: list[str] = []
    warnings: list[str] = []
    for index in _bar(range(len(source)) if indices is None else indices, progress):
        try:
            item = with_music(source[index], music)
            found = [(snr_name(snr), score(index, item, snr)) for snr in snr_db]
        except Exception as error:
            if not keep_going:
                raise
            if debug:
                print_traceback()
            failures.append(failure_message(source.name(index), error))
            continue
        warnings += item.warnings
        rows += [(item.name, ratio, one) for ratio, one in found if one is not None]
    if failures and not rows:
        raise UserError(f"none of {len(failures)} files can be evaluated; the first: {failures[0]}")
    return Scored(rows, tuple(map(snr_name, snr_db)), tuple(failures), tuple(warnings))


def _bar(indices: Iterable[int], progress: bool) -> Iterator[int]:
    from tqdm import tqdm

    return iter(tqdm(indices, unit="file", dynamic_ncols=True, disable=not progress))


def best_threshold(
    rows: dict[str, list[Prediction]],
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
            ratio: melody_scores(pool([prediction.aligned(settings) for prediction in files]))
            for ratio, files in rows.items()
        }
        excess = max([0.0, *(pooled[ratio]["VFA"] - most for ratio, most in limits.items())])
        return -excess, float(np.mean([scores["OA"] for scores in pooled.values()]))

    return max(candidates, key=merit)


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """At most `wanted` of `count` indices, evenly spaced."""
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
