"""A store for many machines: Redis or Valkey, one server or a cluster. Needs the extra ``redis``."""

from __future__ import annotations

import math
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

try:
    import redis.asyncio
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "redis":
        raise
    raise ImportError("RedisStorage needs redis-py: pip install 'wixvisitor[redis]'", name="redis") from error

from wixvisitor._wire.redaction import drops_frames_async
from wixvisitor.errors import ConfigurationError, StorageError
from wixvisitor.storage import _redis_scripts
from wixvisitor.storage._arguments import BRIEF, YEAR, seconds
from wixvisitor.storage._asyncio_calls import check_asyncio, finish
from wixvisitor.storage._closing import Closing
from wixvisitor.storage._pickling import Pickling
from wixvisitor.storage._protocol import ANY_VERSION, AnyVersion, Record, VersionConflict
from wixvisitor.storage._redis_clients import Clients, GivenClient, OwnClients
from wixvisitor.storage._redis_errors import explained
from wixvisitor.storage._redis_evaluation import Argument
from wixvisitor.storage._redis_listing import START, Cursor, literal
from wixvisitor.storage._redis_scripts import Script

T = TypeVar("T")


class RedisStorage(Closing, Pickling):
    """Keeps visitors in Redis or Valkey: for many processes on many machines.

    Args:
        url_or_client: ``redis://``, ``rediss://`` (TLS) or ``unix://``; or a ``redis.asyncio.Redis`` or
            ``RedisCluster``, which is used as it is and never closed. With a URL each event loop gets a client of its
            own. It has 20 connections that callers wait for, repeats a call once, and gives each attempt half of
            ``timeout``. The URL's query changes that: ``?max_connections=50&socket_timeout=2``.
        prefix: the beginning of all keys. The visitor's key follows in braces, so that its record and its lease are in
            one slot of a cluster.
        expire_after: seconds that a record is kept after it was loaded or saved, by default a year, like the known
            refresh tokens of Wix; None: for ever.
        timeout: seconds that a call may take, including the wait for a connection and the repetition.

    About 2 kB for each visitor; docs/how-to/capacity.md has the figures. **The records are the visitors**, not a cache:
    a server that evicts (``maxmemory-policy`` other than ``noeviction``) or keeps nothing on disk (``appendonly no``)
    loses shopping carts. Replication is asynchronous: after a failover the last writes may be missing, and visitors
    made in that moment with them; sessions that hold such a visitor save it again at their next renewal.

    Saves are conditional on the version, inside the server. When the server is away, calls raise within ``timeout``
    seconds, and sessions with an unexpired token go on. When it is back, everything works again. A server that refuses
    writes for a time can still be read.

    Raises:
        ConfigurationError: an argument is wrong.
        StorageError: by every method: the server cannot be reached, answers with an error, or holds something else
            under the key, which is then left as it is. On trio every method raises it. No message holds the password.

    Concurrency: share one object between sessions, tasks, threads and event loops; a client of yours works in
    one event loop. asyncio only.
    Cancellation: a call that has begun is finished first, so a cancellation takes effect within ``timeout`` seconds.
    """

    def __init__(
        self,
        url_or_client: str | redis.asyncio.Redis | redis.asyncio.RedisCluster,
        *,
        prefix: str = "wixvisitor",
        expire_after: float | None = YEAR,
        timeout: float = 1.0,
    ) -> None:
        self._timeout = seconds(timeout, "timeout")
        self._life = 0 if expire_after is None else _milliseconds(seconds(expire_after, "expire_after"))
        self._prefix = prefix
        self._url = url_or_client if isinstance(url_or_client, str) else None
        self._options = {"prefix": prefix, "expire_after": expire_after, "timeout": timeout}
        self._clients = _clients(url_or_client, self._timeout)

    @drops_frames_async
    async def load(self, key: str) -> Record | None:
        """Returns the visitor's record, None if there is none; from now on it is kept for ``expire_after``."""
        reply = await self._run("load", _redis_scripts.LOAD, self._record_key(key), self._life)
        match reply:
            case None:
                return None
            case [str(data), str(version)]:
                return Record(data, version)
        raise StorageError(
            "Redis cannot load: the server at this address is no Redis server, or a proxy changes replies"
        )

    @drops_frames_async
    async def save(
        self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION, keep_for: float | None = None
    ) -> str:
        """Keeps the record for ``expire_after``, or ``keep_for`` seconds if that is less, and returns its version.

        Raises:
            VersionConflict: Redis holds another version; it is unchanged.
        """
        version = uuid.uuid4().hex  # made before it is sent, so that the server recognises a repetition
        life = self._life
        if keep_for is not None:
            version = f"{BRIEF}{version}"
            life = min(life or _milliseconds(keep_for), _milliseconds(keep_for))
        saved = await self._run(
            "save",
            _redis_scripts.SAVE,
            self._record_key(key),
            _encoded(value),
            version,
            *_condition(expected),
            life,
        )
        if not saved:
            raise VersionConflict("the record in Redis was changed by another process")
        return version

    async def delete(self, key: str) -> None:
        """Forgets the record."""
        await self._run("delete", _redis_scripts.DELETE, self._record_key(key))

    async def acquire_lease(self, key: str, holder: str, seconds: float) -> float:
        """Returns 0.0 if ``holder`` has the lease now, else the seconds until it ends."""
        arguments = (_encoded(holder), _milliseconds(seconds))
        left: int = await self._run("lease", _redis_scripts.ACQUIRE, self._lease_key(key), *arguments)
        return left / 1000

    async def release_lease(self, key: str, holder: str) -> None:
        """Gives the lease back if ``holder`` has it."""
        await self._run("end a lease", _redis_scripts.RELEASE, self._lease_key(key), _encoded(holder))

    async def keys(self) -> AsyncIterator[str]:
        """Yields the key of each record; one may come twice. A cluster must keep its primaries meanwhile."""
        before = f"{self._prefix}:{{"
        pattern = literal(_encoded(before)) + b"*}"
        cursor: Cursor | None = START
        while cursor is not None:
            names, cursor = await self._call("list", partial(self._clients.scan, pattern, cursor))
            for name in names:
                yield name[len(before) : -1]

    async def aclose(self) -> None:
        """Closes the client that was made here in this event loop, never yours. The next call connects again."""
        with suppress(StorageError, TimeoutError):  # on trio no client was ever opened
            check_asyncio("RedisStorage", "redis-py")
            await finish(self._clients.aclose, 2 * self._timeout)

    def __repr__(self) -> str:
        return f"<RedisStorage {self._clients!r}, prefix {self._prefix!r}>"

    def _pickled(self) -> tuple[tuple[str], dict[str, Any]] | str:
        if self._url is None:
            return "its client is yours; give it a URL, or make both in the process that uses them"
        return (self._url,), self._options

    def _record_key(self, key: str) -> bytes:
        return _encoded(f"{self._prefix}:{{{key}}}")

    def _lease_key(self, key: str) -> bytes:
        return self._record_key(key) + b":lease"

    async def _run(self, verb: str, script: Script, key: bytes, *arguments: Argument) -> Any:
        return await self._call(verb, partial(self._clients.run, script, key, *arguments))

    async def _call(self, verb: str, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        check_asyncio("RedisStorage", "redis-py")
        try:
            return await finish(call, self._timeout)
        except Exception as error:
            failure = explained(verb, error, self._clients.secrets)
        raise failure  # without the frames of redis-py, whose locals hold the record and the password


def _clients(url_or_client: object, timeout: float) -> Clients:
    if isinstance(url_or_client, str):
        return OwnClients(url_or_client, timeout)
    if isinstance(url_or_client, redis.asyncio.Redis | redis.asyncio.RedisCluster):
        return GivenClient(url_or_client)
    raise ConfigurationError("url_or_client: expected a URL, or a Redis or RedisCluster of redis.asyncio")


def _condition(expected: str | AnyVersion | None) -> tuple[str, str]:
    if isinstance(expected, AnyVersion):
        return "any", ""
    return ("none", "") if expected is None else ("same", expected)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _milliseconds(seconds: float) -> int:
    return max(math.ceil(seconds * 1000), 1)
