"""Fit what note finding goes by (rmvpe/notes) on recordings whose notes are known: two small networks, and the costs.

    rmvpe prepare synthetic --voices VOICES --music MUSIC --kind syllables --seed 77 --train-hours 0.38 --out fit77
    rmvpe prepare synthetic --voices VOICES --music MUSIC --kind syllables --seed 78 --train-hours 0.9 --out fit78
    python scripts/fit_notes.py fit77:train fit78:train -o notes.npz

Every recording is read by the bundled weights three times: alone, inside its music at 10 dB, and in a random room with
noise; a third of the results is also muffled. From the curves around each instant a network with one hidden layer
learns the log-odds that a note begins, ends and sounds (`rmvpe.notes.evidence`); a second one learns it without the
sound, from the notes as the f0 alone can tell them. Then one to three of the costs (`rmvpe.notes.find.Costs`) at a
time are changed at random, and a change stays if the mean of three F1 scores is higher: with offset, onset and pitch,
onset alone (mir_eval.transcription). A fifth of the recordings, evenly spaced, is kept from the networks; the costs are
fitted on these. Nothing but these folders is looked at. The networks go to --output (for rmvpe/weights/notes.npz), the
costs are printed, for rmvpe/notes/find.py.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import rmvpe
from rmvpe.config import AugmentConfig
from rmvpe.data.augment import draw_room
from rmvpe.data.effects import coloured_noise, reverberate
from rmvpe.data.mixing import rms
from rmvpe.data.readers.base import Item
from rmvpe.data.readers.note_folders import NoteHybrid
from rmvpe.errors import UserError
from rmvpe.evaluation.evaluate import mixed
from rmvpe.files import atomic_path
from rmvpe.notes.evidence import Evidence, Network, evidence, inputs_in_blocks
from rmvpe.notes.find import STEP_S, WITH_SOUND, WITHOUT_SOUND, Costs, Frames, notes_from, segments
from rmvpe.notes.notes import frames_of
from rmvpe.notes.settings import NoteConfig
from rmvpe.pitch import midi_to_hz
from rmvpe.program import Command, run_program

RATE = 16_000
MUSIC_DB = 10.0  # voice to music
ROOM_S = 1.0
NOISE_DB = (-50.0, -15.0)  # against the voice, in the room
HELD_OUT = 5  # every fifth recording
HIDDEN, EPOCHS, BATCH, RATE_OF_LEARNING, DECAY, JITTER = 64, 8, 512, 4e-3, 1e-2, 0.1
TARGETS = ((0, 1.0), (1, 0.8), (-1, 0.8), (2, 0.4), (-2, 0.4))  # a border may be this many frames off
HELD_S, FAR_S = 0.08, 0.3  # without sound: the longest gap inside a note; voice this far from a note is none
LARGEST_STEP = 0.5  # of the logarithm of a cost


@dataclasses.dataclass(frozen=True)
class Task:
    """A recording to find notes in, and its notes [notes, 3]: onset s, offset s, MIDI. held_out: not for networks."""

    frames: Frames
    notes: np.ndarray
    held_out: bool


def sounds_of(item: Item, estimator: rmvpe.Estimator, rng: np.random.Generator) -> list[np.ndarray]:
    """The voice alone, inside its music if it has some, and in a room with noise."""
    music = mixed(item, MUSIC_DB, estimator.model)
    response = draw_room(RATE, ROOM_S, AugmentConfig(), rng)
    context = round(ROOM_S * RATE)
    room = reverberate(np.pad(item.voice, (context, 0)), response, context)
    noise = coloured_noise(len(room), RATE, rng.uniform(0.0, 2.0), rng)
    level = rms(item.voice) * 10 ** (rng.uniform(*NOISE_DB) / 20)
    return [item.voice, *([] if music is None else [music]), room + np.float32(level) * noise]


def read_tasks(places: Sequence[str], limit: int | None) -> list[Task]:
    """Every recording in every sound, if a voice is found in it. Raises UserError for a place that is none."""
    from tqdm import tqdm

    sources = {}
    for place in places:
        folder, colon, split = place.rpartition(":")
        if not colon:
            raise UserError(f"{place} names no split: give FOLDER:SPLIT, such as Hybrid:train")
        sources[place] = NoteHybrid(folder, split)
    estimator = rmvpe.load()
    tasks = []
    for place, source in sources.items():
        for index in tqdm(range(len(source))[:limit], desc=place, unit="file"):
            notes, item = source.notes(index), source[index]
            for sound in sounds_of(item, estimator, np.random.default_rng(index)) if len(notes) else []:
                track = estimator.from_audio(sound, RATE)
                if track.voiced.any():
                    tasks += [Task(part, notes, index % HELD_OUT == 0) for part in frames_of(track, sound)]
    return tasks


def muffled(task: Task, rng: np.random.Generator) -> Task:
    """The task through a low pass of 12 to 48 dB per octave: a hum, a whistle, a flute have little above their f0."""
    bands, level = task.frames.bands_db, task.frames.level_db
    assert bands is not None
    assert level is not None
    lower = bands - rng.uniform(12.0, 48.0) * np.arange(bands.shape[1])
    power, was = ((10.0 ** (some / 10.0)).sum(axis=1) for some in (lower, bands))
    frames = dataclasses.replace(task.frames, bands_db=lower, level_db=level + 10.0 * np.log10(power / was))
    return dataclasses.replace(task, frames=frames)


def without_sound(frames: Frames, binary: bool) -> Frames:
    """The f0 alone. binary: also without a confidence, as files of f0 have none."""
    confidence = frames.voiced.astype(np.float64) if binary else frames.confidence
    return dataclasses.replace(frames, level_db=None, bands_db=None, confidence=confidence)


def heard_in_f0(frames: Frames, notes: np.ndarray) -> np.ndarray:
    """The notes as the f0 alone can tell them: every voiced frame belongs to the nearest one.

    A note then lasts as long as its voice, over gaps of up to 80 ms; where two follow each other without a gap at one
    pitch, within half a semitone, nothing tells them apart.
    """
    time_s = frames.start_s + STEP_S * np.arange(len(frames.voiced))
    away = np.maximum(notes[:, :1] - time_s, time_s - notes[:, 1:2]).clip(min=0.0)  # [notes, frames]
    nearest = np.where(frames.voiced & (away.min(axis=0) <= FAR_S), away.argmin(axis=0), -1)
    found: list[list[float]] = []
    last = -1  # the note of the last voiced frame
    for frame in np.flatnonzero(nearest >= 0):
        start, pitch = time_s[frame], notes[nearest[frame], 2]
        gap = start - found[-1][1] if found else np.inf
        same = nearest[frame] == last or (gap < STEP_S / 2 and abs(pitch - found[-1][2]) < 0.5)
        if same and gap <= HELD_S:
            found[-1][1] = start + STEP_S
        else:
            found.append([start, start + STEP_S, pitch])
        last = nearest[frame]
    return np.array(found).reshape(-1, 3)


def inputs_of(frames: Frames) -> np.ndarray:
    """What a network reads, [frames + 1, inputs]."""
    return np.concatenate(
        list(inputs_in_blocks(frames.pitch, frames.voiced, frames.confidence, frames.level_db, frames.bands_db))
    )


def targets_of(frames: Frames, notes: np.ndarray) -> np.ndarray:
    """Whether a note begins, ends, sounds at each border, 0 to 1, float32 [frames + 1, 3]."""
    count = len(frames.voiced) + 1
    targets = np.zeros((count, 3), dtype=np.float32)
    for onset_s, offset_s, _ in notes:
        first, stop = (round((time_s - frames.start_s) / STEP_S) for time_s in (onset_s, offset_s))
        for column, border in enumerate((first, stop)):
            for away, weight in TARGETS:
                if 0 <= border + away < count:
                    targets[border + away, column] = max(targets[border + away, column], weight)
        targets[max(first, 0) : max(stop, 0), 2] = 1.0
    return targets


def train(tasks: Sequence[Task], seed: int) -> Network:
    """The network that knows the tasks that are not held out best; prints its loss on both."""
    import torch

    torch.manual_seed(seed)

    def tensors(held_out: bool) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = [task for task in tasks if task.held_out == held_out]
        read = np.concatenate([inputs_of(task.frames) for task in chosen])
        return torch.from_numpy(read), torch.from_numpy(
            np.concatenate([targets_of(task.frames, task.notes) for task in chosen])
        )

    inputs, targets = tensors(False)
    mean, scale = inputs.mean(0), inputs.std(0) + 1e-3
    layers = [torch.nn.Linear(inputs.shape[1], HIDDEN), torch.nn.Linear(HIDDEN, 3)]
    model = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1])
    steps = EPOCHS * (len(inputs) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE_OF_LEARNING, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE_OF_LEARNING, total_steps=steps)
    loss_of = torch.nn.BCEWithLogitsLoss()
    for step in range(steps):
        if step % (len(inputs) // BATCH) == 0:
            order = torch.randperm(len(inputs))
        chosen = order[step % (len(inputs) // BATCH) * BATCH :][:BATCH]
        read = (inputs[chosen] - mean) / scale
        loss = loss_of(model(read + JITTER * torch.randn_like(read)), targets[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        others, wanted = tensors(True)
        losses = [float(loss_of(model((x - mean) / scale), y)) for x, y in ((inputs, targets), (others, wanted))]
    print(f"network of {inputs.shape[1]} inputs: loss {losses[0]:.4f}, on recordings held out {losses[1]:.4f}")
    dense = tuple((layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in layers)
    return Network(mean.numpy(), scale.numpy(), dense)


@dataclasses.dataclass(frozen=True)
class Search:
    """A recording while costs are sought: its evidence does not change."""

    frames: Frames
    known: Evidence
    notes: np.ndarray


def scores(search: Search, costs: Costs) -> tuple[float, float, float]:
    """F1 with offset, with onset and pitch, with onset alone, of one recording."""
    from mir_eval.transcription import onset_precision_recall_f1, precision_recall_f1_overlap

    config = NoteConfig()
    found = notes_from(search.frames, segments(search.frames, search.known, config, costs), config)
    if not found:
        return 0.0, 0.0, 0.0
    times = np.array([(note.onset_s, note.offset_s) for note in found])
    pitch_hz = np.array([note.pitch_hz for note in found])
    real, real_hz = search.notes[:, :2], midi_to_hz(search.notes[:, 2])
    whole = precision_recall_f1_overlap(real, real_hz, times, pitch_hz, offset_ratio=0.2)[2]
    pitched = precision_recall_f1_overlap(real, real_hz, times, pitch_hz, offset_ratio=None)[2]
    return whole, pitched, onset_precision_recall_f1(real, times)[2]


SEARCHES: list[Search] = []  # of a worker process


def _start(searches: list[Search]) -> None:
    SEARCHES.extend(searches)


def _score(job: tuple[int, Costs]) -> tuple[float, float, float]:
    return scores(SEARCHES[job[0]], job[1])


def changed(costs: Costs, rng: np.random.Generator) -> Costs:
    """The costs with one to three of them multiplied by a random factor."""
    values = dataclasses.asdict(costs)
    for name in map(str, rng.choice(list(values), size=rng.choice([1, 2, 3]), replace=False)):
        values[name] = round(values[name] * float(np.exp(LARGEST_STEP * rng.normal() * rng.choice([0.3, 1.0]))), 3)
    return Costs(**values)


def fit_costs(searches: list[Search], best: Costs, rounds: int, workers: int, seed: int) -> Costs:
    """The best costs of a random search; prints each that is better."""
    rng = np.random.default_rng(seed)
    with get_context("spawn").Pool(workers, _start, (searches,)) as pool:

        def merit(costs: Costs) -> np.ndarray:
            return np.mean(pool.map(_score, [(index, costs) for index in range(len(searches))], chunksize=8), axis=0)

        high = merit(best)
        print(f"{len(searches)} recordings; F1 with offset, onset and pitch, onset: {np.round(high, 4)}", flush=True)
        for number in range(rounds):
            costs = changed(best, rng)
            reached = merit(costs)
            if reached.mean() > high.mean():
                best, high = costs, reached
                print(f"{number}: {np.round(high, 4)} {best}", flush=True)
    return best


def search_of(task: Task, model: Network) -> Search:
    """The task with its evidence."""
    frames = task.frames
    return Search(
        frames,
        evidence(frames.pitch, frames.voiced, frames.confidence, frames.level_db, frames.bands_db, model),
        task.notes,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    add = parser.add_argument
    add("places", nargs="+", metavar="FOLDER:SPLIT", help="Hybrid folders whose recordings have NAME.notes.csv")
    add("--rounds", type=int, default=100, metavar="N", help="changes of costs that are tried (default: %(default)s)")
    add("--limit", type=int, metavar="N", help="at most N recordings of each folder")
    add("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    add("--workers", type=int, default=2, metavar="N", help="processes (default: %(default)s)")
    add("-o", "--output", type=Path, required=True, metavar="NPZ", help="the networks")


def fit(tasks: Sequence[Task], start: Costs, arguments: argparse.Namespace) -> tuple[Network, Costs]:
    """The network and the costs for tasks of one kind."""
    model = train(tasks, arguments.seed)
    searches = [search_of(task, model) for task in tasks if task.held_out]
    return model, fit_costs(searches, start, arguments.rounds, arguments.workers, arguments.seed)


def arrays_of(kind: str, model: Network) -> dict[str, Any]:
    """What is stored of a network, all float32."""
    arrays: dict[str, Any] = {f"{kind}.mean": model.mean, f"{kind}.scale": model.scale}
    for number, (weights, biases) in enumerate(model.layers):
        arrays |= {f"{kind}.weight{number}": weights, f"{kind}.bias{number}": biases}
    return arrays


def run(arguments: argparse.Namespace) -> int:
    """Fit the networks and the costs, with sound and without."""
    tasks = read_tasks(arguments.places, arguments.limit)
    bare = [
        Task(without_sound(task.frames, number % 2 == 1), heard_in_f0(task.frames, task.notes), task.held_out)
        for number, task in enumerate(tasks)
    ]
    tasks += [muffled(task, np.random.default_rng(number)) for number, task in enumerate(tasks) if number % 3 == 0]
    stored: dict[str, Any] = {}
    for kind, known, start in (("sound", tasks, WITH_SOUND), ("f0", bare, WITHOUT_SOUND)):
        model, costs = fit([task for task in known if len(task.notes)], start, arguments)
        print(kind, costs, flush=True)
        stored |= arrays_of(kind, model)
        with atomic_path(arguments.output) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **stored)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (by default this process's) and return the exit code."""
    return run_program("fit_notes", Command(__doc__ or "", add_arguments, run), argv)


if __name__ == "__main__":
    sys.exit(main())
