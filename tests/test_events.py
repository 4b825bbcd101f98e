"""``on_event``: what operators are told, in whose context, and what an observer cannot harm."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar
from unittest import mock

import anyio
import httpx
import httpx2
import pytest

import wixvisitor
from tests.constants import CART, CLIENT_ID, FINE, LIFETIME
from tests.stores import FailingStorage, TroubledStorage
from wixvisitor import (
    AccessToken,
    ChangeReason,
    ConfigurationError,
    Event,
    LeaseWaited,
    PauseBegan,
    PauseEnded,
    RefreshToken,
    StorageError,
    StoreCalled,
    TokenRequested,
    TokenRequestError,
    TokenRole,
    Tokens,
    TokensChanged,
    TokenWaited,
    VisitorPool,
    VisitorSession,
)
from wixvisitor.storage import MemoryStorage
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_backoff")]

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="none")


def session_of(fake: FakeWix, on_event: Callable[[Event], None], **arguments: Any) -> VisitorSession:
    return VisitorSession(CLIENT_ID, client=fake.client(), clock=fake.now, on_event=on_event, **arguments)


E = TypeVar("E", bound=Event)


def of_kind(kind: type[E], events: list[Event]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]


async def test_the_first_call_of_a_visitor(still: FakeWix) -> None:
    """A first call tells of one token request, one caller that waited, the new visitor, and the store's calls."""
    events: list[Event] = []
    async with session_of(still, events.append) as session:
        assert (await session.get(CART)).status_code in FINE
    (asked,) = of_kind(TokenRequested, events)
    assert (asked.key, asked.grant_type, asked.outcome, asked.status_code) == ("default", "anonymous", "granted", 200)
    assert (asked.attempt, asked.is_background, asked.error_type) == (1, False, None)
    assert asked.seconds > 0
    assert [event.reason for event in of_kind(TokensChanged, events)] == [ChangeReason.MINTED]
    (waited,) = of_kind(TokenWaited, events)
    assert (waited.key, waited.outcome) == ("default", "ended")
    calls = [(event.store, event.operation, event.outcome) for event in of_kind(StoreCalled, events)]
    assert ("MemoryStorage", "load", "done") in calls
    assert ("MemoryStorage", "save", "done") in calls


async def test_a_fresh_token_tells_nothing(still: FakeWix) -> None:
    """A request with a fresh token has no event: the way that most requests take costs nothing."""
    events: list[Event] = []
    async with session_of(still, events.append) as session:
        await session.get(CART)
        events.clear()
        await session.get(CART)
    assert events == []


async def test_a_failure_and_its_pause(still: FakeWix) -> None:
    """A failed renewal tells of each attempt, the pause, a caller that is turned away, and the end of the pause."""
    events: list[Event] = []
    async with session_of(still, events.append) as session:
        await session.get(CART)
        still.advance(LIFETIME + 1)
        events.clear()
        still.fail(503, path="/oauth2/token", times=3)
        with pytest.raises(TokenRequestError):
            await session.get(CART)
        asked = of_kind(TokenRequested, events)
        assert [(event.outcome, event.status_code, event.attempt) for event in asked] == [
            ("failed", 503, 1),
            ("failed", 503, 2),
            ("failed", 503, 3),
        ]
        assert {event.error_type for event in asked} == {"TokenRequestError"}
        assert [event.outcome for event in of_kind(TokenWaited, events)] == ["failed"]
        (pause,) = of_kind(PauseBegan, events)
        assert (pause.key, pause.failures, pause.status_code) == ("default", 1, 503)
        assert 0 < pause.seconds <= 1
        events.clear()
        with pytest.raises(TokenRequestError):
            await session.get(CART)
        assert events == [TokenWaited(key="default", outcome="paused", seconds=0.0)]
        still.advance(2)
        await session.get(CART)
    assert of_kind(PauseEnded, events) == [PauseEnded(key="default")]


async def test_a_pause_of_the_site(still: FakeWix) -> None:
    """A 429 pauses all visitors of a pool: the event has no key, and its end is told once."""
    events: list[Event] = []
    async with VisitorPool(CLIENT_ID, client=still.client(), clock=still.now, on_event=events.append) as pool:
        anna, ben = await pool.session("anna"), await pool.session("ben")
        still.fail(429, path="/oauth2/token", times=1, headers={"Retry-After": "30"})
        with pytest.raises(TokenRequestError):
            await anna.get(CART)
        began = [event for event in of_kind(PauseBegan, events) if event.key is None]
        assert [(event.status_code, event.seconds, event.failures) for event in began] == [(429, 30.0, 1)]
        with pytest.raises(TokenRequestError):
            await ben.get(CART)
        still.advance(31)
        await ben.get(CART)
        await anna.get(CART)
    ended = of_kind(PauseEnded, events)
    assert [event.key for event in ended].count(None) == 1


