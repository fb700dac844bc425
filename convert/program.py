"""`python -m convert`: carry RMVPE weights between JAX and PyTorch, look into a checkpoint, compare two of them.

`rmvpe convert` is the same program under another name.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from convert import commands, runs, verify
from rmvpe.checkpoint.store import DTYPES
from rmvpe.evaluation.agreement import CENTS_TOLERANCE, FLIP_MARGIN, SALIENCE_TOLERANCE
from rmvpe.program import Command, Group, run_program

PROGRAM = "python -m convert"

EXAMPLES = """examples:
  {program} jax2torch ckpt                    a folder that JAX training wrote -> ckpt.pt for RVC, torch.load
  {program} jax2torch ckpt --layout yxlllc    -> ckpt.pt as tools of the yxlllc family load it
  {program} torch2jax rmvpe.pt                RVC's or yxlllc's weights -> the Orbax folder rmvpe
  {program} jax2torch runs/Hybrid             a run of train_jax.py -> runs/Hybrid-torch, to continue
  {program} torch2jax runs/Hybrid             a run of train_torch.py -> runs/Hybrid-jax, to continue
  {program} inspect rmvpe.pt                  which network, which of the known rmvpe.pt files, what is in it
  {program} verify ckpt ckpt.pt               do both give the same pitch?

A checkpoint is an Orbax folder (JAX), a .pt or .safetensors file (PyTorch and others), or the name of bundled weights.
Files are recognised by content. Torch files are read without running anything in them: a pickled model is refused.
"""
CHECKPOINT = "Orbax folder, .pt or .safetensors file, or a name: small, rvc, yxlllc, hf:OWNER/REPO"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, or 1 if `verify` finds that two checkpoints disagree."""
    return run_program(PROGRAM, GROUP, argv)


def add_jax2torch(parser: argparse.ArgumentParser) -> None:
    """The flags of `jax2torch`."""
    parser.description = (
        "Write a checkpoint as one file for PyTorch. CKPT is usually an Orbax folder that JAX training wrote; a .pt or "
        ".safetensors file is taken too, to change its layout or precision. The folder of a whole training run becomes "
        "a run that `rmvpe train torch` continues; with -o FILE.pt only its weights are written: the best "
        "ones, else those of the newest state."
    )
    parser.add_argument("checkpoint", metavar="CKPT", help=CHECKPOINT)
    text = "file to write (default: beside CKPT, with .pt or .safetensors)"
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", help=text)
    text = (
        "rvc: a .pt with the bare state_dict, which RVC, so-vits-svc and torch.load users expect (the default); "
        "yxlllc: a .pt with {'model': state_dict} and the unused unet.tf.*, which tools of the yxlllc family need; "
        "safetensors: rmvpe's own format (the default if OUT ends in .safetensors); needs no PyTorch"
    )
    parser.add_argument("--layout", choices=tuple(commands.LAYOUTS), help=text)
    text = "precision of the file (default: %(default)s)"
    parser.add_argument("--dtype", choices=DTYPES, default=DTYPES[0], help=text)
    add_run_arguments(parser)


def run_jax2torch(arguments: argparse.Namespace) -> int:
    """Convert a run or a checkpoint for PyTorch."""
    if not convert_run(arguments, "jax", "torch"):
        checkpoint, layout, dtype = arguments.checkpoint, arguments.layout, arguments.dtype
        commands.jax2torch(checkpoint, arguments.output, layout=layout, dtype=dtype, force=arguments.force)
    return 0


def convert_run(arguments: argparse.Namespace, source: str, target: str) -> bool:
    """Convert a whole training run, if one is given, from framework `source` to `target`; returns whether it did."""
    run, output = arguments.checkpoint, arguments.output
    if not runs.is_whole_run(run, output):
        return False
    runs.convert_run(run, source, target, output, arguments.iteration, force=arguments.force)
    return True


