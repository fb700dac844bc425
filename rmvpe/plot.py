"""Pictures of a track: the spectrogram with the f0 drawn into it, and the confidence below. Needs matplotlib."""

import os
import re
import stat
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from rmvpe.audio import SAMPLE_RATE_HZ
from rmvpe.config import MelConfig
from rmvpe.errors import UserError
from rmvpe.files import atomic_path
from rmvpe.framing import samples_of_frames, samples_to_frames
from rmvpe.mel import filterbank, hz_to_mel, log_mel
from rmvpe.picture_text import literal
from rmvpe.pitch import midi_to_hz
from rmvpe.text import in_lines
from rmvpe.track import F0Track

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PICTURE_SUFFIXES = (".png", ".pdf", ".svg")
SOFTWARE = "rmvpe"  # in the metadata of each picture
SVG_MARK = re.compile(rb"<\?xml\b.*<svg\b.*<dc:creator>\s*<cc:Agent>\s*<dc:title>rmvpe</dc:title>", re.DOTALL)
PDF_MARK = b"/Creator (rmvpe)"
PDF_TRAILER = re.compile(rb"/Info (\d{1,9}) 0 R.*startxref\s+(\d{1,12})\s", re.DOTALL)
PDF_TABLE = re.compile(rb"xref\s+0 \d{1,9} ?\r?\n")
HEAD_BYTES = 4096  # the most that is read at once to find the mark
TITLE_COLUMNS = 48  # of 14 points, beside what is said about the f0
SMALL_TITLE = 0.7  # size of a title that needs several lines
SIZE_INCHES, DOTS_PER_INCH = (11.0, 5.6), 150  # 1650 pixels: sharp at the width of a README
FOREGROUND, BACKGROUND, F0_COLOUR = "#c9d1d9", "#0d1117", "#3df5e6"
# The window is longer than the network's, so that the harmonics of low voices are separate lines
DISPLAY_MEL = MelConfig(window_samples=2048, n_mels=224, f_min_hz=40.0, f_max_hz=6000.0)
LOWEST_HZ, HIGHEST_HZ, ROWS = 60.0, 5000.0, 480
MAX_COLUMNS = 2400  # of the spectrogram
MAX_POINTS = 500  # of the confidence
FULL_WIDTH_S = 15.0  # up to this duration the f0 line has its full width
LINE_WIDTH = 2.2  # of the f0, in points
JUMP_OCTAVES = 0.25  # from frame to frame: no voice glides so fast, so the line is interrupted there
RANGE_NATS = 8.0  # darkest to brightest: 70 dB
MIN_TOP_NATS = -4.0  # the brightest colour is at least this loud, so that silence stays dark
TICKS_HZ = (100, 200, 400, 800, 1600, 3200)
NOTE_MIDI = (36, 48, 60, 72, 84, 96)  # C2 to C7


def require_matplotlib() -> None:
    """Raise UserError if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UserError("pictures need matplotlib, which is not installed: run pip install matplotlib") from error


def plot_track(audio: np.ndarray, track: F0Track, path: str | os.PathLike[str], title: str = "") -> None:
    """Draw audio and its track: the spectrogram with notes and f0, and below it the confidence, over time.

    `audio`: 16 kHz mono [samples]. `path` ends in .png, .pdf or .svg. The file is written completely or not at all.
    Raises UserError for another ending, for a folder that cannot be written, or without matplotlib.
    """
    check_picture(path)
    save_figure(draw(np.asarray(audio, dtype=np.float32), track, title), path)


def check_picture(path: str | os.PathLike[str]) -> None:
    """Raise UserError unless `path` ends in .png, .pdf or .svg and matplotlib is installed."""
    if os.path.splitext(path)[1].lower() not in PICTURE_SUFFIXES:
        raise UserError(f"{path} is not a picture file: use a name that ends in {', '.join(PICTURE_SUFFIXES)}")
    require_matplotlib()


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Write a figure to `path`, completely or not at all, in the format of its ending, with `mark` in it.

    Its texts are drawn literally (`rmvpe.picture_text`). Raises UserError if the folder cannot be written.
    """
    literal(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH, facecolor=BACKGROUND, metadata=mark(path))


def mark(path: str | os.PathLike[str]) -> dict[str, str]:
    """The metadata by which `is_our_picture` knows a picture; `path` ends in .png, .pdf or .svg."""
    is_png = os.path.splitext(path)[1].lower() == ".png"
    return {"Software" if is_png else "Creator": SOFTWARE}


