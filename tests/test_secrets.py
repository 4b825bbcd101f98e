"""No token's text in any log record, repr, exception or traceback, whatever happens."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import anyio
import httpx
import pytest

import wixvisitor
from tests.constants import CART, LIFETIME, SessionMaker
from tests.secrecy import Watch, chain, failure_of, watching
from tests.stores import TroubledStorage
from wixvisitor import (
    AccessToken,
    RefreshToken,
    StorageError,
    TokenRole,
    Tokens,
    VisitorPool,
    VisitorSession,
    raise_for_error,
)
from wixvisitor.storage import ANY_VERSION, AnyVersion, FileStorage, MemoryStorage, Record
from wixvisitor.testing import FakeWix

from .conftest import CLIENT_ID

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_backoff")]


@pytest.fixture
def watch(still: FakeWix) -> Iterator[Watch]:
    """Logs everything at DEBUG, and checks the log at the end."""
    with watching(still) as watch:
        yield watch


# What goes well


@pytest.mark.parametrize("door", ["in process", "loopback"])
async def test_success_shows_no_token(
    still: FakeWix, session_of: SessionMaker, watch: Watch, member: Tokens, family: Any, door: str, tmp_path: Path
) -> None:
    """Minting, renewing, rotating, replacing, a replayed 401, a login, streams and files log no token."""

    async def live(client: Any, url: str) -> None:
        storage = FileStorage(tmp_path / "visitor.json")
        session = session_of(
            client=client, base_url=url, storage=storage, on_change=lambda _: watch.check_live_objects("on_change")
        )
        async with session:
            await session.get(CART)
            still.one_time_refresh_tokens = True
            still.advance(LIFETIME - 100)
            await session.get(CART)
            still.advance(LIFETIME + 1)
            await session.get(CART)
            still.one_time_refresh_tokens = False
            still.revoke_access_tokens(next(reversed(still.visitors)))
            await session.get(CART)
            still.refuse_refresh_token(session.get_tokens().refresh_token.value)
            still.advance(LIFETIME + 1)
            await session.graphql("{ currentCart { id } }")
            async with session.stream("GET", CART) as response:
                await response.aread()
            await session.set_tokens(member)
            await session.renew_token(member.refresh_token)
            watch.check_live_objects("success")
            for thing in (session, session.auth, session.get_tokens(), storage, session.get_tokens().refresh_token):
                watch.check(f"{thing!r} {thing} {[thing]!r} { {'x': thing} }", "a repr")

    if door == "in process":
        await live(still.client(family), "https://www.wixapis.com")
    else:
        async with still.serve() as url, family.AsyncClient() as client:
            await live(client, url)
    assert len(watch.records) > 5


async def test_a_renewal_under_way_shows_no_token(
    still: FakeWix, session_of: SessionMaker, watch: Watch, visitor: Tokens
) -> None:
    """While a renewal waits for the endpoint or the store no object of ours shows a token."""
    storage = TroubledStorage(save=lambda *_: watch.check_live_objects("during a save"))
    session = session_of(tokens=visitor, storage=storage)
    still.advance(LIFETIME + 1)
    gate = still.hold()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session.auth_headers)
        await gate.wait_for(1)
        watch.check_live_objects("during a renewal")
        gate.release()


async def test_a_pool_shows_no_token(still: FakeWix, client_id: str, watch: Watch) -> None:
    """A pool and its parts show no token."""
    async with VisitorPool(client_id, client=still.client(), clock=still.now) as pool:
        session = await pool.session("k")
        await session.get(CART)
        watch.check(f"{pool!r} {session!r} {vars(pool)!r}", "a repr")
        watch.check_live_objects("a pool")


# What goes wrong at the token endpoint


def _echo(refresh: str, access: str) -> dict[str, tuple[int, Any]]:
    grant = {"access_token": access, "refresh_token": refresh, "expires_in": 14400}
    long = {"message": "x" * 480 + refresh}
    return {
        "503 text": (503, f"no: {refresh}"),
        "503 HTML": (503, f"<html>{refresh}</html>"),
        "503 JSON": (503, {"message": f"bad {refresh}", "details": {"token": refresh, access: access}}),
        "503 cut in the middle": (503, long),
        "503 cut at the start": (503, {"message": "x" * 985 + refresh}),
        "400 HTML": (400, f"<html>{access}</html>"),
        "400 client": (400, {"error": "invalid_client", "error_description": f"{refresh} {access}"}),
        "401 list": (401, json.dumps([refresh, access]).encode()),
        "200 HTML": (200, f"<html>{access}</html>"),
        "200 list": (200, json.dumps([grant]).encode()),
        "200 cut off": (200, json.dumps(grant).encode()[:-20]),
        "200 without access token": (200, {"refresh_token": refresh}),
        "200 access token with a blank": (200, {**grant, "access_token": f"{access} {access}"}),
        "200 refresh token a list": (200, {**grant, "refresh_token": [refresh]}),
        "200 in another field": (200, {"tokens": grant}),
        "302": (302, f"{refresh}"),
        "429": (429, {"error": refresh}),
    }


@pytest.mark.parametrize("case", _echo("r", "a"))
@pytest.mark.parametrize("grant", ["refresh_token", "anonymous"])
async def test_an_endpoint_that_echoes_tokens_shows_none(
    still: FakeWix, session_of: SessionMaker, watch: Watch, visitor: Tokens, member: Tokens, case: str, grant: str
) -> None:
    """Whatever answer holds tokens, the error and the log do not, neither in texts nor in our frames' locals."""
    session = session_of(tokens=visitor if grant == "refresh_token" else None)
    still.advance(LIFETIME + 1)
    status, body = _echo(visitor.refresh_token.value, member.access_token.value)[case]
    still.fail(status, body=body, headers={"x-wix-request-id": visitor.refresh_token.value}, times=None)
    watch.check_exception(await failure_of(session.auth_headers), case)
    watch.check_exception(await failure_of(session.auth_headers), f"{case}, the pause")
    watch.check_exception(await failure_of(session.renew_token), f"{case}, renew_token")
    if grant == "refresh_token":
        watch.check_exception(await failure_of(lambda: session.renew_token(member.refresh_token)), f"{case}, another")


