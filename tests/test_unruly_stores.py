"""Stores that lag behind themselves, or raise what a store should not: few token calls, and an error that says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from tests.constants import CLIENT_ID, LIFETIME, SessionMaker
from tests.stores import TroubledStorage
from wixvisitor import StorageError, TokenRequestError, Tokens, WixVisitorError
from wixvisitor._renewal.records import render
from wixvisitor.storage import ANY_VERSION, AnyVersion, MemoryStorage, Record, VersionConflict
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_backoff")]


class Lagging(MemoryStorage):
    """Reads come from a replica that follows only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.replica: dict[str, Record] = {}
        self.calls = 0

    def follow(self) -> None:
        self.replica = dict(self._records)

    async def load(self, key: str) -> Record | None:
        self.calls += 1
        return self.replica.get(key)

    async def save(self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION) -> str:
        self.calls += 1
        return await super().save(key, value, expected=expected)


@pytest.mark.parametrize("one_time", [False, True])
async def test_a_first_visit_behind_a_replica(still: FakeWix, session_of: SessionMaker, *, one_time: bool) -> None:
    """The second process does not see the first one's visitor: one call, an error that says why, then a pause."""
    still.one_time_refresh_tokens = one_time
    storage = Lagging()
    one, other = session_of(storage=storage), session_of(storage=storage)
    await one.auth_headers()
    still.reset_calls()
    with pytest.raises(StorageError, match="replica that lags behind"):
        await other.auth_headers()
    calls = storage.calls
    with pytest.raises(StorageError, match="replica that lags behind"):
        await other.auth_headers()
    assert len(still.token_calls()) == 1
    assert storage.calls == calls
    storage.follow()
    still.advance(2)
    await other.auth_headers()
    assert other.get_tokens() == one.get_tokens()
    assert len(still.token_calls()) == 1


@pytest.mark.parametrize("one_time", [False, True])
async def test_a_renewal_behind_a_replica(still: FakeWix, session_of: SessionMaker, *, one_time: bool) -> None:
    """The second process does not see the first one's renewal: at most two calls, and the same visitor later."""
    still.one_time_refresh_tokens = one_time
    storage = Lagging()
    one = session_of(storage=storage)
    await one.auth_headers()
    storage.follow()
    other = await session_of(storage=storage).__aenter__()
    still.advance(LIFETIME + 1)
    await one.auth_headers()
    still.reset_calls()
    if one_time:
        with pytest.raises(StorageError, match="replica that lags behind"):
            await other.auth_headers()
    else:
        await other.auth_headers()
    assert len(still.token_calls()) == (2 if one_time else 1)
    storage.follow()
    still.advance(2)
    await other.auth_headers()
    assert other.get_tokens().refresh_token == one.get_tokens().refresh_token


async def test_a_login_behind_a_replica(session_of: SessionMaker, member: Tokens, visitor: Tokens) -> None:
    """``set_tokens`` says that it could not save, and the next use after the pause saves."""
    storage = Lagging()
    await session_of(storage=storage).set_tokens(visitor)
    session = session_of(storage=storage)
    with pytest.raises(StorageError, match="replica that lags behind"):
        await session.set_tokens(member)
    storage.follow()
    await session.set_tokens(member)
    assert session.get_tokens() == member


