"""``python -m wixvisitor``: whose tokens a file holds, and copies of stores."""

import sys

from wixvisitor.cli import main

if __name__ == "__main__":
    sys.exit(main())
