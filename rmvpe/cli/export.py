"""`rmvpe export`: files of the network for programs of other makers."""

import argparse
from pathlib import Path

from rmvpe.backends import backend_class
from rmvpe.checkpoint.store import load
from rmvpe.cli.options import WEIGHTS_HELP
from rmvpe.errors import UserError
from rmvpe.estimator import DEFAULT_WEIGHTS
from rmvpe.files import atomic_path
from rmvpe.ownership import Output, check_outputs
from rmvpe.program import Command, Group
from rmvpe.text import printable

KINDS = ("waveform", "mel", "mel-pitch")
INPUT_NAMES = ("mel", "input")
OUTPUT_NAMES = ("hidden", "f0")
DTYPES = ("float32", "float16")


def add_onnx(parser: argparse.ArgumentParser) -> None:
    """Flags of `rmvpe export onnx`."""
    parser.epilog = (
        "waveform: audio to f0, for OpenUtau, MoeVS, HachiTune and w-okada. mel: log-mel to salience, for RVC on "
        "DirectML and rmvpe-lite. mel-pitch: log-mel to f0. docs/onnx-files.md says which flags each program needs."
    )
    add = parser.add_argument
    add("weights", nargs="?", default=DEFAULT_WEIGHTS, help=WEIGHTS_HELP)
    add("-o", "--output", required=True, type=Path, metavar="FILE", help="the .onnx file to write")
    add("--kind", choices=KINDS, default=KINDS[0], help="what it takes and gives (default: %(default)s)")
    add("--dtype", choices=DTYPES, default=DTYPES[0], help="how weights are stored (default: %(default)s)")
    text = (
        "the number by which the program means its usual threshold, such as 0.03 or 0.3; own: it passes confidences "
        "of these weights (default: %(default)s)"
    )
    add("--threshold-for", default="own", metavar="NUMBER", help=text)
    text = "of kind mel: the same for a program that compares salience itself (default: the salience as it is)"
    add("--salience-for", type=float, metavar="NUMBER", help=text)
    add("--input-name", choices=INPUT_NAMES, default=INPUT_NAMES[0], help="of kind mel (default: %(default)s)")
    add("--output-name", choices=OUTPUT_NAMES, default=OUTPUT_NAMES[0], help="of kind mel (default: %(default)s)")
    text = "a recording to check the file with (default: a built-in one)"
    add("--audio", metavar="RECORDING", help=text)
    add("--force", action="store_true", help="replace a file that this command did not write")


def run_onnx(arguments: argparse.Namespace) -> int:
    """Write, check, and print what was found."""
    output: Path = arguments.output
    if output.suffix.lower() != ".onnx":
        raise UserError(f"{output} must end in .onnx")
    threshold_for = None if arguments.threshold_for == "own" else number(arguments.threshold_for)
    inputs = [name for name in (arguments.weights, arguments.audio) if name is not None]
    check_outputs([Output(output, "onnx")], inputs, arguments.force)
    backend_class("onnx")  # says what is missing
    from rmvpe_ort.check import check, recording
    from rmvpe_ort.export import ExportSettings, build

    settings = ExportSettings(
        kind=arguments.kind,
        dtype=arguments.dtype,
        threshold_for=threshold_for,
        salience_for=arguments.salience_for,
        input_name=arguments.input_name,
        output_name=arguments.output_name,
    )
    samples = recording(arguments.audio)
    checkpoint = load(arguments.weights)
    content = build(checkpoint, settings).SerializeToString()
    with atomic_path(output) as path:
        path.write_bytes(content)
        found = check(path, checkpoint, settings, samples, name=output)
    print(f"wrote {printable(output)}: {settings.kind}, {settings.dtype}, {len(content) / 1e6:.1f} MB")
    print(f"checked on {printable(arguments.audio or 'a built-in recording')}: {found}")
    if threshold_for is not None and checkpoint.threshold is None:
        print("these weights recommend no threshold: the program's own number is used as it is")
    return 0


def number(text: str) -> float:
    """The number of --threshold-for. Raises UserError for another word."""
    try:
        return float(text)
    except ValueError:
        raise UserError(f"--threshold-for takes own or a number such as 0.03, not {text!r}") from None


ONNX = Command("write an ONNX file that other programs read", add_onnx, run_onnx)
GROUP = Group("Write the network in a form that other programs read.", {"onnx": ONNX})
