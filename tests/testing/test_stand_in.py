"""A served FakeWix with its page: who may ask, what it tells, faults and time by HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint

from tests.commands import SECRET
from tests.constants import CART, CLIENT_ID, EPOCH
from wixvisitor.testing import FakeWix, Product
from wixvisitor.testing._stand_in.app import with_page
from wixvisitor.testing._stand_in.clock import Clock
from wixvisitor.testing._stand_in.fault_verbs import fault_of
from wixvisitor.testing._stand_in.guard import MAX_BODY

pytestmark = pytest.mark.anyio

HERE = "http://localhost:8900"
ANONYMOUS = {"clientId": CLIENT_ID, "grantType": "anonymous"}
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # the server has an event loop of its own; `test_fake_doors` has both for the callers


@pytest.fixture
def fake() -> FakeWix:
    return FakeWix(clock=Clock(real=lambda: EPOCH, ticks=lambda: 0.0))


@pytest.fixture
async def page(fake: FakeWix, anyio_backend: str) -> AsyncGenerator[httpx.AsyncClient]:
    app = with_page(fake, hosts=["shop.test"], origins=["https://front.example"])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HERE) as client:
        yield client


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(
            (name, 200)
            for name in ("localhost:8900", "127.0.0.1:8900", "[::1]:1", "192.168.1.7", "a.localhost", "SHOP.test")
        ),
        *(
            (name, 421)
            for name in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8900", "", "[::1")
        ),
    ],
)
@pytest.mark.parametrize("path", ["/", "/_fake/state"])
async def test_only_our_own_names(page: httpx.AsyncClient, path: str, host: str, status: int) -> None:
    """It answers to IP addresses, localhost and the names that were allowed, so that DNS rebinding fails."""
    assert (await page.get(path, headers={"host": host})).status_code == status


async def test_the_api_has_the_same_names(page: httpx.AsyncClient, fake: FakeWix) -> None:
    """A call to the API under another name makes no visitor."""
    answer = await page.post("/oauth2/token", json=ANONYMOUS, headers={"host": "evil.example"})
    assert (answer.status_code, fake.visitors) == (421, {})


@pytest.mark.parametrize(
    ("headers", "is_own"),
    [
        ({}, True),  # curl
        ({"origin": HERE, "sec-fetch-site": "same-origin"}, True),
        ({"origin": HERE}, True),  # a browser without Fetch Metadata
        ({"origin": "http://localhost:3000", "sec-fetch-site": "same-site"}, False),
        ({"origin": "http://127.0.0.1:8900"}, False),
        ({"origin": "http://evil.example", "sec-fetch-site": "cross-site"}, False),
        ({"origin": "https://front.example"}, False),  # it may call the API, and nothing else
        ({"origin": "null"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
    ],
)
async def test_only_our_own_page(
    page: httpx.AsyncClient, fake: FakeWix, headers: dict[str, str], *, is_own: bool
) -> None:
    """Controls and state are for the page itself and for programs, not for pages of other origins."""
    asked = [
        await page.post("/_fake/clock", json={"advance": 60}, headers=headers),
        await page.get("/_fake/state", headers=headers),
    ]
    assert [answer.status_code for answer in asked] == [200 if is_own else 403] * 2
    assert fake.now() == EPOCH + (60 if is_own else 0)
    assert {answer.headers.get("access-control-allow-origin") for answer in asked} == {None}


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:3000", True),
        ("http://127.0.0.1:5173", True),
        ("https://front.example", True),
        ("https://front.example.evil", False),
        ("http://evil.example", False),
        ("http://localhost.evil", False),
    ],
)
async def test_front_ends_may_call_the_api(page: httpx.AsyncClient, origin: str, *, allowed: bool) -> None:
    """A page of this machine, or of an origin that was allowed, may call the API from a browser."""
    preflight = await page.options("/oauth2/token", headers={"origin": origin, "access-control-request-method": "POST"})
    answer = await page.post("/oauth2/token", json=ANONYMOUS, headers={"origin": origin})
    told = {one.headers.get("access-control-allow-origin") for one in (preflight, answer)}
    assert told == ({origin} if allowed else {None})


async def test_the_page_runs_only_its_own_script(page: httpx.AsyncClient) -> None:
    """The page has a policy without inline script, cannot be framed, and needs no other host."""
    for path in ("/", "/_fake/page.css", "/_fake/page.js", "/_fake/icon.svg"):
        answer = await page.get(path, headers={"sec-fetch-site": "same-origin"})
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
    html, sheet = [(await page.get(path)).text for path in ("/", "/_fake/page.css")]
    assert re.search(r"""(src|href)="(?!/_fake/|#)|<style| style=| on[a-z]+=|<script>""", html) is None
    assert re.search(r"url\(|@import", sheet) is None


