"""What a user can get wrong at the training command line: one sentence, exit code 2, nothing lost."""

import argparse
import dataclasses
import json
import os
import pickle
import shlex
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("torch")
pytest.importorskip("grain")

import torch

from rmvpe.checkpoint.store import load, save
from rmvpe.cli.main import main
from rmvpe.cli.train import FLAGS, TORCH, TRIAL, config_from, is_trial, load_config, run
from rmvpe.config import ModelConfig, TrainConfig
from rmvpe.program import Command, Parser, run_program
from rmvpe.training.folder import LOCK
from rmvpe.training.launch import Job
from rmvpe.training.run_log import read_log
from rmvpe_torch import state as states
from rmvpe_torch.cli import Torch, TorchProcesses
from rmvpe_torch.model import RMVPE
from tests.helpers.hybrid import make_hybrid
from tests.helpers.paths import ROOT
from tests.rmvpe.test_locks import holder

CONFIG = """
from rmvpe.config import ModelConfig, TrainConfig

MODEL = ModelConfig(name="tiny", levels=2, blocks=1, inter_layers=1, channels=2, gru_hidden=8, dropout=0.0)
CONFIG = TrainConfig(model=MODEL, excerpt_frames=32, batch_size=2, iterations=2, validation_interval=2)
"""


def train(*flags: str | Path) -> int:
    return main(["train", "torch", *map(str, flags)])


def parse(*flags: str) -> argparse.Namespace:
    parser = Parser()
    TORCH.add_arguments(parser)
    return parser.parse_args(flags)


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.py")), ids=lambda path: path.stem)
def test_every_run_card_is_a_run(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """From any working directory, with a command that names the file."""
    monkeypatch.chdir(tmp_path)
    config = load_config(path)
    assert config.model == ModelConfig.small()
    assert config.excerpt_frames % config.model.time_multiple == 0
    assert f"scripts/train_torch.py --config configs/{path.name} --data Hybrid" in path.read_text()


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory) -> Path:
    return make_hybrid(tmp_path_factory.mktemp("data") / "Hybrid")


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "config.py"
    path.write_text(CONFIG)
    return path


def fails(capsys, *flags: str | Path) -> str:
    """Run, expect exit code 2, and return the one line on stderr."""
    capsys.readouterr()
    assert train(*flags) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1, message
    return message


def test_quiet_prints_errors_alone(hybrid, config, tmp_path, capsys):
    flags = ("--config", config, "--logdir", tmp_path / "run", "--device", "cpu", "-q")
    assert train(*flags, "--data", hybrid) == 0
    printed = capsys.readouterr()
    assert printed.out + printed.err == ""
    resume = ("--logdir", tmp_path / "run", "-r", "latest", "--iterations", "3", "--device", "cpu", "-q")
    assert train(*resume, "--learning_rate", "0.1") == 0  # a change, of which a run that is not quiet tells
    printed = capsys.readouterr()
    assert printed.out + printed.err == ""
    assert "already holds a run" in fails(capsys, *flags, "--data", hybrid)


def test_a_run_resumes_and_guards_what_is_there(hybrid, config, tmp_path, capsys):
    logdir = tmp_path / "run"
    flags = ("--config", config, "--data", hybrid, "--logdir", logdir, "--device", "cpu")
    assert train(*flags) == 0
    assert (logdir / "best.safetensors").exists()
    assert "2 iterations done (clean: RPA" in capsys.readouterr().err
    before = sorted(path.name for path in logdir.iterdir())
    advice = f"continue it with rmvpe train torch --logdir {shlex.quote(str(logdir))} --resume_iteration latest"
    assert f"already holds a run: {advice} --device cpu" in fails(capsys, *flags)
    assert sorted(path.name for path in logdir.iterdir()) == before
    assert train("--logdir", logdir, "--device", "cpu", "--resume_iteration", "latest", "--iterations", "3") == 0
    assert list(states.find(logdir)) == [2, 3]
    assert json.loads((logdir / "config.json").read_text())["model"]["name"] == "tiny"  # the run's own config
    message = fails(capsys, "--logdir", logdir, "--device", "cpu", "-r", "7")
    assert "no state of iteration 7: choose latest or one of 2, 3" in message
    message = fails(capsys, "--logdir", logdir, "--device", "cpu", "-r", "latest", "--model_name", "small")
    assert "'tiny'" in message
    assert "'small'" in message


