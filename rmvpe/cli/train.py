"""The command line of a training run, the same for both frameworks: flags -> TrainConfig, data, resume, fit.

What a framework adds (its devices, how its processes find each other) is a `Framework`.
"""

import argparse
import dataclasses
import runpy
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rmvpe.checkpoint.architecture import expected_tensors
from rmvpe.checkpoint.store import Checkpoint, load
from rmvpe.config import CHOICES, PRESETS, ConfigError, ModelConfig, TrainConfig, from_json, preset
from rmvpe.data.readers.base import Source
from rmvpe.data.readers.registry import open_source
from rmvpe.data.readers.segments import Segments, excerpts
from rmvpe.data.synthesis.demo import make_demo
from rmvpe.errors import UserError, cli_errors
from rmvpe.evaluation.evaluate import Evaluation
from rmvpe.processes import Ranks
from rmvpe.training.loop import Trainer, fit, resume

DEFAULT_LOGDIR = "runs/Hybrid"
AMP_CHOICES = ("auto", "off", "bfloat16", "float16")
DEMO_DATA, TRIAL_LOGDIR = Path("runs/demo-data"), "runs/trial-{framework}"
TRIAL = TrainConfig(
    model=ModelConfig.small(), data=str(DEMO_DATA), batch_size=8, iterations=100, learning_rate=2e-3, warmup_steps=10
)


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
        "data": Flag(
            "data", str, "folder with train/ and valid/ of .wav + .pv, or KIND:FOLDER; several with commas", ("-d",)
        ),
        "batch_size": Flag("batch_size", int, "excerpts per rank (device) and forward pass", ("-b",)),
        "excerpt_frames": Flag("excerpt_frames", int, "frames per excerpt"),
        "num_workers": Flag("num_workers", int, "processes that prepare data; 0: threads", ("-w",)),
    },
    "training": {
        "iterations": Flag("iterations", int, "updates in all, earlier ones of a resumed run included", ("-n",)),
        "learning_rate": Flag("learning_rate", float, "learning rate at its highest", ("-lr",)),
        "schedule": Flag("schedule", str, "of the learning rate", choices=CHOICES["schedule"]),
        "learning_rate_decay_steps": Flag("decay_steps", int, "updates between two decays (schedule step)"),
        "learning_rate_decay_rate": Flag("decay_rate", float, "factor of one decay (schedule step)"),
        "warmup_steps": Flag("warmup_steps", int, "updates over which the learning rate rises from 0"),
        "loss": Flag("loss", str, "see docs/training.md", choices=CHOICES["loss"]),
        "optimizer": Flag("optimizer", str, "adamw adds --weight_decay", choices=CHOICES["optimizer"]),
        "weight_decay": Flag("weight_decay", float, "of adamw, per update and learning rate"),
        "clip_grad_norm": Flag("clip_grad_norm", float, "largest gradient norm"),
        "grad_accumulation": Flag("grad_accumulation", int, "forward passes per update"),
        "ema": Flag("ema_decay", float, "decay of averaged weights per update; 0: none"),
        "seed": Flag("seed", int, "of weights, data order and augmentation", ("-s",)),
    },
    "run": {
        "validation_interval": Flag("validation_interval", int, "updates between two validations and saved states"),
        "validation_files": Flag("validation_files", int, "files of the validation split that are looked at"),
        "keep": Flag("keep", int, "newest states kept, besides the best validation's"),
    },
}


class Framework:
    """What one framework brings to the command line."""

    name: str
    devices: str  # for --help

    def add_arguments(self, group: argparse._ArgumentGroup) -> None:
        """Flags of its own, about processes."""
        raise NotImplementedError

    def relaunch(self, arguments: argparse.Namespace, argv: Sequence[str]) -> int | None:
        """Run the command as several processes and return their exit code, or None to go on in this one."""
        raise NotImplementedError

    def start(self, arguments: argparse.Namespace) -> Ranks:
        """Find the devices and the other processes. Raises UserError."""
        raise NotImplementedError

    def amp_dtype(self) -> str:
        """The lower precision that suits the device: "bfloat16" or "float16"."""
        raise NotImplementedError

    def stop(self) -> None:
        """Leave the other processes, also when something has failed."""
        raise NotImplementedError

    def trainer(self, config: TrainConfig, initial: Checkpoint | None) -> Trainer:
        """A trainer on the devices that `start` found."""
        raise NotImplementedError


