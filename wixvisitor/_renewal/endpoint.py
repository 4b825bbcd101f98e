"""Asks Wix's token endpoint, and maps whatever goes wrong with it.

A token request uses the session's transport and the client's own headers, and nothing else of the caller's client: no
hooks, no history, no cookies, no redirects and no ``auth``. It has its own timeout, and is repeated within the
renewal's time.
"""

from __future__ import annotations

import random
from typing import Any, Final

import anyio

from wixvisitor._http.clients import Connection, Connections
from wixvisitor._http.compat import end_stream
from wixvisitor._http.internals import transport_stream
from wixvisitor._http.requests import REQUEST_MARKER, URGENT, USER_AGENT, shared_headers
from wixvisitor._renewal.limiter import Permit
from wixvisitor._renewal.observers import RequestBegins
from wixvisitor._renewal.settings import Settings
from wixvisitor._tasks import shared_task
from wixvisitor._tasks.log import fields, logger
from wixvisitor._tasks.shared_task import is_failure
from wixvisitor._tasks.time_limits import StandstillWatch
from wixvisitor._wire import token_endpoint
from wixvisitor._wire.redaction import drops_frames_async, redact, safe_cause
from wixvisitor._wire.token_endpoint import Granted, Refused, TokenAnswer, TokenRequest
from wixvisitor.errors import ConfigurationError, TokenRequestError

_ATTEMPTS: Final = 3
_MAX_WAIT: Final = 2.0  # seconds before a repeat; if Wix asks for more, the call fails at once
_TIMEOUTS: Final = {"connect": 5.0, "read": None, "write": 5.0, "pool": 5.0}  # seconds, of one attempt
_MAX_ATTEMPT: Final = 10.0  # seconds of one attempt; kept here, because an HTTP client knows no standstill
_MAX_BODY: Final = 65_536  # bytes, unpacked ones too; a token response has about 1,500
_HEADERS: Final = {  # beside the client's own
    "Accept-Encoding": "identity",  # some gateways compress in spite of it
    "Accept": "application/json",  # without it Wix's bot protection was seen to answer 403 with an HTML page
    "Content-Type": "application/json",
}


def back_off(attempt: int) -> float:
    """Returns the seconds before the next attempt: 0.1 to 0.3 after the first, then 0.2 to 0.4."""
    return 0.1 * 2.0 ** (attempt - 1) + random.uniform(0.0, 0.2)  # noqa: S311 - spreads load, protects nothing


