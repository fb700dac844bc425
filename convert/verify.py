"""The command `verify`: run two checkpoints on the same audio and say whether they give the same pitch."""

import argparse
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from convert.commands import row
from convert.io import is_folder, load_any
from rmvpe import audio, estimator
from rmvpe.checkpoint.architecture import compare_shapes, summarize
from rmvpe.checkpoint.store import Checkpoint
from rmvpe.config import to_dict
from rmvpe.errors import UserError
from rmvpe.evaluation.agreement import CENTS_TOLERANCE, FLIP_MARGIN, Comparison, compare_salience

FRAMEWORKS = {"torch": "PyTorch", "jax": "JAX"}
# Measured on the small network: rounding weights to float16 moves salience by up to 1e-3 and most f0 by under 0.1 cent,
# but where two candidates are equally strong a single frame may jump from one to the other, however small the change.
FLOAT16_ADVICE = (
    "For a float16 file against its float32 original use --tolerance 0.01 --tolerance-cents inf and look at the number "
    "of frames that are apart: where two candidates are equally strong, rounding may choose the other one"
)
SETTINGS_OF_TRAINING = ("name", "dropout", "bn_momentum")  # they change nothing in prediction

GLIDE_SECONDS = 4.0
GLIDE_HZ = (110.0, 880.0)
HARMONICS = 8


@dataclass(frozen=True)
class Side:
    """One of the two checkpoints and the framework it runs in."""

    label: str
    path: str
    checkpoint: Checkpoint
    framework: str


def verify(options: argparse.Namespace) -> int:
    """Compare checkpoints `options.a` and `options.b`; 0 if they agree, 1 if not."""
    if not (options.tolerance >= 0 and options.tolerance_cents >= 0):
        raise UserError("a tolerance cannot be negative: give 0 or more")
    samples = glide() if options.audio is None else audio.read(options.audio).samples
    sides = open_sides(options.a, options.b)
    differences = network_differences(sides[0].checkpoint, sides[1].checkpoint)
    if differences:
        row("networks", f"differ: {summarize(differences)}")
        print("disagree: these are different networks")
        return 1
    print_weights(sides[0].checkpoint.tensors, sides[1].checkpoint.tensors)
    source = "built-in glide with noise" if options.audio is None else options.audio
    row("audio", f"{source}, {len(samples) / audio.SAMPLE_RATE_HZ:.2f} s")
    config = estimator.default_config(sides[0].checkpoint)
    found = compare_salience(salience(sides[0], samples), salience(sides[1], samples), config)
    margin = max(FLIP_MARGIN, options.tolerance)
    print_comparison(found, options.tolerance, options.tolerance_cents, margin, config.threshold)
    agree = found.agrees(options.tolerance, options.tolerance_cents, margin)
    print("agree" if agree else "disagree: a difference is larger than its tolerance")
    return 0 if agree else 1


def open_sides(path_a: str, path_b: str) -> list[Side]:
    """Load both and choose a framework for each: a folder's own is JAX, a file's PyTorch, and two alike use both."""
    installed = installed_frameworks()
    wanted = ["jax" if is_folder(path) else "torch" for path in (path_a, path_b)]
    if wanted[0] == wanted[1]:
        wanted[1] = "torch" if wanted[0] == "jax" else "jax"
    sides = []
    for label, path, framework in zip("AB", (path_a, path_b), wanted):
        used = framework if framework in installed else installed[0]
        sides.append(Side(label, path, load_any(path), used))
        missing = "" if used == framework else f" ({FRAMEWORKS[framework]} is not installed)"
        row(label, f"{path}, {sides[-1].checkpoint.config.name}, in {FRAMEWORKS[used]}{missing}")
    return sides


def installed_frameworks() -> list[str]:
    """The frameworks that can be used. Raises UserError if there is none."""
    installed = [name for name in FRAMEWORKS if importlib.util.find_spec(name) is not None]
    if not installed:
        raise UserError("verify needs PyTorch or JAX: pip install 'rmvpe[torch]' or 'rmvpe[jax]'")
    return installed


def network_differences(a: Checkpoint, b: Checkpoint) -> list[str]:
    """What makes the two different networks, whatever their weights: tensors and settings that prediction uses."""
    shapes = {name: tensor.shape for name, tensor in b.tensors.items()}
    problems = [f"in A, {problem} (by B)" for problem in compare_shapes(a.tensors, shapes)]
    settings_a, settings_b = to_dict(a.config), to_dict(b.config)
    for key, value in settings_a.items():
        if key not in SETTINGS_OF_TRAINING and value != settings_b[key]:
            problems.append(f"{key} {json.dumps(value)} in A, {json.dumps(settings_b[key])} in B")
    return problems


def print_weights(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> None:
    """Print how many tensors were compared, how many differ and by how much."""
    largest = {name: float(np.abs(a[name] - b[name]).max()) for name in a}
    name = max(largest, key=largest.__getitem__)
    differ = sum(value > 0 for value in largest.values())
    where = f" (in {name})" if differ else ""
    row("tensors", f"{len(a)} compared, {differ} differ, max |Δ weight| {largest[name]:.3g}{where}")


def print_comparison(
    found: Comparison, tolerance: float, tolerance_cents: float, margin: float, threshold: float
) -> None:
    """Print what `compare_salience` found beside what is tolerated."""
    row("frames", f"{found.frames}, {found.voiced_both} voiced in both (threshold {threshold:g})")
    row("salience", f"max |Δ salience| {found.max_salience:.3g} (tolerance {tolerance:g})")
    apart = f"{found.frames_apart} frames over {CENTS_TOLERANCE:g}"
    row("f0", f"max |Δ f0| {found.max_cents:.3g} cents (tolerance {tolerance_cents:g}), {apart}")
    reach = f", up to {found.flip_distance:.3g} from the threshold (tolerance {margin:g})" if found.flips else ""
    row("voicing", f"{found.flips} flips{reach}")


def salience(side: Side, samples: np.ndarray) -> np.ndarray:
    """The side's salience [frames, 360] of 16 kHz audio, on the CPU, where both frameworks compute in full float32."""
    return estimator.load(side.checkpoint, backend=side.framework, device="cpu").salience(samples)


def glide() -> np.ndarray:
    """16 kHz test audio: a harmonic tone gliding up three octaves with two pauses, in light noise; always the same."""
    n = int(GLIDE_SECONDS * audio.SAMPLE_RATE_HZ)
    time_s = np.arange(n) / audio.SAMPLE_RATE_HZ
    octaves = np.log2(GLIDE_HZ[1] / GLIDE_HZ[0])
    f0_hz = GLIDE_HZ[0] * 2.0 ** (octaves * time_s / GLIDE_SECONDS)
    phase = 2.0 * np.pi * np.cumsum(f0_hz) / audio.SAMPLE_RATE_HZ
    tone = sum(np.sin(k * phase) / k for k in range(1, HARMONICS + 1))
    pauses = ((time_s % 2.0) > 1.6).astype(np.float64)
    noise = np.random.default_rng(0).standard_normal(n)
    return (0.2 * tone * (1.0 - pauses) + 0.005 * noise).astype(np.float32)
