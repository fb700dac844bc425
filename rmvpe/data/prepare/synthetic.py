"""The synthetic Hybrid folder: every item of `rmvpe.data.synthesis.dataset`, and a manifest of their sources."""

import functools
import json
import math
import multiprocessing
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rmvpe.data.synthesis import dataset, world_voice
from rmvpe.errors import UserError
from rmvpe.files import atomic_path

MADE_BY = "scripts/prepare_synthetic.py"


def prepare(
    voices: Path,
    music: Path,
    out: Path,
    *,
    train_hours: float,
    valid_minutes: float,
    test_minutes: float,
    seed: int = 0,
    workers: int = 1,
    resume: bool = False,
) -> None:
    """Write `out`/manifest.json, then every item that is not there yet.

    voices, music: folders with one sub-folder per speaker and per music package. workers: processes; the result is the
    same for any number. resume: complete a folder that this function has made before. Raises UserError for what cannot
    be used.
    """
    amounts = {"train_hours": train_hours, "valid_minutes": valid_minutes, "test_minutes": test_minutes, "seed": seed}
    for name, value in amounts.items():
        if not 0 <= value < math.inf:
            raise UserError(f"--{name.replace('_', '-')} {value} must be a number of 0 or more")
    minutes = {"valid": valid_minutes, "test": test_minutes, "train": 60 * train_hours}
    plans = plan_items(voices, music, minutes, seed)
    manifest = {
        "made_by": MADE_BY,
        "seed": seed,
        "git_commit": git_commit(),
        "licences": f"SOURCES.md beside {voices.name}/ and {music.name}/; items stay under them",
        "held_out_voices": dataset.HELD_OUT_VOICES,
        "held_out_music": dataset.HELD_OUT_MUSIC,
        "items": {f"{plan.split}/{plan.name}": {"voices": plan.clips, "music": plan.music} for plan in plans},
    }
    check_folder(out, manifest, resume)
    world_voice.world()  # raises for a missing pyworld before anything is written
    with atomic_path(out / "manifest.json") as path:
        path.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    missing = [plan for plan in plans if not (out / plan.split / f"{plan.name}.wav").is_file()]
    make_items(missing, voices, music, out, workers)


def plan_items(voices: Path, music: Path, minutes: dict[str, float], seed: int) -> list[dataset.Plan]:
    """What every item is made from: as many of each split as fill its minutes on average."""
    sources = dataset.split_sources(voices, music)
    counts = {split: math.ceil(60 * amount * 2 / sum(dataset.SECONDS)) for split, amount in minutes.items()}
    return [
        dataset.plan_item(sources[split], split, index, seed)
        for split, count in counts.items()
        for index in range(count)
    ]


def make_items(plans: Sequence[dataset.Plan], voices: Path, music: Path, out: Path, workers: int) -> None:
    """Render the items in `workers` processes, with a bar on stderr."""
    from tqdm import tqdm

    cache = out / ".analysis"
    make = functools.partial(dataset.make_item, voices=voices, music=music, cache=cache, out=out)
    # spawn: a forked child would inherit whatever threads the libraries of this process have started
    with multiprocessing.get_context("spawn").Pool(max(workers, 1)) as pool:
        for _ in tqdm(pool.imap_unordered(make, plans), total=len(plans), unit="item"):
            pass
    shutil.rmtree(cache, ignore_errors=True)


def git_commit() -> str | None:
    """The commit of this code; None outside a git checkout."""
    command = ["git", "rev-parse", "HEAD"]
    git = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return git.stdout.strip() if git.returncode == 0 else None


def check_folder(out: Path, manifest: dict[str, Any], resume: bool) -> None:
    """Raise UserError unless `out` is empty, or with `resume` was made from the same sources and seed."""
    path = out / "manifest.json"
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: give a folder as --out")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not path.is_file():
        raise UserError(f"{out} holds files this script did not make: give an empty or new folder as --out")
    if not resume:
        raise UserError(f"{out} was made before: add --resume to complete it, or give another --out")
    made = made_items(path)
    if any(json.dumps(made.get(name, item)) != json.dumps(item) for name, item in manifest["items"].items()):
        raise UserError(f"{out} was made with another seed or other sources: give those, or another --out")


def made_items(path: Path) -> dict[str, Any]:
    """The items that a manifest lists. Raises UserError if it is not one of this function."""
    try:
        made: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["items"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a manifest of this script: give another --out") from error
    return made
