"""One event loop in a background thread, for programs that are not async. All their calls run in it.

The thread starts at the first call, and ends with its last user or with the process. anyio's ``start_blocking_portal``
would hang at the end of a process that does not close it, so the portal runs in a thread of our own.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import sys
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from typing import Any, Final, Generic, Protocol, TypeVar

import anyio
from anyio.from_thread import BlockingPortal

from wixvisitor._tasks import shared_task
from wixvisitor._tasks.forks import at_fork
from wixvisitor._tasks.locks import fork_safe_lock

T = TypeVar("T")

_MAX_EXIT: Final = 3.0  # seconds that the end of the process may take
_LOOP_EXIT: Final = 0.5  # seconds of these, kept for ending the loop itself
_MAX_SLEEP: Final = 0.1 if sys.platform == "win32" else None  # seconds; Windows does not end a longer wait at Ctrl-C


class Closable(Protocol):
    """What keeps the loop alive until it is closed."""

    async def aclose(self) -> None:
        """Closes it, in the loop."""


class Call(Generic[T]):
    """A call that is made in the loop. The tracebacks of its frames show no arguments, which may be secrets."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[], Awaitable[T]]) -> None:
        self._make = make

    async def __call__(self) -> tuple[T | None, BaseException | None]:
        """Returns the result and None, or None and an exception that would end the loop, such as ``SystemExit``."""
        try:
            return await self._make(), None
        except BaseException as error:
            if isinstance(error, Exception | GeneratorExit | anyio.get_cancelled_exc_class()):
                raise
            return None, error


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that counts as closed in a forked child, which has no thread for it.

    A child inherits the parent's sockets. If it closed their TLS, the parent's connections would end.
    """

    def __init__(self) -> None:
        super().__init__()
        self._process = os.getpid()
        self._sockets: weakref.WeakSet[Any] = weakref.WeakSet()

    def is_closed(self) -> bool:
        """Whether it was closed, or belongs to the parent."""
        return super().is_closed() or self._process != os.getpid()

    async def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        """As asyncio's; remembers the socket."""
        return self._remember(await super().create_connection(*args, **kwargs))

    async def create_unix_connection(self, *args: Any, **kwargs: Any) -> Any:
        """As asyncio's; remembers the socket."""
        return self._remember(await super().create_unix_connection(*args, **kwargs))

    def _remember(self, connection: Any) -> Any:
        self._sockets.add(connection[0])
        return connection

    def drop_sockets(self) -> None:
        """Closes the child's copies of the parent's sockets; nothing is sent. Their numbers stay in use.

        Python objects still know the numbers. If one of them closed its number later, it would close a file of the
        child. So each number leads to the null device.
        """
        nothing = os.open(os.devnull, os.O_RDWR)
        for transport in list(self._sockets):
            socket = transport.get_extra_info("socket")
            if socket is not None and socket.fileno() >= 0:
                os.dup2(nothing, socket.fileno(), inheritable=False)
        os.close(nothing)


