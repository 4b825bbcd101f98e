"""A store for many machines in the application's own database, through SQLAlchemy. Needs the extra ``sqlalchemy``."""

from __future__ import annotations

import math
import random
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Any, Final

import anyio

try:
    from sqlalchemy import Executable, MetaData, exc
    from sqlalchemy.engine import URL
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in {"sqlalchemy", "greenlet"}:
        raise
    raise ImportError(
        "SQLAlchemyStorage needs SQLAlchemy: pip install 'wixvisitor[sqlalchemy]'", name=error.name
    ) from error

from wixvisitor._wire.redaction import drops_frames_async
from wixvisitor.errors import ConfigurationError, StorageError
from wixvisitor.storage import _sql_tables
from wixvisitor.storage._arguments import BRIEF, YEAR, seconds
from wixvisitor.storage._closing import Closing
from wixvisitor.storage._pickling import Pickling
from wixvisitor.storage._protocol import ANY_VERSION, AnyVersion, Record, VersionConflict
from wixvisitor.storage._sql_calls import Attempt, Calls
from wixvisitor.storage._sql_engines import GivenEngine, OwnEngines
from wixvisitor.storage._sql_statements import Statements, Steps, statements
from wixvisitor.storage._sql_tables import LONGEST_KEY, HiddenBytes, ascii_of, digest_of, key_of

_LARGEST: Final = 1 << 20  # bytes; a record has about 2,000
_LISTED: Final = 1_000  # keys that are listed at once
_PURGED: Final = 100  # records, and leases, that a save removes at most
_PURGED_AT_ONCE: Final = 1_000  # records that purge() removes in one statement
_PURGING: Final = 0.02  # the share of saves that purge, beside each process's first
_UNTOUCHED: Final = 0.9  # the share of its life; if a record has more left, loading it writes nothing
_DDL_SECONDS: Final = 30.0  # that create_table() may take
_CREATIONS: Final = 5  # attempts


def add_tables(metadata: MetaData, *, prefix: str = "wixvisitor", schema: str | None = None) -> None:
    """Adds the two tables of ``SQLAlchemyStorage`` to a ``MetaData``, such as your ``Base.metadata``, for Alembic.

    Args:
        metadata: the ``target_metadata`` of your ``env.py``.
        prefix: as in ``SQLAlchemyStorage``.
        schema: as in ``SQLAlchemyStorage``; None: the schema of ``metadata``.

    Raises:
        ConfigurationError: a name is not valid.
    """
    _sql_tables.tables(metadata, prefix, schema)


