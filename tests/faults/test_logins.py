"""Faults at each step of a login, a logout and a checkout: real sockets, and processes that are killed.

A login that fails changes nothing, and after the fault the next one succeeds: one visitor, one cart. Faults of the
web routes are in ``tests/web/test_logins_on_fake.py``, all others at random moments in ``tests/simulation``.
"""

from __future__ import annotations

import multiprocessing
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import attrs
import httpx
import pytest

from tests.constants import CART, CLIENT_ID
from tests.faults.conftest import Told
from tests.faults.login_process import CALLBACK, HOME, MUGS, Shop, live
from wixvisitor import TokenRole, VisitorPool, VisitorSession, WixVisitorError
from wixvisitor._wire import members as wire
from wixvisitor.members import LoginOutcome
from wixvisitor.storage import MemoryStorage
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

EMAIL, PASSWORD, API_KEY = "anna@example.com", "correct horse battery", "IST.the-api-key"
TOKEN, PAGE = "/oauth2/token", "/_hosted/login"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # httpx loads certificates for each client otherwise
HTML = "<html>We will be right back</html>"

Flow = Callable[[VisitorSession], Awaitable[object]]


async def hosted(session: VisitorSession) -> None:
    """A login on Wix's page."""
    login = await session.members.start_login(CALLBACK, idp="google")
    assert login.previous == session.get_tokens()
    form = {"session": parse_qs(urlsplit(login.url).query)["session"][0], "action": "idp", "email": EMAIL}
    async with httpx.AsyncClient(timeout=0.5, verify=NO_TLS) as browser:
        answer = await browser.post(login.url.partition("?")[0], data=form)
    await session.members.finish_login(login, answer.headers.get("location", CALLBACK))


async def password(session: VisitorSession) -> None:
    """A login with the shop's own form."""
    outcome = await session.members.login(EMAIL, PASSWORD)
    await session.members.complete(LoginOutcome.from_json(outcome.to_json()))


async def external(session: VisitorSession) -> None:
    """A login by the shop's own identity provider."""
    await session.members.login_external(email=EMAIL, api_key=API_KEY)


async def checkout(session: VisitorSession) -> None:
    """The address of the checkout."""
    url = await session.checkout.url(return_to=HOME)
    async with httpx.AsyncClient(timeout=0.5, verify=NO_TLS) as browser:
        assert "mug" in (await browser.get(url)).text.lower()


async def logout(session: VisitorSession) -> None:
    """A logout."""
    await session.members.logout(HOME)


REDIRECT = {"path": wire.REDIRECT_PATH}
CODE = {"path": TOKEN, "grant_type": "authorization_code"}
STEPS: dict[Flow, tuple[dict[str, str], ...]] = {
    hosted: (REDIRECT, {"path": PAGE}, CODE),
    password: ({"path": wire.LOGIN_PATH}, REDIRECT, {"path": PAGE}, CODE),
    external: ({"path": wire.SIGN_ON_PATH}, {"path": TOKEN, "grant_type": "authorized_client"}),
    checkout: ({"path": CART}, REDIRECT),
    logout: (REDIRECT,),
}
FAULTS: dict[str, Callable[..., Any]] = {
    **{
        f"{status} {body!r}": lambda fake, status=status, body=body, **step: fake.fail(status, body=body, **step)
        for status, body in (
            *((429, None), (500, {"message": "boom"}), (503, HTML), (404, HTML), (408, None), (302, None)),
            *((400, {"error": "invalid_grant"}), (401, {"message": "no"}), (403, HTML), (400, "{}")),
            *((200, HTML), (200, {}), (200, []), (200, None), (200, {"access_token": 1, "state": "?"})),
        )
    },
    "429, in a minute": lambda fake, **step: fake.fail(429, headers={"Retry-After": "60"}, **step),
    "the answer is lost": lambda fake, **step: fake.drop(committed=True, **step),
    "the answer is an error": lambda fake, **step: fake.fail(502, body=HTML, committed=True, **step),
    "the connection breaks": lambda fake, **step: fake.drop(**step),
    "the answer is cut off": lambda fake, **step: fake.truncate(20, **step),
    "no answer": lambda fake, **step: fake.hang(**step),
    "no answer any more": lambda fake, **step: fake.hang(committed=True, **step),
    "the answer is late": lambda fake, **step: fake.delay(0.1, **step),
}


