"""`rmvpe train torch` and `rmvpe train jax`: the flags of a training run, the same for both frameworks, and its config.

What a framework adds (its devices, how its processes find each other) is its `Runtime`. The same commands are
`scripts/train_torch.py` and `scripts/train_jax.py`.
"""

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rmvpe.cli.config_file import load_config, stored_config
from rmvpe.config import CHOICES, PRESETS, AugmentConfig, ModelConfig, TrainConfig, preset
from rmvpe.data.synthesis.demo import make_demo
from rmvpe.errors import UserError
from rmvpe.pictures.theme import DEFAULT_THEME, THEMES
from rmvpe.program import Command, Group
from rmvpe.text import printable_lines
from rmvpe.training.folder import check_new
from rmvpe.training.launch import Job, Runtime, add_flag, check_libraries, train
from rmvpe.training.state import resume_command
from rmvpe_jax.cli import Jax
from rmvpe_torch.cli import Torch

DEFAULT_LOGDIR = "runs/Hybrid"
AMP_CHOICES = ("auto", "off", "bfloat16", "float16")
DEMO_DATA, TRIAL_LOGDIR = Path("runs/demo-data"), "runs/trial-{framework}"
# Found by trying: without augmentation, with the weighted loss and many small updates, a small network soon learns the
# pitch of the demo data's simple voices
PLAIN: dict[str, Any] = {
    field.name: 0.0 for field in dataclasses.fields(AugmentConfig) if field.name.endswith("_probability")
} | {"accompaniment_probability": 0.5}
TRIAL = TrainConfig(
    model=ModelConfig(
        name="trial", levels=3, blocks=1, inter_layers=1, channels=4, gru_hidden=128, dropout=0.0, bn_momentum=0.1
    ),
    data=str(DEMO_DATA),
    augment=dataclasses.replace(AugmentConfig(), **PLAIN),
    excerpt_frames=32,
    batch_size=4,
    iterations=1500,
    learning_rate=1.5e-3,
    schedule="cosine",
    warmup_steps=50,
    loss="weighted",
    validation_interval=500,
)
TRIAL_TAKES = "It takes about two minutes on two cores"


@dataclass(frozen=True)
class Flag:
    """One flag of a run. `field` is the TrainConfig's, whose default is shown; `names` are besides the long name."""

    field: str
    kind: Callable[[str], object]
    text: str
    names: tuple[str, ...] = ()
    choices: tuple[str, ...] | None = None


# Long name (underscores; hyphens work too) -> flag, by group of --help
FLAGS: dict[str, dict[str, Flag]] = {
    "data": {
        "data": Flag("data", str, "folder with train/ and valid/ of .wav + .pv, or KIND:FOLDER; several with commas"),
        "batch_size": Flag("batch_size", int, "excerpts per rank (device) and forward pass", ("-b", "-bs")),
        "excerpt_frames": Flag("excerpt_frames", int, "frames per excerpt"),
        "num_workers": Flag("num_workers", int, "processes that prepare data; 0: threads", ("-w",)),
    },
    "training": {
        "iterations": Flag("iterations", int, "updates in all, earlier ones of a resumed run included", ("-n", "-i")),
        "learning_rate": Flag("learning_rate", float, "learning rate at its highest", ("-lr",)),
        "schedule": Flag("schedule", str, "of the learning rate", choices=CHOICES["schedule"]),
        "learning_rate_decay_steps": Flag("decay_steps", int, "updates between two decays (schedule step)", ("-lrds",)),
        "learning_rate_decay_rate": Flag("decay_rate", float, "factor of one decay (schedule step)", ("-lrdr",)),
        "warmup_steps": Flag("warmup_steps", int, "updates over which the learning rate rises from 0"),
        "loss": Flag("loss", str, "see docs/training.md", choices=CHOICES["loss"]),
        "optimizer": Flag("optimizer", str, "adamw adds --weight_decay", choices=CHOICES["optimizer"]),
        "weight_decay": Flag("weight_decay", float, "of adamw, per update and learning rate"),
        "clip_grad_norm": Flag("clip_grad_norm", float, "largest gradient norm; 0: no clipping", ("-cgn",)),
        "grad_accumulation": Flag("grad_accumulation", int, "forward passes per update"),
        "ema": Flag("ema_decay", float, "decay of averaged weights per update; 0: none"),
        "seed": Flag("seed", int, "of weights, data order and augmentation", ("-s",)),
    },
    "run": {
        "validation_interval": Flag(
            "validation_interval", int, "updates between two validations and saved states", ("-vi",)
        ),
        "validation_files": Flag("validation_files", int, "files of the validation split that are scored"),
        "keep": Flag("keep", int, "newest states kept, besides the best validation's"),
    },
}


