"""Instrumental music from SoundFonts: folders of excerpts, beside those of recorded music, in which nobody sings."""

import hashlib
import json
import math
import multiprocessing
from collections.abc import Sequence
from pathlib import Path

from rmvpe.data.prepare.output_folder import MANIFEST, DataFolder
from rmvpe.data.synthesis.soundfont import EXCERPT_S, PER_PIECE, Piece, check_soundfont, make_piece
from rmvpe.errors import UserError
from rmvpe.files import write_text

MADE_BY = "scripts/prepare_instruments.py"


def prepare(
    soundfonts: Sequence[Path],
    out: Path,
    *,
    hours: float = 1.0,
    seed: int = 0,
    workers: int = 1,
    progress: bool = True,
) -> None:
    """Write what is missing of each SoundFont's folder in `out`: `hours` of excerpts of 20 s.

    workers: processes; the result is the same for any number. progress: a bar on stderr. Raises UserError
    for what cannot be used.
    """
    from tqdm import tqdm

    if not 0 < hours < math.inf or seed < 0:
        raise UserError(f"--hours {hours} must be above 0 and --seed {seed} not below")
    pieces = [piece for soundfont in soundfonts for piece in plan_pieces(soundfont, out, hours, seed)]
    missing = [piece for piece in pieces if not all(path.is_file() for path in piece.paths)]
    with multiprocessing.get_context("spawn").Pool(max(workers, 1)) as pool:
        for _ in tqdm(pool.imap_unordered(make_piece, missing), total=len(missing), unit="piece", disable=not progress):
            pass


def plan_pieces(soundfont: Path, out: Path, hours: float, seed: int) -> list[Piece]:
    """The pieces of one SoundFont, after its folder and manifest are made."""
    check_soundfont(soundfont)
    folder = out / f"rendered-{soundfont.stem.lower().replace('_', '-')}"
    write_manifest(folder, soundfont, seed)
    count = math.ceil(3600 * hours / (EXCERPT_S * PER_PIECE))
    # Another stream of pieces for every SoundFont, whatever others are given
    digest = hashlib.sha256(f"{soundfont.name}\n{seed}".encode()).digest()
    return [Piece(soundfont, folder, number, int.from_bytes(digest[:6], "big")) for number in range(count)]


def write_manifest(folder: Path, soundfont: Path, seed: int) -> None:
    """Write `folder`/manifest.json. Raises UserError if the folder was made from something else."""
    with soundfont.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else None
    manifest = {"made_by": MADE_BY, "soundfont": soundfont.name, "sha256": digest, "seed": seed}
    earlier = DataFolder(folder, MADE_BY).manifest()
    if earlier is None:
        write_text(folder / MANIFEST, json.dumps(manifest, indent=1))
    elif earlier != manifest:
        raise UserError(f"{folder} was made from another SoundFont or seed: give those, or another --out")