def parser(framework: Framework) -> argparse.ArgumentParser:
    """The flags of one training script; hyphens and underscores both work."""
    parse = argparse.ArgumentParser(
        description=f"Train RMVPE with {framework.name} on recordings and pitch labels (docs/training.md). "
        "Without arguments: a short trial on a generated data set.",
    )
    groups = {title: parse.add_argument_group(title) for title in ("network", *FLAGS, "devices")}
    network, run, devices = groups["network"], groups["run"], groups["devices"]
    add(network, "config", "-c", metavar="FILE", help="a run of configs/*.py; flags given besides change it")
    names = ", ".join((*PRESETS, "upper case too"))
    add(network, "model_name", "-m", metavar="NAME", help=f"{names} (default: {TrainConfig().model.name})")
    hop = TrainConfig().model.mel.hop_samples
    add(network, "hop_length", type=int, metavar="SAMPLES", help=f"between frames at 16 kHz (default: {hop}, e2e 320)")
    add(network, "initial", metavar="WEIGHTS", help="start from these weights instead of random ones")
    add(
        run, "logdir", "-l", default=DEFAULT_LOGDIR, metavar="FOLDER", help="where the run lives (default: %(default)s)"
    )
    text = "go on from the state of iteration N, or from the newest; the run's own config unless flags change it"
    add(run, "resume_iteration", "-r", metavar="N|latest", help=text)
    add(devices, "device", default="auto", help=f"{framework.devices} (default: %(default)s)")
    text = "lower precision of the convolutions alone; auto: what the device does fastest (default: off)"
    add(devices, "amp", nargs="?", const="auto", choices=AMP_CHOICES, help=text)
    framework.add_arguments(devices)
    defaults = TrainConfig()
    for title, flags in FLAGS.items():
        for name, flag in flags.items():
            text = f"{flag.text} (default: {getattr(defaults, flag.field)})"
            # A metavar would hide the choices
            shown = {"choices": flag.choices} if flag.choices else {"metavar": "N" if flag.kind is int else "X"}
            add(groups[title], name, *flag.names, dest=flag.field, type=flag.kind, help=text, **shown)
    return parse


def add(group: argparse._ArgumentGroup, name: str, *short: str, **settings: object) -> None:
    """A flag --some_name that is --some-name as well."""
    names = dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}"))
    group.add_argument(*short, *names, **{"dest": name, **settings})  # type: ignore[arg-type]


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
    fields.append("sync_batch_norm")  # PyTorch's alone
    given = {name: getattr(arguments, name) for name in fields if getattr(arguments, name, None) is not None}
    return dataclasses.replace(config, **given)


def with_precision(config: TrainConfig, amp: str | None, framework: Framework) -> TrainConfig:
    """The config with what --amp says; without the flag, as it is."""
    if amp is None:
        return config
    chosen = {"auto": framework.amp_dtype, "off": lambda: "float32"}.get(amp, lambda: amp)()
    return dataclasses.replace(config, conv_dtype=chosen)


def stored_config(logdir: Path) -> TrainConfig:
    """The config of the run in `logdir`. Raises UserError if there is none."""
    path = logdir / "config.json"
    if not path.is_file():
        raise UserError(
            f"{logdir} holds no run to resume ({path.name} is missing): give the --logdir of an earlier run"
        )
    try:
        return from_json(TrainConfig, path.read_text(encoding="utf-8"))
    except ConfigError as error:
        raise UserError(f"{path}: {error}") from error


def load_config(path: Path) -> TrainConfig:
    """The `CONFIG` of a configs/*.py file. Raises UserError if the file or the name is missing."""
    if not path.is_file():
        raise UserError(f"{path} does not exist: give one of the files in configs/")
    config = runpy.run_path(str(path)).get("CONFIG")
    if not isinstance(config, TrainConfig):
        raise UserError(f"{path} does not define CONFIG = TrainConfig(...)")
    return config


def load_initial(weights: str, config: TrainConfig) -> Checkpoint:
    """The weights to start from. Raises UserError if they are of another network than the run's."""
    checkpoint = load(weights)
    if expected_tensors(checkpoint.config) != expected_tensors(config.model):
        raise UserError(
            f"{weights} holds the network {checkpoint.config.name!r}, not this run's {config.model.name!r}: "
            "choose the --model_name or --config that belongs to it"
        )
    return checkpoint


