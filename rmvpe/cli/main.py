"""The `rmvpe` command. Exit codes: 0 done, 1 some files failed or two things differ, 2 not done, with the reason."""

import argparse
import platform
from collections.abc import Sequence

import rmvpe
from rmvpe.program import Group, Module, run_program, whole_parser

COMMANDS = {
    "predict": Module("write the pitch (f0) of sound files", "rmvpe.cli.predict"),
    "notes": Module("write the notes of sound files or f0 files", "rmvpe.cli.notes"),
    "evaluate": Module("score weights on recordings with known f0", "rmvpe.cli.evaluate"),
    "compare": Module("compare pitch trackers on the same recordings", "rmvpe.cli.compare"),
    "train": Module("train a network with PyTorch or JAX", "rmvpe.cli.train", group=True),
    "convert": Module("carry weights between JAX and PyTorch; inspect, verify", "rmvpe.cli.convert", group=True),
    "export": Module("write ONNX files for other programs", "rmvpe.cli.export", group=True),
    "fetch": Module("get published weights by name: rvc, yxlllc", "rmvpe.cli.fetch"),
    "prepare": Module("make data sets to train on", "rmvpe.cli.prepare", group=True),
    "benchmark": Module("measure the speed of prediction on this machine", "rmvpe.cli.benchmark"),
    "info": Module("list the installed frameworks, devices and weights", "rmvpe.cli.info"),
}
# Distributions whose versions matter in a bug report
DISTRIBUTIONS = (
    "numpy",
    "soundfile",
    "soxr",
    "torch",
    "torch_sdaa",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "onnxruntime",
    "onnx",
    "grain",
    "mir_eval",
    "huggingface_hub",
)


class Version(argparse.Action):
    """--version: print the versions of what is installed and exit."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print("\n".join(versions()))
        parser.exit()


class PrintCompletion(argparse.Action):
    """--print-completion SHELL: print the script and exit."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: object, shell: object, *_: object) -> None:
        from rmvpe.cli.completion import completion_script

        print(completion_script(whole_parser("rmvpe", PROGRAM), str(shell)))
        parser.exit()


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `rmvpe` itself."""
    from rmvpe.cli.completion import SHELLS

    text = "print the versions of rmvpe, Python and the installed libraries"
    parser.add_argument("--version", action=Version, nargs=0, help=text)
    text = 'print a script that completes commands and flags; for bash: eval "$(rmvpe --print-completion bash)"'
    parser.add_argument("--print-completion", action=PrintCompletion, choices=SHELLS, help=text)


def versions() -> list[str]:
    """One line per program and library that is installed, from their metadata: nothing is imported."""
    import importlib.metadata  # takes a tenth of a second

    lines = [f"rmvpe {rmvpe.__version__}", f"python {platform.python_version()}"]
    for name in DISTRIBUTIONS:
        try:
            lines.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return lines


PROGRAM = Group((rmvpe.__doc__ or "").splitlines()[0], COMMANDS, add_options=add_options)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (by default this process's) and return the exit code."""
    return run_program("rmvpe", PROGRAM, argv)