class SQLAlchemyStorage(Closing, Pickling):
    """Keeps visitors in PostgreSQL, MariaDB, MySQL or SQLite: for many machines, where your orders are.

    Args:
        engine_or_url: an ``AsyncEngine`` of yours, which is used as it is and never closed, or a URL such as
            ``postgresql+psycopg://user:password@host/shop``, also ``postgresql+asyncpg``, ``mysql+asyncmy``,
            ``mariadb+asyncmy`` and ``sqlite+aiosqlite``. With a URL each event loop gets an engine of its own, with up
            to 10 connections that callers wait for, and no prepared statements, so that pgbouncer may be in between.
        prefix: the tables are ``<prefix>_visitors`` and ``<prefix>_leases``.
        schema: the schema of the tables; None: the connection's.
        expire_after: seconds that a record is kept after it was loaded or saved, by default a year, like the known
            refresh tokens of Wix; None: for ever. An expired record is as if it were gone. Some saves remove up to a
            hundred of these rows, and ``purge`` removes all.
        timeout: seconds that a call may take, including the wait for a connection and a repetition. Each of two
            attempts has half of it. A save that removes expired rows as well is two calls.

    Attributes:
        metadata: a ``MetaData`` with the two tables, for ``target_metadata`` of Alembic. ``add_tables`` adds them to
            one of yours instead.

    Make the tables once: by your migrations, or ``await storage.create_table()``. A save is one statement, conditional
    on the version, and durable as your database's commits are. It uses a connection of its own and is a transaction of
    its own, so it is never part of yours, and nothing of yours is committed. Leases and expiry go by the
    database's clock.

    A call that finds its connection lost is repeated once, on a new connection. The repetition recognises what the
    first attempt has done. When the database is away, calls raise within ``timeout`` seconds, and sessions with
    an unexpired token go on. When it is back, everything works again. After a failover to a replica, the last saves
    are there if the database waits for replicas (``synchronous_commit`` with ``synchronous_standby_names``).

    Raises:
        ConfigurationError: an argument is wrong, or the driver is not installed.
        StorageError: by every method: the database cannot be reached, has no such tables, or answers with an error. On
            trio every method raises it. No message holds the password or a record.

    Concurrency: share one object between sessions, tasks, threads and event loops; an engine of yours works in one
    event loop. asyncio only.
    Cancellation: a call that has begun is finished first, so a cancellation takes effect within ``timeout`` seconds.
    """

    def __init__(
        self,
        engine_or_url: AsyncEngine | URL | str,
        *,
        prefix: str = "wixvisitor",
        schema: str | None = None,
        expire_after: float | None = YEAR,
        timeout: float = 2.0,
    ) -> None:
        self._timeout = seconds(timeout, "timeout")
        self._life = None if expire_after is None else _milliseconds(seconds(expire_after, "expire_after"))
        self._tables = _sql_tables.tables(MetaData(), prefix, schema)
        self._calls = _calls(engine_or_url, self._timeout)
        self._statements: Statements = statements(self._tables, self._calls.engines.dialect)
        self._has_saved = False
        self._url = None if isinstance(engine_or_url, AsyncEngine) else engine_or_url
        self._options = {"prefix": prefix, "schema": schema, "expire_after": expire_after, "timeout": timeout}
        self.metadata = self._tables.metadata

    async def create_table(self) -> None:
        """Creates the two tables, with their indexes, where they do not exist. Existing ones are left as they are."""

        async def create(connection: AsyncConnection, _: Attempt) -> None:
            await connection.run_sync(self.metadata.create_all)

        until = time.monotonic() + _DDL_SECONDS
        for _ in range(_CREATIONS - 1):
            with suppress(StorageError):  # perhaps other processes have created one of them at the same moment
                return await self._calls.run("create its tables", create, max(until - time.monotonic(), 0.1))
            await anyio.sleep(random.uniform(0.01, 0.1))  # noqa: S311 - it spreads load
        return await self._calls.run("create its tables", create, max(until - time.monotonic(), 0.1))

    @drops_frames_async
    async def load(self, key: str) -> Record | None:
        """Returns the visitor's record, None if there is none. Loading restarts its life after a tenth of it."""
        return await self._calls.run("load", partial(self._load, digest_of(key)))

    @drops_frames_async
    async def save(
        self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION, keep_for: float | None = None
    ) -> str:
        """Keeps the record for ``expire_after``, or ``keep_for`` seconds if that is less, and returns its version.

        Raises:
            VersionConflict: the database holds another version; it is unchanged.
        """
        text, written, life = _checked_value(value), uuid.uuid4().hex, self._life
        if keep_for is not None:
            written, life = f"{BRIEF}{written}", min(life or _milliseconds(keep_for), _milliseconds(keep_for))
        row = {"id_": digest_of(key), "key": _checked_key(key), "text": text, "written": written, "life": life}
        steps = self._statements.create if expected is None else self._statements.write
        if isinstance(expected, str):
            steps, row["held"] = self._statements.replace, expected
        if not await self._calls.run("save", partial(self._save, steps, row)):
            raise VersionConflict("the record in the database was changed by another process")
        await self._purge_at_times()
        return written

    async def delete(self, key: str) -> None:
        """Forgets the record."""
        await self._do("delete", self._statements.delete, {"id_": digest_of(key)})

    async def purge(self) -> int:
        """Removes the records that have expired, and the leases that have ended. Returns the number of records.

        Some saves do the same, so you need not call it at all.

        Concurrency: other calls can run meanwhile, since a thousand are removed at a time.
        Cancellation: those that were not removed yet stay.
        """
        removed = 0
        while found := await self._calls.run("purge", partial(self._purge, _PURGED_AT_ONCE)):
            removed += found
        return removed

    async def keys(self) -> AsyncIterator[str]:
        """Yields the key of each record, a thousand at a time, in no particular order."""
        after = b""
        while True:
            found = await self._calls.run("list", partial(self._list, after))
            for _, key in found:
                yield key
            if len(found) < _LISTED:
                return
            after = found[-1][0]

    async def acquire_lease(self, key: str, holder: str, seconds: float) -> float:
        """Returns 0.0 if ``holder`` has the lease now, else the seconds until it ends."""
        row = {"id_": digest_of(key), "holder": digest_of(holder), "life": _milliseconds(seconds)}
        return await self._calls.run("lease", partial(self._acquire, row))

    async def release_lease(self, key: str, holder: str) -> None:
        """Gives the lease back if ``holder`` has it."""
        row = {"id_": digest_of(key), "holder": digest_of(holder)}
        await self._do("end a lease", self._statements.release, row)

    async def aclose(self) -> None:
        """Closes the engine that was made here in this event loop, never yours. The next call connects again."""
        await self._calls.aclose()

    def __repr__(self) -> str:
        return f"<SQLAlchemyStorage {self._calls.engines!r}, table {self._tables.visitors.fullname!r}>"

    def _pickled(self) -> tuple[tuple[str | URL], dict[str, Any]] | str:
        if self._url is None:
            return "its engine is yours; give it a URL, or make both in the process that uses them"
        return (self._url,), self._options

    # One attempt each

    async def _load(self, id_: bytes, connection: AsyncConnection, _: Attempt) -> Record | None:
        row = (await connection.execute(self._statements.load, {"id_": id_})).one_or_none()
        if row is None:
            return None
        value, version, remaining = row
        if not version.startswith(BRIEF) and self._has_aged(remaining):
            with suppress(exc.DBAPIError):  # a server that refuses writes for now can still be read
                await connection.execute(self._statements.touch, {"id_": id_, "held": version, "life": self._life})
        try:
            return Record(bytes(value).decode("utf-8", "surrogatepass"), version)
        except UnicodeDecodeError:
            pass
        raise StorageError("the database's record is damaged: it is no UTF-8; it was left as it is")

    def _has_aged(self, remaining: int | None) -> bool:
        """Whether a record that lives on for so many milliseconds needs a new life."""
        if self._life is None or remaining is None:
            return self._life is not remaining
        return not _UNTOUCHED * self._life <= remaining <= self._life

    async def _save(self, steps: Steps, row: dict[str, Any], connection: AsyncConnection, attempt: Attempt) -> bool:
        if attempt.is_repeated and await self._confirm(row, connection):
            return True
        if await _changes(connection, steps, row):
            return True
        # The first attempt may have been under way all the time, and have ended before this one.
        return attempt.is_repeated and await self._confirm(row, connection)

    async def _confirm(self, row: dict[str, Any], connection: AsyncConnection) -> bool:
        """Returns whether an earlier attempt has written the row; if so, it is as durable as this attempt's commit."""
        names = {name: row[name] for name in ("id_", "written", "life")}
        return (await connection.execute(self._statements.confirm, names)).rowcount > 0

    async def _acquire(self, row: dict[str, Any], connection: AsyncConnection, _: Attempt) -> float:
        if await _changes(connection, self._statements.acquire, row):
            return 0.0
        remaining = (await connection.execute(self._statements.remaining, {"id_": row["id_"]})).scalar_one_or_none()
        return max(remaining or 0, 1) / 1000  # it has just ended: the caller asks again at once

    async def _list(self, after: bytes, connection: AsyncConnection, _: Attempt) -> list[tuple[bytes, str]]:
        rows = (await connection.execute(self._statements.listed, {"after": after, "most": _LISTED})).all()
        try:
            return [(bytes(id_), key_of(key)) for id_, key in rows]
        except ValueError:
            pass
        raise StorageError("the database's table is damaged: visitor_key is not what wixvisitor wrote")

    async def _purge(self, most: int, connection: AsyncConnection, _: Attempt) -> int:
        ours, removed = self._statements, 0
        for find, remove in ((ours.expired_leases, ours.purge_leases), (ours.expired, ours.purge)):
            ids = [bytes(id_) for (id_,) in (await connection.execute(find, {"most": most})).all()]
            removed = (await connection.execute(remove, {"ids": ids})).rowcount if ids else 0
        return removed

    async def _purge_at_times(self) -> None:
        """Removes expired rows, after some of the saves."""
        if self._has_saved and random.random() >= _PURGING:  # noqa: S311 - spreads the work, protects nothing
            return
        self._has_saved = True
        with suppress(StorageError):
            await self._calls.run("purge", partial(self._purge, _PURGED))

    async def _do(self, verb: str, statement: Executable, row: dict[str, Any]) -> None:
        async def do(connection: AsyncConnection, _: Attempt) -> None:
            await connection.execute(statement, row)

        await self._calls.run(verb, do)


