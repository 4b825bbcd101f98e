"""What users may say about a request, and how it is put together with the client's part and the session's. Pure."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, Final, TypedDict

from wixvisitor._version import __version__
from wixvisitor.errors import ConfigurationError

USER_AGENT: Final = f"wixvisitor/{__version__}"
TIMEOUTS: Final = {
    "timeout": 30.0,
    "connect": 10.0,
}  # seconds; Wix names no limits, a cold site's products take several
_KEPT: Final = 512  # URLs that are not parsed again; parsing one takes longer than all else that a session does
_WITHOUT_BODY: Final = ("GET", "HEAD", "OPTIONS")  # methods, as a rule: no Content-Length, no Content-Type


REQUEST_MARKER: Final = "wixvisitor"
"""The extension that tells our requests from others of the same client; its value is another one for each request."""
URGENT: Final = "wixvisitor.urgent"
"""The extension of a token call, which waits in no line of ours."""


class RequestArguments(TypedDict, total=False):
    """What ``httpx.AsyncClient.request`` takes, save ``auth``: the session is the auth."""

    content: Any
    data: Any
    files: Any
    json: Any
    params: Any
    headers: Any
    cookies: Any
    timeout: Any
    extensions: Any
    follow_redirects: bool


def check_headers(arguments: dict[str, Any], family: ModuleType) -> None:
    """Looks at the headers that a caller gives with one request.

    Raises:
        ConfigurationError: ``Authorization`` is among them. A client's default of that name is replaced, as ever.
    """
    if arguments.get("headers") is None:
        return
    headers = arguments["headers"] = family.Headers(arguments["headers"])  # pairs that come one by one come only once
    if "Authorization" in headers:
        del headers
        arguments.clear()  # error reporters print local variables
        raise ConfigurationError(
            "headers: the session sends the visitor's token as Authorization; use your own client for another one"
        )


def set_default_headers(request: Any) -> None:
    """Says who asks and what is understood, unless the caller does: an HTTP library's defaults are not the caller's.

    Without ``Accept: application/json`` Wix's bot protection was seen to answer 403 with an HTML page.
    """
    if request.headers.get("Accept", "*/*") == "*/*":
        request.headers["Accept"] = "application/json"
    if _is_library_agent(request.headers.get("User-Agent", "python-httpx")):
        request.headers["User-Agent"] = USER_AGENT


def _is_library_agent(agent: str) -> bool:
    """Whether this is what httpx, httpx2 or aiohttp ("Python/3.13 aiohttp/3.14.5") say of themselves."""
    return agent.startswith("python-httpx") or (agent.startswith("Python/") and " aiohttp/" in agent)


class RequestBuilder:
    """Builds a client's requests. What goes into every one is put together once, until the client's owner changes it.

    Args:
        client: the client.
        view: the view of it that sends.
        family: httpx or httpx2.
        send_methods: names of the client's methods that send; any of them may be replaced on the client's instance.
        route_marked: called with the view before such a request.

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
        """Returns the request that the client would build, with ``set_default_headers`` done.

        Args:
            method: the HTTP method.
            url: an absolute URL.
            arguments: of ``build_request``.
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
        request.read()  # so that hooks can read ``request.content``, as they can of any other request
        return request

    def _prepare(self, url: str) -> tuple[Any, Any]:
        """Returns the URL, parsed, and the headers of every request to it."""
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
    """Returns those of a client's own headers that a token call carries too, such as the key of a gateway.

    None that says who asks, where, or what the body is (RFC 9110 sections 7.6.1, 8, 12.5): that is each request's own.
    """
    return [(name, value) for name, value in headers if _is_shared_header(name.decode("latin-1").lower(), value)]


def _is_shared_header(name: str, value: bytes) -> bool:
    if name == "user-agent":
        return not value.startswith(b"python-httpx")  # httpx's own is not the owner's
    return name not in _NOT_SHARED and not name.startswith(_NOT_SHARED_PREFIXES)