class TokenEndpoint:
    """Wix's ``/oauth2/token``.

    Concurrency: safe from many tasks.
    Cancellation: Wix may or may not have seen the request. A renewal can be repeated, and an orphaned new visitor at
    Wix is harmless.
    """

    __slots__ = ("connections", "settings")

    def __init__(self, settings: Settings, connections: Connections) -> None:
        self.settings = settings
        self.connections = connections

    def check_open(self) -> None:
        """Raises ``ConfigurationError`` if the pool was closed in this event loop."""
        self.connections.check_open()

    @drops_frames_async
    async def mint(self, deadline: float, permit: Permit) -> Granted:
        """Returns a new visitor's tokens.

        Args:
            deadline: by ``anyio.current_time()``; repeats included.
            permit: gets the result.

        Raises:
            TokenRequestError: no usable answer.
            ConfigurationError: the client ID is wrong.
        """
        answer = await self._ask(token_endpoint.mint_request(self.settings.client_id), deadline, permit)
        assert isinstance(answer, Granted)
        return answer

    @drops_frames_async
    async def renew(self, refresh_token: str, deadline: float, permit: Permit) -> Granted | Refused:
        """Returns a new access token for the same visitor, or that Wix refuses.

        Args:
            refresh_token: the visitor.
            deadline: by ``anyio.current_time()``; repeats included.
            permit: gets the result.

        Raises:
            TokenRequestError: no usable answer; the visitor is intact.
            ConfigurationError: the client ID is wrong.
        """
        return await self._ask(token_endpoint.renew_request(self.settings.client_id, refresh_token), deadline, permit)

    @drops_frames_async
    async def exchange(self, request: TokenRequest, deadline: float, permit: Permit) -> Granted | Refused:
        """Returns a member's tokens for a login, or that Wix refuses it. The request is sent once.

        Args:
            request: of ``_wire.members``.
            deadline: by ``anyio.current_time()``.
            permit: gets the result.

        Raises:
            TokenRequestError: no usable answer. Wix may have seen the request, so the login has to begin again.
            ConfigurationError: the client ID is wrong.
        """
        return await self._ask(request, deadline, permit)

    @drops_frames_async
    async def post(self, request: TokenRequest) -> TokenAnswer:
        """Sends a request to Wix's sign-on or ``token-info`` once, without redirects, and returns the answer.

        Raises:
            TokenRequestError: there was no answer in time.
        """
        seconds = self.settings.renew_timeout
        watch = StandstillWatch(anyio.current_time() + seconds, seconds)
        try:
            async with watch.running():
                return await self._exchange(request, watch)
        except TimeoutError:
            raise _too_late("The token-info" if request.path.endswith("info") else "Wix's sign-on", seconds) from None

    async def _ask(self, request: TokenRequest, deadline: float, permit: Permit) -> Granted | Refused:
        """Asks within the deadline, and reports the result to the permit."""
        watch = StandstillWatch(deadline, self.settings.renew_timeout)
        try:
            async with watch.running():
                answer = await self._ask_repeatedly(request, deadline, permit, watch)
        except TimeoutError:
            late = _too_late("The token endpoint", self.settings.renew_timeout)
            raise self._noted(late, request, permit, watch) from None
        except (TokenRequestError, ConfigurationError) as error:
            self._noted(error, request, permit, watch)
            raise
        if isinstance(answer, Granted):
            permit.succeeded(is_renewal=bool(request.refresh_token))
        return answer

    def _noted(
        self,
        error: TokenRequestError | ConfigurationError,
        request: TokenRequest,
        permit: Permit,
        watch: StandstillWatch,
    ) -> TokenRequestError | ConfigurationError:
        """Reports a failure to the permit, and returns it. Silence while the process stood still is no failure."""
        if watch.was_frozen and error.status_code is None and isinstance(error, TokenRequestError):
            error._was_frozen = True
            if request.refresh_token:
                permit.was_frozen(request.refresh_token)
        else:
            permit.failed(error)
        return error

    async def _ask_repeatedly(
        self, request: TokenRequest, deadline: float, permit: Permit, watch: StandstillWatch
    ) -> Granted | Refused:
        """Asks up to three times, as long as it may help and there is time for an answer."""
        answered: TokenRequestError | None = None
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._ask_once(request, attempt, permit, watch)
            except TokenRequestError as error:
                if error.status_code is None and watch.check():
                    raise  # the caller asks again, with all of the time
                if error.status_code is None and answered is not None:
                    raise answered from None  # Wix's answer tells more than its silence after it
                answered = error if error.status_code else None
                if error.status_code == 429:
                    permit.failed(error)  # a limit of the site: the other visitors must know at once
                wait = None if request.works_once else self._wait_before_repeat(attempt, error, deadline)
                if wait is None or permit.is_stopped:
                    raise
                about = fields(permit.visitor, error=error)
                logger.info("wixvisitor: the token request is repeated in %.1f s: %s", wait, error, extra=about)
                await anyio.sleep(wait)
                if permit.is_stopped:
                    raise
        raise AssertionError("the last attempt returns or raises")  # pragma: no cover

    async def _ask_once(
        self, request: TokenRequest, attempt: int, permit: Permit, watch: StandstillWatch
    ) -> Granted | Refused:
        """Sends the request once, judges the answer, and tells of it."""
        observers, requested_at = self.settings.observers, self.settings.clock()
        if not (observers.listeners or observers.tracers):
            return self._judged(await self._exchange(request, watch), request, requested_at, permit)
        begins = RequestBegins(
            key=permit.visitor,
            grant_type=request.grant_type,
            url=str(self.settings.origins.absolute(request.path)),
            attempt=attempt,
            is_background=shared_task.cause() is not None,
        )
        with observers.requesting(begins, watch) as found:
            answer = await self._exchange(request, watch)
            found.update(status_code=answer.status_code, request_id=answer.request_id)
            judged = self._judged(answer, request, requested_at, permit)
            found["outcome"] = "granted" if isinstance(judged, Granted) else "refused"
            return judged

    def _wait_before_repeat(self, attempt: int, error: TokenRequestError, deadline: float) -> float | None:
        """Returns the seconds to wait: Wix's ``Retry-After``, else 0.1 to 0.3, doubling; None for no repeat.

        A call is made only if there is time to wait for its answer. Where refresh tokens work once, the visitor would
        be lost otherwise.
        """
        if attempt == _ATTEMPTS or error.status_code in (400, 401, 403):  # the next answer would be the same
            return None
        wait = back_off(attempt) if error.retry_after is None else error.retry_after
        least = min(1.0, self.settings.renew_timeout / 10)
        fits = wait <= _MAX_WAIT and anyio.current_time() + wait + least < deadline
        return wait if fits else None

    def _judged(
        self, answer: TokenAnswer, request: TokenRequest, requested_at: float, permit: Permit
    ) -> Granted | Refused:
        """Returns what an answer means, or raises if it is of no use."""
        requested_at = self.settings.server_clock.note_token_answer(answer.date, requested_at)
        if answer.status_code == 200:
            granted = token_endpoint.grant(answer, requested_at)
            self.settings.server_clock.note_grant(granted.access_token)
            return granted
        if request.works_once and answer.status_code in (400, 401, 403):
            return Refused(answer)  # of this login alone; it says nothing about any visitor or the site
        if request.refresh_token and self._is_refused(request.refresh_token, answer, permit):
            return Refused(answer)
        raise token_endpoint.failure(answer)

    def _is_refused(self, refresh_token: str, answer: TokenAnswer, permit: Permit) -> bool:
        if token_endpoint.has_run_out(refresh_token, answer, self.settings.server_clock.now()):
            return True
        verdict = self.settings.judge_refusal(answer)
        if verdict == "certain" and permit.is_after_standstill(refresh_token):
            verdict = "doubtful"  # the call before may have arrived, and have rotated the refresh token
        return verdict == "certain" or (
            verdict == "doubtful" and permit.doubts(refresh_token, token_endpoint.kind_of(answer))
        )

    async def _exchange(self, request: TokenRequest, watch: StandstillWatch) -> TokenAnswer:
        """Sends the request and returns the answer; maps whatever goes wrong on the way."""
        try:
            with watch.limit(_MAX_ATTEMPT):
                connection = self.connections.current()
                client = connection.transports.token_client(connection.client)
                response = await client.send(self._message(connection, request), auth=None, stream=True)
                return await self._read(response, request)
        except ConfigurationError:
            raise  # the client's own fault, such as a proxy that it cannot use
        except BaseException as error:
            if not is_failure(error):
                raise
            _drop_body(error)
            raise _no_answer(error, request, self.settings.origins.base_origin) from safe_cause(error, request.secrets)

    def _message(self, connection: Connection, request: TokenRequest) -> Any:
        """Returns the family's request."""
        if connection.client.is_closed:
            raise RuntimeError("the httpx client has been closed")
        family = connection.family
        headers = family.Headers([*shared_headers(connection.client.headers.raw), *_HEADERS.items()])
        headers.setdefault("User-Agent", USER_AGENT)
        if request.authorization:
            headers["Authorization"] = request.authorization
        url = family.URL(self.settings.origins.absolute(request.path))
        extensions = {"timeout": dict(_TIMEOUTS), REQUEST_MARKER: object(), URGENT: True}
        return family.Request("POST", url, headers=headers, content=request.content, extensions=extensions)

    async def _read(self, response: Any, request: TokenRequest) -> TokenAnswer:
        is_unpacked = response.is_closed  # a transport that logs or caches has read the body
        body, cut = await _read(response)
        headers = {name.lower(): value for name, value in response.headers.items()}
        encodings = headers.get("content-encoding", "")
        if encodings:
            body, cut, encodings = _unpacked(body, encodings, cut=cut, is_unpacked=is_unpacked)
        return token_endpoint.read_answer(
            response.status_code,
            body,
            headers=headers,
            now=self.settings.clock(),
            secrets=request.secrets,
            cut=cut,
            encodings=encodings,
        )


