"""The recordings of a folder: which parts can be used, and which of them are for training, validation and test.

A folder holds one sub-folder per speaker (or music package), or the sound files themselves: then it counts as one
speaker. A *clip* is named by its path inside the folder; a long recording is used in parts, "song.wav@40.0-60.0" in
seconds, so that a clip is a recording or a part of one.
"""

import hashlib
import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rmvpe.data.readers.base import read_audio, read_mono, sound_files
from rmvpe.data.synthesis.contours import FRAME_S, FRAME_SAMPLES, runs
from rmvpe.data.synthesis.world_voice import loud
from rmvpe.errors import UserError

SPLITS = ("train", "valid", "test")
HELD_OUT_SHARE = 0.1  # of the speakers or recordings, for validation, and as much for test
MIN_FOLDERS = 10  # with fewer speakers, each of them is needed for training
MIN_RECORDINGS = 5  # with fewer recordings, parts of the same recording are in several splits
LONGEST_CLIP_S = 30.0  # longer recordings are used in parts: an item needs about 20 s, and a long analysis much memory
PART_S = 20.0
SHORTEST_SOUND_S = 0.3  # a clip with less sound is skipped
LONGEST_PAUSE_S = 1.0  # longer ones are shortened to `KEPT_PAUSE_S`: songs pause for minutes
KEPT_PAUSE_S = 0.3

Folders = dict[str, tuple[str, ...]]  # clips or music files by speaker or package
_PART = re.compile(r"(.+)@(\d+\.\d)-(\d+\.\d)", re.DOTALL)


@dataclass(frozen=True)
class Division:
    """Folders by split, and in words how they were divided."""

    of_split: dict[str, Folders]
    how: str
    shared: bool = False  # too little to be divided: every split has all of it


def sound_folders(root: Path, what: str) -> Folders:
    """The sound files in each sub-folder of `root`, and those in `root` itself, as paths inside `root`.

    `what` is in a sub-folder: "speaker" or "package". Raises UserError if there is no folder or no sound file.
    """
    if not root.is_dir():
        raise UserError(f"{root} is not a folder: give the folder that holds one sub-folder per {what}, or sound files")
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    found = {
        folder.name or folder.resolve().name: tuple(str(path.relative_to(root)) for path in sound_files(folder))
        for folder in folders
    }
    found = {name: files for name, files in found.items() if files}
    if not found:
        raise UserError(
            f"{root} has no .wav or .flac files, nor a sub-folder with such files: "
            f"put recordings of one {what} there, or one sub-folder per {what}"
        )
    return found


def usable_clips(root: Path, files: Folders) -> tuple[Folders, list[str]]:
    """The clips of the recordings `files`, and the recordings and parts that are skipped because they hold no sound."""
    clips: Folders = {}
    skipped: list[str] = []
    for folder, names in files.items():
        found = [clip for name in names for clip in _clips_of(root, name, skipped)]
        if found:
            clips[folder] = tuple(found)
    if not clips:
        raise UserError(f"{root} holds no sound of {SHORTEST_SOUND_S} s or more: record something louder or longer")
    return clips, skipped


def _clips_of(root: Path, name: str, skipped: list[str]) -> list[str]:
    """`name`, or the names of its parts; those without sound are added to `skipped`."""
    sounds = _sounding(read_mono(root / name))
    length_s = len(sounds) * FRAME_S
    if length_s <= LONGEST_CLIP_S:
        borders = [0.0, length_s]
    else:
        borders = np.round(np.linspace(0.0, length_s, int(np.ceil(length_s / PART_S)) + 1), 1).tolist()
    clips: list[str] = []
    for start_s, stop_s in itertools.pairwise(borders):
        clip = name if len(borders) == 2 else f"{name}@{start_s:.1f}-{stop_s:.1f}"
        sound_s = FRAME_S * float(sounds[round(start_s / FRAME_S) : round(stop_s / FRAME_S)].sum())
        (clips if sound_s >= SHORTEST_SOUND_S else skipped).append(clip)
    return clips


def recording_of(clip: str) -> str:
    """The sound file that `clip` is, or is a part of."""
    part = _PART.fullmatch(clip)
    return part[1] if part else clip


