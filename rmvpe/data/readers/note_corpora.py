"""Pop songs labelled with the notes of their singer: MIR-ST500 and Cmedia, in one layout.

    ROOT/train/ID/Mixture.mp3       also ROOT/test/ID/, ROOT/Cmedia-train/ID/ or ROOT/ID/
    ROOT/train/ID/Vocal.wav         if a separator was run
    ROOT/train/ID/Inst.wav          the same separator's accompaniment

This is the layout of the authors' `get_youtube.py` and `do_spleeter.py`. The names `vocals`, `accompaniment` and
`converted_Mixture` of other tools are read too, in upper or lower case and as .wav, .flac, .mp3 or .ogg. Songs without
a folder or with an empty one are skipped, because some are no longer on YouTube.

**What "voice" is**: the separated `Vocal` if it is there, otherwise the mixture itself, without accompaniment. Do not
compare scores on one with scores on the other; a ratio of voice to music means nothing for a mixture.

**What a label is**: notes (onset s, offset s, MIDI). f0 is constant over a note and 0 outside, on a 10 ms grid made
here; vibrato, portamento and scoops then count as errors of half a semitone and more. Train with it only if there is
nothing better; scores against it say how well notes are found, not how exact the f0 is. All of a song is annotated:
where there is no note there is no voice, to the end of the recording.
"""

import itertools
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rmvpe.data.readers.base import RecordingFiles
from rmvpe.data.readers.labels import notes_to_f0, read_notes_json, read_notes_text
from rmvpe.data.readers.published import Published
from rmvpe.errors import UserError

VOICES, ACCOMPANIMENTS, MIXTURES = ("vocal", "vocals"), ("inst", "accompaniment"), ("mixture", "converted_mixture")
SUFFIXES = (".wav", ".flac", ".mp3", ".ogg")


class NoteLabelled(Published):
    """Songs in numbered folders with notes in one JSON file, {ID: [[onset s, offset s, MIDI], ...]}.

    Without that file, ID/ID_groundtruth.txt holds a song's notes, "onset offset MIDI" per line.
    """

    notes_files: tuple[str, ...]
    song_folders: tuple[str, ...]

    def find(self) -> list[RecordingFiles]:
        """The songs that are there, by number; reads all notes."""
        path = next((self.root / name for name in self.notes_files if (self.root / name).is_file()), None)
        by_id = {} if path is None else read_notes_json(path)
        self.notes_by_song: dict[str, np.ndarray] = {}
        songs = []
        for folder in self._folders():
            sound = _sound(folder)
            if sound is None:
                continue
            label = folder / f"{folder.name}_groundtruth.txt" if path is None else path
            if path is None and not label.is_file():
                raise FileNotFoundError(
                    f"{folder} has no notes: put {self.notes_files[0]} into {self.root} or {label.name} into the folder"
                )
            if path is not None and folder.name not in by_id:
                raise UserError(f"{path} has no notes of the song {folder}: add them or remove the folder")
            self.notes_by_song[folder.name] = read_notes_text(label) if path is None else by_id[folder.name]
            songs.append(RecordingFiles(folder.name, sound[0], label, sound[1]))
        return songs

    def splits(self) -> Callable[[str], str]:
        """By the song's number."""
        return lambda name: self.split_of(int(name))

    @abstractmethod
    def split_of(self, number: int) -> str:
        """The split of song `number`."""

    def annotation(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """`time_s` (0, 10 ms, ... to the end of the recording) and `f0_hz` [points] of the notes."""
        return notes_to_f0(self.notes(index), self.duration_s(index))

    def notes(self, index: int) -> np.ndarray:
        """Notes of item `index` as in the file, float64 [notes, 3]: onset and offset in seconds, MIDI number."""
        return self.notes_by_song[self.name(index)]

    def annotated_s(self, index: int) -> float:
        """The offset of the last note."""
        return float(self.notes(index)[:, 1].max(initial=0.0))

    def duration_s(self, index: int) -> float:
        """Length of the recording in seconds; what comes after the last note is annotated as unvoiced."""
        return self._recorded_s(index)

    def _folders(self) -> list[Path]:
        """Numbered folders, by number. Raises UserError if a number comes twice."""
        places = [self.root / name for name in self.song_folders if (self.root / name).is_dir()]
        found = [path for place in places for path in place.iterdir() if path.is_dir() and path.name.isdecimal()]
        found.sort(key=lambda path: int(path.name))
        for one, other in itertools.pairwise(found):
            if int(one.name) == int(other.name):
                raise UserError(f"{one} and {other} are the same song: remove one of them")
        return found


class MIRST500(NoteLabelled):
    """MIR-ST500: 500 Chinese pop songs, about 30 hours, with notes by trained labellers; audio through YouTube links.

        ROOT/MIR-ST500_corrected.json, or in ROOT/MIR-ST500_20210206/
        ROOT/train/1 ... 400, ROOT/test/401 ... 500

    The official split: songs 401 to 500 are test; of 1 to 400, those that end in 9 are valid here. Singers are not
    named, so one may be on both sides.
    Licence: none stated for the labels; the songs are their owners'. Cite: J.-Y. Wang, J.-S. R. Jang, "On the
    preparation and validation of a large-scale dataset of singing transcription", ICASSP 2021.
    https://github.com/york135/singing_transcription_ICASSP2021
    """

    notes_files = ("MIR-ST500_corrected.json", "MIR-ST500_20210206/MIR-ST500_corrected.json")
    song_folders = ("", "train", "test")

    def split_of(self, number: int) -> str:
        """401 and above are test, as published; those that end in 9 below are valid."""
        if number > 400:
            return "test"
        return "valid" if number % 10 == 9 else "train"


class Cmedia(NoteLabelled):
    """Cmedia: the 100 open pop songs, mostly Chinese, of MIREX 2020 singing transcription; audio through YouTube links.

        ROOT/Cmedia_train_gt.json, or in ROOT/Cmedia-train/
        ROOT/train/1 ... 100, or ROOT/Cmedia-train/1 ..., or ROOT/1 ...

    The other 100 songs are MIREX's hidden test set. The open ones have no official split: songs that end in 9 are
    valid here, those that end in 0 test. A few notes are shorter than 10 ms and vanish between two points of the grid.
    Licence: none stated for the labels; the songs are their owners'. Cite: MIREX 2020, "Singing transcription from
    polyphonic music", https://www.music-ir.org/mirex/wiki/2020:Singing_Transcription_from_Polyphonic_Music
    """

    notes_files = ("Cmedia_train_gt.json", "Cmedia-train/Cmedia_train_gt.json")
    song_folders = ("", "train", "Cmedia-train")

    def split_of(self, number: int) -> str:
        """By the last digit: 9 valid, 0 test."""
        return {9: "valid", 0: "test"}.get(number % 10, "train")


def _sound(folder: Path) -> tuple[Path, Path | None] | None:
    """The song's voice and accompaniment, or its mixture alone; None without either."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    voice = _named(files, VOICES)
    if voice is not None:
        return voice, _named(files, ACCOMPANIMENTS)
    mixture = _named(files, MIXTURES)
    if mixture is not None:
        return mixture, None
    for path in files:
        if path.stem.lower() in (*VOICES, *MIXTURES):
            raise UserError(f"{path} has a format that cannot be read: convert it to one of {', '.join(SUFFIXES)}")
    return None


def _named(files: list[Path], stems: tuple[str, ...]) -> Path | None:
    fitting = [path for path in files if path.stem.lower() in stems and path.suffix.lower() in SUFFIXES]
    return min(fitting, key=lambda path: SUFFIXES.index(path.suffix.lower()), default=None)