def test_a_run_writes_its_card_and_keeps_licence_and_origin(hybrid, config, tmp_path):
    flags = ("--config", config, "--data", hybrid, "--device", "cpu", "-q")
    assert train(*flags, "--logdir", tmp_path / "first") == 0
    card = (tmp_path / "first" / "README.md").read_text(encoding="utf-8")
    assert 'license: "unknown"' in card
    assert "random weights" in card
    logdir, initial = tmp_path / "second", tmp_path / "first" / "best.safetensors"
    assert train(*flags, "--logdir", logdir, "--initial", initial, "--licence", "CC-BY-4.0") == 0
    assert train("--logdir", logdir, "-r", "latest", "--iterations", "3", "--device", "cpu", "-q") == 0
    for file in ("last.safetensors", "best.safetensors"):
        metadata = load(logdir / file).metadata
        assert (metadata["licence"], metadata["initial"]) == ("CC-BY-4.0", "best.safetensors")
    card = (logdir / "README.md").read_text(encoding="utf-8")
    assert 'license: "cc-by-4.0"' in card
    assert str(tmp_path) not in card
    assert load(logdir / "best.safetensors").metadata["step"] in card
    # The weights are new ones: without the flag nobody has said what may be done with them
    assert train(*flags, "--logdir", tmp_path / "third", "--initial", logdir / "best.safetensors") == 0
    assert "licence" not in load(tmp_path / "third" / "last.safetensors").metadata
    assert main(["convert", "torch2jax", str(logdir), "-o", str(tmp_path / "orbax")]) == 0


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--data", "nowhere"], "nowhere/train"),
        (["--data", "nothing:nowhere"], "nothing"),
        (["--model_name", "e3e"], "unknown preset 'e3e': choose one of e2e0, e2e, small"),
        (["--config", "nowhere.py"], "nowhere.py does not exist"),
        (["--device", "sdaa"], "torch_sdaa"),
        (["--initial", "nowhere.pt"], "nowhere.pt"),
        (["--initial", "small", "--model_name", "e2e0"], "small holds the network 'small', not this run's 'e2e0'"),
        (["--batch_size", "0"], "batch_size"),
        (["--batch_size", "33"], "choose --batch_size"),
        (["--learning_rate", "nan"], "learning_rate"),
        (["--hop_length", "0"], "--hop_length 0 must be at least 1 sample"),
        (["--resume_iteration", "latest"], "holds no run to resume"),
        (["--nproc_per_node", "1000", "--device", "cpu"], "--nproc_per_node 1000"),
        (["--nproc_per_node", "2", "--device", "cuda"], "cuda"),
    ],
)
def test_mistakes_are_one_sentence(flags, sentence, hybrid, tmp_path, capsys):
    given = ["--data", hybrid, "--logdir", tmp_path / "run", "--batch_size", "2", "--device", "cpu", *flags]
    assert sentence in fails(capsys, *given)
    assert not (tmp_path / "run").exists()


def test_weights_carry_a_threshold_of_their_own_and_the_start_is_scored_too(hybrid, config, tmp_path, capsys):
    """Not that of the weights that training started from, which would be 0.77 here."""
    flags = ("--config", config, "--data", hybrid, "--device", "cpu")
    assert train(*flags, "--logdir", tmp_path / "first") == 0
    first = load(tmp_path / "first" / "last.safetensors")
    assert first.threshold is not None  # a network that has learnt nothing may have 0.00
    foreign = dataclasses.replace(first, metadata=first.metadata | {"threshold": "0.77", "calibration": "3,1"})
    save(tmp_path / "foreign.safetensors", foreign)
    assert train(*flags, "--logdir", tmp_path / "second", "--initial", tmp_path / "foreign.safetensors") == 0
    for name in ("best.safetensors", "last.safetensors"):
        written = load(tmp_path / "second" / name)
        assert written.threshold is not None
        assert written.threshold != 0.77
        assert written.metadata.get("calibration") != "3,1"
    assert [line["step"] for line in read_log(tmp_path / "second") if "validation" in line] == [0, 2]


