"""Doubtful refusals: when an answer that may be a gateway's costs a visitor after all, and when it never does."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from tests.constants import EPOCH, LIFETIME, SessionMaker
from wixvisitor import (
    AccessToken,
    ConfigurationError,
    RefreshToken,
    SessionExpired,
    TokenRequestError,
    Tokens,
    VisitorPool,
    VisitorSession,
    WixVisitorError,
)
from wixvisitor._renewal.doubts import Doubts
from wixvisitor.storage import MemoryStorage
from wixvisitor.testing import FakeWix

anyio_test = pytest.mark.anyio
pytestmark = pytest.mark.usefixtures("no_backoff")

FORBIDDEN = {"message": "Forbidden"}


# The rule


def _at(doubts: Doubts, seconds: float, visitor: str = "a", *, token: int = 1, answer: str = "403") -> bool:
    return doubts.is_confirmed(visitor, token, answer, EPOCH + seconds)


def test_once_is_never_enough() -> None:
    """The first doubtful answer counts for nothing, whatever happened before it."""
    doubts = Doubts()
    doubts.renewed("b", EPOCH - 1)
    assert not _at(doubts, 0)


@pytest.mark.parametrize(("seconds", "counts"), [(1.9, False), (2.0, True)])
def test_with_a_renewal_of_another_visitor(seconds: float, *, counts: bool) -> None:
    """It counts when the same answer comes 2 s later and another visitor was renewed in between."""
    doubts = Doubts()
    _at(doubts, 0)
    doubts.renewed("b", EPOCH + 1)
    assert _at(doubts, seconds) is counts


@pytest.mark.parametrize(("seconds", "counts"), [(59.9, False), (60.0, True)])
def test_without_a_renewal(seconds: float, *, counts: bool) -> None:
    """Where no visitor was renewed since, it counts after the same answer for 60 s."""
    doubts = Doubts()
    doubts.renewed("b", EPOCH - 1)
    _at(doubts, 0)
    _at(doubts, 30)
    assert _at(doubts, seconds) is counts


@pytest.mark.parametrize(("seconds", "counts"), [(60.0, False), (599.9, False), (600.0, True)])
def test_while_many_visitors_have_doubtful_answers(seconds: float, *, counts: bool) -> None:
    """Where three visitors have such answers and none was renewed since the first, it counts after ten minutes."""
    doubts = Doubts()
    for visitor in "abc":
        _at(doubts, 0, visitor)
    assert _at(doubts, seconds) is counts


def test_a_renewal_ends_the_general_suspicion() -> None:
    """After one of many was renewed, the others are judged by what comes after it."""
    doubts = Doubts()
    for visitor in "abc":
        _at(doubts, 0, visitor)
    doubts.renewed("c", EPOCH + 100)
    assert _at(doubts, 102)


@pytest.mark.parametrize("change", [{"answer": "401"}, {"token": 2}])
def test_another_answer_begins_anew(change: dict[str, Any]) -> None:
    """Another answer, or the same one to another refresh token, is the first of its own."""
    doubts = Doubts()
    _at(doubts, 0)
    doubts.renewed("b", EPOCH + 1)
    assert not _at(doubts, 10, **change)


def test_its_own_renewal_ends_the_doubt() -> None:
    """A visitor that was renewed has no doubtful answers behind it."""
    doubts = Doubts()
    _at(doubts, 0)
    doubts.renewed("a", EPOCH + 1)
    assert not _at(doubts, 90)


def test_a_clock_that_is_set_back_begins_anew() -> None:
    """A first answer in the future is no first answer."""
    doubts = Doubts()
    _at(doubts, 0)
    assert not _at(doubts, -100)
    assert not _at(doubts, -50)


def test_what_is_remembered_is_bounded() -> None:
    """A hundred thousand visitors with doubtful answers leave a few thousand behind."""
    doubts = Doubts()
    for number in range(100_000):
        _at(doubts, 0, str(number))
    assert len(doubts._open) == 4_096


# What becomes of visitors

ANSWERS = [
    (400, {"error": "temporarily_unavailable"}),
    (400, {"error": "server_error"}),
    (400, {"error": "invalid_request"}),
    (400, {}),
    (400, {"message": "", "details": {}}),
    (401, {"message": "Unauthorized"}),
    (403, FORBIDDEN),
    (403, {"message": "API rate limit exceeded"}),
    (403, {"error": "access_denied", "reason": "bot detected", "ray": "8a1"}),
    (403, {"message": "quota", "details": {"applicationError": {"code": "RESOURCE_EXHAUSTED"}}}),
]


async def _error(session: VisitorSession) -> WixVisitorError | None:
    try:
        await session.generate_visitor_tokens()
    except WixVisitorError as error:
        return error
    return None


@anyio_test
@pytest.mark.parametrize("role", ["visitor", "member"])
@pytest.mark.parametrize(("status", "body"), ANSWERS)
async def test_one_answer_costs_nobody(
    still: FakeWix, session_of: SessionMaker, request: pytest.FixtureRequest, role: str, status: int, body: Any
) -> None:
    """One such answer is a ``TokenRequestError``; a pause later the same visitor, or member, is renewed."""
    tokens: Tokens = request.getfixturevalue(role)
    session = session_of(tokens=tokens)
    still.advance(LIFETIME + 1)
    still.fail(status, body=body)
    error = await _error(session)
    assert type(error) is TokenRequestError
    assert error.status_code == status
    assert len(still.token_calls()) == 1  # asking again at once would tell nothing
    still.advance(1)
    assert await _error(session) is None
    assert session.get_tokens().refresh_token == tokens.refresh_token


@anyio_test
@pytest.mark.parametrize("blocks_mints", [False, True])
@pytest.mark.parametrize(("status", "body"), ANSWERS[::4])
async def test_for_twenty_seconds_and_everybody(
    still: FakeWix, client_id: str, status: int, body: Any, *, blocks_mints: bool
) -> None:
    """Such answers for 20 s to all of a pool replace no visitor and log nobody out; who has a token goes on."""
    storage = MemoryStorage()
    before_it = VisitorPool(client_id, client=still.client(), clock=still.now, storage=storage)
    for number in range(6):
        await (await before_it.session(str(number))).generate_visitor_tokens()
    granted = still.mint_member(client_id)
    await (await before_it.session("member")).set_tokens(
        Tokens(
            AccessToken(granted["access_token"], int(still.now()) + LIFETIME),
            RefreshToken(granted["refresh_token"], "member"),
        )
    )
    still.advance(LIFETIME + 1)
    await (await before_it.session("fresh")).generate_visitor_tokens()
    pool = VisitorPool(client_id, client=still.client(), clock=still.now, storage=storage, renew_timeout=0.01)
    sessions = [await pool.session(str(number)) for number in range(6)]
    member, fresh = await pool.session("member"), await pool.session("fresh")
    before = [session.get_tokens().refresh_token for session in (*sessions, member)]
    grant_type = None if blocks_mints else "refresh_token"
    fault = still.fail(status, body=body, path="/oauth2/token", grant_type=grant_type, times=None)
    for _ in range(20):
        for session in (*sessions, member):
            assert isinstance(await _error(session), TokenRequestError)
        assert await _error(fresh) is None
        still.advance(1)
    fault.remove()
    for _ in range(4):
        still.advance(61)
        for session in (*sessions, member):
            await _error(session)
    assert [session.get_tokens().refresh_token for session in (*sessions, member)] == before


@anyio_test
async def test_an_unknown_refusal_of_this_token(still: FakeWix, client_id: str) -> None:
    """While Wix renews the others, a visitor that it refuses in unknown words is replaced within 10 s, 5 calls."""
    pool = VisitorPool(client_id, client=still.client(), clock=still.now)
    sessions = [await pool.session(str(number)) for number in range(12)]
    for session in sessions:
        await session.generate_visitor_tokens()
    refused = sessions[0]
    before, first = refused.get_tokens().refresh_token, next(iter(still.visitors))
    still.refuse_refresh_tokens(first, shape="unknown", status=403)
    still.advance(LIFETIME + 1)
    still.reset_calls()
    others = iter(sessions[1:])
    for _ in range(40):
        if await _error(refused) is None:
            break
        still.advance(0.25)
        if (other := next(others, None)) is not None:
            assert await _error(other) is None
    assert refused.get_tokens().refresh_token != before
    assert still.now() - EPOCH <= LIFETIME + 1 + 10
    assert len(still.token_calls()) - len(sessions[1:]) <= 5
    assert len(still.visitors) == 13


@anyio_test
async def test_an_unknown_refusal_of_a_session_by_itself(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """Without other visitors to compare with, the same answer has to come for a minute; a member has to log in then."""
    session = session_of(tokens=visitor)
    still.refuse_refresh_token(visitor.refresh_token.value, shape="unknown", status=400)
    still.advance(LIFETIME + 1)
    assert isinstance(await _error(session), TokenRequestError)
    still.advance(59)
    assert isinstance(await _error(session), TokenRequestError)
    still.advance(60)
    assert await _error(session) is None
    assert len(still.visitors) == 2


@anyio_test
async def test_an_unknown_refusal_of_a_member(still: FakeWix, session_of: SessionMaker, member: Tokens) -> None:
    """A member is told to log in again only when the doubt is confirmed."""
    session = session_of(tokens=member)
    still.refuse_refresh_token(member.refresh_token.value, shape="unknown", status=401)
    still.advance(LIFETIME + 1)
    assert isinstance(await _error(session), TokenRequestError)
    still.advance(61)
    assert isinstance(await _error(session), SessionExpired)
    assert session.logged_in()


# The public arguments


@anyio_test
@pytest.mark.parametrize(("verdict", "visitors"), [("certain", 2), ("doubtful", 1), ("never", 1)])
async def test_judge_refusal(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, verdict: str, visitors: int
) -> None:
    """``judge_refusal`` takes the place of the rule, for any status."""
    session = session_of(tokens=visitor, judge_refusal=lambda answer: verdict if answer.status_code == 410 else "never")
    still.advance(LIFETIME + 1)
    still.fail(410, body="gone")
    await _error(session)
    assert len(still.visitors) == visitors


@anyio_test
async def test_a_judge_that_says_something_else(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """A function that returns none of the three words is a ``ConfigurationError``, and costs no visitor."""
    session = session_of(tokens=visitor, judge_refusal=lambda _: True)
    still.advance(LIFETIME + 1)
    still.refuse_refresh_token(visitor.refresh_token.value)
    error = await _error(session)
    assert isinstance(error, ConfigurationError)
    assert "judge_refusal" in str(error)
    assert session.get_tokens() == visitor


def test_is_refusal_is_deprecated(client_id: str) -> None:
    """``is_refusal=`` works for one release and says what takes its place; both together are an error."""
    with pytest.warns(DeprecationWarning, match="judge_refusal"):
        VisitorSession(client_id, is_refusal=lambda _: True)
    with pytest.warns(DeprecationWarning, match="judge_refusal"):
        VisitorPool(client_id, is_refusal=lambda _: True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        VisitorSession(client_id, judge_refusal=lambda _: "never")
    with pytest.raises(ConfigurationError, match="is_refusal"):
        VisitorSession(client_id, is_refusal=lambda _: True, judge_refusal=lambda _: "never")
