"""One lane for each visitor: its jobs run one after the other, in the order in which they were asked for.

- Setting and forgetting are jobs that every caller of them adds. They end the renewals before them, whose result would
  be about another visitor (rule 4, LATE LOSES).
- Renewals coalesce: a caller that needs one waits for the job at the lane's end, if that is a renewal.

Each event loop has its own lane. A second loop in use at the same time counts as another process: the two meet in the
store and in ``TokenState.publish``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from threading import Lock

import anyio

from wixvisitor._renewal.decision import Need
from wixvisitor._tasks.shared_task import SharedTask, checkpoint, current_loop, has_ended

Work = Callable[[], Awaitable[object]]

GRACE = 2.0  # seconds that the jobs have to finish when the session is closed …
LAST_STEPS = 1.0  # … and then to end
_ROUNDS = 8  # how often closing looks for jobs that the end of others has started


class Job(SharedTask):
    """One job.

    Attributes:
        need: what a renewal is for; None for a job that sets or forgets.
        saves: whether a renewal only saves what is held.
        is_saving: whether a renewal saves tokens now. Nothing ends it then: a store may finish a write that was
            cancelled, and a refresh token that was just granted must not get lost.
    """

    __slots__ = ("is_saving", "need", "saves")

    def __init__(self, need: Need | None, owner: object, *, saves: bool = False) -> None:
        super().__init__(owner)
        self.need, self.saves, self.is_saving = need, saves, saves

    def now_saves(self) -> None:
        """Notes that the renewal has new tokens and saves them."""
        self.is_saving = True

    @property
    def ends_at_once(self) -> bool:
        """Whether setting or forgetting ends this job, which would bring tokens of another visitor."""
        return self.need is not None and not self.is_saving


class Lane:
    """A visitor's jobs.

    Args:
        lock: guards every change. The caller holds it while it decides about a job and adds it.
    """

    __slots__ = ("_jobs", "_lock")

    def __init__(self, lock: Lock) -> None:
        self._jobs: tuple[Job, ...] = ()
        self._lock = lock

    def __bool__(self) -> bool:
        """Whether there are jobs: an idle visitor keeps none."""
        return bool(self._jobs)

    def last_renewal(self) -> Job | None:
        """Returns the job at the end of this loop's lane if it is a renewal that a caller can wait for."""
        jobs = self.here()
        return jobs[-1] if jobs and jobs[-1].need is not None and not jobs[-1].is_ending else None

    def add(self, job: Job, work: Work, *, name: str) -> None:
        """Adds a job behind all others of this loop, and starts its task. The lock is held by the caller."""
        before = self.here()
        is_background = job.need is Need.BACKGROUND
        job.start(partial(self._do, job, work, before), name=f"wixvisitor: {name}", is_background=is_background)
        self._jobs = (*(one for one in self._jobs if not one.done and not has_ended(one.loop)), job)
        if job.need is None:
            for one in before:
                if one.ends_at_once:
                    one.cancel()

    def here(self) -> list[Job]:
        """Returns the jobs under way and waiting in this event loop."""
        loop = current_loop()
        return [job for job in self._jobs if job.loop is loop and not job.done]

    def check_outside(self) -> None:
        """Raises ``RuntimeError`` if this is called from inside one of the jobs, which would wait for itself."""
        for job in self._jobs:
            job.check_outside()

    async def aclose(self) -> None:
        """Ends all jobs of this event loop: lets them finish for 2 s, then cancels them. It takes 3 s at most."""
        since = anyio.current_time()
        for _ in range(_ROUNDS):  # a caller that waited for the store may go on to ask Wix
            jobs, left = self.here(), GRACE + LAST_STEPS - (anyio.current_time() - since)
            if not jobs or left <= 0:
                return
            async with anyio.create_task_group() as group:
                for job in jobs:
                    group.start_soon(job.close, left - LAST_STEPS, min(left, LAST_STEPS))
            await checkpoint()

    async def _do(self, job: Job, work: Work, before: Sequence[Job]) -> object:
        try:
            for earlier in before:
                if earlier.is_ending or (job.need is None and earlier.ends_at_once):
                    await earlier.end()  # its last steps may take a second
                else:
                    await earlier.wait()
            return await work()
        finally:
            with self._lock:
                self._jobs = tuple(one for one in self._jobs if one is not job)
