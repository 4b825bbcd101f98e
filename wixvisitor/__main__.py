"""``python -m wixvisitor``: the command line."""

import sys

from wixvisitor.cli import main

if __name__ == "__main__":
    sys.exit(main())