@pytest.mark.parametrize("shape", ["oauth", "wix", "legacy"])
async def test_a_refusal_shows_no_token(
    still: FakeWix, session_of: SessionMaker, watch: Watch, member: Tokens, shape: Any
) -> None:
    """SessionExpired shows no token, although the refusal quotes it."""
    session = session_of(tokens=member)
    still.advance(LIFETIME + 1)
    quoted = member.refresh_token.value
    body = {
        "oauth": {"error": "invalid_grant", "error_description": quoted},
        "wix": {"message": quoted, "details": {"applicationError": {"code": quoted, "data": {"t": quoted}}}},
        "legacy": {"errorCode": -1, "errorDescription": f"{quoted} - invalid_token"},
    }[shape]
    still.fail(400, body=body, times=None)
    watch.check_exception(await failure_of(session.auth_headers), shape)
    watch.check_exception(await failure_of(lambda: session.renew_token(RefreshToken(quoted, TokenRole.MEMBER))), shape)


@pytest.mark.parametrize("door", ["in process", "loopback"])
@pytest.mark.parametrize("trouble", ["hang", "drop", "truncate", "refused"])
async def test_a_broken_connection_shows_no_token(
    still: FakeWix, session_of: SessionMaker, watch: Watch, visitor: Tokens, family: Any, door: str, trouble: str
) -> None:
    """Timeouts and broken connections show no token, on either library."""
    still.advance(LIFETIME + 1)
    if trouble == "truncate":
        still.truncate(700, times=None)
    elif trouble != "refused":
        getattr(still, trouble)(times=None)

    async def live(client: Any, url: str) -> None:
        session = session_of(tokens=visitor, client=client, base_url=url, renew_timeout=0.05)
        watch.check_exception(await failure_of(session.auth_headers), trouble)
        watch.check_exception(await failure_of(lambda: session.get(CART)), trouble)
        await session.aclose()

    if trouble == "refused":
        async with family.AsyncClient() as client:
            await live(client, "http://127.0.0.1:1")
    elif door == "in process":
        await live(still.client(family), "https://www.wixapis.com")
    else:
        async with still.serve() as url, family.AsyncClient() as client:
            await live(client, url)


