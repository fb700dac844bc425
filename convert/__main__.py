"""`python -m convert`."""

import sys

from rmvpe.signals import run_main


def main() -> int:
    """Run this process's command line and return the exit code. Everything else is imported inside."""

    def command() -> int:
        from convert.program import main as run

        return run()

    return run_main("python -m convert", command)


if __name__ == "__main__":
    sys.exit(main())