def is_our_picture(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a PNG, SVG or PDF with our `mark`; at most a few kilobytes are read.

    False for anything else: also what is no regular file, cannot be read or is damaged.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
            if head.startswith(b"\x89PNG\r\n\x1a\n"):
                return _png_software(head) == SOFTWARE.encode()
            if head.startswith(b"%PDF-"):
                return PDF_MARK in _pdf_info(file)
            return SVG_MARK.match(head) is not None
    except (OSError, ValueError, struct.error):
        return False


def _png_software(head: bytes) -> bytes:
    """The text "Software" of a PNG, b"" if there is none among the chunks of `head`."""
    position = 8
    while position + 8 <= len(head):
        length, kind = struct.unpack_from(">I4s", head, position)
        keyword, _, text = head[position + 8 : position + 8 + length].partition(b"\0")
        if kind == b"tEXt" and keyword == b"Software":
            return text
        position += 12 + length
    return b""


def _pdf_info(file: BinaryIO) -> bytes:
    """The beginning of the Info object of a PDF as matplotlib writes it, b"" if it is not found."""
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - HEAD_BYTES))
    trailer = PDF_TRAILER.search(file.read())
    if trailer is None:
        return b""
    number, table = map(int, trailer.groups())
    file.seek(table)
    first = PDF_TABLE.match(file.read(32))
    if first is None:
        return b""
    file.seek(table + first.end() + 20 * number)  # each object of the table has 20 bytes
    file.seek(int(file.read(10)))
    return file.read(HEAD_BYTES).partition(b"endobj")[0]