def add_arguments(parser: argparse.ArgumentParser, runtime: Runtime) -> None:
    """The flags of `rmvpe train` with one framework; hyphens and underscores both work."""
    parser.description = (
        f"Train RMVPE with {runtime.name} on recordings and pitch labels (docs/training.md). "
        "Without arguments: a short trial on a generated data set."
    )
    groups = {title: parser.add_argument_group(title) for title in ("network", *FLAGS, "devices")}
    network, run_, devices = groups["network"], groups["run"], groups["devices"]
    defaults = TrainConfig()
    add_flag(network, "config", "-c", metavar="FILE", help="a run of configs/*.py; flags given besides change it")
    names = ", ".join((*PRESETS, "upper case too"))
    add_flag(network, "model_name", "-m", "-mn", metavar="NAME", help=f"{names} (default: {defaults.model.name})")
    text = f"between frames at 16 kHz (default: {defaults.model.mel.hop_samples}, e2e 320)"
    add_flag(network, "hop_length", "-hop", type=int, metavar="SAMPLES", help=text)
    add_flag(network, "initial", metavar="WEIGHTS", help="start from these weights instead of random ones")
    text = "folder of the run (default: %(default)s)"
    add_flag(run_, "logdir", "-l", default=DEFAULT_LOGDIR, metavar="FOLDER", help=text)
    text = "go on from the state of iteration N, or from the newest; the run's own config unless flags change it"
    add_flag(run_, "resume_iteration", "-r", "-ri", metavar="N|latest", help=text)
    text = "colours of the picture of the run (default: %(default)s)"
    add_flag(run_, "theme", choices=tuple(THEMES), default=DEFAULT_THEME, help=text)
    text = "of the weights, for their model card: an identifier such as cc-by-4.0, or a name (default: not stated)"
    add_flag(run_, "licence", metavar="NAME", help=text)
    add_flag(devices, "device", "-d", default="auto", help=f"{runtime.devices} (default: %(default)s)")
    text = "lower precision of the convolutions alone; auto: the device's fastest (default: off)"
    add_flag(devices, "amp", nargs="?", const="auto", choices=AMP_CHOICES, help=text)
    runtime.add_arguments(devices)
    for title, flags in FLAGS.items():
        for name, flag in flags.items():
            text = f"{flag.text} (default: {getattr(defaults, flag.field)})"
            # A metavar would hide the choices
            shown = {"choices": flag.choices} if flag.choices else {"metavar": "N" if flag.kind is int else "X"}
            add_flag(groups[title], name, *flag.names, dest=flag.field, type=flag.kind, help=text, **shown)


def run(arguments: argparse.Namespace, runtime: Runtime, trial_config: TrainConfig = TRIAL) -> int:
    """Train as the command line asks, in one process or several; returns the exit code.

    Without data, and no more than a folder and devices given: the trial.
    """
    check_libraries(runtime)
    if is_trial(arguments):
        job = trial(arguments, runtime.name, trial_config)
    else:
        job = job_from(arguments, runtime.name)
        if job.resume_iteration is None:  # once more when the folder is owned; here before anything is loaded
            check_new(job.logdir, job.command)
    processes = runtime.processes(arguments, job.config)
    code = processes.relaunch(partial(train, job, processes, own_process=True))
    if code is not None:
        return code
    train(job, processes, arguments.own_process)
    return 0


def job_from(arguments: argparse.Namespace, framework: str) -> Job:
    """The run that the flags describe. Raises UserError."""
    logdir = Path(arguments.logdir)
    return Job(
        config=config_from(arguments),
        logdir=logdir,
        command=command_from(arguments, framework, logdir),
        amp=arguments.amp,
        initial=arguments.initial,
        resume_iteration=arguments.resume_iteration,
        quiet=arguments.quiet,
        licence=arguments.licence,
        theme=arguments.theme,
    )


