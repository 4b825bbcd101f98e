"""Judges logouts, and whether a visitor is asked for where one is stored: rule 15, with ``logins``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from wixvisitor import ConfigurationError, StorageError, VisitorSession

from .wix import Identity

if TYPE_CHECKING:
    from .scheduler import Process
    from .watch import Watch

Place = tuple["Process", str]


@attrs.frozen(eq=False)
class LoggingOut:
    """One call of ``logout``.

    Attributes:
        held: who the session was.
        stored: who was in the store.
        had_read: whether the session had read the store.
        earlier: what ``Watch.app_forgets`` returned.
        since: when it was called.
    """

    place: Place
    session: VisitorSession
    held: Identity | None
    stored: Identity | None
    had_read: bool
    earlier: Any
    since: float


class Logouts:
    """What was seen of logouts and of new visitors."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._gone: dict[tuple[str, Identity], float] = {}

    def logs_out(self, process: Process, key: str, session: VisitorSession) -> LoggingOut:
        """``logout`` is about to be called."""
        watch, wix = self._watch, self._watch.wix
        held, stored = (wix.identity(one.access_token.value) for one in (session.get_tokens(), watch.stored(key)))
        had_read = session._refresher.state.held is not None
        earlier = watch.app_forgets(process, key, takes_long=True)
        return LoggingOut((process, key), session, held, stored, had_read, earlier, process.scheduler.now)

    def logged_out(self, call: LoggingOut, error: BaseException | None) -> None:
        """It has returned or raised: in either case the tokens are gone, here and soon everywhere."""
        self._check_logout(call, error)
        self._watch.app_ends_to_forget(*call.place)

    def _check_logout(self, call: LoggingOut, error: BaseException | None) -> None:
        (process, key), watch = call.place, self._watch
        if isinstance(error, ConfigurationError) and error.status_code is None:
            was_there = call.stored is not None and watch.has_been_stored(key, process.scheduler.now - call.since)
            if was_there and not call.had_read:
                self._fail(f"{process.name} says that nobody is logged in for {key}, and has not read the store")
            return
        if isinstance(error, StorageError):
            watch.app_has_not_forgotten(process, key)
            return
        watch.app_has_forgotten(process, key, call.earlier)
        self._check_is_gone(call)
        for identity in (call.held, call.stored):
            if identity is not None:
                self._gone[key, identity] = process.scheduler.now

    def left_logging_out(self, call: LoggingOut) -> None:
        """Its caller was cancelled; the tokens are gone a little later."""
        (process, key), watch = call.place, self._watch
        now = process.scheduler.now

        def check() -> None:
            watch.app_ends_to_forget(process, key)
            is_closed = process.ended or watch.logins.is_closed(process, now)
            if not is_closed and not watch.store_has_failed(process, key, since=now):
                self._check_is_gone(call)

        if not process.killed:
            process.scheduler.at(now + watch.bound, check)

    def _check_is_gone(self, call: LoggingOut) -> None:
        identity = self._watch.wix.identity(call.session.get_tokens().access_token.value)
        if identity is not None and identity == call.held:
            name = self._watch.wix.name(identity)
            self._fail(f"{call.place[0].name} still has {name} for {call.place[1]}, who was logged out")

    def renewed(self, process: Process, key: str, identity: Identity) -> None:
        """Wix has renewed this member or visitor for a process."""
        since = self._gone.get((key, identity))
        is_late = since is not None and process.scheduler.now - since > self._watch.bound
        if is_late and not process.stopped_for and not self._watch.has_gone_back(key):
            self._fail(f"{process.name} renews {self._watch.wix.name(identity)} for {key}, who was logged out")

    def mints(self, process: Process, key: str) -> None:
        """A new visitor is asked for."""
        watch, stored = self._watch, self._watch.stored(key)
        if process.killed or process.stopped_for or watch.has_gone_back(key) or watch.has_wild_clocks:
            return
        value = stored.refresh_token.value
        if value and value not in watch.wix.refused and watch.has_been_stored(key, watch.bound):
            name = watch.wix.name(watch.wix.identity(stored.access_token.value))
            self._fail(f"{process.name} asks for a new visitor for {key}, which is {name}")

    def _fail(self, text: str) -> None:
        self._watch.fail(15, text)
