"""The synthetic Hybrid folder: every item of `rmvpe.data.synthesis.dataset`, and a manifest of their sources."""

import functools
import json
import math
import multiprocessing
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rmvpe.data.prepare.output_folder import MANIFEST, DataFolder
from rmvpe.data.synthesis import dataset, world_voice
from rmvpe.errors import UserError
from rmvpe.files import write_text

MADE_BY = "scripts/prepare_synthetic.py"


def prepare(
    voices: Path,
    music: Path | None,
    out: Path,
    *,
    train_hours: float,
    valid_minutes: float,
    test_minutes: float,
    seed: int = 0,
    kind: str | None = None,
    workers: int = 1,
    resume: bool = False,
    log: Callable[[str], None] = lambda line: None,
    progress: bool = True,
) -> None:
    """Write `out`/manifest.json, then every item that is not there yet.

    voices, music: folders with one sub-folder per speaker and per music package, or with the sound files; music may be
    None. kind: one of `dataset.KINDS`, for items of this kind alone; None: those of the splits' recipes. workers:
    processes; the result is the same for any number. resume: complete a folder that this function has made before.
    log: gets a sentence on each thing skipped and on how the sources were divided. progress: a bar on
    stderr. Raises UserError for what cannot be used.
    """
    amounts = {"train_hours": train_hours, "valid_minutes": valid_minutes, "test_minutes": test_minutes, "seed": seed}
    for name, value in amounts.items():
        if not 0 <= value < math.inf:
            raise UserError(f"--{name.replace('_', '-')} {value} must be a number of 0 or more")
    minutes = {"valid": valid_minutes, "test": test_minutes, "train": 60 * train_hours}
    sources = dataset.split_sources(voices, music)
    plans = plan_items(sources.of_split, minutes, seed, kind)
    folders = " and ".join(f"{folder.name}/" for folder in (voices, music) if folder is not None)
    manifest = {
        "made_by": MADE_BY,
        "seed": seed,
        **({} if kind is None else {"kind": kind}),
        "git_commit": git_commit(),
        "licences": f"those of {folders} (SOURCES.md beside them, if there is one); items stay under them",
        "remarks": sources.remarks,
        "held_out_voices": dataset.HELD_OUT_VOICES,
        "held_out_music": dataset.HELD_OUT_MUSIC,
        "items": {f"{plan.split}/{plan.name}": {"voices": plan.clips, "music": plan.music} for plan in plans},
    }
    check_folder(out, manifest, resume)
    for remark in sources.remarks:
        log(remark)
    world_voice.world()  # raises for a missing pyworld before anything is written
    write_text(out / MANIFEST, json.dumps(manifest, indent=1))
    missing = [plan for plan in plans if not (out / plan.split / f"{plan.name}.wav").is_file()]
    make_items(missing, voices, music, out, workers, progress)


def plan_items(
    sources: dict[str, dataset.Sources], minutes: dict[str, float], seed: int, kind: str | None = None
) -> list[dataset.Plan]:
    """What every item is made from: as many of each split as fill its minutes on average.

    Raises UserError for a split that is asked for and has no voice, or no music where others have some.
    """
    counts = {split: math.ceil(60 * amount * 2 / sum(dataset.SECONDS)) for split, amount in minutes.items()}
    with_music = any(found.music for found in sources.values())
    for split in (split for split, count in counts.items() if count):
        if not sources[split].voices or (with_music and not sources[split].music):
            lacking = "music" if sources[split].voices else "voice"
            raise UserError(
                f"the {split} split has no {lacking}: its folders are listed in rmvpe/data/synthesis/dataset.py"
            )
    return [
        dataset.plan_item(sources[split], split, index, seed, kind=kind)
        for split, count in counts.items()
        for index in range(count)
    ]


def make_items(
    plans: Sequence[dataset.Plan], voices: Path, music: Path | None, out: Path, workers: int, progress: bool = True
) -> None:
    """Render the items in `workers` processes, with a bar on stderr if `progress`."""
    from tqdm import tqdm

    cache = out / ".analysis"
    make = functools.partial(dataset.make_item, voices=voices, music=music, cache=cache, out=out)
    # spawn: a forked child would inherit whatever threads the libraries of this process have started
    with multiprocessing.get_context("spawn").Pool(max(workers, 1)) as pool:
        for _ in tqdm(pool.imap_unordered(make, plans), total=len(plans), unit="item", disable=not progress):
            pass
    shutil.rmtree(cache, ignore_errors=True)


def git_commit() -> str | None:
    """The commit of this code; None outside a git checkout."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        git = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:  # git is not installed
        return None
    return git.stdout.strip() if git.returncode == 0 else None


def check_folder(out: Path, manifest: dict[str, Any], resume: bool) -> None:
    """Raise UserError unless `out` is empty, or with `resume` was made from the same sources and seed."""
    earlier = DataFolder(out, MADE_BY).manifest()
    if earlier is None:
        return
    if not resume:
        raise UserError(f"{out} was made before: add --resume to complete it, or give another --out")
    made = earlier.get("items", {})
    if any(json.dumps(made.get(name, item)) != json.dumps(item) for name, item in manifest["items"].items()):
        raise UserError(f"{out} was made with another seed or other sources: give those, or another --out")