async def _changes(connection: AsyncConnection, steps: Steps, row: dict[str, Any]) -> bool:
    """Takes the steps until one changes a row. Returns whether one did."""
    *insertions, last = steps
    for step in insertions:
        try:
            await connection.execute(step, row)
        except exc.IntegrityError:  # there is such a row
            continue
        return True
    return (await connection.execute(last, row)).rowcount > 0


def _calls(engine_or_url: object, timeout: float) -> Calls:
    if isinstance(engine_or_url, str | URL):
        return Calls(OwnEngines(engine_or_url, timeout), timeout)
    if isinstance(engine_or_url, AsyncEngine):
        return Calls(GivenEngine(engine_or_url), timeout)
    raise ConfigurationError(
        "engine_or_url: expected a URL, or the AsyncEngine of create_async_engine(); a connection or a session serves "
        "one task and one transaction only"
    )


def _checked_value(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    if len(data) > _LARGEST:
        raise StorageError(f"a record of {len(data)} bytes is too large for a visitor; the database is unchanged")
    return HiddenBytes(data)


def _checked_key(key: str) -> str:
    text = ascii_of(key)
    if len(text) > LONGEST_KEY:
        raise StorageError(f"a key of {len(text)} characters is too long")
    return text


def _milliseconds(seconds: float) -> int:
    return max(math.ceil(seconds * 1000), 1)
