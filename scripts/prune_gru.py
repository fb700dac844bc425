"""Prune saturated GRU units, so that no result depends on audio of minutes before.

    python scripts/prune_gru.py runs/small/last.safetensors --data Hybrid --out pruned.safetensors

Units with a memory longer than --longest seconds are replaced by their mean (`rmvpe.checkpoint.prune_gru`). It is
measured over 20 files of the validation split, with the voice alone and with music as loud as the voice. The result
carries the voicing threshold and the calibration that fit it on these files. Train on from it (--initial) to recover
small losses in accuracy.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

import rmvpe
from rmvpe.checkpoint.prune_gru import UnitStatistics, measure_units, prune
from rmvpe.checkpoint.store import Checkpoint, load, save
from rmvpe.config import DecodeConfig, ModelConfig
from rmvpe.data.readers.hybrid import Hybrid
from rmvpe.errors import UserError
from rmvpe.evaluation.evaluate import CLEAN, evenly_spaced, mixed, predictions
from rmvpe.evaluation.recommend import NAMES, updated
from rmvpe.framing import frames_to_seconds
from rmvpe.mel import log_mel
from rmvpe.ownership import Output, check_outputs
from rmvpe.program import Command, run_program

FILES = 20
UNCALIBRATED = DecodeConfig(threshold=0.1, calibration=(1.0, 0.0))


def spectrograms(data: Hybrid, snr_db: float, model: ModelConfig) -> Iterator[np.ndarray]:
    """Log-mel [T, n_mels] of up to `FILES` files, mixed at `snr_db`; T is a multiple of the U-Net's stride."""
    for index in evenly_spaced(len(data), FILES):
        audio = mixed(data[index], snr_db, model)
        if audio is not None:
            shown = log_mel(audio.astype(np.float32), model.mel)
            if len(shown) >= model.time_multiple:
                yield shown[: len(shown) // model.time_multiple * model.time_multiple]


def prune_file(weights: str, data: str, out: Path, longest_s: float, force: bool = False) -> None:
    """Write `out`: the checkpoint `weights` without the units whose memory is longer than `longest_s` seconds."""
    if out.suffix != ".safetensors":
        raise UserError(f"{out} must end in .safetensors")
    if not longest_s > 0:
        raise UserError(f"--longest {longest_s} must be more than 0 seconds")
    check_outputs([Output(out, "safetensors")], [weights], force)
    checkpoint = load(weights)
    backend = rmvpe.load(checkpoint).backend
    valid = Hybrid(data, "valid")
    shown = [list(spectrograms(valid, snr_db, checkpoint.config)) for snr_db in (CLEAN, 0.0)]
    if not all(shown):
        raise UserError(f"{data}/valid has no voice with music: make it with prepare_synthetic.py --music")
    clean, loud = (measure_units(backend, checkpoint, log_mels) for log_mels in shown)
    units = UnitStatistics(np.maximum(clean.memory_frames, loud.memory_frames), (clean.mean + loud.mean) / 2)
    saturated = units.memory_frames > longest_s / frames_to_seconds(1, checkpoint.config.mel)
    pruned = fitted(prune(checkpoint, units, saturated), valid)
    save(out, pruned)
    print(f"{out}: {saturated[0].sum()} units pruned forward, {saturated[1].sum()} backward")
    if pruned.threshold is None:
        print("it has no voicing threshold: the validation split has too few voiced or unvoiced frames to find one")


def fitted(checkpoint: Checkpoint, valid: Hybrid) -> Checkpoint:
    """The checkpoint with the voicing threshold and the calibration that fit it, not those of before it was pruned."""
    own = {key: text for key, text in checkpoint.metadata.items() if key not in NAMES}
    estimator = rmvpe.load(Checkpoint(checkpoint.config, checkpoint.tensors, own), config=UNCALIBRATED)
    rows = predictions(estimator, valid, (CLEAN, 0.0), evenly_spaced(len(valid), FILES))
    known = updated({}, rows, UNCALIBRATED)
    return Checkpoint(checkpoint.config, checkpoint.tensors, own | known)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("weights", help="a safetensors file of a run")
    parser.add_argument("--data", default="Hybrid", help="folder with valid/ (default: %(default)s)")
    parser.add_argument("--out", required=True, type=Path, help="safetensors file to write")
    parser.add_argument("--force", action="store_true", help="replace OUT even if rmvpe has not written it")
    parser.add_argument(
        "--longest", type=float, default=0.5, metavar="S", help="longest memory to keep (default: %(default)s s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the pruned weights."""
    prune_file(arguments.weights, arguments.data, arguments.out, arguments.longest, arguments.force)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and call."""
    return run_program("prune_gru", Command(__doc__ or "", add_arguments, run), argv)


if __name__ == "__main__":
    sys.exit(main())
