"""One visitor stays one visitor: what callers, failures and stores can do to the one renewal."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from math import inf
from types import ModuleType
from typing import Any

import anyio
import httpx
import pytest
import respx

from tests.constants import CART, LIFETIME, SessionMaker, Until
from tests.stores import PlainStorage
from wixvisitor import (
    EMPTY_TOKENS,
    AccessToken,
    ChangeReason,
    ConfigurationError,
    RefreshToken,
    SessionExpired,
    StorageError,
    TokenRequestError,
    TokenRole,
    Tokens,
    TokensChanged,
    VisitorSession,
    __version__,
)
from wixvisitor.storage import ANY_VERSION, AnyVersion, MemoryStorage, Record
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_backoff")]

TokensFrom = Callable[..., Tokens]


async def together(count: int, call: Callable[[], Awaitable[Any]]) -> list[Any]:
    """The results of that many callers at once; an exception counts as a result."""
    results: list[Any] = []

    async def one() -> None:
        try:
            results.append(await call())
        except Exception as error:
            results.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(one)
    return results


def identities(fake: FakeWix) -> set[str | None]:
    """Whom the API calls came from."""
    return {call.visitor_id for call in fake.api_calls()}


class Trouble(MemoryStorage):
    """A store that fails or waits on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.fails: set[str] = set()
        self.saves = self.loads = 0
        self.gate: anyio.Event | None = None
        self.entered: anyio.Event | None = None

    async def _maybe(self, verb: str) -> None:
        if self.gate is not None:
            assert self.entered is not None
            self.entered.set()
            await self.gate.wait()
        if verb in self.fails:
            raise OSError(f"{verb}: no space left on device")

    async def load(self, key: str) -> Record | None:
        self.loads += 1
        await self._maybe("load")
        return await super().load(key)

    async def save(self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION) -> str:
        self.saves += 1
        await self._maybe("save")
        return await super().save(key, value, expected=expected)


async def stored(session_of: SessionMaker, storage: Any, **arguments: Any) -> Tokens:
    """What another process finds in the store."""
    other = session_of(storage=storage, **arguments)
    async with other:
        return other.get_tokens()


# One call


async def test_a_thousand_cold_callers_make_one_visitor(
    still: FakeWix, session_of: SessionMaker, family: ModuleType
) -> None:
    """1,000 callers that meet no token make one visitor with one call, and all are served."""
    session = session_of(family)
    answers = await together(1000, lambda: session.get(CART))
    assert {getattr(answer, "status_code", answer) for answer in answers} <= {200, 404}
    assert len(still.token_calls()) == len(still.visitors) == 1
    assert identities(still) == set(still.visitors)


async def test_a_thousand_callers_share_one_renewal(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, family: ModuleType
) -> None:
    """1,000 callers that meet an expired token cost one renewal, and the visitor stays."""
    session = session_of(family, tokens=visitor)
    still.advance(LIFETIME + 1)
    answers = await together(1000, lambda: session.get(CART))
    assert {getattr(answer, "status_code", answer) for answer in answers} <= {200, 404}
    assert [call.grant_type for call in still.token_calls()] == ["refresh_token"]
    assert identities(still) == set(still.visitors)
    assert len(still.visitors) == 1


