"""One visitor that all browsers share: it can read the catalogue, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Unpack

import attrs
import httpx

from wixvisitor._checks import NotCopied
from wixvisitor._http.arguments import RequestArguments, URLTypes
from wixvisitor._pool import VisitorPool
from wixvisitor._renewal.decision import OnRefused
from wixvisitor._session import VisitorSession
from wixvisitor._web.catalog_rules import CatalogRules, check_method_stays
from wixvisitor._web.catalog_storage import CatalogStorage
from wixvisitor._web.only_queries import check_only_queries
from wixvisitor._wire import graphql
from wixvisitor._wire.api_errors import raise_for_error
from wixvisitor._wire.catalog import CATALOG_KEY
from wixvisitor._wire.graphql import GraphQLResult


class CatalogReader(NotCopied):
    """Reads products, posts, events and the like, as one visitor that all browsers share.

    It is no ``VisitorSession``: it has no cart, shows its token to no caller, and accepts no tokens. A request to a
    path that is not on the list, or one that could change something, raises a ``ConfigurationError``; nothing is sent.

    Args:
        pool: creates the visitor at the first call, and keeps it like any other.
        paths: what may be read; see ``CATALOG_PATHS``.

    Raises:
        ConfigurationError: the paths are wrong.

    Concurrency: share it between tasks and requests; event loops may follow one another.
    Cancellation: never harms the visitor.
    """

    __slots__ = ("__dict__", "__weakref__", "_pool", "_rules", "_visitor")  # __dict__: as in VisitorSession

    def __init__(self, pool: VisitorPool, paths: Sequence[str]) -> None:
        self._pool = pool
        self._rules = CatalogRules(pool._settings.origins, paths)
        self._visitor: VisitorSession | None = None

    @property
    def max_retries(self) -> int:
        """How often a reading call of ``wixvisitor.apis`` is sent again."""
        return self._pool._settings.max_retries

    async def request(self, method: str, url: URLTypes, **arguments: Unpack[RequestArguments]) -> httpx.Response:
        """Sends a request that reads.

        Args:
            method: GET; or POST, where the path's last segment is ``query``, ``query-platformized``, ``search``,
                ``count`` or ``aggregate``.
            url: below ``base_url``, or absolute; on an allowed origin and one of the listed paths.
            arguments: ``content``, ``json``, ``params``, ``headers`` and ``timeout`` of ``httpx.AsyncClient.request``.

        Returns:
            The client's response, whatever its status; a redirect is not followed. Its request carries no token.

        Raises:
            ConfigurationError: the request is not one that reads the catalogue; nothing was sent.
            TokenRequestError, StorageError: no token could be obtained.
            httpx.HTTPError: what the client raises.

        Cancellation: the visitor is unchanged.
        """
        return await self._send(method, url, dict(arguments), stream=False)

    async def get(self, url: URLTypes, **arguments: Unpack[RequestArguments]) -> httpx.Response:
        """``request("GET", …)``; raises the same, and cancellation leaves the same."""
        return await self._send("GET", url, dict(arguments), stream=False)

    async def post(self, url: URLTypes, **arguments: Unpack[RequestArguments]) -> httpx.Response:
        """``request("POST", …)``; raises the same, and cancellation leaves the same."""
        return await self._send("POST", url, dict(arguments), stream=False)

    @asynccontextmanager
    async def stream(
        self, method: str, url: URLTypes, **arguments: Unpack[RequestArguments]
    ) -> AsyncIterator[httpx.Response]:
        """``async with catalog.stream("GET", …) as response``: the body is read as it comes, and closed at the end.

        Raises: as ``request``.
        Cancellation: closes the response.
        """
        response = await self._send(method, url, dict(arguments), stream=True)
        try:
            yield response
        finally:
            await response.aclose()

    async def graphql(self, query: str, variables: Mapping[str, Any] | None = None) -> GraphQLResult:
        """Returns the answer of Wix's GraphQL endpoint. Every operation in the document has to be a query.

        Raises:
            ConfigurationError: the document holds something else; nothing was sent.
            ImportError: the extra ``graphql`` is not installed; its parser checks the document.
            WixAPIError: the status is not 2xx, or the answer is no GraphQL answer.
            What ``request`` raises.
        """
        check_only_queries(query)
        visitor = self._shared()
        body = graphql.graphql_body(query, None if variables is None else dict(variables))
        request = visitor._build("POST", graphql.GRAPHQL_PATH, {"json": body})
        check_method_stays(request)
        response = raise_for_error(await _delivered(visitor, request, stream=False))
        return graphql.read_graphql(response.status_code, response.content)

    async def _send(self, method: str, url: URLTypes, arguments: dict[str, Any], *, stream: bool) -> httpx.Response:
        self._rules.check_arguments(method, arguments)
        arguments.pop("follow_redirects", None)
        visitor = self._shared()
        request = visitor._build(method, url, arguments)
        self._rules.check(request)
        return await _delivered(visitor, request, stream=stream)

    def _shared(self) -> VisitorSession:
        """Returns the pool's session that all browsers share. Asks neither Wix nor the storage."""
        if self._visitor is None:
            self._visitor = self._pool._sessions.get(CATALOG_KEY) or self._made()
        return self._visitor

    def _made(self) -> VisitorSession:
        settings = self._pool._settings
        # This visitor has no cart, so replacing it after a refusal loses nothing, whatever the pool's policy is.
        settings = attrs.evolve(settings, storage=CatalogStorage(settings.storage), on_refused=OnRefused.NEW_VISITOR)
        return self._pool._new(CATALOG_KEY, settings)

    def __repr__(self) -> str:
        return f"<CatalogReader of {self._pool._settings.client_id!r}>"


async def _delivered(visitor: VisitorSession, request: Any, *, stream: bool) -> httpx.Response:
    """Sends a checked request and returns its answer. No request in the answer carries the token."""
    try:
        response = await visitor._deliver(request, stream=stream, follow_redirects=False)
    finally:
        _strip(request)  # httpx's exceptions hold this request, too
    for answer in (response, *response.history):
        _strip(answer.request)
    response.next_request = None  # the request that a redirect leads to; it would carry the token
    return response


def _strip(request: Any) -> None:
    request.headers.pop("Authorization", None)
