"""Judges logins and checkouts: rule 15, with ``logouts``. It does not ask the code.

A login's tokens are known when Wix has exchanged its code. From then on they are tokens that the app sets, in the order
of the calls of ``finish_login``; if the call then fails they must not be seen again.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import attrs

from wixvisitor import AccessToken, RefreshToken, StorageError, TokenRole, Tokens
from wixvisitor.members import MemberLogin, MemberLoginError

from .site import MAX_ATTEMPT
from .wix import Identity

if TYPE_CHECKING:
    from .scheduler import Process
    from .watch import Watch

Place = tuple["Process", str]
_finishing: ContextVar[Finishing | None] = ContextVar("finishing", default=None)


@attrs.define(eq=False)
class Finishing:
    """One call of ``finish_login``.

    Attributes:
        code: with which it was called.
        tokens: what Wix has granted; before that, tokens that are nobody's.
        must_fail: whether it has to fail, whatever Wix says.
        since: when it was called.
        asked_at: when it asked Wix.
        stopped_for: seconds that the process had been stopped by then.
        is_granted: whether Wix has exchanged the code.
        was_told: whether its caller has got tokens or an error; not one that was cancelled.
        has_arrived: whether the answer came in time.
    """

    place: Place
    code: str
    tokens: Tokens
    must_fail: bool
    since: float
    stopped_for: float
    asked_at: float = 0.0
    is_granted: bool = False
    was_told: bool = False
    has_arrived: bool = False


class Logins:
    """What was seen of logins and checkouts."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._number = 0
        self._void: dict[Identity, str] = {}
        self._reached: set[tuple[Place, Identity]] = set()
        self._closed_at: dict[Process, float] = {}
        self._closing: set[Process] = set()

    # A login begins

    def begun(
        self, process: Process, key: str, login: MemberLogin, before: Identity | None, after: Identity | None
    ) -> None:
        """``start_login`` has returned: what the visitor had is kept, whose cart may be another one's afterwards."""
        wix = self._watch.wix
        previous, whose = wix.identity(login.previous.access_token.value), wix.pages.visitor_of(login.url)
        self._watch.note(process, f"has begun a login for {key}, before it was {wix.name(previous)}")
        if previous != after:
            self._fail(f"{process.name} begins a login of {wix.name(after)} and says it was {wix.name(previous)}")
        if before is not None and before == after and whose != before[0]:
            self._fail(f"{process.name} begins a login for {key} whose link is not {wix.name(before)}'s")
        if MemberLogin.from_json(login.to_json()) != login:
            self._fail(f"{process.name} begins a login for {key} that is another one when it was saved and read")

    # … and is finished

    def finishes(self, process: Process, key: str, code: str, *, must_fail: bool) -> Finishing:
        """``finish_login`` is about to be called."""
        place, now = (process, key), process.scheduler.now
        self._number += 1
        nobody = f"login {self._number}"
        tokens = Tokens(AccessToken(nobody, 0), RefreshToken(nobody, TokenRole.MEMBER))
        call = Finishing(place, code, tokens, must_fail, now, process.stopped_for)
        self._watch.app_logs_in(process, key, tokens)
        _finishing.set(call)
        return call

    def asks(self, process: Process, code: str) -> Finishing | None:
        """A code is about to be sent to Wix, in the work that the call has started. Returns the call."""
        call = _finishing.get()
        if process.killed:
            return None
        if call is None or call.code != code or call.asked_at:
            self._fail(f"{process.name} sends a code for which no login is finished, or sends it again")
            return None
        if call.must_fail:
            self._fail(f"{process.name} sends a code for {call.place[1]} though the callback was not its own")
        call.asked_at = process.scheduler.now
        return call

    def granted(self, call: Finishing | None, answer: dict[str, Any]) -> None:
        """Wix has exchanged a code."""
        if call is None:
            return
        new = Tokens(AccessToken(answer["access_token"], 0), RefreshToken(answer["refresh_token"], TokenRole.MEMBER))
        old, call.tokens, call.is_granted = call.tokens, new, True
        if call.was_told:
            self.voids(call, "whose caller was told that it had failed")
        else:
            self._watch.login_is_granted(*call.place, old, new)

    def arrives(self, call: Finishing | None) -> None:
        """The tokens are in the process. They are not lost, also if the caller has left."""
        if call is None or not call.is_granted:
            return
        process, watch = call.place[0], self._watch
        now = process.scheduler.now
        call.has_arrived = call.has_arrived or now - call.asked_at < 0.9 * watch.renew_timeout
        if call.has_arrived:
            process.scheduler.at(now + watch.bound, lambda: self._check_reached(call, now))

    def broken_off(self, call: Finishing) -> None:
        """The exchange was cancelled in the process. That is for a closed app, or when its time is over."""
        process = call.place[0]
        is_late = process.scheduler.now - call.asked_at > 0.9 * min(self._watch.renew_timeout, MAX_ATTEMPT)
        if not (
            is_late or self.is_closed(process, call.since) or process.killed or process.stopped_for > call.stopped_for
        ):
            self._fail(f"{process.name} breaks off the exchange of a login for {call.place[1]}")

    def _check_reached(self, call: Finishing, arrived: float) -> None:
        (process, key), watch = call.place, self._watch
        has_reason = process.killed or call.was_told or watch.store_has_failed(process, key, since=arrived)
        if not has_reason and not self._is_reached(call):
            self._fail(f"{process.name} has lost a login for {key}, whose caller left")

    def _is_reached(self, call: Finishing) -> bool:
        """Whether the tokens were held or saved, or need not be: the app was closed, or its process was stopped."""
        process, identity = call.place[0], self._watch.wix.identity(call.tokens.access_token.value)
        if process.stopped_for > call.stopped_for or self.is_closed(process, call.since):
            return True
        if call.place not in self._watch.sessions:
            return True  # the app has let it go
        return identity is not None and (call.place, identity) in self._reached

    def finished(self, call: Finishing, tokens: Tokens) -> None:
        """``finish_login`` has returned."""
        process, key = call.place
        call.was_told = True
        if call.must_fail:
            self._fail(f"{process.name} finishes a login for {key} that is not its own")
        elif not call.is_granted or tokens.access_token.value != call.tokens.access_token.value:
            self._fail(f"{process.name} finishes a login for {key} with tokens that are not the member's")
        else:
            self._watch.app_has_set(process, key, call.tokens)

    def failed(self, call: Finishing, error: BaseException) -> None:
        """``finish_login`` has raised: but for the store's errors, nothing has changed."""
        process, key = call.place
        call.was_told = True
        if call.is_granted:
            self._watch.app_has_not_set(process, key, call.tokens)
        if isinstance(error, StorageError):
            if call.has_arrived and not self._is_reached(call):
                self._fail(f"{process.name} does not hold the login for {key} that it could not save")
            return
        if call.must_fail and not isinstance(error, MemberLoginError):
            self._fail(f"{process.name} says {type(error).__name__} of a callback for {key} that is not its own")
        self.voids(call, f"whose login failed with {type(error).__name__}")

    def voids(self, call: Finishing, why: str) -> None:
        """These tokens must not be seen."""
        process, key = call.place
        self._watch.login_is_void(process, key, call.tokens)
        identity = self._watch.wix.identity(call.tokens.access_token.value)
        if identity is not None:
            self._void[identity] = why
            if (call.place, identity) in self._reached:
                self._fail(f"{process.name} has {self._watch.wix.name(identity)} for {key}, {why}")

    # A checkout

    def checks_out(self, process: Process, key: str, url: str, before: Identity | None, after: Identity | None) -> None:
        """``checkout.url`` has returned: it leads to the cart of the visitor, who was the same before and after."""
        whose = self._watch.wix.pages.visitor_of(url)
        if before is not None and before == after and whose != before[0]:
            self._fail(f"{process.name} leads {self._watch.wix.name(before)} of {key} to another one's cart")

    # What is seen of all of them

    def is_closing(self, process: Process) -> None:
        """The app is about to close its pool or its sessions."""
        self._closing.add(process)

    def closes(self, process: Process) -> None:
        """It has closed them."""
        self._closing.discard(process)
        self._closed_at[process] = process.scheduler.now

    def is_closed(self, process: Process, since: float) -> bool:
        """Whether the app is closing, or was closed since then."""
        return process in self._closing or self._closed_at.get(process, -1.0) >= since

    def reaches(self, process: Process, key: str, tokens: Tokens) -> None:
        """These tokens are held, or are about to be saved."""
        identity = self._watch.wix.identity(tokens.access_token.value)
        if identity is None:
            return
        self._reached.add(((process, key), identity))
        if identity in self._void:
            self._fail(f"{process.name} has {self._watch.wix.name(identity)} for {key}, {self._void[identity]}")

    def _fail(self, text: str) -> None:
        self._watch.fail(15, text)
