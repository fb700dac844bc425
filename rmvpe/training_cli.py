"""The command line of a training run, the same for both frameworks: flags -> TrainConfig, data, resume, fit."""

import argparse
import dataclasses
import runpy
from collections.abc import Callable
from pathlib import Path

from rmvpe.checkpoint import Checkpoint, expected_tensors, load
from rmvpe.config import TrainConfig, preset
from rmvpe.data.sources import Hybrid
from rmvpe.errors import UserError, cli_errors
from rmvpe.training import Trainer, fit

DEFAULT_LOGDIR = "runs/Hybrid"
# flag: (TrainConfig field, type, help); the default shown is TrainConfig's own
FLAGS: dict[str, tuple[str, type, str]] = {
    "--data": ("data", str, "folder with train/ and valid/ (or test/) of .wav + .pv pairs"),
    "--iterations": ("iterations", int, "updates in all, earlier ones of a resumed run included"),
    "--batch_size": ("batch_size", int, "excerpts per update, over all devices"),
    "--learning_rate": ("learning_rate", float, "Adam's learning rate at its highest"),
    "--learning_rate_decay_steps": ("decay_steps", int, "updates between two decays (schedule step)"),
    "--learning_rate_decay_rate": ("decay_rate", float, "factor of one decay (schedule step)"),
    "--schedule": ("schedule", str, "step or cosine"),
    "--clip_grad_norm": ("clip_grad_norm", float, "largest gradient norm"),
    "--ema": ("ema_decay", float, "decay of averaged weights, 0 for none"),
    "--conv_dtype": ("conv_dtype", str, "float32 or bfloat16: precision of the convolutions only"),
    "--validation_interval": ("validation_interval", int, "updates between two validations and checkpoints"),
    "--validation_files": ("validation_files", int, "files of the validation split that are looked at"),
    "--seed": ("seed", int, "of weights, data order and augmentation"),
}
MakeTrainer = Callable[[TrainConfig, str, Checkpoint | None], Trainer]


def parser(framework: str, devices: str) -> argparse.ArgumentParser:
    """The flags of one training script; hyphens and underscores both work."""
    parse = argparse.ArgumentParser(
        description=f"Train RMVPE with {framework} on a folder of recordings and pitch labels (see docs/training.md)."
    )
    parse.add_argument("--config", metavar="FILE", help="a run of configs/*.py; flags given besides change it")
    parse.add_argument("--model_name", "--model-name", metavar="NAME", help="e2e0, e2e or small (default: small)")
    parse.add_argument("--logdir", default=DEFAULT_LOGDIR, help="where the run lives (default: %(default)s)")
    parse.add_argument("--device", default="auto", help=f"{devices} (default: %(default)s)")
    parse.add_argument("--initial", metavar="WEIGHTS", help="start from these weights instead of random ones")
    parse.add_argument("--resume", action="store_true", help="continue the run in --logdir from its newest state")
    defaults = TrainConfig()
    for flag, (name, kind, text) in FLAGS.items():
        names = {flag, flag.replace("_", "-")}
        parse.add_argument(*sorted(names), dest=name, type=kind, help=f"{text} (default: {getattr(defaults, name)})")
    return parse


def config_from(arguments: argparse.Namespace) -> TrainConfig:
    """The run's TrainConfig: the --config file's or the default one, changed by the flags given."""
    config = load_config(Path(arguments.config)) if arguments.config else TrainConfig()
    if arguments.model_name:
        config = dataclasses.replace(config, model=preset(arguments.model_name))
    given = {name: getattr(arguments, name) for name, _, _ in FLAGS.values()}
    return dataclasses.replace(config, **{name: value for name, value in given.items() if value is not None})


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


def validation_split(data: str) -> Hybrid | None:
    """The valid/ split, else test/ as older Hybrid folders have it, else None."""
    for split in ("valid", "test"):
        if (Path(data) / split).is_dir():
            return Hybrid(data, split)
    return None


def main(framework: str, devices: str, make: MakeTrainer, argv: list[str] | None = None) -> None:
    """Parse, build, train. `make(config, device, initial)` gives the framework's trainer."""
    arguments = parser(framework, devices).parse_args(argv)
    with cli_errors(f"train_{framework}"):
        config, logdir = config_from(arguments), Path(arguments.logdir)
        source, valid = Hybrid(config.data, "train"), validation_split(config.data)
        if len(source) < 1:
            raise UserError(f"{config.data}/train holds no recordings")
        if not arguments.resume and (logdir / "log.jsonl").exists():
            raise UserError(f"{logdir} already holds a run: continue it with --resume or choose another --logdir")
        initial = load_initial(arguments.initial, config) if arguments.initial else None
        trainer = make(config, arguments.device, initial)
        if arguments.resume:
            trainer.restore(logdir)
        fit(trainer, config, source, valid, logdir)