def test_without_a_validation_split_a_run_says_that_its_weights_have_no_threshold(config, tmp_path, capsys):
    data = make_hybrid(tmp_path / "Hybrid")
    shutil.rmtree(data / "valid")
    flags = ("--config", config, "--data", data, "--logdir", tmp_path / "run", "--device", "cpu")
    assert train(*flags) == 0
    assert "--threshold" in capsys.readouterr().err
    assert load(tmp_path / "run" / "last.safetensors").threshold is None


def text_label(folder: Path) -> None:
    (folder / "glide-0.pv").write_text("60.0\nla la la\n" * 100)


def negative_label(folder: Path) -> None:
    (folder / "glide-0.pv").write_text("60.0\n-3\n" * 100)


def long_label(folder: Path) -> None:
    with (folder / "glide-0.pv").open("a") as label:
        label.write("60.0\n" * 50)


def short_label(folder: Path) -> None:
    lines = (folder / "glide-0.pv").read_text().splitlines()
    (folder / "glide-0.pv").write_text("\n".join(lines[:100]))


def no_label(folder: Path) -> None:
    (folder / "glide-0.pv").unlink()


def no_sound(folder: Path) -> None:
    (folder / "glide-0.wav").write_text("this is no sound")


def nothing(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def six_channels(folder: Path) -> None:
    soundfile.write(folder / "glide-0.wav", np.zeros((32000, 6)), 16000)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (text_label, "glide-0.pv, line 2"),
        (negative_label, "glide-0.pv, line 2"),
        (long_label, "glide-0.wav"),
        (short_label, "glide-0.wav"),
        (no_label, "put glide-0.pv beside it"),
        (no_sound, "glide-0.wav"),
        (nothing, ".wav"),
        (six_channels, "6 channels"),
    ],
)
@pytest.mark.parametrize("split", ["train", "valid"])
def test_broken_data_is_named_before_training_starts(split, spoil, sentence, config, tmp_path, capsys):
    broken = make_hybrid(tmp_path / "Hybrid", train=2, valid=1)
    spoil(broken / split)
    message = fails(
        capsys,
        "--config",
        config,
        "--data",
        broken,
        "--logdir",
        tmp_path / "run",
        "--device",
        "cpu",
        "--iterations",
        "50",
    )
    assert sentence in message
    assert not list((tmp_path / "run").glob("state-*"))
    assert not read_log(tmp_path / "run")


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are a POSIX matter")
def test_a_full_disk_is_told_and_the_earlier_state_stays(hybrid, config, tmp_path):
    """A real write that fails: a process that may not write files of more than 20 kB."""
    logdir = tmp_path / "run"
    flags = ["--device", "cpu", "--logdir", logdir]
    assert train("--config", config, "--data", hybrid, *flags) == 0
    kept = {path.name: path.read_bytes() for path in logdir.glob("*.*") if path.suffix in (".pt", ".safetensors")}
    command = [sys.executable, ROOT / "scripts/train_torch.py", *flags, "-r", "latest", "--iterations", "4"]
    limited = ["bash", "-c", 'ulimit -f 20; exec "$@"', "limited", *command]
    # make coverage: a measured process writes more than that when it ends
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environment["OMP_NUM_THREADS"] = "1"
    done = subprocess.run([str(part) for part in limited], capture_output=True, text=True, env=environment)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "File too large" in done.stderr
    assert str(logdir) in done.stderr
    for name, content in kept.items():
        assert (logdir / name).read_bytes() == content, name
    assert list(states.find(logdir)) == [2]
    assert not [path.name for path in logdir.iterdir() if path.name.startswith(".")]


def test_flags_change_the_config_and_hyphens_work_too():
    flags = ["--batch-size", "8", "--learning_rate", "1e-4", "--ema", "0.99", "--model_name", "SMALL"]
    config = config_from(parse(*flags))
    assert config == dataclasses.replace(
        TrainConfig(), batch_size=8, learning_rate=1e-4, ema_decay=0.99, model=ModelConfig.small()
    )


