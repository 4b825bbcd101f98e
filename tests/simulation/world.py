"""A world made of one seed: processes, shoppers, a store, Wix, what goes wrong in it, and what becomes of it."""

from __future__ import annotations

import gc
import itertools
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import attrs
import trio._core._run as trio_run

from wixvisitor import TokenRole, VisitorSession
from wixvisitor._tasks import time_limits
from wixvisitor.testing._settings import Settings

from .life import Life
from .scheduler import Endless, Process, Scheduler
from .store import StoreModel, StoreMoods
from .watch import Watch
from .wix import CLIENT_ID, DOUBTFUL, POISONS, SITE_TROUBLES, Answer, Identity, Moods, WixModel

KINDS = ("shop", "slow store", "login", "crowd", "rollback")
"""What the worlds of five seeds in a row are about: shoppers; a store that is slower than Wix may be; logins, in a
world of one of the other kinds; a crowd; a store that goes back in time."""


def seeds_of(kind: str) -> Iterator[int]:
    """Yields the seeds of all worlds of this kind."""
    return (seed for seed in itertools.count() if KINDS[seed % len(KINDS)] == kind)


@attrs.frozen(kw_only=True)
class Scenario:
    """What a seed makes of the world. Times are in seconds."""

    processes: int
    shoppers: int
    keys: tuple[str, ...]
    storage: str
    policy: str
    is_pool: bool
    max_token_requests: int
    lifetime: float
    rotates: bool
    one_time: bool
    omits: bool
    wix_skew: float
    wild_clocks: bool
    thinking: float
    faults_end: float
    renew_timeout: float = 15.0
    crowd: tuple[str, ...] = ()
    crowds: int = 0
    cap: int | None = None
    poison: str = ""
    has_slow_store: bool = False
    works_in_threads: bool = False
    closes: bool = False
    rollbacks: int = 0
    members: int = 0
    revokes_reused: bool = False

    @classmethod
    def of(cls, seed: int, chance: random.Random) -> Scenario:
        """Draws one, of the kind that the seed says."""
        drawn, own, kind = cls.draw(chance), random.Random(f"scenario {seed}"), KINDS[seed % len(KINDS)]
        if kind == "login":
            return drawn._with_members(own)
        if kind == "crowd":
            return drawn._with_crowd(own)
        if kind == "rollback":
            return drawn._with_rollbacks(own)
        return drawn._with_slow_store(own) if kind == "slow store" else drawn

    def _with_crowd(self, chance: random.Random) -> Scenario:
        return attrs.evolve(
            self,
            processes=chance.choices((1, 2, 3), (4, 3, 1))[0],
            shoppers=chance.randint(0, 1),
            storage=chance.choice(("leasing", "leasing", "conditional")),
            is_pool=True,
            wild_clocks=False,
            lifetime=chance.choice((60.0, 200.0)),
            faults_end=chance.choice((100.0, 200.0)),
            crowd=tuple(f"v{number}" for number in range(chance.choice((3, 8, 20)))),
            crowds=1,
            cap=chance.choice((None, 5, 20)),
            poison=chance.choice(("", "from the beginning", "later")),
        )

    def _with_slow_store(self, chance: random.Random) -> Scenario:
        return attrs.evolve(
            self,
            shoppers=1,
            wild_clocks=False,
            thinking=2.0,
            renew_timeout=chance.choice((2.0, 2.0, 15.0)),
            has_slow_store=True,
            works_in_threads=chance.random() < 0.6,
            closes=True,
        )

    def _with_members(self, chance: random.Random) -> Scenario:
        """Whoever closes the app is alone in it."""
        others = (lambda _: self, lambda _: self, self._with_slow_store, self._with_crowd, self._with_rollbacks)
        drawn: Scenario = chance.choice(others)(chance)
        return attrs.evolve(
            drawn,
            shoppers=0 if drawn.closes else min(drawn.shoppers, chance.randint(0, 1)),
            members=1 if drawn.closes else chance.randint(1, 2),
            thinking=chance.choice((2.0, 10.0)),
            revokes_reused=chance.random() < 0.3,
        )

    def _with_rollbacks(self, chance: random.Random) -> Scenario:
        """Clocks differ by little here, so that what happens after a rollback is later by every clock."""
        drawn = self._with_slow_store(chance) if chance.random() < 0.2 else self
        return attrs.evolve(
            drawn,
            processes=1 if self.storage == "plain" else chance.choice((1, 2, 3, 3, 4)),
            shoppers=1 if drawn.closes else chance.randint(1, 2),
            wild_clocks=False,
            thinking=chance.choice((2.0, 10.0)),
            faults_end=chance.choice((300.0, 500.0)),
            rollbacks=chance.randint(1, 4),
        )

    @classmethod
    def draw(cls, chance: random.Random) -> Scenario:
        """Draws what all have."""
        storage = chance.choices(("leasing", "conditional", "plain"), (7, 2, 1))[0]
        rotation = chance.choice(("none", "rotates", "one time"))
        return cls(
            processes=1 if storage == "plain" else chance.choice((1, 2, 2, 3, 3, 4)),
            shoppers=chance.randint(1, 3),
            keys=("anna", "ben")[: chance.randint(1, 2)],
            storage=storage,
            policy=chance.choices(("auto", "new_visitor", "raise"), (6, 1, 1))[0],
            is_pool=chance.random() < 0.6,
            max_token_requests=chance.randint(1, 4),
            lifetime=chance.choice((60.0, 200.0, 400.0)),
            rotates=rotation == "rotates",
            one_time=rotation == "one time",
            omits=rotation == "none" and chance.random() < 0.5,
            wix_skew=chance.choice((0.0, -30.0, 30.0)),
            wild_clocks=chance.random() < 0.2,
            thinking=chance.choice((2.0, 10.0, 30.0)),
            faults_end=chance.choice((100.0, 300.0)),
        )


