"""The flags of notes, the same for `rmvpe predict` and `rmvpe notes`: how notes are found, rounded and written."""

import argparse
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rmvpe.audio import Recording
from rmvpe.cli.note_options import add_note_arguments, given_note_flags, note_config
from rmvpe.errors import UserError
from rmvpe.notes.options import NoteFileOptions
from rmvpe.notes.settings import NoteConfig
from rmvpe.track import F0Track

if TYPE_CHECKING:
    from rmvpe.notes.notes import Notes  # the other files of notes are for those who ask for notes

ROUNDINGS = ("a440", "tuned")
# Flags that a result without MIDI has no use for, by their names in `argparse`
MIDI_FLAGS = {"plain": "--plain", "bend_range": "--bend-range", "title": "--title"}
OTHER_FLAGS = {
    "tempo": "--tempo",
    "round": "--round",
    "quantize": "--quantize",
}


@dataclass(frozen=True)
class NoteWishes:
    """How notes are found, what is done with them, and how they are written.

    rounding: None, or one of `ROUNDINGS`. division: of a whole note, the grid that notes are moved to; None for none.
    given: the flags that were typed.
    """

    config: NoteConfig = field(default_factory=NoteConfig)
    options: NoteFileOptions = field(default_factory=NoteFileOptions)
    rounding: str | None = None
    division: int | None = None
    given: tuple[str, ...] = ()

    def find(self, track: F0Track, recording: Recording | None) -> "Notes":
        """The notes of a track, rounded and moved as wished."""
        notes = track.notes(recording, self.config)
        if self.rounding is not None:
            notes = notes.rounded(tuned=self.rounding == "tuned")
        if self.division is not None:
            notes = notes.quantised(self.options.tempo_bpm, self.division)
        return notes

    def check(self, formats: Collection[str], wanted: str) -> None:
        """Raise UserError for a flag that changes nothing, or a library that is missing.

        formats: of `rmvpe.notes.files` that are written; "" for notes that are only heard. wanted: what to add to get
        notes.
        """
        if not formats and self.given:
            raise UserError(f"{self.given[0]} is about notes, and none are written: add {wanted}, or drop it")
        if "mid" in formats:
            from rmvpe.notes.midi import import_mido

            import_mido()
            return
        for flag in self.given:
            if flag in MIDI_FLAGS.values() or (flag == "--tempo" and self.division is None):
                raise UserError(f"{flag} is about MIDI files, and none is written: drop it")


def add_note_wishes(parser: argparse.ArgumentParser) -> None:
    """The flags of `NoteWishes`."""
    group = parser.add_argument_group("notes")
    add_note_arguments(group)
    add = group.add_argument
    text = f"quarter notes per minute, for the bars of MIDI and --quantize (default: {NoteFileOptions().tempo_bpm:g})"
    add("--tempo", type=float, metavar="BPM", help=text)
    text = "to whole semitones: a440 (default), or tuned: to the recording's own tuning; MIDI is then plain"
    add("--round", nargs="?", const=ROUNDINGS[0], choices=ROUNDINGS, help=text)
    text = "move notes to a grid, such as 1/16, of the tempo from --tempo, from time 0 on; MIDI is then plain"
    add("--quantize", type=division_of, metavar="1/N", help=text)
    add("--plain", action="store_true", default=None, help="MIDI without pitch bends: the nearest notes")
    text = "semitones of MIDI's largest pitch bend (default: 2, 12 or 24, the smallest that fits)"
    add("--bend-range", type=int, metavar="N", help=text)
    add("--title", "--track-name", metavar="TEXT", help="of the MIDI file (default: the input's name)")


def division_of(text: str) -> int:
    """The N of "1/N"."""
    from rmvpe.notes.notes import DIVISIONS

    match = re.fullmatch(r"1/(\d{1,4})", text.strip())
    if match is None or int(match[1]) not in DIVISIONS:
        known = ", ".join(map(str, DIVISIONS))
        raise argparse.ArgumentTypeError(f"{text!r} is no grid: give a part of a whole note, 1/N with N of {known}")
    return int(match[1])


def note_wishes(arguments: argparse.Namespace) -> NoteWishes:
    """What the command line wishes of notes. Raises UserError for flags that contradict each other."""
    flags = MIDI_FLAGS | OTHER_FLAGS
    given: dict[str, Any] = {name: value for name in flags if (value := getattr(arguments, name)) is not None}
    moved = next((flags[name] for name in ("round", "quantize", "plain") if name in given), None)
    if "bend_range" in given and moved is not None:
        raise UserError(f"--bend-range is of pitch bends, and {moved} writes MIDI without them: drop one of them")
    if "quantize" in given and "tempo" not in given:
        raise UserError("--quantize needs the tempo of the music: add --tempo BPM")
    names = {"tempo": "tempo_bpm", "bend_range": "bend_range", "title": "title"}
    options = NoteFileOptions(
        bends=moved is None, **{field: given[name] for name, field in names.items() if name in given}
    )
    typed = (*given_note_flags(arguments), *(flags[name] for name in given))
    return NoteWishes(note_config(arguments), options, given.get("round"), given.get("quantize"), typed)
