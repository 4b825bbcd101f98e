"""A token call that was frozen counts as no failure."""

from __future__ import annotations

import logging
import time
from typing import Any

import anyio
import pytest

from tests.constants import LIFETIME, SessionMaker
from tests.stores import TroubledStorage
from wixvisitor import StorageError, TokenRequestError, Tokens, VisitorPool, VisitorSession
from wixvisitor._renewal import limiter
from wixvisitor._tasks import time_limits
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_backoff", "small")]
TOKEN = "/oauth2/token"
BUDGET = 0.3  # seconds of renew_timeout
FROZEN = 0.8  # seconds


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """All times by which a standstill is known, a tenth of what they are."""
    for name in ("_TICK", "_LATE", "_LONG", "_GRACE"):
        monkeypatch.setattr(time_limits, name, getattr(time_limits, name) / 10)
    monkeypatch.setattr(limiter, "_LATE", 0.1)


def freeze(seconds: float = FROZEN) -> None:
    """Stops the event loop and all that lives in it, as SIGSTOP does, or a Lambda that waits for its next request."""
    time.sleep(seconds)


@pytest.mark.parametrize("after", [None, 0.1], ids=["meanwhile", "soon after"])
async def test_the_answer_is_there(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, after: float | None
) -> None:
    """An answer that came while the process stood still, or a moment after, is taken, though its time was over."""
    session = session_of(tokens=visitor, renew_timeout=BUDGET)
    still.advance(LIFETIME + 1)
    gate = still.hold(path=TOKEN, times=1, committed=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session.auth_headers)
        await gate.wait_for(1)
        if after is None:
            gate.release()
        freeze()
        if after is not None:
            await anyio.sleep(after)
            gate.release()
    assert len(still.token_calls()) == 1
    assert session.get_tokens().refresh_token == visitor.refresh_token


async def test_no_answer_comes(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever waits has a new call, with all of its time, and no error; there is no pause."""
    session = session_of(tokens=visitor, renew_timeout=BUDGET)
    still.advance(LIFETIME + 1)
    lost, slow = still.hold(path=TOKEN, times=1), still.delay(0.15, path=TOKEN, times=1)
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(session.auth_headers)
        await lost.wait_for(1)
        freeze()
    lost.release()
    assert slow.used == 1
    assert len(still.token_calls()) == 2
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_in_the_background(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, caplog: pytest.LogCaptureFixture
) -> None:
    """A renewal that nobody waits for fails without a trace, and the first request after it is served."""
    session = session_of(tokens=visitor, renew_timeout=BUDGET)
    await session.auth_headers()
    still.advance(LIFETIME - 100)
    gate = still.hold(path=TOKEN, times=1)
    await session.auth_headers()
    await gate.wait_for(1)
    freeze()
    still.advance(3_600)
    await session.auth_headers()
    gate.release()
    assert session.get_tokens().access_token.expires_at > still.now()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_connection_that_did_not_survive(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, family: Any
) -> None:
    """What breaks while the process stands still, as connections do while a laptop sleeps, is no failure either."""
    inner = still.client(family)
    broken: list[bool] = []

    class Transport(family.AsyncBaseTransport):  # type: ignore[misc]
        async def handle_async_request(self, request: Any) -> Any:
            if not broken:
                broken.append(True)
                freeze()
                raise family.ReadError("connection reset by peer")
            return await inner._transport.handle_async_request(request)

    async with family.AsyncClient(transport=Transport()) as client:
        session = session_of(client=client, tokens=visitor, renew_timeout=BUDGET)
        still.advance(LIFETIME + 1)
        await session.auth_headers()
    assert len(still.token_calls()) == 1


async def test_a_machine_that_sleeps(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a laptop sleeps the event loop's clock may stand still with it; another clock tells."""
    session = session_of(tokens=visitor, renew_timeout=BUDGET)
    still.advance(LIFETIME + 1)
    gate = still.hold(path=TOKEN, times=1)
    asleep = [0.0]
    now = time_limits.outside_clock
    monkeypatch.setattr(time_limits, "outside_clock", lambda: now() + asleep[0])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session.auth_headers)
        await gate.wait_for(1)
        asleep[0] = 3_600.0
    gate.release()
    assert len(still.token_calls()) == 2


