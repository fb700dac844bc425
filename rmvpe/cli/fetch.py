"""`rmvpe fetch NAME`: published weights into this user's cache folder, checked."""

import argparse
from pathlib import Path

from rmvpe.checkpoint.published import HOME, PUBLISHED, fetch
from rmvpe.console import above_bars, report
from rmvpe.errors import UserError
from rmvpe.text import printable

SUMMARY = "Get published weights, so that --weights NAME works: " + " or ".join(PUBLISHED) + "."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.description = (
        f"{SUMMARY} The file is checked by its SHA-256. A download that was cut continues when the command is run "
        f"again. {HOME} is the folder that keeps the files; by default it is the system's folder for caches."
    )
    add = parser.add_argument
    add("name", choices=list(PUBLISHED), help="which weights")
    text = "a file that you have brought here yourself, for machines without internet; of yxlllc also the zip"
    add("--from", dest="source", metavar="FILE", help=text)
    add("--url", metavar="ADDRESS", help="another http:// or https:// address of the same file, such as a mirror")


def run(arguments: argparse.Namespace) -> int:
    """Fetch the file, print where it is and what is known about its licence."""
    if arguments.source is not None and arguments.url is not None:
        raise UserError("--from and --url exclude each other: give the one that has the file")

    def log(text: str) -> None:
        if not arguments.quiet:
            with above_bars():
                report("rmvpe fetch", text)

    path = fetch(
        arguments.name,
        source=None if arguments.source is None else Path(arguments.source),
        url=arguments.url,
        progress=not arguments.quiet,
        log=log,
    )
    print(f"{arguments.name}: {printable(path)}")
    print(f"licence: {PUBLISHED[arguments.name].licence}")
    print(f"use it with --weights {arguments.name}, or rmvpe.load({arguments.name!r})")
    return 0
