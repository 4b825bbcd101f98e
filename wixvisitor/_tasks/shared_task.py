"""A task that many callers wait for and none of them owns, on asyncio and trio.

When a caller is cancelled or times out, the task continues. An anyio shield is not enough for that: it does not stop
asyncio's own cancellation, and it makes the caller wait.

Context variables: the work runs in a copy of the context of the caller that started it, so the caller's request id and
trace are there. Work in the background runs in an empty context instead, because it may outlive its caller's trace.
What it logs and reports runs in a copy of the caller's context (``run_in_cause``).
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
_inside: Final[contextvars.ContextVar[SharedTask | None]] = contextvars.ContextVar("wixvisitor_task", default=None)
_cause: Final[contextvars.ContextVar[contextvars.Context | None]] = contextvars.ContextVar(
    "wixvisitor_cause", default=None
)


class BaseExceptionRaised(Exception):
    """The work raised a ``BaseException`` that is no ``Exception``, or a cancellation without a request for it."""


class SharedTask:
    """Work that runs in one event loop, in a task that belongs to no caller.

    Attributes:
        loop: the event loop (asyncio) or the run (trio) in which it runs.
        parent: the shared task whose work started this one; None if there is none.
        result: what the work returned; None before its end and if it failed.
        error: what the work raised; None if it raised nothing.
        owner: an object that is kept alive until the work ends.

    Concurrency: any number of tasks of the same loop may ``wait``.
    Cancellation: cancelling a waiter does not affect the shared task. If the shared task itself is cancelled or its
    loop ends, it is done without a result and without an error. Its waiters then decide again, unless it was closed.
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
        """Whether the work was cancelled because the session was closed. Then waiters must not start it again."""
        return self._is_closing and self.result is None and self.error is None

    def start(self, work: Callable[[], Awaitable[object]], *, name: str, is_background: bool = False) -> None:
        """Starts the work in a new task. No part of it runs before this returns, even with asyncio's eager tasks."""
        loop: Any = self.loop
        context = _background_context() if is_background else contextvars.copy_context()
        if _is_asyncios(loop):
            task = loop.create_task(self._run(work), name=name, context=context)
            _running.add(task)
            task.add_done_callback(self._end_of_task)
        else:
            import trio  # noqa: PLC0415 - the loop is trio's, so trio is imported already

            trio.lowlevel.spawn_system_task(self._run, work, name=name, context=context)

    def _end_of_task(self, task: asyncio.Task[None]) -> None:
        """Ends the work also if its task was cancelled from outside before it began."""
        _running.discard(task)
        self.owner = None
        self._done.set()

    async def wait(self) -> None:
        """Returns when the work has ended: with a result, an error or a cancellation.

        Raises:
            RuntimeError: the caller is the work itself, which would wait for itself for ever.
        """
        self.check_outside()
        await self._done.wait()

    def check_outside(self) -> None:
        """Checks that the caller is not the work itself.

        Raises:
            RuntimeError: the caller is the work, and it is still running.
        """
        task = _inside.get()
        while task is not None:
            if task is self and not self.done:
                raise RuntimeError(
                    "the token was requested from inside its own renewal: a storage adapter or a transport must not "
                    "use the session that uses it"
                )
            task = task.parent

    async def close(self, grace: float, patience: float = 1.0) -> None:
        """Waits ``grace`` seconds for the work to finish, then cancels it and waits up to ``patience`` seconds more."""
        with anyio.move_on_after(grace):
            await self._done.wait()
        self._is_closing = True
        await self.end(patience)

    @property
    def is_ending(self) -> bool:
        """Whether the work was cancelled, or cut off for good."""
        return self._is_closing or self._scope.cancel_called

    def cancel(self) -> None:
        """Cancels the work without waiting for its end. Call this in the event loop of the work."""
        self._scope.cancel()

    async def end(self, patience: float = 1.0) -> None:
        """Cancels the work and waits up to ``patience`` seconds for its end: a thread in it cannot be cancelled.

        Cancellation: a cancelled caller waits as well, so that the work can complete its last steps.
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
        except Exception as error:  # stored; each waiter raises an exception of its own from it
            self.error = without_frames(error)
        except BaseException as error:
            if not is_failure(error):
                raise
            self.error = BaseExceptionRaised(type(error).__name__)  # raised in a trio task, it would end the program
        finally:
            self.owner = None
            self._done.set()


def _background_context() -> contextvars.Context:
    """Returns an empty context that knows only the context of its cause."""
    context = contextvars.Context()
    context.run(_cause.set, cause() or contextvars.copy_context())
    return context


def cause() -> contextvars.Context | None:
    """Returns the context of the caller that started this work in the background; None in any other code."""
    return _cause.get()


def run_in_cause(function: Callable[..., object], *arguments: Any, **options: Any) -> object:
    """Calls a function in a copy of the context of what caused the running code, and returns its result."""
    context = _cause.get()
    return function(*arguments, **options) if context is None else context.copy().run(function, *arguments, **options)


def is_inside() -> bool:
    """Whether the caller runs inside the work of a shared task."""
    return _inside.get() is not None


def loaded(name: str) -> Any:
    """Returns a module if it has been imported; None if it has not, or another thread is importing it right now."""
    module = sys.modules.get(name)
    return None if getattr(getattr(module, "__spec__", None), "_initializing", False) else module


def is_failure(error: BaseException) -> bool:
    """Whether the called code failed with this error; False for a cancellation of this task and the program's end."""
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
    """Lets other tasks run."""
    from anyio.lowlevel import checkpoint  # noqa: PLC0415 - anyio imports its modules at first use; so does this

    await checkpoint()


def current_loop() -> object:
    """Returns an object that identifies the running event loop: asyncio's loop, or trio's token.

    Raises:
        RuntimeError: no event loop is running.
    """
    asyncio = loaded("asyncio")  # code that runs in asyncio has imported it; the import is slow and trio needs none
    try:
        if asyncio is not None and asyncio.current_task() is not None:
            return asyncio.get_running_loop()
    except RuntimeError:
        pass
    from anyio.lowlevel import current_token  # noqa: PLC0415 - anyio imports its modules at first use; so does this

    return current_token().native_token


def event_in(loop: object) -> Any:
    """Returns an event of this event loop, the running one: asyncio's own takes a tenth of the time of anyio's."""
    asyncio = loaded("asyncio")
    return asyncio.Event() if asyncio is not None and _is_asyncios(loop) else anyio.Event()


def has_ended(loop: Any) -> bool:
    """Whether this event loop has ended, and with it every task in it."""
    if _is_asyncios(loop):
        return bool(loop.is_closed())
    try:
        loop.run_sync_soon(lambda: None)
    except RuntimeError:  # trio.RunFinishedError
        return True
    return False


def call_in(loop: Any, function: Callable[[], object]) -> None:
    """Calls a function in this event loop: at once if the loop is the running one. Does nothing if it has ended."""
    if loop is current_loop():
        function()
        return
    with suppress(RuntimeError):  # the loop has ended; trio.RunFinishedError is a RuntimeError
        if _is_asyncios(loop):
            loop.call_soon_threadsafe(function)
        else:
            loop.run_sync_soon(function)


def _is_asyncios(loop: object) -> bool:
    asyncio = loaded("asyncio")
    return asyncio is not None and isinstance(loop, asyncio.AbstractEventLoop)
