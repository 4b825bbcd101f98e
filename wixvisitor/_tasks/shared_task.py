"""Work that belongs to no caller: one task, any number of waiters, on asyncio and trio.

A caller that is cancelled or times out leaves without hurting the work. An anyio shield would not do: it does not
stop asyncio's own cancellation, and it holds the caller up.
"""

from __future__ import annotations

import contextvars
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import anyio

from wixvisitor._wire.redaction import without_frames

if TYPE_CHECKING:
    import asyncio

_running: Final[set[asyncio.Task[None]]] = set()  # asyncio itself keeps only weak references to tasks
_inside: Final[contextvars.ContextVar[SharedTask | None]] = contextvars.ContextVar("wixvisitor_flight", default=None)


class BaseExceptionRaised(Exception):
    """Work raised something that is no ``Exception``, or a cancellation that nobody had asked for."""


class SharedTask:
    """A piece of work under way in one event loop.

    Attributes:
        loop: the event loop (asyncio) or the run (trio) that it lives in.
        parent: the flight from whose work it was started, None without one.
        result: what the work returned, None before that and if it failed.
        error: what the work raised, None if it did not.
        owner: an object that lives as long as the flight does.

    Concurrency: any number of tasks of the same loop may ``wait``.
    Cancellation: cancelling a waiter does nothing to the flight. A flight that is cancelled, or whose loop ends, is
    done without a result and without an error: whoever still waits decides anew, unless it was closed.
    """

    __slots__ = ("_done", "_is_closing", "_scope", "error", "loop", "owner", "parent", "result")

    def __init__(self, owner: object = None) -> None:
        self.loop = current_loop()
        self.parent = _inside.get()
        self.result: Any = None
        self.error: Exception | None = None
        self.owner = owner
        self._is_closing = False
        self._done = anyio.Event()
        self._scope = anyio.CancelScope()

    @property
    def done(self) -> bool:
        """Whether the work has ended."""
        return self._done.is_set()

    @property
    def was_closed(self) -> bool:
        """Whether the work was cut off because the session is closed, so that nobody starts another in its place."""
        return self._is_closing and self.result is None and self.error is None

    def start(self, work: Callable[[], Awaitable[object]], *, name: str) -> None:
        """Starts the work in a task of its own; never runs any of it right away, also with eager tasks."""
        loop: Any = self.loop
        if _is_asyncios(loop):
            task = loop.create_task(self._run(work), name=name, context=contextvars.Context())
            _running.add(task)
            task.add_done_callback(_running.discard)
        else:
            import trio  # noqa: PLC0415 - there is a trio run, so it is imported

            trio.lowlevel.spawn_system_task(self._run, work, name=name)

    async def wait(self) -> None:
        """Returns when the work has ended, however it did.

        Raises:
            RuntimeError: called from inside the work, which would wait for itself.
        """
        self.check_outside()
        await self._done.wait()

    def check_outside(self) -> None:
        """Raises ``RuntimeError`` if this is called from inside the work, while it runs."""
        flight = _inside.get()
        while flight is not None:
            if flight is self and not self.done:
                raise RuntimeError(
                    "a renewal asked for the token that it is about to renew: storage adapters and transports must not "
                    "use the session they serve"
                )
            flight = flight.parent

    async def close(self, grace: float, patience: float = 1.0) -> None:
        """Ends the work for good: gives it ``grace`` seconds to finish, then cancels it and waits ``patience`` more."""
        with anyio.move_on_after(grace):
            await self._done.wait()
        self._is_closing = True
        await self.end(patience)

    def cancel(self) -> None:
        """Cancels the work, from a task of its own event loop, and waits for nothing."""
        self._scope.cancel()

    async def end(self, patience: float = 1.0) -> None:
        """Cancels the work and waits until it is gone, for some seconds: a thread cannot be cancelled.

        Cancellation: waits all the same, so that the work's last steps are not left to chance.
        """
        self.cancel()
        with anyio.move_on_after(patience, shield=True):
            await self._done.wait()

    async def _run(self, work: Callable[[], Awaitable[object]]) -> None:
        try:
            await checkpoint()
            _inside.set(self)
            with self._scope:
                self.result = await work()
        except Exception as error:  # stored, and raised anew by each waiter
            self.error = without_frames(error)
        except BaseException as error:
            if not is_failure(error):
                raise
            self.error = BaseExceptionRaised(type(error).__name__)  # trio would end the program with it
        finally:
            self.owner = None
            self._done.set()


def is_inside() -> bool:
    """Whether this is called from inside the work of a flight."""
    return _inside.get() is not None


def loaded(name: str) -> Any:
    """Returns a module if it is imported; None if it is not, or if another thread is importing it at the moment."""
    module = sys.modules.get(name)
    return None if getattr(getattr(module, "__spec__", None), "_initializing", False) else module


def is_failure(error: BaseException) -> bool:
    """Whether what was called raised this by itself, and no cancellation of this task or end of the program did."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_failure, error.exceptions))
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
        return False
    if not isinstance(error, anyio.get_cancelled_exc_class()):
        return True
    asyncio = loaded("asyncio")
    if asyncio is None or not isinstance(error, asyncio.CancelledError):
        return False
    task = asyncio.current_task()
    return task is not None and not task.cancelling()


async def checkpoint() -> None:
    """Lets others run."""
    from anyio.lowlevel import checkpoint  # noqa: PLC0415 - anyio imports its parts when they are needed, and so do we

    await checkpoint()


def current_loop() -> object:
    """Returns what identifies the running event loop: asyncio's loop, or trio's token.

    Raises:
        RuntimeError: called outside any.
    """
    asyncio = loaded("asyncio")  # whoever runs in it has imported it; it takes long, and trio does without
    try:
        if asyncio is not None and asyncio.current_task() is not None:
            return asyncio.get_running_loop()
    except RuntimeError:
        pass
    from anyio.lowlevel import current_token  # noqa: PLC0415 - as above

    return current_token().native_token


def has_ended(loop: Any) -> bool:
    """Whether this event loop is over, and whatever lived in it."""
    if _is_asyncios(loop):
        return bool(loop.is_closed())
    try:
        loop.run_sync_soon(lambda: None)
    except RuntimeError:  # trio.RunFinishedError
        return True
    return False


def call_in(loop: Any, function: Callable[[], object]) -> None:
    """Calls a function in this event loop: at once if it is the running one. Does nothing if it is over."""
    if loop is current_loop():
        function()
        return
    with suppress(RuntimeError):  # of a loop that is closed; trio.RunFinishedError is one
        if _is_asyncios(loop):
            loop.call_soon_threadsafe(function)
        else:
            loop.run_sync_soon(function)


def _is_asyncios(loop: object) -> bool:
    asyncio = loaded("asyncio")
    return asyncio is not None and isinstance(loop, asyncio.AbstractEventLoop)
