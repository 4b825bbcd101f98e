"""The doctor: broken sites, networks and machines, and whether it names the cause."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import trustme

from tests.constants import CART, OTHER_CLIENT_ID
from tests.raw_server import raw_server
from tests.stores import TroubledStorage
from wixvisitor import ConfigurationError, Diagnosis, Finding, Tokens, VisitorSession, diagnose, raise_for_error
from wixvisitor._wire.diagnosis import network_finding
from wixvisitor.testing import FakeWix

pytestmark = pytest.mark.anyio

STORES_APP = "215238eb-22a5-4c36-9e7b-e7c08025e04e"
REDIRECT = "https://shop.example/auth/callback"
NOT_INSTALLED = {"message": "", "details": {"applicationError": {"code": "APP_NOT_INSTALLED", "description": "no app"}}}
IS_V3 = {"message": "", "details": {"applicationError": {"code": "CATALOG_V3_CALLING_CATALOG_V1_API"}}}
ANSWERS: dict[str, tuple[int, Any]] = {
    "/stores/v1/products/query": (428, IS_V3),
    "/events/v3/events/query": (200, {"events": []}),
    "/bookings/v2/services/query": (428, NOT_INSTALLED),
    "/blog/v3/posts": (401, {}),
    "/pricing-plans/v3/plans/query": (403, {"message": "no permission"}),
    "/form-schema-service/v4/forms/query": (429, {}),
    "/members/v1/members/query": (500, {}),
}

Sessions = Callable[..., VisitorSession]


@pytest.fixture
def session(still: FakeWix, session_of: Sessions) -> VisitorSession:
    """A session of a site with some apps."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] not in ANSWERS:
            await still.app(scope, receive, send)
            return
        status, body = ANSWERS[scope["path"]]
        headers = [(b"content-type", b"application/json"), (b"x-wix-request-id", b"request-1")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})

    return session_of(client=httpx.AsyncClient(transport=httpx.ASGITransport(app)))


def rows(found: Diagnosis) -> dict[str, Finding]:
    return {finding.check: finding for finding in found.findings}


def problem(found: Diagnosis) -> Finding:
    """The one problem."""
    [finding] = [finding for finding in found.findings if finding.state == "problem"]
    assert finding.advice or finding.check == "environment"
    assert not found.is_healthy
    return finding


async def test_each_app(session: VisitorSession) -> None:
    """Each app's answer is said in words, with Wix's own and its request id; nothing else is a problem."""
    found = await diagnose(session)
    row = rows(found)
    assert row["stores"].text == "Wix Stores answers, with the catalogue V3"
    assert row["events"].state == "ok"
    assert "not installed (Wix: 428 APP_NOT_INSTALLED no app)" in row["bookings"].text
    assert "not installed" in row["blog"].text
    assert "may not read it" in row["pricing plans"].text
    assert "too many requests" in row["forms"].text
    assert problem(found).check == "members"
    assert row["members"].request_id == "request-1"
    assert [row[name].state for name in ("login", "checkout")] == ["skipped", "skipped"]


async def test_it_harms_nothing(session: VisitorSession, still: FakeWix) -> None:
    """It makes one visitor and no cart, in at most 15 calls; a second look goes on as the same visitor."""
    found = await diagnose(session, redirect_uri=REDIRECT)
    assert len(still.visitors) == 1
    assert len(still.calls) + len(ANSWERS) <= 15
    assert found.calls <= 15
    before = session.get_tokens()
    again = rows(await diagnose(session, redirect_uri=REDIRECT))
    assert "renewed the visitor" in again["token endpoint"].text
    assert session.get_tokens().refresh_token == before.refresh_token
    assert (again["login"].state, again["checkout"].text) == ("ok", "this visitor has no cart; none was made")
    assert (await session.get(CART)).status_code == 404


async def test_a_checkout_of_the_visitor_that_has_a_cart(session: VisitorSession, still: FakeWix) -> None:
    """With a cart, the checkout is tried; the cart stays as it is."""
    item = {"catalogItemId": still.products[0].id, "appId": STORES_APP}
    line = {"quantity": 2, "catalogReference": item}
    raise_for_error(await session.post(f"{CART}/add-line-items", json={"catalogItems": [line]}))
    cart = (await session.get(CART)).json()
    assert rows(await diagnose(session, redirect_uri=REDIRECT))["checkout"].state == "ok"
    assert (await session.get(CART)).json() == cart