def read_clip(root: Path, clip: str) -> np.ndarray:
    """float64 [samples] at 16 kHz, mono; pauses longer than `LONGEST_PAUSE_S` are shortened."""
    part = _PART.fullmatch(clip)
    if part is None:
        return without_long_pauses(read_mono(root / clip))
    start_s, stop_s = float(part[2]), float(part[3])
    return without_long_pauses(read_audio(root / part[1], start_s, stop_s - start_s, dtype="float64").mean(axis=1))


def without_long_pauses(audio: np.ndarray) -> np.ndarray:
    """`audio` [samples] at 16 kHz with its long pauses shortened; the same array if it has none."""
    sounds = _sounding(audio)
    keep = np.ones(len(sounds), dtype=bool)
    half = round(KEPT_PAUSE_S / 2 / FRAME_S)
    for start, end in runs(~sounds):
        if end - start > LONGEST_PAUSE_S / FRAME_S:
            keep[start + half : end - half] = False
    if keep.all() or not sounds.any():
        return audio
    kept = np.repeat(keep, FRAME_SAMPLES)
    return np.concatenate([audio[: len(kept)][kept], audio[len(kept) :]])


def _sounding(audio: np.ndarray) -> np.ndarray:
    """bool [frames of 5 ms]: not a pause."""
    frames = len(audio) // FRAME_SAMPLES
    return loud(audio, frames) if frames else np.zeros(0, dtype=bool)


def divide(folders: Folders, held_out: dict[str, dict[str, str]], what: str) -> Division:
    """Speakers or packages (`what`) by split.

    If `held_out` names any of them, it decides. Otherwise whole folders are held out if there are `MIN_FOLDERS`, else
    whole recordings if there are `MIN_RECORDINGS`, else clips. Which ones depends on their names alone.
    """
    if any(name in folders for names in held_out.values() for name in names):
        side = {name: split for split, names in held_out.items() for name in names}
        by_list = {split: {n: c for n, c in folders.items() if side.get(n, "train") == split} for split in SPLITS}
        return Division(by_list, "by the lists in rmvpe/data/synthesis/dataset.py")
    if len(folders) >= MIN_FOLDERS:
        of_folder = _assign(folders)
        by_folder = {split: {n: c for n, c in folders.items() if of_folder[n] == split} for split in SPLITS}
        return Division(by_folder, f"by {what}: {_counts(of_folder)}")
    clips = [clip for found in folders.values() for clip in found]
    recordings = {recording_of(clip) for clip in clips}
    if len(recordings) >= MIN_RECORDINGS:
        of_recording = _assign(recordings)
        of_clip = {clip: of_recording[recording_of(clip)] for clip in clips}
        return Division(_select(folders, of_clip), f"by recording: {_counts(of_recording)}")
    if len(clips) >= MIN_RECORDINGS:
        of_clip = _assign(clips)
        how = f"by part of a recording, because there are fewer than {MIN_RECORDINGS} recordings: {_counts(of_clip)}"
        return Division(_select(folders, of_clip), how)
    return Division(dict.fromkeys(SPLITS, folders), "not at all: every split has all of it", shared=True)


def _assign(names: Iterable[str]) -> dict[str, str]:
    """Split by name. The order is that of a hash, so that neighbouring takes are not held out together."""
    ranked = sorted(names, key=lambda name: hashlib.sha256(Path(name).as_posix().encode()).digest())
    count = max(1, round(HELD_OUT_SHARE * len(ranked)))
    return {
        name: "test" if rank < count else "valid" if rank < 2 * count else "train" for rank, name in enumerate(ranked)
    }


def _select(folders: Folders, of_clip: dict[str, str]) -> dict[str, Folders]:
    chosen = {
        split: {name: tuple(clip for clip in clips if of_clip[clip] == split) for name, clips in folders.items()}
        for split in SPLITS
    }
    return {split: {name: clips for name, clips in found.items() if clips} for split, found in chosen.items()}


def _counts(assigned: dict[str, str]) -> str:
    held = list(assigned.values())
    return ", ".join(f"{held.count(split)} {split}" for split in SPLITS)
