"""Whose notes are right? Scores of ours, SwiftF0's and Basic Pitch's notes, from the same sound.

    python benchmarks/notes.py --data folder:PATH --snr clean,10 --music FOLDER --swift-f0 PYTHON --basic-pitch PYTHON

PYTHON is a Python that has the program; without the flag it is left out. Each runs in its own process with its defaults
(`benchmarks/note_peers.py`) and gets the same 16 kHz mix as ours. The scores are those of `rmvpe evaluate --notes`, the
mean over files, with 95 % intervals by bootstrap over the files, and how much higher ours are on the same files. Basic
Pitch is polyphonic: all its notes count, so those of the music too. A file on which one program fails is left out for
all, is named, and makes the exit code 1. "rmvpe, f0 alone" finds them without the sound. "reference times" has the
onsets and offsets of the reference and the median of our f0 between them: how far the reference's pitches agree with
the sound's.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import soundfile

from rmvpe.audio import SAMPLE_RATE_HZ
from rmvpe.config import ModelConfig
from rmvpe.data.mixing import find_music
from rmvpe.data.readers.base import Item, NoteSource
from rmvpe.data.readers.registry import files_of, open_note_source
from rmvpe.errors import UserError
from rmvpe.estimator import DEFAULT_WEIGHTS, Estimator, load
from rmvpe.evaluation.evaluate import MUSIC, Scored, evenly_spaced, mixed, parse_ratio, score_items
from rmvpe.evaluation.note_metrics import CRITERIA, NoteTally, note_tally
from rmvpe.evaluation.note_report import LEGEND
from rmvpe.evaluation.notes import FindNotes, NoteEvaluation, finder, summary
from rmvpe.evaluation.report import ABSENT, Report, ReportFiles, markdown_table
from rmvpe.ownership import check_outputs
from rmvpe.pitch import hz_to_midi
from rmvpe.program import Command, run_program

OURS = "rmvpe"
BARE = "rmvpe, f0 alone"
BOUND = "reference times"
NO_PITCH = 1.0  # MIDI: below every voice
PEERS = ("swift-f0", "basic-pitch")
PEER_SCRIPT = Path(__file__).with_name("note_peers.py")
RESAMPLINGS, SEED, INTERVAL = 10_000, 0, (2.5, 97.5)


@contextmanager
def peer(name: str, python: str) -> Iterator[tuple[FindNotes, str]]:
    """Another program's notes by `python`, and what it is, in words. Raises UserError if it cannot be started."""
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "stderr").open("w+") as stderr:
        command = [python, str(PEER_SCRIPT), name]
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, encoding="utf-8"
            )
        except OSError as error:
            raise UserError(f"--{name} {python} cannot be started ({error.strerror}): give a Python") from error
        assert process.stdin is not None
        assert process.stdout is not None
        requests, answers = process.stdin, process.stdout

        def answer() -> dict[str, object]:
            line = answers.readline()
            if not line:
                stderr.seek(0)
                last = (stderr.read().strip().splitlines() or [""])[-1]
                raise UserError(f"{name} has ended (exit code {process.wait()}): {last}")
            return dict(json.loads(line))

        def find(audio: np.ndarray) -> np.ndarray:
            path = Path(folder) / "mix.wav"
            soundfile.write(path, audio, SAMPLE_RATE_HZ, subtype="FLOAT")
            requests.write(f"{path}\n")
            requests.flush()
            found = answer()
            if "error" in found:
                raise UserError(f"{name}: {found['error']}")
            return np.array(found["notes"], dtype=np.float64).reshape(-1, 3)

        try:
            yield find, str(answer()["about"])
        finally:
            process.kill()
            process.communicate()