async def test_a_lease_that_another_process_holds(still: FakeWix) -> None:
    """Waiting for another process's lease is told, and what came of it."""
    storage, events = MemoryStorage(), list[Event]()
    async with session_of(still, events.append, storage=storage, renew_timeout=2.0) as session:
        assert await storage.acquire_lease(f"{CLIENT_ID}:default", "other", 0.2) == 0.0
        await session.get(CART)
    (waited,) = of_kind(LeaseWaited, events)
    assert (waited.key, waited.outcome) == ("default", "taken_over")
    assert waited.seconds >= 0.15


async def test_a_store_that_fails(still: FakeWix) -> None:
    """A failed call of the store tells its class, and no text of it."""
    storage, events = FailingStorage(), list[Event]()
    async with session_of(still, events.append, storage=storage) as session:
        storage.fails = True
        with pytest.raises(StorageError):
            await session.get(CART)
        storage.fails = False
        await session.get(CART)
    failed = [event for event in of_kind(StoreCalled, events) if event.outcome == "failed"]
    assert [(event.store, event.operation, event.error_type) for event in failed] == [
        ("FailingStorage", "save", "StorageError")
    ]


async def test_a_cancelled_caller(still: FakeWix) -> None:
    """A caller that leaves is told as cancelled; the renewal goes on and is told as granted."""
    events: list[Event] = []
    async with session_of(still, events.append) as session:
        gate = still.hold(path="/oauth2/token")
        async with anyio.create_task_group() as group:
            group.start_soon(session.get, CART)
            await gate.wait_for(1)
            group.cancel_scope.cancel()
        gate.release()
        await session.get(CART)
    assert sorted(event.outcome for event in of_kind(TokenWaited, events)) == ["cancelled", "ended"]
    assert [event.outcome for event in of_kind(TokenRequested, events)] == ["granted"]


