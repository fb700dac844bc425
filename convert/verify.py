"""The command `verify`: run two checkpoints on the same audio and report whether they give the same pitch."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from convert.commands import row
from convert.io import install_command, load_any, orbax_folder
from rmvpe import audio, estimator
from rmvpe.backends import installed_backends, is_installed
from rmvpe.checkpoint.architecture import compare_shapes, summarize
from rmvpe.checkpoint.store import Checkpoint
from rmvpe.config_check import to_dict
from rmvpe.errors import UserError
from rmvpe.evaluation.agreement import CENTS_TOLERANCE, FLIP_MARGIN, SALIENCE_TOLERANCE, Comparison, compare_salience

FRAMEWORKS = {"torch": "PyTorch", "jax": "JAX", "onnx": "ONNX Runtime"}
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


@dataclass(frozen=True)
class Tolerances:
    """The largest differences at which two checkpoints still agree. Raises UserError for a negative one or nan."""

    salience: float = SALIENCE_TOLERANCE
    cents: float = CENTS_TOLERANCE

    def __post_init__(self) -> None:
        if not (self.salience >= 0 and self.cents >= 0):
            raise UserError("a tolerance cannot be negative: give 0 or more")

    @property
    def flip_margin(self) -> float:
        """How far from the threshold a voicing flip is tolerated."""
        return max(FLIP_MARGIN, self.salience)


def verify(
    path_a: str,
    path_b: str,
    tolerances: Tolerances,
    recording: str | None = None,
    frameworks: Sequence[str] | None = None,
) -> bool:
    """Compare two checkpoints on a recording, by default a built-in glide, print the result; whether they agree.

    frameworks: those to use, by default all that are installed. Raises UserError.
    """
    samples = glide() if recording is None else audio.read(recording).samples
    side_a, side_b = open_sides(path_a, path_b, frameworks or installed_frameworks())
    differences = network_differences(side_a.checkpoint, side_b.checkpoint)
    if differences:
        row("networks", f"differ: {summarize(differences)}")
        print("disagree: these are different networks")
        return False
    print_weights(side_a.checkpoint.tensors, side_b.checkpoint.tensors)
    source = "built-in glide with noise" if recording is None else recording
    row("audio", f"{source}, {len(samples) / audio.SAMPLE_RATE_HZ:.2f} s")
    config = estimator.default_config(side_a.checkpoint)
    found = compare_salience(salience(side_a, samples), salience(side_b, samples), config)
    print_comparison(found, tolerances, config.known_threshold)
    agree = found.agrees(tolerances.salience, tolerances.cents, tolerances.flip_margin)
    print("agree" if agree else "disagree: a difference is larger than its tolerance")
    return agree


def open_sides(path_a: str, path_b: str, installed: Sequence[str]) -> tuple[Side, Side]:
    """Load both; an Orbax folder's own framework is JAX, a file's PyTorch, and two alike use both."""
    wanted = ["jax" if orbax_folder(path) else "torch" for path in (path_a, path_b)]
    if wanted[0] == wanted[1]:
        wanted[1] = "torch" if wanted[0] == "jax" else "jax"
    return open_side("A", path_a, wanted[0], installed), open_side("B", path_b, wanted[1], installed)


def open_side(label: str, path: str, framework: str, installed: Sequence[str]) -> Side:
    """Load a checkpoint for `framework`, or for an installed one, and print the choice."""
    used = framework if framework in installed else installed[0]
    side = Side(label, path, load_any(path), used)
    missing = "" if used == framework else f" ({FRAMEWORKS[framework]} is not installed)"
    row(label, f"{path}, {side.checkpoint.config.name}, in {FRAMEWORKS[used]}{missing}")
    return side


def installed_frameworks(is_installed: Callable[[str], bool] = is_installed) -> list[str]:
    """The frameworks that can be used. Raises UserError if there is none."""
    installed = installed_backends(is_installed)
    if not installed:
        raise UserError(
            f"verify needs PyTorch, JAX or ONNX Runtime: run {' or '.join(map(install_command, FRAMEWORKS))}"
        )
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


def print_comparison(found: Comparison, tolerances: Tolerances, threshold: float) -> None:
    """Print what `compare_salience` found beside what is tolerated."""
    row("frames", f"{found.frames}, {found.voiced_both} voiced in both (threshold {threshold:g})")
    row("salience", f"max |Δ salience| {found.max_salience:.3g} (tolerance {tolerances.salience:g})")
    apart = f"{found.frames_apart} frames over {CENTS_TOLERANCE:g}"
    row("f0", f"max |Δ f0| {found.max_cents:.3g} cents (tolerance {tolerances.cents:g}), {apart}")
    distance = f", up to {found.flip_distance:.3g} from the threshold (tolerance {tolerances.flip_margin:g})"
    row("voicing", f"{found.flips} flips{distance if found.flips else ''}")


def salience(side: Side, samples: np.ndarray) -> np.ndarray:
    """The side's salience [frames, 360] of 16 kHz audio, on the CPU, where both frameworks compute in full float32."""
    return estimator.load(side.checkpoint, backend=side.framework, device="cpu").salience(samples, audio.SAMPLE_RATE_HZ)


def glide() -> np.ndarray:
    """Test audio [samples] at 16 kHz: a harmonic tone gliding up three octaves, two pauses, a little noise."""
    n = int(GLIDE_SECONDS * audio.SAMPLE_RATE_HZ)
    time_s = np.arange(n) / audio.SAMPLE_RATE_HZ
    octaves = np.log2(GLIDE_HZ[1] / GLIDE_HZ[0])
    f0_hz = GLIDE_HZ[0] * 2.0 ** (octaves * time_s / GLIDE_SECONDS)
    phase = 2.0 * np.pi * np.cumsum(f0_hz) / audio.SAMPLE_RATE_HZ
    tone = sum(np.sin(k * phase) / k for k in range(1, HARMONICS + 1))
    pauses = ((time_s % 2.0) > 1.6).astype(np.float64)
    noise = np.random.default_rng(0).standard_normal(n)
    return (0.2 * tone * (1.0 - pauses) + 0.005 * noise).astype(np.float32)
