"""Members: logins, registrations, logouts; and the addresses of Wix's own pages, such as the checkout.

``session.members``, ``session.redirects`` and ``session.checkout`` are made here. A login never loses the visitor: its
cart and its tokens are in ``login.previous``, and a login that fails or is abandoned changes nothing. Nothing is merged
here: what Wix does with the visitor's cart at a login is not documented.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, Self, get_args, overload

import attrs

from wixvisitor._checks import is_empty
from wixvisitor._tokens import EMPTY_TOKENS, Tokens
from wixvisitor._wire import members as wire
from wixvisitor._wire.api_errors import error_of, raise_for_error
from wixvisitor._wire.json_text import parsed, parsed_object
from wixvisitor._wire.redaction import drops_frames, drops_frames_async, redact
from wixvisitor.errors import (
    ConfigurationError,
    MemberLoginError,
    MemberLoginReason,
    TokenRequestError,
    WixAPIError,
)

if TYPE_CHECKING:
    from wixvisitor._session import VisitorSession

__all__ = [
    "INVISIBLE_RECAPTCHA_SITE_KEY",
    "RECAPTCHA_SITE_KEY",
    "Checkout",
    "LoginOutcome",
    "MemberLogin",
    "MemberLoginError",
    "MemberLoginReason",
    "Members",
    "Redirects",
]

RECAPTCHA_SITE_KEY: Final = "6Ld0J8IcAAAAANyrnxzrRlX1xrrdXsOmsepUYosy"
"""Wix's public key for Google's captcha, as in ``@wix/sdk`` (``captchaVisibleSiteKey``)."""
INVISIBLE_RECAPTCHA_SITE_KEY: Final = "6LdoPaUfAAAAAJphvHoUoOob7mx0KDlXyXlgrx5v"
"""Wix's public key for Google's invisible captcha, as in ``@wix/sdk`` (``captchaInvisibleSiteKey``)."""

Prompt = Literal["login", "none"]
ResponseMode = Literal["query", "fragment", "web_message"]
LoginState = Literal["success", "email_verification_required", "owner_approval_required"]

_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\\\x00-\x1f\x7f]+")  # apps have schemes of their own
_MIN_SECRET: Final = 4  # characters; to mask a shorter text everywhere would hide Wix's own error code
_MAX_PAGE: Final = 1_048_576  # bytes of Wix's page that are read for a login without a browser


def _hidden(value: object) -> str:
    return "'[secret]'" if value else repr(value)


@attrs.frozen(kw_only=True)
class MemberLogin:
    """A login on Wix's page that has begun. Send the browser to ``url``.

    It survives as JSON, for example in the server's session until the browser comes back. That JSON holds secrets.

    Attributes:
        url: Wix's login page.
        state: comes back with the browser (RFC 6749 section 4.1.1).
        code_verifier: the secret of the code's exchange (RFC 7636). Never part of a repr.
        redirect_uri: where Wix sends the browser back.
        original_uri: your own note: where the browser wanted to go.
        response_mode: where Wix puts the code: in the address's query or its fragment.
        previous: the tokens that the session had before the login.
    """

    url: str = attrs.field(repr=_hidden)
    state: str
    code_verifier: str = attrs.field(repr=_hidden)
    redirect_uri: str
    original_uri: str = ""
    response_mode: ResponseMode = "query"
    previous: Tokens = EMPTY_TOKENS

    def to_json(self) -> str:
        """Returns the login as JSON. It holds the secrets in the clear."""
        return json.dumps({**attrs.asdict(self, recurse=False), "previous": self.previous.to_dict()})

    @classmethod
    @drops_frames
    def from_json(cls, text: str | bytes) -> Self:
        """Returns the login that ``to_json`` wrote.

        Raises:
            ValueError: the text is something else. The error's text shows nothing of it.
        """
        content = _object(text, "login")
        previous = Tokens.from_dict(content.pop("previous", {}) or {})
        _check_fields(cls, content, "login")
        return cls(**content, previous=previous)


@attrs.frozen(kw_only=True)
class LoginOutcome:
    """What Wix says to a login or registration with a password. It survives as JSON, which holds secrets.

    Attributes:
        state: ``"success"``: give it to ``complete``. ``"email_verification_required"``: ask for the code that Wix has
            sent by email, and give both to ``verify``. ``"owner_approval_required"``: the site's owner has to approve
            the member first.
        session_token: lives 5 minutes and works once; ``""`` unless the state is ``"success"``.
        state_token: for ``verify``; ``""`` unless the state is ``"email_verification_required"``.
    """

    state: LoginState
    session_token: str = attrs.field(default="", repr=_hidden)
    state_token: str = attrs.field(default="", repr=_hidden)

    def to_json(self) -> str:
        """Returns the outcome as JSON. It holds the secrets in the clear."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    @drops_frames
    def from_json(cls, text: str | bytes) -> Self:
        """Returns the outcome that ``to_json`` wrote.

        Raises:
            ValueError: the text is something else. The error's text shows nothing of it.
        """
        content = _object(text, "outcome")
        _check_fields(cls, content, "outcome")
        if content["state"] not in get_args(LoginState):
            raise ValueError("outcome: the state is none of LoginOutcome's")
        return cls(**content)


