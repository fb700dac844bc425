"""`python -m convert`: carry RMVPE weights between JAX and PyTorch, look into a checkpoint, compare two of them."""

import argparse
import io
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from convert import commands, verify
from rmvpe.checkpoint.store import DTYPES
from rmvpe.errors import cli_errors
from rmvpe.evaluation.agreement import CENTS_TOLERANCE, FLIP_MARGIN, SALIENCE_TOLERANCE

if TYPE_CHECKING:
    Subparsers: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]

PROGRAM = "python -m convert"

EXAMPLES = """examples:
  python -m convert jax2torch ckpt                    a folder that JAX training wrote -> ckpt.pt for RVC, torch.load
  python -m convert jax2torch ckpt --layout yxlllc    -> ckpt.pt as tools of the yxlllc family load it
  python -m convert torch2jax rmvpe.pt                RVC's or yxlllc's weights -> the Orbax folder rmvpe
  python -m convert jax2torch runs/Hybrid             a run of train_jax.py -> runs/Hybrid-torch, to go on
  python -m convert torch2jax runs/Hybrid             a run of train_torch.py -> runs/Hybrid-jax, to go on
  python -m convert inspect rmvpe.pt                  which network, which of the rmvpe.pt in circulation, what is in it
  python -m convert verify ckpt ckpt.pt               do both give the same pitch?

A checkpoint is an Orbax folder (JAX), a .pt or .safetensors file (PyTorch and others), or the name of bundled weights.
Files are recognised by content. Torch files are read without running anything in them: a pickled model is refused.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, or 1 if `verify` finds that two checkpoints disagree."""
    with cli_errors(PROGRAM):
        options = _parser().parse_args(arguments)
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a console that lacks the Greek delta still gets its numbers
        code: int = options.run(options)
        return code
    return 2  # not reached: cli_errors exits


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        PROGRAM, description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_jax2torch(subparsers)
    _add_torch2jax(subparsers)
    _add_inspect(subparsers)
    _add_verify(subparsers)
    return parser


def _add_jax2torch(subparsers: "Subparsers") -> None:
    parser = subparsers.add_parser(
        "jax2torch",
        help="write the weights of an Orbax folder (or of any checkpoint) as a file for PyTorch",
        description="Write a checkpoint as one file for PyTorch. CKPT is usually an Orbax folder that JAX training "
        "wrote; a .pt or .safetensors file is taken too, to change its layout or precision. The folder of a whole "
        "training run becomes a run that scripts/train_torch.py continues; with -o FILE.pt only its latest weights "
        "are written.",
    )
    parser.add_argument("checkpoint", metavar="CKPT", help="Orbax folder, .pt or .safetensors file, or bundled name")
    parser.add_argument(
        "-o", "--output", metavar="OUT", help="file to write (default: beside CKPT, with .pt or .safetensors)"
    )
    parser.add_argument(
        "--layout",
        choices=commands.LAYOUTS,
        help="rvc: a .pt with the bare state_dict, which RVC, so-vits-svc and torch.load users expect (the default); "
        "yxlllc: a .pt with {'model': state_dict} and the unused unet.tf.*, which tools of the yxlllc family need; "
        "safetensors: rmvpe's own format (the default if OUT ends in .safetensors); needs no PyTorch",
    )
    parser.add_argument(
        "--dtype", choices=DTYPES, default=DTYPES[0], help="precision of the file (default: %(default)s)"
    )
    _add_iteration(parser)
    _add_force(parser)
    parser.set_defaults(run=commands.jax2torch)


def _add_torch2jax(subparsers: "Subparsers") -> None:
    parser = subparsers.add_parser(
        "torch2jax",
        help="write the weights of a .pt or .safetensors file as an Orbax folder",
        description="Write the weights of a file as the Orbax folder that rmvpe_jax reads. The folder of a whole "
        "training run becomes a run that scripts/train_jax.py continues.",
    )
    parser.add_argument("checkpoint", metavar="CKPT", help=".pt or .safetensors file, bundled name, or run folder")
    parser.add_argument("-o", "--output", metavar="OUT", help="folder to write (default: CKPT without its suffix)")
    _add_iteration(parser)
    _add_force(parser)
    parser.set_defaults(run=commands.torch2jax)


def _add_inspect(subparsers: "Subparsers") -> None:
    parser = subparsers.add_parser(
        "inspect",
        help="say what a checkpoint is",
        description="Say what a checkpoint is: its network, format, precision, tensors, what is ignored and why, "
        "whether it is one of the files in circulation, its config and origin. Files need neither JAX nor PyTorch.",
    )
    parser.add_argument("checkpoint", metavar="CKPT", help="Orbax folder, .pt or .safetensors file, or bundled name")
    parser.set_defaults(run=commands.inspect)


def _add_verify(subparsers: "Subparsers") -> None:
    parser = subparsers.add_parser(
        "verify",
        help="run two checkpoints on the same audio and compare the pitch",
        description="Run two checkpoints on the same audio, on the CPU, and compare weights, salience, pitch and "
        "voicing. An Orbax folder runs in JAX, a file in PyTorch; of two files (or two folders) the first runs in "
        "PyTorch (JAX) and the second in the other framework, so that the frameworks are compared too. Exit code 0: "
        "they agree, 1: they do not, 2: something could not be read.",
    )
    parser.add_argument("a", metavar="A", help="Orbax folder, .pt or .safetensors file, or bundled name")
    parser.add_argument("b", metavar="B", help="the other one")
    parser.add_argument(
        "--audio", metavar="FILE", help="recording to compare on (default: a built-in glide with noise)"
    )
    parser.add_argument(
        "--tolerance",
        metavar="SALIENCE",
        type=float,
        default=SALIENCE_TOLERANCE,
        help=f"largest difference of salience (default: %(default)s); a voicing flip is tolerated within this, and at "
        f"least {FLIP_MARGIN}, of the threshold. {verify.FLOAT16_ADVICE}",
    )
    parser.add_argument(
        "--tolerance-cents",
        metavar="CENTS",
        type=float,
        default=CENTS_TOLERANCE,
        help="largest difference of pitch (default: %(default)s)",
    )
    parser.set_defaults(run=verify.verify)


def _add_iteration(parser: argparse.ArgumentParser) -> None:
    text = "of a training run: which of its states (default: %(default)s)"
    parser.add_argument("--iteration", metavar="N|latest", default="latest", help=text)


def _add_force(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")


if __name__ == "__main__":
    sys.exit(main())
