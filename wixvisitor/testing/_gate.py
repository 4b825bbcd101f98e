"""A gate that holds calls until a test lets them pass."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Lock
from types import TracebackType
from typing import Self

import anyio

Wake = Callable[[], object]


class Gate:
    """Holds the calls of one fault until a test releases them.

    Concurrency: the calls may wait in several event loops, and ``release`` may be called from any thread.
    Cancellation: a call or a test that is cancelled while it waits is removed from the gate.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._open = False
        self._held: set[Wake] = set()
        self._watchers: set[Wake] = set()

    def __repr__(self) -> str:
        return f"<Gate {'open' if self._open else 'closed'}, {self.waiting} waiting>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @property
    def waiting(self) -> int:
        """How many calls wait now."""
        with self._lock:
            return len(self._held)

    def release(self) -> None:
        """Lets every call pass, now and later. A second call changes nothing."""
        with self._lock:
            self._open = True
            held = list(self._held)
        _wake(held)

    async def wait_for(self, count: int, *, timeout: float = 10.0) -> None:
        """Returns as soon as ``count`` calls wait at the gate.

        Raises:
            TimeoutError: After ``timeout`` seconds of real time there were fewer. The message says how many.

        """
        changed = anyio.Event()
        with anyio.move_on_after(timeout):
            while self.waiting < count:
                changed = anyio.Event()
                wake = _waker(changed)
                with self._lock:
                    self._watchers.add(wake)
                try:
                    if self.waiting < count:
                        await changed.wait()
                finally:
                    with self._lock:
                        self._watchers.discard(wake)
            return
        raise TimeoutError(f"{self.waiting} of {count} calls waited at the gate after {timeout} s")

    async def passed(self) -> None:
        """Returns once the gate is open. The fake awaits it for each call that the gate holds. Raises nothing."""
        opened = anyio.Event()
        wake = _waker(opened)
        with self._lock:
            if self._open:
                return
            self._held.add(wake)
            watchers = list(self._watchers)
        try:
            _wake(watchers)
            await opened.wait()
        finally:
            with self._lock:
                self._held.discard(wake)


def _wake(wakes: list[Wake]) -> None:
    for wake in wakes:
        # In a loop that has been closed since, no call waits any more.
        with suppress(RuntimeError):
            wake()


def _waker(event: anyio.Event) -> Wake:
    """Returns a function that sets the event in the running event loop. Any thread may call the function."""
    lowlevel = getattr(sys.modules.get("trio"), "lowlevel", None)  # another thread may be importing it
    if lowlevel is not None:
        with suppress(RuntimeError):
            return partial(lowlevel.current_trio_token().run_sync_soon, event.set)
    return partial(asyncio.get_running_loop().call_soon_threadsafe, event.set)
