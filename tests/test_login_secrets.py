"""No password, code, verifier, session token or API key in any log, repr, error, traceback, event or span."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import attrs
import httpx
import httpx2
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.constants import CART, CLIENT_ID
from tests.secrecy import Watch, watching
from wixvisitor import Tokens, VisitorSession, WixVisitorError
from wixvisitor._wire import members as wire
from wixvisitor.members import LoginOutcome, MemberLogin
from wixvisitor.opentelemetry import instrument
from wixvisitor.testing import FakeWix
from wixvisitor.testing._catalog import BUILT_IN, STORES_APP_ID

pytestmark = pytest.mark.anyio

EMAIL, PASSWORD, API_KEY, CAPTCHA = (
    "anna@example.com",
    'correct "horse" \\ bättery',
    "IST.the-api-key-of-the-shop",
    "solved-1",
)
CALLBACK, HOME = "https://shop.example/callback", "https://shop.example/"
TOKEN, PAGE = "/oauth2/token", "/_hosted/login"
MUGS = {
    "catalogItems": [{"quantity": 1, "catalogReference": {"appId": STORES_APP_ID, "catalogItemId": BUILT_IN[0].id}}]
}
_DIGITS = 6  # of a code by mail, which may stand in another number by chance
SECRET_FIELDS = {"code", "codeVerifier", "password", "sessionToken", "session_token", "stateToken"}

Flow = Callable[[VisitorSession, FakeWix], Awaitable[object]]


async def hosted(session: VisitorSession, fake: FakeWix) -> None:
    """Wix's page."""
    login = await session.members.start_login(CALLBACK)
    shown = f"{login!r} {login} {[login]} {attrs.astuple(login)[3:4]!r}"
    assert login.code_verifier not in shown
    login = MemberLogin.from_json(login.to_json())
    await session.members.finish_login(login, fake.log_in(login.url, EMAIL))


async def password(session: VisitorSession, _fake: FakeWix) -> None:
    """The own form."""
    outcome = await session.members.login(EMAIL, PASSWORD, recaptcha_token=CAPTCHA)
    await session.members.complete(LoginOutcome.from_json(outcome.to_json()))


async def silent(session: VisitorSession, fake: FakeWix) -> None:
    """The own form, and then through the browser."""
    outcome = await session.members.login(EMAIL, PASSWORD, recaptcha_token=CAPTCHA)
    login = await session.members.start_login(CALLBACK, session_token=outcome.session_token, prompt="none")
    async with fake.client() as browser:
        answer = await browser.get(login.url)
    await session.members.finish_login(login, answer.headers["location"])


async def register(session: VisitorSession, fake: FakeWix) -> None:
    """A registration, whose code comes by mail."""
    fake.verify_emails = True
    email = f"ben{len(fake.members)}@example.com"
    outcome = await session.members.register(email, PASSWORD, recaptcha_token=CAPTCHA)
    await session.members.verify(fake.outbox[-1].code, outcome)


async def by_id(session: VisitorSession, fake: FakeWix) -> None:
    """The own identity provider, for a member who is known."""
    await session.members.login_external(fake.members[EMAIL].id, api_key=API_KEY)


async def by_email(session: VisitorSession, _fake: FakeWix) -> None:
    """The own identity provider, with a sign-on."""
    await session.members.login_external(email=EMAIL, api_key=API_KEY)


async def reset(session: VisitorSession, _fake: FakeWix) -> None:
    """A new password."""
    await session.members.send_password_reset(EMAIL, HOME)


async def logout(session: VisitorSession, fake: FakeWix) -> None:
    """A login, and a logout."""
    await by_id(session, fake)
    await session.members.logout(HOME)


async def checkout(session: VisitorSession, fake: FakeWix) -> None:
    """A checkout of a member."""
    await by_id(session, fake)
    await session.post(f"{CART}/add-line-items", json=MUGS)
    await session.checkout.url(return_to=HOME)


FLOWS: dict[Flow, tuple[str, ...]] = {
    hosted: (wire.REDIRECT_PATH, TOKEN),
    password: (wire.LOGIN_PATH, wire.REDIRECT_PATH, PAGE, TOKEN),
    silent: (wire.REDIRECT_PATH, TOKEN),
    register: (wire.REGISTER_PATH, wire.VERIFY_PATH),
    by_id: (TOKEN,),
    by_email: (wire.SIGN_ON_PATH, TOKEN),
    reset: (wire.RECOVERY_PATH,),
    logout: (wire.REDIRECT_PATH,),
    checkout: (CART, wire.REDIRECT_PATH),
}
ECHOES: dict[str, Callable[[str], tuple[int, Any]]] = {
    "400 message": lambda said: (400, {"message": said, "details": {}}),
    "400 code": lambda said: (
        400,
        {"message": "", "details": {"applicationError": {"code": said, "data": {"x": said}}}},
    ),
    "400 oauth": lambda said: (400, {"error": said, "error_description": said}),
    "401 list": lambda said: (401, [said]),
    "403 HTML": lambda said: (403, f"<html>{said}</html>"),
    "500 text": lambda said: (500, said),
    "429 text": lambda said: (429, said),
    "200 HTML": lambda said: (200, f"<html>{said}</html>"),
    "200 odd": lambda said: (
        200,
        {"state": said, "sessionToken": [said], "access_token": [said], "redirectSession": {"fullUrl": said}},
    ),
    "200 page with an error": lambda said: (200, f"<script>post({{'error': '{said[:60]}', 'state': 1}})</script>"),
    "302": lambda said: (302, said),
    "broken": lambda said: (0, said),
    "never": lambda said: (-1, said),
}


