"""Reads a visitor's record without a task of its own, if the store is one of ours that allows it.

The lane's task protects a visitor from a store that hangs and from callers that are cancelled. A read of
``MemoryStorage`` never waits, and a read of ``SQLiteStorage`` ends as soon as its caller is cancelled. So both need no
protection, and each caller reads by itself.
"""

from __future__ import annotations

from typing import Protocol

import attrs

from wixvisitor._renewal.decision import Snapshot
from wixvisitor._renewal.records import Records, snapshot_of_record
from wixvisitor._wire.redaction import drops_frames
from wixvisitor.storage import Record


@attrs.frozen(eq=False, repr=False)
class Known:
    """A record, and the token snapshot made from it.

    Attributes:
        record: the record as the store returned it; None: there was none.
        snapshot: the token snapshot of a session that reads it.
        trusts_exp: whether the token's own expiry was used for that; see ``ServerClock``.
    """

    record: Record | None
    snapshot: Snapshot
    trusts_exp: bool


class KnownRecords(Protocol):
    """The records that were read last and their snapshots, by visitor."""

    def get(self, key: str, /) -> Known | None:
        """Returns the visitor's record and snapshot, None if there is none."""
        ...

    def put(self, key: str, thing: Known, /) -> None:
        """Keeps them for a while."""
        ...


async def read(records: Records, known: KnownRecords | None = None) -> Known:
    """Reads a record, and returns it with its token snapshot. The store is asked each time.

    Args:
        records: the visitor's records in the store.
        known: records that were read before. A record that did not change is not parsed again.

    Raises:
        StorageError: the store cannot be read, or the record is damaged.
    """
    record = await records.fetch()
    before = None if known is None else known.get(records.key)
    trusts_exp = records.settings.server_clock.trusts_exp
    is_same = before is not None and (before.record is record or before.record == record)
    if before is not None and is_same and before.trusts_exp == trusts_exp:
        return before
    found = _made(records, record)
    if known is not None and record is not None:
        known.put(records.key, found)
    return found


@drops_frames
def _made(records: Records, record: Record | None) -> Known:
    """Parses a record, and returns it with its token snapshot."""
    records.note(record)
    snapshot = snapshot_of_record(records.settings, records.last_read())
    return Known(record, snapshot, records.settings.server_clock.trusts_exp)