async def test_waiters_of_a_failing_endpoint_each_get_their_own_error(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """50 waiters on a failing endpoint cost at most three calls and get 50 exceptions with one cause."""
    session = session_of(tokens=visitor)
    still.advance(LIFETIME + 1)
    still.fail(503, times=None)
    errors = await together(50, session.auth_headers)
    assert all(type(error) is TokenRequestError for error in errors)
    assert len({id(error) for error in errors}) == 50
    assert len({id(error.__traceback__) for error in errors}) == 50
    assert len({id(error.__cause__) for error in errors}) == 1
    assert errors[0].__cause__ is not None
    assert {error.status_code for error in errors} == {503}
    assert len({error.request_id for error in errors}) == 1
    assert 1 <= len(still.token_calls()) <= 3
    frames = [len(traceback.extract_tb(error.__traceback__)) for error in errors]
    assert max(frames) == min(frames), "tracebacks grow from waiter to waiter"
    assert session.get_tokens() == visitor


async def test_the_failure_is_not_kept_for_ever(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """Once the pause is over the next caller asks again, and is served."""
    session = session_of(tokens=visitor)
    still.advance(LIFETIME + 1)
    fault = still.fail(503, times=None)
    assert isinstance((await together(1, session.auth_headers))[0], TokenRequestError)
    fault.remove()
    still.advance(1.01)
    await session.auth_headers()
    assert len(still.visitors) == 1
    assert still.token_calls()[-1].status == 200


# Cooling down


async def test_cooling_down_fails_at_once_without_a_call(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """During the pause callers fail at once with the stored cause, and nobody asks Wix."""
    session = session_of(tokens=visitor)
    still.advance(LIFETIME + 1)
    still.fail(503, times=None)
    [first] = await together(1, session.auth_headers)
    still.reset_calls()
    later = await together(20, session.auth_headers)
    assert not still.token_calls()
    assert {error.__cause__ for error in later} == {first.__cause__}
    assert len({id(error) for error in later}) == 20
    assert {error.request_id for error in later} == {first.request_id}


async def test_pauses_double_up_to_a_minute(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """The pause is at most 1 s after the first failure and grows to at most 60 s."""
    session = session_of(tokens=visitor)
    still.advance(LIFETIME + 1)
    still.fail(503, times=None)
    longest = 1.0
    for _ in range(9):
        assert isinstance((await together(1, session.auth_headers))[0], TokenRequestError)
        still.reset_calls()
        still.advance(longest * 0.49)
        await together(1, session.auth_headers)
        assert not still.token_calls(), f"the pause ended before half of {longest} s"
        still.advance(longest * 0.51 + 0.01)
        await together(1, session.auth_headers)
        assert still.token_calls(), f"the pause lasted longer than {longest} s"
        longest = min(60.0, longest * 2)


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_retry_after_is_respected(still: FakeWix, session_of: SessionMaker, visitor: Tokens, form: str) -> None:
    """A Retry-After beyond the budget means one call, and then a pause of just that long."""
    session = session_of(tokens=visitor)
    still.advance(LIFETIME + 1)
    value = "40" if form == "seconds" else formatdate(still.now() + 40, usegmt=True)
    still.fail(429, headers={"Retry-After": value})
    [error] = await together(1, session.auth_headers)
    assert error.retry_after == pytest.approx(40, abs=1)
    still.advance(38)
    [error] = await together(1, session.auth_headers)
    assert isinstance(error, TokenRequestError)
    assert len(still.token_calls()) == 1
    still.advance(3)
    await session.auth_headers()
    assert len(still.token_calls()) == 2


async def test_nobody_waits_long_for_a_retry_after(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """A Retry-After of more than two seconds is told to the callers at once, though the budget has room for it."""
    session = session_of(tokens=visitor)
    still.advance(LIFETIME + 1)
    still.fail(503, headers={"Retry-After": "3"}, times=None)
    with anyio.fail_after(2):
        [error] = await together(1, session.auth_headers)
    assert (error.status_code, error.retry_after) == (503, 3)
    assert len(still.token_calls()) == 1


async def test_what_wix_said_is_told_and_not_the_silence_after_it(client_id: str, visitor: Tokens) -> None:
    """A 503 whose repetition gets no answer at all is a 503 to the caller."""
    answers = iter([httpx.Response(503, headers={"x-wix-request-id": "77"})])

    def answer(request: httpx.Request) -> httpx.Response:
        for one in answers:
            return one
        raise httpx.ConnectError("gone", request=request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        session = VisitorSession(client_id, client=client, tokens=visitor, clock=lambda: 4e9)
        with pytest.raises(TokenRequestError) as caught:
            await session.auth_headers()
    assert (caught.value.status_code, caught.value.request_id) == (503, "77")


async def test_a_retry_after_of_an_hour_is_not_obeyed_to_the_letter(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """A Retry-After of a day does not lock the visitor out for a day."""
    session = session_of(tokens=visitor)
    still.advance(LIFETIME + 1)
    still.fail(503, headers={"Retry-After": "86400"})
    assert isinstance((await together(1, session.auth_headers))[0], TokenRequestError)
    still.advance(600)
    await session.auth_headers()


async def test_set_tokens_clears_the_pause(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, client_id: str, tokens_from: TokensFrom
) -> None:
    """New tokens end the pause of the old ones, also when they have to be renewed themselves."""
    session = session_of(tokens=visitor)
    other = tokens_from(still.mint_visitor(client_id))
    still.advance(LIFETIME + 1)
    fault = still.fail(503, times=None)
    assert isinstance((await together(1, session.auth_headers))[0], TokenRequestError)
    fault.remove()
    await session.set_tokens(other)
    await session.auth_headers()
    assert session.get_tokens().refresh_token == other.refresh_token
    assert len(still.visitors) == 2


async def test_a_clock_that_is_set_back_ends_the_pause(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """A pause does not outlast a clock correction by hours."""
    session = session_of(tokens=visitor)
    still.advance(LIFETIME + 7200)
    still.fail(503, headers={"Retry-After": "100"})
    assert isinstance((await together(1, session.auth_headers))[0], TokenRequestError)
    still.advance(-3600)
    await session.auth_headers()


async def test_a_cooldown_that_ends_as_it_is_looked_at(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """A cooldown may end between any two looks at the clock: its cause is told, or Wix is asked, nothing else."""
    told = set()
    still.advance(LIFETIME + 1)
    for looks in range(12):
        left = [inf]

        def clock(left: list[float] = left) -> float:
            left[0] -= 1
            return still.now() if left[0] >= 0 else still.now() + 120.0

        session = session_of(tokens=visitor, clock=clock)
        fault = still.fail(503, times=3)
        assert isinstance((await together(1, session.auth_headers))[0], TokenRequestError)
        fault.remove()
        left[0] = looks
        told.add(type((await together(1, session.auth_headers))[0]))
    assert told == {dict, TokenRequestError}


async def test_slow_leases_leave_time_to_ask_wix(still: FakeWix, session_of: SessionMaker) -> None:
    """A store that takes nearly all of a renewal's time to say that the lease is taken does not end it."""

    class Slow(MemoryStorage):
        async def acquire_lease(self, key: str, holder: str, seconds: float) -> float:
            await anyio.sleep(0.5)
            return 60.0

    session = session_of(storage=Slow(), renew_timeout=1.0)
    await session.generate_visitor_tokens()
    assert len(still.token_calls()) == 1


# Ageing


async def test_ageing_requests_do_not_wait(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """100 requests in the window are served with the old token while one renewal is held at the endpoint."""
    session = session_of(tokens=visitor)
    await session.auth_headers()
    still.advance(LIFETIME - 300)
    gate = still.hold()
    with anyio.fail_after(5):
        answers = await together(100, lambda: session.get(CART))
    assert {answer.status_code for answer in answers} <= {200, 404}
    await gate.wait_for(1)
    assert len(still.token_calls()) == 1
    assert {call.headers["authorization"] for call in still.api_calls()} == {visitor.access_token.value}
    gate.release()
    await session.aclose()
    assert session.get_tokens().access_token.value != visitor.access_token.value
    assert session.get_tokens().refresh_token == visitor.refresh_token
    assert len(still.token_calls()) == 1


async def test_a_failure_in_the_background_is_a_log_line(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, caplog: pytest.LogCaptureFixture, until: Until
) -> None:
    """A failed background renewal is logged, pauses further attempts, and the next one recovers."""
    session = session_of(tokens=visitor)
    await session.auth_headers()
    still.advance(LIFETIME - 300)
    still.fail(503, headers={"Retry-After": "50"})
    with caplog.at_level(logging.WARNING, "wixvisitor"):
        await session.auth_headers()
        await until(lambda: "background" in caplog.text)
    await together(50, session.auth_headers)
    await anyio.sleep(0.01)
    assert len(still.token_calls()) == 1
    still.advance(51)
    assert await session.auth_headers() == {"Authorization": visitor.access_token.value}
    await until(lambda: session.get_tokens().access_token.value != visitor.access_token.value)
    assert len(still.token_calls()) == 2
    assert len(still.visitors) == 1


async def test_callers_join_the_background_renewal_once_the_token_has_expired(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """A token that expires while its background renewal is under way costs no second call."""
    session = session_of(tokens=visitor)
    await session.auth_headers()
    still.advance(LIFETIME - 10)
    gate = still.hold()
    await session.auth_headers()
    await gate.wait_for(1)
    still.advance(20)
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(session.auth_headers)
        await anyio.wait_all_tasks_blocked()
        gate.release()
    assert len(still.token_calls()) == 1


@pytest.mark.parametrize("lifetime", [400, 1000, 14_400])
async def test_renew_before_is_at_most_a_quarter_of_the_lifetime(
    still: FakeWix, session_of: SessionMaker, lifetime: int, until: Until
) -> None:
    """`renew_before` longer than the token's life does not renew before three quarters of it have passed."""
    still.access_token_lifetime = lifetime
    session = session_of(renew_before=100_000)
    await session.auth_headers()
    first = session.get_tokens()
    still.advance(lifetime * 0.75 - 2)
    await together(20, session.auth_headers)
    await anyio.sleep(0.005)
    assert len(still.token_calls()) == 1
    still.advance(lifetime * 0.25 * 0.05 + 3)  # up to 5 % of the window is jitter
    await session.auth_headers()
    await until(lambda: session.get_tokens() != first)
    assert len(still.token_calls()) == 2


async def test_a_resumed_tokens_lifetime_is_its_own(
    still: FakeWix, session_of: SessionMaker, client_id: str, tokens_from: TokensFrom
) -> None:
    """A quarter of the lifetime is counted from the token's own claims when it is resumed."""
    still.access_token_lifetime = 1000
    resumed = tokens_from(still.mint_visitor(client_id))
    session = session_of(tokens=resumed)
    await session.auth_headers()
    still.advance(740)
    await together(10, session.auth_headers)
    await anyio.sleep(0.005)
    assert not still.token_calls()


async def test_renew_before_zero_never_renews_early(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """With `renew_before=0` the token is used to its last second."""
    session = session_of(tokens=visitor, renew_before=0)
    still.advance(LIFETIME - 1)
    await session.auth_headers()
    await anyio.sleep(0.005)
    assert not still.token_calls()
    still.advance(1)
    await session.auth_headers()
    assert len(still.token_calls()) == 1


# Rule 1


@pytest.mark.parametrize("shape", ["oauth", "wix", "legacy"])
@pytest.mark.parametrize("status", [400, 401, 403])
async def test_refusal_only_replaces_a_visitor(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, shape: Any, status: int
) -> None:
    """A refused visitor is replaced once, by one mint, however many wait."""
    session = session_of(tokens=visitor)
    still.refuse_refresh_token(visitor.refresh_token.value, shape=shape, status=status)
    still.advance(LIFETIME + 1)
    results = await together(50, session.auth_headers)
    assert len({result["Authorization"] for result in results}) == 1
    assert [call.grant_type for call in still.token_calls()] == ["refresh_token", "anonymous"]
    assert len(still.visitors) == 2


@pytest.mark.parametrize("shape", ["oauth", "wix", "legacy"])
async def test_refusal_only_after_the_store_was_read_again(
    still: FakeWix,
    session_of: SessionMaker,
    visitor: Tokens,
    client_id: str,
    tokens_from: TokensFrom,
    shape: Any,
) -> None:
    """A refused token is no refusal of the visitor if another process has moved on: its tokens win, nobody mints."""
    storage = MemoryStorage()
    session = session_of(tokens=visitor, storage=storage)
    await session.auth_headers()
    still.advance(LIFETIME + 1)
    still.refuse_refresh_token(visitor.refresh_token.value, shape=shape)
    gate = still.hold(grant_type="refresh_token")
    results: list[dict[str, str]] = []

    async def ask() -> None:
        results.append(await session.auth_headers())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await gate.wait_for(1)
        [visitor_id] = still.visitors
        moved_on = tokens_from(still.mint_member(client_id, visitor_id=visitor_id))
        await session_of(storage=storage).set_tokens(moved_on)
        gate.release()
    assert results == [{"Authorization": moved_on.access_token.value}]
    assert session.get_tokens() == moved_on
    assert not still.token_calls("anonymous")


async def test_refusal_only_of_an_expired_successor_renews_the_successor(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, client_id: str, tokens_from: TokensFrom
) -> None:
    """What another process left in the store is renewed before anybody is replaced."""
    storage = MemoryStorage()
    session = session_of(tokens=visitor, storage=storage)
    await session.auth_headers()
    successor = tokens_from(still.mint_visitor(client_id))
    await session_of(storage=storage).set_tokens(successor)
    still.refuse_refresh_token(visitor.refresh_token.value)
    still.advance(LIFETIME + 1)
    await session.auth_headers()
    assert session.get_tokens().refresh_token == successor.refresh_token
    assert not still.token_calls("anonymous")


async def test_refusal_only_in_the_background_replaces_nobody_while_the_token_works(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    """A refusal while the access token still works is a log line; the replacement comes when it has expired."""
    session = session_of(tokens=visitor)
    await session.auth_headers()
    still.refuse_refresh_token(visitor.refresh_token.value)
    still.advance(LIFETIME - 300)
    with caplog.at_level(logging.WARNING, "wixvisitor"):
        await session.auth_headers()
        await until(lambda: "background" in caplog.text)
    for _ in range(10):
        assert (await session.get(CART)).status_code in (200, 404)
    assert session.get_tokens().refresh_token == visitor.refresh_token
    assert len(still.visitors) == 1
    assert len(still.token_calls()) == 1
    still.advance(301)
    await session.auth_headers()
    assert len(still.visitors) == 2


async def test_refusal_only_of_this_token_and_not_of_a_client(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """An answer that speaks of the client ID costs no visitor and is a ConfigurationError."""
    session = session_of(tokens=visitor)
    still.advance(LIFETIME + 1)
    for body in (
        {"error": "invalid_client"},
        {"error": "unauthorized_client"},
        {"message": "appRuntimeKeys [at index 0] is invalid: appId is not a valid GUID", "details": {}},
    ):
        still.fail(400, body=body)
        assert isinstance((await together(1, session.auth_headers))[0], ConfigurationError)
        still.advance(61)
    await session.auth_headers()
    assert session.get_tokens().refresh_token == visitor.refresh_token
    assert not still.token_calls("anonymous")


async def test_refusal_only_as_the_given_function_judges(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """`is_refusal` replaces the judgement: what it does not call a refusal costs nobody."""
    with pytest.warns(DeprecationWarning, match="judge_refusal"):
        session = session_of(tokens=visitor, is_refusal=lambda answer: answer.status_code == 410)
    still.advance(LIFETIME + 1)
    still.refuse_refresh_token(visitor.refresh_token.value)
    assert type((await together(1, session.auth_headers))[0]) is TokenRequestError
    assert len(still.visitors) == 1
    still.advance(2)
    still.fail(410, body="gone")
    await session.auth_headers()
    assert len(still.visitors) == 2


# Rule 2


@pytest.mark.parametrize(
    ("policy", "role", "replaced"),
    [
        ("auto", TokenRole.VISITOR, True),
        ("auto", TokenRole.MEMBER, False),
        ("new_visitor", TokenRole.VISITOR, True),
        ("new_visitor", TokenRole.MEMBER, True),
        ("raise", TokenRole.VISITOR, False),
        ("raise", TokenRole.MEMBER, False),
    ],
)
async def test_policy_decides_who_is_replaced(
    still: FakeWix,
    session_of: SessionMaker,
    visitor: Tokens,
    member: Tokens,
    policy: str,
    role: TokenRole,
    *,
    replaced: bool,
) -> None:
    """Each policy replaces or raises SessionExpired with the role, and what was raised on is left in the store."""
    storage = MemoryStorage()
    tokens = member if role is TokenRole.MEMBER else visitor
    session = session_of(tokens=tokens, storage=storage, on_refused=policy)
    await session.auth_headers()
    still.refuse_refresh_token(tokens.refresh_token.value)
    still.advance(LIFETIME + 1)
    results = await together(5, session.auth_headers)
    if replaced:
        assert len({result["Authorization"] for result in results}) == 1
        assert session.get_tokens().refresh_token.role is TokenRole.VISITOR
        assert len(still.token_calls("anonymous")) == 1
    else:
        assert all(type(result) is SessionExpired for result in results)
        assert {result.role for result in results} == {role}
        assert not still.token_calls("anonymous")
        assert session.get_tokens() == tokens
        assert await stored(session_of, storage) == tokens


async def test_policy_an_expired_member_asks_once_and_comes_back_by_login(
    still: FakeWix, session_of: SessionMaker, member: Tokens, client_id: str, tokens_from: TokensFrom
) -> None:
    """After SessionExpired callers fail without calls, and set_tokens with a new login works at once."""
    session = session_of(tokens=member)
    still.refuse_refresh_token(member.refresh_token.value)
    still.advance(LIFETIME + 1)
    results = await together(30, session.auth_headers)
    assert {type(result) for result in results} == {SessionExpired}
    assert len(still.token_calls()) == 1
    again = tokens_from(still.mint_member(client_id), TokenRole.MEMBER)
    await session.set_tokens(again)
    assert await session.auth_headers() == {"Authorization": again.access_token.value}
    assert len(still.token_calls()) == 1


async def test_policy_a_member_without_a_refresh_token_is_not_silently_logged_out(
    still: FakeWix, session_of: SessionMaker, member: Tokens
) -> None:
    """A member's access token alone that expires ends the session; nobody becomes a visitor unasked."""
    session = session_of(tokens=Tokens(member.access_token, EMPTY_TOKENS.refresh_token))
    await session.auth_headers()
    still.advance(LIFETIME + 1)
    [result] = await together(1, session.auth_headers)
    assert isinstance(result, SessionExpired)
    assert result.role is TokenRole.MEMBER
    assert not still.token_calls("anonymous")


# Rule 3, of which test_auth.py has more


@pytest.mark.parametrize("status", [400, 401, 403, 404, 419, 500])
async def test_no_mint_from_an_api_answer(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, status: int
) -> None:
    """Whatever an API answers, the token endpoint is never asked for a new visitor."""
    session = session_of(tokens=visitor)
    still.fail(status, path=None, times=None, body={"error": "invalid_grant"})
    for _ in range(3):
        assert (await session.get(CART)).status_code == status
    assert not still.token_calls("anonymous")
    assert session.get_tokens().refresh_token == visitor.refresh_token
    assert len(still.token_calls("refresh_token")) == (1 if status == 401 else 0)


async def test_no_mint_from_an_api_answer_without_a_refresh_token(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """A 401 to an access token that nothing can renew is the caller's 401, and makes nobody."""
    session = session_of(tokens=Tokens(visitor.access_token, EMPTY_TOKENS.refresh_token))
    still.revoke_access_token(visitor.access_token.value)
    assert (await session.get(CART)).status_code == 401
    assert not still.token_calls()


# Rule 4


@pytest.mark.parametrize("answer", ["granted", "rotated", "refused", "failed"])
async def test_late_loses_to_set_tokens(
    still: FakeWix,
    session_of: SessionMaker,
    visitor: Tokens,
    client_id: str,
    tokens_from: Callable[..., Tokens],
    answer: str,
) -> None:
    """A login during a slow renewal wins in memory and in the store, whatever the renewal ends in."""
    storage = MemoryStorage()
    session = session_of(tokens=visitor, storage=storage)
    await session.auth_headers()
    still.rotate_refresh_tokens = answer == "rotated"
    if answer == "refused":
        still.refuse_refresh_token(visitor.refresh_token.value)
    still.advance(LIFETIME - 300)
    gate = still.hold(committed=True)
    if answer == "failed":
        still.fail(503, times=3)
    await session.auth_headers()  # ageing: the renewal is in the background
    await gate.wait_for(1)
    member = tokens_from(still.mint_member(client_id), TokenRole.MEMBER)
    await session.set_tokens(member)
    assert session.get_tokens() == member
    gate.release()
    assert await session.auth_headers() == {"Authorization": member.access_token.value}
    await session.aclose()
    assert session.get_tokens() == member
    assert await stored(session_of, storage) == member
    assert not still.token_calls("anonymous")


async def test_late_loses_for_those_who_wait_too(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, member: Tokens
) -> None:
    """Callers who wait for a renewal get the tokens that were set meanwhile."""
    session = session_of(tokens=visitor)
    await session.auth_headers()
    still.advance(LIFETIME + 1)
    later = Tokens(AccessToken(member.access_token.value, int(still.now()) + 5000), member.refresh_token)
    gate = still.hold()
    results: list[Any] = []

    async def ask() -> None:
        results.extend(await together(20, session.auth_headers))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await gate.wait_for(1)
        await session.set_tokens(later)
        gate.release()
    assert session.get_tokens().refresh_token == member.refresh_token
    values = {result["Authorization"] for result in results}
    assert values == {session.get_tokens().access_token.value}
    assert not still.token_calls("anonymous")


async def test_late_loses_with_a_first_mint_too(still: FakeWix, session_of: SessionMaker, member: Tokens) -> None:
    """A login while the first visitor is being minted is not overwritten by that visitor."""
    storage = MemoryStorage()
    session = session_of(storage=storage)
    gate = still.hold()
    results: list[Any] = []

    async def ask() -> None:
        results.extend(await together(3, session.auth_headers))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await gate.wait_for(1)
        await session.set_tokens(member)
        gate.release()
    assert session.get_tokens() == member
    assert results == [{"Authorization": member.access_token.value}] * 3
    assert await stored(session_of, storage) == member


async def test_late_loses_while_it_saves(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, member: Tokens
) -> None:
    """A login while the renewal is already writing wins in memory and in the store."""
    storage = Trouble()
    session = session_of(tokens=visitor, storage=storage)
    await session.auth_headers()
    still.advance(LIFETIME - 300)
    storage.gate, storage.entered = anyio.Event(), anyio.Event()
    await session.auth_headers()
    await storage.entered.wait()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session.set_tokens, member)
        await anyio.wait_all_tasks_blocked()
        storage.gate.set()
    await session.aclose()
    assert session.get_tokens() == member
    assert await stored(session_of, storage) == member


async def test_late_loses_in_a_basic_store(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, member: Tokens
) -> None:
    """Also without compare-and-set the store ends with the login, not with the late renewal."""
    gate, entered = anyio.Event(), anyio.Event()

    class SlowSecondSave(PlainStorage):
        saves = 0

        async def save(self, key: str, value: str) -> None:
            self.saves += 1
            if self.saves == 2:
                entered.set()
                await gate.wait()
            await super().save(key, value)

    storage = SlowSecondSave()
    session = session_of(tokens=visitor, storage=storage)
    await session.auth_headers()
    still.advance(LIFETIME - 300)
    await session.auth_headers()
    await entered.wait()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session.set_tokens, member)
        await anyio.wait_all_tasks_blocked()
        gate.set()
    await session.aclose()
    assert session.get_tokens() == member
    assert await stored(session_of, storage) == member


async def test_late_loses_to_a_login_also_when_it_only_saves(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, member: Tokens
) -> None:
    """A visitor that is saved at last while somebody logs in: the login is what the store has in the end."""
    reached, go_on = anyio.Event(), anyio.Event()

    class SlowForVisitors(MemoryStorage):
        async def save(self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION) -> str:
            if visitor.refresh_token.value in value:
                reached.set()
                await go_on.wait()
            return await super().save(key, value, expected=expected)

    storage = SlowForVisitors()
    session = session_of(tokens=visitor, storage=storage)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session.auth_headers)  # given tokens are saved first
        await reached.wait()
        tasks.start_soon(session.set_tokens, member)
        await anyio.wait_all_tasks_blocked()
        go_on.set()
    assert session.get_tokens() == member
    assert (await session_of(storage=storage).auth_headers())["Authorization"] == member.access_token.value


async def test_late_loses_to_a_login_that_is_saved_at_the_moment(
    session_of: SessionMaker, visitor: Tokens, member: Tokens
) -> None:
    """Somebody needs a token while a login is saved, and the visitor before it never was: the login stays."""
    saving = {"visitor": anyio.Event(), "member": anyio.Event()}
    reached = anyio.Event()

    class Slow(MemoryStorage):
        is_down = True

        async def save(self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION) -> str:
            if self.is_down:
                raise OSError("no")
            if member.refresh_token.value in value:
                reached.set()
            await saving["member" if member.refresh_token.value in value else "visitor"].wait()
            return await super().save(key, value, expected=expected)

    storage = Slow()
    session = session_of(tokens=visitor, storage=storage)
    with pytest.raises(StorageError):
        await session.auth_headers()
    storage.is_down = False
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session.set_tokens, member)
        await reached.wait()
        tasks.start_soon(session.auth_headers)
        await anyio.wait_all_tasks_blocked()
        saving["member"].set()
        await anyio.wait_all_tasks_blocked()
        saving["visitor"].set()
    assert session.get_tokens() == member
    assert (await session_of(storage=storage).auth_headers())["Authorization"] == member.access_token.value


async def test_late_loses_between_two_set_tokens(session_of: SessionMaker, visitor: Tokens, member: Tokens) -> None:
    """Of two set_tokens at once the later call wins, in memory and in the store."""
    storage = Trouble()
    session = session_of(storage=storage)
    storage.gate, storage.entered = anyio.Event(), anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session.set_tokens, visitor)
        await storage.entered.wait()
        tasks.start_soon(session.set_tokens, member)
        await anyio.wait_all_tasks_blocked()
        storage.gate.set()
    assert session.get_tokens() == member
    assert await stored(session_of, storage) == member


# Rule 5


async def test_rotation_is_kept(still: FakeWix, session_of: SessionMaker) -> None:
    """Each refresh token in an answer replaces the old one, also where the old one works no more."""
    still.one_time_refresh_tokens = True
    storage = MemoryStorage()
    session = session_of(storage=storage)
    seen = set()
    for _ in range(4):
        await session.auth_headers()
        seen.add(session.get_tokens().refresh_token.value)
        still.advance(LIFETIME + 1)
    assert len(seen) == 4
    assert len(still.visitors) == 1
    assert (await stored(session_of, storage)).refresh_token == session.get_tokens().refresh_token


async def test_rotation_keeps_the_members_role(still: FakeWix, session_of: SessionMaker, member: Tokens) -> None:
    """A member's rotated refresh token is a member's."""
    still.one_time_refresh_tokens = True
    session = session_of(tokens=member)
    still.advance(LIFETIME + 1)
    await session.auth_headers()
    assert session.get_tokens().refresh_token.value != member.refresh_token.value
    assert session.logged_in()


@pytest.mark.parametrize("absent", ["missing", None, ""])
async def test_rotation_absent_keeps_the_old_one(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, client_id: str, absent: str | None
) -> None:
    """An answer without a refresh token keeps the one there is."""
    session = session_of(tokens=visitor)
    still.advance(LIFETIME + 1)
    body = dict(still.mint_visitor(client_id), refresh_token=absent)
    if absent == "missing":
        del body["refresh_token"]
    still.fail(200, body=body)
    await session.auth_headers()
    assert session.get_tokens().refresh_token == visitor.refresh_token
    assert session.get_tokens().access_token.value == body["access_token"]


# Rule 6


async def test_save_first_before_anyone_is_told(still: FakeWix, session_of: SessionMaker, until: Until) -> None:
    """New tokens are in the store before a caller, on_change or get_tokens sees them."""
    storage = Trouble()
    events: list[TokensChanged] = []
    session = session_of(storage=storage, on_change=events.append)
    async with session:
        storage.gate, storage.entered = anyio.Event(), anyio.Event()
        done: list[Any] = []

        async def ask() -> None:
            done.append(await session.auth_headers())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await until(lambda: storage.saves or storage.loads > 1)
            gate = storage.gate
            storage.gate = None
            gate.set()
            storage.gate = anyio.Event()
            await until(lambda: storage.saves)
            await anyio.wait_all_tasks_blocked()
            assert not done
            assert not events
            assert session.get_tokens() == EMPTY_TOKENS
            storage.gate.set()
        assert len(done) == len(events) == 1


async def test_save_first_but_an_access_token_alone_may_live_in_memory(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, caplog: pytest.LogCaptureFixture
) -> None:
    """If only the access token changed and saving fails, everybody is served from memory and the log says so."""
    storage = Trouble()
    session = session_of(tokens=visitor, storage=storage)
    await session.auth_headers()
    storage.fails = {"save"}
    still.advance(LIFETIME + 1)
    with caplog.at_level(logging.WARNING, "wixvisitor"):
        results = await together(10, session.auth_headers)
    assert len({result["Authorization"] for result in results}) == 1
    assert "could not be saved" in caplog.text
    await together(10, session.auth_headers)
    assert len(still.token_calls()) == 1
    storage.fails = set()
    still.advance(LIFETIME + 1)
    await session.auth_headers()
    assert await stored(session_of, storage) == session.get_tokens()
    assert len(still.visitors) == 1


@pytest.mark.parametrize("case", ["first mint", "rotation", "replacement"])
async def test_save_first_or_raise_when_the_refresh_token_changed(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, case: str
) -> None:
    """A visitor that could not be saved is a StorageError; it is kept, and the next use saves without asking Wix."""
    storage = Trouble()
    session = session_of(storage=storage, tokens=None if case == "first mint" else visitor)
    async with session:
        pass
    if case == "rotation":
        still.one_time_refresh_tokens = True
    if case == "replacement":
        still.refuse_refresh_token(visitor.refresh_token.value)
    still.advance(LIFETIME + 1)
    storage.fails = {"save"}
    errors = await together(10, session.auth_headers)
    assert {type(error) for error in errors} == {StorageError}
    assert len({id(error) for error in errors}) == 10
    kept, calls = session.get_tokens(), len(still.token_calls())
    assert kept.refresh_token.value not in ("", visitor.refresh_token.value)
    assert {type(error) for error in await together(3, session.auth_headers)} == {StorageError}
    storage.fails = set()
    assert await session.auth_headers() == {"Authorization": kept.access_token.value}
    assert await stored(session_of, storage) == kept
    assert len(still.token_calls()) == calls
    assert len(still.token_calls("anonymous")) == (0 if case == "rotation" else 1)


async def test_save_first_also_in_the_background(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, until: Until
) -> None:
    """A rotation in the background that could not be saved is saved by the next use, without another call."""
    storage = Trouble()
    session = session_of(tokens=visitor, storage=storage)
    await session.auth_headers()
    still.one_time_refresh_tokens = True
    still.advance(LIFETIME - 300)
    storage.fails = {"save"}
    await session.auth_headers()
    await until(lambda: session.get_tokens() != visitor)
    assert isinstance((await together(1, session.auth_headers))[0], StorageError)
    storage.fails = set()
    await session.auth_headers()
    assert len(still.token_calls()) == 1
    assert await stored(session_of, storage) == session.get_tokens()


@pytest.mark.parametrize("what", ["set_tokens", "forget"])
async def test_what_closing_cuts_off_says_so(
    session_of: SessionMaker, visitor: Tokens, member: Tokens, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """``aclose`` ends a login or a ``forget`` whose store hangs, and neither returns as if it had been done."""
    monkeypatch.setattr("wixvisitor._renewal.lane.GRACE", 0.0)

    class Hanging(MemoryStorage):
        hangs = False

        async def save(self, *arguments: Any, **keywords: Any) -> str:
            if self.hangs:
                await anyio.sleep_forever()
            return await super().save(*arguments, **keywords)

        async def delete(self, key: str) -> None:
            await anyio.sleep_forever()

    storage = Hanging()
    session = session_of(storage=storage, tokens=visitor)
    await session.auth_headers()
    storage.hangs, ended = True, []

    async def change() -> None:
        with pytest.raises(StorageError, match=f"closed before .* {what}"):
            await (session.set_tokens(member) if what == "set_tokens" else session._refresher.forget())
        ended.append(what)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(change)
        await anyio.wait_all_tasks_blocked()
        await session.aclose()
    assert ended == [what]


async def test_save_first_of_set_tokens_raises_but_keeps_them(
    still: FakeWix, session_of: SessionMaker, member: Tokens
) -> None:
    """set_tokens over a failing store raises, keeps the login, and the next use saves it."""
    storage = Trouble()
    session = session_of(storage=storage)
    storage.fails = {"save"}
    [error] = await together(1, lambda: session.set_tokens(member))
    assert type(error) is StorageError
    assert session.get_tokens() == member
    storage.fails = set()
    assert await session.auth_headers() == {"Authorization": member.access_token.value}
    assert await stored(session_of, storage) == member
    assert not still.token_calls()


# Stores


async def test_a_slow_store_costs_no_second_call(still: FakeWix, session_of: SessionMaker) -> None:
    """Callers that come while the store is slow share its one load and the one mint."""
    storage = Trouble()
    session = session_of(storage=storage)
    storage.gate, storage.entered = anyio.Event(), anyio.Event()
    async with anyio.create_task_group() as tasks:
        for _ in range(30):
            tasks.start_soon(session.auth_headers)
        await storage.entered.wait()
        await anyio.wait_all_tasks_blocked()
        assert storage.loads == 1
        storage.gate.set()
    assert len(still.token_calls()) == storage.saves == 1


async def test_a_store_that_cannot_be_read_mints_nobody(still: FakeWix, session_of: SessionMaker) -> None:
    """A failing load is a StorageError for everybody, never a new visitor, and over when the store is back."""
    storage = Trouble()
    first = session_of(storage=storage)
    await first.auth_headers()
    session = session_of(storage=storage)
    storage.fails = {"load"}
    errors = await together(20, session.auth_headers)
    assert {type(error) for error in errors} == {StorageError}
    assert len(still.token_calls()) == 1
    with pytest.raises(StorageError):
        await session.__aenter__()
    storage.fails = set()
    assert await session.auth_headers() == await first.auth_headers()
    assert len(still.token_calls()) == 1


async def test_a_store_that_cannot_be_read_at_expiry_mints_nobody(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """A load that fails before a renewal costs no visitor and makes no other."""
    storage = Trouble()
    session = session_of(tokens=visitor, storage=storage)
    await session.auth_headers()
    still.advance(LIFETIME + 1)
    storage.fails = {"load"}
    results = await together(5, session.auth_headers)
    assert {type(result) for result in results} <= {StorageError, dict}
    assert not still.token_calls("anonymous")
    storage.fails = set()
    await session.auth_headers()
    assert session.get_tokens().refresh_token == visitor.refresh_token


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", '"x"', "{}", '{"accessToken":null}', '{"format":2}', '{"format":1,"clientId":"other"}'],
)
async def test_a_record_that_cannot_be_understood_mints_nobody(
    still: FakeWix, session_of: SessionMaker, client_id: str, text: str
) -> None:
    """A damaged or foreign record is a StorageError and stays as it is."""
    storage = PlainStorage()
    storage.texts[f"{client_id}:default"] = text
    session = session_of(storage=storage)
    assert isinstance((await together(1, session.auth_headers))[0], StorageError)
    assert not still.calls
    assert storage.texts == {f"{client_id}:default": text}


async def test_given_tokens_win_over_the_store_and_are_saved(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, member: Tokens
) -> None:
    """`tokens=` wins over what the storage holds, and is in it before the first request."""
    storage = MemoryStorage()
    await session_of(storage=storage).set_tokens(visitor)
    async with session_of(storage=storage, tokens=member) as session:
        assert session.get_tokens() == member
        assert await stored(session_of, storage) == member
    assert not still.calls


@pytest.mark.parametrize("empty", [None, EMPTY_TOKENS, Tokens(AccessToken("", 99), RefreshToken("", TokenRole.NONE))])
async def test_empty_tokens_count_as_none(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, empty: Tokens | None
) -> None:
    """Empty tokens do not overwrite what the storage holds."""
    storage = MemoryStorage()
    await session_of(storage=storage).set_tokens(visitor)
    async with session_of(storage=storage, tokens=empty) as session:
        assert session.get_tokens() == visitor
    assert not still.calls


async def test_setting_empty_tokens_forgets_the_visitor(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """After set_tokens(EMPTY_TOKENS) the next use is a new visitor, also after a restart."""
    storage = MemoryStorage()
    session = session_of(tokens=visitor, storage=storage)
    await session.set_tokens(EMPTY_TOKENS)
    assert session.get_tokens() == EMPTY_TOKENS
    assert await stored(session_of, storage) == EMPTY_TOKENS
    again = session_of(storage=storage)
    await again.auth_headers()
    assert again.get_tokens().refresh_token.value not in ("", visitor.refresh_token.value)
    assert len(still.token_calls("anonymous")) == 1


async def test_two_processes_make_one_visitor(still: FakeWix, session_of: SessionMaker) -> None:
    """Two sessions over one store, both cold: one mint, one visitor, both have it."""
    storage = MemoryStorage()
    sessions = [session_of(storage=storage) for _ in range(2)]
    gate = still.hold()
    async with anyio.create_task_group() as tasks:
        for session in sessions:
            for _ in range(10):
                tasks.start_soon(session.auth_headers)
        await gate.wait_for(1)
        await anyio.sleep(0.02)
        gate.release()
    assert len(still.token_calls()) == len(still.visitors) == 1
    assert sessions[0].get_tokens() == sessions[1].get_tokens()


@pytest.mark.parametrize("one_time", [False, True])
async def test_two_processes_share_one_renewal(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, *, one_time: bool
) -> None:
    """Two sessions over one store at expiry: one renewal, also where a refresh token works once only."""
    still.one_time_refresh_tokens = one_time
    storage = MemoryStorage()
    await session_of(storage=storage).set_tokens(visitor)
    sessions = [session_of(storage=storage) for _ in range(2)]
    for session in sessions:
        await session.auth_headers()
    for _ in range(3):
        still.advance(LIFETIME + 1)
        still.reset_calls()
        async with anyio.create_task_group() as tasks:
            for session in sessions:
                tasks.start_soon(session.auth_headers)
        assert len(still.token_calls()) == 1
        assert sessions[0].get_tokens() == sessions[1].get_tokens()
    assert len(still.visitors) == 1


async def test_a_dead_holder_costs_one_call(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """Of all who wait for a holder that died one asks Wix once its lease has run out, not everybody."""

    class Dying(MemoryStorage):
        """Before anybody else, a process that is killed at once takes the lease."""

        is_first = True

        async def acquire_lease(self, key: str, holder: str, seconds: float) -> float:
            if self.is_first:
                self.is_first = False
                await super().acquire_lease(key, "whoever dies", seconds)
            return await super().acquire_lease(key, holder, seconds)

    storage = Dying()
    await session_of(storage=storage).set_tokens(visitor)
    still.advance(LIFETIME + 1)
    still.reset_calls()
    still.delay(0.1, times=None)  # for longer than anybody who waits sleeps
    sessions = [session_of(storage=storage, renew_timeout=1.0) for _ in range(10)]
    async with anyio.create_task_group() as tasks:
        for session in sessions:
            tasks.start_soon(session.auth_headers)
    assert len(still.token_calls()) == 1
    assert {session.get_tokens() for session in sessions} == {sessions[0].get_tokens()}


async def test_compare_and_set_alone_keeps_one_visitor(still: FakeWix, session_of: SessionMaker) -> None:
    """Without a lease two cold processes may both mint, but only one visitor is ever used or stored."""

    class NoLease:
        def __init__(self) -> None:
            self._memory = MemoryStorage()
            self.load, self.delete = self._memory.load, self._memory.delete

        async def save(self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION) -> str:
            return await self._memory.save(key, value, expected=expected)

    storage = NoLease()
    sessions = [session_of(storage=storage) for _ in range(5)]
    gate = still.hold()
    async with anyio.create_task_group() as tasks:
        for session in sessions:
            tasks.start_soon(session.get, CART)
        await gate.wait_for(5)
        gate.release()
    assert len({session.get_tokens().refresh_token.value for session in sessions}) == 1
    assert len(identities(still)) == 1


async def test_a_basic_store_is_enough(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """Three methods and plain text are enough for one process, also over restarts."""
    storage = PlainStorage()
    session = session_of(storage=storage, tokens=visitor)
    await session.auth_headers()
    still.advance(LIFETIME + 1)
    await together(20, session.auth_headers)
    assert len(still.token_calls()) == 1
    assert await stored(session_of, storage) == session.get_tokens()
    assert len(still.visitors) == 1


async def test_two_sites_on_one_store_never_mix(still: FakeWix, session_of: SessionMaker) -> None:
    """Keys are scoped by client ID."""
    storage = MemoryStorage()
    ours = session_of(storage=storage)
    theirs = session_of(storage=storage, client_id="00000000-0000-4000-8000-000000000002")
    await ours.auth_headers()
    await theirs.auth_headers()
    assert len(still.visitors) == 2
    assert ours.get_tokens() != theirs.get_tokens()


@pytest.mark.parametrize(
    ("during", "call"),
    [
        *(("load", call) for call in ("auth_headers", "renew_token", "get", "generate_visitor_tokens")),
        *(("save", call) for call in ("auth_headers", "renew_token", "get", "set_tokens")),
    ],
)
async def test_a_store_that_asks_its_session_fails_at_once(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, during: str, call: str
) -> None:
    """A store that uses the session it serves gets an error at once instead of a deadlock."""

    class Entangled(MemoryStorage):
        session: VisitorSession
        problem: BaseException | None = None

        async def ask(self) -> None:
            arguments = {"get": (CART,), "set_tokens": (visitor,)}.get(call, ())
            try:
                await getattr(self.session, call)(*arguments)
            except BaseException as error:
                self.problem = error
                raise

        async def load(self, key: str) -> Record | None:
            if during == "load":
                await self.ask()
            return await super().load(key)

        async def save(self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION) -> str:
            if during == "save":
                await self.ask()
            return await super().save(key, value, expected=expected)

    storage = Entangled()
    storage.session = session_of(storage=storage)
    with anyio.move_on_after(2) as scope:
        [result] = await together(1, storage.session.auth_headers)
    assert not scope.cancelled_caught, "deadlock"
    assert isinstance(result, StorageError)
    assert isinstance(storage.problem, RuntimeError), repr(storage.problem)


async def test_a_set_tokens_whose_store_sets_tokens_fails_at_once(
    session_of: SessionMaker, visitor: Tokens, member: Tokens
) -> None:
    """set_tokens from inside the save of set_tokens is an error at once, no deadlock."""

    class Entangled(MemoryStorage):
        session: VisitorSession

        async def save(self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION) -> str:
            await self.session.set_tokens(member)
            return await super().save(key, value, expected=expected)

    storage = Entangled()
    storage.session = session_of(storage=storage)
    with anyio.move_on_after(2) as scope:
        [result] = await together(1, lambda: storage.session.set_tokens(visitor))
    assert not scope.cancelled_caught, "deadlock"
    assert isinstance(result, StorageError | RuntimeError)


async def test_a_transport_that_asks_its_session_fails_at_once(still: FakeWix, session_of: SessionMaker) -> None:
    """A transport that asks for a token in the middle of a renewal gets an error at once instead of a deadlock."""

    class Entangled(httpx.AsyncBaseTransport):
        session: VisitorSession

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await self.session.auth_headers()
            raise AssertionError("unreachable")

    transport = Entangled()
    async with httpx.AsyncClient(transport=transport) as client:
        transport.session = session_of(client=client)
        with anyio.move_on_after(2) as scope:
            [result] = await together(1, transport.session.auth_headers)
    assert not scope.cancelled_caught, "deadlock"
    assert isinstance(result, TokenRequestError)


async def test_on_change_tells_why(still: FakeWix, session_of: SessionMaker, visitor: Tokens, member: Tokens) -> None:
    """Minted, renewed, replaced, set and adopted are told once each, after they count."""
    storage = MemoryStorage()
    events: list[TokensChanged] = []
    session = session_of(storage=storage, on_change=events.append)
    await session.auth_headers()
    still.advance(LIFETIME + 1)
    await together(5, session.auth_headers)
    still.refuse_refresh_token(session.get_tokens().refresh_token.value)
    still.advance(LIFETIME + 1)
    await session.auth_headers()
    await session.set_tokens(member)
    await session_of(storage=storage).set_tokens(visitor)
    still.advance(LIFETIME + 1)
    await session.auth_headers()
    reasons = [event.reason for event in events]
    assert reasons[:4] == [ChangeReason.MINTED, ChangeReason.RENEWED, ChangeReason.REPLACED, ChangeReason.SET]
    assert events[3].new_role is TokenRole.MEMBER
    assert events[-1].old_role is TokenRole.MEMBER
    assert events[-1].new_role is TokenRole.VISITOR
    assert {event.key for event in events} == {"default"}


# On the wire


def _wix(request: httpx.Request) -> httpx.Response:
    token = {"access_token": "A" * 20, "refresh_token": "R" * 20, "expires_in": 14400, "token_type": "Bearer"}
    return httpx.Response(200, json=token)


async def test_what_a_mint_sends(client_id: str) -> None:
    """A mint is one JSON POST in Wix's spelling, with an Accept and a User-Agent of ours and no Authorization."""
    async with httpx.AsyncClient(headers={"Accept": "text/html"}, cookies={"a": "b"}) as client:
        with respx.mock(base_url="https://www.wixapis.com") as router:
            route = router.post("/oauth2/token").mock(side_effect=_wix)
            await VisitorSession(client_id, client=client).auth_headers()
    request = route.calls.last.request
    assert route.call_count == 1
    assert str(request.url) == "https://www.wixapis.com/oauth2/token"
    assert httpx.Response(200, content=request.content).json() == {"clientId": client_id, "grantType": "anonymous"}
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept"] == "application/json"
    assert request.headers["user-agent"] == f"wixvisitor/{__version__}"
    assert not {"authorization", "cookie"} & set(request.headers)


async def test_what_a_renewal_sends(client_id: str) -> None:
    """A renewal sends the client ID, the refresh token and the grant, nothing else."""
    resumed = Tokens(AccessToken("old", 1), RefreshToken("keep-me", TokenRole.VISITOR))
    async with httpx.AsyncClient() as client:
        with respx.mock(base_url="https://www.wixapis.com") as router:
            route = router.post("/oauth2/token").mock(side_effect=_wix)
            await VisitorSession(client_id, client=client, tokens=resumed).auth_headers()
    request = route.calls.last.request
    assert httpx.Response(200, content=request.content).json() == {
        "clientId": client_id,
        "refreshToken": "keep-me",
        "grantType": "refresh_token",
    }
    assert request.headers["user-agent"] == f"wixvisitor/{__version__}"
    assert "authorization" not in request.headers


async def test_what_a_request_sends(client_id: str) -> None:
    """An API request carries the token raw, without Bearer, and says JSON and who asks unless the caller does."""
    async with httpx.AsyncClient() as client:
        with respx.mock(base_url="https://www.wixapis.com") as router:
            router.post("/oauth2/token").mock(side_effect=_wix)
            api = router.get("/stores/v3/x").mock(return_value=httpx.Response(200, json={}))
            session = VisitorSession(client_id, client=client)
            await session.get("/stores/v3/x")
            await session.get("/stores/v3/x", headers={"Accept": "text/csv", "User-Agent": "shop/1"})
    plain, own = (call.request for call in api.calls)
    assert plain.headers["authorization"] == "A" * 20
    assert plain.headers["accept"] == "application/json"
    assert plain.headers["user-agent"] == f"wixvisitor/{__version__}"
    assert (own.headers["accept"], own.headers["user-agent"]) == ("text/csv", "shop/1")


@pytest.mark.parametrize("expires_in", [None, "14400", 14400.0, 0, -5, 10**12, True, "soon", {}])
async def test_a_strange_expires_in_does_not_make_a_token_useless(
    still: FakeWix, session_of: SessionMaker, client_id: str, expires_in: Any
) -> None:
    """Whatever `expires_in` says, the token is used, and not asked for anew with every request."""
    still.fail(200, body=dict(still.mint_visitor(client_id), expires_in=expires_in))
    session = session_of()
    for _ in range(5):
        await session.auth_headers()
    await anyio.sleep(0.005)
    assert len(still.token_calls()) == 1


async def test_an_expiry_counts_from_the_request(still: FakeWix, session_of: SessionMaker) -> None:
    """A slow answer does not stretch the token's life: the lifetime counts from when it was asked for."""
    session = session_of(renew_timeout=10_000)
    started = still.now()
    gate = still.hold(committed=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session.auth_headers)
        await gate.wait_for(1)
        still.advance(600)
        gate.release()
    assert session.get_tokens().access_token.expires_at <= started + LIFETIME


async def test_renewals_by_the_real_backoff_are_few(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A renewal against a failing endpoint makes at most three attempts with pauses between them."""
    session = session_of(tokens=visitor)
    still.advance(LIFETIME + 1)
    still.fail(503, times=None)
    monkeypatch.undo()  # of no_backoff
    started = anyio.current_time()
    [error] = await together(1, session.auth_headers)
    took = anyio.current_time() - started
    assert isinstance(error, TokenRequestError)
    assert 2 <= len(still.token_calls()) <= 3
    assert 0.1 <= took < 3
