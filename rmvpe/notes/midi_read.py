"""Notes from a Standard MIDI File of one voice.

A note's pitch is its number and the bend of its channel: the median over the middle three fifths of the note, which is
where `rmvpe.notes.find` measures it. All tracks and channels are read but channel 10, which General MIDI gives to
percussion. A note that still sounds when the next one begins, as in legato playing, ends there; if that cuts off more
than OVERLAP_S, the file has several voices. The pedal is not read.
"""

import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from rmvpe.notes.midi import BEND_STEPS, DATA_LSB, DATA_MSB, RPN_LSB, RPN_MSB, import_mido
from rmvpe.notes.note import Note
from rmvpe.notes.tables import Contents, bytes_of

OVERLAP_S = 0.05
PERCUSSION = 9  # channel 10, counted from 0
DEFAULT_RANGE = 2.0  # semitones, where a file states none
DEFAULT_TEMPO_US = 500_000  # 120 quarter notes per minute, where a file states none
NRPN_MSB, NRPN_LSB, RESET_CONTROLLERS = 99, 98, 121
MIDDLE = (0.2, 0.8)  # of a note
# Bytes that all say "goes on": mido would make one number of them, in hours. A text in UTF-8 has spaces in between
ENDLESS = re.compile(rb"[\x80-\xff]{8192}")


@dataclass
class Channel:
    """The bend of a channel, over time, and the parameter that a data entry would set."""

    parameter: list[int | None] = field(default_factory=lambda: [None, None])  # coarse and fine number of the RPN
    wheel: int = 0
    semitones: int = int(DEFAULT_RANGE)
    cents: int = 0
    time_s: list[float] = field(default_factory=lambda: [0.0])
    bend: list[float] = field(default_factory=lambda: [0.0])  # semitones, from the time of the same place on

    def take(self, now: float, message: Any) -> None:
        """What a message changes."""
        if message.type == "pitchwheel":
            self.wheel = message.pitch
        elif message.type != "control_change":
            return
        elif message.control in (RPN_MSB, RPN_LSB):
            self.parameter[message.control == RPN_LSB] = message.value
        elif message.control in (NRPN_MSB, NRPN_LSB):
            self.parameter = [None, None]
        elif message.control == DATA_MSB and self.parameter == [0, 0]:
            self.semitones = message.value
        elif message.control == DATA_LSB and self.parameter == [0, 0]:
            self.cents = message.value
        elif message.control == RESET_CONTROLLERS:
            self.wheel = 0
        bend = self.wheel / BEND_STEPS * (self.semitones + self.cents / 100.0)
        if bend != self.bend[-1]:
            self.time_s.append(now)
            self.bend.append(bend)

    def median(self, start_s: float, stop_s: float) -> float:
        """The bend in semitones that is the median over this time."""
        times = np.array(self.time_s)
        first = max(int(np.searchsorted(times, start_s, side="right")) - 1, 0)
        last = max(int(np.searchsorted(times, stop_s)), first + 1)
        bends = np.array(self.bend[first:last])
        edges = np.clip(np.append(times[first:last], stop_s), start_s, stop_s)
        order = np.argsort(bends, kind="stable")
        shares = np.cumsum(np.diff(edges)[order])
        return float(bends[order][np.searchsorted(shares, shares[-1] / 2)])


@dataclass
class Key:
    """A note of one key; `struck_again` if its beginning has ended an earlier one of the same key."""

    onset_s: float
    channel: int
    number: int
    velocity: int
    struck_again: bool
    offset_s: float = 0.0


def read_mid(path: Path) -> Contents:
    """The notes of a file. Raises ValueError for what it cannot be read for, UserError where mido is not installed."""
    mido = import_mido()
    if ENDLESS.search(bytes_of(path)):
        raise ValueError("it is damaged")
    try:
        file = mido.MidiFile(path)
    except EOFError as error:
        raise ValueError("it ends too early") from error
    if file.type == 2:
        raise ValueError("it is of type 2, whose tracks have no common time: export it as type 0 or 1")
    if file.ticks_per_beat <= 0:
        raise ValueError("its times are video frames: export it with ticks per quarter note")
    channels: dict[int, Channel] = defaultdict(Channel)
    keys = _keys(mido.merge_tracks(file.tracks), file.ticks_per_beat, channels)
    return Contents(tuple(_note(key, channels[key.channel]) for key in _one_voice(keys)))


def _keys(messages: Any, ticks_per_beat: int, channels: dict[int, Channel]) -> list[Key]:
    """The notes of all keys, by onset; `channels` gets the bends."""
    tick, since_tick, since_s = 0, 0, 0.0  # `since`: the last change of tempo
    tick_s = DEFAULT_TEMPO_US / 1e6 / ticks_per_beat
    found: list[Key] = []
    sounding: dict[tuple[int, int], Key] = {}
    for message in messages:
        tick += message.time
        now = since_s + (tick - since_tick) * tick_s
        if message.type == "set_tempo":
            since_tick, since_s, tick_s = tick, now, message.tempo / 1e6 / ticks_per_beat
        if message.is_meta or getattr(message, "channel", PERCUSSION) == PERCUSSION:
            continue
        channels[message.channel].take(now, message)
        if message.type not in ("note_on", "note_off"):
            continue
        place = (message.channel, message.note)
        key = sounding.get(place)
        if message.type == "note_on" and message.velocity > 0:
            if key is not None:
                key.offset_s = now
                found.append(key)
            sounding[place] = Key(now, *place, message.velocity, struck_again=key is not None)
        elif key is not None and key.onset_s == now and key.struck_again:
            key.struck_again = False  # the end of the earlier one, written after this one's beginning
        elif key is not None:
            key.offset_s = now
            found.append(sounding.pop(place))
    end_s = since_s + (tick - since_tick) * tick_s
    found += [replace(key, offset_s=end_s) for key in sounding.values()]
    return sorted((key for key in found if key.offset_s > key.onset_s), key=lambda key: key.onset_s)


def _one_voice(keys: list[Key]) -> list[Key]:
    """The notes, each ending before the next begins. Raises ValueError where that would cut off more than a legato."""
    for key, after in pairwise(keys):
        if key.offset_s > after.onset_s:
            if key.offset_s - after.onset_s > OVERLAP_S or key.onset_s == after.onset_s:
                raise ValueError(
                    f"at {after.onset_s:.2f} s it has two notes at once: keep one voice, and export its track alone"
                )
            key.offset_s = after.onset_s
    return keys


def _note(key: Key, channel: Channel) -> Note:
    start_s, stop_s = (key.onset_s + share * (key.offset_s - key.onset_s) for share in MIDDLE)
    pitch_midi = key.number + channel.median(start_s, stop_s)
    return Note(round(key.onset_s, 6), round(key.offset_s, 6), pitch_midi, key.velocity)
