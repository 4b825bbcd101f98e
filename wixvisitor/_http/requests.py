"""Builds requests from the caller's arguments, the client's defaults and the session's headers. Pure."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, Final

from wixvisitor._version import __version__
from wixvisitor.errors import ConfigurationError

USER_AGENT: Final = f"wixvisitor/{__version__}"
TIMEOUTS: Final = {
    "timeout": 30.0,
    "connect": 10.0,
}  # seconds; Wix documents no limits, and the first products of an idle site take several seconds
_KEPT: Final = 512  # URLs in the cache; parsing a URL takes longer than the rest of a session's work for a request
_WITHOUT_BODY: Final = ("GET", "HEAD", "OPTIONS")  # methods that usually have no body


REQUEST_MARKER: Final = "wixvisitor"
"""The request extension that marks our requests among others of the same client. Each request has its own value."""
URGENT: Final = "wixvisitor.urgent"
"""The request extension that marks a token call. Such a request does not wait in our queues."""


def check_headers(arguments: dict[str, Any], family: ModuleType) -> None:
    """Checks the headers that a caller passes with one request.

    Raises:
        ConfigurationError: ``Authorization`` is among them. In a client's default headers it is allowed; the session
            replaces it.
    """
    if arguments.get("headers") is None:
        return
    headers = arguments["headers"] = family.Headers(arguments["headers"])  # an iterator can be read only once
    if "Authorization" in headers:
        del headers
        arguments.clear()  # error reporters print local variables
        raise ConfigurationError(
            "headers: remove Authorization, because the session sends the visitor's token in it. For another token, "
            "use a client of your own"
        )


def set_default_headers(request: Any) -> None:
    """Sets ``User-Agent`` and ``Accept``, unless the caller has set them. An HTTP library's defaults are replaced.

    Without ``Accept: application/json``, Wix's bot protection sometimes answers 403 with an HTML page.
    """
    if request.headers.get("Accept", "*/*") == "*/*":
        request.headers["Accept"] = "application/json"
    if _is_library_agent(request.headers.get("User-Agent", "python-httpx")):
        request.headers["User-Agent"] = USER_AGENT


def _is_library_agent(agent: str) -> bool:
    """Whether this is the default of httpx, httpx2 or aiohttp ("Python/3.13 aiohttp/3.14.5")."""
    return agent.startswith("python-httpx") or (agent.startswith("Python/") and " aiohttp/" in agent)


class RequestBuilder:
    """Builds a client's requests. The common headers are built once, and again if the owner changes the client's.

    Args:
        client: the client.
        view: the view of the client that sends.
        family: httpx or httpx2.
        send_methods: the names of the client's methods that send. A tool may replace one on the client's instance.
        route_marked: called with the view before a request if such a method was replaced.

    Concurrency: safe from many tasks.
    """

    __slots__ = (
        "_body",
        "_client",
        "_family",
        "_is_plain",
        "_prepared",
        "_route_marked",
        "_seen",
        "_send_methods",
        "_view",
    )

    def __init__(
        self,
        client: Any,
        view: Any,
        family: ModuleType,
        *,
        send_methods: frozenset[str],
        route_marked: Callable[[Any], None],
    ) -> None:
        self._client, self._view, self._family = client, view, family
        self._send_methods, self._route_marked = send_methods, route_marked
        self._body = family.ByteStream(b"")
        self._is_plain = type(client).build_request is family.AsyncClient.build_request
        self._seen: Any = None
        self._prepared = functools.lru_cache(_KEPT)(self._prepare)

    def build(self, method: str, url: str, arguments: dict[str, Any]) -> Any:
        """Returns the request that the client would build, with our default headers.

        Args:
            method: the HTTP method.
            url: an absolute URL.
            arguments: the further arguments of ``build_request``.
        """
        client, own = self._client, vars(self._client)
        if not self._send_methods.isdisjoint(own):
            self._route_marked(self._view)
        headers = client.headers.raw
        if headers != self._seen:
            self._prepared.cache_clear()
            self._seen = headers
        target, common = self._prepared(url)
        is_plain = self._is_plain and "build_request" not in own
        if arguments or method not in _WITHOUT_BODY or not is_plain or client.params or any(client.cookies.jar):
            request = self._view.build_request(method, target, **arguments)
            set_default_headers(request)
            request.extensions[REQUEST_MARKER] = object()
            return request
        extensions = {"timeout": client.timeout.as_dict(), REQUEST_MARKER: object()}
        request = self._family.Request(method, target, headers=common, stream=self._body, extensions=extensions)
        request.read()  # otherwise a hook could not read ``request.content``
        return request

    def _prepare(self, url: str) -> tuple[Any, Any]:
        """Returns the parsed URL, and the headers of every request to it."""
        target = self._family.URL(url)
        request = self._family.Request("GET", target, headers=self._client.headers)
        set_default_headers(request)
        return target, request.headers


_NOT_SHARED: Final = frozenset({
    *("authorization", "proxy-authorization", "cookie", "host", "x-wix-consistent"),
    *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect"),
})  # fmt: skip
_NOT_SHARED_PREFIXES: Final = ("accept", "content-")


def shared_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Returns those of a client's default headers that a token call sends, too, such as the key of a gateway.

    Left out are headers about credentials, the host, the connection, the body and the accepted formats (RFC 9110
    sections 7.6.1, 8, 12.5): they belong to a single request.
    """
    return [(name, value) for name, value in headers if _is_shared_header(name.decode("latin-1").lower(), value)]


def _is_shared_header(name: str, value: bytes) -> bool:
    if name == "user-agent":
        return not value.startswith(b"python-httpx")  # httpx's default, which the owner has not chosen
    return name not in _NOT_SHARED and not name.startswith(_NOT_SHARED_PREFIXES)
