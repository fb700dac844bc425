"""What a user can get wrong at the training command line: one sentence, exit code 2, nothing lost."""

import dataclasses
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("grain")

from rmvpe.config import ModelConfig, TrainConfig
from rmvpe.training_cli import config_from, main, parser
from rmvpe_torch.device import resolve
from rmvpe_torch.train import TorchTrainer
from tests.hybrid import make_hybrid

CONFIG = """
from rmvpe.config import ModelConfig, TrainConfig

MODEL = ModelConfig(name="tiny", levels=2, blocks=1, inter_layers=1, channels=2, gru_hidden=8, dropout=0.0)
CONFIG = TrainConfig(model=MODEL, excerpt_frames=32, batch_size=2, iterations=2, validation_interval=2)
"""


def make(config: TrainConfig, device: str, initial) -> TorchTrainer:
    return TorchTrainer(config, resolve(device), initial)


def run(*flags: str | Path) -> None:
    main("torch", "cpu", make, [str(flag) for flag in flags])


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory) -> Path:
    return make_hybrid(tmp_path_factory.mktemp("data") / "Hybrid")


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "config.py"
    path.write_text(CONFIG)
    return path


def test_a_run_resumes_and_guards_what_is_there(hybrid, config, tmp_path, capsys):
    logdir = tmp_path / "run"
    flags = ("--config", config, "--data", hybrid, "--logdir", logdir, "--device", "cpu")
    run(*flags)
    assert (logdir / "best.safetensors").exists()
    before = sorted(path.name for path in logdir.iterdir())
    with pytest.raises(SystemExit) as stop:
        run(*flags)
    assert stop.value.code == 2
    assert "already holds a run: continue it with --resume" in capsys.readouterr().err
    assert sorted(path.name for path in logdir.iterdir()) == before
    run(*flags, "--resume", "--iterations", "3")
    assert (logdir / "state-00000003.pt").exists()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--data", "nowhere"], "nowhere/train is not a folder"),
        (["--model_name", "e3e"], "unknown preset 'e3e': choose one of e2e0, e2e, small"),
        (["--config", "nowhere.py"], "nowhere.py does not exist"),
        (["--device", "sdaa"], "torch_sdaa"),
        (["--initial", "nowhere.pt"], "nowhere.pt"),
        (["--initial", "small", "--model_name", "e2e0"], "small holds the network 'small', not this run's 'e2e0'"),
        (["--batch_size", "0"], "batch_size must be at least 1, not 0"),
        (["--schedule", "linear"], "unknown schedule 'linear'"),
        (["--resume"], "holds no training state to resume"),
    ],
)
def test_mistakes_are_one_sentence(flags, sentence, hybrid, tmp_path, capsys):
    given = ["--data", hybrid, "--logdir", tmp_path / "run", "--device", "cpu", *flags]
    with pytest.raises(SystemExit) as stop:
        run(*given)
    message = capsys.readouterr().err
    assert stop.value.code == 2
    assert sentence in message
    assert message.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_recording_without_label_is_named(hybrid, config, tmp_path, capsys):
    broken = make_hybrid(tmp_path / "Hybrid", train=1)
    (broken / "train" / "glide-0.pv").unlink()
    with pytest.raises(SystemExit) as stop:
        run("--config", config, "--data", broken, "--logdir", tmp_path / "run", "--device", "cpu")
    assert stop.value.code == 2
    assert "glide-0.wav has no label: put glide-0.pv beside it" in capsys.readouterr().err


def test_flags_change_the_config_and_hyphens_work_too():
    flags = ["--batch-size", "8", "--learning_rate", "1e-4", "--ema", "0.99", "--model_name", "E2E0"]
    config = config_from(parser("torch", "cpu").parse_args(flags))
    assert config == dataclasses.replace(
        TrainConfig(), batch_size=8, learning_rate=1e-4, ema_decay=0.99, model=ModelConfig.e2e0()
    )