class BackgroundLoop:
    """The loop, its thread, and its users.

    Concurrency: safe from any number of threads. A forked child has its own.
    """

    def __init__(self) -> None:
        self._lock = fork_safe_lock()
        self._reset()
        atexit.register(self._at_exit)
        at_fork(in_child=self._in_child)

    def _reset(self) -> None:
        self._users: weakref.WeakSet[Any] = weakref.WeakSet()
        self._calls = 0  # under way
        self._portal: BlockingPortal | None = None
        self._thread: threading.Thread | None = None
        self._loop: Any = None

    def run(self, user: Closable | None, call: Call[T]) -> T:
        """Makes the call in the loop and returns its result, or raises what it raises.

        Args:
            user: keeps the loop alive after the call, until it is closed; None for a single call.
            call: the call.

        Raises:
            RuntimeError: this thread runs an event loop, the background loop itself or another one.

        An interrupt (Ctrl-C) ends the wait and cancels the call.
        """
        with self._in_use(user) as portal:
            future = portal.start_task_soon(call)
            try:
                result, error = _result(future)
            except CancelledError:  # ``sys.exit`` in a callback has ended the loop; the next call starts another
                raise RuntimeError("The background loop has ended while this call was under way; call again.") from None
            except BaseException:
                future.cancel()  # without effect if it has ended
                raise
        if error is not None:
            raise error
        return result  # type: ignore[return-value] # there is no error, so there is a result

    @contextmanager
    def entered(self, user: Closable, manager: AbstractAsyncContextManager[T]) -> Iterator[T]:
        """Enters an async context manager in the loop. Raises the same as ``run``."""
        with self._in_use(user):
            value = self.run(user, Call(manager.__aenter__))
            try:
                yield value
            except BaseException as error:
                leave = functools.partial(manager.__aexit__, type(error), error, error.__traceback__)
                if not self.run(user, Call(leave)):
                    raise
            else:
                self.run(user, Call(functools.partial(manager.__aexit__, None, None, None)))

    def close(self, user: Closable) -> None:
        """Closes the user in the loop. The loop ends with its last user, when all calls have ended."""
        with self._lock:
            if user not in self._users:
                return
        with self._in_use(user):
            try:
                self.run(user, Call(user.aclose))
            finally:
                with self._lock:
                    self._users.discard(user)

    @contextmanager
    def _in_use(self, user: Closable | None) -> Iterator[BlockingPortal]:
        self._check_outside()
        with self._lock:
            if user is not None:
                self._users.add(user)
            portal, thread = self._portal or self._start(), self._thread
            self._calls += 1
        try:
            yield portal
        finally:
            with self._lock:
                self._calls -= 1
                is_last = portal is self._portal and not self._calls and not self._users
                if is_last:
                    self._reset()
            if is_last and thread is not None:
                portal.start_task_soon(portal.stop)
                thread.join()

    def _check_outside(self) -> None:
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                "A blocking call was made in the background loop itself, for example in on_change. It would wait for "
                "itself for ever. Use the async session there, or make the call in another thread."
            )
        if is_in_event_loop():
            raise RuntimeError(
                "A blocking call in a thread that runs an event loop would block that loop. Use the async classes "
                "there: `await wixvisitor.VisitorSession(…).get(…)`; or call it in a thread of its own: "
                "`await asyncio.to_thread(visitor.get, …)`."
            )

    def _start(self) -> BlockingPortal:
        """Starts the loop's thread. The lock is held by the caller."""
        started: Future[BlockingPortal] = Future()
        self._thread = threading.Thread(target=self._serve, args=(started,), name="wixvisitor-loop", daemon=True)
        self._thread.start()
        self._portal = started.result()
        return self._portal

    def _serve(self, started: Future[BlockingPortal]) -> None:
        async def serve() -> None:
            async with BlockingPortal() as portal:
                self._loop = asyncio.get_running_loop()
                started.set_result(portal)
                await portal.sleep_until_stopped()

        try:
            anyio.run(serve, backend_options={"loop_factory": _Loop})
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)
        finally:
            with self._lock:
                if self._thread is threading.current_thread():
                    self._portal = self._thread = self._loop = None

    def _in_child(self) -> None:
        """Starts anew: the thread is the parent's."""
        loop = self._loop
        self._reset()
        if isinstance(loop, _Loop):
            loop.drop_sockets()

    def _at_exit(self) -> None:
        """Closes all users and ends the loop. It starts no thread: Python forbids that at its end."""
        portal, thread, until = self._portal, self._thread, time.monotonic() + _MAX_EXIT
        if portal is None or thread is None or not thread.is_alive():
            return
        with suppress(Exception):
            portal.start_task_soon(_close, list(self._users)).result(_MAX_EXIT - _LOOP_EXIT)
        with suppress(Exception):
            portal.start_task_soon(portal.stop, True)
        thread.join(max(0.0, until - time.monotonic()))


def _result(future: Future[T]) -> T:
    while True:
        try:
            return future.result(_MAX_SLEEP)
        except TimeoutError:
            if future.done():  # the call's own
                raise


async def _close(users: list[Closable]) -> None:
    async with anyio.create_task_group() as group:
        for user in users:
            group.start_soon(_close_one, user)


async def _close_one(user: Closable) -> None:
    with suppress(Exception):
        await user.aclose()


def is_in_event_loop() -> bool:
    """Whether this thread runs an event loop of asyncio or trio."""
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        return True
    trio = shared_task.loaded("trio")
    return trio is not None and bool(trio.lowlevel.in_trio_run())


background: Final = BackgroundLoop()
