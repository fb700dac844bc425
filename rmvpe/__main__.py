"""`python -m rmvpe`, and what the `rmvpe` command runs."""

import sys
from collections.abc import Sequence

from rmvpe.signals import run_main


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` and return the exit code. Everything else is imported inside.

    Without `argv` it is this process's, which ends afterwards (`rmvpe.signals.run_main`).
    """

    def command() -> int:
        from rmvpe.cli.main import main as run
        from rmvpe.compiled_programs import keep_by_default

        if argv is None:
            keep_by_default()
        return run(argv)

    return run_main("rmvpe", command) if argv is None else command()


if __name__ == "__main__":
    sys.exit(main())
