"""Make the bundled weights of a finished run: fp16, with the voicing threshold that suits them best.

    python scripts/bundle_weights.py runs/small/best.safetensors --data Hybrid --range-hz 50-1500

The threshold is the one with the highest overall accuracy on the *validation* split, averaged over clean voice and
mixes from 20 to -5 dB of up to 40 files spread over the split, among those whose voicing false alarm is at most 5 %
clean and 10 % at 0 dB: synthetic voices are harder to hear inside music than real ones, and accuracy alone would set
it low.
Writes rmvpe/weights/NAME-<first 8 digits of its sha256>.safetensors and removes older ones.
"""

import argparse
import dataclasses
import hashlib
import tempfile
from pathlib import Path

import numpy as np

import rmvpe
from rmvpe.checkpoint import Checkpoint, load, save
from rmvpe.data.sources import Hybrid
from rmvpe.errors import cli_errors
from rmvpe.evaluate import CLEAN, best_threshold, readings, snr_name, spread

WEIGHTS = Path(__file__).resolve().parents[1] / "rmvpe" / "weights"
RATIOS_DB = (CLEAN, 20.0, 10.0, 5.0, 0.0, -5.0)
MOST_FALSE_ALARMS = {snr_name(CLEAN): 0.05, snr_name(0.0): 0.10}
CANDIDATES = tuple(np.round(np.arange(0.02, 0.71, 0.01), 2).tolist())
FILES = 40
LICENCE = "Apache-2.0"


def with_threshold(checkpoint: Checkpoint, data: str) -> Checkpoint:
    """The checkpoint with its recommended threshold in the metadata."""
    estimator = rmvpe.load(checkpoint)
    valid = Hybrid(data, "valid")
    rows = readings(estimator, valid, RATIOS_DB, spread(len(valid), FILES), progress=True)
    threshold = best_threshold(rows, CANDIDATES, estimator.config, MOST_FALSE_ALARMS)
    return dataclasses.replace(checkpoint, metadata=checkpoint.metadata | {"threshold": f"{threshold:g}"})


def bundle(checkpoint: Checkpoint, folder: Path) -> Path:
    """Write the fp16 file under its hash, then remove older ones of the same network."""
    name = checkpoint.config.name
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        draft = Path(temporary) / "draft.safetensors"
        save(draft, checkpoint, "float16")
        digest = hashlib.sha256(draft.read_bytes()).hexdigest()
        target = folder / f"{name}-{digest[:8]}.safetensors"
        draft.replace(target)
    for other in folder.glob(f"{name}-*.safetensors"):
        if other != target:
            other.unlink()
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", help="a safetensors file of a run: best.safetensors or last.safetensors")
    parser.add_argument("--data", default="Hybrid", help="folder with valid/ (default: %(default)s)")
    parser.add_argument("--range-hz", required=True, metavar="LOW-HIGH", help="where the weights are trustworthy")
    parser.add_argument("--licence", default=LICENCE, help="of the weights (default: %(default)s)")
    arguments = parser.parse_args()
    with cli_errors("bundle_weights"):
        checkpoint = with_threshold(load(arguments.weights), arguments.data)
        claims = {"range_hz": arguments.range_hz, "licence": arguments.licence}
        checkpoint = dataclasses.replace(checkpoint, metadata=checkpoint.metadata | claims)
        WEIGHTS.mkdir(exist_ok=True)
        path = bundle(checkpoint, WEIGHTS)
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, threshold {checkpoint.metadata['threshold']}")


if __name__ == "__main__":
    main()