def _unpacked(body: bytes, encodings: str, *, cut: bool, is_unpacked: bool) -> tuple[bytes, bool, str]:
    """Returns the decompressed body, whether it is cut, and the encodings that could not be decompressed."""
    from wixvisitor._http.encodings import decoded, is_text  # noqa: PLC0415 - most answers are not compressed

    if is_unpacked:
        return body, cut, "" if is_text(body) else encodings  # the transport's library may not know the encoding
    found = None if cut else decoded(body, encodings, _MAX_BODY)
    return (body, cut, encodings) if found is None else (*found, "")


async def _read(response: Any) -> tuple[bytes, bool]:
    """Returns the body, cut at ``_MAX_BODY`` bytes, and whether it was cut. Closes the response."""
    if response.is_closed:
        return response.content[:_MAX_BODY], len(response.content) > _MAX_BODY
    chunks, size, source = [], 0, aiter(transport_stream(response))
    try:
        async for chunk in source:
            chunks.append(chunk)
            size += len(chunk)
            if size > _MAX_BODY:
                return b"".join(chunks)[:_MAX_BODY], True
        return b"".join(chunks), False
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(1.0):
            await end_stream(response, source)


def _drop_body(error: BaseException) -> None:
    """Gives an error of httpx or httpx2 a request without a body, since the token request's holds a refresh token."""
    request = vars(error).get("_request")
    if request is not None and hasattr(type(error), "request"):
        error.request = type(request)(request.method, request.url)  # type: ignore[attr-defined] # both libraries have it


def _too_late(who: str, seconds: float) -> TokenRequestError:
    return TokenRequestError(f"{who} gave no answer within {seconds:g} s. The visitor is unchanged; try again later.")


def _no_answer(error: BaseException, request: TokenRequest, where: str) -> TokenRequestError:
    reason = redact(str(error), request.secrets)[:200]
    if type(error).__name__ == "PoolTimeout":  # httpx's or httpx2's
        reason = f"the client's connections were all busy with other requests for {_TIMEOUTS['pool']:g} s"
    what = f"{type(error).__name__}{': ' if reason else ''}{reason}"
    return TokenRequestError(
        f"The token endpoint of {where} could not be reached ({what}). The visitor is unchanged; try again later."
    )
