"""The storages' own threads, in which their blocking calls are made.

An application may fill the threads of anyio's default limiter (FastAPI runs ``def`` handlers in them), so the storages
do not share them. Rule 1: calls of one lane are made one at a time, in the order in which they came. Rule 2: a call
that hangs delays its own lane only. A thread that has been busy for long does not count any more, and another one may
start in its place. Rule 3: threads are daemons and end when they are idle: a call that hangs for ever does not keep
the program from ending.
"""

from __future__ import annotations

import atexit
import contextvars
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import nullcontext, suppress
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

import anyio

from wixvisitor._tasks.shared_task import current_loop, event_in
from wixvisitor.errors import StorageError

T = TypeVar("T")

LOAD_SECONDS: Final = 10.0  # that a load may take; what renews or mints waits no longer for a store either
_AT_ONCE: Final = 8  # threads that work at the same time
_IN_ALL: Final = 64  # threads, with those whose call hangs
_LONG: Final = 0.2  # seconds after which a thread no longer counts among those that work
_IDLE: Final = 5.0  # seconds after which a thread without work ends
_AT_THE_END: Final = 1.0  # seconds that a program which ends waits for calls under way


class _Call:
    """One blocking call, and the task that waits for it."""

    __slots__ = ("_work", "began", "context", "ended", "error", "is_done", "is_given_up", "lane", "loop", "result")

    def __init__(self, lane: Hashable, work: Callable[[], object]) -> None:
        self.lane = lane
        self.began = 0.0
        self.context = contextvars.copy_context()
        self.loop: Any = current_loop()
        self.ended = event_in(self.loop)
        self.error: BaseException | None = None
        self.is_done = False
        self.is_given_up = False
        self.result: Any = None
        self._work = work

    def make(self) -> None:
        """Makes the call in this thread, unless its caller has gone, and wakes the caller."""
        if self.is_given_up:
            return
        try:
            self.result = self.context.run(self._work)
        except BaseException as error:  # it is raised where the call came from
            self.error = error
        self._wake()

    def fail(self, error: Exception) -> None:
        """Ends the call with this error; it was not made."""
        self.error = error
        self._wake()

    def _wake(self) -> None:
        self.is_done = True
        with suppress(RuntimeError):  # the event loop has ended meanwhile; trio.RunFinishedError is one
            tell = getattr(self.loop, "call_soon_threadsafe", None) or self.loop.run_sync_soon
            tell(self.ended.set)


class _Limits:
    """Ends the waits of one asyncio event loop that last too long. They share a timer: one each would cost too much.

    Concurrency: for the tasks of that loop.
    """

    def __init__(self) -> None:
        self._until: dict[_Call, float] = {}  # by the loop's clock
        self._has_timer = False

    def add(self, call: _Call, seconds: float) -> None:
        """Ends the wait for this call after so many seconds."""
        self._until[call] = call.loop.time() + seconds
        if not self._has_timer:
            self._has_timer = True
            call.loop.call_later(seconds, self._look, call.loop)

    def remove(self, call: _Call) -> None:
        """Sets no limit to this call any more: its wait has ended."""
        self._until.pop(call, None)

    def _look(self, loop: Any) -> None:
        now = loop.time()
        for call in [call for call, until in self._until.items() if until <= now]:
            call.ended.set()
            del self._until[call]
        self._has_timer = bool(self._until)
        if self._until:
            loop.call_later(min(self._until.values()) - now, self._look, loop)