async def test_events_run_in_the_context_of_the_request(still: FakeWix, caplog: pytest.LogCaptureFixture) -> None:
    """Events, on_change and log lines that a request causes see its context variables, in the background as well."""
    seen: list[tuple[str, str]] = []

    class Remember(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            seen.append(("log", request_id.get()))
            return True

    caplog.set_level(logging.INFO, "wixvisitor")
    caplog.handler.addFilter(remember := Remember())
    try:
        session = session_of(
            still,
            lambda event: seen.append((type(event).__name__, request_id.get())),
            on_change=lambda _: seen.append(("on_change", request_id.get())),
        )
        async with session:
            request_id.set("r1")
            await session.get(CART)
            assert {name for name, _ in seen} >= {"TokenRequested", "TokensChanged", "on_change", "log", "StoreCalled"}
            assert {value for _, value in seen} <= {"r1", "none"}
            assert ("on_change", "r1") in seen
            assert ("TokenRequested", "r1") in seen
            seen.clear()
            request_id.set("r2")
            still.advance(LIFETIME - 60)
            await session.get(CART)  # the token is ageing: this starts a renewal in the background
            request_id.set("r3")
            for _ in range(100):
                if ("on_change", "r2") in seen:
                    break
                await anyio.sleep(0.01)
    finally:
        caplog.handler.removeFilter(remember)
    assert {value for _, value in seen} == {"r2"}
    assert {name for name, _ in seen} >= {"TokenRequested", "TokensChanged", "on_change", "log"}


async def test_work_in_the_background_runs_in_an_empty_context(still: FakeWix) -> None:
    """A renewal that is awaited runs in its request's context; one in the background does not."""
    seen: list[str] = []

    def note(*_: str) -> None:
        seen.append(request_id.get())

    storage = TroubledStorage(load=note, save=note)
    request_id.set("awaited")
    async with session_of(still, lambda _: None, storage=storage) as session:
        await session.get(CART)
        assert set(seen) == {"awaited"}
        seen.clear()
        still.advance(LIFETIME - 60)
        request_id.set("background")
        await session.get(CART)
        for _ in range(100):
            if seen:
                break
            await anyio.sleep(0.01)
    assert set(seen) == {"none"}


async def test_an_observer_that_raises(still: FakeWix, caplog: pytest.LogCaptureFixture) -> None:
    """What an observer raises is logged, and the visitor is unaffected."""

    def fail(event: Event) -> None:
        raise LookupError(type(event).__name__)

    async with session_of(still, fail) as session:
        assert (await session.get(CART)).status_code in FINE
    assert "on_event raised" in caplog.text
    assert "LookupError: TokenRequested" in caplog.text


async def test_a_coroutine_in_disguise(still: FakeWix, caplog: pytest.LogCaptureFixture) -> None:
    """A plain function that returns a coroutine is told so in the log, and nothing is left that was never awaited."""

    async def later(event: Event) -> None:
        """Never runs."""

    async with session_of(still, lambda event: later(event)) as session:  # type: ignore[arg-type,return-value] # noqa: PLW0108
        await session.get(CART)
    assert "on_event returned a coroutine" in caplog.text


@pytest.mark.parametrize("wrap", [lambda f: f, functools.partial], ids=["function", "partial"])
async def test_an_async_function_is_refused(wrap: Callable[[Any], Any]) -> None:
    """``on_event`` is called, not awaited: an async function is refused when it is given."""

    async def listen(event: Event) -> None:
        """Never runs."""

    with pytest.raises(ConfigurationError, match="on_event: expected a plain function"):
        VisitorSession(CLIENT_ID, on_event=wrap(listen))


async def test_events_hold_no_secret(still: FakeWix) -> None:
    """No event of a visitor's whole life shows a token, in a failure either."""
    events: list[Event] = []
    async with session_of(still, events.append) as session:
        await session.get(CART)
        secrets = [session.get_tokens().access_token.value, session.get_tokens().refresh_token.value]
        still.advance(LIFETIME + 1)
        still.fail(500, path="/oauth2/token", times=3, body=secrets[1])
        with pytest.raises(TokenRequestError):
            await session.get(CART)
        await session.set_tokens(wixvisitor.EMPTY_TOKENS)
    text = repr(events)
    assert of_kind(PauseBegan, events)
    assert not [secret for secret in secrets if secret in text]


async def test_log_lines_have_fields(still: FakeWix, caplog: pytest.LogCaptureFixture) -> None:
    """Each line has all five fields, so that a formatter can name them; those that are known have values."""
    caplog.set_level(logging.DEBUG, "wixvisitor")
    async with session_of(still, lambda _: None) as session:
        await session.get(CART)
        still.advance(LIFETIME - 60)
        still.fail(503, path="/oauth2/token", times=3)
        await session.get(CART)
        for _ in range(200):
            if "in the background failed" in caplog.text:
                break
            await anyio.sleep(0.01)
    lines = [record for record in caplog.records if record.name == "wixvisitor"]
    names = [f"wixvisitor_{name}" for name in ("key", "reason", "role", "status", "request_id")]
    assert all(hasattr(record, name) for record in lines for name in names)
    minted, failed = lines[0], lines[-1]
    assert (minted.__dict__["wixvisitor_key"], minted.__dict__["wixvisitor_reason"]) == ("default", "minted")
    assert minted.__dict__["wixvisitor_role"] == "visitor"
    assert failed.__dict__["wixvisitor_status"] == 503
    assert failed.funcName == "log_failure"


def test_asyncio_tasks_share_the_renewal_of_the_first(still: FakeWix) -> None:
    """Of many requests that share a renewal, the first one is its cause."""
    seen: list[str] = []

    async def main() -> None:
        async with session_of(still, lambda event: seen.append(request_id.get())) as session:

            async def ask(name: str) -> None:
                request_id.set(name)
                await session.get(CART)

            await asyncio.gather(*(ask(f"r{number}") for number in range(5)))

    asyncio.run(main())
    assert seen.count("r0") > 4
    assert {"r1", "r2", "r3", "r4"} <= set(seen)  # each caller's own wait is told in its own context


async def test_tools_that_watch_clients_see_token_requests(still: FakeWix, family: ModuleType) -> None:
    """Sentry, ddtrace and others wrap ``AsyncClient.send``: they see the token request, with the request that waits."""
    seen: list[tuple[str, str]] = []
    send = family.AsyncClient.send

    async def watched(client: Any, request: Any, **arguments: Any) -> Any:
        seen.append((request.url.path, request_id.get()))
        return await send(client, request, **arguments)

    client = still.client() if family is httpx else httpx2.AsyncClient(transport=httpx2.ASGITransport(still.app))
    with mock.patch.object(family.AsyncClient, "send", watched):
        async with client, VisitorSession(CLIENT_ID, client=client, clock=still.now) as session:
            request_id.set("r1")
            await session.get(CART)
    assert sorted(seen) == [(CART, "r1"), ("/oauth2/token", "r1")]


async def test_a_failed_token_request_keeps_no_body(family: ModuleType) -> None:
    """The errors below a failed token request hold no refresh token, neither in their text nor in their request."""

    def fail(request: Any) -> Any:
        raise family.ConnectError("no network", request=request)

    tokens = Tokens(AccessToken("OauthNG.JWS.over", 1), RefreshToken("JWS.the-secret-one", TokenRole.VISITOR))
    client = family.AsyncClient(transport=family.MockTransport(fail))
    async with client, VisitorSession(CLIENT_ID, client=client, tokens=tokens) as session:
        with pytest.raises(TokenRequestError) as caught:
            await session.get(CART)
    error: BaseException | None = caught.value
    requests = []
    while error is not None:
        assert "the-secret-one" not in f"{error!r}{vars(error)}"
        requests += [error.request] if isinstance(error, family.RequestError) else []
        error = error.__cause__ or error.__context__
    assert [(request.url.path, request.content) for request in requests] == [("/oauth2/token", b"")]