async def test_a_visit_from_elsewhere(page: httpx.AsyncClient) -> None:
    """A link on another site leads to the page; a picture or a script there does not get it."""
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    part = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert [(await page.get("/", headers=headers)).status_code for headers in (link, part)] == [200, 403]


async def test_a_body_that_is_too_large(page: httpx.AsyncClient, fake: FakeWix) -> None:
    """A body of more than 4 MiB is refused, whether or not its length was announced; one of 4 MiB is taken."""

    async def chunks() -> AsyncGenerator[bytes]:
        for _ in range(5):
            yield bytes(1024 * 1024)

    answers = [await page.post(CART, content=content) for content in (bytes(MAX_BODY + 1), chunks(), bytes(MAX_BODY))]
    assert [answer.status_code for answer in answers] == [413, 413, 401]
    assert len(fake.calls) == 1


FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("fail", {}),
    ("fail", {"status": 429, "headers": {"retry-after": "3"}, "body": {"message": "slow down"}, "times": None}),
    ("fail", {"body": "<h1>Bad gateway</h1>", "grant_type": "anonymous", "after": 2, "committed": True}),
    ("delay", {"seconds": 0.5, "path": None}),
    ("hang", {"path": "/ecom/*"}),
    ("drop", {"committed": True}),
    ("truncate", {"after_bytes": 10}),
    ("add_header", {"name": "x-robot", "value": "1"}),
    ("set_cookie", {"cookie": "a=b; Path=/", "times": 2}),
]


@pytest.mark.parametrize(("verb", "arguments"), FAULTS)
def test_faults_are_those_of_python(verb: str, arguments: dict[str, Any]) -> None:
    """A fault as JSON is the fault that the method with its name adds, with the same defaults."""
    positional = [
        arguments[name] for name in ("status", "seconds", "after_bytes", "name", "value", "cookie") if name in arguments
    ]
    named = {name: value for name, value in arguments.items() if value not in positional or name in ("times", "after")}
    python = getattr(FakeWix(), verb)(*positional, **named)
    ours = fault_of({"verb": verb, **arguments})
    fields = ("action", "path", "times", "grant_type", "after", "committed")
    assert [getattr(ours, name) for name in fields] == [getattr(python, name) for name in fields]


@pytest.mark.parametrize(
    ("wanted", "about"),
    [
        ({}, "verb"),
        ({"verb": "explode"}, "verb"),
        ({"verb": ["fail"]}, "verb"),
        ({"verb": "fail", "status": 99}, "status"),
        ({"verb": "fail", "status": True}, "status"),
        ({"verb": "fail", "seconds": 3}, "seconds"),
        ({"verb": "fail", "headers": {"x\r\ny": "1"}}, "headers"),
        ({"verb": "fail", "headers": {"content-length": "1"}}, "headers"),
        ({"verb": "fail", "body": [1]}, "body"),
        ({"verb": "fail", "body": "\ud800"}, "body"),
        ({"verb": "fail", "path": "/\ud800"}, "path"),
        ({"verb": "delay"}, "seconds"),
        ({"verb": "delay", "seconds": float("nan")}, "seconds"),
        ({"verb": "truncate", "after_bytes": 1.5}, "after_bytes"),
        ({"verb": "truncate", "after_bytes": 1, "committed": True}, "committed"),
        ({"verb": "set_cookie", "cookie": "a=b\r\nx: y"}, "cookie"),
        ({"verb": "add_header", "name": "Transfer-Encoding", "value": "x"}, "name"),
        ({"verb": "drop", "times": 0}, "times"),
        ({"verb": "drop", "after": -1}, "after"),
        ({"verb": "drop", "path": "ecom"}, "path"),
        ({"verb": "drop", "grant_type": "password"}, "grant_type"),
        ({"verb": "drop", "committed": 1}, "committed"),
    ],
)
async def test_no_fault(page: httpx.AsyncClient, fake: FakeWix, wanted: dict[str, Any], about: str) -> None:
    """What is no fault is a 400 that names the argument, and adds none."""
    answer = await page.post("/_fake/faults", content=json.dumps(wanted))
    assert answer.status_code == 400
    assert about in answer.json()["message"]
    assert fake._faults.active == []


