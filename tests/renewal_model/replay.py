"""Steps of the model (``tests/renewal_model/model.py``), taken by the real code: a few refreshers, one await at a time.

What is seen after each is put into the model's own words, so that both can be compared, and the model's invariants be
asked about the real code.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

import anyio

from tests.renewal_model.model import Config, Process, Snapshot, State, Step, Tokens
from wixvisitor import AccessToken, RefreshToken, TokenRole
from wixvisitor import Tokens as RealTokens
from wixvisitor._renewal import records, run
from wixvisitor._wire.token_endpoint import Granted
from wixvisitor.storage import MemoryStorage

from .player import CLIENT_ID, RENEW_TIMEOUT, Player, seen

KEY: Final = f"{CLIENT_ID}:default"
LIFETIME: Final = 1_000_000  # seconds; nothing expires unless a step says so
LOADS: Final = ("look", "wait", "load", "lost")  # for what the model reads the store
PATIENCE: Final = run._PATIENCE * RENEW_TIMEOUT + 1  # more than anybody has


class Replay:
    """The world of one replay."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.now = 1_800_000_000.0
        self.store = MemoryStorage()
        self.lease_of = ""
        self.is_over = False
        self.granted = self.expired = 0 if config.start == "empty" else 1
        self.spent = {1} if config.start == "refused" else set()
        self.refused: set[int] = set()
        self.players: list[Player] = []
        self.current: Player
        self._all: list[Player] = []
        self._group: Any = None

    async def start(self, group: Any) -> None:
        """Lets every process come to its first step."""
        self._group = group
        if self.granted:
            role, expiry = TokenRole.VISITOR, int(self.now) - 1
            tokens = RealTokens(AccessToken("1-1-1", expiry), RefreshToken("1-1", role))
            await self.store.save(KEY, records.render(tokens, CLIENT_ID))
        for number in range(self.config.processes):
            self.players.append(Player(self))
            await self._begin(number)

    async def _begin(self, number: int) -> None:
        self.current = self.players[number]
        self._all.append(self.current)
        self._group.start_soon(self.current.live)
        await self.current.arrive()

    async def take(self, step: Step) -> None:
        """Takes one step, whatever the real code makes of it."""
        if step.process < 0:
            return await self._take_for_all(step)
        player = self.players[step.process]
        if step.how == "starts again":
            self.players[step.process] = Player(self)
            return await self._begin(step.process)
        if step.how == "crashes":
            player.at = "dead"  # it stands still for ever, and so does its lease
        elif step.how != "is stalled" and player.at not in ("done", "dead"):
            player.clock += PATIENCE if step.how == "loses patience" else 0.0
            is_meant = step.at == player.at or (player.at == "load" and step.at in LOADS)
            await player.go(step.how if is_meant else "")
        return None

    async def _take_for_all(self, step: Step) -> None:
        if step.at == "lease":
            self.lease_of = ""
            return
        self.now += 2 * LIFETIME
        self.expired = self.granted
        for player in self.players:
            if player.at == "done":
                await player.go("")

    def end(self) -> None:
        """Lets go of everybody, the dead included."""
        self.is_over = True
        for player in self._all:
            player.wake()

    def wix_renews(self, refresh_token: str) -> Granted | None:
        visitor, refresh = map(int, refresh_token.split("-"))
        if refresh in self.spent:
            self.refused.add(refresh)
            return None
        if self.config.rotation == "one-time":
            self.spent.add(refresh)
        return self._grant(visitor, refresh if self.config.rotation == "never" else 0)

    def wix_mints(self) -> Granted:
        return self._grant(0, 0)

    def _grant(self, visitor: int, refresh: int) -> Granted:
        self.granted += 1
        visitor, new = visitor or self.granted, refresh or self.granted
        access = AccessToken(f"{visitor}-{new}-{self.granted}", int(self.now) + LIFETIME)
        return Granted(access, f"{visitor}-{new}" if not refresh else None, LIFETIME)

    async def finish(self, like: State) -> AsyncIterator[tuple[Step, State]]:
        """Lets everybody who is alive go on without a fault until they are done, and yields what happens."""
        if like.lapses:
            self.lease_of = ""
        for number in itertools.cycle(range(len(self.players))):
            if all(player.at in ("done", "dead") for player in self.players):
                return
            step = Step(number, self.players[number].at, "goes on")
            await self.take(step)
            yield step, await self.seen(like)

    async def seen(self, like: State) -> State:
        """Returns what is there, in the model's words; what only the model can know is as in ``like``."""
        record = await self.store.load(KEY)
        store = seen(RealTokens.from_dict(json.loads(record.value))) if record else Tokens()
        processes = tuple(
            Process(player.at, held=Snapshot(player.using if player.at == "done" else Tokens()))
            for player in self.players
        )
        wix = {"granted": self.granted, "spent": frozenset(self.spent), "refused": frozenset(self.refused)}
        lease = like.lease if bool(like.lease) == bool(self.lease_of) else f"the real one is {self.lease_of or 'free'}"
        return like._replace(store=store, lease=lease, processes=processes, expired=self.expired, **wix)


def told(state: State) -> State:
    """Returns of a model's state what a replay can see."""
    processes = tuple(
        Process("load" if one.at in LOADS else one.at, held=Snapshot(one.held.tokens if one.at == "done" else Tokens()))
        for one in state.processes
    )
    return state._replace(processes=processes)


def check_same(seen: State, state: State, about: str) -> None:
    """Compares what is there with the model's state, and says what differs."""
    pairs = zip(State._fields, seen, told(state), strict=True)
    differs = [f"{name}: the code {ours}, the model {theirs}" for name, ours, theirs in pairs if ours != theirs]
    assert not differs, "\n".join((about, *differs))


@asynccontextmanager
async def replayed(config: Config) -> AsyncIterator[Replay]:
    """A replay, in which no time passes but what it says; everybody stands at their first step."""
    replay = Replay(config)

    async def sleep(seconds: float) -> None:
        replay.current.clock += seconds

    still = SimpleNamespace(
        current_time=lambda: replay.current.clock,
        sleep=sleep,
        CancelScope=anyio.CancelScope,
        move_on_after=lambda _: anyio.CancelScope(),
    )
    with patch.object(run, "anyio", still), patch.object(records, "_TIMEOUT", 600.0):
        # The log would say of every fault what came of it.
        with patch.object(logging.getLogger("wixvisitor"), "disabled", True):
            with anyio.fail_after(60):
                async with anyio.create_task_group() as group:
                    try:
                        await replay.start(group)
                        yield replay
                    finally:
                        replay.end()
