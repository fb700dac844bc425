"""Make the Hybrid folder from MIR-1K: 1000 sung clips with their pitch, split by singer.

    python scripts/prepare_MIR_1K.py                            # downloads the official archive, in several runs if cut
    python scripts/prepare_MIR_1K.py --archive MIR-1K.rar --out Hybrid --workers 4
    python scripts/prepare_MIR_1K.py --archive https://example.org/MIR-1K.zip --sha256 ... --size ...

A faulty clip is left out and listed; --strict makes it an error (exit code 2). What is read, what is made of it and who
is in which split stands in rmvpe/data/prepare/mir1k.py; OUT/manifest.json repeats it with the licence and what to cite.
"""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from rmvpe.data.prepare import mir1k
from rmvpe.data.prepare.download import Expected
from rmvpe.errors import UserError, cli_errors


def main(arguments: list[str] | None = None) -> None:
    """Parse and call; exits with code 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--archive", default=mir1k.OFFICIAL_URL, help="address, .zip, .rar or unpacked folder (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=Path("Hybrid"), help="the folder to make (default: %(default)s)")
    parser.add_argument("--downloads", type=Path, help="folder that keeps a downloaded archive (default: beside --out)")
    parser.add_argument("--sha256", help="checksum the archive must have, 64 hexadecimal digits")
    parser.add_argument("--md5", help="the same in 32 digits, as older pages state it")
    parser.add_argument("--size", type=int, help="size the archive must have, in bytes")
    parser.add_argument(
        "--workers", type=int, default=1, help="threads, for slow disks; all of MIR-1K takes seconds with one"
    )
    parser.add_argument("--strict", action="store_true", help="fail if any clip of the archive is faulty")
    parser.add_argument("--force", action="store_true", help="replace the files of an earlier run in --out")
    options = parser.parse_args(arguments)
    with cli_errors("prepare_MIR_1K"):
        _prepare(options)


def _prepare(options: argparse.Namespace) -> None:
    if options.workers < 1:
        raise UserError(f"--workers {options.workers} must be 1 or more")
    given = (options.size, options.sha256, options.md5)
    summary = mir1k.prepare(
        options.archive,
        options.out,
        expected=None if given == (None, None, None) else Expected(*given),
        downloads=options.downloads,
        workers=options.workers,
        strict=options.strict,
        force=options.force,
        progress=True,
        log=lambda line: tqdm.write(line, file=sys.stderr),
    )
    print("\n".join([*mir1k.summary_lines(summary), f"made {options.out}; licence: {mir1k.LICENCE}"]))


if __name__ == "__main__":
    main()
