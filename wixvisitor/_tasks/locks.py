"""Locks that a fork cannot break.

``os.fork`` copies a lock in its current state, but not the thread that holds it, so the child would wait for ever.
Therefore the thread that forks acquires all of these locks before the fork, and releases them in both processes.
"""

from __future__ import annotations

import threading
import time
import weakref
from typing import Final

from wixvisitor._tasks.forks import at_fork

_MAX_WAIT: Final = 1.0  # seconds to wait for all locks together; each is held for microseconds

_locks: Final = weakref.WeakSet[threading.Lock]()
_acquired: Final[list[threading.Lock]] = []


def fork_safe_lock() -> threading.Lock:
    """Returns a new lock that is always free in a forked child."""
    lock = threading.Lock()
    _locks.add(lock)
    return lock


def _before() -> None:
    until = time.monotonic() + _MAX_WAIT
    for lock in list(_locks):
        if lock.acquire(timeout=max(0.0, until - time.monotonic())):
            _acquired.append(lock)


def _in_parent() -> None:
    while _acquired:
        _acquired.pop().release()


def _in_child() -> None:
    acquired = set(map(id, _acquired))
    for lock in list(_locks):
        if id(lock) not in acquired:  # another thread held it for too long; the child does not have that thread
            getattr(lock, "_at_fork_reinit", lambda: None)()
    _in_parent()


at_fork(before=_before, in_parent=_in_parent, in_child=_in_child)
