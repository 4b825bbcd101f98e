"""A renewal beside others: how they are spread, in two event loops, after its token is gone, and if saving failed."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate

import anyio
import httpx
import pytest
import trio

from tests.constants import CART, EPOCH, LIFETIME, SessionMaker
from tests.stores import PlainStorage
from wixvisitor import AccessToken, StorageError, Tokens, VisitorPool, VisitorSession
from wixvisitor.storage import ANY_VERSION, AnyVersion, MemoryStorage
from wixvisitor.testing import FakeWix

anyio_test = pytest.mark.anyio

Until = Callable[..., object]


@anyio_test
@pytest.mark.parametrize("in_one_pool", [True, False], ids=["a pool", "a process each"])
async def test_visitors_made_together_do_not_renew_together(
    still: FakeWix, client_id: str, until: Until, *, in_one_pool: bool
) -> None:
    """Sixty visitors made in the same second are renewed over three quarters of a minute, not in one second."""
    storage, number = MemoryStorage(), 60
    arguments = {"client": still.client(), "storage": storage, "clock": still.now}
    pools = [VisitorPool(client_id, **arguments) for _ in range(1 if in_one_pool else number)]
    sessions = [await pools[i % len(pools)].session(f"visitor {i}") for i in range(number)]
    for session in sessions:
        await session.generate_visitor_tokens()
    still.advance(LIFETIME - 905)
    renewals = Counter[int]()
    for second in range(60):
        before = len(still.token_calls("refresh_token"))
        for session in sessions:
            await session.auth_headers()
        await until(lambda: not any(session._refresher._lane for session in sessions))
        renewals[second] = len(still.token_calls("refresh_token")) - before
        still.advance(1)
    assert sum(renewals.values()) == number
    assert max(renewals.values()) <= number / 4
    assert len([second for second, count in renewals.items() if count]) >= 15


@anyio_test
@pytest.mark.parametrize("dated", [True, False])
@pytest.mark.parametrize("way", ["mint", "renewal"])
async def test_a_tokens_life_begins_with_the_request(client_id: str, way: str, *, dated: bool) -> None:
    """A token may have been granted as soon as Wix had the request, so a slow answer makes its life no longer."""
    now = [EPOCH]

    def answer(request: httpx.Request) -> httpx.Response:
        del request
        now[0] += 30  # and only then the answer is there
        content = {"access_token": f"opaque {now[0]:.0f}".replace(" ", "-"), "expires_in": 3_600, "refresh_token": "r"}
        headers = {"date": formatdate(now[0], usegmt=True)} if dated else {}
        return httpx.Response(200, json=content, headers=headers)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        session = VisitorSession(client_id, client=client, clock=lambda: now[0])
        if way == "renewal":
            await session.generate_visitor_tokens()
        asked_at = now[0]
        tokens = await (session.renew_token() if way == "renewal" else session.generate_visitor_tokens())
        assert now[0] == asked_at + 30
        assert tokens.access_token.expires_at == asked_at + 3_600
        await session.aclose()


@pytest.mark.parametrize("loops", [("asyncio", "asyncio"), ("trio", "trio"), ("asyncio", "trio"), ("trio", "asyncio")])
@pytest.mark.parametrize("call", ["usable", "forced"])
def test_a_renewal_of_another_event_loop_is_not_waited_for(
    client_id: str, visitor: Tokens, loops: tuple[str, str], call: str
) -> None:
    """While one loop's renewal gets no answer, the same session in another thread's loop renews for itself."""
    asked, may_go, ended = threading.Event(), threading.Event(), list[str]()

    async def answer(request: httpx.Request) -> httpx.Response:
        del request
        if not asked.is_set():  # the first one
            asked.set()
            while not may_go.is_set():  # noqa: ASYNC110 - another thread sets it
                await anyio.sleep(0.005)
        content = {"access_token": f"opaque-{len(ended)}", "expires_in": LIFETIME, "refresh_token": None}
        return httpx.Response(200, json=content)

    def client() -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(answer))

    expired = Tokens(AccessToken(visitor.access_token.value, int(EPOCH) - 1), visitor.refresh_token)
    session = VisitorSession(client_id, client=client, tokens=expired, storage=PlainStorage(), clock=lambda: EPOCH)

    async def use(name: str) -> None:
        with anyio.fail_after(30):
            await (session.auth_headers() if call == "usable" else session.renew_token())
        ended.append(name)
        await session.aclose()

    def run(loop: str, name: str) -> None:
        asyncio.run(use(name)) if loop == "asyncio" else trio.run(use, name)

    first = threading.Thread(target=run, args=(loops[0], "first"), daemon=True)
    first.start()
    assert asked.wait(10)
    second = threading.Thread(target=run, args=(loops[1], "second"), daemon=True)
    second.start()
    second.join(10)
    assert ended == ["second"]
    may_go.set()
    first.join(10)
    assert ended == ["second", "first"]


@anyio_test
@pytest.mark.parametrize("in_pool", [True, False])
async def test_a_call_for_an_old_token_does_not_disturb_the_new_one(
    still: FakeWix, client_id: str, visitor: Tokens, member: Tokens, *, in_pool: bool
) -> None:
    """Setting other tokens ends a renewal that would fail: its caller gets these, and Wix is not left alone."""
    made_by = VisitorPool if in_pool else VisitorSession
    owner = made_by(client_id, client=still.client(), clock=still.now)
    session = await owner.session("anna") if isinstance(owner, VisitorPool) else owner
    await session.set_tokens(_expired(visitor))
    gate = still.hold()
    still.fail(403, body="<html>Are you a robot?</html>")  # such an answer is not asked for again at once
    async with anyio.create_task_group() as group:
        group.start_soon(session.auth_headers)
        await gate.wait_for(1)
        await session.set_tokens(_expired(member))
        gate.release()
    assert (await session.auth_headers())["Authorization"]
    assert [call.status for call in still.token_calls()] == [None, 200]
    assert session.logged_in()
    await owner.aclose()


class Refusing(MemoryStorage):
    """A store that takes no saves while it is told so."""

    is_full = False

    async def save(self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION) -> str:
        if self.is_full:
            raise StorageError("the disk is full")
        return await super().save(key, value, expected=expected)


@anyio_test
@pytest.mark.parametrize("way", ["turned down", "forced", "ageing"])
async def test_tokens_that_could_not_be_saved_are_later_than_the_stores(
    still: FakeWix, session_of: SessionMaker, way: str
) -> None:
    """What was renewed and could not be saved is gone on from; the store's older token does not come back."""
    storage, told = Refusing(), list[str]()
    async with session_of(storage=storage, on_change=lambda event: told.append(event.reason)) as session:
        first = await session.generate_visitor_tokens()
        storage.is_full = True
        second = await session.renew_token()
        assert second.access_token.value != first.access_token.value
        storage.is_full = False
        if way == "turned down":
            still.revoke_access_token(second.access_token.value)
            assert (await session.get(CART)).status_code == 404
        elif way == "forced":
            await session.renew_token()
        else:
            still.advance(LIFETIME - 60)
            await session.auth_headers()
            with anyio.fail_after(5):
                while len(still.token_calls()) < 3:  # noqa: ASYNC110 - what is waited for offers no event
                    await anyio.sleep(0.001)
            await session.aclose()
        third = session.get_tokens()
    assert third.access_token.value not in (first.access_token.value, second.access_token.value)
    assert len(still.token_calls("refresh_token")) == 2
    assert "adopted" not in told


def _expired(tokens: Tokens) -> Tokens:
    return Tokens(AccessToken(tokens.access_token.value, int(EPOCH) - 1), tokens.refresh_token)
