"""Several pitch trackers on the same audio: accuracy over voice-to-music ratios, speed and memory.

Every tracker gets the same mixes (`rmvpe.evaluation.evaluate.mixed`). The trackers run one after the other, each in its
own process. A track is converted to 10 ms frames (`rmvpe.evaluation.trackers.adapters.on_grid`) and evaluated at the
annotation's times, as `rmvpe.evaluation.evaluate` does it, so that this project's scores are the same there and here.
Scores are pooled over the mixes on which no tracker failed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rmvpe.config import ModelConfig
from rmvpe.console import print_traceback
from rmvpe.data.readers.base import Recordings, Source, sound_s
from rmvpe.data.readers.folder import Annotated
from rmvpe.data.readers.hybrid import Hybrid
from rmvpe.data.readers.registry import Concatenated, open_source
from rmvpe.errors import UserError, failure_message, in_words
from rmvpe.evaluation.evaluate import MUSIC, mixed, snr_name, with_music
from rmvpe.evaluation.metrics import Tally, tally
from rmvpe.evaluation.trackers.adapters import HOP_S, HOP_SAMPLES, RATE_HZ, TrackerSpec, on_grid
from rmvpe.evaluation.trackers.process import TimedTrack, TrackerError, TrackerExited, TrackerProcess
from rmvpe.framing import samples_to_frames

GRID = ModelConfig.small()  # the level of a voice in a mix is measured in its 10 ms frames
OVERHANG_S = 0.5  # more sound than this after the last annotated point is reported
GRID_TOLERANCE_S = 5e-4  # a step of an annotation that differs by more from 10 ms is reported
Log = Callable[[str], None]  # gets one sentence
Key = tuple[int, str]  # item, ratio


@dataclass(frozen=True)
class Mix:
    """One item at one ratio.

    `audio`: 16 kHz mono float32 [samples]. `ref_time_s`, `ref_hz`: its annotation [points], 0 Hz = unvoiced.
    """

    key: Key
    name: str
    audio: np.ndarray
    ref_time_s: np.ndarray
    ref_hz: np.ndarray


@dataclass
class TrackerScores:
    """The scores and the cost of one tracker over the mixes so far; times in seconds, `peak_memory` in bytes."""

    settings: str
    start_s: float
    peak_memory: int | None = None
    tallies: dict[Key, Tally] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    names: dict[Key, str] = field(default_factory=dict)
    audio_s: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def add(self, mix: Mix, timed: TimedTrack) -> None:
        """Add the scores of the track of a mix."""
        track = on_grid(timed.track, samples_to_frames(len(mix.audio), HOP_SAMPLES))
        self.tallies[mix.key] = tally(mix.ref_time_s, mix.ref_hz, track.time_s, track.f0_hz, track.voiced)
        self.names[mix.key] = mix.name
        self.audio_s += len(mix.audio) / RATE_HZ
        self.seconds += timed.seconds
        self.cpu_seconds += timed.cpu_seconds


@dataclass(frozen=True)
class TrackerResult:
    """A tracker's scores and cost.

    `pooled` and `files` as in `rmvpe.evaluation.evaluate.Evaluation`. `seconds` and `cpu_seconds` (of all threads
    together) are per second of audio. `start_s`: seconds for loading and the first call. `peak_memory`: bytes, None if
    unknown.
    """

    name: str
    label: str
    ours: bool
    settings: str
    pooled: dict[str, dict[str, float]]
    files: list[dict[str, Any]]
    seconds: float
    cpu_seconds: float
    start_s: float
    peak_memory: int | None


@dataclass(frozen=True)
class TrackerComparison:
    """The results of all trackers, by name, in the order of the request.

    `skipped`: by name, why a tracker has no result. `failures`: why files were not compared, or a tracker not on them.
    `warnings`: what recordings lack of what their headers claim. `notes`: about the annotations. `audio_s`: seconds of
    audio at one ratio.
    """

    results: dict[str, TrackerResult]
    skipped: dict[str, str]
    failures: tuple[str, ...]
    notes: tuple[str, ...]
    audio_s: float
    warnings: tuple[str, ...] = ()


def open_data(spec: str, split: str) -> Source:
    """The data set `spec`: a folder, or what `open_source` accepts.

    A folder that contains .pv labels, or whose sub-folder `split` does, is read as a Hybrid folder. Any other folder
    contains sound files with an annotation beside each ("folder:"). Raises as `open_source`.
    """
    folder = Path(spec)
    if not folder.is_dir():
        return open_source(spec, split)
    if any((folder / split).glob("*.pv")):
        return Hybrid(folder, split)
    if any(folder.glob("*.pv")):
        return Hybrid(folder.resolve().parent, folder.resolve().name)
    return Annotated(folder, split)


def compare(
    specs: Mapping[str, TrackerSpec],
    source: Source,
    *,
    snr_db: Sequence[float],
    indices: Sequence[int],
    music: Sequence[Path] | None = None,
    threads: int = 1,
    log: Log = lambda text: None,
    debug: bool = False,
) -> TrackerComparison:
    """Run every tracker of `specs` on the items `indices` of `source` at each ratio `snr_db`.

    `threads`: for each tracker's libraries. `log`: is called with a sentence about what happens. A tracker that is not
    installed, cannot be loaded, fails on everything or crashes is skipped; an item that cannot be read, or on which a
    tracker fails, is a failure. `debug`: print the tracebacks of exceptions on stderr. Raises UserError if no tracker
    or no item is left, or for weights that cannot be loaded.
    """
    skipped = {name: why for name, spec in specs.items() if (why := spec.missing())}
    for name, why in skipped.items():
        log(f"{name} skipped: {why}")
    failures: dict[int, str] = {}
    warnings: dict[int, tuple[str, ...]] = {}
    scores: dict[str, TrackerScores] = {}
    for name in (name for name in specs if name not in skipped):
        mixes = make_mixes(source, indices, snr_db, music, failures, warnings, debug)
        try:
            scores[name] = run_tracker(name, specs[name], mixes, threads, log, debug)
        except TrackerError as error:
            skipped[name] = str(error)
            log(f"{name} skipped: {error}")
    if len(failures) == len(indices):
        raise UserError(f"none of {len(indices)} files can be compared; the first: {next(iter(failures.values()))}")
    if not scores:
        raise UserError(f"no tracker is left: {'; '.join(f'{name}: {why}' for name, why in skipped.items())}")
    common = set.intersection(*(set(of_tracker.tallies) for of_tracker in scores.values()))
    common = {key for key in common if key[0] not in failures}  # one of its ratios may have failed
    if not common:
        raise UserError("there is no audio on which all trackers work: name fewer of them, or give music with --music")
    results = {name: summarise(name, specs[name], scores[name], snr_db, common) for name in scores}
    compared = [index for index in indices if index not in failures]
    audio_s = float(sum(source.duration_s(index) for index in compared))
    return TrackerComparison(
        results,
        skipped,
        failures=(*failures.values(), *(text for of_tracker in scores.values() for text in of_tracker.failures)),
        notes=tuple(notes(source, compared)),
        audio_s=audio_s,
        warnings=tuple(text for texts in warnings.values() for text in texts),
    )


def make_mixes(
    source: Source,
    indices: Sequence[int],
    snr_db: Sequence[float],
    music: Sequence[Path] | None,
    failures: dict[int, str],
    warnings: dict[int, tuple[str, ...]],
    debug: bool = False,
) -> Iterator[Mix]:
    """The items at the ratios, one in memory at a time. Items that cannot be read or mixed are added to `failures`."""
    for index in indices:
        if index in failures:
            continue
        try:
            item = with_music(source[index], music)
            warnings[index] = item.warnings
            for snr in snr_db:
                audio = mixed(item, snr, GRID)
                if audio is not None:
                    ref_hz = np.zeros_like(item.f0_hz) if snr == MUSIC else item.f0_hz
                    audio = np.asarray(audio, dtype=np.float32)
                    yield Mix((index, snr_name(snr)), item.name, audio, item.time_s, ref_hz)
        except Exception as error:
            if debug:
                print_traceback()
            failures[index] = failure_message(source.name(index), error)


def run_tracker(
    name: str, spec: TrackerSpec, mixes: Iterator[Mix], threads: int, log: Log, debug: bool = False
) -> TrackerScores:
    """One tracker on all mixes. Raises TrackerError if it crashes, or fails on all of them."""
    last_failure = ""
    with TrackerProcess(spec, threads) as process:
        scores = TrackerScores(process.settings, process.start_s)
        for mix in mixes:
            where = f"{mix.name}, {mix.key[1]}"
            try:
                scores.add(mix, process.predict(mix.audio))
            except TrackerExited as error:
                raise TrackerExited(f"at {where}, {error}") from error
            except Exception as error:  # also where what it returns cannot be scored
                if debug:
                    print_traceback()
                last_failure = f"{where}: {error if isinstance(error, TrackerError) else in_words(error)}"
                scores.failures.append(f"{name} fails on {last_failure}; no tracker is scored on it")
        if last_failure and not scores.tallies:
            raise TrackerError(f"it fails on everything, last on {last_failure}")
        scores.peak_memory = process.peak_memory()
    log(f"{name}: {scores.cpu_seconds / max(scores.audio_s, HOP_S):.3f} processor seconds per second of audio")
    return scores


def summarise(
    name: str, spec: TrackerSpec, scores: TrackerScores, snr_db: Sequence[float], common: set[Key]
) -> TrackerResult:
    """The scores over the mixes `common`; the cost over all mixes of this tracker."""
    tallies = {key: found for key, found in scores.tallies.items() if key in common}
    pooled = {}
    for ratio in map(snr_name, snr_db):
        of_ratio = [found for (_, other), found in tallies.items() if other == ratio]
        if of_ratio:
            pooled[ratio] = sum(of_ratio[1:], of_ratio[0]).scores()
    files = [{"file": scores.names[key], "ratio": key[1], **found.scores()} for key, found in tallies.items()]
    audio_s = max(scores.audio_s, HOP_S)
    return TrackerResult(
        name=name,
        label=spec.label,
        ours=spec.ours,
        settings=scores.settings,
        pooled=pooled,
        files=files,
        seconds=scores.seconds / audio_s,
        cpu_seconds=scores.cpu_seconds / audio_s,
        start_s=scores.start_s,
        peak_memory=scores.peak_memory,
    )


def notes(source: Source, indices: Sequence[int]) -> Iterator[str]:
    """What a user should know about the annotations of these items, one sentence each."""
    parts = source.sources if isinstance(source, Concatenated) else [source]
    absent = [name for part in parts if isinstance(part, Annotated) for name in part.not_annotated]
    if absent:
        count = "1 recording has" if len(absent) == 1 else f"{len(absent)} recordings have"
        yield f"{count} no annotation (the first: {absent[0]}) and cannot be compared"
    recordings = list(_recordings(source))
    if not recordings:
        return
    longer: list[tuple[str, float]] = []
    other_grid: list[tuple[str, float]] = []
    for index in indices:
        part, own_index = recordings[index]
        overhang_s = sound_s(part.recordings[own_index].audio) - part.duration_s(own_index)
        if overhang_s > OVERHANG_S:
            longer.append((part.name(own_index), overhang_s))
        steps = np.diff(part.annotation(own_index)[0])
        if len(steps) and np.abs(steps - HOP_S).max() > GRID_TOLERANCE_S:
            other_grid.append((part.name(own_index), 1000 * float(np.median(steps))))
    if longer:
        name, overhang_s = longer[0]
        yield (
            f"{_count(longer, indices)} longer than the annotation (the first: {name}, by {overhang_s:.2f} s): "
            "only the annotated part is compared"
        )
    if other_grid:
        name, step_ms = other_grid[0]
        yield (
            f"{_count(other_grid, indices)} not annotated every 10 ms (the first: {name}, every {step_ms:.4g} ms): "
            "pitch is compared at the annotation's own times"
        )


def _count(some: Sequence[object], all_: Sequence[object]) -> str:
    return f"{len(some)} of {len(all_)} files {'is' if len(some) == 1 else 'are'}"


def _recordings(source: Source) -> Iterator[tuple[Recordings, int]]:
    """Each item's data set and its index in it, in order; nothing for a source without recordings of its own."""
    parts = source.sources if isinstance(source, Concatenated) else [source]
    if all(isinstance(part, Recordings) for part in parts):
        for part in parts:
            yield from ((part, index) for index in range(len(part)))  # type: ignore[misc]
