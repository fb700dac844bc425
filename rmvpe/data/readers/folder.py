"""Any folder of recordings with "seconds,Hz" annotations beside them, for evaluation.

    FOLDER/.../NAME.wav (or .flac, .ogg, .mp3 ...) + NAME.csv, NAME_f0.csv or NAME.f0.csv in the same folder

Lines are `time_s,f0_hz` at any ascending times. Unvoiced is 0 Hz, a negative frequency, NaN or an empty field. Columns
are separated by a comma, semicolon, tab or blanks, further columns are ignored, and the first line may be a header. The
channels of a file are averaged: they hold the voice alone. Recordings without annotation are skipped and listed in
`not_annotated`.
"""

import re
from pathlib import Path

import numpy as np

from rmvpe.audio import find_audio
from rmvpe.data.readers.base import RecordingFiles, Recordings
from rmvpe.data.readers.labels import (
    MAX_TIME_S,
    NO_DECIMAL_COMMA,
    has_decimal_comma,
    read_text,
    voiced_hz,
    why_not_a_point,
)
from rmvpe.data.readers.published import OVERHANG_S
from rmvpe.errors import UserError

ANNOTATION_ENDINGS = (".csv", "_f0.csv", ".f0.csv")
UNDIVIDED = ("test", "all")  # splits that mean the whole folder, if it has no folder of that name
_SEPARATOR = re.compile(r"\s*[,;]\s*|\s+")


class Annotated(Recordings):
    """The annotated recordings in `root`, searched recursively, in the order of their paths.

    `split`: the folder of that name in `root`; if there is none, "test" and "all" mean the whole of `root`. Items are
    named by their path inside it. A recording is cut where its annotation ends, because what is not annotated is not
    silence. An annotation that goes on for more than half a second after its recording is refused when it is read.
    Raises FileNotFoundError (no such folder) or UserError (no annotated recording, a split that is not there).
    """

    def __init__(self, root: str | Path, split: str = "all") -> None:
        folder = split_folder(root, split)
        pairs = [(file, annotation_of(file.path)) for file in find_audio([folder])]
        self.recordings = [RecordingFiles(file.name.as_posix(), file.path, label) for file, label in pairs if label]
        self.not_annotated = [file.name.as_posix() for file, label in pairs if not label]
        if not self.recordings:
            raise UserError(
                f"{folder} holds recordings but no annotation: put NAME.csv or NAME_f0.csv, with time_s,f0_hz per "
                "line, beside NAME's sound file"
            )

    def annotation(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """`time_s` and `f0_hz` [points] as in the file."""
        return read_annotation(self.recordings[index].label)

    def duration_s(self, index: int) -> float:
        """Length of item `index` in seconds: of its recording, or of its annotation if that ends earlier."""
        time_s, _ = self.annotation(index)
        step_s = float(np.median(np.diff(time_s))) if len(time_s) > 1 else 0.0
        recorded_s, annotated_s = super().duration_s(index), float(time_s[-1]) + step_s / 2
        if annotated_s > recorded_s + OVERHANG_S:
            recording = self.recordings[index]
            raise UserError(
                f"{recording.label} goes on until {annotated_s:.2f} s but {recording.audio} lasts {recorded_s:.2f} s: "
                "replace the one that is not of this recording"
            )
        return min(recorded_s, annotated_s)


def split_folder(root: str | Path, split: str) -> Path:
    """The folder `split` in `root`; the whole of `root` for "test" and "all" if there is none.

    Raises FileNotFoundError (no such folder) or UserError (a split that is not there).
    """
    folder = Path(root)
    if not folder.is_dir():
        raise FileNotFoundError(f"{root} is not a folder: give the folder of recordings and their annotations")
    if (folder / split).is_dir():
        return folder / split
    if split not in UNDIVIDED:
        raise UserError(f"{root} has no folder {split}: make it, or use the split {' or '.join(UNDIVIDED)}")
    return folder


def annotation_of(recording: Path) -> Path | None:
    """The annotation beside a recording, None if there is none."""
    beside = (recording.with_name(recording.stem + ending) for ending in ANNOTATION_ENDINGS)
    return next((path for path in beside if path.is_file()), None)


def read_annotation(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """`time_s` float64 [points] and `f0_hz` float32 [points], 0 = unvoiced, of an annotation in this module's format.

    Negative Hz, NaN and an empty field are unvoiced as well (`rmvpe.data.readers.labels`). Raises UserError for a file
    without points, a line that is not seconds and Hz, and times that do not grow.
    """
    path = Path(path)
    lines = read_text(path).splitlines()
    rows = [(number, line.strip(" \r\n")) for number, line in enumerate(lines, start=1) if line.strip()]
    if rows and _point(rows[0][1]) is None and not re.match(r"\s*[-+.\d]", rows[0][1]):
        del rows[0]  # a header begins with a word
    if not rows:
        raise UserError(f"{path} holds no points: write time_s,f0_hz per line")
    points = [_point(line) for _, line in rows]
    if None in points:
        number, line = rows[points.index(None)]
        raise UserError(f"{path}, line {number}: {line[:40]!r} {why_not_a_point(line, 'time_s,f0_hz')}")
    time_s, f0_hz = np.array(points, dtype=np.float64).T
    late = np.flatnonzero(np.diff(time_s) <= 0)
    if len(late):
        number, line = rows[int(late[0]) + 1]
        if not any("." in line for _, line in rows) and line.count(",") > 1:  # 0,01,220,5 looks like 0 s, 1 Hz
            raise UserError(f"{path}, line {number}: {line[:40]!r} {NO_DECIMAL_COMMA}")
        raise UserError(f"{path}, line {number}: {line[:40]!r} does not come after the line before: sort the times")
    return time_s.copy(), f0_hz.astype(np.float32)


def _point(line: str) -> tuple[float, float] | None:
    if has_decimal_comma(line):
        return None
    parts = _SEPARATOR.split(line)
    try:
        time_s = float(parts[0])
        f0_hz = voiced_hz(float(parts[1] or "nan"))
    except (ValueError, IndexError):
        return None
    return (time_s, f0_hz) if 0 <= time_s <= MAX_TIME_S and f0_hz is not None else None