def add_torch2jax(parser: argparse.ArgumentParser) -> None:
    """The flags of `torch2jax`."""
    parser.description = (
        "Write the weights of a file as the Orbax folder that rmvpe_jax reads. The folder of a whole training run "
        "becomes a run that `rmvpe train jax` continues."
    )
    text = ".pt or .safetensors file, bundled name, or run folder"
    parser.add_argument("checkpoint", metavar="CKPT", help=text)
    text = "folder to write (default: CKPT without its suffix)"
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", help=text)
    add_run_arguments(parser)


def run_torch2jax(arguments: argparse.Namespace) -> int:
    """Convert a run or a checkpoint for JAX."""
    if not convert_run(arguments, "torch", "jax"):
        commands.torch2jax(arguments.checkpoint, arguments.output, force=arguments.force)
    return 0


def add_inspect(parser: argparse.ArgumentParser) -> None:
    """The flags of `inspect`."""
    parser.description = (
        "Print what a checkpoint is: its network, format, precision, tensors, what is ignored and why, whether it is "
        "one of the known files in circulation, its config and origin. Files need neither JAX nor PyTorch."
    )
    parser.add_argument("checkpoint", metavar="CKPT", help=CHECKPOINT)


def run_inspect(arguments: argparse.Namespace) -> int:
    """Print what a checkpoint is."""
    commands.inspect(arguments.checkpoint)
    return 0


def add_verify(parser: argparse.ArgumentParser) -> None:
    """The flags of `verify`."""
    parser.description = (
        "Run two checkpoints on the same audio, on the CPU, and compare weights, salience, pitch and voicing. An Orbax "
        "folder runs in JAX, a file in PyTorch; of two files (or two folders) the first runs in PyTorch (JAX) and the "
        "second in the other framework, so that the frameworks are compared too. Exit code 0: they agree, 1: they do "
        "not, 2: something could not be read."
    )
    parser.add_argument("a", metavar="A", help=CHECKPOINT)
    parser.add_argument("b", metavar="B", help="the other one")
    text = "recording to compare on (default: a built-in glide with noise)"
    parser.add_argument("--audio", metavar="FILE", help=text)
    text = (
        f"largest difference of salience (default: %(default)s); a voicing flip is tolerated within this, and at "
        f"least {FLIP_MARGIN}, of the threshold. {verify.FLOAT16_ADVICE}"
    )
    parser.add_argument("--tolerance", metavar="SALIENCE", type=float, default=SALIENCE_TOLERANCE, help=text)
    text = "largest difference of pitch (default: %(default)s)"
    parser.add_argument("--tolerance-cents", metavar="CENTS", type=float, default=CENTS_TOLERANCE, help=text)


def run_verify(arguments: argparse.Namespace, frameworks: Sequence[str] | None = None) -> int:
    """Compare two checkpoints; 0 if they agree, 1 if not. frameworks: by default all that are installed."""
    tolerances = verify.Tolerances(arguments.tolerance, arguments.tolerance_cents)
    return 0 if verify.verify(arguments.a, arguments.b, tolerances, arguments.audio, frameworks) else 1


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """--iteration and --force."""
    text = "of a training run: which of its states (default: %(default)s)"
    parser.add_argument("--iteration", metavar="N|latest", default="latest", help=text)
    parser.add_argument("--force", action="store_true", help="replace OUT even if no conversion has written it")


GROUP = Group(
    "Carry RMVPE weights between JAX and PyTorch, look into a checkpoint, compare two of them.",
    {
        "jax2torch": Command("write the weights of any checkpoint as a file for PyTorch", add_jax2torch, run_jax2torch),
        "torch2jax": Command("write the weights of a file as an Orbax folder for JAX", add_torch2jax, run_torch2jax),
        "inspect": Command("print what a checkpoint is", add_inspect, run_inspect),
        "verify": Command("run two checkpoints on the same audio and compare the pitch", add_verify, run_verify),
    },
    EXAMPLES,
)