async def test_a_fault_from_first_to_last(page: httpx.AsyncClient) -> None:
    """A fault is listed while it can affect a call, with its uses, and can be removed."""
    number = (await page.post("/_fake/faults", json={"verb": "fail", "times": 2})).json()["number"]
    await page.post("/_fake/faults", json={"verb": "drop"})
    assert (await page.post("/oauth2/token", json=ANONYMOUS)).status_code == 503
    first, second = (await page.get("/_fake/state")).json()["faults"]
    assert (first["number"], first["verb"], first["used"], second["used"]) == (number, "fail", 1, 0)
    assert (await page.delete(f"/_fake/faults/{number}")).status_code == 200
    assert (await page.delete(f"/_fake/faults/{number}")).status_code == 404
    assert [fault["verb"] for fault in (await page.get("/_fake/state")).json()["faults"]] == ["drop"]
    await page.delete("/_fake/faults")
    assert (await page.post("/oauth2/token", json=ANONYMOUS)).status_code == 200


async def test_removing_a_hold_lets_its_calls_pass(page: httpx.AsyncClient, until: Any) -> None:
    """Calls that a hold keeps go on when it is removed."""
    number = (await page.post("/_fake/faults", json={"verb": "hold"})).json()["number"]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: page.post("/oauth2/token", json=ANONYMOUS))
        with anyio.fail_after(5):
            while (await page.get("/_fake/state")).json()["faults"][0]["detail"] != "1 waiting":
                await checkpoint()
            await page.delete(f"/_fake/faults/{number}")
    state = (await page.get("/_fake/state")).json()
    assert (state["totals"]["mints"], state["faults"]) == (1, [])


async def test_at_most_a_hundred_faults(page: httpx.AsyncClient, fake: FakeWix) -> None:
    """A program that only adds faults is told so."""
    for _ in range(100):
        fake.drop()
    assert (await page.post("/_fake/faults", json={"verb": "drop"})).status_code == 409


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"advance": -1},
        {"advance": "1"},
        {"advance": 1e12},
        {"advance": 10**400},
        {"speed": -1},
        {"speed": 1e9},
        {"speed": True},
        {"tick": 1},
    ],
)
async def test_no_time(page: httpx.AsyncClient, fake: FakeWix, wanted: dict[str, Any]) -> None:
    """Time goes forward only, and not beyond the calendar."""
    assert (await page.post("/_fake/clock", json=wanted)).status_code == 400
    assert fake.now() == EPOCH


async def test_the_speed_of_a_tests_clock(still: FakeWix) -> None:
    """If a test owns the clock, it can be advanced, and has no speed."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(with_page(still)), base_url=HERE) as page:
        assert (await page.post("/_fake/clock", json={"speed": 2})).status_code == 409
        assert (await page.post("/_fake/clock", json={"advance": 5})).json() == {"now": EPOCH + 5, "speed": None}


async def test_tokens_end_by_the_fakes_clock(page: httpx.AsyncClient) -> None:
    """After four hours of the fake's clock the API rejects the token, and a renewal is the same visitor."""
    tokens = (await page.post("/oauth2/token", json=ANONYMOUS)).json()
    headers = {"authorization": tokens["access_token"]}
    assert (await page.get(CART, headers=headers)).status_code == 404
    await page.post("/_fake/clock", json={"advance": 4 * 3600})
    assert (await page.get(CART, headers=headers)).status_code == 401
    grant = {"clientId": CLIENT_ID, "grantType": "refresh_token", "refreshToken": tokens["refresh_token"]}
    assert (await page.post("/oauth2/token", json=grant)).status_code == 200
    totals = (await page.get("/_fake/state")).json()["totals"]
    assert (totals["visitors"], totals["mints"], totals["renewals"], totals["apiCalls"]) == (1, 1, 1, 2)