async def test_a_transport_that_quotes_the_request_shows_no_token(
    session_of: SessionMaker, watch: Watch, visitor: Tokens, still: FakeWix
) -> None:
    """An exception of the caller's transport that carries the request's body in text and arguments is masked."""

    def broken(request: httpx.Request) -> httpx.Response:
        raise RuntimeError(f"could not send {request.content!r}", request.content) from ValueError(request.content)

    async with httpx.AsyncClient(transport=httpx.MockTransport(broken)) as client:
        session = session_of(client=client, tokens=visitor)
        still.advance(LIFETIME + 1)
        watch.check_exception(await failure_of(session.auth_headers), "a quoting transport")


async def test_a_judge_of_refusals_that_raises_shows_no_token(
    still: FakeWix, session_of: SessionMaker, watch: Watch, visitor: Tokens
) -> None:
    """What a user's `judge_refusal` raises with the answer in it, and the answer's repr, show no token."""

    def judge(answer: Any) -> Literal["never"]:
        raise LookupError(f"{answer} {answer!r} {answer.text}")

    session = session_of(tokens=visitor, judge_refusal=judge)
    still.advance(LIFETIME + 1)
    still.fail(400, body={"error": visitor.refresh_token.value}, times=None)
    watch.check_exception(await failure_of(session.auth_headers), "judge_refusal")


async def test_a_judge_of_refusals_that_quotes_the_answer_shows_no_token(
    still: FakeWix, session_of: SessionMaker, watch: Watch, visitor: Tokens
) -> None:
    """What a user's `judge_refusal` raises with the answer's JSON in it is logged and raised with its tokens masked."""

    def judge(answer: Any) -> Literal["never"]:
        raise LookupError(f"no error code in {answer.json}")

    session = session_of(tokens=visitor, judge_refusal=judge)
    still.advance(LIFETIME + 1)
    still.fail(400, body={"message": f"{visitor.refresh_token.value} {visitor.access_token.value}"}, times=None)
    watch.check_exception(await failure_of(session.auth_headers), "judge_refusal")
    [logged] = [record.getMessage() for record in watch.records if "in an unexpected way" in record.getMessage()]
    assert "LookupError: no error code in {'message': '[token] [token]'}" in logged


# What goes wrong in the store


class Quoting(MemoryStorage):
    """A store whose exceptions quote what it was given."""

    def __init__(self, kind: type[Exception], verb: str) -> None:
        super().__init__()
        self.kind, self.verb = kind, verb

    async def load(self, key: str) -> Record | None:
        record = await super().load(key)
        if self.verb == "load":
            raise self.kind(f"cannot read {record.value if record else None}")
        return record

    async def save(self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION) -> str:
        if self.verb == "save":
            raise self.kind(f"cannot write {value}")
        return await super().save(key, value, expected=expected)


@pytest.mark.parametrize("kind", [OSError, ValueError, StorageError, RuntimeError, TimeoutError, KeyError])
@pytest.mark.parametrize("verb", ["load", "save"])
async def test_a_store_that_quotes_its_record_shows_no_token(
    still: FakeWix, session_of: SessionMaker, watch: Watch, visitor: Tokens, kind: type[Exception], verb: str
) -> None:
    """A store's failure that quotes the record is a StorageError without it, in texts, causes and locals."""
    storage = Quoting(kind, "")
    await session_of(storage=storage, tokens=visitor).auth_headers()
    storage.verb = verb
    for tokens in (None, visitor):
        session = session_of(storage=storage, tokens=tokens)
        still.refuse_refresh_token(visitor.refresh_token.value)
        still.advance(LIFETIME + 1)
        watch.check_exception(await failure_of(session.auth_headers), f"{verb} {kind.__name__}")
    if verb == "save":
        watch.check_exception(await failure_of(lambda: session_of(storage=storage).set_tokens(visitor)), "set_tokens")


