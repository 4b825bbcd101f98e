"""Which ids came from one id by logins. The store keeps them in a list, so that all processes know them.

A browser may send its login twice, or never get the answer. Then the store holds a member under an id that no browser
has. Therefore all ids that came from one id begin with the same characters, and the store has a list of them. A logout
of one of them ends all. The list also shows whether an answer's id is an old one. After a logout a new list begins.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import attrs

from wixvisitor._renewal.decision import Unread
from wixvisitor._renewal.records import Records
from wixvisitor._renewal.settings import Settings
from wixvisitor._tokens import EMPTY_TOKENS
from wixvisitor._wire.redaction import drops_frames_async
from wixvisitor.errors import StorageError
from wixvisitor.storage import VersionConflict

_ALIKE: Final = 20  # characters of an id that its successors share: 120 bits; the other 136 bits are new
_ROUNDS: Final = 8  # attempts to change a list before giving up, if other processes change it as well
_MAX: Final = 32  # logins that a list remembers
_DAY: Final = 86_400.0  # seconds; no answer takes longer, and two machines' clocks do not differ by more


def successor(key: str, new: str) -> str:
    """Returns a new id of the same list.

    Args:
        key: the id from before.
        new: 256 random bits, as an id.
    """
    return key[:_ALIKE] + new[_ALIKE:]


@attrs.frozen
class _Login:
    """One id that a login made, when (seconds since the epoch), and whether a logout has ended it."""

    key: str = attrs.field(repr=False)
    at: float
    ended: bool = False


class Logins:
    """The lists of a pool's store.

    Raises:
        StorageError: by every method: the store cannot be read or written.

    Concurrency: safe between processes where the store compares and sets.
    Cancellation: a list is written whole, or not at all.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def add(self, left: str, key: str) -> list[str]:
        """Notes a login before it is saved. Returns the ids to forget, if the list has become too long."""
        new = _Login(key, self._settings.clock())
        before = await self._changed(left, lambda logins: [*logins, new][-_MAX:])
        return [login.key for login in before[: max(0, len(before) + 1 - _MAX)] if not login.ended]

    async def end(self, key: str, *, but: str) -> list[str]:
        """Notes a logout, and returns the ids to forget with it.

        Args:
            key: the id that logged out.
            but: an id that is kept: that of another member who logged in instead.
        """
        before = await self._changed(key, lambda logins: [attrs.evolve(one, ended=one.key != but) for one in logins])
        return [login.key for login in before if login.key not in (key, but)]

    async def is_outdated(self, key: str, *, is_new: bool) -> bool:
        """Whether a login or logout came after this id.

        Args:
            key: the id that an answer will give to the browser.
            is_new: whether this request made the id.
        """
        logins, _ = await _List(self._settings, key).read()
        place = next((place for place, login in enumerate(logins) if login.key == key), -1)
        if is_new or (place >= 0 and logins[place].ended):
            return place >= 0 and logins[place].ended
        now = self._settings.clock()
        # If a later login is older than a day, its answer never reached this browser, which still uses the old id.
        return any(abs(now - login.at) < _DAY for login in logins[place + 1 :])

    async def _changed(self, key: str, change: Callable[[list[_Login]], list[_Login]]) -> list[_Login]:
        """Changes a list, and returns it as it was."""
        where = _List(self._settings, key)
        for _ in range(_ROUNDS):
            before, version = await where.read()
            after = change(before)
            if after == before:
                return before
            try:
                await where.write(after, version)
            except VersionConflict:
                continue
            return before
        raise StorageError("the list of a visitor's logins could not be saved: other requests keep changing it")


class _List(Records):
    """One list: a record without tokens, under the part that its ids have in common."""

    __slots__ = ()

    def __init__(self, settings: Settings, key: str) -> None:
        super().__init__(settings, f"{key[:_ALIKE]}.logins")

    @drops_frames_async
    async def read(self) -> tuple[list[_Login], str | Unread | None]:
        """Returns the logins, the oldest first, and the version for a write. A damaged list is empty."""
        record, content = await self._read()
        return ([], None) if record is None else (_parsed(content), record.version or Unread.UNREAD)

    @drops_frames_async
    async def write(self, logins: list[_Login], version: str | Unread | None) -> None:
        """Writes the list, if the store still holds what was read."""
        content = {"format": 1, "clientId": self.settings.client_id, **EMPTY_TOKENS.to_dict()}
        text = json.dumps(content | {"logins": [attrs.astuple(login) for login in logins]}, separators=(",", ":"))
        await self._write(text, version, is_brief=all(login.ended for login in logins))


def _parsed(content: Any) -> list[_Login]:
    try:
        found = [_Login(*login) for login in content["logins"]]
    except (TypeError, LookupError):
        return []
    is_ours = all(isinstance(one.key, str) and isinstance(one.at, int | float) for one in found)
    return found if is_ours else []
