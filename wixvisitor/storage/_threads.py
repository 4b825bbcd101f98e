"""The storages' own threads, in which their blocking calls run.

An application may fill the threads of anyio's default limiter (FastAPI runs ``def`` handlers in them), so the storages
do not share them. Rule 1: calls of one lane run one at a time, in the order in which they came. Rule 2: a call that
hangs delays its own lane only. A thread that has been busy for a long time is no longer counted, and another one may
start. Rule 3: threads are daemons and end when they are idle, so a call that hangs for ever does not keep the program
from ending.
"""

from __future__ import annotations

import atexit
import contextvars
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import nullcontext, suppress
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

import anyio

from wixvisitor._tasks.forks import at_fork
from wixvisitor._tasks.shared_task import current_loop, event_in
from wixvisitor.errors import StorageError

T = TypeVar("T")

LOAD_SECONDS: Final = 10.0  # seconds that a load may take, as for a store's calls in a renewal
_AT_ONCE: Final = 8  # threads that work at the same time
_IN_ALL: Final = 64  # threads, including those whose call hangs
_LONG: Final = 0.2  # seconds after which a busy thread is no longer counted
_IDLE: Final = 5.0  # seconds after which a thread without work ends
_AT_THE_END: Final = 1.0  # seconds that an ending program waits for calls under way


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
        """Makes the call in this thread, unless its caller was cancelled."""
        if self.is_given_up:
            return
        try:
            self.result = self.context.run(self._work)
        except BaseException as error:  # it is raised in the caller's task
            self.error = error

    def fail(self, error: Exception) -> None:
        """Ends the call with this error, without making it."""
        self.error = error
        self.wake()

    def wake(self) -> None:
        """Wakes the caller."""
        self.is_done = True
        with suppress(RuntimeError):  # the event loop has ended meanwhile; trio.RunFinishedError is one
            tell = getattr(self.loop, "call_soon_threadsafe", None) or self.loop.run_sync_soon
            tell(self.ended.set)


class _Limits:
    """Ends waits that last too long, in one asyncio event loop. They share a timer, since one each would cost too much.

    Concurrency: for the tasks of that loop.
    """

    def __init__(self) -> None:
        self._until: dict[_Call, float] = {}  # by the loop's clock
        self._has_timer = False

    def add(self, call: _Call, seconds: float) -> None:
        """Ends the wait for this call after ``seconds``."""
        self._until[call] = call.loop.time() + seconds
        if not self._has_timer:
            self._has_timer = True
            call.loop.call_later(seconds, self._look, call.loop)

    def remove(self, call: _Call) -> None:
        """Removes the limit of this call, since its wait has ended."""
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
        at_fork(in_child=self._reset)

    def _reset(self) -> None:
        """Starts without threads. A forked child does so too, since threads and their calls stay in the parent."""
        self._lock = threading.Lock()
        self._lanes: dict[Hashable, deque[_Call]] = {}  # for each lane with a call under way: the calls that wait
        self._ready: deque[_Call] = deque()  # calls that are first in their lane, while no thread is free
        self._under_way: set[_Call] = set()
        self._limits = weakref.WeakKeyDictionary[Any, _Limits]()  # by asyncio's event loop
        # Where idle threads without a handed call wait. The thread that worked last is taken.
        self._idle: list[SimpleQueue[_Call]] = []
        self._number = 0

    async def run(self, lane: Hashable, work: Callable[[], T], *, seconds: float | None = None) -> T:
        """Calls ``work`` in a thread, and returns its result.

        Args:
            lane: calls of one lane run one at a time.
            work: the blocking function.
            seconds: how long the caller waits at most; None: until it ends.

        Raises:
            StorageError: the system starts no thread, or the time is over.

        Cancellation: takes effect at once. A call that has not begun is never made. A call under way runs to its end,
        and the lane's next call waits for it.
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
            del call, on_trio  # the traceback of its error holds this frame: no cycle

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
                while self._ready and self._has_room() and self._start(self._ready.popleft()):
                    pass

    def _submit(self, call: _Call) -> bool:
        """Hands the call to a thread. Returns whether one was free or could start."""
        inbox = None
        with self._lock:
            followers = self._lanes.get(call.lane)
            if followers is not None:
                followers.append(call)
                return False
            self._lanes[call.lane] = deque()
            if self._idle:
                inbox = self._idle.pop()
                self._begin(call)
            elif self._has_room():
                self._start(call)
            else:
                self._ready.append(call)
        if inbox is not None:
            inbox.put(call)  # without the lock: the thread may need it before this one goes on
        return bool(call.began)

    # Under the lock

    def _has_room(self) -> bool:
        """Whether another thread may start. Threads with a long call are not counted."""
        if self._number < _AT_ONCE:
            return True
        now = time.monotonic()
        return self._number < _IN_ALL and sum(now - call.began < _LONG for call in self._under_way) < _AT_ONCE

    def _start(self, call: _Call) -> bool:
        """Starts a thread for this call. Returns whether the system started one."""
        self._begin(call)
        try:
            threading.Thread(target=self._work, args=(call,), name="wixvisitor: storage", daemon=True).start()
        except RuntimeError:
            self._under_way.discard(call)
            if self._number:  # one of the running threads takes it
                call.began = 0.0
                self._ready.append(call)
            else:
                call.fail(StorageError("the system could not start a thread for the storage"))
                self._end(call)
            return False
        self._number += 1
        return True

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
        inbox: SimpleQueue[_Call] = SimpleQueue()
        while call is not None:
            call.make()
            with self._lock:
                self._end(call)
                done, call = call, (self._ready.popleft() if self._ready else None)
                if call is not None:
                    self._begin(call)
                else:
                    self._idle.append(inbox)
            done.wake()  # last: from here the event loop's thread and this one compete for the interpreter's lock
            del done
            if call is None:
                call = self._wait(inbox)

    def _wait(self, inbox: SimpleQueue[_Call]) -> _Call | None:
        """Returns the next call; None if none came for some seconds, and then the thread ends."""
        with suppress(Empty):
            return inbox.get(timeout=_IDLE)
        with self._lock:
            if inbox in self._idle:
                self._idle.remove(inbox)
                self._number -= 1
                return None
        return inbox.get()  # it was handed over just now

    def _at_the_end(self) -> None:
        """Waits for calls under way, so that a save whose caller has gone is not cut off."""
        until = time.monotonic() + _AT_THE_END
        while self._under_way and time.monotonic() < until:
            time.sleep(0.002)


THREADS: Final = Threads()
"""All storages' threads of this process."""