def test_the_flags_and_defaults_of_the_published_port():
    arguments = parse()
    assert arguments.logdir == "runs/Hybrid"
    config = config_from(arguments)
    assert config.model == ModelConfig.e2e0()
    assert config.model.mel.hop_samples == 160
    assert (config.learning_rate, config.batch_size, config.iterations) == (5e-4, 32, 100)
    assert (config.validation_interval, config.clip_grad_norm) == (50, 3.0)
    assert (config.decay_steps, config.decay_rate) == (2000, 0.98)
    flags = (
        "--logdir r --hop_length 160 --learning_rate 5e-4 --batch_size 32 --validation_interval 50 --clip_grad_norm 3 "
        "--nproc_per_node 2 --iterations 100 --learning_rate_decay_steps 2000 --learning_rate_decay_rate 0.98 "
        "--resume_iteration 10 --model_name E2E0 --device sdaa --seed 0"
    )
    parsed = parse(*flags.split())
    assert (parsed.nproc_per_node, parsed.resume_iteration, parsed.device) == (2, "10", "sdaa")
    config = config_from(parse("--hop_length", "320", "--model_name", "E2E"))
    assert config.model == ModelConfig.e2e()


def test_the_short_flags_of_the_published_port():
    """All of them; -d is the device there."""
    short = (
        "-l r -hop 320 -lr 1e-4 -bs 8 -vi 7 -cgn 0 -npn 2 -i 9 -lrds 11 -lrdr 0.5 -ri 10 -mn E2E -d sdaa "
        "-s 1145141919810"
    )
    long = (
        "--logdir r --hop_length 320 --learning_rate 1e-4 --batch_size 8 --validation_interval 7 --clip_grad_norm 0 "
        "--nproc_per_node 2 --iterations 9 --learning_rate_decay_steps 11 --learning_rate_decay_rate 0.5 "
        "--resume_iteration 10 --model_name E2E --device sdaa --seed 1145141919810"
    )
    assert vars(parse(*short.split())) == vars(parse(*long.split()))
    ours, theirs = "-n 9 -b 8 -np 2 -r 10 -m E2E", "-i 9 -bs 8 -npn 2 -ri 10 -mn E2E"
    assert vars(parse(*ours.split())) == vars(parse(*theirs.split()))


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [("-lrd", "did you mean -lrd"), ("-dcuda", "no flag -dcuda"), ("-lruns/a", "no flag -lruns/a")],
)
def test_flags_of_one_dash_are_never_shortened(flag, sentence, capsys):
    """Else -lrd would be --logdir rd."""
    assert sentence in fails(capsys, flag, "5")


def test_the_weights_of_the_published_port(hybrid, config, tmp_path, capsys):
    """Its model_N.pt: {"model": state_dict} of a network that DistributedDataParallel wraps."""
    model = RMVPE(load_config(config).model)
    port = tmp_path / "port"
    port.mkdir()
    for step in (9, 50, 100):
        state = {f"module.{name}": value for name, value in model.state_dict().items()}
        torch.save({"model": state}, port / f"model_{step}.pt")
    message = fails(capsys, "--logdir", port, "-ri", "100", "--device", "cpu")
    assert f"{port / 'model_100.pt'} holds weights alone, without the optimizer" in message
    assert f"--initial {port / 'model_100.pt'}" in message
    flags = (
        "--config",
        config,
        "--data",
        hybrid,
        "--logdir",
        tmp_path / "run",
        "-d",
        "cpu",
        "-lr",
        "1e-30",
        "-cgn",
        "0",
    )
    assert train(*flags, "-s", "1145141919810", "--initial", port / "model_100.pt") == 0
    weights = load(tmp_path / "run" / "last.safetensors").tensors
    np.testing.assert_array_equal(weights["fc.1.weight"], model.state_dict()["fc.1.weight"].numpy())


