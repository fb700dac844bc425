"""Make the Hybrid folder: sung, spoken and synthetic items with exactly known f0, mixed with nothing yet.

    python scripts/prepare_synthetic.py --voices voices --music music --out Hybrid --workers 3

What is made, and which speakers and music packages are kept out of training, is described in rmvpe/data/synth.py.
OUT/manifest.json lists the sources of every item; their licences go with the sound files made from them.
"""

import argparse
import functools
import json
import math
import multiprocessing
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rmvpe.data import synth


def main(arguments: list[str] | None = None) -> int:
    """Parse, plan, render; returns the exit code, 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voices", type=Path, required=True, help="one sub-folder of dry clips per speaker")
    parser.add_argument("--music", type=Path, required=True, help="one sub-folder of excerpts per package")
    parser.add_argument("--out", type=Path, default=Path("Hybrid"))
    parser.add_argument("--train-hours", type=float, default=4.0)
    parser.add_argument("--valid-minutes", type=float, default=25.0)
    parser.add_argument("--test-minutes", type=float, default=25.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes; the result is the same for any number")
    parser.add_argument("--resume", action="store_true", help="go on with a folder this script made before")
    options = parser.parse_args(arguments)
    try:
        prepare(options)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        sys.stderr.write(f"prepare_synthetic: {error}\n")
        return 2
    return 0


def prepare(options: argparse.Namespace) -> None:
    """Write the manifest, then every item that is not there yet."""
    sources = synth.split_sources(options.voices, options.music)
    minutes = {"valid": options.valid_minutes, "test": options.test_minutes, "train": 60 * options.train_hours}
    counts = {split: math.ceil(60 * amount * 2 / sum(synth.SECONDS)) for split, amount in minutes.items()}
    plans = [
        synth.plan_item(sources[split], split, index, options.seed)
        for split, count in counts.items()
        for index in range(count)
    ]
    _claim_folder(options.out, _manifest(plans, options), options.resume)
    missing = [plan for plan in plans if not (options.out / plan.split / f"{plan.name}.wav").is_file()]
    cache = options.out / ".analysis"
    make = functools.partial(synth.make_item, voices=options.voices, music=options.music, cache=cache, out=options.out)
    # spawn: a forked child would inherit whatever threads the libraries of this process have started.
    with multiprocessing.get_context("spawn").Pool(max(options.workers, 1)) as pool:
        for _ in tqdm(pool.imap_unordered(make, missing), total=len(missing), unit="item"):
            pass
    shutil.rmtree(cache, ignore_errors=True)


def _manifest(plans: list[synth.Plan], options: argparse.Namespace) -> dict[str, Any]:
    git = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return {
        "made_by": "scripts/prepare_synthetic.py",
        "seed": options.seed,
        "git_commit": git.stdout.strip() if git.returncode == 0 else None,
        "licences": f"SOURCES.md beside {options.voices.name}/ and {options.music.name}/; items stay under them",
        "held_out_voices": synth.HELD_OUT_VOICES,
        "held_out_music": synth.HELD_OUT_MUSIC,
        "items": {f"{plan.split}/{plan.name}": {"voices": plan.clips, "music": plan.music} for plan in plans},
    }


def _claim_folder(out: Path, manifest: dict[str, Any], resume: bool) -> None:
    path = out / "manifest.json"
    if out.is_dir() and any(out.iterdir()):
        if not path.is_file():
            raise ValueError(f"{out} holds files this script did not make: give an empty or new folder as --out")
        if not resume:
            raise ValueError(f"{out} was made before: add --resume to complete it, or give another --out")
        made = json.loads(path.read_text(encoding="utf-8"))["items"]
        if any(json.dumps(made.get(name, item)) != json.dumps(item) for name, item in manifest["items"].items()):
            raise ValueError(f"{out} was made with another seed or other sources: give those, or another --out")
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(manifest, indent=1), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
