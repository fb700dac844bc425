"""The commands `jax2torch`, `torch2jax` and `inspect`; a framework is imported only where its files are touched."""

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from convert.io import check_file, check_folder, default_output, load_any, needs, orbax_folder, with_source
from rmvpe.checkpoint.architecture import expected_tensors, summarize
from rmvpe.checkpoint.folders import is_only_orbax, is_orbax, load_orbax
from rmvpe.checkpoint.published import KNOWN_FILES
from rmvpe.checkpoint.store import Checkpoint, locate, opened, save, select, sha256
from rmvpe.checkpoint.tensor_file import open_tensors
from rmvpe.config import ModelConfig
from rmvpe.config_check import to_json
from rmvpe.errors import UserError
from rmvpe.text import printable
from rmvpe_jax.params import BATCH_STATISTICS


@dataclass(frozen=True)
class Layout:
    """A kind of file that PyTorch users take: its suffix, and what writes it (path, checkpoint, dtype)."""

    suffix: str
    write: Callable[[Path, Checkpoint, str], None]


def write_torch(path: Path, checkpoint: Checkpoint, dtype: str, layout: str) -> None:
    """Write a .pt file. Raises UserError if PyTorch is not installed."""
    with needs("torch", f"writing a {layout} file"):
        from rmvpe_torch.checkpoint import save_torch
    save_torch(path, checkpoint, layout, dtype)


LAYOUTS = {
    "rvc": Layout(".pt", partial(write_torch, layout="rvc")),
    "yxlllc": Layout(".pt", partial(write_torch, layout="yxlllc")),
    "safetensors": Layout(".safetensors", save),
}


def jax2torch(
    checkpoint: str,
    output: Path | None = None,
    *,
    layout: str | None = None,
    dtype: str = "float32",
    force: bool = False,
) -> None:
    """Write any checkpoint as a .pt or .safetensors file.

    output: by default beside the checkpoint. layout: one of `LAYOUTS`, by default as the output's suffix says. dtype:
    "float32" or "float16". Raises UserError.
    """
    if layout is None:
        layout = "safetensors" if output is not None and output.suffix == ".safetensors" else "rvc"
    suffix = LAYOUTS[layout].suffix
    if output is None:
        output = default_output(checkpoint, suffix)
    if (output.suffix == ".safetensors") != (layout == "safetensors"):
        raise UserError(f"{output} does not suit --layout {layout}: name it {output.with_suffix(suffix)}")
    weights = load_any(checkpoint)
    check_file(output, "safetensors" if layout == "safetensors" else "torch", checkpoint, force=force)
    LAYOUTS[layout].write(output, with_source(weights, checkpoint), dtype)
    count = counted(expected_tensors(weights.config))
    print(f"wrote {printable(output)}: {layout} layout, {dtype}, {weights.config.name}, {count}")
    if layout != "safetensors" and weights.config != ModelConfig.e2e0():
        print(f"note: RVC and yxlllc tools build the network e2e0 only; this is {weights.config.name}, for rmvpe")


def torch2jax(checkpoint: str, output: Path | None = None, *, force: bool = False) -> None:
    """Write a .pt or .safetensors file as an Orbax folder, by default the file's name without suffix.

    Raises UserError.
    """
    if orbax_folder(checkpoint):
        raise UserError(
            f"{checkpoint} is an Orbax folder already: torch2jax takes a file, or a run of rmvpe train torch"
        )
    if output is None:
        output = default_output(checkpoint, "")
    with opened(checkpoint) as weights:  # each tensor is in memory while it is converted, and no longer
        check_folder(output, checkpoint, is_only_orbax, "an Orbax checkpoint", force=force)
        with needs("jax", "writing an Orbax folder"):
            from rmvpe_jax.checkpoint import save as save_jax
        save_jax(output, weights.tensors, weights.config, lambda: with_source(weights, checkpoint).metadata)
    count = counted(expected_tensors(weights.config))
    print(f"wrote {printable(output)}: Orbax folder, float32, {weights.config.name}, {count}")


def inspect(checkpoint: str) -> None:
    """Print what a checkpoint is. Raises UserError, after printing, if it would not load."""
    with locate(checkpoint) as path:
        if is_orbax(path):
            inspect_folder(path)
        else:
            inspect_file(path)


def inspect_folder(path: Path) -> None:
    """Print what an Orbax folder holds."""
    checkpoint: Checkpoint = load_orbax(path)
    row("folder", str(path))
    row("kind", "Orbax checkpoint (JAX)")
    row("network", checkpoint.config.name)
    row("tensors", f"{counted(expected_tensors(checkpoint.config))}, float32")
    print_origin(checkpoint.config, checkpoint.metadata)


def inspect_file(path: Path, known_files: Mapping[str, str] = KNOWN_FILES) -> None:
    """Print what a file holds. Raises UserError, after printing, if it would not load.

    known_files: SHA-256 -> what the file is.
    """
    with open_tensors(path) as file:
        digest = sha256(path)
        row("file", f"{path} ({path.stat().st_size:,} bytes)")
        row("kind", f"{file.container}, {file.wrapper}")
        row("sha256", digest)
        row("known as", known_files.get(digest, "not one of the known files in circulation"))
        selection = select(file)
        how = "as its config says" if selection.declared else "recognised by its tensors' shapes"
        row("network", f"{selection.config.name} ({how})")
        dtypes = ", ".join(sorted({tensor.dtype for tensor in selection.used.values()}))
        row("tensors", f"{counted({name: tensor.shape for name, tensor in selection.used.items()})}, {dtypes}")
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
    print(f"{label:<12}{printable(value)}")


def counted(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """How many tensors and trained numbers, e.g. "623 tensors, 90,423,165 parameters"."""
    trained = (math.prod(shape) for name, shape in shapes.items() if not name.endswith(BATCH_STATISTICS))
    return f"{len(shapes)} tensors, {sum(trained):,} parameters"
