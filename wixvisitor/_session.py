"""What users hold: one visitor."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack, cast

import anyio
import httpx

from wixvisitor import _checks
from wixvisitor._auth import VisitorAuth, auth_for
from wixvisitor._http.arguments import AnyClient, ClientMaker, RequestArguments, URLTypes
from wixvisitor._http.requests import check_headers
from wixvisitor._renewal.changes import Event, Policy, TokensChanged
from wixvisitor._tokens import RefreshToken, TokenRole, Tokens
from wixvisitor._wire import graphql
from wixvisitor._wire.api_errors import raise_for_error
from wixvisitor._wire.graphql import GraphQLResult
from wixvisitor._wire.redaction import drop_request_frames
from wixvisitor._wire.token_endpoint import TokenAnswer, TokenRequest, Verdict
from wixvisitor.errors import ConfigurationError
from wixvisitor.members import Checkout, Members, Redirects
from wixvisitor.storage import MemoryStorage, TokenStorage
from wixvisitor.storage._protocol import settle

if TYPE_CHECKING:
    from wixvisitor._http.clients import Connections
    from wixvisitor._renewal.refresher import Refresher
    from wixvisitor._renewal.settings import Settings


class VisitorSession(_checks.NotCopied):
    """One Wix visitor, kept alive.

    Args:
        client_id: the GUID that the site's dashboard shows: Settings, Headless Settings, the OAuth app.
        tokens: a visitor to resume. They replace the storage's record and are saved, unless that record has had them
            before. So the same tokens given at each start, from an environment variable for instance, change nothing.
            ``EMPTY_TOKENS`` counts as None, as in JavaScript.
        storage: keeps the visitor beyond the life of the process; None keeps it in memory.
        key: the key of this visitor's record in the storage.
        client: an ``httpx.AsyncClient`` or ``httpx2.AsyncClient`` of yours, never closed here; or a function that
            makes one for the session, once in each event loop; None: httpx's own.
        base_url: the base of relative URLs and of the token endpoint. None: the client's own ``base_url``, else
            ``"https://www.wixapis.com"``. If the client has a base URL, both have to be the same.
        allowed_origins: further origins that requests with the token may go to, like ``"https://edge.wixapis.com"``.
        renew_before: seconds before the token's expiry at which a renewal starts in the background; at most a quarter
            of the token's lifetime.
        on_refused: what happens when Wix refuses the refresh token: ``"auto"`` creates a new visitor for a visitor and
            raises ``SessionExpired`` for a member; ``"new_visitor"`` creates one for both; ``"raise"`` raises for both.
        on_change: called with a ``TokensChanged`` after the tokens have changed.
        on_event: called with every ``Event``: token requests, waits, pauses, leases, calls of the store, and changes of
            the tokens. ``on_event`` and ``on_change`` are plain functions. They are called in the renewal's task,
            outside every lock, in the ``contextvars`` context of the request that caused it. Their exceptions are
            logged.
        renew_timeout: seconds that a renewal has to ask Wix, including retries and waiting for another process. A
            process's lease ends after a third of this time. A process that has waited for three quarters of it goes
            ahead without the lease. A store has 10 s for each call. In a pool, waiting for a permit may take as long
            again.
        judge_refusal: judges whether an answer of the token endpoint refuses the refresh token: ``"certain"``,
            ``"doubtful"`` or ``"never"``; see the function ``judge_refusal``. A doubtful refusal changes nothing until
            it is confirmed.
        clock: seconds since the epoch; for tests.
        max_retries: how often a reading call of ``wixvisitor.apis`` is sent again after a connection error, a 503 or a
            short 429. Requests by ``get``, ``post`` and the like are sent once.
        is_refusal: deprecated: use ``judge_refusal``; version 0.2 removes it. Its True means ``"certain"``, its False
            ``"never"``.

    Use it with ``async with``, or call ``await session.aclose()`` at the end. The storage is read at entry or at first
    use. A closed session can be used again, also in another event loop.

    Raises:
        ConfigurationError: an argument is wrong.

    Concurrency: share it between asyncio tasks, or trio's: any number of callers share one renewal. Threads use
    ``BlockingVisitorSession``, which is thread-safe. Event loops may follow one another. Two that run at the same time,
    in two threads, count as two processes: they meet in the store, which keeps the visitor one.
    Cancellation: never harms the visitor or other callers. A renewal under way goes on.
    """

    # __dict__ is for unittest.mock.patch.object(session, "get"); Python makes it at its first use.
    __slots__ = ("__dict__", "__weakref__", "_refresher")

    def __init__(
        self,
        client_id: str,
        *,
        tokens: Tokens | None = None,
        storage: TokenStorage | None = None,
        key: str = "default",
        client: AnyClient | ClientMaker | None = None,
        base_url: str | None = None,
        allowed_origins: Sequence[str] = (),
        renew_before: float = 900.0,
        on_refused: Policy = "auto",
        on_change: Callable[[TokensChanged], object] | None = None,
        on_event: Callable[[Event], None] | None = None,
        renew_timeout: float = 15.0,
        judge_refusal: Callable[[TokenAnswer], Verdict] | None = None,
        clock: Callable[[], float] | None = None,
        max_retries: int = 2,
        is_refusal: Callable[[TokenAnswer], bool] | None = None,
    ) -> None:
        # Imported when the first session is made, because these modules take long to import.
        from wixvisitor._http.clients import Connections  # noqa: PLC0415
        from wixvisitor._renewal.endpoint import TokenEndpoint  # noqa: PLC0415
        from wixvisitor._renewal.refresher import Refresher  # noqa: PLC0415
        from wixvisitor._renewal.settings import checked  # noqa: PLC0415

        settings = checked(
            client_id,
            storage=MemoryStorage() if storage is None else storage,
            base_url=base_url,
            client=client,
            allowed_origins=allowed_origins,
            renew_before=renew_before,
            renew_timeout=renew_timeout,
            on_refused=on_refused,
            on_change=on_change,
            on_event=on_event,
            judge_refusal=judge_refusal,
            is_refusal=is_refusal,
            clock=clock,
            max_retries=max_retries,
        )
        if tokens is not None:
            _checks.checked_tokens(tokens)
        origins = settings.origins
        endpoint = TokenEndpoint(settings, Connections(client, origins.allow, origins.check_client))
        given = None if _checks.is_empty(tokens) else tokens
        self._refresher = Refresher(settings, _checks.checked_key(key), endpoint, given)

    @classmethod
    def _of_pool(cls, refresher: Refresher) -> Self:
        """Returns a session whose settings and connections are the pool's."""
        session = cls.__new__(cls)
        session._refresher = refresher
        return session

    @property
    def _settings(self) -> Settings:
        return self._refresher.settings

    @property
    def _connections(self) -> Connections:
        return self._refresher.connections

    async def __aenter__(self) -> Self:
        """Reads the storage; mints no visitor.

        Raises:
            StorageError: it cannot be read.
        """
        await self._refresher.load()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends a renewal under way within 3 seconds and closes the client, if it was made here.

        Callers that still wait for that renewal get a ``TokenRequestError``. A pool does both for its sessions. May be
        called twice. Raises nothing.

        Cancellation: it goes on to its end, at most 3 seconds.
        """
        if not self._settings.limiter.is_shared:
            from wixvisitor._renewal.refresher import CLOSING  # noqa: PLC0415 - as above

            until = anyio.current_time() + CLOSING
            with anyio.CancelScope(shield=True):  # also if the scope around it has been cancelled
                await self._refresher.aclose()
                await self._connections.aclose()
                await settle(self._settings.storage, until - anyio.current_time())

    # Tokens, with the names of @wix/sdk's OAuthStrategy

    async def generate_visitor_tokens(self, tokens: Tokens | None = None) -> Tokens:
        """Returns valid tokens: the present ones if they are valid, else renewed ones, else those of a new visitor.

        Args:
            tokens: used and adopted instead of the session's own; None or empty tokens: the session's own. Older tokens
                of the same visitor (same ``aid`` and role, earlier ``iat``) change nothing.

        Raises:
            TokenRequestError: Wix could not be asked; the visitor is unchanged.
            SessionExpired: Wix refused a refresh token that ``on_refused`` does not replace.
            StorageError: a new visitor could not be saved; it is kept, and the next use saves it again.
            ConfigurationError: the tokens or the client ID are wrong.

        Concurrency: any number of callers get the same visitor.
        Cancellation: leaves the renewal running; ask again for its result.
        """
        if tokens is not None:
            _checks.checked_tokens(tokens)
        if tokens is not None and not _checks.is_empty(tokens):
            from wixvisitor._renewal.decision import is_older_copy  # noqa: PLC0415 - as above

            await self._refresher.load()
            held = self._refresher.state.tokens()
            if tokens != held and not is_older_copy(tokens, held):
                await self.set_tokens(tokens)
        return (await self._refresher.usable()).tokens

    def get_tokens(self) -> Tokens:
        """Returns the session's present tokens, ``EMPTY_TOKENS`` if it has none. Calls neither Wix nor the storage."""
        return self._refresher.state.tokens()

    async def set_tokens(self, tokens: Tokens) -> None:
        """Adopts tokens, for instance a member's after login; ``EMPTY_TOKENS`` forgets the visitor.

        They are saved first, and replace the result of a renewal under way.

        Raises:
            StorageError: they could not be saved; they are kept, and the next use saves them again.
            ConfigurationError: they are no ``Tokens``.

        Cancellation: the tokens are saved and adopted all the same.
        """
        await self._refresher.set(tokens)

    async def renew_token(self, refresh_token: RefreshToken | None = None) -> Tokens:
        """Asks Wix for a new access token, even if the present one is still fresh.

        Args:
            refresh_token: None, or the session's own: renews the session's tokens. Another one: returns its new tokens,
                and the session keeps its own visitor, as in JavaScript, unless it has none.

        Raises: as ``generate_visitor_tokens``; SessionExpired also when another refresh token is refused.
        """
        return await self._refresher.renew(refresh_token)

    def logged_in(self) -> bool:
        """Returns whether the present tokens are a member's."""
        return self._refresher.state.tokens().refresh_token.role is TokenRole.MEMBER

    async def auth_headers(self) -> dict[str, str]:
        """Returns ``{"Authorization": token}``, for requests that you send by other means.

        Raises: as ``generate_visitor_tokens``.
        """
        held = self._refresher.state.fresh() or await self._refresher.usable()
        return {"Authorization": held.value}

    @property
    def client_id(self) -> str:
        """The site's client ID."""
        return self._settings.client_id

    @property
    def key(self) -> str:
        """The key of this visitor's record in the storage; ``on_change`` gets the same key."""
        return self._refresher.state.key

    @property
    def max_retries(self) -> int:
        """How often a reading call of ``wixvisitor.apis`` is sent again."""
        return self._settings.max_retries

    @property
    def auth(self) -> VisitorAuth:
        """The visitor as an ``auth`` for any httpx or httpx2 client."""
        return auth_for(self._refresher, httpx2=True)

    # Members and checkout

    @property
    def members(self) -> Members:
        """Logins, registrations and logouts of this visitor."""
        return Members(self)

    @property
    def redirects(self) -> Redirects:
        """Addresses of Wix's own pages, such as the checkout of bookings or events."""
        return Redirects(self)

    @property
    def checkout(self) -> Checkout:
        """The checkout of this visitor's cart."""
        return Checkout(self)

    async def _log_in(self, request: TokenRequest) -> Tokens:
        """Exchanges a login for a member's tokens and adopts them; see ``Refresher.log_in``."""
        return await self._refresher.log_in(request)

    async def _log_out(self, *, waits: bool = True) -> None:
        """Forgets the member; without waiting for the store if the caller was cancelled."""
        if waits:
            await self._refresher.forget()
        else:
            self._refresher.start_to_forget()

    # Requests

    async def request(self, method: str, url: URLTypes, **arguments: Unpack[RequestArguments]) -> httpx.Response:
        """Sends a request as this visitor, through the session's client.

        Args:
            method: the HTTP method.
            url: relative to ``base_url``, or absolute. Requests to origins that are not allowed go without the token.
            arguments: those of ``httpx.AsyncClient.request``, except ``auth``.

        Returns:
            The client's response (httpx2's from an httpx2 client), whatever its status: see ``raise_for_error``.

        Raises:
            TokenRequestError, SessionExpired, StorageError, ConfigurationError: no token could be obtained.
            ConfigurationError: ``auth`` or an ``Authorization`` header is given; nothing was sent.
            httpx.HTTPError: what the client raises.

        Cancellation: whether Wix saw the request is unknown; the visitor is unchanged.
        """
        return await self._send(method, url, cast("dict[str, Any]", arguments), stream=False)

    async def get(self, url: URLTypes, **arguments: Unpack[RequestArguments]) -> httpx.Response:
        """``request("GET", …)``; raises the same, and cancellation leaves the same."""
        return await self._send("GET", url, cast("dict[str, Any]", arguments), stream=False)

    async def head(self, url: URLTypes, **arguments: Unpack[RequestArguments]) -> httpx.Response:
        """``request("HEAD", …)``; raises the same, and cancellation leaves the same."""
        return await self._send("HEAD", url, cast("dict[str, Any]", arguments), stream=False)

    async def options(self, url: URLTypes, **arguments: Unpack[RequestArguments]) -> httpx.Response:
        """``request("OPTIONS", …)``; raises the same, and cancellation leaves the same."""
        return await self._send("OPTIONS", url, cast("dict[str, Any]", arguments), stream=False)

    async def post(self, url: URLTypes, **arguments: Unpack[RequestArguments]) -> httpx.Response:
        """``request("POST", …)``; raises the same, and cancellation leaves the same."""
        return await self._send("POST", url, cast("dict[str, Any]", arguments), stream=False)

    async def put(self, url: URLTypes, **arguments: Unpack[RequestArguments]) -> httpx.Response:
        """``request("PUT", …)``; raises the same, and cancellation leaves the same."""
        return await self._send("PUT", url, cast("dict[str, Any]", arguments), stream=False)

    async def patch(self, url: URLTypes, **arguments: Unpack[RequestArguments]) -> httpx.Response:
        """``request("PATCH", …)``; raises the same, and cancellation leaves the same."""
        return await self._send("PATCH", url, cast("dict[str, Any]", arguments), stream=False)

    async def delete(self, url: URLTypes, **arguments: Unpack[RequestArguments]) -> httpx.Response:
        """``request("DELETE", …)``; raises the same, and cancellation leaves the same."""
        return await self._send("DELETE", url, cast("dict[str, Any]", arguments), stream=False)

    @asynccontextmanager
    async def stream(
        self, method: str, url: URLTypes, **arguments: Unpack[RequestArguments]
    ) -> AsyncIterator[httpx.Response]:
        """``async with session.stream("GET", …) as response``: the body is read as it comes, and closed at the end.

        Raises: as ``request``. A 401 is read before the renewal and the replay.
        Cancellation: closes the response.
        """
        response = await self._send(method, url, cast("dict[str, Any]", arguments), stream=True)
        try:
            yield response
        finally:
            await response.aclose()

    async def graphql(
        self, query: str, variables: Mapping[str, Any] | None = None, *, operation_name: str | None = None
    ) -> GraphQLResult:
        """Returns the answer of Wix's GraphQL endpoint.

        Args:
            query: the document.
            variables: their values.
            operation_name: the operation to run, if the document has several.

        Raises:
            WixAPIError: the status is not 2xx, or the answer is no GraphQL answer.
            What ``request`` raises.
        """
        body = graphql.graphql_body(query, None if variables is None else dict(variables), operation_name)
        response = raise_for_error(await self.post(graphql.GRAPHQL_PATH, json=body))
        return graphql.read_graphql(response.status_code, response.content)

    async def _send(self, method: str, url: URLTypes, arguments: dict[str, Any], *, stream: bool) -> httpx.Response:
        if "auth" in arguments:
            raise ConfigurationError("auth: the session adds its own token; use your own client for another auth")
        sending = {name: arguments.pop(name) for name in ("follow_redirects",) if name in arguments}
        request = self._build(method, url, arguments)
        return await self._deliver(request, stream=stream, **sending)

    def _build(self, method: str, url: URLTypes, arguments: dict[str, Any]) -> Any:
        """Returns the request as it will be sent, but without the token. Empties the arguments."""
        connection = self._connections.current()
        check_headers(arguments, connection.family)
        try:
            return connection.builder.build(method, self._settings.origins.absolute(url), arguments)
        except UnicodeEncodeError:  # its text quotes the whole body, perhaps with a password
            pass
        finally:
            arguments.clear()  # waiting frames share this dict, and error reporters print local variables
        raise ConfigurationError("the request holds a character that cannot be sent, such as half a surrogate pair")

    async def _deliver(self, request: Any, *, stream: bool, **sending: Any) -> httpx.Response:
        """Sends a request of ``_build``, with the token."""
        connection = self._connections.current()
        auth, outer = auth_for(self._refresher, httpx2=connection.family.__name__ == "httpx2"), sys.exception()
        try:
            response: httpx.Response = await connection.view.send(request, auth=auth, stream=stream, **sending)
        except BaseException as error:
            drop_request_frames(error, connection.family.TransportError, outer)
            raise
        return response

    def __repr__(self) -> str:
        tokens = self._refresher.state.tokens()
        return f"<VisitorSession {self._settings.client_id!r}, role {tokens.refresh_token.role.value}>"
