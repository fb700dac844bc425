"""Several pitch trackers on the same audio: accuracy over voice-to-music ratios, speed and memory.

Every tracker hears the same mixes (`rmvpe.evaluation.evaluate.mixed`), in a process of its own, one after the other.
Its answer is brought to 10 ms frames (`rmvpe.evaluation.trackers.adapters.on_grid`) and read at the annotation's times,
as `rmvpe.evaluation.evaluate` does with a network's, so that this project's figures here and there are the same. Scores
are pooled over the mixes that every tracker has answered.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rmvpe.config import ModelConfig
from rmvpe.data.readers.base import Recordings, Source, sound_s
from rmvpe.data.readers.folder import Annotated
from rmvpe.data.readers.hybrid import Hybrid
from rmvpe.data.readers.registry import Concatenated, open_source
from rmvpe.errors import UserError
from rmvpe.evaluation.evaluate import MUSIC, mixed, snr_name, with_music
from rmvpe.evaluation.metrics import Tally, tally
from rmvpe.evaluation.trackers.adapters import HOP_S, HOP_SAMPLES, RATE_HZ, Kind, on_grid
from rmvpe.evaluation.trackers.process import Answer, TrackerError, TrackerProcess
from rmvpe.framing import samples_to_frames

GRID = ModelConfig.small()  # its 10 ms frames are those by which a voice's level is measured for the mix
OVERHANG_S = 0.5  # sound after the last annotated point that is worth a word
GRID_TOLERANCE_S = 5e-4  # of an annotation's step, against 10 ms
Say = Callable[[str], None]
Key = tuple[int, str]  # item, ratio


@dataclass(frozen=True)
class Mix:
    """One item at one ratio: audio float32 [samples] at 16 kHz, and its annotation on its own times."""

    key: Key
    name: str
    audio: np.ndarray
    ref_time_s: np.ndarray
    ref_hz: np.ndarray


@dataclass
class Heard:
    """What one tracker made of the mixes; times in seconds, `peak_memory` in bytes."""

    settings: str
    start_s: float
    peak_memory: int | None = None
    tallies: dict[Key, Tally] = field(default_factory=dict)
    names: dict[Key, str] = field(default_factory=dict)
    audio_s: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def add(self, mix: Mix, answer: Answer) -> None:
        """Score an answer."""
        track = on_grid(answer.track, samples_to_frames(len(mix.audio), HOP_SAMPLES))
        self.tallies[mix.key] = tally(mix.ref_time_s, mix.ref_hz, track.time_s, track.f0_hz, track.voiced)
        self.names[mix.key] = mix.name
        self.audio_s += len(mix.audio) / RATE_HZ
        self.seconds += answer.seconds
        self.cpu_seconds += answer.cpu_seconds


@dataclass(frozen=True)
class Result:
    """A tracker's scores and cost.

    `pooled` and `files` as in `rmvpe.evaluation.evaluate.Evaluation`. `seconds` on the clock and `cpu_seconds` of all
    threads together are per second of audio; `start_s`: until it was ready; `peak_memory`: bytes, None if unknown.
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
class Comparison:
    """Results by tracker in the order asked for; `left_out`: why a tracker has none; `failures`: of files; `notes`."""

    results: dict[str, Result]
    left_out: dict[str, str]
    failures: tuple[str, ...]
    notes: tuple[str, ...]
    audio_s: float  # of one pass over the items, one ratio


