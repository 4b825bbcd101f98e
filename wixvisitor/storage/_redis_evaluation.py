"""Runs a script through a client of redis-py, whatever that client's own settings are."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from redis import exceptions
from redis.asyncio import Redis, RedisCluster

from wixvisitor.storage._redis_scripts import Script

Client = Redis | RedisCluster
Argument = bytes | str | int


async def evaluate(client: Client, script: Script, key: bytes, *arguments: Argument) -> Any:
    """Returns the script's reply, with texts as ``str``. If none comes, it is sent once more, which is safe."""
    try:
        reply = await _evaluate(client, script, key, *arguments)
    except exceptions.AuthenticationError:
        raise
    except (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.ReadOnlyError):
        await asyncio.sleep(random.uniform(0.005, 0.03))  # noqa: S311 - it spreads load
        reply = await _evaluate(client, script, key, *arguments)
    return [text_of(client, one) for one in reply] if isinstance(reply, list) else reply


async def _evaluate(client: Client, script: Script, key: bytes, *arguments: Argument) -> Any:
    try:
        return await client.execute_command("EVALSHA", script.sha, 1, key, *arguments)
    except exceptions.NoScriptError:  # the server was restarted, or has never run this script
        return await client.execute_command("EVAL", script.text, 1, key, *arguments)


def text_of(client: Client, reply: bytes | str) -> str:
    """Returns a text of the server's as ``str``, whatever the client makes of it."""
    if isinstance(reply, str):  # the client decodes replies, perhaps not as UTF-8
        reply = bytes(client.get_encoder().encode(reply))
    return reply.decode("utf-8", "surrogatepass")
