"""Looks at everything that a site, a client ID and a machine need, as one visitor, with at most 15 calls to Wix."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from typing import Any, Final

import anyio
import attrs
import httpx

from wixvisitor._http import proxies
from wixvisitor._session import VisitorSession
from wixvisitor._tokens import TokenRole, Tokens
from wixvisitor._wire import diagnosis
from wixvisitor._wire.api_errors import error_of, raise_for_error
from wixvisitor._wire.claims import read_claims
from wixvisitor._wire.diagnosis import NO_JSON, Answer, App, Diagnosis, Finding
from wixvisitor._wire.json_text import parsed, parsed_object
from wixvisitor._wire.members import read_cart_id
from wixvisitor._wire.token_endpoint import REQUEST_ID_HEADER, TokenRequest
from wixvisitor.errors import (
    ConfigurationError,
    SessionExpired,
    StorageError,
    TokenRequestError,
    WixAPIError,
    WixVisitorError,
)

_CART: Final = "/ecom/v2/carts/current"
_TOKEN_INFO: Final = "/oauth2/token-info"  # noqa: S105 - a path, not a secret
_MAX_CALL: Final = 10.0  # seconds that an app has to answer
_DASHBOARD: Final = "Settings, Headless Settings, the OAuth app"


async def diagnose(
    session: VisitorSession,
    *,
    redirect_uri: str | None = None,
    on_finding: Callable[[Finding], object] | None = None,
) -> Diagnosis:
    """Looks at what this session needs, and says what to do where something is wrong.

    It asks the token endpoint and ``token-info``, one read of each app that visitors use, and, with ``redirect_uri``,
    for a login and a checkout. It changes no cart and logs nobody in. The session's visitor is renewed; a session
    without a visitor gets one.

    Args:
        session: the visitor to look with.
        redirect_uri: an address of yours that is listed in the site's Headless Settings: can a login return there, and
            a checkout, if the visitor has a cart?
        on_finding: called with each finding as soon as it is known, to show progress.

    Returns:
        The findings. What Wix or the network says is a finding, not an exception.

    Raises:
        ConfigurationError: an argument is wrong.

    Concurrency: other tasks may use the session meanwhile.
    Cancellation: leaves the visitor as it is.
    """
    if not isinstance(session, VisitorSession):
        raise ConfigurationError("diagnose: expected a VisitorSession; a blocking one runs visitor.call(diagnose)")
    if redirect_uri is not None and (not isinstance(redirect_uri, str) or "://" not in redirect_uri):
        raise ConfigurationError("redirect_uri: expected an address like https://shop.example/auth/callback")
    examination = _Examination(session, redirect_uri)
    found = []
    async with aclosing(examination.findings()) as findings:
        async for finding in findings:
            found.append(finding)
            if on_finding is not None:
                on_finding(finding)
    return Diagnosis(findings=tuple(found), calls=examination.calls)


@attrs.define
class _Examination:
    session: VisitorSession
    redirect_uri: str | None
    calls: int = 0

    async def findings(self) -> AsyncGenerator[Finding]:
        """Yields the findings. Without a token nothing else can be asked."""
        environment = _environment_finding()
        yield environment
        endpoint = await self._endpoint() if environment.state != "problem" else environment
        if endpoint is not environment:
            yield endpoint
        if endpoint.state == "problem":
            yield Finding(check="the other checks", state="skipped", text="they need a token")
            return
        info, offset = await self._token()
        yield info
        yield diagnosis.clock_finding(offset)
        yield diagnosis.catalog_finding(await self._asked(diagnosis.CATALOG))
        for app in diagnosis.APPS:
            yield diagnosis.app_finding(app, await self._asked(app))
        yield await self._login()
        yield await self._checkout()

    @property
    def _http_error(self) -> type[Exception]:
        """What the client raises: of httpx or httpx2."""
        kind: type[Exception] = self.session._connections.current().family.HTTPError
        return kind

    async def _endpoint(self) -> Finding:
        began = anyio.current_time()
        try:
            await self.session._refresher.load()
            before = self.session.get_tokens()
            is_new = not before.refresh_token.value
            self.calls += 1
            await (self.session.generate_visitor_tokens() if is_new else self.session.renew_token())
        except WixVisitorError as error:
            return _failure_of_endpoint(error)
        if not is_new and _visitor_of(self.session.get_tokens()) != _visitor_of(before):
            return diagnosis.replaced_finding()
        return diagnosis.endpoint_finding(anyio.current_time() - began, is_new=is_new)

    async def _token(self) -> tuple[Finding, float | None]:
        """Returns whose token it is, and the seconds that Wix's clock is ahead."""
        token = self.session.get_tokens().access_token.value
        request = TokenRequest("", json.dumps({"token": token}).encode(), (token,), works_once=True, path=_TOKEN_INFO)
        self.calls += 1
        clock = self.session._settings.server_clock
        try:
            answer = await self.session._refresher.post(request)
        except TokenRequestError:
            return Finding(check="token", state="note", text="token-info cannot be reached"), _offset(clock)
        info = answer.json if isinstance(answer.json, dict) else None
        seen = Answer(answer.status_code, request_id=answer.request_id)
        offset = None if answer.date is None else answer.date - self.session._settings.clock()
        return diagnosis.token_finding(self.session.client_id, info, seen), offset

    async def _asked(self, app: App) -> Answer:
        self.calls += 1
        body = None if app.body is None else dict(app.body)
        try:
            with anyio.fail_after(_MAX_CALL):
                return _answer_of(await self.session.request(app.method, app.path, json=body))
        except TimeoutError:
            return Answer(None, text=f"no answer within {_MAX_CALL:g} s")
        except (WixVisitorError, self._http_error) as error:
            return Answer(None, text=f"{type(error).__name__}: {error}")

    async def _login(self) -> Finding:
        if self.redirect_uri is None:
            return Finding(check="login", state="skipped", text="no redirect URI was given")
        self.calls += 2
        try:
            login = await self.session.members.start_login(self.redirect_uri)
            async with self.session.stream("GET", login.url, follow_redirects=True) as page:
                if page.status_code >= 500:
                    text = f"Wix's login page answers {page.status_code}"
                    return Finding(check="login", state="problem", text=text, advice="Try again later")
                if page.status_code >= 400:
                    return _not_listed("login", f"Wix's login page answers {page.status_code}", page.status_code)
        except (WixVisitorError, self._http_error) as error:
            return _refused("login", error)
        return Finding(check="login", state="ok", text=f"Wix has a login page that returns to {self.redirect_uri}")

    async def _checkout(self) -> Finding:
        if self.redirect_uri is None:
            return Finding(check="checkout", state="skipped", text="no redirect URI was given")
        self.calls += 1
        try:
            cart = await self.session.get(_CART)
            if cart.status_code == 404:
                return Finding(check="checkout", state="skipped", text="this visitor has no cart; none was made")
            self.calls += 1
            cart_id = read_cart_id(parsed(raise_for_error(cart).content))
            await self.session.checkout.url(return_to=self.redirect_uri, cart_id=cart_id)
        except (WixVisitorError, self._http_error, ValueError) as error:
            return _refused("checkout", error)
        return Finding(check="checkout", state="ok", text="Wix has a checkout page for this visitor's cart")


