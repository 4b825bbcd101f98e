"""The engine that a call uses: the application's, or one of our own in each event loop."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import URL, event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import Pool, StaticPool
from sqlalchemy.util import greenlet_spawn

from wixvisitor.errors import ConfigurationError
from wixvisitor.storage._per_loop import PerLoop

T = TypeVar("T")

_closing: Final[set[asyncio.Task[None]]] = set()  # asyncio itself keeps only weak references to tasks

_CONNECTIONS: Final = 10  # for each process; PostgreSQL has 100 in all unless it is told otherwise
CLOSING: Final = 4.0  # seconds that closing waits for connections that hang
_DIALECTS: Final = ("postgresql", "mysql", "mariadb", "sqlite")
_DRIVERS: Final = {  # for a URL that names none
    "postgres": "postgresql+psycopg",  # the name that hosting providers write
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+asyncmy",
    "mariadb": "mariadb+asyncmy",
    "sqlite": "sqlite+aiosqlite",
}
_EXPECTED: Final = (
    "expected postgresql+psycopg://, postgresql+asyncpg://, mysql+asyncmy://, mariadb+asyncmy:// or "
    "sqlite+aiosqlite:///, with [user[:password]@]host[:port]/database, and special characters in the password "
    "written as %.."
)


class Engines(Protocol):
    """Lends connections.

    Attributes:
        dialect: the database's kind.
        secrets: texts that must not appear in messages.
    """

    dialect: str
    secrets: tuple[str, ...]

    async def run(self, call: Callable[[AsyncEngine], Awaitable[T]]) -> T:
        """Returns what the call returns, which gets the engine of this event loop."""
        ...

    async def renew(self, pool: Pool) -> None:
        """Opens new connections instead of those in this pool from now on, if that is ours to decide."""

    async def aclose(self) -> None:
        """Closes what was opened here in this event loop."""


class GivenEngine:
    """The application's engine. Its connections are borrowed; it is never closed and never configured here."""

    def __init__(self, engine: AsyncEngine) -> None:
        if isinstance(engine.pool, StaticPool):
            raise ConfigurationError(
                "engine_or_url: all tasks share the one connection of this engine's StaticPool, so our statements "
                "would be part of the application's transactions; make the engine without it, over a file if it is "
                "SQLite"
            )
        self.dialect = _checked_dialect(engine.dialect.name)
        self.secrets = _secrets(engine.url)
        self._engine = engine.execution_options(isolation_level=isolation_of(engine.dialect.driver))
        self._engine.sync_engine.hide_parameters = True  # for echo=True and for errors, on this copy only
        self._place = _place(engine.url)

    async def run(self, call: Callable[[AsyncEngine], Awaitable[T]]) -> T:
        """Returns what the call returns."""
        return await call(self._engine)

    async def renew(self, pool: Pool) -> None:
        """Does nothing. SQLAlchemy itself drops a pool's connections after an error of the network."""

    async def aclose(self) -> None:
        """Does nothing."""

    def __repr__(self) -> str:
        return f"the engine given, {self._place}"


class OwnEngines:
    """Engines of our own, one in each event loop."""

    def __init__(self, url: str | URL, timeout: float) -> None:
        parsed = _parsed(url)
        self.dialect = _checked_dialect(parsed.get_backend_name())
        self.secrets = _secrets(parsed)
        self._place = _place(parsed)
        _engine(parsed, timeout)  # without a connection, to check the driver
        self._engines = PerLoop(partial(_engine, parsed, timeout), AsyncEngine.dispose, timeout)

    async def run(self, call: Callable[[AsyncEngine], Awaitable[T]]) -> T:
        """Returns what the call returns."""
        return await self._engines.run(call)

    async def renew(self, pool: Pool) -> None:
        """Opens new connections from now on. Those in the pool may all lead to a server that is gone."""

        async def renew(engine: AsyncEngine) -> None:
            if engine.sync_engine.pool is pool:
                engine.sync_engine.dispose(close=False)
                _closing.add(task := asyncio.create_task(_close(pool)))
                task.add_done_callback(_closing.discard)

        await self._engines.run(renew)

    async def aclose(self) -> None:
        """Closes this event loop's engine when its calls have ended. The next call opens another."""
        loop = asyncio.get_running_loop()
        if closing := {task for task in _closing if task.get_loop() is loop}:
            await asyncio.wait(closing, timeout=CLOSING)
        await self._engines.aclose()

    def __repr__(self) -> str:
        return self._place