def training_source(config: TrainConfig, ranks: Ranks) -> Source:
    """The train split, long recordings in pieces, every label looked at before hours are spent on it.

    Raises UserError for the first fault, or if one batch is more than the whole of it.
    """
    source = Segments(open_source(config.data, "train"))
    source.check()
    held = excerpts(source, config.excerpt_frames * config.model.mel.hop_s)
    wanted = config.batch_size * ranks.total
    if wanted > held:
        raise UserError(
            f"a batch of {wanted} excerpts is larger than the data set: {config.data} train holds {held}; "
            f"choose --batch_size {max(1, held // ranks.total)} or less, or add recordings"
        )
    return source


def validation_source(data: str) -> Source | None:
    """The valid split, else test as older Hybrid folders have it, else None."""
    for split in ("valid", "test"):
        if ":" in data or "," in data or (Path(data) / split).is_dir():
            source = open_source(data, split)
            source.check()
            return source
    return None


def trial(framework: Framework) -> list[str]:
    """The arguments of a run without arguments; makes its data set if it is missing."""
    if not DEMO_DATA.is_dir():
        sys.stderr.write(f"making the demo data set in {DEMO_DATA}\n")
    make_demo(DEMO_DATA)
    logdir = unused(Path(TRIAL_LOGDIR.format(framework=framework.name)))
    sys.stderr.write(
        f"no arguments: a trial of the network small for {TRIAL.iterations} iterations on {DEMO_DATA}, in {logdir}. It "
        "shows that everything works and is too short to learn pitch; give --data for a run of your own (--help)\n"
    )
    names = {flag.field: name for flags in FLAGS.values() for name, flag in flags.items()}
    fields = ("data", "batch_size", "iterations", "learning_rate", "warmup_steps")
    changed = [text for field in fields for text in (f"--{names[field]}", str(getattr(TRIAL, field)))]
    return [*changed, "--model_name", TRIAL.model.name, "--logdir", str(logdir)]


def unused(path: Path) -> Path:
    """`path`, or the first of path-2, path-3, ... that does not exist."""
    names = (path if number == 1 else path.with_name(f"{path.name}-{number}") for number in range(1, 10_000))
    return next(name for name in names if not name.exists())


def main(framework: Framework, argv: Sequence[str] | None = None) -> int:
    """Parse, start the devices, build, train; returns the exit code."""
    with cli_errors(f"train_{framework.name}"):
        given = list(sys.argv[1:] if argv is None else argv)
        given = given or trial(framework)
        arguments = parser(framework).parse_args(given)
        config, logdir = config_from(arguments), Path(arguments.logdir)
        # A log without a state is a run that ended before its first state: there is nothing to lose or to resume
        if not arguments.resume_iteration and any(logdir.glob("state-*")):
            raise UserError(
                f"{logdir} already holds a run: continue it with --resume_iteration latest or choose another --logdir"
            )
        code = framework.relaunch(arguments, given)
        return train(framework, arguments, config, logdir) if code is None else code
    return 2  # not reached: cli_errors exits


def train(framework: Framework, arguments: argparse.Namespace, config: TrainConfig, logdir: Path) -> int:
    """The run itself, in each of its processes."""
    ranks = framework.start(arguments)
    try:
        config = with_precision(config, arguments.amp, framework)
        source, valid = training_source(config, ranks), validation_source(config.data)
        initial = load_initial(arguments.initial, config) if arguments.initial else None
        trainer = framework.trainer(config, initial)
        state = resume(trainer, logdir, arguments.resume_iteration) if arguments.resume_iteration else None
        scores = fit(trainer, config, source, valid, logdir, state)
        if ranks.leads:
            sys.stderr.write(summary(trainer.step, scores, logdir) + "\n")
    finally:
        framework.stop()
    return 0


def summary(step: int, scores: Evaluation | None, logdir: Path) -> str:
    """The end of a run in one line."""
    rows = scores.pooled if scores else {}
    told = "; ".join(f"{name}: RPA {100 * row['RPA']:.1f} %, OA {100 * row['OA']:.1f} %" for name, row in rows.items())
    return f"{step} iterations done{f' ({told})' if told else ''}: see {logdir / 'results.md'} and loss.png beside it"
