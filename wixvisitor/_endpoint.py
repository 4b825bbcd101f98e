"""Asks Wix's token endpoint: sends what ``_wire`` built, and maps whatever goes wrong at this one edge.

A token request uses the session's transport and the client's own headers, and nothing else of the caller's: no hooks,
no history, no cookies, no redirects, no ``auth``, and it has a timeout of its own. It is retried inside the renewal's
time budget.
"""

from __future__ import annotations

from typing import Any, Final

import anyio

from wixvisitor import _wire
from wixvisitor._connections import Connections
from wixvisitor._family import end_stream
from wixvisitor._masking import mask, safe_cause
from wixvisitor._requests import MARK, URGENT, USER_AGENT, of_every_request
from wixvisitor._settings import Settings
from wixvisitor._wire import Granted, Refused, TokenAnswer, TokenRequest
from wixvisitor.errors import TokenRequestError

_TIMEOUTS: Final = {"connect": 5.0, "read": 10.0, "write": 5.0, "pool": 5.0}  # seconds, of one attempt
_LONGEST_BODY: Final = 65_536  # bytes; a token response has about 1,500
_HEADERS: Final = {  # beside the client's own
    "Accept-Encoding": "identity",  # 64 KiB of gzip may be 64 MB
    "Accept": "application/json",  # without it Wix's bot protection was seen to answer 403 with an HTML page
    "Content-Type": "application/json",
}


class TokenEndpoint:
    """Wix's ``/oauth2/token``.

    Concurrency: safe from many tasks. Cancellation: whether Wix saw the request is then unknown, which does no harm:
    a renewal can be repeated, and a minted visitor that nobody was told of is nobody's.
    """

    __slots__ = ("connections", "settings")

    def __init__(self, settings: Settings, connections: Connections) -> None:
        self.settings = settings
        self.connections = connections

    async def mint(self, deadline: float) -> Granted:
        """Returns a new visitor's tokens.

        Args:
            deadline: by ``anyio.current_time()``; retries included.

        Raises:
            TokenRequestError: no usable answer.
            ConfigurationError: the client ID is wrong.
        """
        answer = await self._ask(_wire.mint_request(self.settings.client_id), deadline)
        assert isinstance(answer, Granted)
        return answer

    async def renew(self, refresh_token: str, deadline: float) -> Granted | Refused:
        """Returns a new access token for the same visitor, or that Wix refuses.

        Args:
            refresh_token: the visitor.
            deadline: by ``anyio.current_time()``; retries included.

        Raises:
            TokenRequestError: no usable answer; the visitor is intact.
            ConfigurationError: the client ID is wrong.
        """
        return await self._ask(_wire.renew_request(self.settings.client_id, refresh_token), deadline)

    async def _ask(self, request: TokenRequest, deadline: float) -> Granted | Refused:
        try:
            with anyio.fail_after(max(0.0, deadline - anyio.current_time())) as scope:
                return await self._ask_repeatedly(request, scope)
        except TimeoutError:
            raise TokenRequestError(
                f"The token endpoint gave no answer within {self.settings.renew_timeout:g} s. "
                "The visitor is unchanged; try again later."
            ) from None

    async def _ask_repeatedly(self, request: TokenRequest, scope: anyio.CancelScope) -> Granted | Refused:
        try:
            from wixvisitor import _attempts  # noqa: PLC0415 - tenacity is slow to import; a resumed visitor may not need it
        except (OSError, ImportError) as error:  # no descriptor is left to read it with
            raise _no_answer(error, request) from safe_cause(error)
        answered: TokenRequestError | None = None
        async for attempt in _attempts.attempts(scope):
            with attempt:
                try:
                    return await self._ask_once(request)
                except TokenRequestError as error:
                    if error.status_code is None and answered is not None:
                        raise answered from None  # what Wix said tells more than its silence after it
                    answered = error if error.status_code else None
                    raise
        raise AssertionError("tenacity ends with a value or an error")  # pragma: no cover

    async def _ask_once(self, request: TokenRequest) -> Granted | Refused:
        requested_at = self.settings.clock()
        try:
            answer = await self._exchange(request)
        except Exception as error:
            raise _no_answer(error, request) from safe_cause(error, (request.secret,))
        if answer.status_code == 200:
            return _wire.grant(answer, requested_at)
        if request.secret and self._is_refused(request.secret, answer):
            return Refused(answer)
        raise _wire.failure(answer, request)

    def _is_refused(self, refresh_token: str, answer: TokenAnswer) -> bool:
        if self.settings.is_refusal(answer):
            return True
        return _wire.has_run_out(refresh_token, answer, self.settings.clock())

    async def _exchange(self, request: TokenRequest) -> TokenAnswer:
        connection = self.connections.current()
        if connection.client.is_closed:
            raise RuntimeError("the httpx client has been closed")
        family = connection.family
        url = family.URL(self.settings.origins.absolute(_wire.TOKEN_PATH))
        headers = family.Headers([*of_every_request(connection.client.headers.raw), *_HEADERS.items()])
        headers.setdefault("User-Agent", USER_AGENT)
        extensions = {"timeout": dict(_TIMEOUTS), MARK: object(), URGENT: True}
        message = family.Request("POST", url, headers=headers, content=request.content, extensions=extensions)
        try:
            response = await connection.ways.of_token_calls(connection.client, url).handle_async_request(message)
        except family.PoolTimeout:
            wait = f"the client's connections were all busy with other requests for {_TIMEOUTS['pool']:g} s"
            raise family.PoolTimeout(wait, request=message) from None
        body, cut = await _read(response)
        headers = {name.lower(): value for name, value in response.headers.items()}
        return _wire.read_answer(
            response.status_code, body, headers=headers, now=self.settings.clock(), secret=request.secret, cut=cut
        )


async def _read(response: Any) -> tuple[bytes, bool]:
    """Returns the body and whether it was cut: nobody sends us 50 MB of tokens. Closes the response."""
    if response.is_closed:  # a transport that logs or caches has read it
        return response.content[:_LONGEST_BODY], len(response.content) > _LONGEST_BODY
    chunks, size, source = [], 0, aiter(response.stream)
    try:
        async for chunk in source:
            chunks.append(chunk)
            size += len(chunk)
            if size > _LONGEST_BODY:
                return b"".join(chunks)[:_LONGEST_BODY], True
        return b"".join(chunks), False
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(1.0):
            await end_stream(response, source)


def _no_answer(error: Exception, request: TokenRequest) -> TokenRequestError:
    reason = mask(str(error), (request.secret,))[:200]
    return TokenRequestError(
        f"The token endpoint could not be reached ({type(error).__name__}{': ' if reason else ''}{reason}). "
        "The visitor is unchanged; try again later."
    )
