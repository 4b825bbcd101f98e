"""Limits a pool's token requests: permits, a circuit breaker, and a cap for new visitors.

A permit allows one visitor to ask the token endpoint. Who gets the next one is the queue's rule (``permit_queue``).
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from math import inf
from typing import Final

import anyio

from wixvisitor._renewal.breaker import Admission, Breaker
from wixvisitor._renewal.decision import Cooldown
from wixvisitor._renewal.doubts import Doubts
from wixvisitor._renewal.events import PauseBegan, PauseEnded
from wixvisitor._renewal.observers import Observers, described
from wixvisitor._renewal.permit_queue import Queue, Waiter
from wixvisitor._renewal.quota import Quota
from wixvisitor._renewal.routes import MAX_RENEWALS, Routes
from wixvisitor._tasks import shared_task
from wixvisitor._tasks.locks import fork_safe_lock
from wixvisitor._tasks.log import fields, logger
from wixvisitor.errors import TokenRequestError, WixVisitorError

_MINUTE: Final = 60.0  # seconds
_MAX_COOLDOWNS: Final = 1_000  # visitors whose cooldown is remembered; the oldest is dropped
_LATE: Final = 1.0  # seconds; a wait that took so much longer was a standstill of the process
_MIN_WAIT: Final = 0.05  # seconds between two looks at the clock, which may have been moved


class Permit:
    """A visitor's permission to ask Wix. It reports the result to the limiter.

    Attributes:
        visitor: its key.
        is_new: whether a new visitor is about to be minted, which has nothing to lose yet.
        has_minted: whether a new visitor was minted.
        began: epoch seconds from which Wix could be asked.
    """

    __slots__ = ("_limiter", "_queue", "began", "has_minted", "is_new", "visitor")

    def __init__(self, visitor: str, limiter: Limiter, *, is_new: bool) -> None:
        self.visitor, self.is_new = visitor, is_new
        self.has_minted = False
        self.began = inf
        self._limiter = limiter
        self._queue: Queue | None = None

    async def confirm(self, seconds: float) -> None:
        """Waits until Wix may be asked. A cooldown may have begun since the permit was given, while the store worked.

        Args:
            seconds: how long to wait at most for the probe's answer.

        Raises:
            TokenRequestError, ConfigurationError: the pool is cooling down.
        """
        await self._limiter._confirm(self, seconds)
        self.began = self._limiter._clock()

    def succeeded(self, *, is_renewal: bool = False) -> None:
        """Notes that Wix granted tokens."""
        self._limiter._note_success(self.visitor, is_renewal=is_renewal)

    def doubts(self, refresh_token: str, answer: str) -> bool:
        """Notes a doubtful answer, and returns whether it now counts as a refusal of this refresh token."""
        return self._limiter._note_doubt(self.visitor, hash(refresh_token), answer)

    def was_frozen(self, refresh_token: str) -> None:
        """Notes that the process stood still during a call with this token, which is no failure."""
        self._limiter._note_standstill(hash(refresh_token))

    def is_after_standstill(self, refresh_token: str) -> bool:
        """Returns whether a standstill was noted for this token within the last minute."""
        return self._limiter._stood_still(hash(refresh_token))

    def failed(self, error: WixVisitorError) -> None:
        """Notes that Wix gave no usable answer. A certain refusal is an answer."""
        twin = error._again()  # other visitors get it, and the frames of the original hold a refresh token
        self._limiter._note_failure(self.visitor, twin, self.began)

    @property
    def is_stopped(self) -> bool:
        """Whether a failed call must not be repeated, because a cooldown has begun."""
        return self._limiter.pool_cooldown() is not None


class Limiter:
    """A pool's permits for the token endpoint.

    Args:
        number: how many permits are out at once in each event loop. Infinity is for a session without a pool.
        clock: seconds since the epoch.
        wix_clock: the same by Wix's clock, which does not jump with the machine's; None: use ``clock``.
        jitter: returns a new number from 0 to 1 at each call.
        new_per_minute: how many new visitors are minted at most in any minute; None for no cap.
        observers: are told of the pool's pauses.

    Attributes:
        live: the pool's live visitors by key.

    Concurrency: safe from any number of tasks and threads. Permits are counted per event loop, all else per pool.
    Cancellation: a cancelled waiter or holder frees its permit.
    """

    def __init__(
        self,
        number: float = inf,
        *,
        clock: Callable[[], float],
        wix_clock: Callable[[], float] | None = None,
        jitter: Callable[[], float],
        new_per_minute: int | None = None,
        observers: Observers | None = None,
    ) -> None:
        self.number = number
        self.live: Mapping[str, object] = {}
        self._clock, self._jitter = clock, jitter
        self._observers = observers or Observers()
        self._wix_clock = wix_clock or clock  # measures doubts, which may cost a visitor
        self._breaker = Breaker()
        self._doubts = Doubts()
        self._routes = Routes()
        self._frozen_at: OrderedDict[int, float] = OrderedDict()  # hashes of refresh tokens
        self._quota = Quota(new_per_minute)
        self._queues: dict[object, Queue] = {}
        self._cooldowns: OrderedDict[str, Cooldown] = OrderedDict()
        self._lock = fork_safe_lock()

    @asynccontextmanager
    async def permit(self, visitor: str, *, is_new: bool, seconds: float) -> AsyncIterator[Permit]:
        """Waits for a permit, and holds it until the block ends.

        Args:
            visitor: its key.
            is_new: whether a new visitor is about to be minted, which has nothing to lose yet.
            seconds: how long to wait at most.

        Raises:
            TokenRequestError, ConfigurationError: the pool is cooling down, no permit was free in time, or the cap for
                new visitors is reached. Wix was not asked.
        """
        permit = Permit(visitor, self, is_new=is_new)
        if not self.is_shared:
            yield permit
            return
        if is_new:
            self._reserve()
        try:
            await self._enter(permit, seconds)
            yield permit
        finally:
            with self._lock:
                self._leave(permit)
                if is_new:
                    self._quota.settle(self._clock(), has_minted=permit.has_minted)

    @property
    def is_shared(self) -> bool:
        """Whether it is a pool's; else it is of one session without a pool."""
        return self.number != inf

    @property
    def under_way(self) -> int:
        """How many permits are out now, in all event loops."""
        return sum(queue.under_way for queue in self._queues.values())

    @property
    def waiting(self) -> int:
        """How many visitors wait for a permit now, in all event loops."""
        return sum(len(line) for queue in list(self._queues.values()) for line in queue.lines)

    @property
    def is_pausing(self) -> bool:
        """Whether the pool's token requests pause, or no request has succeeded since the last pause."""
        return self._breaker.cooldown is not None

    @property
    def pausing_visitors(self) -> int:
        """How many visitors have a cooldown of their own now."""
        with self._lock:
            return sum(cooldown.active(self._clock()) for cooldown in self._cooldowns.values())

    def pool_cooldown(self) -> Cooldown | None:
        """Returns the pool's cooldown if one lasts now, else None. Takes no lock."""
        cooldown = self._breaker.cooldown
        return cooldown if cooldown is not None and cooldown.active(self._clock()) else None

    def cooldown(self, visitor: str) -> Cooldown | None:
        """Returns the visitor's own cooldown if one lasts now, else None. It outlives the session object."""
        cooldown = self._cooldowns.get(visitor)
        return cooldown if cooldown is not None and cooldown.active(self._clock()) else None

    def note_cooldown(self, visitor: str, cooldown: Cooldown | None) -> None:
        """Remembers the visitor's own cooldown; None forgets it."""
        with self._lock:
            self._cooldowns.pop(visitor, None)
            if cooldown is not None:
                self._cooldowns[visitor] = cooldown
            while len(self._cooldowns) > _MAX_COOLDOWNS:
                self._cooldowns.popitem(last=False)

    def may_renew_for(self, route: str) -> bool:
        """Returns whether a 401 of this route (``routes.route_of``) may lead to a renewal now."""
        with self._lock:
            return self._routes.may_renew(route, self._clock())

    def take_renewal_for(self, route: str) -> bool:
        """Returns whether the renewal may still be made now, and counts it."""
        with self._lock:
            return self._routes.take(route, self._clock())

    def note_replay(self, route: str, visitor: str, *, is_rejected: bool) -> None:
        """Notes whether a request that was sent again with a fresh token was rejected again."""
        with self._lock:
            if not is_rejected:
                self._routes.succeeded(route)
            is_news = is_rejected and self._routes.rejected(route, visitor)
        if is_news:
            logger.warning(
                "wixvisitor: %s answers 401 to fresh tokens; at most %s renewals a minute", route, MAX_RENEWALS
            )

    async def _confirm(self, permit: Permit, seconds: float) -> None:
        if self._breaker.cooldown is None or not self.is_shared:
            return
        with self._lock:
            if self._is_admitted(permit.visitor):
                return
            self._leave(permit)
        await self._enter(permit, seconds)

    async def _enter(self, permit: Permit, seconds: float) -> None:
        deadline, waiter = anyio.current_time() + max(seconds, 0.0), Waiter(permit.visitor)
        with self._lock:
            queue = self._queue(waiter.loop)
            queue.lines[permit.is_new][waiter] = None
            self._dispatch()
        try:
            while not waiter.has_permit:
                if waiter.cooldown is not None:
                    raise_cooldown(waiter.cooldown, self._clock())
                deadline += await self._wait(waiter, deadline)
        except BaseException:
            with self._lock:
                queue.leave(waiter)
                if waiter.has_permit:
                    permit._queue = queue
                    self._leave(permit)
            raise
        permit._queue, permit.began = queue, self._clock()

    async def _wait(self, waiter: Waiter, deadline: float) -> float:
        """Waits until the waiter is woken or should look at the clock again; raises if its time is over.

        Returns:
            Seconds that do not count, because the process stood still.
        """
        began = anyio.current_time()
        left = deadline - began
        if left <= 0:
            raise self._too_late(waiter.visitor)
        own_wait = self._breaker.seconds_to_wait(waiter.visitor, self._clock()) or inf
        wait = min(left, max(own_wait, _MIN_WAIT))
        with anyio.move_on_after(wait):
            await waiter.woken.wait()
            return 0.0
        with self._lock:
            self._dispatch()
        took = anyio.current_time() - began
        return took if took > wait + _LATE else 0.0

    # Under the lock

    def _queue(self, loop: object) -> Queue:
        for old in [old for old in self._queues if old is not loop and shared_task.has_ended(old)]:
            del self._queues[old]
        return self._queues.setdefault(loop, Queue())

    def _dispatch(self) -> None:
        """Gives out the free permits, or sends all waiters away during a cooldown."""
        cooldown = self.pool_cooldown()
        for queue in self._queues.values():
            if cooldown is not None:
                queue.stop(cooldown)
            while queue.under_way < self.number and (waiter := self._next(queue)) is not None:
                queue.serve(waiter)

    def _next(self, queue: Queue) -> Waiter | None:
        now = self._clock()
        is_hopeless = functools.cache(self._is_hopeless)
        for waiter in queue:
            if self._breaker.probe is not None:
                break  # all others wait for the probe's answer
            match self._breaker.admit(waiter.visitor, now, is_hopeless):
                case Admission.PROBE:
                    self._breaker.probe = waiter.visitor
                    return waiter
                case Admission.GO:
                    return waiter
                case Admission.WAIT | Admission.FAIL:
                    continue
        return None

    def _is_admitted(self, visitor: str) -> bool:
        """Whether a visitor with a permit may ask now; it becomes the probe if the breaker needs one."""
        if self._breaker.probe == visitor:
            return self.pool_cooldown() is None
        admission = self._breaker.admit(visitor, self._clock(), self._is_hopeless)
        if admission is Admission.PROBE:
            self._breaker.probe = visitor
        return admission in (Admission.GO, Admission.PROBE)

    def _is_hopeless(self) -> bool:
        return self._breaker.have_failed(list(self.live))

    def _leave(self, permit: Permit) -> None:
        """Takes the permit back, if it is out."""
        if permit._queue is None:
            return
        permit._queue.under_way -= 1
        permit._queue = None
        self._breaker.left(permit.visitor)
        self._dispatch()

    # What permits report

    def _note_doubt(self, visitor: str, token: int, answer: str) -> bool:
        with self._lock:
            return self._doubts.is_confirmed(visitor, token, answer, self._wix_clock())

    def _note_standstill(self, token: int) -> None:
        with self._lock:
            self._frozen_at[token] = self._clock()
            self._frozen_at.move_to_end(token)
            while len(self._frozen_at) > _MAX_COOLDOWNS:
                self._frozen_at.popitem(last=False)

    def _stood_still(self, token: int) -> bool:
        frozen_at = self._frozen_at.get(token)
        return frozen_at is not None and 0 <= self._clock() - frozen_at < _MINUTE

    def _note_success(self, visitor: str, *, is_renewal: bool) -> None:
        with self._lock:
            if is_renewal:
                self._doubts.renewed(visitor, self._wix_clock())
            else:
                self._doubts.end(visitor)
        if not self.is_shared:
            return
        with self._lock:
            was_paused = self._breaker.cooldown is not None
            self._breaker.succeeded(visitor)
            self._dispatch()
        if was_paused:
            logger.info("wixvisitor: the token endpoint answers again")
            self._observers.tell(PauseEnded(key=None))

    def _note_failure(self, visitor: str, error: WixVisitorError, began: float) -> None:
        if not self.is_shared:
            return
        retry_after = getattr(error, "retry_after", None)
        with self._lock:
            now = self._clock()
            has_opened = self._breaker.failed(visitor, error, now, self._jitter(), retry_after=retry_after, began=began)
            cooldown = self._breaker.cooldown
            self._dispatch()
        if has_opened and cooldown is not None:
            seconds = cooldown.until - now
            logger.warning(
                "wixvisitor: no visitor of the pool asks the token endpoint for %.1f s: %s",
                seconds,
                error,
                extra=fields(visitor, error=error),
            )
            pause = PauseBegan(key=None, seconds=seconds, failures=cooldown.failures, **described(error))
            self._observers.tell(pause)

    def _reserve(self) -> None:
        now = self._clock()
        with self._lock:
            seconds, is_news = self._quota.take(now)
        if not seconds:
            return
        if is_news:
            logger.warning(
                "wixvisitor: more new visitors than new_visitors_per_minute=%s; the others are told to try later",
                self._quota.number,
            )
        raise not_asked(
            TokenRequestError(
                f"The pool makes no more than {self._quota.number} new visitors a minute (new_visitors_per_minute). "
                f"Try again in {seconds:.0f} s.",
                retry_after=seconds,
            )
        )

    def _too_late(self, visitor: str) -> WixVisitorError:
        now, cooldown = self._clock(), self._breaker.cooldown
        if cooldown is not None and cooldown.cause is not None:
            return _cause_of_cooldown(cooldown.cause, self._breaker.seconds_to_wait(visitor, now))
        return not_asked(
            TokenRequestError(
                f"The token endpoint was busy with other visitors: {self.number:g} of the pool's token requests "
                f"(max_token_requests) were under way all the time. The visitor is intact, try later."
            )
        )


def raise_cooldown(cooldown: Cooldown, now: float) -> None:
    """Raises the cooldown's cause as this task's own exception; returns if it has none.

    Args:
        cooldown: the cooldown.
        now: epoch seconds; what is left of the cooldown becomes the error's ``retry_after``.
    """
    if cooldown.cause is not None:
        raise _cause_of_cooldown(cooldown.cause, cooldown.until - now) from cooldown.cause


def _cause_of_cooldown(cause: WixVisitorError, seconds: float) -> WixVisitorError:
    error = cause._again()
    if isinstance(error, TokenRequestError):
        error.retry_after = max(0.0, seconds)
        error.args = (f"{cause} No visitor of the pool asks for the next {error.retry_after:.1f} s.",)
    return not_asked(error)


def not_asked(error: WixVisitorError) -> WixVisitorError:
    """Marks the error: Wix was not asked, so the visitor's own cooldown does not begin."""
    error._asked_wix = False
    return error
