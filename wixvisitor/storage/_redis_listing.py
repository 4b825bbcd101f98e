"""Lists the keys of a Redis server or cluster, some at a time (https://redis.io/docs/latest/commands/scan/)."""

from __future__ import annotations

import re
from typing import Any, Final

from redis.asyncio import RedisCluster

from wixvisitor.storage._redis_evaluation import Client, text_of

Cursor = tuple[int, int]  # the number of the cluster's primary, and the place there
Batch = tuple[list[str], Cursor | None]  # keys, and where the next ones are
START: Final[Cursor] = 0, 0

_LOOKED_AT: Final = 1_000  # keys that the server looks at for one batch; it takes a fraction of a millisecond
_SPECIAL: Final = re.compile(rb"[\\*?\[\]^-]")


def literal(text: bytes) -> bytes:
    """Returns a pattern that matches this text only."""
    return _SPECIAL.sub(rb"\\\g<0>", text)


async def scan(client: Client, pattern: bytes, cursor: Cursor) -> Batch:
    """Returns some of the keys that match, perhaps none, and where to go on; None: there are no more.

    A key that exists all the time is found at least once.
    """
    number, place = cursor
    options: dict[str, Any] = {"match": pattern, "count": _LOOKED_AT}
    last = 0
    if isinstance(client, RedisCluster):
        await client.initialize()
        primaries = sorted(client.get_primaries(), key=lambda node: node.name)
        last = len(primaries) - 1
        answer: Any = await client.scan(place, target_nodes=primaries[number], **options)  # its types are Redis's
        places, found = answer
        [place] = places.values()
    else:
        place, found = await client.scan(place, **options)
    keys = [text_of(client, key) for key in found]
    if place:
        return keys, (number, place)
    return keys, ((number + 1, 0) if number < last else None)
