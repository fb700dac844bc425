"""Accuracy of weights on a Hybrid split at chosen voice-to-music ratios, with the annotation as reference.

python scripts/evaluate.py --data Hybrid --split test --weights small --backend torch --snr clean,20,10,5,0,-5
"""

import argparse
import json
from pathlib import Path

import rmvpe
from rmvpe.data.sources import Hybrid
from rmvpe.errors import UserError, cli_errors
from rmvpe.evaluate import CLEAN, evaluate
from rmvpe.files import atomic_path

COLUMNS = {"RPA": 100, "RCA": 100, "OA": 100, "VR": 100, "VFA": 100, "octave": 100, "lag": 1}  # shown times this


def ratios(text: str) -> list[float]:
    """Voice-to-music ratios in dB from "clean,20,0"."""
    try:
        return [CLEAN if part.strip() == "clean" else float(part) for part in text.split(",")]
    except ValueError as error:
        raise UserError(f"--snr {text!r} must be numbers in dB or clean, joined by commas") from error


def markdown(rows: dict[str, dict[str, float]]) -> str:
    """The scores as a Markdown table, in percent; lag in frames of 10 ms."""
    lines = ["| voice to music | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, scores in rows.items():
        cells = [
            f"{scores[key] * times:.0f}" if key == "lag" else f"{scores[key] * times:.2f}"
            for key, times in COLUMNS.items()
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="Hybrid", help="folder with the splits (default: %(default)s)")
    parser.add_argument("--split", default="test", help="default: %(default)s")
    parser.add_argument("--weights", default="small", help="bundled name or file (default: %(default)s)")
    parser.add_argument("--backend", default="auto", help="torch, jax or auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--snr", default="clean,20,10,5,0,-5", help="dB, or clean (default: %(default)s)")
    parser.add_argument("--threshold", type=float, help="of voicing; default: the weights' own")
    parser.add_argument("--json", type=Path, help="write the scores here as well")
    arguments = parser.parse_args()
    with cli_errors("evaluate"):
        estimator = rmvpe.load(arguments.weights, arguments.backend, arguments.device)
        threshold = estimator.config.threshold if arguments.threshold is None else arguments.threshold
        source = Hybrid(arguments.data, arguments.split)
        rows = evaluate(
            estimator.salience,
            source,
            estimator.model,
            threshold=threshold,
            snr_db=ratios(arguments.snr),
            progress=True,
        )
        name = f"{arguments.weights} by {estimator.backend.name}"
        print(f"{name}: {len(source)} files of {arguments.split}, threshold {threshold}")
        print(markdown(rows))
        if arguments.json:
            with atomic_path(arguments.json) as path:
                path.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
