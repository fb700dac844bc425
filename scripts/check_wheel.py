"""Build the wheel and use it as a user would: in clean environments, with torch alone and with jax alone.

Each environment holds the wheel and one framework; `rmvpe predict` runs there on the bundled recording, away from the
checkout, and the other framework must be absent.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RECORDING = ROOT / "examples" / "demo.flac"
FRAMEWORKS = {"torch": "jax", "jax": "torch"}  # installed: absent


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command, show it if it fails, return what it printed."""
    result = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{result.stdout}{result.stderr}")
    return result.stdout


def check(wheel: Path, framework: str, absent: str, folder: Path) -> None:
    """Install `wheel` with one framework into a new environment and predict there."""
    home = folder / framework
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", f"{wheel}[{framework}]", cwd=folder)
    output = folder / f"{framework}.csv"
    run(home / "bin" / "rmvpe", "predict", RECORDING, "-o", output, "--backend", framework, cwd=folder)
    lines = output.read_text().splitlines()
    voiced = sum(line.split(",")[2] == "1" for line in lines[1:])
    if voiced < 50:
        sys.exit(f"{framework}: only {voiced} voiced frames in {len(lines) - 1}: the wheel does not predict")
    probe = f"import importlib.util as u, sys; sys.exit(u.find_spec('{absent}') is not None)"
    run(python, "-I", "-c", probe, cwd=folder)  # -I: the folders here are named like the frameworks
    print(f"wheel with {framework} alone: {len(lines) - 1} frames, {voiced} voiced")


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=ROOT)
        wheel = next(folder.glob("*.whl"))
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB")
        for framework, absent in FRAMEWORKS.items():
            check(wheel, framework, absent, folder)


if __name__ == "__main__":
    main()