async def _close(pool: Pool) -> None:
    """Closes the pool's idle connections now, and each of the others when its call gives it back.

    They may hang, so they are invalidated: SQLAlchemy gives each 2 s to take leave of the server.
    """
    event.listen(pool, "checkin", lambda _, entry: entry.invalidate())
    idle: Any = getattr(pool, "checkedin", lambda: 0)
    await asyncio.gather(*(greenlet_spawn(_end_one, pool) for _ in range(idle())), return_exceptions=True)


def _end_one(pool: Pool) -> None:
    connection = pool.connect()
    connection.invalidate()
    connection.close()


def _engine(url: URL, timeout: float) -> AsyncEngine:
    """Returns an engine without connections.

    SQLAlchemy's own wait is 30 s for a connection of the pool; ours ends with the call.
    """
    try:
        return create_async_engine(
            url,
            connect_args=_connect_arguments(url, timeout),
            hide_parameters=True,
            isolation_level=isolation_of(url.get_driver_name()),
            max_overflow=0,
            pool_size=_CONNECTIONS,
            pool_timeout=timeout,
            skip_autocommit_rollback=True,
        )
    except ImportError as error:
        reason = f"the driver {error.name or url.get_driver_name()} is not installed"
    except Exception as error:
        reason = type(error).__name__  # its text may hold the password
    raise ConfigurationError(f"url: {reason}; {_EXPECTED}")


def isolation_of(driver: str) -> str:
    """Returns the isolation level that our statements need with this driver.

    Each statement is a transaction by itself. asyncpg sends one in two parts, and a pooler in transaction mode might
    hand the parts to two servers, so asyncpg gets a transaction around it.
    """
    return "READ COMMITTED" if driver == "asyncpg" else "AUTOCOMMIT"


def _connect_arguments(url: URL, timeout: float) -> dict[str, Any]:
    """Returns the driver's arguments. Those in the URL's query override them.

    pgbouncer in transaction mode gives each transaction another server, which does not know the statements that were
    prepared on the one before (https://www.pgbouncer.org/features.html). So none is prepared.
    """
    arguments: dict[str, dict[str, Any]] = {
        "psycopg": {"prepare_threshold": None, "connect_timeout": math.ceil(timeout)},
        "asyncpg": {
            "timeout": timeout,
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: f"__wixvisitor_{uuid.uuid4().hex}__",
        },
        "asyncmy": {"connect_timeout": math.ceil(timeout)},
        "aiomysql": {"connect_timeout": math.ceil(timeout)},
        "aiosqlite": {"timeout": timeout},
    }
    ours = arguments.get(url.get_driver_name(), {})
    return {name: value for name, value in ours.items() if name not in url.query}


def _parsed(text: str | URL) -> URL:
    try:
        url = make_url(text)
    except Exception as error:
        reason = type(error).__name__
    else:
        url = url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))
        if url.get_backend_name() == "sqlite" and url.database in {None, "", ":memory:"}:
            raise ConfigurationError("url: expected a file; MemoryStorage() keeps visitors in memory")
        return url
    raise ConfigurationError(f"url: {_EXPECTED} ({reason})")


def _checked_dialect(name: str) -> str:
    if name not in _DIALECTS:
        raise ConfigurationError(f"engine_or_url: {name} is not supported; {_EXPECTED}")
    return name


def _secrets(url: URL) -> tuple[str, ...]:
    values = [str(url.password or "")]
    for name, value in url.query.items():
        if "password" in name.lower() or name.lower() == "passwd":
            values += [value] if isinstance(value, str) else value
    return tuple(filter(None, values))


def _place(url: URL) -> str:
    """Returns where the database is, without user, password and options."""
    port = f":{url.port}" if url.port else ""
    place = f"{url.host}{port}/{url.database or ''}" if url.host else str(url.database)
    return f"{url.get_backend_name()} {place}"
