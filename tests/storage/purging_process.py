"""A process that purges a store all the time, or one that loads visitors at the moment when they may be removed."""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from typing import Any

import anyio

from wixvisitor.storage import FileStorage
from wixvisitor.storage.sqlite import SQLiteStorage

LIFE = 0.05  # seconds


def storage(place: str) -> Any:
    """Returns a store whose visitors live for a moment; an hour of its monotonic clock passes in milliseconds."""
    kind = SQLiteStorage if place.endswith(".db") else FileStorage
    return kind(place, expire_after=LIFE, monotonic=lambda: time.monotonic() * 1e6)


async def purge(store: Any, until: float) -> None:
    """Purges until that time."""
    while time.time() < until:
        await store.purge()


async def load(store: Any, until: float, name: str) -> None:
    """Loads visitors that have just passed their time. A visitor that was found has to be there at once again."""
    counts = Counter[str](lost=0, kept=0, purged=0)
    number = 0
    while time.time() < until:
        number += 1
        key = f"{name}-{number % 4}"
        await store.save(key, "value")
        await anyio.sleep(LIFE + random.uniform(0, LIFE / 5))
        began = time.time()
        if await store.load(key) is None:
            counts["purged"] += 1
            continue
        found = await store.load(key)
        if time.time() - began < LIFE:  # else it may have passed its time once more
            counts["lost" if found is None else "kept"] += 1
    sys.stdout.write(json.dumps(counts))


async def main(place: str, until: float, name: str) -> None:
    """Purges if it has no name."""
    store = storage(place)
    await (load(store, until, name) if name else purge(store, until))
    await store.aclose()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], float(sys.argv[2]), sys.argv[3])
