"""Fit the costs of note finding (rmvpe/notes/find.py) on recordings with known notes.

    rmvpe prepare synthetic --voices VOICES --music MUSIC --kind syllables --seed 77 --out fit/syllables
    python scripts/fit_note_costs.py fit/syllables:train -o costs.json

FOLDER:SPLIT are Hybrid folders whose recordings have NAME.notes.csv. Every recording is read alone and inside its
music, by the bundled weights. Then one cost at a time, or several, are changed at random, and a change stays if the
mean of three F1 scores over all recordings is higher: with offset, onset and pitch, onset alone
(mir_eval.transcription). Nothing but these folders is looked at.
"""

import argparse
import dataclasses
import json
import sys
from multiprocessing import get_context
from pathlib import Path

import numpy as np

import rmvpe
from rmvpe.data.readers.hybrid import Hybrid
from rmvpe.evaluation.evaluate import mixed, parse_ratio
from rmvpe.files import write_text
from rmvpe.notes.find import COSTS, COSTS_WITHOUT_LEVEL, Costs, Frames, find_notes
from rmvpe.notes.notes import frames_of
from rmvpe.notes.settings import NoteConfig
from rmvpe.pitch import midi_to_hz
from rmvpe.program import Command, run_program

WHOLE = ("around",)  # costs that are whole numbers
MILLISECONDS = 5.0  # settings are multiples of it
LARGEST_STEP = 0.5  # of the logarithm of a cost


@dataclasses.dataclass(frozen=True)
class Task:
    """A recording to find notes in, and its notes [notes, 3]: onset s, offset s, MIDI."""

    frames: Frames
    notes: np.ndarray


def read_tasks(places: list[str], ratios: list[float], limit: int | None, without_level: bool) -> list[Task]:
    """Every recording with notes, at every ratio."""
    from tqdm import tqdm

    estimator = rmvpe.load()
    tasks = []
    for place in places:
        folder, _, split = place.rpartition(":")
        source = Hybrid(folder, split)
        for index in tqdm(range(len(source))[:limit], desc=place, unit="file"):
            path = source.recordings[index].audio.with_suffix(".notes.csv")
            if not path.is_file():
                continue
            notes = np.loadtxt(path, delimiter=",", skiprows=1, usecols=(0, 1, 2), ndmin=2)
            item = source[index]
            for ratio in ratios:
                audio = mixed(item, ratio, estimator.model)
                if audio is None or not len(notes):
                    continue
                track = estimator.from_audio(audio, 16_000)
                (frames,) = frames_of(track, None if without_level else audio)
                tasks.append(Task(frames, notes))
    return tasks


@dataclasses.dataclass(frozen=True)
class Choice:
    """What is fitted: the costs, and the settings that users get by default."""

    costs: Costs
    config: NoteConfig


def scores(task: Task, choice: Choice) -> tuple[float, float, float]:
    """F1 with offset, with onset and pitch, with onset alone, of one recording."""
    from mir_eval.transcription import onset_precision_recall_f1, precision_recall_f1_overlap

    found = find_notes(task.frames, choice.config, choice.costs)
    if not found:
        return 0.0, 0.0, 0.0
    times = np.array([(note.onset_s, note.offset_s) for note in found])
    pitch_hz = np.array([note.pitch_hz for note in found])
    known, known_hz = task.notes[:, :2], midi_to_hz(task.notes[:, 2])
    whole = precision_recall_f1_overlap(known, known_hz, times, pitch_hz, offset_ratio=0.2)[2]
    pitched = precision_recall_f1_overlap(known, known_hz, times, pitch_hz, offset_ratio=None)[2]
    return whole, pitched, onset_precision_recall_f1(known, times)[2]


TASKS: list[Task] = []  # of a worker process


def _start(tasks: list[Task]) -> None:
    TASKS.extend(tasks)


def _score(job: tuple[int, Choice]) -> tuple[float, float, float]:
    index, choice = job
    return scores(TASKS[index], choice)


def changed(choice: Choice, rng: np.random.Generator) -> Choice:
    """The choice with one to three of its numbers multiplied by a random factor."""
    costs, config = dataclasses.asdict(choice.costs), dataclasses.asdict(choice.config)
    for name in map(str, rng.choice([*costs, *config], size=rng.choice([1, 2, 3]), replace=False)):
        factor = float(np.exp(LARGEST_STEP * rng.normal() * rng.choice([0.3, 1.0])))
        if name in config:
            config[name] = float(round(config[name] * factor / MILLISECONDS) * MILLISECONDS)
        else:
            costs[name] = max(1, round(costs[name] * factor)) if name in WHOLE else round(costs[name] * factor, 4)
    return Choice(Costs(**costs), NoteConfig(**config))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    add = parser.add_argument
    add("places", nargs="+", metavar="FOLDER:SPLIT", help="Hybrid folders whose recordings have NAME.notes.csv")
    add("--snr", default="clean,10", metavar="LIST", help="voice to music in dB (default: %(default)s)")
    add("--rounds", type=int, default=200, metavar="N", help="changes that are tried (default: %(default)s)")
    add("--limit", type=int, metavar="N", help="at most N recordings of each folder")
    add("--without-level", action="store_true", help="from the f0 alone, as for files of f0 without their sound")
    add("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    add("--workers", type=int, default=2, metavar="N", help="processes (default: %(default)s)")
    add("-o", "--output", type=Path, required=True, metavar="JSON", help="the best costs so far, after each change")


def run(arguments: argparse.Namespace) -> int:
    """Fit, and print each change that helps."""
    tasks = read_tasks(
        arguments.places, list(map(parse_ratio, arguments.snr.split(","))), arguments.limit, arguments.without_level
    )
    rng = np.random.default_rng(arguments.seed)
    with get_context("spawn").Pool(arguments.workers, _start, (tasks,)) as pool:

        def merit(choice: Choice) -> np.ndarray:
            return np.mean(pool.map(_score, [(index, choice) for index in range(len(tasks))], chunksize=8), axis=0)

        best = Choice(COSTS_WITHOUT_LEVEL if arguments.without_level else COSTS, NoteConfig())
        high = merit(best)
        print(f"{len(tasks)} recordings; start: {np.round(high, 4)}", flush=True)
        for number in range(arguments.rounds):
            choice = changed(best, rng)
            reached = merit(choice)
            if reached.mean() > high.mean():
                best, high = choice, reached
                print(f"{number}: {np.round(high, 4)}", flush=True)
                write_text(arguments.output, json.dumps(dataclasses.asdict(best) | {"f1": high.tolist()}, indent=1))
    print(best)
    return 0


if __name__ == "__main__":
    sys.exit(run_program("fit_note_costs", Command(__doc__ or "", add_arguments, run)))