async def test_a_refusal_right_after_is_doubtful(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """The frozen call may have brought a new refresh token: that the old one is refused then costs nobody at once."""
    session = session_of(tokens=visitor, renew_timeout=BUDGET)
    still.advance(LIFETIME + 1)
    gate = still.hold(path=TOKEN, times=1)
    still.refuse_refresh_token(visitor.refresh_token.value)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(raises, session)
        await gate.wait_for(1)
        freeze()
    gate.release()
    assert session.get_tokens() == visitor
    assert len(still.visitors) == 1
    still.advance(120)
    await session.auth_headers()
    assert len(still.visitors) == 2


async def raises(session: VisitorSession) -> None:
    with pytest.raises(TokenRequestError):
        await session.auth_headers()


async def test_what_is_slow_is_a_failure_as_ever(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """Without a standstill a call that takes too long is an error, and its pause answers at once, also after one."""
    session = session_of(tokens=visitor, renew_timeout=BUDGET)
    still.advance(LIFETIME + 1)
    gate = still.hold(path=TOKEN, times=1)
    with pytest.raises(TokenRequestError, match=r"no answer within 0\.3 s"):
        await session.auth_headers()
    gate.release()
    freeze()
    with pytest.raises(TokenRequestError):
        await session.auth_headers()
    assert len(still.token_calls()) == 1


async def test_another_token_is_asked_for_again(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """``renew_token`` with a token that is not the session's own asks once more, too."""
    session = session_of(renew_timeout=BUDGET)
    await session.auth_headers()
    still.reset_calls()
    gate = still.hold(path=TOKEN, times=1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session.renew_token, visitor.refresh_token)
        await gate.wait_for(1)
        freeze()
    gate.release()
    assert len(still.token_calls()) == 2


async def test_who_waits_for_a_turn(still: FakeWix, client_id: str) -> None:
    """Visitors of a pool that wait for their turn go on waiting after the thaw; nothing is paused."""
    pool = VisitorPool(client_id, client=still.client(), clock=still.now, renew_timeout=1.0, max_token_requests=1)
    sessions = [await pool.session(str(number)) for number in range(4)]
    gate = still.hold(path=TOKEN, times=1)
    async with anyio.create_task_group() as tasks:
        for session in sessions:
            tasks.start_soon(session.auth_headers)
        await gate.wait_for(1)
        freeze(1.5)
    gate.release()
    assert len(still.token_calls()) == 5
    await pool.aclose()


@pytest.mark.parametrize("verb", ["load", "save"])
async def test_the_store_was_asked(still: FakeWix, session_of: SessionMaker, visitor: Tokens, verb: str) -> None:
    """A store's call that fails because the process stood still is made once more; nobody is told."""
    asleep = [0.0]

    def fall_asleep(*_: str) -> None:
        storage.before.clear()
        asleep[0] += 3_600.0
        raise TimeoutError("the server did not answer within 0.5 s")

    storage = TroubledStorage(**{verb: fall_asleep})
    now = time_limits.outside_clock
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time_limits, "outside_clock", lambda: now() + asleep[0])
        session = session_of(tokens=visitor, storage=storage)
        assert (await session.auth_headers())["Authorization"] == visitor.access_token.value
    assert asleep == [3_600.0]


async def test_a_store_that_fails_is_asked_once(session_of: SessionMaker, visitor: Tokens) -> None:
    """Without a standstill a call that fails is not made again."""
    storage = TroubledStorage(load=OSError("gone"))
    with pytest.raises(StorageError):
        await session_of(tokens=visitor, storage=storage).auth_headers()
    assert storage.called("load") == 1
