"""What ``on_event`` and ``on_change`` are told. Pure. No event holds a secret.

======================  ==============================================================================
``TokensChanged``       a visitor was minted, renewed, adopted, replaced, set or forgotten
``TokenRequested``      Wix's token endpoint was asked once
``TokenWaited``         a caller waited for a token, or was turned away during a pause
``PauseBegan``          token requests pause: one visitor's, or all of the site
``PauseEnded``          the first success after a pause
``LeaseWaited``         another process held the visitor's lease
``StoreCalled``         the storage was called once
======================  ==============================================================================
"""

from __future__ import annotations

from typing import Literal

import attrs

from wixvisitor._renewal.changes import Event


@attrs.frozen(kw_only=True)
class TokenRequested(Event):
    """Wix's token endpoint was asked once. A renewal asks up to three times.

    Attributes:
        key: which record of the storage.
        grant_type: ``"anonymous"`` mints a visitor, ``"refresh_token"`` renews one, ``"authorization_code"`` and
            ``"authorized_client"`` log a member in; the request's own words.
        outcome: ``"granted"``; ``"refused"``: Wix refused the refresh token or the login; ``"failed"``: no usable
            answer; ``"frozen"``: the process stood still meanwhile; ``"cancelled"``.
        status_code: the answer's HTTP status; None if there was no answer.
        request_id: Wix's own id of the request; None if it sent none.
        error_type: the class of what failed; None if nothing did.
        seconds: how long it took.
        attempt: 1 for the first request of a renewal.
        is_background: whether no caller waits for it.
    """

    key: str
    grant_type: str
    outcome: Literal["granted", "refused", "failed", "frozen", "cancelled"]
    status_code: int | None = None
    request_id: str | None = None
    error_type: str | None = None
    seconds: float
    attempt: int
    is_background: bool


@attrs.frozen(kw_only=True)
class TokenWaited(Event):
    """A caller had no token that works, and waited. Each caller has an event of its own.

    Attributes:
        key: which record of the storage.
        outcome: ``"ended"``: the renewal that it waited for ended well; ``"failed"``; ``"cancelled"``: the caller left;
            ``"paused"``: it was turned away at once, because of a pause.
        seconds: how long it waited.
    """

    key: str
    outcome: Literal["ended", "failed", "cancelled", "paused"]
    seconds: float


@attrs.frozen(kw_only=True)
class PauseBegan(Event):
    """Token requests pause after a failure. A further failure begins a longer pause, with an event of its own.

    Attributes:
        key: the visitor whose requests pause; None: those of all the pool's visitors.
        seconds: how long.
        failures: how many pauses there were in a row, this one included.
        status_code: the failed answer's HTTP status; None if there was no answer.
        request_id: Wix's own id of the failed request; None if there is none.
        error_type: the class of what failed.
    """

    key: str | None
    seconds: float
    failures: int
    status_code: int | None = None
    request_id: str | None = None
    error_type: str | None = None


@attrs.frozen(kw_only=True)
class PauseEnded(Event):
    """What paused works again: after the first success, or once other tokens were set.

    Attributes:
        key: as in ``PauseBegan``.
    """

    key: str | None


@attrs.frozen(kw_only=True)
class LeaseWaited(Event):
    """Another process was renewing the same visitor.

    Attributes:
        key: which record of the storage.
        outcome: ``"adopted"``: its tokens are used now; ``"taken_over"``: its lease has ended, and this process has the
            lease now; ``"went_ahead"``: the lease was not free in time, so this process renews without it.
        seconds: how long this process waited.
    """

    key: str
    outcome: Literal["adopted", "taken_over", "went_ahead"]
    seconds: float


@attrs.frozen(kw_only=True)
class StoreCalled(Event):
    """The storage was called once.

    Attributes:
        key: which record of the storage, without the client ID.
        store: the storage's class.
        operation: ``"load"``, ``"save"``, ``"delete"`` or ``"lease"``.
        outcome: ``"done"``; ``"conflict"``: another process saved first; ``"failed"``; ``"cancelled"``.
        error_type: the class of what failed; None if nothing did.
        seconds: how long it took.
    """

    key: str
    store: str
    operation: Literal["load", "save", "delete", "lease"]
    outcome: Literal["done", "conflict", "failed", "cancelled"]
    error_type: str | None = None
    seconds: float