def test_help_is_grouped_and_shows_every_default(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "torch", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for title in ("network:", "data:", "training:", "run:", "devices:"):
        assert f"\n{title}\n" in text
    for flags in FLAGS.values():
        for name in flags:
            assert f"--{name}" in text


def test_without_arguments_a_trial_makes_its_data_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    short = dataclasses.replace(TRIAL, iterations=2, batch_size=2)
    assert train_trial(short) == 0
    message = capsys.readouterr().err
    assert "making the demo data set in runs/demo-data" in message
    assert "no data given: a trial of 2 iterations" in message
    assert len(read_log(tmp_path / "runs" / "trial-torch")) == 4  # two steps, and a validation before and after
    assert "2 iterations done (clean: RPA " in message
    assert "% -> " in message
    assert train_trial(short) == 0  # a second trial has a folder of its own
    assert (tmp_path / "runs" / "trial-torch-2" / "loss.png").exists()


def test_a_trial_goes_where_logdir_says(tmp_path, monkeypatch, capsys):
    """A folder and devices alone say nothing about data: without a folder Hybrid it is a trial."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    short = dataclasses.replace(TRIAL, iterations=1, batch_size=2)
    assert train_trial(short, "--logdir", "my runs/try", "--device", "cpu") == 0
    assert (tmp_path / "my runs" / "try" / "last.safetensors").exists()
    assert not (tmp_path / "runs" / "trial-torch").exists()
    capsys.readouterr()
    assert train_trial(short, "--logdir", "my runs/try", "--device", "cpu") == 2
    advice = "rmvpe train torch --logdir 'my runs/try' --resume_iteration latest --device cpu"
    assert advice in capsys.readouterr().err
    assert train_trial(short, "--logdir", "x", "--seed", "2") == 2  # more than that is a run, and its data is missing
    assert "Hybrid" in capsys.readouterr().err
    make_hybrid(tmp_path / "Hybrid")
    assert not is_trial(parsed("--logdir", "x"))


def test_a_new_run_replaces_nothing(hybrid, config, tmp_path, capsys):
    """Files of something else, and the results of a run whose states were deleted."""
    logdir = tmp_path / "run"
    logdir.mkdir()
    for name in ("config.json", "train.log"):
        (logdir / name).write_text("precious")
    flags = ("--config", config, "--data", hybrid, "--logdir", logdir, "--device", "cpu")
    assert "config.json" in fails(capsys, *flags)
    assert sorted(path.name for path in logdir.iterdir()) == ["config.json", "train.log"]
    assert (logdir / "config.json").read_text() == "precious"
    (logdir / "config.json").unlink()
    assert train(*flags) == 0
    for path in logdir.glob("state-*"):
        path.unlink()
    before = {path.name: path.read_bytes() for path in logdir.iterdir() if path.is_file()}
    assert "best.safetensors" in before
    assert "would replace" in fails(capsys, *flags, "--seed", "9")
    assert {path.name: path.read_bytes() for path in logdir.iterdir() if path.is_file()} == before


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_a_folder_has_one_training_at_a_time(hybrid, config, tmp_path, capsys):
    """Also for a resumed run and for `convert`."""
    logdir = tmp_path / "run"
    flags = ("--config", config, "--data", hybrid, "--device", "cpu")
    assert train(*flags, "--logdir", tmp_path / "other") == 0
    process = holder(logdir_with(logdir) / LOCK)
    try:
        assert "in use by another training" in fails(capsys, *flags, "--logdir", logdir)
        shutil.copytree(tmp_path / "other", logdir, dirs_exist_ok=True)
        assert "in use" in fails(capsys, "--logdir", logdir, "-r", "latest", "--iterations", "3", "--device", "cpu")
        assert main(["convert", "torch2jax", str(tmp_path / "other"), "-o", str(logdir), "--force"]) == 2
        assert "in use" in capsys.readouterr().err
    finally:
        process.kill()
        process.wait()
    assert train("--logdir", logdir, "-r", "latest", "--iterations", "3", "--device", "cpu") == 0


def logdir_with(logdir: Path) -> Path:
    logdir.mkdir(parents=True)
    return logdir


def test_a_resumed_run_says_what_has_changed(hybrid, config, tmp_path, capsys):
    logdir = tmp_path / "run"
    assert train("--config", config, "--data", hybrid, "--logdir", logdir, "--device", "cpu") == 0
    capsys.readouterr()
    assert train("--logdir", logdir, "--device", "cpu", "-r", "latest") == 0
    assert "with changes" not in capsys.readouterr().err
    other = make_hybrid(tmp_path / "Other", train=3)
    flags = ("-r", "latest", "--learning_rate", "1e-5", "--data", other, "--iterations", "3")
    assert train("--logdir", logdir, "--device", "cpu", *flags) == 0
    (line,) = (row for row in capsys.readouterr().err.split("\n") if "with changes" in row)
    assert "learning_rate is 1e-05, was 0.0005" in line
    assert f"data is {other}, was {hybrid}" in line
    assert "holds 3 items, was 4 items" in line


def in_its_third_step(logdir: Path, *flags: object) -> subprocess.Popen[str]:
    """A training that would go on for ever, in a process of its own, after three steps."""
    command = [sys.executable, "-m", "rmvpe", "train", "torch", *flags, "--iterations", "100000", "-vi", "100000"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    running = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True, env=environment)
    while not any(row.get("step") == 3 for row in read_log(logdir)):
        assert running.poll() is None
        time.sleep(0.02)
    return running


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_recording_that_breaks_during_training_is_named_and_the_state_saved(workers, config, tmp_path, capsys):
    """A real file that is no sound any more once the first steps are done."""
    data, logdir = make_hybrid(tmp_path / "Hybrid"), tmp_path / "my run"
    flags = ("--config", config, "--data", data, "--logdir", logdir, "--device", "cpu", "--num_workers", workers)
    running = in_its_third_step(logdir, *flags)
    no_sound(data / "train")
    err = running.communicate(timeout=120)[1]
    assert running.returncode == 2, err
    assert "Traceback" not in err
    (message,) = (row for row in err.replace("\r", "\n").split("\n") if row.startswith("rmvpe train torch:"))
    assert "glide-0.wav" in message
    (step,) = states.find(logdir)
    resume = f"rmvpe train torch --logdir '{logdir}' --resume_iteration latest --device cpu"
    assert f"the state of iteration {step} is saved, continue then with {resume}" in message


@pytest.mark.usefixtures("usual_signals")
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_the_advice_after_ctrl_c_can_be_pasted(hybrid, config, tmp_path):
    logdir = tmp_path / "my run"
    flags = ("--config", config, "--data", hybrid, "--logdir", logdir, "--device", "cpu")
    running = in_its_third_step(logdir, *flags)
    running.send_signal(signal.SIGINT)
    err = running.communicate(timeout=120)[1]
    assert running.returncode == 130, err
    pasted = shlex.split(err.split("continue with ")[1])
    (step,) = states.find(logdir)
    assert pasted[0] == "rmvpe"
    assert main([*pasted[1:], "--iterations", str(step + 1)]) == 0


def parsed(*flags: str) -> argparse.Namespace:
    arguments = parse(*flags)
    arguments.argv = list(flags)
    return arguments


def train_trial(config: TrainConfig, *flags: str) -> int:
    """`rmvpe train torch` without data, with another trial."""
    command = Command(TORCH.summary, TORCH.add_arguments, partial(run, runtime=Torch(), trial_config=config))
    return run_program("rmvpe train torch", command, list(flags))


def test_the_script_and_the_command_name_themselves(tmp_path):
    for command, name in (
        (["-m", "rmvpe", "train", "torch"], "rmvpe train torch"),
        ([str(ROOT / "scripts" / "train_torch.py")], "train_torch"),
    ):
        given = [sys.executable, *command, "--config", "nowhere.py"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(given, capture_output=True, text=True, cwd=tmp_path, env=environment)
        assert done.returncode == 2
        assert done.stderr.startswith(f"{name}: nowhere.py does not exist")


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_help_needs_no_framework(framework):
    code = (
        "import sys\n"
        "sys.modules['torch'] = sys.modules['jax'] = None\n"  # as if they were not installed
        "from rmvpe.cli.main import main\n"
        f"sys.exit(main(['train', '{framework}', '--help']))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "--resume_iteration" in done.stdout


@pytest.mark.parametrize(("framework", "library"), [("torch", "torch"), ("jax", "flax"), ("jax", "grain")])
def test_a_missing_library_is_one_sentence(framework, library, tmp_path):
    if library != framework:
        pytest.importorskip(framework)  # or it would be named as missing too
    code = (
        "import sys\n"
        f"sys.modules['{library}'] = None\n"  # as if it were not installed
        "from rmvpe.cli.main import main\n"
        f"sys.exit(main(['train', '{framework}']))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert f"run pip install {library}" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_job_can_be_sent_to_another_process():
    job = Job(TrainConfig(), Path("runs/a"), "rmvpe train torch", "auto", "small", "latest")
    assert pickle.loads(pickle.dumps(job)) == job
    processes = Torch().processes(parse("--device", "cpu", "-np", "2"), TrainConfig())
    assert pickle.loads(pickle.dumps(processes)) == processes == TorchProcesses("cpu", 2)
