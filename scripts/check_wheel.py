"""Use a wheel as a user would: in clean environments, with torch alone and with jax alone.

The wheel is built from this checkout unless one is given. Each environment holds it and one framework. There, away from
the checkout, `rmvpe` prints its versions and what it finds, inspects the bundled weights and predicts the bundled
recording; the other framework must be absent.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

from rmvpe.cli.info import row
from rmvpe.errors import UserError
from rmvpe.program import Command, run_program

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("rmvpe", "rmvpe_torch", "rmvpe_jax", "convert")
RECORDING = ROOT / "examples" / "demo.flac"
FRAMEWORKS = {"torch": "jax", "jax": "torch"}  # installed: absent
FEWEST_VOICED = 50  # frames of the recording


def call(*command: str | Path, cwd: Path) -> str:
    """Run a command and return what it printed. Raises UserError with its output if it fails."""
    text = [str(part) for part in command]
    # Neither the checkout nor anything else of this shell may help the installed package
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(text, cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        raise UserError(f"{' '.join(text)} ended with exit code {done.returncode}: see its output above")
    return done.stdout


def build(folder: Path) -> Path:
    """Build the wheel of this checkout into `folder`."""
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=ROOT)
    return next(folder.glob("*.whl"))


def check_content(wheel: Path) -> None:
    """Raise UserError unless the wheel has every module of the checkout, and py.typed in each package."""
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    wanted = {path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    wanted |= {f"{package}/py.typed" for package in PACKAGES}
    if missing := sorted(wanted - packed):
        raise UserError(f"{wheel.name} lacks {', '.join(missing)}: see [tool.hatch] in pyproject.toml")


def check_use(wheel: Path, framework: str, absent: str, folder: Path) -> None:
    """Install `wheel` with one framework into a new environment and use it there. Raises UserError."""
    home = folder / framework
    venv.create(home, with_pip=True)
    programs = home / ("Scripts" if os.name == "nt" else "bin")
    python, rmvpe = programs / "python", programs / "rmvpe"
    call(python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", f"{wheel}[{framework}]", cwd=folder)
    probe = f"import importlib.util as u, sys; sys.exit(u.find_spec('{absent}') is not None)"
    call(python, "-I", "-c", probe, cwd=folder)  # -I: the folders here are named like the frameworks
    commands = {"--version": f"{framework} ", "info": row(absent, "not installed"), "convert inspect small": "sha256"}
    for command, words in commands.items():
        if words not in call(rmvpe, *command.split(), cwd=folder):
            raise UserError(f"rmvpe {command} with {framework} alone does not print {words!r}")
    output = folder / f"{framework}.csv"
    call(rmvpe, "predict", RECORDING, "-o", output, "--backend", framework, cwd=folder)
    lines = output.read_text(encoding="utf-8").splitlines()
    voiced = sum(line.split(",")[2] == "1" for line in lines[1:])
    if voiced < FEWEST_VOICED:
        raise UserError(f"{framework}: only {voiced} voiced frames in {len(lines) - 1}: the wheel does not predict")
    print(f"wheel with {framework} alone: {len(lines) - 1} frames, {voiced} voiced")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The wheel."""
    parser.add_argument("wheel", nargs="?", type=Path, help="a wheel of this checkout (default: one is built)")


def run(arguments: argparse.Namespace) -> int:
    """Build if needed, and check."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        wheel: Path = arguments.wheel.resolve() if arguments.wheel else build(folder)
        if not zipfile.is_zipfile(wheel):
            raise UserError(f"{wheel} is not a wheel: give the .whl file that python -m build wrote")
        check_content(wheel)
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB")
        for framework, absent in FRAMEWORKS.items():
            check_use(wheel, framework, absent, folder)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and call."""
    return run_program("check_wheel", Command(__doc__ or "", add_arguments, run), argv)


if __name__ == "__main__":
    sys.exit(main())