def _environment_finding() -> Finding:
    """Returns which of the environment's variables the requests go by; never their values."""
    if (wrong := proxies.environment_error()) is not None:
        return Finding(check="environment", state="problem", text=wrong)
    names = [*proxies.names(), *(name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name))]
    text = f"in use: {', '.join(names)}" if names else "no variable for a proxy or for certificates is set"
    return Finding(check="environment", state="note" if names else "ok", text=text)


def _failure_of_endpoint(error: WixVisitorError) -> Finding:
    status, request_id = getattr(error, "status_code", None), getattr(error, "request_id", None)
    about: dict[str, Any] = {"check": "token endpoint", "state": "problem", "status_code": status}
    about["request_id"] = request_id
    if isinstance(error, ConfigurationError) and status is not None:
        advice = f"Copy the client ID again: it is a GUID in the site's dashboard, {_DASHBOARD}"
        return Finding(text=f"Wix does not know this client ID ({error})", advice=advice, **about)
    if isinstance(error, ConfigurationError):
        return Finding(text=str(error), advice="Correct the setting that the text names", **about)
    if isinstance(error, SessionExpired):
        again = "log in again" if error.role is TokenRole.MEMBER else "begin with a new visitor"
        return Finding(text=str(error), advice=f"The tokens are over: {again}, with another file or none", **about)
    if isinstance(error, StorageError):
        return Finding(text=str(error), advice="Look at the store: without it no visitor survives", **about)
    if status is None and isinstance(error, TokenRequestError):
        return diagnosis.network_finding(list(_chain(error)), proxies.names())
    return Finding(text=str(error), advice=diagnosis.advice_of(status), **about)


def _refused(check: str, error: Exception) -> Finding:
    if not isinstance(error, WixAPIError):
        text = f"{type(error).__name__}: {error}"[:300]
        return Finding(check=check, state="problem", text=text, advice="Try again later")
    if error.status_code == 429 or error.status_code // 100 != 4:
        return Finding(check=check, state="problem", text=str(error)[:300], advice="Try again later")
    return _not_listed(check, str(error)[:300], error.status_code, error.request_id)


def _not_listed(check: str, text: str, status_code: int, request_id: str | None = None) -> Finding:
    """Returns the finding for an address to which Wix does not return, as far as its answer tells."""
    advice = f"List the address as an allowed redirect URI, and its domain as an allowed one: {_DASHBOARD}"
    return Finding(
        check=check, state="problem", text=text, advice=advice, status_code=status_code, request_id=request_id
    )


def _answer_of(response: httpx.Response) -> Answer:
    request_id = response.headers.get(REQUEST_ID_HEADER)
    if response.is_success:
        is_answer = parsed_object(response.content) is not None
        return Answer(response.status_code, "" if is_answer else NO_JSON, request_id=request_id)
    error = error_of(response)
    return Answer(response.status_code, error.code or "", error.message, request_id)


def _visitor_of(tokens: Tokens) -> str | None:
    claims = read_claims(tokens.access_token.value)
    return None if claims is None else claims.visitor_id


def _offset(clock: Any) -> float | None:
    return None if clock.is_unset else float(clock.offset)


def _chain(error: BaseException) -> Iterator[tuple[str, str]]:
    """Yields the name and text of the exception, of its causes, and of those in their groups."""
    seen: BaseException | None = error
    while seen is not None:
        yield type(seen).__name__, str(seen)
        for inner in seen.exceptions if isinstance(seen, BaseExceptionGroup) else ():
            yield from _chain(inner)
        seen = seen.__cause__ or seen.__context__
