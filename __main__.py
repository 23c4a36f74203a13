"""`python -m semlang` is `semc`."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