def at_reference_times(estimator: Estimator, audio: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The reference notes [notes, 3], with the median of our f0 inside each as pitch, or, without any, `NO_PITCH`."""
    track = estimator.from_audio(audio, SAMPLE_RATE_HZ)
    notes = reference.copy()
    for note in notes:
        inside = track.voiced & (track.time_s >= note[0]) & (track.time_s < note[1])
        note[2] = np.median(hz_to_midi(track.f0_hz[inside])) if inside.any() else NO_PITCH
    return notes


def score_all(
    estimator: Estimator,
    finders: dict[str, FindNotes],
    source: NoteSource,
    ratios: Sequence[float],
    music: list[Path] | None,
    limit: int,
) -> dict[str, Scored[NoteTally]]:
    """The tallies of each program; all get the same sound."""
    model = ModelConfig()

    def score(index: int, item: Item, snr: float) -> dict[str, NoteTally] | None:
        audio = mixed(item, snr, model)
        if audio is None:
            return None
        reference = np.zeros((0, 3)) if snr == MUSIC else source.notes(index)
        tallies = {name: note_tally(reference, find(audio)) for name, find in finders.items()}
        return tallies | {BOUND: note_tally(reference, at_reference_times(estimator, audio, reference))}

    indices = evenly_spaced(len(source), limit or len(source))
    found = score_items(score, source, snr_db=ratios, indices=indices, music=music, keep_going=True)
    return {
        name: Scored(
            [(file, ratio, tallies[name]) for file, ratio, tallies in found.rows],
            found.ratios,
            found.failures,
            found.warnings,
        )
        for name in (*finders, BOUND)
    }


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean of `values`, by bootstrap; always the same for the same values."""
    picks = np.random.default_rng(SEED).integers(0, len(values), (RESAMPLINGS, len(values)))
    low, high = np.percentile(np.asarray(values)[picks].mean(axis=1), INTERVAL)
    return float(low), float(high)


def intervals(evaluation: NoteEvaluation) -> dict[str, dict[str, tuple[float, float]]]:
    """By ratio and criterion, the interval of the mean F1 over the files that have reference notes."""
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for ratio in evaluation.means:
        rows = [row for row in evaluation.files if row["ratio"] == ratio and row["reference"]]
        if rows:
            found[ratio] = {name: interval([row[f"{name} F1"] for row in rows]) for name in CRITERIA}
    return found


def differences(ours: NoteEvaluation, theirs: NoteEvaluation) -> dict[str, dict[str, tuple[float, float, float]]]:
    """By ratio and criterion, how much higher our mean F1 is, and the interval of that; both scored the same files."""
    found: dict[str, dict[str, tuple[float, float, float]]] = {}
    for ratio in ours.means:
        pairs = [
            (one, other)
            for one, other in zip(ours.files, theirs.files, strict=True)
            if one["ratio"] == ratio and one["reference"]
        ]
        if pairs:
            higher = {name: [one[f"{name} F1"] - other[f"{name} F1"] for one, other in pairs] for name in CRITERIA}
            found[ratio] = {name: (float(np.mean(gains)), *interval(gains)) for name, gains in higher.items()}
    return found


def report(about: dict[str, str], evaluations: dict[str, NoteEvaluation], title: str) -> Report:
    """Tables of mean F1 by ratio, a row per program; everything else is in the record."""
    ratios = next(iter(evaluations.values())).means
    spread = {name: intervals(evaluation) for name, evaluation in evaluations.items()}
    rows = []
    for ratio in ratios:
        for name, evaluation in evaluations.items():
            counts, means = evaluation.counts[ratio], evaluation.means[ratio]
            cells = [
                f"{means[f'{criterion} F1']:.3f} ({low:.3f} to {high:.3f})"
                for criterion, (low, high) in spread[name].get(ratio, {}).items()
            ]
            numbers = [str(counts[key]) for key in ("files", "reference", "found")]
            rows.append([ratio, name, *numbers, *(cells or [ABSENT] * len(CRITERIA))])
    headings = ["voice to music", "notes by", "files", "notes", "found", *(f"{name} F1" for name in CRITERIA)]
    words = [f"- {name}: {text}" for name, text in about.items()]
    gains = {
        name: differences(evaluations[OURS], one) for name, one in evaluations.items() if name not in (OURS, BOUND)
    }
    gain_rows = [
        [ratio, name, *(f"{gain:+.3f} ({low:+.3f} to {high:+.3f})" for gain, low, high in gains[name][ratio].values())]
        for ratio in ratios
        for name in gains
        if ratio in gains[name]
    ]
    parts = [markdown_table(headings, rows)]
    if gain_rows:
        compared = markdown_table(["voice to music", "compared with", *(f"{name} F1" for name in CRITERIA)], gain_rows)
        parts.append(f"{OURS} higher by, file by file\n\n{compared}")
    tables = "\n\n".join([*parts, LEGEND, "\n".join(words)])
    record = {
        "about": about,
        "programs": {name: asdict(evaluation) for name, evaluation in evaluations.items()},
        "intervals": spread,
        "differences": gains,
    }
    return Report(title, tables, (), [], record)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    flags = {"data": None, "split": "all", "snr": "clean", "music": None, "weights": DEFAULT_WEIGHTS}
    for flag, default in flags.items():
        text = "as for rmvpe evaluate --notes" + (f" (default: {default})" if default else "")
        parser.add_argument(f"--{flag}", default=default, required=flag == "data", help=text)
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="at most N files, evenly spaced")
    for name in PEERS:
        parser.add_argument(f"--{name}", metavar="PYTHON", help=f"a Python that has {name}")
    for name in ("json", "markdown"):
        parser.add_argument(f"--{name}", type=Path, metavar="OUT", help=f"write the scores as {name} to OUT")
    parser.add_argument("--force", action="store_true", help="replace files that this program did not write")


def run(given: argparse.Namespace) -> int:
    """Print the table and write the files."""
    files = ReportFiles(json=given.json, markdown=given.markdown)
    ratios = list(map(parse_ratio, given.snr.split(",")))
    music = None if given.music is None else find_music(given.music)
    source = open_note_source(given.data, given.split)
    check_outputs(files.outputs(), [*files_of(source), *(music or ())], given.force)
    estimator = load(given.weights, device="cpu")
    finders = {OURS: finder(estimator), BARE: finder(estimator, with_sound=False)}
    about = {OURS: f"weights {Path(given.weights).name}, rmvpe's defaults", BARE: "the same, as from a file of f0"}
    with ExitStack() as stack:
        for name in PEERS:
            if python := getattr(given, name.replace("-", "_")):
                finders[name], about[name] = stack.enter_context(peer(name, python))
        scored = score_all(estimator, finders, source, ratios, music, given.limit)
    about[BOUND] = "the reference's own times, and the median of our f0 inside: what any exact pitch reaches at most"
    evaluations = {name: summary(one) for name, one in scored.items()}
    title = f"Notes in {Path(given.data).name}" + (f", music from {Path(given.music).name}" if given.music else "")
    result = report(about, evaluations, title)
    result.write(files)
    print(result.text)
    failures = next(iter(scored.values())).failures
    for failure in failures:
        print(f"notes: {failure}", file=sys.stderr)
    return 1 if failures else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and call."""
    return run_program("notes", Command(__doc__ or "", add_arguments, run), argv)


if __name__ == "__main__":
    sys.exit(main())