async def test_the_pause_ends_with_the_trouble(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """After the pause the store is asked again; a save that is answered ends it, and what failed is forgotten."""
    storage = Lagging()
    await session_of(storage=storage).set_tokens(visitor)
    session = session_of(storage=storage)
    for _ in range(3):
        with pytest.raises(StorageError):
            await session.auth_headers()
        still.advance(61)
    storage.follow()
    assert (await session.auth_headers())["Authorization"] == visitor.access_token.value
    assert len(still.visitors) == 2


class Halt(BaseException):
    """No ``Exception``, as those of gevent and of test runners are."""


def _unruly() -> dict[str, Callable[[], BaseException]]:
    return {
        "its own cancellation": asyncio.CancelledError,
        "no Exception": lambda: Halt("JWS.a.secret.text"),
        "a group of none": lambda: BaseExceptionGroup("some", [Halt("JWS.a.secret.text"), ValueError("x")]),
        "a group": lambda: ExceptionGroup("some", [ValueError("JWS.a.secret.text")]),
    }


def unruly(call: str, make: Callable[[], BaseException]) -> TroubledStorage:
    """A store that raises from one of its methods."""

    def trouble(*_: str) -> None:
        raise make()

    return TroubledStorage(**{call: trouble})


@pytest.mark.parametrize("kind", _unruly())
@pytest.mark.parametrize("verb", ["load", "save"])
async def test_what_no_store_should_raise(
    still: FakeWix, session_of: SessionMaker, kind: str, verb: str, anyio_backend: str
) -> None:
    """It is a ``StorageError`` without secrets, at most one token call, and afterwards everything works."""
    if kind == "its own cancellation" and anyio_backend == "trio":
        kind = "no Exception"  # on trio asyncio's is no cancellation
    storage = unruly(verb, _unruly()[kind])
    session = session_of(storage=storage)
    for _ in range(3):
        with pytest.raises(StorageError, match=f"could not {verb}") as caught:
            await session.auth_headers()
        assert "secret" not in str(caught.value)
    assert len(still.token_calls()) == (1 if verb == "save" else 0)
    storage.before.clear()
    await session.auth_headers()
    assert len(still.visitors) == 1


@pytest.mark.parametrize("kind", _unruly())
@pytest.mark.parametrize("verb", ["acquire_lease", "release_lease"])
async def test_leases_that_raise_so(still: FakeWix, session_of: SessionMaker, kind: str, verb: str) -> None:
    """A lease only saves calls: without one the visitor is made all the same, once."""
    session = session_of(storage=unruly(verb, _unruly()[kind]))
    await session.auth_headers()
    assert len(still.visitors) == 1


@pytest.mark.parametrize("depth", [1, 3])
async def test_a_conflict_in_a_group(still: FakeWix, session_of: SessionMaker, visitor: Tokens, depth: int) -> None:
    """A store that works in a task group wraps its ``VersionConflict``: it counts as one."""

    class Grouping(MemoryStorage):
        async def save(self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION) -> str:
            try:
                return await super().save(key, value, expected=expected)
            except VersionConflict as conflict:
                error: Exception = conflict
                for _ in range(depth):
                    error = ExceptionGroup("unhandled errors in a TaskGroup", [error])
                raise error from None

    storage = Grouping()
    one, other = session_of(storage=storage), session_of(storage=storage)
    gate = still.hold(times=1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.auth_headers)
        await gate.wait_for(1)
        await storage.save(f"{CLIENT_ID}:default", render(visitor, CLIENT_ID))
        gate.release()
    await other.auth_headers()
    assert one.get_tokens() == other.get_tokens() == visitor


async def test_a_transport_that_cancels_itself(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, family: Any, anyio_backend: str
) -> None:
    """A token call that ends with the transport's own cancellation, or with no ``Exception``, is a failure."""
    error: BaseException = asyncio.CancelledError() if anyio_backend == "asyncio" else Halt("stop")
    calls = 0

    class Transport(family.AsyncBaseTransport):  # type: ignore[misc]
        async def handle_async_request(self, request: Any) -> Any:
            nonlocal calls
            calls += 1
            raise error

    async with family.AsyncClient(transport=Transport()) as client:
        session = session_of(client=client, tokens=visitor)
        still.advance(LIFETIME + 1)
        with pytest.raises(TokenRequestError, match="could not be reached"):
            await session.auth_headers()
        with pytest.raises(TokenRequestError):
            await session.auth_headers()
    assert calls == 3
    assert session.get_tokens() == visitor


async def test_a_cancellation_from_outside_stays_one(session_of: SessionMaker) -> None:
    """All tasks of the loop are cancelled, as at a program's end: no error of ours hides it."""
    session = session_of(storage=MemoryStorage())
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await session.auth_headers()
        except WixVisitorError:
            pytest.fail("a cancelled caller got an error")
    assert scope.cancelled_caught
