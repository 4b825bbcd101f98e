"""The statements of ``SQLAlchemyStorage``. Each compares and sets by itself, in one round trip.

A version is made before the statement is sent. So a statement that is sent again, because its reply was lost, finds
that it was done: its version is in the row as ``version``, or as ``before`` if another process has written since. It
finds this by a write, not by a read: with ``synchronous_commit`` PostgreSQL shows a commit whose wait for the replica
was cancelled (https://www.postgresql.org/docs/current/warm-standby.html#SYNCHRONOUS-REPLICATION), and only the commit
of a later write says that the replica has both.

"Must not exist" is one statement on PostgreSQL and SQLite (``ON CONFLICT … DO UPDATE … WHERE``, documented in
https://www.postgresql.org/docs/current/sql-insert.html). MySQL has no such condition. There an ``INSERT`` that fails
on an existing row is followed by an ``UPDATE`` of that row under the same condition. Either one is atomic, so together
they are as safe.
"""

from __future__ import annotations

from typing import Any

import attrs
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Executable,
    Table,
    and_,
    bindparam,
    delete,
    insert,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite

from wixvisitor.storage._sql_tables import MYSQL, Hidden, Tables, now

Steps = tuple[Executable, ...]  # the first that changes a row ends it


@attrs.frozen(kw_only=True)
class Statements:
    """What is sent to one kind of database.

    Attributes:
        load: the record of ``id``, and how long it lives on.
        touch: gives the version ``held`` of ``id`` a new life.
        confirm: gives the row of ``id`` a new life if it was ``written``, or was before another write.
        create: writes the row if there is none that lives.
        replace: writes the row if the version is ``held``.
        write: writes the row.
        delete: removes the record of ``id``.
        acquire: writes the lease if it is free or the holder's.
        remaining: how long the lease of ``id`` lasts.
        release: removes the lease of ``id`` if it is the holder's.
        listed: at most ``most`` keys whose id is larger than ``after``.
        expired: at most ``most`` ids of records that have expired.
        purge: removes those among ``ids`` that have expired.
        expired_leases: at most ``most`` ids of leases that have ended.
        purge_leases: removes those among ``ids`` that have ended.
    """

    load: Executable
    touch: Executable
    confirm: Executable
    create: Steps
    replace: Steps
    write: Steps
    delete: Executable
    acquire: Steps
    remaining: Executable
    release: Executable
    listed: Executable
    expired: Executable
    purge: Executable
    expired_leases: Executable
    purge_leases: Executable


def statements(tables: Tables, dialect: str) -> Statements:
    """Returns the statements for a dialect: ``postgresql``, ``mysql``, ``mariadb`` or ``sqlite``."""
    visitors, leases = tables.visitors, tables.leases
    id_ = bindparam("id_", type_=visitors.c.id.type)
    most = bindparam("most", type_=BigInteger)
    lives = or_(visitors.c.expires_at.is_(None), visitors.c.expires_at > now())
    is_held = visitors.c.version == bindparam("held", type_=visitors.c.version.type)
    ours = leases.c.holder == bindparam("holder", type_=leases.c.holder.type)
    ended = leases.c.ends_at <= now()
    row = _row(visitors)
    return Statements(
        load=select(visitors.c.value, visitors.c.version, (visitors.c.expires_at - now()).label("remaining")).where(
            visitors.c.id == id_, lives
        ),
        touch=update(visitors).where(visitors.c.id == id_, is_held).values(expires_at=row["expires_at"]),
        confirm=update(visitors)
        .where(visitors.c.id == id_, or_(visitors.c.version == row["version"], visitors.c.before == row["version"]))
        .values(expires_at=row["expires_at"]),
        create=_insert(dialect, visitors, row, unless=visitors.c.expires_at <= now()),
        replace=(_update(visitors, row, and_(is_held, lives)),),
        write=_insert(dialect, visitors, row, unless=None),
        delete=delete(visitors).where(visitors.c.id == id_),
        acquire=_insert(dialect, leases, _lease(leases), unless=or_(ours, ended)),
        remaining=select(leases.c.ends_at - now()).where(leases.c.id == id_),
        release=delete(leases).where(leases.c.id == id_, ours),
        listed=select(visitors.c.id, visitors.c.visitor_key)
        .where(visitors.c.id > bindparam("after", type_=visitors.c.id.type), lives)
        .order_by(visitors.c.id)
        .limit(most),
        expired=select(visitors.c.id).where(visitors.c.expires_at <= now()).order_by(visitors.c.expires_at).limit(most),
        purge=_purge(visitors, visitors.c.expires_at <= now()),
        expired_leases=select(leases.c.id).where(ended).order_by(leases.c.ends_at).limit(most),
        purge_leases=_purge(leases, ended),
    )


def _row(visitors: Table) -> dict[str, Any]:
    return {
        "id": bindparam("id_", type_=visitors.c.id.type),
        "visitor_key": bindparam("key", type_=visitors.c.visitor_key.type),
        "value": bindparam("text", type_=Hidden),
        "before": literal_column("''"),
        "version": bindparam("written", type_=visitors.c.version.type),
        "expires_at": now() + bindparam("life", type_=BigInteger),  # null, if life is null
    }


def _lease(leases: Table) -> dict[str, Any]:
    return {
        "id": bindparam("id_", type_=leases.c.id.type),
        "holder": bindparam("holder", type_=leases.c.holder.type),
        "ends_at": now() + bindparam("life", type_=BigInteger),
    }


def _changes(table: Table, row: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Returns what an update sets. MySQL sets one after the other, so ``before`` comes first."""
    changes = {name: value for name, value in row.items() if name not in {"id", "visitor_key"}}
    if "before" in changes:
        changes = {**changes, "before": table.c.version}
    return [(table.c[name], value) for name, value in changes.items()]


def _update(table: Table, row: dict[str, Any], condition: ColumnElement[bool]) -> Executable:
    return update(table).where(table.c.id == row["id"], condition).ordered_values(*_changes(table, row))


def _insert(dialect: str, table: Table, row: dict[str, Any], *, unless: ColumnElement[bool] | None) -> Steps:
    """Returns the steps that insert a row, or replace the one that is there.

    Args:
        dialect: the database's kind.
        table: the table.
        row: its new row.
        unless: replace the row only if this holds for it; None: always.
    """
    changes = [(column.name, value) for column, value in _changes(table, row)]
    if dialect not in MYSQL:
        inserting = (postgresql if dialect == "postgresql" else sqlite).insert(table).values(row)
        writing = inserting.on_conflict_do_update(index_elements=["id"], set_=dict(changes), where=unless)
        return (writing.execution_options(preserve_rowcount=True),)
    if unless is None:
        writing_over = mysql.insert(table).values(row).on_duplicate_key_update(changes)
        return (writing_over.execution_options(preserve_rowcount=True),)
    return insert(table).values(row), _update(table, row, unless)


def _purge(table: Table, condition: ColumnElement[bool]) -> Executable:
    ids = bindparam("ids", type_=table.c.id.type, expanding=True)
    return delete(table).where(table.c.id.in_(ids), condition)
