"""``python -m examples.shop``."""

import sys

from examples.shop.serve import run
from examples.shop.settings import Settings

if __name__ == "__main__":
    run(Settings.parse(sys.argv[1:]))
