"""Draw the pictures of docs/how-it-works.md: the way from sound to f0, and the networks.

    python scripts/draw_docs.py

All numbers in the pictures come from `MelConfig`, `ModelConfig` and `rmvpe.pitch`. The sound is a part of
examples/demo.flac, predicted with the bundled weights.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

import rmvpe
from rmvpe import audio
from rmvpe.calibration import calibrated
from rmvpe.config import ModelConfig
from rmvpe.decode import NEIGHBOURS
from rmvpe.estimator import Estimator
from rmvpe.files import atomic_path
from rmvpe.mel import log_mel
from rmvpe.pictures.file import mark
from rmvpe.pitch import CENTS_PER_BIN, N_BINS, bins_to_hz, hz_to_bins
from rmvpe.program import Command, run_program

ROOT = Path(__file__).resolve().parents[1]
RECORDING, START_S, SECONDS = ROOT / "examples" / "demo.flac", 0.0, 4.0
INK, LINE, FILL, ACCENT = "#1f2328", "#57606a", "#e8ecf6", "#3f51b5"
TICKS_HZ = (50, 100, 200, 400, 800, 1600)
ARROW = {"arrowstyle": "-|>", "color": LINE, "shrinkA": 0, "shrinkB": 0, "linewidth": 1.2}


def save(figure: Figure, path: Path) -> None:
    """Write a figure; the same figure gives the same bytes with the same version of matplotlib."""
    with atomic_path(path) as temporary, rc_context({"svg.hashsalt": path.stem}):
        no_date = {"Date": None} if path.suffix == ".svg" else {}
        figure.savefig(temporary, dpi=130, facecolor="white", metadata=mark(path) | no_date)


def draw_way(estimator: Estimator) -> Figure:
    """Five panels over one time axis: sound, spectrogram, salience, confidence, f0."""
    mel, config = estimator.model.mel, estimator.config
    first = round(START_S * mel.sample_rate)
    samples = audio.read(RECORDING).samples[first : first + round(SECONDS * mel.sample_rate)]
    track = estimator.from_audio(samples, mel.sample_rate)
    salience = estimator.salience(samples, estimator.model.mel.sample_rate)
    time_s, last_s = track.time_s, track.time_s[-1]
    figure = Figure(figsize=(9.0, 11.0), layout="constrained")
    panels = figure.subplots(
        5, 1, sharex=True, gridspec_kw={"height_ratios": [0.8, 1.6, 1.9, 0.8, 1.5], "hspace": 0.06}
    )
    lowest, highest = bins_to_hz(np.array([0, N_BINS - 1]))
    window_ms, hop_ms = 1000 * mel.window_samples / mel.sample_rate, 1000 * mel.hop_s
    titles = (
        ("1. Sound", f"mono, {mel.sample_rate / 1000:g} kHz"),
        (
            "2. Log-mel spectrogram",
            f"{mel.n_mels} bands, {mel.f_min_hz:g} to {mel.f_max_hz:g} Hz; "
            f"window {window_ms:g} ms, every {hop_ms:g} ms",
        ),
        (
            "3. The network's salience",
            f"{N_BINS} bins of {CENTS_PER_BIN:g} cents, {lowest:.1f} to {highest:.0f} Hz",
        ),
        ("4. Confidence", f"the largest salience of a frame, calibrated; voiced from {config.known_threshold:g} on"),
        ("5. f0", f"weighted mean of the {2 * NEIGHBOURS + 1} bins around the peak, where voiced"),
    )
    for axes, (title, detail) in zip(panels, titles):
        axes.set_title(title, loc="left", color=ACCENT, fontsize=12, fontweight="bold")
        axes.set_title(detail, loc="right", color=LINE, fontsize=9.5)
        axes.tick_params(colors=LINE, labelsize=9)
        for spine in axes.spines.values():
            spine.set_color("#d0d7de")
    sound, spectrogram, network, confidence, f0 = panels
    sound.plot(np.arange(len(samples)) / mel.sample_rate, samples, color=ACCENT, linewidth=0.3)
    sound.set_yticks([])
    half = mel.hop_s / 2
    spectrogram.imshow(
        log_mel(samples, mel).T,
        origin="lower",
        aspect="auto",
        cmap="magma",
        extent=(-half, last_s + half, -0.5, mel.n_mels - 0.5),
    )
    spectrogram.set_ylabel("mel band", color=LINE, fontsize=9)
    network.imshow(
        salience.T,
        origin="lower",
        aspect="auto",
        cmap="magma",
        extent=(-half, last_s + half, -0.5, N_BINS - 0.5),
    )
    network.set_yticks(hz_to_bins(np.array(TICKS_HZ)), [f"{hz} Hz" for hz in TICKS_HZ])
    largest = calibrated(salience.max(axis=1), config.known_calibration)
    confidence.plot(time_s, largest, color=ACCENT, linewidth=1.0)
    confidence.fill_between(time_s, 0, 1, where=list(track.voiced), color=ACCENT, alpha=0.12, step="mid", linewidth=0)
    confidence.axhline(config.known_threshold, color="#bf3989", linewidth=1.0, linestyle="--")
    confidence.set_ylim(0, 1.02)
    octaves = np.where(track.voiced, np.log2(np.where(track.voiced, track.f0_hz, 1.0)), np.nan)
    f0.plot(time_s, octaves, color=ACCENT, linewidth=1.6)
    ticks = [hz for hz in (100, 200, 300, 400, 500, 600, 800) if np.nanmin(octaves) - 0.2 < np.log2(hz)]
    f0.set_yticks(np.log2(ticks), [f"{hz} Hz" for hz in ticks])
    f0.set_ylim(np.nanmin(octaves) - 0.1, np.nanmax(octaves) + 0.1)
    f0.grid(color="#d0d7de", linewidth=0.5)
    f0.set_xlim(0.0, last_s)
    f0.set_xlabel("seconds", color=LINE, fontsize=9)
    return figure


def box(axes: Axes, x: float, y: float, text: str, *, width: float = 2.5, accent: bool = False) -> None:
    """A labelled box whose centre is (x, y)."""
    corner = (x - width / 2, y - 0.33)
    shape = "round,pad=0,rounding_size=0.1"
    fill = ACCENT if accent else FILL
    axes.add_patch(FancyBboxPatch(corner, width, 0.66, boxstyle=shape, facecolor=fill, edgecolor=ACCENT, linewidth=1.0))
    axes.text(x, y, text, ha="center", va="center", fontsize=9.5, color="white" if accent else INK, linespacing=1.25)


def arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], text: str = "", dashed: bool = False
) -> None:
    """An arrow with a label beside its middle."""
    axes.annotate("", end, start, arrowprops=ARROW | {"linestyle": "--" if dashed else "-"})
    if text:
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        axes.text(middle[0], middle[1] + 0.12, text, ha="center", va="bottom", fontsize=8.5, color=LINE)


def resolution(config: ModelConfig, level: int) -> str:
    """Frames x bands of a level."""
    return f"T/{2**level} x {config.mel.n_mels // 2**level}" if level else f"T x {config.mel.n_mels}"


def draw_network(config: ModelConfig) -> Figure:
    """The residual U-Net as a U, and GRU and output layer beside it."""
    figure = Figure(figsize=(8.8, 4.6), layout="constrained")
    axes = figure.subplots()
    levels, channels, bottom = config.levels, config.level_channels, -config.levels * 1.0
    left = [1.5 + 0.3 * level for level in range(levels)]
    right = [8.7 - 0.3 * level for level in range(levels)]
    middle, head = 5.1, 12.2
    box(axes, left[0], 1.1, f"log-mel spectrogram\n{resolution(config, 0)}", accent=True)
    arrow(axes, (left[0], 0.77), (left[0], 0.33))
    for level in range(levels):
        text = f"{channels[level]} channels\n{resolution(config, level)}"
        box(axes, left[level], -level, text)
        box(axes, right[level], -level, text)
        skip = "TimbreFilter" if config.timbre_filter else "skip" if level == 0 else ""
        arrow(axes, (left[level] + 1.25, -level), (right[level] - 1.25, -level), skip, dashed=True)
        if level + 1 < levels:
            arrow(axes, (left[level] + 0.15, -level - 0.33), (left[level] + 0.15, -level - 0.67))
            arrow(axes, (right[level] - 0.15, -level - 0.67), (right[level] - 0.15, -level - 0.33))
    text = f"{2 * channels[-1]} channels, {resolution(config, levels)}"
    box(axes, middle, bottom, f"{text}\n{counted(config.inter_layers, 'layer')} of {each(config)}", width=3.4)
    arrow(axes, (left[-1] + 0.3, bottom + 0.67), (middle - 1.7, bottom))
    arrow(axes, (middle + 1.7, bottom), (right[-1] - 0.3, bottom + 0.67))
    arrow(axes, (right[0] + 1.25, 0.0), (head - 1.45, 0.0))
    features = config.head_channels * config.mel.n_mels
    steps = (
        f"3x3 convolution\n{config.head_channels} channels, {resolution(config, 0)}",
        f"channels side by side\nT x {features}",
        f"bidirectional GRU\nT x (2 x {config.gru_hidden})",
        f"linear, sigmoid\nT x {config.n_bins}",
    )
    for row, text in enumerate(steps):
        last = row == len(steps) - 1
        box(axes, head, -row, text, width=2.9)
        if not last:
            arrow(axes, (head, -row - 0.33), (head, -row - 0.67))
    arrow(axes, (head, -len(steps) + 0.67), (head, -len(steps) + 0.33))
    box(axes, head, -len(steps), f"salience\n{config.n_bins} bins per frame", width=2.9, accent=True)
    axes.text(
        right[0] - 1.3,
        1.1,
        f"Each level: {each(config)} of two 3x3 convolutions.\nDown: average pooling 2x2. Up: transposed convolution.",
        ha="center",
        va="center",
        fontsize=9.5,
        color=LINE,
    )
    axes.set_title(
        f"{config.name}: T frames, {config.mel.n_mels} mel bands", loc="left", color=ACCENT, fontweight="bold"
    )
    axes.set_xlim(0.1, head + 1.6)
    axes.set_ylim(bottom - 0.5, 1.6)
    axes.set_aspect("equal")
    axes.axis("off")
    return figure


def counted(number: int, noun: str) -> str:
    """`number` with its noun in the singular or plural."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def each(config: ModelConfig) -> str:
    """The residual blocks of a level."""
    return counted(config.blocks, "residual block")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs", help="folder (default: docs)")


def run(arguments: argparse.Namespace) -> int:
    """Draw all pictures."""
    arguments.output.mkdir(parents=True, exist_ok=True)
    save(draw_way(rmvpe.load()), arguments.output / "way.png")
    for config in (ModelConfig.small(), ModelConfig.e2e0()):
        save(draw_network(config), arguments.output / f"network-{config.name}.svg")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and call."""
    return run_program("draw_docs", Command(__doc__ or "", add_arguments, run), argv)


if __name__ == "__main__":
    sys.exit(main())
