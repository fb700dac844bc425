"""Make instrumental music from SoundFonts: accompaniment for scripts/prepare_synthetic.py in which nobody sings.

    sudo apt install fluidsynth fluid-soundfont-gm
    python scripts/prepare_instruments.py --soundfont /usr/share/sounds/sf2/FluidR3_GM.sf2 --out music --hours 2

Each SoundFont gets a folder of 20 s excerpts in OUT, beside those of recorded music. Run it again to complete a folder.
"""

import argparse
import hashlib
import json
import math
import multiprocessing
from pathlib import Path

from tqdm import tqdm

from rmvpe.data.synthesis.soundfont import EXCERPT_S, PER_PIECE, Piece, check_soundfont, make_piece
from rmvpe.errors import UserError, cli_errors
from rmvpe.files import atomic_path

MADE_BY = "scripts/prepare_instruments.py"


def main(arguments: list[str] | None = None) -> None:
    """Parse, plan, play; exits with code 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--soundfont", type=Path, required=True, nargs="+", help="General MIDI banks, .sf2 or .sf3")
    parser.add_argument("--out", type=Path, required=True, help="folder of music packages")
    parser.add_argument("--hours", type=float, default=1.0, help="of music from each SoundFont")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes; the result is the same for any number")
    options = parser.parse_args(arguments)
    with cli_errors("prepare_instruments"):
        prepare(options)


def prepare(options: argparse.Namespace) -> None:
    """Write what is missing of each SoundFont's folder. Raises UserError for what cannot be used."""
    if not 0 < options.hours < math.inf or options.seed < 0:
        raise UserError(f"--hours {options.hours} must be above 0 and --seed {options.seed} not below")
    count = math.ceil(3600 * options.hours / (EXCERPT_S * PER_PIECE))
    pieces: list[Piece] = []
    for soundfont in options.soundfont:
        check_soundfont(soundfont)
        folder = options.out / f"rendered-{soundfont.stem.lower().replace('_', '-')}"
        seed = _seed(soundfont, options.seed)
        _write_manifest(folder, soundfont, options.seed)
        pieces += [Piece(soundfont, folder, number, seed) for number in range(count)]
    missing = [piece for piece in pieces if not all(path.is_file() for path in piece.paths)]
    with multiprocessing.get_context("spawn").Pool(max(options.workers, 1)) as pool:
        for _ in tqdm(pool.imap_unordered(make_piece, missing), total=len(missing), unit="piece"):
            pass


def _seed(soundfont: Path, seed: int) -> int:
    """Another stream of pieces for every SoundFont, whatever others are given."""
    return int.from_bytes(hashlib.sha256(f"{soundfont.name}\n{seed}".encode()).digest()[:6], "big")


def _write_manifest(folder: Path, soundfont: Path, seed: int) -> None:
    with soundfont.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else None
    manifest = {
        "made_by": "scripts/prepare_instruments.py",
        "soundfont": soundfont.name,
        "sha256": digest,
        "seed": seed,
    }
    path = folder / "manifest.json"
    if path.is_file():
        if json.loads(path.read_text(encoding="utf-8")) != manifest:
            raise UserError(f"{folder} was made from another SoundFont or seed: give those, or another --out")
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} holds files this script did not make: give another --out")
    with atomic_path(path) as unfinished:
        unfinished.write_text(json.dumps(manifest, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