async def test_progress_and_json(session: VisitorSession) -> None:
    """Each finding is told when it is known; the whole is plain data without tokens."""
    told: list[Finding] = []
    found = await diagnose(session, on_finding=told.append)
    assert tuple(told) == found.findings
    text = json.dumps(found.to_dict())
    tokens = session.get_tokens()
    assert tokens.access_token.value not in text
    assert tokens.refresh_token.value not in text


async def test_a_client_id_that_wix_does_not_know(session: VisitorSession, still: FakeWix) -> None:
    """It says where the client ID stands, and tries nothing else."""
    still.client_ids = frozenset({OTHER_CLIENT_ID})
    found = await diagnose(session)
    assert "does not know this client ID" in problem(found).text
    assert "dashboard" in problem(found).advice
    assert found.findings[-1].state == "skipped"


@pytest.mark.parametrize(
    ("status", "body", "cause", "advice"),
    [
        (429, {"message": "too many"}, "429", "Wait a minute"),
        (503, {}, "503", "Try again later"),
        (403, "<html>Access denied</html>", "403", "gateway, a firewall"),
    ],
    ids=["rate limit", "outage", "firewall"],
)
async def test_answers_in_wixs_place(
    session: VisitorSession, still: FakeWix, no_backoff: None, status: int, body: Any, cause: str, advice: str
) -> None:
    """What answered instead of tokens is named, with what to do."""
    still.fail(status, body=body, times=None)
    found = problem(await diagnose(session))
    assert (found.check, found.status_code) == ("token endpoint", status)
    assert cause in found.text
    assert advice in found.advice


async def test_a_refused_refresh_token(session_of: Sessions, still: FakeWix, visitor: Tokens) -> None:
    """A visitor that is never replaced, and that Wix does not know any more."""
    still.refuse_refresh_token(visitor.refresh_token.value)
    found = problem(await diagnose(session_of(tokens=visitor, on_refused="raise")))
    assert "Wix refused" in found.text
    assert "new visitor" in found.advice


@pytest.mark.parametrize("policy", ["raise", "auto"])
async def test_tokens_of_another_site(
    session_of: Sessions, still: FakeWix, tokens_from: Callable[..., Tokens], policy: Any
) -> None:
    """The store holds the visitor of another client ID: Wix refuses it, and the session's policy is carried out."""
    tokens = tokens_from(still.mint_visitor(OTHER_CLIENT_ID))
    found = rows(await diagnose(session_of(tokens=tokens, on_refused=policy)))["token endpoint"]
    assert found.state == {"raise": "problem", "auto": "note"}[policy]
    assert "Wix refused the visitor" in found.text
    assert len(still.visitors) == {"raise": 1, "auto": 2}[policy]


async def test_a_wrong_clock(session_of: Sessions, still: FakeWix) -> None:
    """The machine's clock is an hour behind Wix's."""
    found = problem(await diagnose(session_of(clock=lambda: still.now() - 3600)))
    assert (found.check, found.text) == ("clock", "this machine's clock is 3,600 s behind Wix's")


async def test_a_store_that_fails(session_of: Sessions) -> None:
    """A storage that cannot be read is named as the cause."""
    found = problem(await diagnose(session_of(storage=TroubledStorage(load=OSError("disk is gone")))))
    assert "disk is gone" in found.text
    assert "store" in found.advice


async def test_a_redirect_uri_that_is_not_listed(session: VisitorSession, still: FakeWix) -> None:
    """It says where redirect URIs are listed."""
    still.allowed_redirect_uris = frozenset({"https://other.example/"})
    found = rows(await diagnose(session, redirect_uri=REDIRECT))["login"]
    assert found.state == "problem"
    assert "allowed redirect URI" in found.advice


async def test_no_address_at_all(session: VisitorSession) -> None:
    """A redirect URI without a scheme is an error at once."""
    with pytest.raises(ConfigurationError, match="redirect_uri"):
        await diagnose(session, redirect_uri="shop.example")


# Networks


async def test_nothing_listens(client_id: str, no_backoff: None) -> None:
    """A wrong port."""
    async with VisitorSession(client_id, base_url="http://127.0.0.1:9") as session:
        assert problem(await diagnose(session)).text == "nothing listens there"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the server's
