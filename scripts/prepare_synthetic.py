"""Make the Hybrid folder: sung, spoken and synthetic items with exactly known f0, mixed with nothing yet.

    python scripts/prepare_synthetic.py --voices voices --music music --out Hybrid --workers 3

What is made, and which speakers and music packages are kept out of training, is described in
rmvpe/data/synthesis/dataset.py. OUT/manifest.json lists the sources of every item; their licences go with the sound
files made from them.
"""

import argparse
import functools
import json
import math
import multiprocessing
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rmvpe.data.synthesis import dataset, world_voice
from rmvpe.errors import UserError, cli_errors
from rmvpe.files import atomic_path


def main(arguments: list[str] | None = None) -> None:
    """Parse, plan, render; exits with code 2 for bad input."""
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
    with cli_errors("prepare_synthetic"):
        prepare(options)


def prepare(options: argparse.Namespace) -> None:
    """Write the manifest, then every item that is not there yet. Raises UserError for what cannot be used."""
    _check_numbers(options)
    sources = dataset.split_sources(options.voices, options.music)
    minutes = {"valid": options.valid_minutes, "test": options.test_minutes, "train": 60 * options.train_hours}
    counts = {split: math.ceil(60 * amount * 2 / sum(dataset.SECONDS)) for split, amount in minutes.items()}
    plans = [
        dataset.plan_item(sources[split], split, index, options.seed)
        for split, count in counts.items()
        for index in range(count)
    ]
    manifest = _manifest(plans, options)
    _check_folder(options.out, manifest, options.resume)
    world_voice.world()  # a missing pyworld is told here, before anything is written
    with atomic_path(options.out / "manifest.json") as path:
        path.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    missing = [plan for plan in plans if not (options.out / plan.split / f"{plan.name}.wav").is_file()]
    cache = options.out / ".analysis"
    make = functools.partial(
        dataset.make_item, voices=options.voices, music=options.music, cache=cache, out=options.out
    )
    # spawn: a forked child would inherit whatever threads the libraries of this process have started.
    with multiprocessing.get_context("spawn").Pool(max(options.workers, 1)) as pool:
        for _ in tqdm(pool.imap_unordered(make, missing), total=len(missing), unit="item"):
            pass
    shutil.rmtree(cache, ignore_errors=True)


def _check_numbers(options: argparse.Namespace) -> None:
    for name in ("train_hours", "valid_minutes", "test_minutes", "seed"):
        if not 0 <= getattr(options, name) < math.inf:
            raise UserError(f"--{name.replace('_', '-')} {getattr(options, name)} must be a number of 0 or more")


def _manifest(plans: list[dataset.Plan], options: argparse.Namespace) -> dict[str, Any]:
    git = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return {
        "made_by": "scripts/prepare_synthetic.py",
        "seed": options.seed,
        "git_commit": git.stdout.strip() if git.returncode == 0 else None,
        "licences": f"SOURCES.md beside {options.voices.name}/ and {options.music.name}/; items stay under them",
        "held_out_voices": dataset.HELD_OUT_VOICES,
        "held_out_music": dataset.HELD_OUT_MUSIC,
        "items": {f"{plan.split}/{plan.name}": {"voices": plan.clips, "music": plan.music} for plan in plans},
    }


def _check_folder(out: Path, manifest: dict[str, Any], resume: bool) -> None:
    path = out / "manifest.json"
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: give a folder as --out")
    if out.is_dir() and any(out.iterdir()):
        if not path.is_file():
            raise UserError(f"{out} holds files this script did not make: give an empty or new folder as --out")
        if not resume:
            raise UserError(f"{out} was made before: add --resume to complete it, or give another --out")
        made = _made_items(path)
        if any(json.dumps(made.get(name, item)) != json.dumps(item) for name, item in manifest["items"].items()):
            raise UserError(f"{out} was made with another seed or other sources: give those, or another --out")


def _made_items(path: Path) -> dict[str, Any]:
    try:
        made: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["items"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a manifest of this script: give another --out") from error
    return made


if __name__ == "__main__":
    main()
