"""Use a wheel as a user would: in clean environments, with onnx alone, with torch alone and with jax alone.

The wheel is built from this checkout unless one is given. Each environment holds it and one framework. There, away from
the checkout, `rmvpe` prints its versions and what it finds, inspects the bundled weights and predicts the bundled
recording; the other frameworks must be absent. With onnx alone it also writes and checks an ONNX file, and the
environment must stay small.
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

from rmvpe.backends import BACKENDS, MODULES, python_too_old
from rmvpe.cli.info import row
from rmvpe.errors import UserError
from rmvpe.program import Command, run_program

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("rmvpe", "rmvpe_torch", "rmvpe_jax", "rmvpe_ort", "convert")
RECORDING = ROOT / "examples" / "demo.flac"
FRAMEWORKS = ("onnx", "torch", "jax")
LARGEST_MB = {"onnx": 200.0}  # of all that is installed, without bytecode: what the quick start promises
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
    wanted |= {f"{package}/py.typed" for package in PACKAGES} | {"rmvpe_ort/check.flac"}
    if missing := sorted(wanted - packed):
        raise UserError(f"{wheel.name} lacks {', '.join(missing)}: see [tool.hatch] in pyproject.toml")


def sizes_mb(folder: Path) -> tuple[float, float]:
    """Size of the files under `folder`, and of the bytecode among them, which pip makes after the download."""
    sizes = {path: path.lstat().st_size / 1e6 for path in folder.rglob("*") if path.is_file()}
    return sum(sizes.values()), sum(size for path, size in sizes.items() if path.suffix == ".pyc")


def check_use(wheel: Path, framework: str, folder: Path) -> None:
    """Install `wheel` with one framework into a new environment and use it there. Raises UserError."""
    home = folder / framework
    venv.create(home, with_pip=True)
    programs = home / ("Scripts" if os.name == "nt" else "bin")
    python, rmvpe = programs / "python", programs / "rmvpe"
    packages = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    before = sizes_mb(packages)  # pip itself
    call(python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", f"{wheel}[{framework}]", cwd=folder)
    size, bytecode = (after - before for after, before in zip(sizes_mb(packages), before, strict=True))
    absent = [name for name in BACKENDS if name != framework]
    modules = [MODULES[name] for name in absent]
    probe = f"import importlib.util as u, sys; sys.exit(any(u.find_spec(name) for name in {modules}))"
    call(python, "-I", "-c", probe, cwd=folder)  # -I: the folders here are named like the frameworks
    commands = [("--version", f"{MODULES[framework]} "), ("convert inspect small", "sha256")]
    commands += [("info", row(name, "cannot be used" if python_too_old(name) else "not installed")) for name in absent]
    if framework == "onnx":
        commands.append(("export onnx -o waveform.onnx", "checked on a built-in recording"))
    for command, words in commands:
        if words not in call(rmvpe, *command.split(), cwd=folder):
            raise UserError(f"rmvpe {command} with {framework} alone does not print {words!r}")
    output = folder / f"{framework}.csv"
    call(rmvpe, "predict", RECORDING, "-o", output, "--backend", framework, cwd=folder)
    lines = output.read_text(encoding="utf-8").splitlines()
    voiced = sum(line.split(",")[2] == "1" for line in lines[1:])
    if voiced < FEWEST_VOICED:
        raise UserError(f"{framework}: only {voiced} voiced frames in {len(lines) - 1}: the wheel does not predict")
    print(
        f"wheel with {framework} alone: {len(lines) - 1} frames, {voiced} voiced; it installs {size - bytecode:.0f} MB "
        f"and {bytecode:.0f} MB of bytecode"
    )
    if size - bytecode > LARGEST_MB.get(framework, size):
        raise UserError(f"{framework} installs {size - bytecode:.0f} MB, more than {LARGEST_MB[framework]:g}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The wheel, and with what."""
    parser.add_argument("wheel", nargs="?", type=Path, help="a wheel of this checkout (default: one is built)")
    text = "environments to make (default: %(default)s)"
    parser.add_argument("--with", dest="frameworks", nargs="+", choices=FRAMEWORKS, default=FRAMEWORKS, help=text)


def run(arguments: argparse.Namespace) -> int:
    """Build if needed, and check."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        wheel: Path = arguments.wheel.resolve() if arguments.wheel else build(folder)
        if not zipfile.is_zipfile(wheel):
            raise UserError(f"{wheel} is not a wheel: give the .whl file that python -m build wrote")
        check_content(wheel)
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB")
        for framework in arguments.frameworks:
            check_use(wheel, framework, folder)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and call."""
    return run_program("check_wheel", Command(__doc__ or "", add_arguments, run), argv)


if __name__ == "__main__":
    sys.exit(main())
