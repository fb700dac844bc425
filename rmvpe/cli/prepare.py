"""`rmvpe prepare mir-1k | synthetic | instruments`: data sets to train on.

The same commands are `scripts/prepare_MIR_1K.py`, `prepare_synthetic.py` and `prepare_instruments.py`.
"""

import argparse
import sys
from pathlib import Path

from rmvpe.errors import UserError
from rmvpe.program import Command, Group
from rmvpe.text import printable

OFFICIAL = "the official archive"
WORKERS = "processes; the result is the same for any number (default: %(default)s)"


def add_mir1k(parser: argparse.ArgumentParser) -> None:
    """The flags of `prepare mir-1k`."""
    parser.description = (
        "Make a Hybrid folder from MIR-1K: 1000 sung clips with their pitch, split by singer. A faulty clip is "
        "skipped and listed. OUT/manifest.json says what was made, and repeats the licence and what to cite."
    )
    add = parser.add_argument
    add("--archive", help=f"address, .zip, .rar or unpacked folder (default: {OFFICIAL}, which is downloaded)")
    add("--out", type=Path, default=Path("Hybrid"), metavar="FOLDER", help="folder to make (default: %(default)s)")
    text = "folder that keeps a downloaded archive (default: beside --out)"
    add("--downloads", type=Path, metavar="FOLDER", help=text)
    add("--sha256", help="checksum the archive must have, 64 hexadecimal digits")
    add("--md5", help="the same in 32 digits, as older pages state it")
    add("--size", type=int, metavar="BYTES", help="size the archive must have")
    text = "threads, for slow disks; all of MIR-1K takes seconds with one (default: %(default)s)"
    add("--workers", type=int, default=1, metavar="N", help=text)
    add("--strict", action="store_true", help="fail if any clip of the archive is faulty")
    add("--force", action="store_true", help="replace the files of an earlier run in --out")


def run_mir1k(arguments: argparse.Namespace) -> int:
    """Make the folder and print what was made."""
    from tqdm import tqdm

    from rmvpe.data.prepare import mir1k
    from rmvpe.download import Expected

    if arguments.workers < 1:
        raise UserError(f"--workers {arguments.workers} must be 1 or more")
    given = (arguments.size, arguments.sha256, arguments.md5)
    summary = mir1k.prepare(
        arguments.archive or mir1k.OFFICIAL_URL,
        arguments.out,
        expected=None if given == (None, None, None) else Expected(*given),
        downloads=arguments.downloads,
        workers=arguments.workers,
        strict=arguments.strict,
        force=arguments.force,
        progress=not arguments.quiet,
        log=(lambda line: None) if arguments.quiet else lambda line: tqdm.write(printable(line), file=sys.stderr),
    )
    print("\n".join([*mir1k.summary_lines(summary), f"made {printable(arguments.out)}; licence: {mir1k.LICENCE}"]))
    return 0


def add_synthetic(parser: argparse.ArgumentParser) -> None:
    """The flags of `prepare synthetic`."""
    parser.description = (
        "Make a Hybrid folder of sung, spoken and synthetic items with exactly known f0, beside music that is not "
        "mixed in yet. What is made, and which speakers and music packages are kept out of training, is described in "
        "rmvpe/data/synthesis/dataset.py. OUT/manifest.json lists the sources of every item; their licences go with "
        "the sound files made from them."
    )
    add = parser.add_argument
    add("--voices", type=Path, required=True, metavar="FOLDER", help="dry recordings, or one sub-folder per speaker")
    text = "music, or one sub-folder per package (default: none, the items have no accompaniment)"
    add("--music", type=Path, metavar="FOLDER", help=text)
    add("--out", type=Path, default=Path("Hybrid"), metavar="FOLDER", help="folder to make (default: %(default)s)")
    add("--train-hours", type=float, default=4.0, metavar="HOURS", help="default: %(default)s")
    add("--valid-minutes", type=float, default=25.0, metavar="MINUTES", help="default: %(default)s")
    add("--test-minutes", type=float, default=25.0, metavar="MINUTES", help="default: %(default)s")
    add("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    text = "all items of one kind; syllables: singing with a note on most syllables, to measure notes (default: mixed)"
    add("--kind", choices=("sing", "speech", "tone", "silent", "syllables"), help=text)
    add("--workers", type=int, default=1, metavar="N", help=WORKERS)
    add("--resume", action="store_true", help="complete a folder that this command has made before")


def run_synthetic(arguments: argparse.Namespace) -> int:
    """Make the folder."""
    from tqdm import tqdm

    from rmvpe.data.prepare import synthetic

    synthetic.prepare(
        arguments.voices,
        arguments.music,
        arguments.out,
        train_hours=arguments.train_hours,
        valid_minutes=arguments.valid_minutes,
        test_minutes=arguments.test_minutes,
        seed=arguments.seed,
        kind=arguments.kind,
        workers=arguments.workers,
        resume=arguments.resume,
        progress=not arguments.quiet,
        log=(lambda line: None) if arguments.quiet else lambda line: tqdm.write(printable(line), file=sys.stderr),
    )
    return 0


def add_instruments(parser: argparse.ArgumentParser) -> None:
    """The flags of `prepare instruments`."""
    parser.description = (
        "Make instrumental music from SoundFonts: accompaniment for `rmvpe prepare synthetic` in which nobody sings. "
        "Each SoundFont gets a folder of 20 s excerpts in OUT, beside those of recorded music. Run it again to "
        "complete a folder. On Debian: apt install fluidsynth fluid-soundfont-gm, then give "
        "--soundfont /usr/share/sounds/sf2/FluidR3_GM.sf2."
    )
    add = parser.add_argument
    text = "General MIDI banks, .sf2 or .sf3"
    add("--soundfont", type=Path, required=True, nargs="+", metavar="FILE", help=text)
    add("--out", type=Path, required=True, metavar="FOLDER", help="folder of music packages")
    add("--hours", type=float, default=1.0, help="of music from each SoundFont (default: %(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    add("--workers", type=int, default=1, metavar="N", help=WORKERS)


def run_instruments(arguments: argparse.Namespace) -> int:
    """Make the folders."""
    from rmvpe.data.prepare import instruments

    instruments.prepare(
        arguments.soundfont,
        arguments.out,
        hours=arguments.hours,
        seed=arguments.seed,
        workers=arguments.workers,
        progress=not arguments.quiet,
    )
    return 0


MIR_1K = Command("download and convert MIR-1K: sung clips with manual pitch", add_mir1k, run_mir1k)
SYNTHETIC = Command("make singing and speech with exactly known f0 from dry voices", add_synthetic, run_synthetic)
INSTRUMENTS = Command("play SoundFonts: music in which nobody sings", add_instruments, run_instruments)
GROUP = Group("Make data sets to train on.", {"mir-1k": MIR_1K, "synthetic": SYNTHETIC, "instruments": INSTRUMENTS})
