"""The flags that decide how notes are found, one per field of `NoteConfig`."""

import argparse
from dataclasses import fields

from rmvpe.notes.settings import NoteConfig

NOTE_FLAGS = {
    "shortest_note_ms": "no note is shorter",
    "shortest_gap_ms": "a shorter gap between two notes is closed",
    "hold_ms": "a note may last over an unvoiced gap of this length",
}


def add_note_arguments(parser: argparse._ActionsContainer) -> None:
    """Add a flag for each field of `NoteConfig`, to a parser or a group of it. A flag that is not given is None."""
    for field in fields(NoteConfig):
        text = f"{NOTE_FLAGS[field.name]} (default: {field.default:g} ms)"
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=float, metavar="MS", help=text)


def given_note_flags(arguments: argparse.Namespace) -> list[str]:
    """The note flags that the command line gives, as they are written."""
    names = [field.name for field in fields(NoteConfig) if getattr(arguments, field.name) is not None]
    return [f"--{name.replace('_', '-')}" for name in names]


def note_config(arguments: argparse.Namespace) -> NoteConfig:
    """The settings that the command line gives. Raises ConfigError for one that is out of range."""
    given = {field.name: getattr(arguments, field.name) for field in fields(NoteConfig)}
    return NoteConfig(**{name: value for name, value in given.items() if value is not None})