async def test_a_certificate_that_nothing_vouches_for(client_id: str, no_backoff: None) -> None:
    """A proxy that inspects TLS, whose authority the machine does not know."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with raw_server(context=context) as server, VisitorSession(client_id, base_url=server.url) as session:
        found = problem(await diagnose(session))
    assert found.text == "the certificate of the other side is not trusted"
    assert "SSL_CERT_FILE" in found.advice


async def test_a_proxy_that_is_away(client_id: str, monkeypatch: pytest.MonkeyPatch, no_backoff: None) -> None:
    """The proxy's variable is named, never its value, which may hold a password."""
    monkeypatch.setenv("HTTPS_PROXY", "http://anna:secret@127.0.0.1:9")
    async with VisitorSession(client_id, base_url="https://wix.invalid") as session:
        found = await diagnose(session)
    assert "HTTPS_PROXY" in problem(found).advice
    assert "secret" not in repr(found)


async def test_a_proxy_variable_that_is_none(client_id: str, monkeypatch: pytest.MonkeyPatch, no_backoff: None) -> None:
    """A variable that no client can use is named before anything is asked."""
    monkeypatch.setenv("HTTPS_PROXY", "nonsense://127.0.0.1:9")
    async with VisitorSession(client_id) as session:
        found = await diagnose(session)
    assert [finding.state for finding in found.findings] == ["problem", "skipped"]
    assert "HTTPS_PROXY" in found.findings[0].text
    assert found.calls == 0


async def test_a_network_that_breaks_amid_it(still: FakeWix, session_of: Sessions, family: Any) -> None:
    """What cannot be reached after the token is a problem, whichever client it is; nothing is raised."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if not scope["path"].startswith("/oauth2/"):
            raise family.ConnectError("the network is down")
        await still.app(scope, receive, send)

    client = family.AsyncClient(transport=family.ASGITransport(app))
    row = rows(await diagnose(session_of(client=client), redirect_uri=REDIRECT))
    assert row["token"].state == "ok"
    assert (row["stores"].state, row["stores"].is_unreachable, row["stores"].status_code) == ("problem", True, None)
    assert "the network is down" in row["stores"].text
    assert row["login"].state == row["checkout"].state == "problem"


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, "<html>Welcome to our hotel</html>", "A gateway, a firewall, a login page of this network"),
        (302, "", "A gateway"),
        (407, "", "The proxy wants a user and a password"),
        (404, "<html>", "or the base URL is not Wix's"),
    ],
    ids=["captive portal", "redirect", "proxy login", "another server"],
)
async def test_what_answers_in_wixs_place(
    session: VisitorSession, still: FakeWix, no_backoff: None, status: int, body: str, words: str
) -> None:
    """An answer that is none of Wix's is said to be one of something on the way."""
    still.fail(status, body=body, times=None)
    assert words in problem(await diagnose(session)).advice


async def test_pages_in_place_of_apis(session: VisitorSession, still: FakeWix) -> None:
    """HTML with 200 is no answer of an app, and an outage is no redirect URI that is not listed."""
    still.fail(200, body="<html>Welcome</html>", path="/stores/*", times=None)
    still.fail(503, path="/_api/redirects-api/*", times=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(ANSWERS, "/stores/v1/products/query")
        found = rows(await diagnose(session, redirect_uri=REDIRECT))
    assert "something answers in Wix's place" in found["stores"].text
    assert found["login"].state == "problem"
    assert found["login"].advice == "Try again later"


async def test_wrong_arguments() -> None:
    """A blocking session, or none, is told what to do."""
    with pytest.raises(ConfigurationError, match=r"visitor\.call\(diagnose\)"):
        await diagnose(None)  # type: ignore[arg-type] # the point


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "the other side speaks no TLS"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate has expired", "the certificate is not valid at this machine's"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] Hostname mismatch", "the certificate is for another name"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed", "the certificate of the other side is not trusted"),
        ("[Errno -2] Name or service not known", "the host's name cannot be resolved"),
        ("The token endpoint gave no answer within 15 s", "there was no answer in time"),
        ("something else", "it could not be reached (something else)"),
    ],
)
async def test_causes(text: str, cause: str) -> None:
    """Each failure of the network has its own cause and advice; a proxy is named."""
    found = network_finding([("ConnectError", text)], ["HTTPS_PROXY"])
    assert found.text.startswith(cause)
    assert found.advice
    assert found.is_unreachable
