"""Fine-tune the bundled weights on your own voice, in Python; docs/fine-tuning.md does it with commands.

    python examples/fine_tune.py                                            # the bundled recording, 3 updates: a trial
    python examples/fine_tune.py my-voice --music my-music --hours 0.25 --steps 200

`my-voice` holds dry recordings without labels. Writes OUT/data (re-synthesised, so that f0 is exact) and OUT/run with
best.safetensors. Needs `pip install '.[torch,train,synth,eval]'`.
"""

import argparse
import dataclasses
import runpy
from pathlib import Path

import numpy as np
import soundfile

import rmvpe
from rmvpe.checkpoint.store import load
from rmvpe.data.prepare import synthetic
from rmvpe.data.readers.hybrid import Hybrid
from rmvpe.evaluation.evaluate import evaluate
from rmvpe.training.loop import fit
from rmvpe_torch.train import TorchTrainer

HERE = Path(__file__).resolve().parent


def takes(folder: Path) -> Path:
    """The bundled recording in six pieces, as if they were six recordings."""
    folder.mkdir(parents=True, exist_ok=True)
    audio, rate = soundfile.read(HERE / "demo.flac")
    for number, part in enumerate(np.array_split(audio, 6)):
        soundfile.write(folder / f"take-{number}.wav", part, rate)
    return folder


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Make the data, train, print the accuracy before and after; returns it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("voices", nargs="?", type=Path)
    parser.add_argument("--music", type=Path, help="folder of music without singing")
    parser.add_argument("--hours", type=float, default=0.01, help="of data to make (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=3, help="updates (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("fine-tuned"), help="folder (default: %(default)s)")
    arguments = parser.parse_args(argv)

    data, minutes = arguments.out / "data", 60 * arguments.hours / 5
    voices = arguments.voices or takes(arguments.out / "takes")
    amounts = {"train_hours": arguments.hours, "valid_minutes": minutes, "test_minutes": minutes}
    synthetic.prepare(voices, arguments.music, data, **amounts, log=print)

    card = runpy.run_path(str(HERE.parent / "configs" / "finetune.py"))["CONFIG"]
    batch_size = min(card.batch_size, len(Hybrid(data, "train")))
    config = dataclasses.replace(card, data=str(data), iterations=arguments.steps, batch_size=batch_size)
    initial = load("small")
    trainer = TorchTrainer(config, initial=initial)
    run = arguments.out / "run"
    run.mkdir(parents=True, exist_ok=True)
    fit(trainer, config, Hybrid(data, "train"), Hybrid(data, "valid"), run, validate_first=True, initial=initial)

    scores = {}
    for name, weights in (("before", "small"), ("after", str(run / "best.safetensors"))):
        scores[name] = evaluate(rmvpe.load(weights), Hybrid(data, "test"), snr_db=(np.inf,)).pooled["clean"]["OA"]
        print(f"{name}: {100 * scores[name]:.1f} % of the frames right, voicing included (OA, no music)")
    return scores


# The data set is made by several processes, which import this file
if __name__ == "__main__":
    main()
