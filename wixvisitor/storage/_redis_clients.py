"""The redis-py client that a call uses: the application's, or one of our own in each event loop."""

from __future__ import annotations

from typing import Any, Final, Protocol

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from wixvisitor.errors import ConfigurationError
from wixvisitor.storage._per_loop import PerLoop
from wixvisitor.storage._redis_evaluation import Argument, Client, evaluate
from wixvisitor.storage._redis_listing import Batch, Cursor, scan
from wixvisitor.storage._redis_scripts import Script
from wixvisitor.storage._system import has_unix_sockets

_CONNECTIONS: Final = 20  # for each process; a call takes a fraction of a millisecond


class Clients(Protocol):
    """Runs scripts.

    Attributes:
        secrets: texts that must not appear in messages.
    """

    secrets: tuple[str, ...]

    async def run(self, script: Script, key: bytes, *arguments: Argument) -> Any:
        """Returns the script's reply."""

    async def scan(self, pattern: bytes, cursor: Cursor) -> Batch:
        """Returns some of the keys that match, and where to go on."""
        ...

    async def aclose(self) -> None:
        """Closes what was opened here in this event loop."""


class GivenClient:
    """The application's client. It is never closed and never configured here."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.secrets = _secrets(client.get_connection_kwargs())

    async def run(self, script: Script, key: bytes, *arguments: Argument) -> Any:
        """Returns the script's reply."""
        return await evaluate(self._client, script, key, *arguments)

    async def scan(self, pattern: bytes, cursor: Cursor) -> Batch:
        """Returns some of the keys, and where to go on."""
        return await scan(self._client, pattern, cursor)

    async def aclose(self) -> None:
        """Does nothing."""

    def __repr__(self) -> str:
        return f"the {type(self._client).__name__} client given"


class OwnClients:
    """Clients of our own, one in each event loop."""

    def __init__(self, url: str, timeout: float) -> None:
        sample = _pool(url, timeout)
        if "path" in sample.connection_kwargs and not has_unix_sockets():
            raise ConfigurationError("url: Python has no unix:// sockets on this system (Windows); use redis://")
        self.secrets = _secrets(sample.connection_kwargs)
        self._place = _place(sample.connection_kwargs)
        self._clients = PerLoop(lambda: Redis.from_pool(_pool(url, timeout)), Redis.aclose, timeout)

    async def run(self, script: Script, key: bytes, *arguments: Argument) -> Any:
        """Returns the script's reply."""
        return await self._clients.run(lambda client: evaluate(client, script, key, *arguments))

    async def scan(self, pattern: bytes, cursor: Cursor) -> Batch:
        """Returns some of the keys, and where to go on."""
        return await self._clients.run(lambda client: scan(client, pattern, cursor))

    async def aclose(self) -> None:
        """Closes this event loop's client when its calls have ended. The next call opens another."""
        await self._clients.aclose()

    def __repr__(self) -> str:
        return self._place


def _pool(url: str, timeout: float) -> BlockingConnectionPool:
    """Returns a pool without connections. Options in the URL's query override those that are set here.

    With redis-py's own defaults a page waits for a minute if the server hangs, and 100 calls at once raise an error.
    """
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=timeout,
            socket_timeout=timeout / 2,
            socket_connect_timeout=timeout / 2,
            retry=Retry(NoBackoff(), 0),  # evaluate() repeats the call, for the application's clients as well
            retry_on_error=[exceptions.ReadOnlyError],  # it reconnects: after a failover the name leads elsewhere
        )
        check: Any = pool.make_connection  # untyped in redis-py
        check()
        return pool
    except Exception as error:
        reason = type(error).__name__  # its text may hold the password
    raise ConfigurationError(
        "url: expected redis://[[user]:password@]host[:port][/number], rediss:// or unix://, special characters in the "
        f"password written as %.., and options that redis-py knows ({reason})"
    )


def _secrets(settings: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(settings[name]) for name in ("password", "ssl_password") if settings.get(name))


def _place(settings: dict[str, Any]) -> str:
    if "path" in settings:
        return f"unix://{settings['path']}"
    return f"{settings.get('host', 'localhost')}:{settings.get('port', 6379)}/{settings.get('db', 0)}"
