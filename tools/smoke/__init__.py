"""Whether the built wheel works where it is installed with one extra and nothing else.

``__main__`` makes the environments. ``program`` runs in each of them: ``modules`` imports every module of the package,
``visitor`` lives a visitor's life, ``promises`` uses what the extra promises. These four import only the standard
library and what is installed there.
"""