def _object(text: str | bytes, name: str) -> dict[str, Any]:
    content = parsed_object(text)
    if content is None:
        raise ValueError(f"{name}: this is not its JSON")
    return content


def _check_fields(kind: type, content: Mapping[str, Any], name: str) -> None:
    fields = {field.name for field in attrs.fields(kind) if field.name != "previous"}
    needed = {field.name for field in attrs.fields(kind) if field.default is attrs.NOTHING}
    if not needed <= set(content) <= fields or not all(isinstance(value, str) for value in content.values()):
        raise ValueError(f"{name}: this is not its JSON")


class _OfSession:
    """Calls for one visitor."""

    __slots__ = ("_session",)

    def __init__(self, session: Any) -> None:
        self._session: VisitorSession = session


class Redirects(_OfSession):
    """Addresses of Wix's own pages for this visitor.

    Concurrency: share it between tasks.
    Cancellation: leaves nothing behind.
    """

    __slots__ = ()

    @drops_frames_async
    async def create(self, body: Mapping[str, Any]) -> str:
        """Returns the address of one of Wix's pages. The browser has to visit it.

        Args:
            body: in REST's keys, like ``{"eventsCheckout": {…}, "callbacks": {"postFlowUrl": …}}``
                (https://dev.wix.com/docs/rest/business-management/headless/redirects/create-redirect-session).

        Raises:
            WixAPIError: Wix refuses, or its answer has no address.
            What ``VisitorSession.request`` raises.
        """
        return await self._create(body)

    @drops_frames_async
    async def _create(self, body: Mapping[str, Any], *secret: str) -> str:
        """``create`` for a body that holds secrets; the error shows none of them."""
        response = await self._session.post(wire.REDIRECT_PATH, json=dict(body))
        if not response.is_success:
            raise error_of(response, secret)
        try:
            return wire.read_redirect(parsed(response.content))
        except ValueError:
            raise WixAPIError(
                "the answer has no address to send the browser to", status_code=response.status_code
            ) from None


