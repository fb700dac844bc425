"""`python -m rmvpe`: the same as the `rmvpe` command."""

import sys

from rmvpe.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
