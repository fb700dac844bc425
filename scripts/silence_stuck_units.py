"""Silence the GRU units whose update gate stays shut, so that no answer depends on what was minutes ago.

    python scripts/silence_stuck_units.py runs/small/last.safetensors --data Hybrid --out silenced.safetensors

Units that remember for longer than --longest seconds, clean or in music as loud as the voice, over 20 files of the
validation split, are replaced by their mean (`rmvpe.checkpoint.prune_gru`). Train on from the result (--initial) to
heal what moved.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import rmvpe
from rmvpe.checkpoint.prune_gru import Units, observe, silence
from rmvpe.checkpoint.store import load, save
from rmvpe.config import ModelConfig
from rmvpe.data.readers.hybrid import Hybrid
from rmvpe.errors import UserError, cli_errors
from rmvpe.evaluation.evaluate import CLEAN, evenly_spaced, mixed
from rmvpe.framing import frames_to_seconds
from rmvpe.mel import log_mel

FILES = 20


def spectrograms(data: Hybrid, snr_db: float, model: ModelConfig) -> Iterator[np.ndarray]:
    """Log-mel [T, n_mels] of files spread over the data, as mixes at one ratio, cut to the U-Net's stride."""
    for index in evenly_spaced(len(data), FILES):
        audio = mixed(data[index], snr_db, model)
        if audio is not None:
            shown = log_mel(audio.astype(np.float32), model.mel)
            if len(shown) >= model.time_multiple:
                yield shown[: len(shown) // model.time_multiple * model.time_multiple]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", help="a safetensors file of a run")
    parser.add_argument("--data", default="Hybrid", help="folder with valid/ (default: %(default)s)")
    parser.add_argument("--out", required=True, type=Path, help="safetensors file to write")
    parser.add_argument(
        "--longest", type=float, default=0.5, metavar="S", help="memory to keep (default: %(default)s s)"
    )
    arguments = parser.parse_args()
    with cli_errors("silence_stuck_units"):
        if arguments.out.suffix != ".safetensors":
            raise UserError(f"{arguments.out} must end in .safetensors")
        if not arguments.longest > 0:
            raise UserError(f"--longest {arguments.longest} must be more than 0 seconds")
        checkpoint = load(arguments.weights)
        network = rmvpe.load(checkpoint).backend
        valid = Hybrid(arguments.data, "valid")
        shown = [list(spectrograms(valid, snr, checkpoint.config)) for snr in (CLEAN, 0.0)]
        if not all(shown):
            raise UserError(
                f"{arguments.data}/valid holds no voice with music: make it by prepare_synthetic.py --music"
            )
        clean, loud = (observe(network, checkpoint, log_mels) for log_mels in shown)
        units = Units(np.maximum(clean.memory_frames, loud.memory_frames), (clean.mean + loud.mean) / 2)
        stuck = units.memory_frames > arguments.longest / frames_to_seconds(1, checkpoint.config.mel)
        save(arguments.out, silence(checkpoint, units, stuck))
        print(f"{arguments.out}: {stuck[0].sum()} units silenced forward, {stuck[1].sum()} backward")


if __name__ == "__main__":
    main()
