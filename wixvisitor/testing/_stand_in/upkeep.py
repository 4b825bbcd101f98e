"""What lets a stand-in run for weeks: what is kept has bounds, and changes are saved."""

import time
from collections.abc import Callable
from threading import Lock
from typing import Final

import anyio
from anyio import CancelScope, to_thread
from attrs import define, field

from wixvisitor.testing._fake import FakeWix
from wixvisitor.testing._stand_in.clock import Clock
from wixvisitor.testing._stand_in.member_state import dump_members
from wixvisitor.testing._stand_in.state import dump_state
from wixvisitor.testing._stand_in.state_file import StateFile
from wixvisitor.testing._visitors import IssuedToken, Visitors

KEPT_CALLS: Final = 1_000
"""How many calls a stand-in keeps."""
KEPT_VISITORS: Final = 10_000
"""How many visitors a stand-in keeps unless it is told otherwise."""
_KEPT_TOKENS: Final = 50  # of each kind and visitor
_GRACE: Final = 3_600  # seconds for which an expired token is kept; the page shows it as expired
_TIDY_EVERY: Final = 5.0  # seconds
_LOOK_EVERY: Final = 0.1  # seconds between two looks for changes
_REST: Final = 10  # after a save, a rest of so many times its duration


@define(eq=False)
class Changes:
    """Counts what changes a visitor or a cart. Safe from any thread."""

    count: int = 0
    _lock: Lock = field(factory=Lock, repr=False)

    def note(self) -> None:
        """Notes a change."""
        with self._lock:
            self.count += 1


@define(eq=False, kw_only=True)
class Upkeep:
    """Keeps a served FakeWix small, and saves its state if there is a file.

    Attributes:
        kept_visitors: How many visitors are kept.
        file: Where the state is saved, or None.
        complain: Called with a text if saving fails. It is tried again.

    """

    fake: FakeWix
    changes: Changes
    kept_visitors: int
    file: StateFile | None
    complain: Callable[[str], None]
    _saved: int = -1
    _failing: bool = False

    async def run(self) -> None:
        """Runs until it is cancelled.

        Cancellation: a save that has begun is completed.
        """
        tidied, rested = time.monotonic(), 0.0
        while True:
            if time.monotonic() - tidied >= _TIDY_EVERY:
                tidied = time.monotonic()
                tidy(self.fake, self.kept_visitors)
                if isinstance(self.fake._clock, Clock) and self.fake._clock.speed != 1:
                    self.changes.note()  # else a restart after a kill would turn the clock back
            if self._saved != self.changes.count and time.monotonic() >= rested:
                began = time.monotonic()
                await self.save()
                rested = time.monotonic() + _REST * (time.monotonic() - began)
            await anyio.sleep(_LOOK_EVERY)

    async def save(self) -> None:
        """Saves what has changed since the last save."""
        if self.file is None or self._saved == self.changes.count:
            return
        count = self.changes.count
        try:
            with CancelScope(shield=True):
                await to_thread.run_sync(self.save_now)
        except OSError as error:
            if not self._failing:
                reason = error.strerror or type(error).__name__
                self.complain(f"cannot save {self.file.path}: {reason}; it is tried again until it succeeds")
            self._failing = True
        else:
            self._saved, self._failing = count, False

    def save_now(self) -> None:
        """Saves the state. Blocking.

        Raises:
            OSError: It cannot be written.

        """
        fake = self.fake
        with fake._lock:
            content = dump_state(fake._visitors, fake_time=fake.now(), real_time=time.time())
            content["members"] = dump_members(fake._members)
        if self.file is not None:
            self.file.write(content)


def tidy(fake: FakeWix, kept_visitors: int = KEPT_VISITORS) -> None:
    """Forgets expired tokens, ended faults, and if there are too many, old members and visitors who are long away."""
    with fake._lock:
        visitors = fake._visitors
        _forget_visitors(visitors, kept_visitors)
        _forget_members(fake, kept_visitors)
        for table in (visitors.access_tokens, visitors.refresh_tokens):
            _forget_tokens(table, visitors)
        fake._faults.forget_ended()


def _forget_visitors(visitors: Visitors, kept: int) -> None:
    if len(visitors.by_id) > kept:
        latest = sorted(visitors.by_id.values(), key=lambda visitor: visitor.seen_at)[-kept:]
        visitors.by_id = {visitor.id: visitor for visitor in latest}


def _forget_members(fake: FakeWix, kept: int) -> None:
    members, hosted = fake._members, fake._hosted
    for member_id in list(members.by_id)[: max(0, len(members.by_id) - kept)]:
        del members.by_id[member_id]
    for member in members.by_id.values():
        if member.home is not None and member.home.id not in fake._visitors.by_id:
            member.home = None
    hosted.unknown_logins = {login for login in hosted.unknown_logins if login[0] in fake._visitors.by_id}


def _forget_tokens(table: dict[str, IssuedToken], visitors: Visitors) -> None:
    now, seen, forgotten = visitors.server_time(), dict[str, int](), list[str]()
    for value, token in reversed(table.items()):  # the newest first
        owner = token.visitor.id
        is_latest = owner not in seen
        seen[owner] = seen.get(owner, 0) + 1
        is_old = token.expires_at + _GRACE < now and not is_latest
        if owner not in visitors.by_id or is_old or seen[owner] > _KEPT_TOKENS:
            forgotten.append(value)
    for value in forgotten:
        del table[value]
