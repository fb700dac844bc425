"""Check that a tag names the version of this checkout, and that CHANGELOG.md has a section for it.

    python scripts/check_release.py v0.1.0

The version stands in one place, rmvpe/__init__.py; the wheel takes it from there.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import rmvpe
from rmvpe.errors import UserError
from rmvpe.program import Command, run_program

CHANGELOG = Path(__file__).resolve().parents[1] / "CHANGELOG.md"


def check_release(tag: str, version: str, changelog: str) -> None:
    """Raise UserError unless `tag` is "v" and `version`, and the text of the changelog has a section for it."""
    if tag != f"v{version}":
        raise UserError(
            f"{tag} does not name the version {version} of rmvpe/__init__.py: tag v{version}, or change it there"
        )
    if not re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE):
        raise UserError(f"CHANGELOG.md has no line '## [{version}] - DATE': rename the section Unreleased")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The tag."""
    parser.add_argument("tag", help="such as v0.1.0")


def run(arguments: argparse.Namespace) -> int:
    """Check and say so."""
    check_release(arguments.tag, rmvpe.__version__, CHANGELOG.read_text(encoding="utf-8"))
    print(f"{arguments.tag}: version and changelog agree")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and call."""
    return run_program("check_release", Command(__doc__ or "", add_arguments, run), argv)


if __name__ == "__main__":
    sys.exit(main())
