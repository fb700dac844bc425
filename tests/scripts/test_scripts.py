"""Every script and benchmark: a `main(argv) -> int` with help and one-line mistakes, named as the user typed it."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.helpers.paths import ROOT

# Started by benchmarks/notes.py in a Python that has no rmvpe, and so not a command of its own
WORKERS = {"note_peers"}
FOUND = [*(ROOT / "scripts").glob("*.py"), *(ROOT / "benchmarks").glob("*.py")]
SCRIPTS = sorted(path for path in FOUND if path.stem not in WORKERS)


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_help_and_mistakes(path: Path, capsys: pytest.CaptureFixture[str]):
    script = loaded(path)
    with pytest.raises(SystemExit) as exit_:
        script.main(["--help"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: {path.stem} ")
    assert script.main(["--no-such-flag"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{path.stem}: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("train_torch", "train torch"),
        ("train_jax", "train jax"),
        ("prepare_MIR_1K", "prepare mir-1k"),
        ("prepare_synthetic", "prepare synthetic"),
        ("prepare_instruments", "prepare instruments"),
    ],
)
def test_a_script_has_the_flags_of_its_command(name: str, command: str, capsys: pytest.CaptureFixture[str]):
    from rmvpe.cli.main import main

    texts = []
    for run, arguments, program in (
        (loaded(ROOT / "scripts" / f"{name}.py").main, [], name),
        (main, command.split(), f"rmvpe {command}"),
    ):
        with pytest.raises(SystemExit):
            run([*arguments, "--help"])
        texts.append(" ".join(capsys.readouterr().out.replace(program, "").split()))
    assert texts[0] == texts[1]