class Threads:
    """A few threads for any number of lanes.

    Concurrency: used from any thread and event loop.
    """

    def __init__(self) -> None:
        self._reset()
        atexit.register(self._at_the_end)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        """Begins without threads, as a forked child does: they, and what they did, are the parent's."""
        self._lock = threading.Lock()
        self._lanes: dict[Hashable, deque[_Call]] = {}  # for each lane with a call under way: those that follow
        self._ready: deque[_Call] = deque()  # the first of their lane; no thread is free
        self._under_way: set[_Call] = set()
        self._limits = weakref.WeakKeyDictionary[Any, _Limits]()  # by asyncio's event loop
        self._handed: SimpleQueue[_Call] = SimpleQueue()  # to the threads that are idle
        self._idle = 0  # threads to which no call was handed
        self._number = 0

    async def run(self, lane: Hashable, work: Callable[[], T], *, seconds: float | None = None) -> T:
        """Returns what ``work`` returns, which is called in a thread.

        Args:
            lane: calls of one lane are made one at a time.
            work: what blocks.
            seconds: how long the caller waits at most; None: as long as it takes.

        Raises:
            StorageError: the system gives us no thread, or the time is over.

        Cancellation: the caller leaves at once. A call that has not begun is never made; one under way goes on to its
        end, and the lane's next call waits for it.
        """
        call = _Call(lane, work)
        limits = None if seconds is None else self._limits_in(call.loop)
        on_trio = nullcontext() if seconds is None or limits is not None else anyio.move_on_after(seconds)
        try:
            with on_trio:
                if limits is not None and seconds is not None:
                    limits.add(call, seconds)
                if not self._submit(call):
                    await self._wait_for_a_thread(call)
                await call.ended.wait()
        except BaseException:
            call.is_given_up = True
            raise
        finally:
            if limits is not None:
                limits.remove(call)
        try:
            if not call.is_done:
                call.is_given_up = True
                raise StorageError(f"the store did not answer within {seconds:g} s")
            if call.error is not None:
                raise call.error
            result: T = call.result
            return result
        finally:
            del call, on_trio  # its error's traceback holds this frame

    def _limits_in(self, loop: Any) -> _Limits | None:
        """Returns the limits of an asyncio event loop, None for trio."""
        if not hasattr(loop, "call_later"):
            return None
        limits = self._limits.get(loop)
        if limits is None:
            with self._lock:
                limits = self._limits.setdefault(loop, _Limits())
        return limits

    async def _wait_for_a_thread(self, call: _Call) -> None:
        while not call.began and not call.ended.is_set():
            with anyio.move_on_after(_LONG):
                await call.ended.wait()
            with self._lock:
                while self._ready and self._has_room():
                    self._start(self._ready.popleft())

    def _submit(self, call: _Call) -> bool:
        """Hands the call to a thread, and returns whether there is one for it now."""
        with self._lock:
            followers = self._lanes.get(call.lane)
            if followers is not None:
                followers.append(call)
                return False
            self._lanes[call.lane] = deque()
            if self._idle:
                self._idle -= 1
                self._begin(call)
                self._handed.put(call)
            elif self._has_room():
                self._start(call)
            else:
                self._ready.append(call)
            return bool(call.began)

    # Under the lock

    def _has_room(self) -> bool:
        """Whether another thread may start: those whose call takes long do not count."""
        if self._number < _AT_ONCE:
            return True
        now = time.monotonic()
        return self._number < _IN_ALL and sum(now - call.began < _LONG for call in self._under_way) < _AT_ONCE

    def _start(self, call: _Call) -> None:
        self._begin(call)
        try:
            threading.Thread(target=self._work, args=(call,), name="wixvisitor: storage", daemon=True).start()
        except RuntimeError:
            self._under_way.discard(call)
            if self._number:  # one of these threads takes it
                call.began = 0.0
                self._ready.append(call)
            else:
                call.fail(StorageError("the system starts no thread for the storage"))
                self._end(call)
            return
        self._number += 1

    def _begin(self, call: _Call) -> None:
        call.began = time.monotonic()
        self._under_way.add(call)

    def _end(self, call: _Call) -> None:
        self._under_way.discard(call)
        followers = self._lanes[call.lane]
        if followers:
            self._ready.append(followers.popleft())
        else:
            del self._lanes[call.lane]

    # In the threads

    def _work(self, call: _Call | None) -> None:
        while call is not None:
            call.make()
            with self._lock:
                self._end(call)
                call = self._ready.popleft() if self._ready else None
                if call is not None:
                    self._begin(call)
                else:
                    self._idle += 1
            if call is None:
                call = self._wait()

    def _wait(self) -> _Call | None:
        """Returns the next call, None if none came for a while: then the thread ends."""
        with suppress(Empty):
            return self._handed.get(timeout=_IDLE)
        with self._lock:
            if self._idle:
                self._idle -= 1
                self._number -= 1
                return None
        return self._handed.get()  # it was handed over at this very moment

    def _at_the_end(self) -> None:
        """Lets calls under way end, so that a save which nobody waits for any more is not cut off."""
        until = time.monotonic() + _AT_THE_END
        while self._under_way and time.monotonic() < until:
            time.sleep(0.002)


THREADS: Final = Threads()
"""All storages' threads of this process."""
