"""Refreshers that are broken on purpose: the simulation has to notice each of them.

Each is a patch of one method, with the mistake that its name says.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import anyio
import anyio.lowlevel
import attrs
import httpx

from wixvisitor import EMPTY_TOKENS, VisitorSession
from wixvisitor._renewal import decision, work
from wixvisitor._renewal.changes import ChangeReason
from wixvisitor._renewal.decision import Action, Need, Snapshot, Unread
from wixvisitor._renewal.lane import Job, Lane
from wixvisitor._renewal.records import Records
from wixvisitor._renewal.refresher import Refresher
from wixvisitor._renewal.run import Outcome, Renewal
from wixvisitor._renewal.state import TokenState
from wixvisitor._renewal.work import Work
from wixvisitor._tasks.shared_task import SharedTask
from wixvisitor._wire.token_endpoint import Granted
from wixvisitor.errors import StorageError, TokenRequestError, WixVisitorError

from . import broken_login, broken_past, broken_site


def _no_recheck_after_the_lease() -> Any:
    """Whoever has the lease asks Wix with what it held before, whatever was saved meanwhile."""

    @attrs.define(eq=False)
    class Blind(Renewal):
        looked: bool = False

        async def _load(self, refused: frozenset[str] = frozenset()) -> Snapshot:
            if self.looked or self.held is None or not self.held.value:
                return await super()._load(refused)
            self.looked = True
            return self.held

        async def _renew(self) -> Outcome:
            self.looked = False
            return await super()._renew()

    return patch.object(work, "Renewal", Blind)


def _publish_after_waking() -> Any:
    """A renewal is over before its result is published, and the callers that waited take what is there."""
    do, get = Lane._do, Refresher._get

    async def wake_first(self: Lane, job: Job, work: Callable[[], Any], before: Any) -> Any:
        async def early() -> Any:
            job._done.set()
            return await work()

        return await do(self, job, early if job.need is Need.TOKEN else work, before)

    async def take_what_is_there(self: Refresher, need: Need, rejection: Any = None) -> Snapshot | None:
        if need is not Need.TOKEN or self.state.next_action(need)[1] is not Action.RENEW:
            return await get(self, need, rejection)
        await self._join(need)
        return self.state.held

    return _both(patch.object(Lane, "_do", wake_first), patch.object(Refresher, "_get", take_what_is_there))


@contextmanager
def _both(one: Any, other: Any) -> Iterator[None]:
    with one, other:
        yield


def _lock_across_the_network() -> Any:
    """Each caller renews for itself, one after the other, behind a lock."""
    locks: dict[Refresher, anyio.Lock] = {}

    async def queue_up(self: Refresher, need: Need, *_: Any) -> bool:
        async with locks.setdefault(self, anyio.Lock()):
            if need is Need.TOKEN and self.state.fresh():
                return False
            return await _renew_here(self, need)

    return patch.object(Refresher, "_join", queue_up)


def _shield_instead_of_a_task() -> Any:
    """The caller renews in its own task, behind a shield."""
    locks: dict[Refresher, anyio.Lock] = {}

    async def renew_shielded(self: Refresher, need: Need, *_: Any) -> bool:
        with anyio.CancelScope(shield=True):
            async with locks.setdefault(self, anyio.Lock()):
                if need is Need.TOKEN and self.state.fresh():
                    return False
                return await _renew_here(self, need)

    return patch.object(Refresher, "_join", renew_shielded)


async def _renew_here(refresher: Refresher, need: Need) -> bool:
    state, records = refresher.state, Records(refresher.settings, refresher.state.key)
    renewal = Renewal(refresher.settings, records, refresher._endpoint, need, state.held)
    outcome = await renewal.run()
    state.publish(outcome, state.edition)
    return outcome.reason is not None


def _mint_on_any_error() -> Any:
    """Whatever goes wrong with a renewal, a new visitor is the answer, as in @wix/sdk."""
    renew = Renewal._renew

    async def renew_or_mint(self: Renewal) -> Outcome:
        try:
            return await renew(self)
        except TokenRequestError:
            return await self._mint(await self._load(), ChangeReason.REPLACED)

    return patch.object(Renewal, "_renew", renew_or_mint)


def _forget_rotation() -> Any:
    """The refresh token that came with the answer is dropped."""
    after_renewal = decision.after_renewal
    return patch.object(decision, "after_renewal", lambda old, access, _: after_renewal(old, access, None))


def _adopt_nothing() -> Any:
    """Whoever loses the race goes on as the visitor that it made itself."""

    def go_on(self: Renewal, winner: Any, new: Snapshot, reason: Any) -> Outcome:
        return Outcome(attrs.evolve(new, version=Unread.UNREAD), reason)

    return patch.object(Renewal, "_lost_to", go_on)


def _save_whatever_is_there() -> Any:
    """No compare-and-set: the last one wins."""
    save = Records.save

    async def overwrite(self: Records, tokens: Any, expected: Any, lineage: Any) -> Any:
        return await save(self, tokens, Unread.UNREAD, lineage)

    return patch.object(Records, "save", overwrite)


def _set_nothing() -> Any:
    """``set_tokens`` returns, and has done nothing."""

    async def nothing(self: Refresher, _tokens: object) -> None:
        await anyio.lowlevel.checkpoint()

    return patch.object(Refresher, "set", nothing)


def _forget_nothing() -> Any:
    """``forget`` returns, and has done nothing."""

    async def nothing(self: Work) -> None:
        await anyio.lowlevel.checkpoint()

    return patch.object(Work, "forget", nothing)


def _delete_on_any_error() -> Any:
    """A renewal that fails removes the visitor."""
    renew = Renewal._renew

    async def and_delete(self: Renewal) -> Outcome:
        try:
            return await renew(self)
        except TokenRequestError:
            await self.settings.storage.delete(self.records.scoped_key)
            raise

    return patch.object(Renewal, "_renew", and_delete)


def _late_overwrites() -> Any:
    """A renewal that began before a login goes on, and is published after it."""
    publish, do = TokenState.publish, Lane._do

    async def wait_for_none(self: Lane, job: Job, work: Any, before: Any) -> Any:
        return await do(self, job, work, [one for one in before if one.need is None])

    @contextmanager
    def all_of_it() -> Iterator[None]:
        with (
            patch.object(Job, "ends_at_once", False),
            patch.object(Lane, "_do", wait_for_none),
            patch.object(TokenState, "publish", lambda self, outcome, _: publish(self, outcome, self.edition)),
        ):
            yield

    return all_of_it()


def _use_what_was_turned_down() -> Any:
    """A token counts as fresh until it expires by the clock, also after a 401."""
    after_rejection = Refresher.after_rejection

    async def wait_and_see(self: Refresher, rejected: Snapshot, unanswered: Any, route: str) -> Snapshot | None:
        await after_rejection(self, rejected, None, route)
        return None if unanswered is None else rejected

    return patch.object(Refresher, "after_rejection", wait_and_see)


def _ignore_the_expiry() -> Any:
    """A token is used as long as there is one."""
    return patch.object(TokenState, "fresh", lambda self: self.held if self.held and self.held.value else None)


def _replace_members() -> Any:
    """A refused member becomes a visitor, and nobody is told."""
    return patch.object(decision, "may_replace", lambda role, policy: True)


def _never_try_again() -> Any:
    """A pause never ends."""
    return patch.object(decision.Cooldown, "active", lambda self, now: True)


def _log_the_tokens() -> Any:
    """A debug line says which token was granted."""
    renewed = Renewal._renewed

    async def and_say_so(self: Renewal, held: Snapshot, granted: Granted) -> Outcome:
        logging.getLogger("wixvisitor").debug("renewed: %s", granted.access_token.value)
        return await renewed(self, held, granted)

    return patch.object(Renewal, "_renewed", and_say_so)


def _keep_the_lease() -> Any:
    """A renewal that fails does not give its lease back, and waits for it to run out the next time."""

    async def keep(self: Renewal, _holder: str) -> None:
        await anyio.lowlevel.checkpoint()

    return patch.object(Renewal, "_release", keep)


def _save_empty_on_any_error() -> Any:
    """A renewal that fails saves a record without tokens, so the next caller is a new visitor."""
    renew = Renewal._renew

    async def and_save_empty(self: Renewal) -> Outcome:
        try:
            return await renew(self)
        except TokenRequestError:
            found = await self.records.load()
            await self.records.save(EMPTY_TOKENS, found.version if found else None)
            raise

    return patch.object(Renewal, "_renew", and_save_empty)


def _never_ask_for_the_lease() -> Any:
    """Whoever renews goes ahead as if it had the lease."""

    async def ahead(self: Records, holder: str, seconds: float) -> float:
        return 0.0

    return patch.object(Records, "acquire_lease", ahead)


def _give_the_lease_back_early() -> Any:
    """The lease is given back before Wix is asked."""
    acquire = Renewal._acquire

    async def without_it(self: Renewal, holder: str, seconds: float) -> float:
        remaining = await acquire(self, holder, seconds)
        await self.records.release_lease(holder)
        return remaining

    return patch.object(Renewal, "_acquire", without_it)


def _one_holder() -> Any:
    """All processes ask for the lease under one name, and so have it together."""
    acquire, release = Records.acquire_lease, Records.release_lease

    @contextmanager
    def both() -> Iterator[None]:
        with (
            patch.object(Records, "acquire_lease", lambda self, _, seconds: acquire(self, "one", seconds)),
            patch.object(Records, "release_lease", lambda self, _: release(self, "one")),
        ):
            yield

    return both()


def _a_lease_of_a_millisecond() -> Any:
    """The lease is over before Wix can have answered."""
    acquire = Records.acquire_lease
    return patch.object(Records, "acquire_lease", lambda self, holder, _: acquire(self, holder, 0.001))


def _an_error_of_no_kind() -> Any:
    """What the store raises when it cannot save comes out as it is."""
    save = Records.save

    async def bare(self: Records, *arguments: Any) -> Any:
        try:
            return await save(self, *arguments)
        except StorageError as error:
            raise KeyError(str(error)) from None

    return patch.object(Records, "save", bare)


def _ask_again_after_a_broken_connection() -> Any:
    """A request whose connection broke is sent once more, whatever it was."""
    send = VisitorSession._send

    async def twice(self: VisitorSession, method: str, url: str, arguments: Any, *, stream: bool) -> Any:
        try:
            return await send(self, method, url, dict(arguments), stream=stream)
        except httpx.ReadError:
            return await send(self, method, url, arguments, stream=stream)

    return patch.object(VisitorSession, "_send", twice)


def _fall_over_when_closed() -> Any:
    """Closing ends with a bug."""

    async def fall_over(self: Refresher) -> None:
        raise LookupError(self.state.key)

    return patch.object(Refresher, "aclose", fall_over)


def _log_the_end_of_a_token() -> Any:
    """A debug line says how the token ends that was granted."""
    renewed = Renewal._renewed

    async def and_say_so(self: Renewal, held: Snapshot, granted: Granted) -> Outcome:
        logging.getLogger("wixvisitor").debug("renewed: …%s", granted.access_token.value[-30:])
        return await renewed(self, held, granted)

    return patch.object(Renewal, "_renewed", and_say_so)


def _everybody_renews_alone() -> Any:
    """A caller that needs a renewal starts one, also while another is under way."""
    do = Lane._do

    async def at_once(self: Lane, job: Job, work: Any, before: Any) -> Any:
        return await do(self, job, work, [] if job.need is not None else before)

    return _both(patch.object(Lane, "last_renewal", lambda self: None), patch.object(Lane, "_do", at_once))


def _do_not_wait_for_the_lease() -> Any:
    """Whoever finds the lease taken goes ahead without it."""
    acquire = Renewal._acquire

    async def ahead(self: Renewal, holder: str, seconds: float) -> float:
        await acquire(self, holder, seconds)
        return 0.0

    return patch.object(Renewal, "_acquire", ahead)


def _leave_a_task() -> Any:
    """Closing leaves a renewal's watchman behind."""
    start = Refresher._start

    def start_and_watch(self: Refresher, *arguments: Any) -> Any:
        SharedTask().start(partial(anyio.sleep, 1e6), name="a watchman")
        return start(self, *arguments)

    return patch.object(Refresher, "_start", start_and_watch)


