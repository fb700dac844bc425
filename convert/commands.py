"""The commands `jax2torch`, `torch2jax` and `inspect`; a framework is imported only where its files are touched."""

import argparse
import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from convert.io import check_output, default_output, is_folder, load_any, needs, with_source
from rmvpe.checkpoint.architecture import HasShape, summarize
from rmvpe.checkpoint.store import KNOWN_FILES, load, locate, save, select, sha256
from rmvpe.checkpoint.tensor_file import open_tensors
from rmvpe.config import ModelConfig, to_json
from rmvpe.errors import UserError
from rmvpe_jax.params import BATCH_STATISTICS

LAYOUTS = ("rvc", "yxlllc", "safetensors")
SUFFIXES = {"rvc": ".pt", "yxlllc": ".pt", "safetensors": ".safetensors"}


def jax2torch(options: argparse.Namespace) -> int:
    """Write any checkpoint as a .pt or .safetensors file, or a JAX run as a PyTorch run."""
    if carries_run(options):
        return carry_run(options, "jax", "torch")
    layout = options.layout or ("safetensors" if str(options.output or "").endswith(".safetensors") else "rvc")
    output = Path(options.output) if options.output else default_output(options.checkpoint, SUFFIXES[layout])
    if (output.suffix == ".safetensors") != (layout == "safetensors"):
        raise UserError(f"{output} does not suit --layout {layout}: name it {output.with_suffix(SUFFIXES[layout])}")
    checkpoint = with_source(load_any(options.checkpoint), options.checkpoint)
    check_output(output, options.checkpoint, force=options.force)
    if output.is_dir():
        raise UserError(f"{output} is a folder: give a file name with -o")
    if layout == "safetensors":
        save(output, checkpoint, options.dtype)
    else:
        with needs("torch", f"writing a {layout} file"):
            from rmvpe_torch.checkpoint import save_torch
        save_torch(output, checkpoint, layout, options.dtype)
    print(f"wrote {output}: {layout} layout, {options.dtype}, {checkpoint.config.name}, {counted(checkpoint.tensors)}")
    if layout != "safetensors" and checkpoint.config != ModelConfig.e2e0():
        print(f"note: RVC and yxlllc tools build the network e2e0 only; this is {checkpoint.config.name}, for rmvpe")
    return 0


def torch2jax(options: argparse.Namespace) -> int:
    """Write a .pt or .safetensors file as an Orbax folder, or a PyTorch run as a JAX run."""
    if carries_run(options):
        return carry_run(options, "torch", "jax")
    if is_folder(options.checkpoint):
        raise UserError(f"{options.checkpoint} is a folder: torch2jax takes a .pt or .safetensors file")
    output = Path(options.output) if options.output else default_output(options.checkpoint, "")
    checkpoint = with_source(load(options.checkpoint), options.checkpoint)
    check_output(output, options.checkpoint, force=options.force)
    with needs("jax", "writing an Orbax folder"):
        from rmvpe_jax.checkpoint import save as save_jax
    save_jax(output, checkpoint.tensors, checkpoint.config, checkpoint.metadata)
    print(f"wrote {output}: Orbax folder, float32, {checkpoint.config.name}, {counted(checkpoint.tensors)}")
    return 0


def carries_run(options: argparse.Namespace) -> bool:
    """Whether a whole training run is meant: the folder of one, and no file to write its weights to."""
    from convert.runs import is_run

    return is_run(options.checkpoint) and Path(options.output or "").suffix not in SUFFIXES.values()


def carry_run(options: argparse.Namespace, source: str, target: str) -> int:
    """Write a run of one framework as a run of the other, and say how to go on."""
    from convert.runs import hop

    output = Path(options.output) if options.output else None
    written, state = hop(options.checkpoint, source, target, output, options.iteration, force=options.force)
    print(f"wrote {written}: the {target} run after {state.step} iterations, optimizer and data position included")
    print(f"go on with: python scripts/train_{target}.py --logdir {written} --resume_iteration latest")
    return 0


def inspect(options: argparse.Namespace) -> int:
    """Print what a checkpoint is. Raises UserError, after printing, if it would not load."""
    if is_folder(options.checkpoint):
        inspect_folder(options.checkpoint)
    else:
        with locate(options.checkpoint) as path:
            inspect_file(path)
    return 0


def inspect_folder(path: str) -> None:
    """Print what an Orbax folder holds."""
    checkpoint = load_any(path)
    row("folder", path)
    row("kind", "Orbax checkpoint (JAX)")
    row("network", checkpoint.config.name)
    row("tensors", f"{counted(checkpoint.tensors)}, float32")
    print_origin(checkpoint.config, checkpoint.metadata)


def inspect_file(path: Path) -> None:
    """Print what a file holds. Raises UserError, after printing, if it would not load."""
    with open_tensors(path) as file:
        digest = sha256(path)
        row("file", f"{path} ({path.stat().st_size:,} bytes)")
        row("kind", f"{file.container}, {file.wrapper}")
        row("sha256", digest)
        row("known as", KNOWN_FILES.get(digest, "not one of the known files in circulation"))
        selection = select(file)
        how = "as its config says" if selection.declared else "recognised by its tensors' shapes"
        row("network", f"{selection.config.name} ({how})")
        dtypes = ", ".join(sorted({tensor.dtype for tensor in selection.used.values()}))
        row("tensors", f"{counted(selection.used)}, {dtypes}")
        for reason, count in Counter(selection.ignored.values()).items():
            examples = [name for name, why in selection.ignored.items() if why == reason][:2]
            row("ignored", f"{count}: {reason} ({', '.join(examples)}{', ...' if count > len(examples) else ''})")
        for problem in selection.problems[:20]:
            row("problem", problem)
        print_origin(selection.config, file.metadata)
    if selection.problems:
        raise UserError(f"{path} cannot be loaded: {summarize(selection.problems)}")


def print_origin(config: ModelConfig, metadata: Mapping[str, str]) -> None:
    """Print metadata and config."""
    for key, value in sorted(metadata.items()):
        if key != "config":
            row("metadata", f"{key}: {value}")
    row("config", json.dumps(json.loads(to_json(config))))


def row(label: str, value: str) -> None:
    """Print one line of a report."""
    print(f"{label:<12}{value}")


def counted(tensors: Mapping[str, HasShape]) -> str:
    """How many tensors and trained numbers, e.g. "623 tensors, 90,423,165 parameters"."""
    trained = (math.prod(tensor.shape) for name, tensor in tensors.items() if not name.endswith(BATCH_STATISTICS))
    return f"{len(tensors)} tensors, {sum(trained):,} parameters"