async def test_a_store_that_fails_plainly_shows_no_token(
    still: FakeWix, session_of: SessionMaker, watch: Watch, visitor: Tokens
) -> None:
    """A store's failure without any token in it does not make our own frames' locals show one."""
    full = TroubledStorage(save=OSError("disk full"))
    session = session_of(storage=full, tokens=visitor)
    watch.check_exception(await failure_of(session.auth_headers), "disk full")
    watch.check_exception(await failure_of(lambda: session.set_tokens(visitor)), "disk full, set_tokens")
    cold = session_of(storage=full)
    watch.check_exception(await failure_of(cold.auth_headers), "disk full, a first mint")


@pytest.mark.parametrize(
    "damage", ["format", "client", "role", "cut", "expiry", "no record", "a list", "other program"]
)
async def test_a_damaged_record_shows_no_token(
    session_of: SessionMaker, watch: Watch, visitor: Tokens, client_id: str, damage: str
) -> None:
    """A record that cannot be read, but holds tokens, shows none."""
    content: dict[str, Any] = {"format": 1, "clientId": client_id, **visitor.to_dict()}
    if damage == "format":
        content["format"] = visitor.refresh_token.value
    elif damage == "client":
        content["clientId"] = visitor.refresh_token.value
    elif damage == "role":
        content["refreshToken"]["role"] = visitor.refresh_token.value
    elif damage == "expiry":
        content["accessToken"]["expiresAt"] = visitor.refresh_token.value
    elif damage == "no record":
        del content["format"]
    text = json.dumps([content] if damage == "a list" else content)

    class Holding(MemoryStorage):
        async def load(self, key: str) -> Any:
            return Record(text[:-30] if damage == "cut" else text, "1") if damage != "other program" else text.encode()

    watch.check_exception(await failure_of(session_of(storage=Holding()).auth_headers), damage)
    watch.check_exception(await failure_of(session_of(storage=Holding()).__aenter__), damage)


@pytest.mark.parametrize(
    "damage", ["cut", "foreign", "format", "key", "fields", *(["mode"] if sys.platform != "win32" else [])]
)
async def test_a_damaged_file_shows_no_token(
    session_of: SessionMaker, watch: Watch, visitor: Tokens, tmp_path: Path, damage: str
) -> None:
    """A token file that is cut off, foreign or readable by others shows no token."""
    place = tmp_path / "visitor.json"
    await session_of(storage=FileStorage(place)).set_tokens(visitor)
    content = json.loads(place.read_text("utf-8"))
    text = {
        "cut": place.read_text("utf-8")[:-9],
        "foreign": visitor.to_json(),
        "format": json.dumps({**content, "wixvisitor": visitor.refresh_token.value}),
        "key": json.dumps({**content, "key": visitor.refresh_token.value}),
        "fields": json.dumps({**content, "version": [visitor.refresh_token.value]}),
        "mode": place.read_text("utf-8"),
    }[damage]
    place.write_text(text, "utf-8")
    place.chmod(0o644 if damage == "mode" else 0o600)
    session = session_of(storage=FileStorage(place))
    watch.check_exception(await failure_of(session.auth_headers), damage)
    if damage != "mode":
        watch.check_exception(await failure_of(lambda: session.set_tokens(visitor)), f"{damage}, set_tokens")


# What the application does wrong