def open_data(spec: str, split: str) -> Source:
    """The data that `spec` names: any folder of sound with annotations beside it, or what `open_source` takes.

    A folder with a sub-folder `split` of .pv labels, or that holds such labels itself, is a Hybrid folder; any other
    is read as "folder:". Raises as `open_source`.
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
    kinds: Mapping[str, Kind],
    source: Source,
    *,
    snr_db: Sequence[float],
    indices: Sequence[int],
    music: Sequence[Path] | None = None,
    threads: int = 1,
    say: Say = lambda text: None,
) -> Comparison:
    """Run every tracker of `kinds` on the items `indices` of `source` at each ratio.

    `threads`: for each tracker's libraries. `say`: is told in a sentence what goes on. A tracker that is not installed,
    cannot be made ready, fails on everything or dies is left out; an item that cannot be read is a failure.
    Raises UserError if no tracker or no item is left, or for weights that cannot be loaded.
    """
    left_out = {name: why for name, kind in kinds.items() if (why := kind.missing())}
    for name, why in left_out.items():
        say(f"{name} left out: {why}")
    failures: dict[int, str] = {}
    heard: dict[str, Heard] = {}
    for name in (name for name in kinds if name not in left_out):
        mixes = make_mixes(source, indices, snr_db, music, failures)
        try:
            heard[name] = run(name, kinds[name], mixes, threads, say)
        except TrackerError as error:
            left_out[name] = str(error)
            say(f"{name} left out: {error}")
    if len(failures) == len(indices):
        raise UserError(f"none of {len(indices)} files can be judged; the first: {next(iter(failures.values()))}")
    if not heard:
        raise UserError(f"no tracker is left: {'; '.join(f'{name}: {why}' for name, why in left_out.items())}")
    common = set.intersection(*(set(answers.tallies) for answers in heard.values()))
    if not common:
        raise UserError("no audio was answered by all trackers: ask for fewer of them, or give music with --music")
    results = {name: summarise(name, kinds[name], answers, snr_db, common) for name, answers in heard.items()}
    judged = [index for index in indices if index not in failures]
    audio_s = float(sum(source.duration_s(index) for index in judged))
    return Comparison(results, left_out, tuple(failures.values()), tuple(notes(source, judged)), audio_s)


def make_mixes(
    source: Source,
    indices: Sequence[int],
    snr_db: Sequence[float],
    music: Sequence[Path] | None,
    failures: dict[int, str],
) -> Iterator[Mix]:
    """The items at the ratios, one in memory at a time; what cannot be read is told in `failures` and passed over."""
    for index in indices:
        if index in failures:
            continue
        try:
            item = with_music(source[index], music)
        except (UserError, FileNotFoundError) as error:
            failures[index] = str(error)
            continue
        for snr in snr_db:
            audio = mixed(item, snr, GRID)
            if audio is not None:
                ref_hz = np.zeros_like(item.f0_hz) if snr == MUSIC else item.f0_hz
                audio = np.asarray(audio, dtype=np.float32)
                yield Mix((index, snr_name(snr)), item.name, audio, item.time_s, ref_hz)


def run(name: str, kind: Kind, mixes: Iterator[Mix], threads: int, say: Say) -> Heard:
    """One tracker on all mixes. Raises TrackerError if it has no answer at all."""
    why = ""
    with TrackerProcess(kind, threads) as process:
        heard = Heard(process.settings, process.start_s)
        for mix in mixes:
            try:
                heard.add(mix, process.hear(mix.audio))
            except TrackerError as error:
                if not process.alive:
                    raise TrackerError(f"at {mix.name}, {mix.key[1]}, {error}") from error
                why = f"{mix.name}, {mix.key[1]}: {error}"
                say(f"{name} fails on {why}, which is left out for all")
        if why and not heard.tallies:
            raise TrackerError(f"it fails on everything, last on {why}")
        heard.peak_memory = process.peak_memory()
    say(f"{name}: {heard.cpu_seconds / max(heard.audio_s, HOP_S):.3f} processor seconds per second of audio")
    return heard


def summarise(name: str, kind: Kind, heard: Heard, snr_db: Sequence[float], common: set[Key]) -> Result:
    """Scores over the mixes `common`, cost over all that were heard."""
    found = {key: heard.tallies[key] for key in heard.tallies if key in common}
    pooled = {}
    for ratio in map(snr_name, snr_db):
        of_ratio = [one for (_, other), one in found.items() if other == ratio]
        if of_ratio:
            pooled[ratio] = sum(of_ratio[1:], of_ratio[0]).scores()
    files = [{"file": heard.names[key], "ratio": key[1], **one.scores()} for key, one in found.items()]
    audio_s = max(heard.audio_s, HOP_S)
    return Result(
        name=name,
        label=kind.label,
        ours=kind.ours,
        settings=heard.settings,
        pooled=pooled,
        files=files,
        seconds=heard.seconds / audio_s,
        cpu_seconds=heard.cpu_seconds / audio_s,
        start_s=heard.start_s,
        peak_memory=heard.peak_memory,
    )


def notes(source: Source, indices: Sequence[int]) -> Iterator[str]:
    """What is worth knowing about the annotations of these items, in a sentence each."""
    parts = source.sources if isinstance(source, Concatenated) else [source]
    absent = [name for part in parts if isinstance(part, Annotated) for name in part.not_annotated]
    if absent:
        count = "1 recording has" if len(absent) == 1 else f"{len(absent)} recordings have"
        yield f"{count} no annotation (the first: {absent[0]}) and cannot be compared"
    recordings = list(_recordings(source))
    if not recordings:
        return
    longer: list[tuple[str, float]] = []
    other: list[tuple[str, float]] = []
    for index in indices:
        part, own = recordings[index]
        beyond_s = sound_s(part.recordings[own].audio) - part.duration_s(own)
        if beyond_s > OVERHANG_S:
            longer.append((part.name(own), beyond_s))
        steps = np.diff(part.annotation(own)[0])
        if len(steps) and np.abs(steps - HOP_S).max() > GRID_TOLERANCE_S:
            other.append((part.name(own), 1000 * float(np.median(steps))))
    if longer:
        name, beyond_s = longer[0]
        yield (
            f"{_of(longer, indices)} longer than the annotation (the first: {name}, by {beyond_s:.2f} s): "
            "only what is annotated is compared"
        )
    if other:
        name, step_ms = other[0]
        yield (
            f"{_of(other, indices)} annotated on another grid than 10 ms (the first: {name}, every {step_ms:.4g} ms): "
            "answers are read at the annotation's own times"
        )


def _of(some: Sequence[object], all_: Sequence[object]) -> str:
    return f"{len(some)} of {len(all_)} files {'is' if len(some) == 1 else 'are'}"


def _recordings(source: Source) -> Iterator[tuple[Recordings, int]]:
    """Each item's data set and its number there, in order; none where a source has no recordings of its own."""
    parts = source.sources if isinstance(source, Concatenated) else [source]
    if all(isinstance(part, Recordings) for part in parts):
        for part in parts:
            yield from ((part, index) for index in range(len(part)))  # type: ignore[misc]
