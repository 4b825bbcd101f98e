"""Runs one target under atheris: libFuzzer, guided by which branches of wixvisitor an input reaches.

In a process of its own, since libFuzzer ends its process: ``python -m tests.fuzz.engine TARGET [libFuzzer options]``.
"""

from __future__ import annotations

import importlib
import sys
from random import Random

import atheris


def main() -> None:
    """Fuzzes until libFuzzer's options say that it is enough, or an input is not handled."""
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=["wixvisitor"]):
        targets = importlib.import_module("tests.fuzz.targets")
        mutated = importlib.import_module("tests.fuzz.mutations").mutated

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        """One time in two libFuzzer's own: it knows nothing of JSON."""
        random = Random(seed)
        grown = mutated(random, data) if random.random() < 0.5 else atheris.Mutate(data, max_size)
        return bytes(grown[:max_size])

    atheris.Setup(sys.argv, targets.TARGETS[name], custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