def command_from(arguments: argparse.Namespace, framework: str, logdir: Path) -> str:
    """The command that continues the run: its folder, and what its config does not hold: devices, colours."""
    given = [] if arguments.device == "auto" else ["--device", arguments.device]
    given += [] if arguments.theme == DEFAULT_THEME else ["--theme", arguments.theme]
    processes = getattr(arguments, "nproc_per_node", None)
    return resume_command(
        framework, logdir, given + ([] if processes is None else ["--nproc_per_node", str(processes)])
    )


def is_trial(arguments: argparse.Namespace) -> bool:
    """Whether nothing about the run is given but its folder and its devices, and there is no data to train on."""
    fields = ["config", "model_name", "hop_length", "initial", "resume_iteration", "licence"]
    fields += [flag.field for flags in FLAGS.values() for flag in flags.values()]
    if any(getattr(arguments, name) is not None for name in fields):
        return False
    return not arguments.argv or not Path(TrainConfig().data).exists()


def config_from(arguments: argparse.Namespace) -> TrainConfig:
    """The run's TrainConfig: the resumed run's, the --config file's or the default one, changed by the flags given."""
    if arguments.config:
        config = load_config(Path(arguments.config))
    elif arguments.resume_iteration:
        config = stored_config(Path(arguments.logdir))
    else:
        config = TrainConfig()
    if arguments.model_name:
        config = dataclasses.replace(config, model=preset(arguments.model_name))
    if arguments.hop_length is not None:
        if arguments.hop_length < 1:
            raise UserError(f"--hop_length {arguments.hop_length} must be at least 1 sample: 160 is 10 ms")
        mel = dataclasses.replace(config.model.mel, hop_samples=arguments.hop_length)
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, mel=mel))
    fields = [flag.field for flags in FLAGS.values() for flag in flags.values()]
    fields += ["sync_batch_norm", "sdaa_conv_fp32"]  # PyTorch's alone
    given = {name: getattr(arguments, name) for name in fields if getattr(arguments, name, None) is not None}
    return dataclasses.replace(config, **given)


def trial(arguments: argparse.Namespace, framework: str, config: TrainConfig) -> Job:
    """The run of a command line without data, in a new folder or in the given one; makes its data set if missing."""
    logdir = Path(arguments.logdir)
    if arguments.logdir is not DEFAULT_LOGDIR:  # given, even if it is the default's name
        check_new(logdir, command_from(arguments, framework, logdir))
    else:
        logdir = unused(Path(TRIAL_LOGDIR.format(framework=framework)))

    def say(text: str) -> None:
        if not arguments.quiet:
            sys.stderr.write(printable_lines(text))

    if not DEMO_DATA.is_dir():
        say(f"making the demo data set in {DEMO_DATA}\n")
    make_demo(DEMO_DATA)
    say(
        f"no data given: a trial of {config.iterations} iterations on {DEMO_DATA}, in {logdir}. {TRIAL_TAKES}; at the "
        "end it shows how much of the pitch is found (RPA) before and after. Its network is small and knows these "
        "sounds alone: give --data for a run of your own (--help)\n"
    )
    # For torch: so small a network is as fast on one thread, and much faster beside other work
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    command = command_from(arguments, framework, logdir)
    return Job(
        config, logdir, command, amp=arguments.amp, validate_first=True, quiet=arguments.quiet, theme=arguments.theme
    )


def unused(path: Path) -> Path:
    """`path`, or the first of path-2, path-3, ... that does not exist."""
    names = (path if number == 1 else path.with_name(f"{path.name}-{number}") for number in range(1, 10_000))
    return next(name for name in names if not name.exists())


def command(runtime: Runtime, summary: str) -> Command:
    """The command that trains with one framework."""
    return Command(summary, partial(add_arguments, runtime=runtime), partial(run, runtime=runtime))


TORCH = command(Torch(), "on one device or several: cpu, cuda, sdaa, mps")
JAX = command(Jax(), "on all local devices of one host or several: cpu, gpu, tpu")
GROUP = Group("Train a network on recordings and pitch labels.", {"torch": TORCH, "jax": JAX})