class Checkout(_OfSession):
    """The checkout of this visitor's cart, on Wix's page.

    Concurrency: share it between tasks.
    Cancellation: leaves nothing behind.
    """

    __slots__ = ()

    async def url(self, *, return_to: str, thank_you: str | None = None, cart_id: str | None = None) -> str:
        """Returns the address of Wix's checkout page. The browser has to visit it.

        Args:
            return_to: where the shopper comes back to. Its origin has to be listed in the site's Headless Settings.
            thank_you: where the shopper goes after paying, in place of Wix's thank-you page.
            cart_id: the cart (V2), whose ID is the checkout's; None: the current cart.

        Raises:
            WixAPIError: there is no cart (404), Wix refuses, or its answer has no cart or address.
            ConfigurationError: ``return_to`` or ``thank_you`` is no address.
            What ``VisitorSession.request`` raises.
        """
        _check_address(return_to, "return_to")
        if thank_you is not None:
            _check_address(thank_you, "thank_you")
        if cart_id is None:
            response = raise_for_error(await self._session.get(wire.CART_PATH))
            try:
                cart_id = wire.read_cart_id(parsed(response.content))
            except ValueError:
                raise WixAPIError("the answer has no cart with an ID", status_code=response.status_code) from None
        return await Redirects(self._session).create(wire.checkout_body(cart_id, return_to, thank_you))