def _share_the_error() -> Any:
    """All waiters raise the very same exception."""
    return patch.object(WixVisitorError, "_again", lambda self: self)


@attrs.frozen
class Broken:
    """A mistake.

    Attributes:
        patch: returns the context in which it is made.
        caught_by: the invariants that it violates.
        kind: of the worlds in which it is looked for.
    """

    patch: Callable[[], Any]
    caught_by: frozenset[int]
    kind: str = "shop"


BROKEN: dict[str, Broken] = {
    name: Broken(make, frozenset(caught_by), *kind)
    for name, make, caught_by, *kind in (
        ("no re-check after the lease", _no_recheck_after_the_lease, (3,)),
        ("everybody renews alone", _everybody_renews_alone, (3,)),
        ("do not wait for the lease", _do_not_wait_for_the_lease, (3,)),
        ("publish after waking", _publish_after_waking, (4, 5)),
        ("lock across the network", _lock_across_the_network, (4,)),
        ("shield instead of its own task", _shield_instead_of_a_task, (4,)),
        ("mint on any error", _mint_on_any_error, (1,)),
        ("forget rotation", _forget_rotation, (6,)),
        ("the loser adopts nothing", _adopt_nothing, (2,)),
        ("no compare-and-set", _save_whatever_is_there, (6,)),
        ("set nothing", _set_nothing, (1,)),
        ("forget nothing", _forget_nothing, (1,)),
        ("delete on any error", _delete_on_any_error, (1,)),
        ("late overwrites", _late_overwrites, (1,)),
        ("use what was turned down", _use_what_was_turned_down, (5,)),
        ("ignore the expiry", _ignore_the_expiry, (5,)),
        ("replace members", _replace_members, (6,)),
        ("never try again", _never_try_again, (7,)),
        ("log the tokens", _log_the_tokens, (8,)),
        ("keep the lease", _keep_the_lease, (9,)),
        ("leave a task", _leave_a_task, (9,)),
        ("share the error", _share_the_error, (4,)),
        ("save an empty record on any error", _save_empty_on_any_error, (1,)),
        ("never ask for the lease", _never_ask_for_the_lease, (3,)),
        ("give the lease back early", _give_the_lease_back_early, (3,)),
        ("one name for all holders", _one_holder, (3,)),
        ("a lease of a millisecond", _a_lease_of_a_millisecond, (3,)),
        ("an error of no kind", _an_error_of_no_kind, (4,)),
        ("fall over when closed", _fall_over_when_closed, (4,)),
        ("ask again after a broken connection", _ask_again_after_a_broken_connection, (2,)),
        ("log the end of a token", _log_the_end_of_a_token, (8,)),
        *broken_site.MISTAKES,
        *broken_past.MISTAKES,
        *broken_login.MISTAKES,
    )
}
"""By name."""
