"""The checked arguments that all sessions of one site share."""

from __future__ import annotations

import inspect
import random
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, Final, cast, get_args

import attrs

from wixvisitor._checks import checked_client_id, checked_retries
from wixvisitor._renewal.changes import Event, Policy, TokensChanged
from wixvisitor._renewal.decision import OnRefused
from wixvisitor._renewal.observers import Observers
from wixvisitor._tasks.locks import fork_safe_lock
from wixvisitor._wire import token_endpoint
from wixvisitor._wire.token_endpoint import TokenAnswer, Verdict
from wixvisitor.errors import ConfigurationError
from wixvisitor.storage import LeasingStorage, TokenStorage
from wixvisitor.storage._protocol import loads_end_at_once, never_waits, takes_expected, takes_keep_for

if TYPE_CHECKING:
    from wixvisitor._http.origins import Origins
    from wixvisitor._renewal.limiter import Limiter
    from wixvisitor._renewal.server_clock import ServerClock

_VERDICTS: Final[tuple[str, ...]] = get_args(Verdict)
_DEPRECATED: Final = (
    'is_refusal= is deprecated, and version 0.2 removes it: give judge_refusal=, a function that returns "certain" '
    '(what True was), "doubtful" or "never" (what False was)'
)


def wall_clock() -> float:
    """Returns the time in seconds since the epoch; looked up at each call, so that tests can move it."""
    return time.time()


def _never_waits(settings: Settings) -> bool:
    return never_waits(settings.storage)


def _loads_end_at_once(settings: Settings) -> bool:
    return loads_end_at_once(settings.storage)


@attrs.frozen(kw_only=True, eq=False, repr=False, match_args=False)
class Settings:
    """The checked arguments of a session or a pool, documented there, and what is known of Wix's time.

    Attributes:
        never_waits: whether the store's calls never wait; see the function.
        loads_end_at_once: whether a ``load`` needs no task of its own; see the function.
    """

    client_id: str
    origins: Origins
    storage: TokenStorage
    conditional: bool
    keeps_briefly: bool  # whether its save takes keep_for, the seconds that a record must be kept
    leases: LeasingStorage | None
    renew_before: float
    renew_timeout: float
    on_refused: OnRefused
    observers: Observers
    judge_refusal: Callable[[TokenAnswer], Verdict]
    clock: Callable[[], float]
    server_clock: ServerClock
    limiter: Limiter
    max_retries: int = 2  # of reading calls of ``wixvisitor.apis``
    lock: threading.Lock = attrs.field(factory=fork_safe_lock)  # of the token states of all its visitors
    writes: dict[str, Any] = attrs.field(factory=dict)  # the write calls under way in the store, by key
    jitter: Callable[[], float] = random.random  # spreads load, protects nothing
    never_waits: bool = attrs.field(init=False, default=attrs.Factory(_never_waits, takes_self=True))
    loads_end_at_once: bool = attrs.field(init=False, default=attrs.Factory(_loads_end_at_once, takes_self=True))


def checked(
    client_id: str,
    *,
    storage: TokenStorage,
    base_url: str | None,
    allowed_origins: Sequence[str],
    renew_before: float,
    renew_timeout: float,
    on_refused: Policy,
    on_change: Callable[[TokensChanged], object] | None,
    on_event: Callable[[Event], None] | None = None,
    judge_refusal: Callable[[TokenAnswer], Verdict] | None = None,
    is_refusal: Callable[[TokenAnswer], bool] | None,
    clock: Callable[[], float] | None,
    client: object = None,
    max_retries: int = 2,
    for_pool: bool = False,
    max_token_requests: int | None = None,
    new_visitors_per_minute: int | None = None,
) -> Settings:
    """Returns the settings.

    Raises:
        ConfigurationError: an argument is wrong; the text says which, and what it should be.
    """
    if isinstance(storage, type) or not isinstance(storage, TokenStorage):
        raise ConfigurationError("storage: expected an object with async load, save and delete")
    now: Callable[[], float] = plain_function(clock, "clock") or wall_clock
    # Imported where the first session is made, as in ``_session``.
    from wixvisitor._http.origins import Origins, chosen_base_url  # noqa: PLC0415
    from wixvisitor._renewal.server_clock import ServerClock  # noqa: PLC0415

    server_clock = ServerClock(now)
    listener = plain_function(on_event, "on_event")
    observers = Observers(plain_function(on_change, "on_change"), () if listener is None else (listener,))
    at_once = _count(max_token_requests, "max_token_requests") if for_pool else inf
    return Settings(
        client_id=checked_client_id(client_id),
        origins=Origins(chosen_base_url(base_url, client), allowed_origins),
        storage=storage,
        conditional=takes_expected(storage),
        keeps_briefly=takes_keep_for(storage),
        leases=storage if isinstance(storage, LeasingStorage) else None,
        renew_before=_seconds(renew_before, "renew_before", least=0.0),
        renew_timeout=_seconds(renew_timeout, "renew_timeout", least=0.001),
        on_refused=_policy(on_refused),
        observers=observers,
        judge_refusal=_judge(judge_refusal, is_refusal),
        clock=now,
        server_clock=server_clock,
        max_retries=checked_retries(max_retries),
        limiter=_limiter(server_clock, now, observers, at_once, new_visitors_per_minute),
    )


def _judge(judge: Any, is_refusal: Any) -> Callable[[TokenAnswer], Verdict]:
    """Returns the function that judges refusals: the given one, checked at each use, or the default."""
    plain_function(judge, "judge_refusal")
    if plain_function(is_refusal, "is_refusal") is not None:
        if judge is not None:
            raise ConfigurationError("is_refusal: judge_refusal takes its place; give that one alone")
        warnings.warn(_DEPRECATED, DeprecationWarning, stacklevel=4)
        return lambda answer: "certain" if is_refusal(answer) else "never"
    if judge is None:
        return token_endpoint.judge_refusal

    def checked_judge(answer: TokenAnswer) -> Verdict:
        verdict = judge(answer)
        if verdict not in _VERDICTS:
            raise ConfigurationError(f"judge_refusal: expected it to return one of {', '.join(_VERDICTS)}")
        return cast("Verdict", verdict)

    return checked_judge


def _limiter(
    server_clock: ServerClock,
    clock: Callable[[], float],
    observers: Observers,
    number: float,
    new_per_minute: int | None,
) -> Limiter:
    from wixvisitor._renewal.limiter import Limiter  # noqa: PLC0415 - as above

    cap = None if new_per_minute is None else _count(new_per_minute, "new_visitors_per_minute")
    return Limiter(
        number,
        clock=clock,
        wix_clock=server_clock.now,
        jitter=random.random,
        new_per_minute=cap,
        observers=observers,
    )


def _seconds(value: object, name: str, *, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < 1e9:
        raise ConfigurationError(f"{name}: expected seconds, a number from {least:g} on")
    return float(value)


def _count(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name}: expected a whole number from 1 on")
    return value


def _policy(value: str) -> OnRefused:
    try:
        return OnRefused(value)
    except ValueError:
        raise ConfigurationError(f"on_refused: expected one of {', '.join(OnRefused)}") from None


def plain_function(value: Any, name: str) -> Any:
    """Returns the function, or None if there is none.

    Raises:
        ConfigurationError: it is none that can be called without awaiting it.
    """
    call = getattr(value, "__call__", None)  # noqa: B004 - its type is the question
    if value is not None and (call is None or any(map(inspect.iscoroutinefunction, (value, call)))):
        raise ConfigurationError(f"{name}: expected a plain function; it is called, not awaited")
    return value