class Members(_OfSession):
    """Logins, registrations and logouts of one visitor.

    Concurrency: share it between tasks. Of two logins at the same time the last one wins, in the store as well.
    Cancellation: a login whose exchange has begun is completed: the member's tokens are saved and adopted all the same.
    """

    __slots__ = ()

    # Wix's login page

    @drops_frames_async
    async def start_login(
        self,
        redirect_uri: str,
        *,
        original_uri: str = "",
        prompt: Prompt = "login",
        idp: str | None = None,
        session_token: str | None = None,
        response_mode: ResponseMode = "query",
    ) -> MemberLogin:
        """Begins a login on Wix's page. Send the browser to the result's ``url``, and keep the result.

        Args:
            redirect_uri: where Wix sends the browser back. It has to be listed in the site's Headless Settings.
            original_uri: your own note, for example where the browser wanted to go.
            prompt: ``"none"`` shows no page: it succeeds only if Wix knows the browser's member already.
            idp: ``"google"``, ``"facebook"``, or the ID of an identity provider: skips Wix's page.
            session_token: of a ``LoginOutcome``: logs in without asking again.
            response_mode: ``"query"`` for servers; ``"fragment"`` never reaches a server.

        Raises:
            WixAPIError: Wix refuses.
            ConfigurationError: an argument is wrong.
            What ``VisitorSession.request`` raises.
        """
        _check_address(redirect_uri, "redirect_uri")
        _one_of(prompt, Prompt, "prompt")
        _one_of(response_mode, ResponseMode, "response_mode")
        return await self._start(
            redirect_uri, original_uri, prompt=prompt, idp=idp, session_token=session_token, response_mode=response_mode
        )

    @drops_frames_async
    async def _start(
        self,
        redirect_uri: str,
        original_uri: str = "",
        *,
        prompt: Prompt,
        response_mode: ResponseMode,
        idp: str | None = None,
        session_token: str | None = None,
    ) -> MemberLogin:
        verifier, state = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        body = wire.login_body(
            self._session.client_id,
            redirect_uri=redirect_uri,
            challenge=wire.code_challenge(verifier),
            state=state,
            response_mode=response_mode,
            prompt=prompt,
            session_token=session_token,
            idp=idp,
        )
        url = await Redirects(self._session)._create(body, session_token or "")
        return MemberLogin(
            url=url,
            state=state,
            code_verifier=verifier,
            redirect_uri=redirect_uri,
            original_uri=original_uri,
            response_mode=response_mode,
            previous=self._session.get_tokens(),
        )

    @drops_frames_async
    async def finish_login(self, login: MemberLogin, url_or_params: str | Mapping[str, str]) -> Tokens:
        """Completes a login: exchanges the code, saves the member's tokens and adopts them.

        Args:
            login: what ``start_login`` returned.
            url_or_params: the address to which Wix sent the browser back, or its parameters.

        Returns:
            The member's tokens. The session is the member's from now on.

        Raises:
            MemberLoginError: the state is another login's, the shopper refused, or Wix refuses the code. A code works
                once. Nothing changed.
            TokenRequestError: Wix could not be asked, and nothing changed; or the session was closed meanwhile, and the
                login may be lost. Begin again.
            StorageError: the tokens could not be saved; they are held, and the next use saves them again.

        Cancellation: once the exchange has begun, the tokens are saved and adopted all the same.
        """
        return await self._finish(login, wire.callback_params(url_or_params, login.response_mode))

    async def _finish(self, login: MemberLogin, params: Mapping[str, str]) -> Tokens:
        if not hmac.compare_digest(params.get("state", "").encode("utf-8", "replace"), login.state.encode()):
            raise MemberLoginError("The state is not this login's: another browser, another tab, or a forged address")
        if error := params.get("error"):
            known = login.code_verifier, login.state, params.get("code", "")
            text = redact(params.get("error_description") or error, known)[:300]
            raise MemberLoginError(f"Wix did not log in: {text}", code=redact(error, known)[:100])
        code = params.get("code")
        if not code:
            raise MemberLoginError("The address has no code")
        request = wire.code_request(self._session.client_id, code, login.code_verifier, login.redirect_uri)
        return await self._session._log_in(request)

    # Your own login form

    @drops_frames_async
    async def login(
        self,
        email: str,
        password: str,
        *,
        recaptcha_token: str | None = None,
        invisible_recaptcha_token: str | None = None,
    ) -> LoginOutcome:
        """Logs in with a password. The session is the visitor's until ``complete``.

        Args:
            email: the member's.
            password: the member's.
            recaptcha_token: of Google's captcha with ``RECAPTCHA_SITE_KEY``.
            invisible_recaptcha_token: of the invisible captcha, with ``INVISIBLE_RECAPTCHA_SITE_KEY``.

        Raises:
            MemberLoginError: Wix refuses; ``reason`` says why.
            TokenRequestError: Wix's answer is no JSON. Nothing changed.
            What ``VisitorSession.request`` raises.
        """
        body = wire.credentials_body(
            email,
            password,
            recaptcha_token=recaptcha_token,
            invisible_recaptcha_token=invisible_recaptcha_token,
        )
        secret = password, recaptcha_token, invisible_recaptcha_token
        return _outcome(await self._post(wire.LOGIN_PATH, body, *secret))

    @drops_frames_async
    async def register(
        self,
        email: str,
        password: str,
        *,
        profile: Mapping[str, Any] | None = None,
        recaptcha_token: str | None = None,
        invisible_recaptcha_token: str | None = None,
    ) -> LoginOutcome:
        """Registers a new member. The session is the visitor's until ``complete``.

        Args:
            email: the new member's.
            password: the new member's.
            profile: in REST's keys, like ``{"firstName": "Anna"}``.
            recaptcha_token: as for ``login``.
            invisible_recaptcha_token: as for ``login``.

        Raises:
            MemberLoginError: Wix refuses; ``reason`` says why.
            TokenRequestError: Wix's answer is no JSON. Nothing changed.
            What ``VisitorSession.request`` raises.
        """
        body = wire.credentials_body(
            email,
            password,
            profile=profile,
            recaptcha_token=recaptcha_token,
            invisible_recaptcha_token=invisible_recaptcha_token,
        )
        secret = password, recaptcha_token, invisible_recaptcha_token
        return _outcome(await self._post(wire.REGISTER_PATH, body, *secret))

    @drops_frames_async
    async def verify(self, code: str, outcome: LoginOutcome) -> LoginOutcome:
        """Returns the outcome after the shopper has typed in the code that Wix sent by email.

        Args:
            code: what the shopper has typed in.
            outcome: of ``login`` or ``register``, with the state ``"email_verification_required"``.

        Raises:
            MemberLoginError: the code is wrong or too old.
            TokenRequestError: Wix's answer is no JSON. Nothing changed.
            ConfigurationError: the outcome needs no code.
            What ``VisitorSession.request`` raises.
        """
        if outcome.state != "email_verification_required":
            raise ConfigurationError(f"verify: an outcome with the state {outcome.state!r} needs no code")
        body = {"code": code, "stateToken": outcome.state_token}
        return _outcome(await self._post(wire.VERIFY_PATH, body, code, outcome.state_token))

    @drops_frames_async
    async def complete(self, outcome: LoginOutcome) -> Tokens:
        """Turns a successful outcome into the member's tokens, without a browser, saves them and adopts them.

        Wix has no documented call for that. Like Wix's own example for servers, this reads the code from the page that
        Wix makes for browsers. If Wix changes that page, it fails with a ``MemberLoginError``; then
        ``start_login(redirect_uri, session_token=outcome.session_token, prompt="none")`` goes through the browser.

        Raises:
            MemberLoginError: Wix refuses, or its page holds no code. Nothing changed.
            WixAPIError: Wix gives no address of that page. Nothing changed.
            TokenRequestError, StorageError: as for ``finish_login``.
            ConfigurationError: the outcome is not successful.
            What ``VisitorSession.request`` raises.

        Cancellation: as for ``finish_login``.
        """
        if outcome.state != "success":
            raise ConfigurationError(f"complete: the outcome's state is {outcome.state!r}, not 'success'")
        login = await self._start("", prompt="none", response_mode="web_message", session_token=outcome.session_token)
        return await self._finish(login, wire.posted_params(await self._page(login.url)))

    async def _page(self, url: str) -> str:
        async with self._session.stream("GET", url, follow_redirects=True) as response:
            if not response.is_success:
                raise MemberLoginError(
                    f"Wix's page for logins answered {response.status_code}", status_code=response.status_code
                )
            page = bytearray()
            async for chunk in response.aiter_bytes():
                page += chunk
                if len(page) > _MAX_PAGE:
                    break
        return page.decode("utf-8", "replace")

    # Your own identity provider

    @overload
    async def login_external(self, member_id: str, *, api_key: str) -> Tokens: ...
    @overload
    async def login_external(self, *, email: str, api_key: str, profile: Mapping[str, Any] | None = None) -> Tokens: ...
    @drops_frames_async
    async def login_external(
        self,
        member_id: str | None = None,
        *,
        email: str | None = None,
        api_key: str,
        profile: Mapping[str, Any] | None = None,
    ) -> Tokens:
        """Logs a member in whom your own program has authenticated. For servers only: the API key is a secret.

        The key is sent to Wix's token endpoint and sign-on, to no other origin, and across no redirect.

        Args:
            member_id: the member's ID at Wix. Wix's own pages do not know this login.
            email: in place of ``member_id``: signs the member on, and creates one if there is none. Wix's own pages,
                such as the checkout, know this login.
            api_key: an API key of the site's owner.
            profile: of a member who is created, in REST's keys.

        Returns:
            The member's tokens, which are saved and adopted.

        Raises:
            MemberLoginError: Wix refuses. Nothing changed.
            TokenRequestError, StorageError: as for ``finish_login``.
            ConfigurationError: an argument is wrong.

        Cancellation: as for ``finish_login``.
        """
        if (member_id is None) == (email is None):
            raise ConfigurationError("login_external: expected a member_id, or email=")
        if not isinstance(api_key, str) or re.fullmatch(r"[!-+\--~]+", api_key) is None:
            raise ConfigurationError("login_external: api_key= is empty, or holds characters that no key has")
        headers = await self._session.auth_headers()
        authorization, session_token = f"{headers['Authorization']},{api_key}", None
        if email is not None:
            request = wire.sign_on_request(email, profile, authorization)
            session_token, member_id = await self._sign_on(request)
        assert member_id is not None
        return await self._session._log_in(wire.external_request(member_id, session_token, authorization))

    async def _sign_on(self, request: Any) -> tuple[str, str]:
        answer = await self._session._refresher.post(request)
        if answer.status_code == 429 or answer.status_code >= 500:
            raise TokenRequestError(
                f"Wix's sign-on answered {answer.status_code}; try again later",
                status_code=answer.status_code,
                request_id=answer.request_id,
                retry_after=answer.retry_after,
            )
        if answer.status_code // 100 != 2:
            raise wire.exchange_error(answer)
        return wire.read_sign_on(answer.json)

    # Passwords and logout

    @drops_frames_async
    async def send_password_reset(self, email: str, redirect_uri: str) -> None:
        """Lets Wix send the member an email with a link to set a new password.

        Args:
            email: the member's.
            redirect_uri: where the browser goes after that.

        Raises:
            MemberLoginError: Wix refuses; ``reason`` says why.
            What ``VisitorSession.request`` raises.
        """
        await self._send(wire.RECOVERY_PATH, wire.recovery_body(self._session.client_id, email, redirect_uri))

    @drops_frames_async
    async def logout(self, return_to: str) -> str:
        """Logs the member out: drops the tokens here, and returns the address that logs out at Wix.

        The browser has to visit that address: it ends Wix's own session, and comes back to ``return_to``. The next
        request of this session makes a new visitor.

        Args:
            return_to: where Wix sends the browser back. It has to be listed in the site's Headless Settings.

        Raises:
            WixAPIError: Wix refuses; the tokens are dropped all the same.
            StorageError: the record could not be read or removed.
            ConfigurationError: neither the session nor its record has tokens, or ``return_to`` is no address.
            What ``VisitorSession.request`` raises; the tokens are dropped all the same.

        Cancellation: the tokens are dropped all the same.
        """
        _check_address(return_to, "return_to")
        session = self._session
        try:
            if is_empty(session.get_tokens()):
                await session._refresher.load()  # nothing was read yet, or another process has logged in
            is_nobody = is_empty(session.get_tokens())
            body = wire.logout_body(session.client_id, return_to)
            url = "" if is_nobody else await Redirects(session).create(body)
        except Exception:
            await session._log_out()
            raise
        except GeneratorExit:
            raise
        except BaseException:  # cancelled
            await session._log_out(waits=False)
            raise
        if is_nobody:
            raise ConfigurationError("logout: this session has no member")
        await session._log_out()
        return url

    async def _post(self, path: str, body: dict[str, Any], *secret: str | None) -> Any:
        """Returns the JSON of an answer of the login API.

        Raises:
            MemberLoginError: the answer is an error. It shows no secret.
            TokenRequestError: the answer is no JSON.
        """
        response = await self._send(path, body, *secret)
        content = parsed(response.content)
        if content is None:
            raise TokenRequestError(
                f"Wix's login API answered {response.status_code} with something that is no JSON; try again later",
                status_code=response.status_code,
            )
        return content

    async def _send(self, path: str, body: dict[str, Any], *secret: str | None) -> Any:
        response = await self._session.post(path, json=body)
        if not response.is_success:
            known = tuple(text for text in secret if text and len(text) >= _MIN_SECRET)
            raise wire.login_error(error_of(response, known)) from None
        return response


def _check_address(address: object, name: str) -> None:
    if not isinstance(address, str) or _ADDRESS.fullmatch(address) is None:
        raise ConfigurationError(
            f"{name}: expected an address like https://shop.example/thanks, as it is listed at Wix"
        )


def _outcome(content: Any) -> LoginOutcome:
    state, session_token, state_token = wire.read_outcome(content)
    return LoginOutcome(state=state, session_token=session_token, state_token=state_token)  # type: ignore[arg-type] # one of them


def _one_of(value: object, kind: Any, name: str) -> None:
    if value not in get_args(kind):
        raise ConfigurationError(f"{name}: expected one of {', '.join(get_args(kind))}")
