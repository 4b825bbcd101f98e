"""Who is told what happens: ``on_change``, ``on_event``, and what ``wixvisitor.opentelemetry`` adds.

Observers are called outside every lock, in the context of the request that caused the event. What they raise is logged
and changes nothing.
"""

from __future__ import annotations

import inspect
import operator
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import attrs

from wixvisitor._renewal.changes import Event, TokensChanged
from wixvisitor._renewal.events import StoreCalled, TokenRequested, TokenWaited
from wixvisitor._tasks import shared_task
from wixvisitor._tasks.log import fields, logger
from wixvisitor._tasks.time_limits import StandstillWatch
from wixvisitor.errors import WixVisitorError
from wixvisitor.storage import VersionConflict

T = TypeVar("T")
Tracer = Callable[["RequestBegins"], Callable[[TokenRequested], None]]


@attrs.frozen(kw_only=True, eq=False)
class RequestBegins:
    """A token request that is about to be sent.

    Attributes:
        key: the visitor's.
        grant_type: ``"anonymous"`` or ``"refresh_token"``.
        url: where it is sent.
        attempt: 1 for the first request of a renewal.
        is_background: whether no caller waits for it.
    """

    key: str
    grant_type: str
    url: str
    attempt: int
    is_background: bool


@attrs.define(eq=False, repr=False)
class Observers:
    """The observers of a session, or of all sessions of a pool.

    Attributes:
        on_change: is told that tokens changed.
        listeners: are told of every event.
        tracers: are called in the task of each token request before it is sent, and return what is called after it.

    Concurrency: safe from any task and thread; a change of ``listeners`` or ``tracers`` is one assignment.
    """

    on_change: Callable[[TokensChanged], object] | None = None
    listeners: tuple[Callable[[Event], object], ...] = ()
    tracers: tuple[Tracer, ...] = ()

    def tell(self, event: Event | None) -> None:
        """Tells every observer of an event; does nothing if there was none."""
        if event is None:
            return
        if isinstance(event, TokensChanged):
            about = fields(event.key, reason=event.reason, role=event.new_role)
            logger.info("wixvisitor: tokens %s (%s -> %s)", event.reason, event.old_role, event.new_role, extra=about)
            if self.on_change is not None:
                _call(self.on_change, event, "on_change")
        for listener in self.listeners:
            _call(listener, event, "on_event")

    @contextmanager
    def waiting(self, key: str) -> Iterator[None]:
        """Tells how long a caller waited for a token, and how that ended."""
        if not self.listeners:
            yield
            return
        began = time.perf_counter()
        outcome: Literal["ended", "failed", "cancelled"] = "ended"
        try:
            yield
        except BaseException as error:
            outcome = failure(error)
            raise
        finally:
            self.tell(TokenWaited(key=key, outcome=outcome, seconds=time.perf_counter() - began))

    async def timed(self, call: Awaitable[T], *, key: str, store: object, operation: Any) -> T:
        """Awaits a call of the store, and tells how long it took, and how that ended."""
        began, error_type = time.perf_counter(), None
        outcome: Literal["done", "conflict", "failed", "cancelled"] = "done"
        try:
            return await call
        except VersionConflict:
            outcome = "conflict"
            raise
        except BaseException as error:
            outcome, error_type = failure(error), type(error).__name__
            raise
        finally:
            name, seconds = type(store).__name__, time.perf_counter() - began
            self.tell(
                StoreCalled(
                    key=key, store=name, operation=operation, outcome=outcome, error_type=error_type, seconds=seconds
                )
            )

    @contextmanager
    def requesting(self, begins: RequestBegins, watch: StandstillWatch) -> Iterator[dict[str, Any]]:
        """Tells of the token request that the block sends, and calls the tracers before and after it.

        Yields:
            The fields of the event that the block learns.
        """
        ends, began, found = self._begin(begins), time.perf_counter(), dict[str, Any]()
        try:
            yield found
        except BaseException as error:
            found.update(_failed(error, watch))
            raise
        finally:
            about = attrs.asdict(begins, filter=attrs.filters.exclude("url"))
            event = TokenRequested(seconds=time.perf_counter() - began, **about, **found)
            for end in reversed(ends):
                _call(end, event, "a tracer", run=operator.call)  # in the task whose context the tracer has changed
            self.tell(event)

    def _begin(self, begins: RequestBegins) -> list[Callable[[TokenRequested], None]]:
        ends = []
        for tracer in self.tracers:
            try:
                ends.append(tracer(begins))
            except Exception:
                logger.exception("wixvisitor: a tracer raised; the token request is sent all the same")
        return ends


def _failed(error: BaseException, watch: StandstillWatch) -> dict[str, Any]:
    """Returns what an event tells of a token request that raised this error."""
    if isinstance(error, WixVisitorError):
        is_frozen = getattr(error, "status_code", None) is None and watch.check()
        return {**described(error), "outcome": "frozen" if is_frozen else "failed"}
    if isinstance(error, Exception) or watch.is_over():  # the deadline's cancellation becomes a TimeoutError
        name = type(error).__name__ if isinstance(error, Exception) else "TimeoutError"
        return {"error_type": name, "outcome": "frozen" if watch.was_frozen else "failed"}
    return {"outcome": "cancelled"}


def failure(error: BaseException) -> Literal["failed", "cancelled"]:
    """Returns how a block ended that raised this error."""
    return "failed" if isinstance(error, Exception) else "cancelled"


def _call(
    observer: Callable[[Any], object], event: Event, name: str, *, run: Callable[..., object] = shared_task.run_in_cause
) -> None:
    try:
        result = run(observer, event)
        if inspect.iscoroutine(result):
            result.close()
            logger.error("wixvisitor: %s returned a coroutine, which is not awaited: give a plain function", name)
    except Exception:
        logger.exception("wixvisitor: %s raised; the visitor is unaffected", name)


def described(error: WixVisitorError | None) -> dict[str, Any]:
    """Returns what an event tells of a failure."""
    return {
        "status_code": getattr(error, "status_code", None),
        "request_id": getattr(error, "request_id", None),
        "error_type": None if error is None else type(error).__name__,
    }
