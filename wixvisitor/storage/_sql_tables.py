"""The two tables of ``SQLAlchemyStorage``: visitors, and leases. Both are plain SQL, the same on every database.

Texts are stored so that neither the database's encoding nor its collation matters. A key is found by its SHA-256
digest. The key itself, for people and for ``keys()``, is written in ASCII. A record is bytes. Times are milliseconds
since the epoch, by the database's own clock: the clocks of the application's machines do not matter.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

import attrs
from sqlalchemy import BigInteger, Column, Dialect, Index, LargeBinary, MetaData, String, Table, Text, TypeDecorator
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from wixvisitor.errors import ConfigurationError

MYSQL: Final = ("mysql", "mariadb")
LONGEST_KEY: Final = 60_000  # ASCII characters; MySQL's TEXT has room for 65,535
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,39}")  # is the same with and without quotes, on every database
_DIGEST: Final = LargeBinary(32).with_variant(mysql.BINARY(32), *MYSQL)
_RECORD: Final = LargeBinary().with_variant(mysql.MEDIUMBLOB(), *MYSQL)
_VERSION: Final = String(40)


@attrs.frozen
class Tables:
    """The tables, and the ``MetaData`` that they are in."""

    metadata: MetaData
    visitors: Table
    leases: Table


def tables(metadata: MetaData, prefix: str, schema: str | None) -> Tables:
    """Returns the tables in this ``MetaData``, to which they are added if they are not there yet.

    Raises:
        ConfigurationError: a name is not valid.
    """
    for name, value in (("prefix", prefix), ("schema", schema)):
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            if name == "schema" and value is None:
                continue
            raise ConfigurationError(
                f"{name}: expected up to 40 lower-case letters, digits and underscores, no digit first"
            )
    schema = schema or metadata.schema
    names = [f"{prefix}_visitors", f"{prefix}_leases"]
    found = [metadata.tables.get(f"{schema}.{name}" if schema else name) for name in names]
    visitors = found[0] if found[0] is not None else _visitors(metadata, names[0], schema)
    leases = found[1] if found[1] is not None else _leases(metadata, names[1], schema)
    return Tables(metadata, visitors, leases)


def _visitors(metadata: MetaData, name: str, schema: str | None) -> Table:
    return Table(
        name,
        metadata,
        Column("id", _DIGEST, primary_key=True, comment="SHA-256 of the key"),
        Column("visitor_key", Text, nullable=False, comment="client ID, colon, key; in ASCII with Python's escapes"),
        Column("value", _RECORD, nullable=False, comment="the record, which holds secrets"),
        Column("before", _VERSION, nullable=False, comment="the write before the last one"),
        Column("version", _VERSION, nullable=False, comment="the last write"),
        Column("expires_at", BigInteger, comment="milliseconds since 1970; null: never"),
        Index(f"{name}_by_expiry", "expires_at"),
        schema=schema,
    )


def _leases(metadata: MetaData, name: str, schema: str | None) -> Table:
    return Table(
        name,
        metadata,
        Column("id", _DIGEST, primary_key=True, comment="SHA-256 of the visitor's key"),
        Column("holder", _DIGEST, nullable=False, comment="SHA-256 of the holder's name"),
        Column("ends_at", BigInteger, nullable=False, comment="milliseconds since 1970"),
        Index(f"{name}_by_end", "ends_at"),
        schema=schema,
    )


def digest_of(text: str) -> bytes:
    """Returns 32 bytes that identify the text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def ascii_of(key: str) -> str:
    """Returns the key in ASCII, as ``visitor_key`` holds it."""
    return key.encode("unicode_escape").decode("ascii")


def key_of(text: str) -> str:
    """Returns the key that ``ascii_of`` has written.

    Raises:
        ValueError: it did not write this.
    """
    return text.encode("ascii").decode("unicode_escape")


class HiddenBytes(bytes):
    """Bytes whose repr shows nothing, since drivers log their arguments and quote them in errors."""

    def __repr__(self) -> str:
        return "b'[tokens]'"

    __str__ = __repr__


class Hidden(TypeDecorator[bytes]):
    """The type of a record that is written. It hides the bytes from drivers that take any kind of bytes."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> bytes | None:
        """Returns the bytes, hidden unless the driver would not know their class."""
        if value is None:
            return None
        return bytes(value) if dialect.name in MYSQL else HiddenBytes(value)


class now(FunctionElement[int]):  # noqa: N801 - named like SQL's functions
    """The database's time in milliseconds since the epoch, the same within a statement."""

    type = BigInteger()
    inherit_cache = True


@compiles(now, "postgresql")
def _now_in_postgresql(element: now, compiler: Any, **options: Any) -> str:  # noqa: ARG001 - SQLAlchemy's signature
    # Unlike clock_timestamp() it is the same within a statement, so that an index can be used.
    return "CAST(extract(epoch FROM statement_timestamp()) * 1000 AS BIGINT)"


@compiles(now, "mysql")
@compiles(now, "mariadb")
def _now_in_mysql(element: now, compiler: Any, **options: Any) -> str:  # noqa: ARG001 - SQLAlchemy's signature
    # UNIX_TIMESTAMP(NOW()) would be an hour wrong when summer time ends.
    return "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)"


@compiles(now, "sqlite")
def _now_in_sqlite(element: now, compiler: Any, **options: Any) -> str:  # noqa: ARG001 - SQLAlchemy's signature
    return "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
