"""The outputs of the scripts: a foreign file is replaced only with --force, a result of the script itself without."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from rmvpe.checkpoint.store import load, save
from tests.helpers.paths import ROOT


def run(script: str, *arguments: object) -> int:
    path = ROOT / script
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return int(module.main([str(argument) for argument in arguments]))


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    import soundfile

    weights, sound, log = tmp_path / "w.safetensors", tmp_path / "a.wav", tmp_path / "log.jsonl"
    save(weights, load("small"))
    soundfile.write(sound, 0.1 * np.sin(np.arange(8000) / 10), 16_000)
    log.write_text("".join(f'{{"step": {step}, "loss": 0.5}}\n' for step in range(1, 200)))
    return {"weights": weights, "sound": sound, "log": log}


COMMANDS = {
    "infer": ("scripts/infer.py -i {sound} -d cpu -o", "f0.csv"),
    "average": ("scripts/average_weights.py {weights} {weights} --out", "mean.safetensors"),
    "prune": ("scripts/prune_gru.py {weights} --data absent --out", "pruned.safetensors"),
    "compare": ("scripts/compare_losses.py {log} {log} -o", "loss.png"),
    "architecture": ("scripts/draw_architecture.py -o", "a.png"),
    "augmentation": ("benchmarks/show_augmentation.py -o", "b.png"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_foreign_file_is_kept(
    name: str, inputs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, file = COMMANDS[name]
    output = tmp_path / file
    output.write_text("precious\n")
    assert run(*command.format(**inputs).split(), output) == 2
    assert f"{file} exists and is not known as a result of this command" in capsys.readouterr().err
    assert output.read_text() == "precious\n"


@pytest.mark.parametrize("name", ["infer", "average", "compare"])
def test_force_replaces_it_and_then_it_is_our_own(name: str, inputs: dict[str, Path], tmp_path: Path) -> None:
    command, file = COMMANDS[name]
    output = tmp_path / file
    output.write_text("precious\n")
    arguments = [*command.format(**inputs).split(), str(output)]
    assert run(*arguments, "--force") == 0
    content = output.read_bytes()
    assert content != b"precious\n"
    assert run(*arguments) == 0


@pytest.mark.parametrize(("name", "source"), [("average", "weights"), ("infer", "sound")])
def test_an_input_is_never_replaced(
    name: str, source: str, inputs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, file = COMMANDS[name]
    output = tmp_path / file
    output.hardlink_to(inputs[source])
    before = output.read_bytes()
    assert run(*command.format(**inputs).split(), output, "--force") == 2
    assert "is an input and would be replaced" in capsys.readouterr().err
    assert output.read_bytes() == before
