"""Accuracy of a network on a data set with known f0, at chosen voice-to-music ratios.

The mix is made here, deterministically: voice plus its own accompaniment at the given ratio (`mix_at_snr`), so that
every network, framework and version meets the same audio. The reference is the annotation, on its own times.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rmvpe.config import DecodeConfig, ModelConfig
from rmvpe.data.augment import active_rms, mix_at_snr
from rmvpe.data.pipeline import DEFAULT_VOICE_RMS, Source
from rmvpe.decode import decode
from rmvpe.framing import frame_times, samples_to_frames
from rmvpe.metrics import Aligned, align, lag, melody_scores, octave_errors, pool
from rmvpe.targets import f0_at_times

SalienceOf = Callable[[np.ndarray], np.ndarray]  # 16 kHz mono audio [n] -> salience [frames, 360]
CLEAN = float("inf")


@dataclass(frozen=True)
class Reading:
    """One file's annotation and what a network makes of it: a pitch for every frame, voicing not decided yet."""

    ref_time_s: np.ndarray
    ref_hz: np.ndarray
    est_time_s: np.ndarray
    est_hz: np.ndarray
    confidence: np.ndarray

    def aligned(self, threshold: float) -> Aligned:
        """Both on the annotation's times, voiced where the confidence reaches `threshold`."""
        return align(self.ref_time_s, self.ref_hz, self.est_time_s, self.est_hz, self.confidence >= threshold)


def mixed(item: dict, snr_db: float, model: ModelConfig) -> np.ndarray:
    """The item's voice with its accompaniment at `snr_db`; `CLEAN` is the voice alone."""
    if item["accompaniment"] is None or snr_db == CLEAN:
        return item["voice"]
    times = frame_times(samples_to_frames(len(item["voice"]), model.mel.hop_samples), model.mel)
    f0_hz = f0_at_times(item["time_s"], item["f0_hz"], times)
    level = active_rms(item["voice"], f0_hz, model.mel.hop_samples) or DEFAULT_VOICE_RMS
    mix = mix_at_snr(item["voice"], item["accompaniment"], level, snr_db)
    return mix / max(1.0, float(np.abs(mix).max()))  # a sound file could not hold more


def read_file(salience_of: SalienceOf, item: dict, snr_db: float, model: ModelConfig) -> Reading:
    """One item at one voice-to-music ratio."""
    f0_hz, _, confidence = decode(salience_of(mixed(item, snr_db, model)), DecodeConfig(threshold=0.0))
    return Reading(item["time_s"], item["f0_hz"], frame_times(len(f0_hz), model.mel), f0_hz, confidence)


def readings(
    salience_of: SalienceOf,
    source: Source,
    model: ModelConfig,
    snr_db: Sequence[float],
    indices: Sequence[int] | None = None,
    progress: bool = False,
) -> dict[str, list[Reading]]:
    """Readings of the items by voice-to-music ratio ("clean", "0 dB"); `salience_of` as `Estimator.salience`."""
    rows: dict[str, list[Reading]] = {snr_name(snr): [] for snr in snr_db}
    for item in _items(source, indices, progress):
        for snr in snr_db:
            rows[snr_name(snr)].append(read_file(salience_of, item, snr, model))
    return rows


def _items(source: Source, indices: Sequence[int] | None, progress: bool) -> Iterator[dict]:
    from tqdm import tqdm

    for index in tqdm(range(len(source)) if indices is None else indices, unit="file", disable=not progress):
        yield source[index]


def scores(files: list[Reading], threshold: float) -> dict[str, float]:
    """RPA, RCA, OA, VR, VFA, octave errors (0 to 1) and lag (points of the annotation) of all frames together."""
    parts = [reading.aligned(threshold) for reading in files]
    whole = pool(parts)
    return melody_scores(whole) | {"octave": octave_errors(whole), "lag": float(lag(whole.ref_hz, whole.est_hz))}


def evaluate(
    salience_of: SalienceOf,
    source: Source,
    model: ModelConfig,
    *,
    threshold: float,
    snr_db: Sequence[float] = (CLEAN, 0.0),
    indices: Sequence[int] | None = None,
    progress: bool = False,
) -> dict[str, dict[str, float]]:
    """Pooled `scores` by voice-to-music ratio."""
    rows = readings(salience_of, source, model, snr_db, indices, progress)
    return {name: scores(files, threshold) for name, files in rows.items()}


def best_threshold(rows: dict[str, list[Reading]], candidates: Sequence[float]) -> float:
    """The voicing threshold with the highest overall accuracy, averaged over the voice-to-music ratios."""

    def accuracy(threshold: float) -> float:
        pools = (pool([reading.aligned(threshold) for reading in files]) for files in rows.values())
        return float(np.mean([melody_scores(whole)["OA"] for whole in pools]))

    return max(candidates, key=accuracy)


def spread(count: int, wanted: int) -> list[int]:
    """At most `wanted` of `count` indices, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).round().astype(int)).tolist()


def snr_name(snr_db: float) -> str:
    """How tables call a voice-to-music ratio."""
    return "clean" if snr_db == CLEAN else f"{snr_db:g} dB"
