"""Explains failures of a database to the operator, without quoting what was sent to it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import exc

from wixvisitor._wire.redaction import redact
from wixvisitor.errors import StorageError

# Searched in "exception's class: code: text", in this order. The codes are SQLSTATEs of PostgreSQL
# (https://www.postgresql.org/docs/current/errcodes-appendix.html) and numbers of MySQL and MariaDB
# (https://mariadb.com/kb/en/mariadb-error-code-reference/).
_REASONS: Final = tuple(
    (re.compile(pattern), reason)
    for pattern, reason in {
        r": (42P01|1146):|no such table": (
            "its tables do not exist; run the application's migration with storage.metadata, or call create_table() "
            "once"
        ),
        r": (42703|1054):|no such column|has no column named": (
            "its tables are another program's, or of another version of wixvisitor; they were left as they are"
        ),
        r": (28000|28P01|1045|1698):|password authentication failed": (
            "the server refuses the user name or the password; check the URL or the engine"
        ),
        r": (3D000|1049):|database .* does not exist": "the database does not exist",
        r": (42501|1044|1142|1143):|permission denied": (
            "the user lacks a permission; it needs SELECT, INSERT, UPDATE and DELETE on both tables"
        ),
        r": (25006|1290|1836):|read-?only": (
            "the server is a read-only replica; give the primary's address, or wait for the failover"
        ),
        r": (53300|1040|1203|1226):|too many clients|too many connections": (
            "the server has no connection left; allow fewer in the engine's pool, or more in the server"
        ),
        r": (57P03|57P01|57P02|1053):|is starting up|is shutting down": "the server is starting or shutting down",
        r": (53100|1021|1114):|No space left|disk is full": "the server's disk is full",
        r": (40001|40P01|1213|1020):": "too many calls change the same rows at once",
        r": (55P03|1205):|is locked": "another transaction has locked the table for too long",
        r"QueuePool limit": (
            "all connections of the engine are in use; allow more (pool_size, max_overflow), or return them sooner"
        ),
        r"Event loop is closed|different (event )?loop|RuntimeError.*\bloop\b": (
            "the engine was made in another event loop; give SQLAlchemyStorage a URL, and each loop gets its own"
        ),
        r"ProactorEventLoop": (
            "on Windows psycopg needs another event loop: asyncio.Runner(loop_factory=asyncio.SelectorEventLoop), or "
            "use postgresql+asyncpg://"
        ),
        r"prepared statement": (
            "a pooler before the server mixes prepared statements; turn them off in the engine "
            "(docs/how-to/databases.md)"
        ),
        r"TimeoutError|timeout expired": "no answer in time",
        r": (08\w\w\w|2002|2003|2006|2013):|connection failed|[Cc]onnection (refused|reset|was closed|is closed)"
        r"|closed the connection|Lost connection": "the server cannot be reached",
    }.items()
)
_NO_CONNECTION: Final = "; the server does not answer, or all connections of the engine are in use"
_PASSING: Final = re.compile(  # the same call may succeed in a moment: on a new connection, or after another's commit
    r": (25006|1290|1836|40001|40P01|1213|1020|57P01|57P02|57P03|26000|42P05):|read-?only|prepared statement|is locked"
)
_CONTENTION: Final = re.compile(r": (40001|40P01|1213|1020):")
_READ_ONLY: Final = re.compile(r": (25006|1290|1836):|read-?only")
_QUOTES_VALUES: Final = re.compile(r": (1062|1064|1292|1366|1406|22\w\w\w|23\w\w\w):")


def description_of(error: BaseException) -> str:
    """Returns the class, the code and the first line of a driver's error, for the patterns above.

    PostgreSQL quotes rows in the lines after the first one.
    """
    cause: Any = getattr(error, "orig", None) or error
    code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or ""
    text = str(cause)
    match getattr(cause, "args", ()):
        case [int(number), str(message), *_]:  # PyMySQL's way
            code, text = str(number), message
    return f"{type(cause).__name__}: {code}: {text.partition(chr(10))[0]}"


def is_passing(error: BaseException) -> bool:
    """Whether the call should be made once more: the connection was lost, or another transaction was in the way."""
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return True
    if isinstance(error, OSError | TimeoutError):
        return True
    return isinstance(error, exc.DBAPIError) and bool(_PASSING.search(description_of(error)))


def is_contention(error: BaseException) -> bool:
    """Whether another transaction was in the way, and will soon have ended."""
    return isinstance(error, exc.DBAPIError) and bool(_CONTENTION.search(description_of(error)))


def is_useless(error: BaseException) -> bool:
    """Whether the pool's connections may all lead to a server that is of no use any more.

    SQLAlchemy itself drops them after an error of the network. It cannot tell that they hang, or that the server has
    become a replica.
    """
    return isinstance(error, TimeoutError) or bool(_READ_ONLY.search(description_of(error)))


def explained(verb: str, error: BaseException, secrets: Iterable[str], *, has_connection: bool) -> StorageError:
    """Returns what is raised instead of this exception, without the secrets.

    Args:
        verb: what was to be done.
        error: what was raised.
        secrets: texts that must not appear.
        has_connection: whether the pool had lent a connection.
    """
    description = description_of(error)
    if type(error) is TimeoutError:
        missing = "" if has_connection else _NO_CONNECTION
        return StorageError(f"the database cannot {verb}: no answer in time{missing}")
    name = description.partition(":")[0]
    lost = isinstance(error, OSError) or getattr(error, "connection_invalidated", False)
    unknown = "the server cannot be reached" if lost else name
    reason = next((reason for pattern, reason in _REASONS if pattern.search(description)), unknown)
    detail = "" if _QUOTES_VALUES.search(description) else description.split(": ", 2)[-1]
    code = description.split(": ")[1]
    details = ", ".join(filter(None, [code, redact(detail, secrets)[:200]]))
    return StorageError(f"the database cannot {verb}: {reason}" + (f" ({details})" if details else ""))