@attrs.frozen
class Case:
    """A shopper with two mugs in the cart.

    Attributes:
        visitor: the access token at first, for a look into that cart.
    """

    session: VisitorSession
    storage: MemoryStorage
    visitor: str
    fake: FakeWix

    async def check(self, *, is_member: bool) -> None:
        """Fails unless the shopper is who it should be, here and in the store, with the same cart."""
        tokens = self.session.get_tokens()
        role = TokenRole.MEMBER if is_member else TokenRole.VISITOR
        assert tokens.refresh_token.role is role
        record = await self.storage.load(f"{CLIENT_ID}:{self.session.key}")
        assert record is not None
        assert tokens.refresh_token.value in record.value
        answer = await self.session.get(CART)
        assert len(answer.json()["cart"]["lineItems"]) == 1
        issued = self.fake._visitors.access_tokens
        assert issued[tokens.access_token.value].visitor is issued[self.visitor].visitor
        assert (issued[tokens.access_token.value].member_id is not None) is is_member


@asynccontextmanager
async def cases(fake: FakeWix) -> AsyncIterator[Callable[[str], Awaitable[Case]]]:
    """Makes shoppers, each of a pool of its own: what one of them meets pauses no other."""
    fake.add_member(EMAIL, PASSWORD)
    async with fake.serve() as url, httpx.AsyncClient(timeout=0.5, verify=NO_TLS) as client:

        async def new(key: str) -> Case:
            storage = MemoryStorage()
            pool = VisitorPool(CLIENT_ID, storage=storage, client=client, base_url=url, renew_timeout=0.5)
            session = await pool.session(key)
            assert (await session.post(f"{CART}/add-line-items", json=MUGS)).is_success
            return Case(session, storage, session.get_tokens().access_token.value, fake)

        yield new


async def ends(flow: Flow, session: VisitorSession) -> str:
    """How it ended: ``""`` for well, else with which error of ours or the client's."""
    try:
        with anyio.fail_after(5):
            await flow(session)
    except (WixVisitorError, httpx.HTTPError) as error:
        return repr(error)
    return ""


async def recovers(flow: Flow, session: VisitorSession) -> str:
    """How it ends when the fault is over, at the latest after the pause of a second that one failure costs."""
    error = ""
    for _ in range(15):
        error = await ends(flow, session)
        if not error:
            break
        await anyio.sleep(0.1)
    return error


@pytest.mark.parametrize("flow", [hosted, password, external, checkout])
async def test_a_fault_changes_nothing(flow: Flow) -> None:
    """Whatever goes wrong at whatever step, the shopper is the same with the same cart, and the next try succeeds."""
    fake, number, wrong = FakeWix(), 0, []
    async with cases(fake) as new:
        for step in STEPS[flow]:
            for name, begin in FAULTS.items():
                number += 1
                case = await new(f"shopper {number}")
                fault = begin(fake, **step)
                error = await ends(flow, case.session)
                fault.remove()
                is_member = not error and flow is not checkout
                await case.check(is_member=is_member)
                if error and name != "429, in a minute" and (again := await recovers(flow, case.session)):
                    wrong.append((step, name, error, again))
                    continue
                if name != "429, in a minute":
                    await case.check(is_member=flow is not checkout)
    assert wrong == []
    assert len(fake._visitors.by_id) == number
    codes = [call.fields["code"] for call in fake.token_calls("authorization_code")]
    assert len(codes) == len(set(codes))  # a code works once, so it is sent once


async def test_a_fault_in_a_logout(until: Callable[..., Any]) -> None:
    """Whatever Wix says to a logout, or if its caller leaves, nobody is logged in; the next visitor is a new one."""
    fake = FakeWix()
    async with cases(fake) as new:
        for number, (name, begin) in enumerate({**FAULTS, "the caller leaves": FAULTS["no answer"]}.items()):
            case = await new(f"shopper {number}")
            await external(case.session)
            before = case.session.get_tokens()
            fault = begin(fake, **REDIRECT)
            with anyio.move_on_after(0.1 if name == "the caller leaves" else 5):
                await ends(logout, case.session)
            fault.remove()
            await until(lambda session=case.session: session.get_tokens().refresh_token.value == "")
            record = await case.storage.load(f"{CLIENT_ID}:{case.session.key}")
            assert record is None or before.refresh_token.value not in record.value
            assert (await case.session.get(CART)).status_code == 404
            assert not case.session.logged_in()
    assert len(fake._visitors.by_id) == 2 * (number + 1)