async def test_a_visitors_tokens_on_request(page: httpx.AsyncClient, fake: FakeWix) -> None:
    """The page rejects a visitor's access tokens, and refuses its refresh tokens in the shape that was asked for."""
    tokens = fake.mint_visitor(CLIENT_ID)
    (visitor,) = fake.visitors
    await page.post(f"/_fake/visitors/{visitor}/revoke_access_tokens")
    await page.post(f"/_fake/visitors/{visitor}/refuse_refresh_tokens", json={"shape": "wix", "status": 403})
    grant = {"grantType": "refresh_token", "refreshToken": tokens["refresh_token"]}
    refused = await page.post("/oauth2/token", json=grant)
    assert (refused.status_code, "details" in refused.json()) == (403, True)
    assert (await page.get(CART, headers={"authorization": tokens["access_token"]})).status_code == 401
    assert (await page.post("/_fake/visitors/nobody/revoke_access_tokens")).status_code == 404
    wrong = await page.post(f"/_fake/visitors/{visitor}/refuse_refresh_tokens", json={"shape": "round"})
    assert wrong.status_code == 400


async def test_the_state_holds_no_token() -> None:
    """Tokens are shown by their last letters only, wherever a client has put one, and hostile texts stay texts."""
    mug = Product("11111111-1111-4111-8111-111111111111", name=f"{HOSTILE} JWS.{'a' * 50}", price="1")
    fake = FakeWix(products=[mug])
    tokens = fake.mint_visitor(CLIENT_ID)
    access, refresh = tokens["access_token"], tokens["refresh_token"]
    headers = {"authorization": access, "user-agent": f"{HOSTILE} {refresh}", "x-token": access}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(with_page(fake)), base_url=HERE) as page:
        await page.get(f"/{refresh}", headers=headers)
        await page.get(f"/{HOSTILE}?token={access}", headers=headers)
        await page.post("/oauth2/token", json={"grantType": "refresh_token", "refreshToken": refresh})
        item = {
            "quantity": 1,
            "catalogReference": {"appId": "215238eb-22a5-4c36-9e7b-e7c08025e04e", "catalogItemId": mug.id},
        }
        added = await page.post(f"{CART}/add-line-items", json={"catalogItems": [item]}, headers=headers)
        assert added.status_code == 200
        state = await page.get("/_fake/state")
    assert SECRET.search(state.text) is None
    assert state.headers["content-type"] == "application/json"
    (visitor,) = state.json()["visitors"]
    assert refresh.endswith(visitor["refreshToken"]["end"])
    assert visitor["cart"]["lines"][0]["name"].startswith(HOSTILE)


async def test_the_page_is_told_of_changes(fake: FakeWix) -> None:
    """An open page gets the whole state at first, then the sections that change; the server ends in spite of it."""
    async with httpx.AsyncClient() as client:
        with anyio.fail_after(10):
            async with fake.serve(page=True) as url, client.stream("GET", f"{url}/_fake/events") as events:
                assert events.headers["content-type"].startswith("text/event-stream")
                lines = (json.loads(line[6:]) async for line in events.aiter_lines() if line.startswith("data: "))
                assert set(await anext(lines)) == {"clock", "totals", "faults", "visitors", "calls", "mail"}
                fake.drop()
                assert set(await anext(lines)) == {"clock", "faults"}
                fake.advance(3600)
                assert (await anext(lines))["clock"]["now"] == EPOCH + 3600
                fake.mint_visitor(CLIENT_ID)
                assert set(await anext(lines)) == {"clock", "totals", "visitors"}
