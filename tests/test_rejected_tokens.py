"""What becomes of a request whose token was turned down, when something else happens at that very moment.

Each of these was a seed of the simulation first.
"""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.constants import CART, FINE, SessionMaker
from tests.stores import FailingStorage, TroubledStorage
from wixvisitor import EMPTY_TOKENS, SessionExpired, StorageError, Tokens, VisitorSession
from wixvisitor.storage import MemoryStorage
from wixvisitor.testing import FakeWix

pytestmark = pytest.mark.anyio


def sent_tokens(fake: FakeWix) -> list[str]:
    return [call.headers.get("authorization", "") for call in fake.api_calls()]


async def answers_amid(
    fake: FakeWix, session: VisitorSession, happens: Callable[[], Any], *, held_at: str
) -> tuple[int, list[str]]:
    """Sends a request whose token was revoked; ``happens`` while the 401 is on its way.

    Returns:
        The status, and which tokens were sent.
    """
    gate = fake.hold(path=held_at, times=1, committed=True)
    answers: list[int] = []

    async def ask() -> None:
        answers.append((await session.get(CART)).status_code)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await gate.wait_for(1)
        await happens()
        gate.release()
    return answers[0], sent_tokens(fake)


async def test_a_token_that_was_adopted_and_is_turned_down_too_is_renewed(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """Two tokens behind, both revoked: the request adopts the other process's, renews that, and is served."""
    storage = MemoryStorage()
    behind, ahead = session_of(storage=storage, tokens=visitor), session_of(storage=storage)
    await behind.auth_headers()
    await ahead.renew_token()
    for tokens in (behind.get_tokens(), ahead.get_tokens()):
        still.revoke_access_token(tokens.access_token.value)
    still.reset_calls()

    assert (await behind.get(CART)).status_code in FINE
    assert len(sent_tokens(still)) == len(set(sent_tokens(still))) == 3
    assert len(still.token_calls()) == 1
    assert len(still.visitors) == 1


async def test_an_adopted_token_that_somebody_else_has_renewed_meanwhile(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """Of two requests with an adopted token that is turned down, the later one goes out with what the first renewed."""
    storage, status = MemoryStorage(), {}
    behind, ahead = session_of(storage=storage, tokens=visitor), session_of(storage=storage)
    await behind.auth_headers()
    await ahead.renew_token()
    for tokens in (behind.get_tokens(), ahead.get_tokens()):
        still.revoke_access_token(tokens.access_token.value)
    still.reset_calls()

    async def ask(path: str) -> None:
        status[path] = (await behind.get(path)).status_code

    late_path = "/ecom/v1/carts/current"
    first, late = (still.hold(path=path, times=1, committed=True) for path in (CART, late_path))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, CART)
        tasks.start_soon(ask, late_path)
        await first.wait_for(1)
        await late.wait_for(1)
        replay = still.hold(path=late_path, times=1, committed=True)
        late.release()
        await replay.wait_for(1)  # its 401 to the adopted token is under way …
        first.release()
        with anyio.fail_after(5):
            while CART not in status:
                await anyio.lowlevel.checkpoint()
        replay.release()  # … and comes after the other request has renewed it
    assert set(status.values()) <= set(FINE)
    assert len(still.token_calls()) == 1


async def test_the_401_of_an_endpoint_that_says_nothing_else_ends(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """An adopted token costs one more renewal at most; then 401s are passed on for a minute, as ever."""
    storage = MemoryStorage()
    behind, ahead = session_of(storage=storage, tokens=visitor), session_of(storage=storage)
    await behind.auth_headers()
    await ahead.renew_token()
    still.reset_calls()
    still.fail(401, path=CART, times=None)

    assert (await behind.get(CART)).status_code == 401
    assert (len(still.api_calls()), len(still.token_calls())) == (3, 1)
    assert (await behind.get(CART)).status_code == 401
    assert (len(still.api_calls()), len(still.token_calls())) == (4, 1)


async def test_a_renewal_does_not_end_the_minute(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, member: Tokens
) -> None:
    """A 401 that is not about the token is passed on for a minute, whatever is renewed meanwhile; a login ends that."""
    session = session_of(tokens=visitor)
    still.fail(401, path=CART, times=None)
    assert (await session.get(CART)).status_code == 401
    await session.renew_token()
    still.reset_calls()
    still.advance(59)
    assert (await session.get(CART)).status_code == 401
    assert (len(still.api_calls()), len(still.token_calls())) == (1, 0)
    await session.set_tokens(member)
    assert (await session.get(CART)).status_code == 401
    assert (len(still.api_calls()), len(still.token_calls())) == (3, 1)


async def test_nobody_s_token_is_never_sent(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """Whoever logs out while a 401 is on its way: the caller gets the 401, and nothing goes out as nobody."""
    session = session_of(tokens=visitor)
    await session.auth_headers()
    still.revoke_access_token(visitor.access_token.value)
    status, sent = await answers_amid(still, session, lambda: session.set_tokens(EMPTY_TOKENS), held_at=CART)
    assert status == 401
    assert sent == [visitor.access_token.value]
    assert len(still.visitors) == 1


async def test_a_token_that_could_not_be_saved_is_not_sent(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, member: Tokens
) -> None:
    """A login that cannot be saved while a 401 is on its way: it is saved first, and only then is the request sent."""
    storage = FailingStorage()
    session = session_of(tokens=visitor, storage=storage)
    await session.auth_headers()
    still.revoke_access_token(visitor.access_token.value)

    async def log_in() -> None:
        storage.fails = True
        with pytest.raises(StorageError):
            await session.set_tokens(member)

    with pytest.RaisesGroup(StorageError):
        await answers_amid(still, session, log_in, held_at=CART)
    assert sent_tokens(still) == [visitor.access_token.value]

    storage.fails = False
    assert (await session.get(CART)).status_code in FINE
    assert sent_tokens(still)[-1] == member.access_token.value


async def test_a_token_that_has_expired_since_is_renewed_before_the_replay(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, member: Tokens
) -> None:
    """Somebody logs in, and hours pass, while a 401 is on its way: the replay goes out with a token that works."""
    session = session_of(tokens=visitor)
    await session.auth_headers()
    still.revoke_access_token(visitor.access_token.value)

    async def log_in() -> None:
        await session.set_tokens(member)
        still.advance(member.access_token.expires_at - still.now() + 1)

    status, sent = await answers_amid(still, session, log_in, held_at=CART)
    assert status in FINE
    assert member.access_token.value not in sent
    assert session.get_tokens().refresh_token == member.refresh_token


async def test_a_refused_member_s_token_is_not_sent_again(
    still: FakeWix, session_of: SessionMaker, member: Tokens
) -> None:
    """Both tokens are turned down: after the pause Wix is asked whether that still holds, and no API is."""
    session = session_of(tokens=member)
    await session.auth_headers()
    still.revoke_access_token(member.access_token.value)
    still.refuse_refresh_token(member.refresh_token.value)
    with pytest.raises(SessionExpired):
        await session.get(CART)
    still.advance(120)
    still.reset_calls()
    with pytest.raises(SessionExpired):
        await session.get(CART)
    assert len(still.token_calls()) == 1
    assert not still.api_calls()


async def test_a_compressed_401_of_a_stream_is_not_inflated(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """Whoever streams did not ask for 100 MB at once: a 401 that is large for a compressed one is passed on unread."""
    bomb = gzip.compress(bytes(100_000_000), compresslevel=1)
    still.fail(401, body=bomb, headers={"Content-Encoding": "gzip"}, path=CART, times=None)
    session = session_of(tokens=visitor)
    await session.auth_headers()
    tracemalloc.start()
    async with session.stream("GET", CART) as response:
        assert response.status_code == 401
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    await session.aclose()  # the renewal that the 401 started
    assert peak < 5_000_000


async def test_a_401_that_finds_nobody_is_not_another_requests_failure(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """The visitor was logged out elsewhere: a request that waits for another one's 401 makes a new visitor, as ever."""
    storage, opened = TroubledStorage(), anyio.Event()
    session, elsewhere = session_of(storage=storage, tokens=visitor), session_of(storage=storage)
    await session.auth_headers()
    await elsewhere.set_tokens(EMPTY_TOKENS)
    still.revoke_access_token(visitor.access_token.value)
    sent: list[str] = []

    async def need() -> None:
        sent.append((await session.auth_headers())["Authorization"])

    storage.calls.clear()
    storage.before["load"] = lambda _key: opened.wait()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session.get, CART)  # its 401 looks into the store
        with anyio.fail_after(5):
            while not storage.called("load"):
                await anyio.lowlevel.checkpoint()
        tasks.start_soon(need)
        await anyio.wait_all_tasks_blocked()
        opened.set()
    assert sent != [visitor.access_token.value]
    assert len(still.visitors) == 2
