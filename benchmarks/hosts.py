"""Other projects' own files, run with the drop-in classes of `rmvpe.hosts` in place of their RMVPE.

    python benchmarks/hosts.py --checkout PATH [--host NAME]

PATH is a clone of one project. Which project it is shows in its files. Libraries that are not needed for the pitch are
replaced by stand-ins, and no voice model is run; torch and scipy are needed, and numba for two hosts. The audio is
examples/demo.flac. Prints one line per assertion; exit code 1 if one fails, 2 if the folder is no known project.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from rmvpe.errors import UserError
from rmvpe.program import Command, run_program
from rmvpe.text import printable

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks.host_runs.stage import Demo, Report  # noqa: E402 # found by the line above
from benchmarks.host_runs.table import HOSTS  # noqa: E402


def recognise(checkout: Path, name: str | None) -> str:
    """The host that a checkout is of. Raises UserError if it is none, several, or lacks a file."""
    if not checkout.is_dir():
        raise UserError(f"{printable(checkout)} is no folder: give a clone of one of {', '.join(HOSTS)}")
    missing = {host: [file for file in HOSTS[host].files if not (checkout / file).is_file()] for host in HOSTS}
    if name is not None:
        if missing[name]:
            raise UserError(f"{printable(checkout)} lacks {missing[name][0]}, which {name} has: give a clone of {name}")
        return name
    found = [host for host, files in missing.items() if not files]
    if len(found) > 1:
        raise UserError(f"{printable(checkout)} looks like {' and '.join(found)}: choose with --host")
    if not found:
        raise UserError(
            f"{printable(checkout)} has the files of no known project: give the top folder of a clone "
            f"of one of {', '.join(HOSTS)}"
        )
    return found[0]


@contextlib.contextmanager
def stage(folder: Path) -> Iterator[None]:
    """Imports start in `folder`, which is not written to; files are relative to a new, empty folder."""
    before, sys.dont_write_bytecode = os.getcwd(), True
    sys.path.insert(0, str(folder))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as empty:
        os.chdir(empty)
        try:
            yield
        finally:
            os.chdir(before)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("--checkout", type=Path, required=True, metavar="PATH", help="the top folder of a clone")
    parser.add_argument("--host", choices=list(HOSTS), help="which project it is (default: as its files say)")


def run(arguments: argparse.Namespace) -> int:
    """Run one host's files and print the assertions."""
    checkout = arguments.checkout.resolve()
    name = recognise(checkout, arguments.host)
    report, demo = Report(sys.stdout), Demo(ROOT / "examples" / "demo.flac")
    with stage(checkout / HOSTS[name].folder), contextlib.redirect_stdout(sys.stderr):  # hosts print on their own
        try:
            HOSTS[name].run(checkout, demo, report)
        except ModuleNotFoundError as error:
            raise UserError(
                f"{name} imports {error.name}, which neither {printable(checkout)} nor this Python has: "
                f"install it, or give a complete clone"
            ) from error
        except Exception as error:  # whatever a host's code raises is a failed run, with its place
            traceback.print_exc()
            report.check(f"{name} runs to its end", False, f"{type(error).__name__}: {error}")
    network = demo.estimator.backend
    print(f"{name}: {report.passed} passed, {report.failed} failed ({network.name} on {network.device})")
    return 1 if report.failed else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and call."""
    return run_program("hosts", Command(__doc__ or "", add_arguments, run), argv)


if __name__ == "__main__":
    sys.exit(main())