@pytest.mark.parametrize(
    "mistake",
    [
        lambda token: Tokens.from_json(f'{{"accessToken": "{token}"'),
        lambda token: Tokens.from_json(f'"{token}"'),
        Tokens.from_dict,
        lambda token: Tokens.from_dict({"access_token": token}),
        lambda token: Tokens.from_dict({token: token}),
        lambda token: Tokens.from_dict({"accessToken": token}),
        lambda token: Tokens.from_dict({"accessToken": {"value": [token], "expiresAt": 1}}),
        lambda token: Tokens.from_dict({"accessToken": {"value": token, "expiresAt": token}}),
        lambda token: Tokens.from_dict({"refreshToken": {"value": token, "role": token}}),
        lambda token: VisitorSession(token + " "),
        lambda token: VisitorSession(CLIENT_ID, tokens=token),
        lambda token: VisitorSession(
            "x", tokens=Tokens(AccessToken(token + "\n", 1), RefreshToken("", TokenRole.NONE))
        ),
        lambda token: VisitorSession(
            CLIENT_ID, tokens=Tokens(AccessToken("", 1), RefreshToken(token + " ", TokenRole.NONE))
        ),
        lambda token: VisitorSession(CLIENT_ID, key=[token]),
        lambda token: VisitorSession(CLIENT_ID, on_refused=token),
        lambda token: VisitorSession(CLIENT_ID, base_url=token),
        lambda token: VisitorSession(CLIENT_ID, base_url=f"https://x.example/?token={token}"),
        lambda token: VisitorSession(CLIENT_ID, storage=token),
        lambda token: VisitorSession(CLIENT_ID, client=token),
    ],
)
async def test_a_mistake_shows_no_token(visitor: Tokens, watch: Watch, mistake: Callable[[str], Any]) -> None:
    """An argument that is wrong is not quoted where it may be a token."""
    for token in (visitor.access_token.value, visitor.refresh_token.value):
        try:
            mistake(token)
        except Exception as error:
            # The caller's own frame holds the token; what is printed, and ours, must not.
            watch.check("".join(traceback.format_exception(error)).replace("lambda token", ""), "a mistake")
            for link in chain(error):
                watch.check(f"{link!r} {link.args!r}", "a mistake")
        else:
            raise AssertionError("no mistake?")


async def test_wrong_calls_show_no_token(session_of: SessionMaker, watch: Watch, visitor: Tokens) -> None:
    """set_tokens, generate_visitor_tokens and renew_token do not quote what they refuse."""
    session = session_of(tokens=visitor)
    for wrong in (visitor.to_dict(), visitor.to_json(), visitor.refresh_token.value):
        for call in (session.set_tokens, session.generate_visitor_tokens, session.renew_token):
            error = await failure_of(lambda call=call, wrong=wrong: call(wrong))
            watch.check("".join(traceback.format_exception(error)), call.__name__)


async def test_an_api_that_echoes_tokens_shows_none(
    still: FakeWix, session_of: SessionMaker, watch: Watch, visitor: Tokens, family: Any
) -> None:
    """raise_for_error masks tokens in every shape of an API's answer."""
    session = session_of(family, tokens=visitor)
    token = visitor.access_token.value
    bodies: list[Any] = [
        f"<html>{token}</html>",
        token,
        {
            "message": token,
            "details": {"applicationError": {"code": token, "description": token, "data": {token: token}}},
        },
        {"message": "x", "details": {"validationError": {"fieldViolations": [{"field": token, "description": token}]}}},
        {"errorCode": token, "errorDescription": token},
        {"error": token, "error_description": token},
        {"error": {"code": token, "message": [token]}},
    ]
    for body in bodies:
        still.fail(400, path="/x", body=body, headers={"x-wix-request-id": token})
        response = await session.get("/x")
        with pytest.raises(wixvisitor.WixAPIError) as caught:
            raise_for_error(response)
        watch.check_exception(caught.value, "raise_for_error")
    still.fail(400, path="/graphql/alpha", body={"message": token})
    watch.check_exception(await failure_of(lambda: session.graphql("{ x }")), "graphql")


async def test_an_on_change_that_raises_shows_no_token(still: FakeWix, session_of: SessionMaker, watch: Watch) -> None:
    """The log of an on_change that raises holds the event, which has no token."""

    def bad(event: Any) -> None:
        raise LookupError(repr(event), str(event))

    await session_of(on_change=bad).auth_headers()
    assert any(record.exc_info for record in watch.records)


async def test_a_failure_of_a_request_shows_no_token_of_ours(
    still: FakeWix, session_of: SessionMaker, watch: Watch, visitor: Tokens, family: Any
) -> None:
    """An API request that times out or breaks, streamed or not: our frames' locals show no token."""
    session = session_of(family, tokens=visitor)
    await session.auth_headers()

    async def streamed() -> None:
        async with session.stream("GET", CART):
            pass

    for call in (lambda: session.get(CART, headers={"X-A": "1"}), streamed, lambda: session.post(CART, json={})):
        fault = still.drop(path=CART, times=None)  # aiohttp asks twice
        watch.check_exception(await failure_of(call), "an API request")
        fault.remove()