def draw(audio: np.ndarray, track: F0Track, title: str = "") -> "Figure":
    """The figure that `plot_track` saves, from 16 kHz mono audio [samples]; pyplot does not know it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, facecolor=BACKGROUND, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [4.8, 1.0]})
    duration_s = max(len(audio) / SAMPLE_RATE_HZ, 1e-3)
    _spectrogram(upper, audio)
    _f0_line(upper, track)
    _frequency_axes(upper)
    _confidence(lower, track)
    lower.set_xlim(0.0, duration_s)
    for axes in (upper, lower):
        style(axes)
    upper.tick_params(axis="x", length=0)
    shown, size = title_lines(title, 14, TITLE_COLUMNS)
    upper.set_title(shown, color=FOREGROUND, fontsize=size, loc="left", pad=10)
    upper.set_title(_summary(track), color=F0_COLOUR, fontsize=12, loc="right", pad=10)
    literal(figure)
    return figure


def title_lines(title: str, size: float, columns: int) -> tuple[str, float]:
    """A title in one line, or smaller and in several lines where it is wider than `columns`; and its size in points."""
    shown = in_lines(title, columns)
    if "\n" not in shown:
        return shown, size
    return in_lines(title, int(columns / SMALL_TITLE)), SMALL_TITLE * size


def log_frequency_picture(audio: np.ndarray, max_columns: int = MAX_COLUMNS) -> tuple[np.ndarray, float]:
    """The spectrogram of 16 kHz mono audio [samples] over a logarithmic frequency axis, and its seconds per column.

    The spectrogram is the natural logarithm of the magnitude, [ROWS, columns]; rows go from LOWEST_HZ to HIGHEST_HZ.
    """
    n_frames = samples_to_frames(len(audio), DISPLAY_MEL.hop_samples)
    hop = DISPLAY_MEL.hop_samples * max(1, -(-n_frames // max_columns))
    n_frames = samples_to_frames(len(audio), hop)
    if not n_frames:
        return np.zeros((ROWS, 1)), hop / SAMPLE_RATE_HZ
    config = replace(DISPLAY_MEL, hop_samples=min(hop, DISPLAY_MEL.window_samples))
    if hop == config.hop_samples:
        samples = samples_of_frames(audio, 0, 0, n_frames, config)
    else:  # the windows do not touch: only what lies under them is taken, one after the other
        margin, last = config.window_samples // 2, len(audio) - 1
        index = hop * np.arange(n_frames)[:, None] + np.arange(-margin, margin)  # [columns, window]
        samples = audio[np.abs((index.ravel() + last) % max(2 * last, 1) - last)]  # mirrored at both ends
    mel = log_mel(samples, config, centred=False).T  # [n_mels, columns]
    # The area norm of the filters makes low noise bright; half of it is undone, so that harmonics are visible
    mel = mel - 0.5 * np.log(filterbank(config).max(axis=1, keepdims=True))
    step = (hz_to_mel(config.f_max_hz) - hz_to_mel(config.f_min_hz)) / (config.n_mels + 1)
    rows_hz = np.geomspace(LOWEST_HZ, HIGHEST_HZ, ROWS)
    band = np.clip((hz_to_mel(rows_hz) - hz_to_mel(config.f_min_hz)) / step - 1.0, 0.0, config.n_mels - 1.001)
    below, share = band.astype(int), (band % 1.0)[:, None]
    return mel[below] * (1.0 - share) + mel[below + 1] * share, hop / SAMPLE_RATE_HZ


def _spectrogram(axes: "Axes", audio: np.ndarray) -> None:
    picture, step_s = log_frequency_picture(audio)
    top = max(float(np.quantile(picture, 0.998)), MIN_TOP_NATS)
    extent = (-step_s / 2, (picture.shape[1] - 0.5) * step_s, np.log2(LOWEST_HZ), np.log2(HIGHEST_HZ))
    axes.imshow(
        picture,
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap="magma",
        vmin=top - RANGE_NATS,
        vmax=top,
        interpolation="bilinear",
    )
    axes.set_ylim(np.log2(LOWEST_HZ), np.log2(HIGHEST_HZ))


def _f0_line(axes: "Axes", track: F0Track) -> None:
    from matplotlib import patheffects

    octaves = np.where(track.voiced, np.log2(np.where(track.voiced, track.f0_hz, 1.0)), np.nan)
    jumps = np.flatnonzero(np.abs(np.diff(octaves)) > JUMP_OCTAVES) + 1
    time_s, octaves = np.insert(track.time_s, jumps, np.nan), np.insert(octaves, jumps, np.nan)
    duration_s = max(len(track) * (track.hop_s or 0.01), 0.01)
    width = LINE_WIDTH * min(1.0, (FULL_WIDTH_S / duration_s) ** 0.5)  # finer for longer audio
    halo = [patheffects.Stroke(linewidth=2.3 * width, foreground=BACKGROUND, alpha=0.75), patheffects.Normal()]
    axes.plot(time_s, octaves, color=F0_COLOUR, linewidth=width, solid_capstyle="round", path_effects=halo)


def _frequency_axes(axes: "Axes") -> None:
    axes.set_yticks(np.log2(TICKS_HZ), [str(hz) for hz in TICKS_HZ])
    axes.set_ylabel("frequency (Hz)", color=FOREGROUND, fontsize=12)
    for midi in NOTE_MIDI:
        axes.axhline(np.log2(midi_to_hz(np.array(midi))), color=FOREGROUND, alpha=0.13, linewidth=0.8)
    notes = axes.secondary_yaxis("right")
    notes.set_yticks(np.log2(midi_to_hz(np.array(NOTE_MIDI))), [f"C{midi // 12 - 1}" for midi in NOTE_MIDI])
    notes.tick_params(colors=FOREGROUND, labelsize=11, length=3)
    notes.spines["right"].set_visible(False)


def _summary(track: F0Track) -> str:
    if not track.voiced.any():
        return "f0: no voice found"
    return f"f0: median {np.median(track.f0_hz[track.voiced]):.0f} Hz, {track.voiced.mean():.0%} voiced"


def _confidence(axes: "Axes", track: F0Track) -> None:
    axes.fill_between(track.time_s, 0, 1, where=track.voiced, step="mid", color=F0_COLOUR, alpha=0.13, linewidth=0)
    per_point = -(-len(track) // MAX_POINTS) or 1  # frames whose mean is one point
    used = len(track) // per_point * per_point
    time_s, confidence = (a[:used].reshape(-1, per_point).mean(axis=1) for a in (track.time_s, track.confidence))
    axes.fill_between(time_s, 0, confidence, color=F0_COLOUR, alpha=0.25, linewidth=0)
    axes.plot(time_s, confidence, color=F0_COLOUR, linewidth=1.1)
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 1])
    axes.set_ylabel("confidence", color=FOREGROUND, fontsize=11)
    axes.set_xlabel("time (s)", color=FOREGROUND, fontsize=12)


def style(axes: "Axes") -> None:
    """The look of every picture: dark background, no frame, ticks in the foreground colour."""
    axes.set_facecolor(BACKGROUND)
    axes.tick_params(colors=FOREGROUND, labelsize=11, length=3)
    for spine in axes.spines.values():
        spine.set_visible(False)