@attrs.define
class Door:
    """What a session's client is: the stand-in, or at one path an answer with the whole request in it.

    Attributes:
        asked: the bodies of those requests.
    """

    fake: FakeWix
    family: Any
    path: str = ""
    echo: str = ""
    asked: list[Any] = attrs.field(factory=list)

    def client(self) -> Any:
        """A client of this family."""
        door, family = self, self.family
        inner = self.fake.client(family)._transport

        class Transport(family.AsyncBaseTransport):  # type: ignore[misc]
            async def handle_async_request(self, request: Any) -> Any:
                is_login = door.path != TOKEN or b"auth" in request.content
                if request.url.path == door.path and is_login:
                    return await door.answer(request)
                return await inner.handle_async_request(request)

        return family.AsyncClient(transport=Transport(), base_url="https://www.wixapis.com")

    async def answer(self, request: Any) -> Any:
        """The whole request, in the shape that the case says."""
        if request.content:
            self.asked.append(json.loads(request.content))
        said = f"{request.content.decode()} {request.url} {request.headers.get('authorization', '')}"
        status, body = ECHOES[self.echo](said)
        if status == -1:
            await anyio.sleep_forever()
        if status == 0:
            is_of_ours = request.url.path in (TOKEN, wire.SIGN_ON_PATH)  # the others raise what the client raises
            raise self.family.ReadError(body if is_of_ours else "the connection broke", request=request)
        headers = {
            "x-wix-request-id": said.encode("ascii", "replace")[:200],
            "location": "https://evil.example/?" + "x",
        }
        if isinstance(body, str):
            return self.family.Response(status, text=body, headers=headers)
        return self.family.Response(status, json=body, headers=headers)


@attrs.frozen
class Spans:
    """The spans of a trace."""

    exporter: InMemorySpanExporter
    tracers: TracerProvider

    def text(self) -> str:
        """What was exported."""
        return "".join(span.to_json() for span in self.exporter.get_finished_spans())


@pytest.fixture
def watch(still: FakeWix) -> Iterator[Watch]:
    still.add_member(EMAIL, PASSWORD)
    still.captcha_tokens = frozenset({CAPTCHA})
    with watching(still) as watch:
        watch.known |= {PASSWORD, API_KEY, CAPTCHA}
        yield watch
        learn(watch)


@pytest.fixture
def spans() -> Iterator[Spans]:
    exporter, tracers = InMemorySpanExporter(), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    yield Spans(exporter, tracers)
    tracers.shutdown()


def learn(watch: Watch, *requests: Any) -> None:
    """Notes the secrets that Wix was sent and has handed out."""
    fake = watch.fake
    watch.known |= {*fake._hosted.codes._held, *fake._members.session_tokens._held, *fake._members._verifications._held}
    todo: list[Any] = [call.json for call in fake.calls] + list(requests)
    while todo:
        thing = todo.pop()
        if isinstance(thing, dict):
            found = {value for name, value in thing.items() if name in SECRET_FIELDS and isinstance(value, str)}
            watch.known |= {f'"{value}"' if len(value) <= _DIGITS else value for value in found}
            todo += thing.values()
        elif isinstance(thing, list):
            todo += thing


@pytest.mark.parametrize("flow", FLOWS)
async def test_what_goes_well(still: FakeWix, watch: Watch, spans: Spans, family: Any, flow: Flow) -> None:
    """A login, a registration, a logout or a checkout shows no secret in logs, events or in anything that is alive."""
    told: list[str] = []
    async with (
        Door(still, family).client() as client,
        VisitorSession(
            CLIENT_ID, client=client, clock=still.now, on_event=lambda event: told.append(f"{event} {event!r}")
        ) as session,
    ):
        instrument(session, tracer_provider=spans.tracers)
        await flow(session, still)
        learn(watch)
        watch.check("\n".join(told), "an event")
        watch.check(spans.text(), "a span")
        watch.check_live_objects(flow.__name__)
        watch.check(f"{session!r} {session.members!r} {vars(type(session.members))}", "a repr")


@pytest.mark.parametrize(("flow", "path"), [(flow, path) for flow, paths in FLOWS.items() for path in paths])
async def test_a_wix_that_echoes(
    still: FakeWix, watch: Watch, spans: Spans, family: Any, visitor: Tokens, flow: Flow, path: str
) -> None:
    """Whatever answer holds the whole request, the error, its traceback and the log show no secret of it."""
    told: list[str] = []
    for echo in ECHOES:
        door = Door(still, family, echo=echo)
        async with (
            door.client() as client,
            VisitorSession(
                CLIENT_ID,
                tokens=visitor,
                client=client,
                clock=still.now,
                renew_timeout=0.1 if echo == "never" else 5.0,
                on_event=lambda event: told.append(f"{event} {event!r}"),
            ) as session,
        ):
            instrument(session, tracer_provider=spans.tracers)
            if flow is logout or flow is checkout:
                await by_id(session, still)
            door.path = path
            error = await failure(flow, session, still)
            learn(watch, *door.asked)
            if error is not None:
                watch.check_exception(error, f"{flow.__name__}, {path}, {echo}")
        watch.check_log(f"{flow.__name__}, {path}, {echo}")
        still.reset_calls()
    watch.check("\n".join(told), "an event")
    watch.check(spans.text(), "a span")
    assert path != TOKEN or '"POST /oauth2/token"' in spans.text()


async def failure(flow: Flow, session: VisitorSession, fake: FakeWix) -> BaseException | None:
    """What the flow raises: an error, or its cancellation after a moment."""
    caught: list[BaseException] = []
    with anyio.move_on_after(0.2):
        try:
            await flow(session, fake)
        except BaseException as error:
            caught.append(error)
            if not isinstance(error, (WixVisitorError, httpx.HTTPError, httpx2.HTTPError)):
                raise
    return caught[0] if caught else None
