"""Make the bundled weights of a finished run: fp16, with the voicing threshold and calibration that suit them best.

    python scripts/bundle_weights.py runs/small/best.safetensors --data Hybrid --range-hz 50-1500

The threshold is the one with the highest overall accuracy on the *validation* split, averaged over clean voice and
mixes from 20 to -5 dB of up to 40 files spread over the split, among those whose voicing false alarm is at most 5 %
clean and at 0 dB: synthetic voices are harder to hear inside music than real ones, and accuracy alone would set it low.
The aim is 10 % at 0 dB in music at large, where false alarms were seen to be twice those in the music of the split. The
confidence is calibrated (`rmvpe.calibration`) on the same files and on their music alone.
Writes rmvpe/weights/NAME-<first 8 digits of its sha256>.safetensors and removes older ones.
"""

import argparse
import dataclasses
import hashlib
import itertools
import tempfile
from pathlib import Path

import numpy as np

import rmvpe
from rmvpe.calibration import calibrated
from rmvpe.checkpoint.store import Checkpoint, load, save
from rmvpe.config import DecodeConfig
from rmvpe.data.readers.hybrid import Hybrid
from rmvpe.errors import cli_errors
from rmvpe.evaluation.calibration import fit_calibration
from rmvpe.evaluation.evaluate import CLEAN, MUSIC, best_threshold, correct_frames, evenly_spaced, predictions, snr_name

WEIGHTS = Path(__file__).resolve().parents[1] / "rmvpe" / "weights"
RATIOS_DB = (CLEAN, 20.0, 10.0, 5.0, 0.0, -5.0)
MOST_FALSE_ALARMS = {snr_name(CLEAN): 0.05, snr_name(0.0): 0.05}
CANDIDATES = tuple(np.round(np.arange(0.02, 0.71, 0.01), 2).tolist())
FILES = 40
LICENCE = "Apache-2.0"


def with_recommendations(checkpoint: Checkpoint, data: str) -> Checkpoint:
    """The checkpoint with its recommended threshold, and the calibration that this is on, in the metadata."""
    estimator = rmvpe.load(checkpoint, config=DecodeConfig())
    valid = Hybrid(data, "valid")
    rows = predictions(estimator, valid, (*RATIOS_DB, MUSIC), evenly_spaced(len(valid), FILES), progress=True)
    confidence, right = (np.concatenate(parts) for parts in zip(*map(correct_frames, itertools.chain(*rows.values()))))
    calibration = fit_calibration(confidence, right)
    mixes = {ratio: files for ratio, files in rows.items() if ratio != snr_name(MUSIC)}
    threshold = best_threshold(mixes, CANDIDATES, estimator.config, MOST_FALSE_ALARMS)
    known = {
        "threshold": f"{float(calibrated(np.array(threshold), calibration)):.2f}",
        "calibration": ",".join(f"{number:.4f}" for number in calibration),
    }
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", help="a safetensors file of a run: best.safetensors or last.safetensors")
    parser.add_argument("--data", default="Hybrid", help="folder with valid/ (default: %(default)s)")
    parser.add_argument("--range-hz", required=True, metavar="LOW-HIGH", help="where the weights are trustworthy")
    parser.add_argument("--licence", default=LICENCE, help="of the weights (default: %(default)s)")
    arguments = parser.parse_args()
    with cli_errors("bundle_weights"):
        checkpoint = with_recommendations(load(arguments.weights), arguments.data)
        claims = {"range_hz": arguments.range_hz, "licence": arguments.licence}
        checkpoint = dataclasses.replace(checkpoint, metadata=checkpoint.metadata | claims)
        WEIGHTS.mkdir(exist_ok=True)
        path = bundle(checkpoint, WEIGHTS)
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, threshold {checkpoint.metadata['threshold']}")


if __name__ == "__main__":
    main()