# Processes


Start = Callable[[], Awaitable[Told]]


@pytest.fixture(params=["sqlite", "file", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, Any]]:
    """What all processes of a test share."""
    if request.param == "redis":
        names = {"url_or_client": "redis_url", "prefix": "redis_prefix"}
        return "redis", {name: request.getfixturevalue(fixture) for name, fixture in names.items()}
    return request.param, {"path": f"{tmp_path}/visitors{'/' if request.param == 'file' else '.db'}"}


@pytest.fixture
def shops(processes: Any, store: tuple[str, dict[str, Any]]) -> Iterator[Callable[[str], Awaitable[Told]]]:
    """Starts processes."""
    started: list[Told] = []

    async def start(url: str) -> Told:
        ours, theirs = multiprocessing.Pipe()
        process = processes.Process(target=live, args=(Shop(url=url, store=store), theirs), daemon=True)
        process.start()
        theirs.close()
        started.append(Told(process, ours))
        assert await started[-1].hear() == "ready"
        return started[-1]

    yield start
    for one in started:
        one.end()


async def tell(shop: Told, name: str, *arguments: Any, dies_at: str = "") -> Any:
    """Has the process do something. Returns what came of it; None if it died."""
    shop.line.send((name, arguments, dies_at))
    try:
        return await shop.hear()
    except EOFError:
        shop.process.join()
        return None


async def logs_in(shop: Told, fake: FakeWix, dies_at: str = "") -> tuple[Any, str, str]:
    """A whole login. Returns what came of it, what the app had kept, and the callback."""
    url, kept = await tell(shop, "begin")
    callback = fake.log_in(url, EMAIL)
    return await tell(shop, "finish", kept, callback, dies_at=dies_at), kept, callback


@pytest.mark.parametrize(
    ("dies_at", "then", "again"),
    [
        ("the start", "visitor", "member"),
        ("before asking", "visitor", "member"),  # Wix has not seen the code
        ("after the answer", "visitor", "MemberLoginError"),  # the code has been used
        ("before saving", "visitor", "MemberLoginError"),
        ("after saving", "member", "MemberLoginError"),
    ],
)
async def test_killed_in_a_login(shops: Any, dies_at: str, then: str, again: str) -> None:
    """Wherever in a login the process dies, the next one finds the visitor or the member, with the same cart."""
    fake = FakeWix()
    fake.add_member(EMAIL)
    async with fake.serve() as url:
        first = await shops(url)
        assert await tell(first, "fill") == 200
        if dies_at == "the start":
            page, kept = await tell(first, "begin")
            first.process.kill()
            callback = fake.log_in(page, EMAIL)
        else:
            ended, kept, callback = await logs_in(first, fake, dies_at)
            assert ended is None
        second = await shops(url)
        assert await tell(second, "look") == (then, 200, 1)
        assert await tell(second, "finish", kept, callback) == again
        assert await tell(second, "look") == ("member" if again == "member" else then, 200, 1)
        assert (await logs_in(second, fake))[0] == "member"
        assert await tell(second, "look") == ("member", 200, 1)
        assert await tell(await shops(url), "look") == ("member", 200, 1)
    assert len(fake.visitors) == 1


@pytest.mark.parametrize("dies_at", ["the call", "before saving", "after saving"])
async def test_killed_in_a_logout(shops: Any, dies_at: str) -> None:
    """Wherever in a logout the process dies, the member is whole or gone; gone, the next one is a new visitor."""
    fake = FakeWix()
    fake.add_member(EMAIL)
    async with fake.serve() as url:
        first = await shops(url)
        assert await tell(first, "fill") == 200
        assert (await logs_in(first, fake))[0] == "member"
        if dies_at == "the call":
            gate = fake.hold(path=wire.REDIRECT_PATH)
            first.line.send(("log_out", (), ""))
            await gate.wait_for(1)
            first.process.kill()
            gate.release()
        else:
            assert await tell(first, "log_out", dies_at=dies_at) is None
        second = await shops(url)
        if dies_at == "after saving":
            assert await tell(second, "look") == ("none", 404, 0)
            assert len(fake.visitors) == 2
        else:
            assert await tell(second, "look") == ("member", 200, 1)
            assert str(await tell(second, "log_out")).startswith(url)
            assert await tell(second, "look") == ("none", 404, 0)
    assert len(fake.token_calls("anonymous")) == 2
