"""The redis-py client that a call uses: the application's, or one of our own in each event loop."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, Final, Protocol

import attrs
from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from wixvisitor._tasks.locks import fork_safe_lock
from wixvisitor.errors import ConfigurationError
from wixvisitor.storage._redis_evaluation import Argument, Client, evaluate
from wixvisitor.storage._redis_scripts import Script

_CONNECTIONS: Final = 20  # for each process; a call takes a fraction of a millisecond


class Clients(Protocol):
    """Runs scripts.

    Attributes:
        secrets: texts that must not appear in messages.
    """

    secrets: tuple[str, ...]

    async def run(self, script: Script, key: bytes, *arguments: Argument) -> Any:
        """Returns the script's reply."""

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

    async def aclose(self) -> None:
        """Does nothing."""

    def __repr__(self) -> str:
        return f"the {type(self._client).__name__} client given"


@attrs.define(eq=False, repr=False)
class _Own:
    """A client of our own in one event loop.

    Attributes:
        client: a client whose pool lets callers wait for a connection instead of raising.
        closing: a generator. The event loop ends it when the loop shuts down, and that closes the client.
        calls: the tasks whose calls are under way.
        finalizer: closes the client if the store is dropped without being closed. It keeps the client alive until then,
            because redis-py warns about connections that the garbage collector finds.
    """

    client: Redis
    closing: AsyncGenerator[None]
    calls: set[asyncio.Task[Any]] = attrs.field(factory=set)
    finalizer: Any = None


class OwnClients:
    """Clients of our own, one in each event loop, because redis-py's clients work in one event loop only."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._own: dict[asyncio.AbstractEventLoop, _Own] = {}
        self._lock = fork_safe_lock()
        sample = _pool(url, timeout)
        self.secrets = _secrets(sample.connection_kwargs)
        self._place = _place(sample.connection_kwargs)

    async def run(self, script: Script, key: bytes, *arguments: Argument) -> Any:
        """Returns the script's reply."""
        own = self._own.get(asyncio.get_running_loop()) or await self._open()
        call: Any = asyncio.current_task()
        own.calls.add(call)
        try:
            return await evaluate(own.client, script, key, *arguments)
        finally:
            own.calls.discard(call)

    async def aclose(self) -> None:
        """Closes this event loop's client when its calls have ended. The next call opens another."""
        own = self._own.pop(asyncio.get_running_loop(), None)
        if own is None:
            return
        if own.calls:
            await asyncio.wait(own.calls, timeout=self._timeout)
        own.finalizer.detach()
        await own.closing.aclose()

    async def _open(self) -> _Own:
        loop = asyncio.get_running_loop()
        client = Redis.from_pool(_pool(self._url, self._timeout))
        own = _Own(client, _closing(client))
        await anext(own.closing)  # runs to its yield without waiting, so no other task runs in between
        own.finalizer = weakref.finalize(self, _close_later, loop, own.closing)
        with self._lock:
            for ended in [other for other in self._own if other.is_closed()]:
                self._own.pop(ended).finalizer.detach()
            self._own[loop] = own
        return own

    def __repr__(self) -> str:
        return self._place


async def _closing(client: Redis) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        with suppress(Exception):  # an error in closing leaves nothing more to close
            await client.aclose()


def _close_later(loop: asyncio.AbstractEventLoop, closing: AsyncGenerator[None]) -> None:
    """Closes the client in its own event loop: at once if the loop runs, else when it runs again.

    A loop that was closed without ``shutdown_asyncgens()`` cannot close anything. The garbage collector closes the
    sockets then, and Python warns about them.
    """
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(lambda: loop.create_task(closing.aclose()))


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
