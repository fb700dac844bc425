"""`python -m rmvpe`, and what the `rmvpe` command runs."""

import sys

from rmvpe.signals import run_main


def main() -> int:
    """Run this process's command line and return the exit code. Everything else is imported inside."""

    def command() -> int:
        from rmvpe.cli.main import main as run

        return run()

    return run_main("rmvpe", command)


if __name__ == "__main__":
    sys.exit(main())