class World:
    """One run of one seed on one event loop.

    Attributes:
        scenario: what the seed made of it.
        watch: whoever looks whether the promise is kept.
        shopping: the processes whose shoppers are not done.
        logins: for each key the logins that have begun, as JSON: a web app keeps them outside of its processes.
        callbacks: for each login's address the one to which Wix has sent the browser back with a code.
    """

    def __init__(self, seed: int, backend: str) -> None:
        self.backend = backend
        self.watch = Watch()
        self.scheduler = Scheduler(seed, self.watch.after_step)
        self._chance = self.scheduler.random
        self.watch.now = lambda: self.scheduler.now
        self.scenario = scenario = Scenario.of(seed, self._chance)
        self.watch.policy, self.watch.renew_timeout = scenario.policy, scenario.renew_timeout
        self.watch.bound = 250.0 if scenario.has_slow_store else 90.0
        self.watch.calls_hang = scenario.works_in_threads
        self.watch.has_wild_clocks = scenario.wild_clocks
        self.is_calm_since = scenario.faults_end
        self._births = 0
        if scenario.storage == "plain":
            self.watch.is_private()
        settings = Settings(
            access_token_lifetime=scenario.lifetime,
            rotate_refresh_tokens=scenario.rotates,
            one_time_refresh_tokens=scenario.one_time,
            clock_skew=scenario.wix_skew,
            revoke_on_code_reuse=scenario.revokes_reused,
            refusal_shape=self._chance.choice(("oauth", "wix", "legacy")),
            refusal_status=self._chance.choice((400, 401, 403)),
        )
        now = lambda: self.scheduler.now  # noqa: E731 - the world's clock
        self.wix = self.watch.wix = WixModel(self._chance, now, settings=settings, omits=scenario.omits)
        self.store = StoreModel(self._chance, self.watch)
        self.store.works_in_threads = scenario.works_in_threads
        if scenario.poison == "from the beginning":
            self.wix.poisons_next = self._chance.choice(POISONS)
        if scenario.storage == "leasing":
            self.watch.leases = self.store.leases
        self.shopping: set[str] = set()
        self.logins: dict[str, list[str]] = {key: [] for key in scenario.keys}
        self.callbacks: dict[str, str] = {}
        self._lives: dict[str, Life] = {}
        self._plan()
        self._plan_doubts(random.Random(f"doubts {seed}"))

    def run(self) -> None:
        """Lets it all happen.

        Raises:
            Violation: an invariant does not hold.
        """
        try:
            with _quiet_world(self._chance, self._logged), patch.object(time_limits, "outside_clock", self.watch.now):
                try:
                    self.scheduler.run(lambda: self.watch.violation is not None)
                finally:
                    for process in self.scheduler.processes:
                        process.kill()
        except Endless as endless:
            self.watch.fail(4, str(endless))
        self._check_end()
        if self.watch.violation is not None:
            raise self.watch.violation

    def _logged(self, record: logging.LogRecord) -> None:
        if not self.scheduler.is_winding_up:
            self.watch.logged(record)

    def stored(self, key: str) -> str:
        """The access token that the store holds."""
        return self.watch.stored(key).access_token.value

    def is_lost(self, key: str, session: VisitorSession) -> bool:
        """Whether this visitor has nothing to go on with, and the app wants to be told so.

        Without a lease, or with a short one that runs out meanwhile, one-time tokens may be refused to one process
        while another is saving their successor.
        """
        if self.watch.is_passed_over(key, session.get_tokens()):
            return False
        seen, scenario = [self.watch.stored(key), session.get_tokens()], self.scenario
        if scenario.one_time and (scenario.storage != "leasing" or scenario.has_slow_store):
            seen.append(self.watch.stored_before(key))
        for tokens in seen:
            is_member = tokens.refresh_token.role is TokenRole.MEMBER
            may_not = scenario.policy == "raise" or (scenario.policy == "auto" and is_member)
            if may_not and tokens.refresh_token.value in self.wix.refused:
                return True
        return False

    def next_life(self) -> int:
        """Numbers the lives of processes."""
        self._births += 1
        return self._births

    def is_poisoned(self, key: str) -> bool:
        """Whether Wix has no good answer for this visitor's token calls, ever."""
        return self.wix.is_poisoned(self.stored(key))

    def _check_end(self) -> None:
        """Rule 9, of what all processes share."""
        left = [key for key, lease in self.store.leases.items() if lease.until > self.scheduler.now]
        if left:
            self.watch.fail(9, f"the leases of {left} are left behind")

    # What goes wrong, and when

    def _plan(self) -> None:
        for number in range(self.scenario.processes):
            self._start(f"P{number + 1}")
        troubles: list[tuple[Callable[[], None], int]] = [
            (self._trouble_wix, 4),
            (self._trouble_store, 3),
            (self._to_somebody(self._kill), 2),
            (self._to_somebody(self._stop), 3),
            (self._stop_holders, 2),
            (self._revoke, 2),
        ]
        if self.scenario.crowd:
            troubles.append((self._trouble_site, 20))
        if self.scenario.poison == "later":
            self.scheduler.at(self._chance.uniform(0.0, 60.0), self._poison)
        if self.scenario.has_slow_store:
            for _ in range(6):
                self.scheduler.at(self._chance.uniform(0.0, self.scenario.faults_end), self._slow_store)
        for _ in range(self.scenario.rollbacks):
            self.scheduler.at(self._chance.uniform(10.0, self.scenario.faults_end), self._roll_back)
        if self.scenario.wild_clocks:
            troubles.append((self._to_somebody(self._move_clock), 3))
        actions, weights = zip(*troubles, strict=True)
        for _ in range(self._chance.randint(2, 12)):
            when = self._chance.uniform(0.0, self.scenario.faults_end)
            self.scheduler.at(when, self._chance.choices(actions, weights)[0])
        self.scheduler.at(self.scenario.faults_end, self._calm)

    def _start(self, name: str) -> None:
        spread = 4_000.0 if self.scenario.wild_clocks else 5.0
        life = self._lives[name] = Life(self, self._chance.uniform(-spread, spread))
        life.process = self.scheduler.start(name, life.main, self.backend)

    def _calm(self) -> None:
        self.wix.moods, self.store.moods = Moods(), StoreMoods()

    def _trouble_wix(self) -> None:
        chance = self._chance
        self.wix.moods = Moods(
            drops=chance.choice((0.0, 0.3, 1.0)),
            turns_away=chance.choice((0.0, 0.0, 0.2)),
            errors=chance.choice((0.0, 0.3, 0.7, 1.0)),
            hangs=chance.choice((0.0, 0.1)),
            slowness=chance.choice((0.1, 1.0, 8.0)),
        )
        self._for_a_while(lambda: setattr(self.wix, "moods", Moods()))

    def _trouble_site(self) -> None:
        """The token endpoint is out of order for all, in one way."""
        chance = self._chance
        trouble = chance.choice((*SITE_TROUBLES, "drops", "stalls"))
        if isinstance(trouble, str):
            self.wix.moods = Moods(drops=float(trouble == "drops"), stalls=trouble == "stalls")
        else:
            self.wix.moods = Moods(site=trouble)
        self.watch.trace.append(f"{self.scheduler.now:10.3f} Wix  answers all token calls with {trouble}")
        self._for_a_while(lambda: setattr(self.wix, "moods", Moods()))

    def _plan_doubts(self, chance: random.Random) -> None:
        """In some worlds renewals get doubtful answers: once, one visitor's for ever, or all of them for a while."""
        if self.scenario.wild_clocks or chance.random() < 0.5:
            return
        for _ in range(chance.randint(1, 3)):
            answer, whose = chance.choice(DOUBTFUL), chance.choice(("one", "all", "all", "mints too"))
            doubt = partial(self._doubt, answer, whose, chance.choice((1.0, 20.0, 50.0, 90.0)), chance)
            self.scheduler.at(chance.uniform(1.0, self.scenario.faults_end), doubt)

    def _doubt(self, answer: Answer, whose: str, seconds: float, chance: random.Random) -> None:
        self.watch.trace.append(f"{self.scheduler.now:10.3f} Wix  answers {answer.status} to renewals of {whose}")
        if whose == "one":
            identity = self.wix.identity(self.stored(chance.choice(self.scenario.crowd or self.scenario.keys)))
            if identity is not None:
                self.wix.poison(identity, answer)
            return
        self.wix.doubts, self.wix.doubts_mints = answer, whose == "mints too"
        until = min(self.scheduler.now + seconds, self.scenario.faults_end)
        self.scheduler.at(until, lambda: setattr(self.wix, "doubts", None))

    def _poison(self) -> None:
        identity = self.wix.identity(self.stored(self._chance.choice(self.scenario.crowd or self.scenario.keys)))
        if identity is not None:
            self.watch.trace.append(f"{self.scheduler.now:10.3f} Wix  has poisoned {self.wix.name(identity)}")
            self.wix.poison(identity, self._chance.choice(POISONS))

    def _slow_store(self) -> None:
        """The store works, and takes longer than Wix may, or than a store may."""
        seconds = self._chance.choice(
            ((0.0, 0.0), (1.0, 3.0), (3.0, 9.0), (15.0, 25.0), (0.0, 15.0), (0.0, 15.0), (0.0, 25.0))
        )
        self.store.moods = StoreMoods(seconds=seconds)
        self.watch.trace.append(f"{self.scheduler.now:10.3f} store takes {seconds} s")

    def _trouble_store(self) -> None:
        chance = self._chance
        self.store.moods = StoreMoods(
            failures=chance.choice((0.0, 0.3, 1.0)),
            lost_replies=chance.choice((0.0, 0.3)),
            hangs=chance.choice((0.0, 0.05)),
            slowness=chance.choice((0.01, 0.5, 2.0)),
        )
        self._for_a_while(lambda: setattr(self.store, "moods", StoreMoods()))

    def _roll_back(self) -> None:
        """The store becomes what it was: a replica that lags takes over, or a backup is restored."""
        chance, now = self._chance, self.scheduler.now
        to = now - chance.choice((chance.uniform(0.0, 3.0), chance.uniform(0.0, 100.0), now + 1.0))
        keys = [key for key in self.scenario.keys if chance.random() < 0.7]
        lost = {key: self.wix.identity(self.stored(key)) for key in keys}
        self.store.roll_back(now, to, [f"{CLIENT_ID}:{key}" for key in keys], with_leases=chance.random() < 0.5)
        for key, identity in lost.items():
            if identity not in (None, self.wix.identity(self.stored(key))) and chance.random() < 0.5:
                self._refuse(identity, access_only=False)

    def _for_a_while(self, end: Callable[[], None]) -> None:
        self.scheduler.at(self.scheduler.now + self._chance.expovariate(1 / 40.0), end)

    def _kill(self, process: Process) -> None:
        """Ends a process, at whatever await it is; it starts again a little later, with nothing but the store."""
        self.watch.note(process, "is killed")
        self.watch.process_is_gone(process)
        self.shopping.discard(process.name)
        process.kill()
        again = self.scheduler.now + self._chance.expovariate(1 / 3.0)
        self.scheduler.at(min(again, self.scenario.faults_end), lambda: self._start(process.name))

    def _stop(self, process: Process, seconds: float = 0.0) -> None:
        """Stops the world of one process, for less or more than a lease."""
        seconds = seconds or self._chance.choice((1.0, 10.0, 20.0, 45.0))
        seconds = min(seconds, max(0.0, self.scenario.faults_end - self.scheduler.now))
        self.watch.note(process, f"is stopped for {seconds:.1f} s")
        if process in self.watch.sites:
            self.watch.sites[process].is_stopped()
        process.stop(seconds)

    def _stop_holders(self) -> None:
        """Stops the next three who have a lease, for longer than that lasts: who waits for all of them goes ahead."""
        self._hunt(3, self.scheduler.now + 60.0)

    def _hunt(self, number: int, until: float) -> None:
        now = self.scheduler.now
        owners = [lease.process for lease in self.store.leases.values() if lease.until > now]
        for process in [one for one in owners if not one.ended and one.stopped_until <= now][:1]:
            self._stop(process, 30.0)
            number -= 1
        if number and now < min(until, self.scenario.faults_end):
            self.scheduler.at(now + 0.1, lambda: self._hunt(number, until))

    def _revoke(self) -> None:
        identity = self.wix.identity(self.stored(self._chance.choice(self.scenario.keys)))
        if identity is not None:
            self._refuse(identity, access_only=self._chance.random() < 0.5)

    def _refuse(self, identity: Identity, *, access_only: bool) -> None:
        whom = f"{'the access tokens of ' if access_only else ''}{self.wix.name(identity)}"
        self.watch.trace.append(f"{self.scheduler.now:10.3f} Wix  revokes {whom}")
        self.wix.revoke(identity, access_only=access_only)

    def _move_clock(self, process: Process) -> None:
        self.watch.clock_moves(process)
        self._lives[process.name].skew += self._chance.choice((-3_600.0, 3_600.0))

    def _to_somebody(self, trouble: Callable[[Process], None]) -> Callable[[], None]:
        def happen() -> None:
            living = [process for process in self.scheduler.processes if not process.ended]
            if living:
                trouble(self._chance.choice(living))

        return happen


@contextmanager
def _quiet_world(chance: random.Random, logged: Callable[[logging.LogRecord], None]) -> Iterator[None]:
    """Makes whatever chance there is in the process the seed's, and listens to the log."""
    logger, state, gc_was_on = logging.getLogger("wixvisitor"), random.getstate(), gc.isenabled()
    handler = _Handler(logged)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    random.seed(chance.random())
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # as Hypothesis and pytest-trio have it  # type: ignore[misc]
    trio_run._r.seed(chance.random())
    gc.disable()
    try:
        yield
    finally:
        if gc_was_on:
            gc.enable()
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = False  # type: ignore[misc]
        random.setstate(state)
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


class _Handler(logging.Handler):
    def __init__(self, logged: Callable[[logging.LogRecord], Any]) -> None:
        super().__init__()
        self._logged = logged

    def emit(self, record: logging.LogRecord) -> None:
        self._logged(record)
