"""Make the bundled weights from a finished run: fp16, with the best voicing threshold and calibration for them.

    python scripts/bundle_weights.py runs/small/best.safetensors --data Hybrid --range-hz 50-1500

The threshold is the one with the highest overall accuracy on the *validation* split: the mean over the voice alone and
mixes from 20 to -5 dB of up to 40 evenly spaced files. Only thresholds with a voicing false alarm of at most 5 %, for
the voice alone and at 0 dB, are considered: a synthetic voice is harder to detect in music than a real one, so that
accuracy alone would set the threshold too low. The aim is 10 % at 0 dB in other music, where we measured twice the
false alarms of the split. The confidence is calibrated (`rmvpe.calibration`) on the same files and on their music.
Writes rmvpe/weights/NAME-<first 8 digits of its sha256>.safetensors and removes older ones.
"""

import argparse
import dataclasses
import hashlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import rmvpe
from rmvpe.checkpoint.store import Checkpoint, load, save
from rmvpe.config import USUAL
from rmvpe.data.readers.hybrid import Hybrid
from rmvpe.evaluation.evaluate import CLEAN, MUSIC, evenly_spaced, predictions
from rmvpe.evaluation.recommend import recommendations
from rmvpe.program import Command, run_program

WEIGHTS = Path(__file__).resolve().parents[1] / "rmvpe" / "weights"
RATIOS_DB = (CLEAN, 20.0, 10.0, 5.0, 0.0, -5.0)
FILES = 40
LICENCE = "Apache-2.0"


def with_recommendations(checkpoint: Checkpoint, data: str) -> Checkpoint:
    """The checkpoint with the calibration and the recommended threshold, on the calibrated scale, in the metadata."""
    estimator = rmvpe.load(checkpoint, config=USUAL)  # not as earlier metadata recommend
    valid = Hybrid(data, "valid")
    rows = predictions(estimator, valid, (*RATIOS_DB, MUSIC), evenly_spaced(len(valid), FILES), progress=True)
    known = recommendations(rows, estimator.config)
    return dataclasses.replace(checkpoint, metadata=checkpoint.metadata | known)


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


def bundle_run(weights: str, data: str, claims: dict[str, str]) -> None:
    """Bundle the file `weights` with a threshold and calibration from `data`, and `claims` in the metadata."""
    checkpoint = with_recommendations(load(weights), data)
    checkpoint = dataclasses.replace(checkpoint, metadata=checkpoint.metadata | claims)
    WEIGHTS.mkdir(exist_ok=True)
    path = bundle(checkpoint, WEIGHTS)
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, threshold {checkpoint.metadata['threshold']}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("weights", help="a safetensors file of a run: best.safetensors or last.safetensors")
    parser.add_argument("--data", default="Hybrid", help="folder with valid/ (default: %(default)s)")
    parser.add_argument("--range-hz", required=True, metavar="LOW-HIGH", help="range of f0 with reliable results")
    parser.add_argument("--licence", default=LICENCE, help="of the weights (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Write the bundled file."""
    claims = {"range_hz": arguments.range_hz, "licence": arguments.licence}
    bundle_run(arguments.weights, arguments.data, claims)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and call."""
    return run_program("bundle_weights", Command(__doc__ or "", add_arguments, run), argv)


if __name__ == "__main__":
    sys.exit(main())
