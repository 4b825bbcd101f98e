"""The calls that reached the fake."""

import json
from collections import Counter, deque
from collections.abc import Callable, Mapping
from threading import RLock
from typing import Any
from urllib.parse import parse_qsl

from attrs import define, field
from starlette.datastructures import Headers

TOKEN_PATH = "/oauth2/token"  # noqa: S105 - a path, not a secret
CALL = "wixvisitor.call"
"""The key of the ``Call`` in an ASGI scope."""
KEPT_BYTES = 16 * 1024 * 1024
"""How many bytes of requests a log with a limit keeps."""
HOSTED = "/_hosted/"
"""Where the paths of the hosted pages begin: pages for browsers, not API calls."""
_SECRET_PARAMETERS = frozenset({"session", "token"})
_SECRET_HEADERS = frozenset({"authorization", "cookie"})


def _without_secrets(headers: Mapping[str, str]) -> str:
    return repr({name: "***" if name in _SECRET_HEADERS else value for name, value in headers.items()})


def _without_secret_parameters(query: Mapping[str, str]) -> str:
    return repr({name: "***" if name in _SECRET_PARAMETERS else value for name, value in query.items()})


@define(kw_only=True, eq=False)
class Call:
    """One request, and the fake's answer to it. Its repr shows no token.

    Attributes:
        method: The HTTP method.
        path: The path, without the query.
        query: The query parameters. Of several with one name, the last.
        headers: The request's headers; names match in any case.
        body: The request's body.
        json: The parsed body, or None if it is not JSON.
        fields: The body's fields, whether it is JSON or a form; empty for any other body.
        grant_type: The grant of a token call, whether its body is JSON or a form.
        received_at: Seconds since the epoch by the fake's clock.
        request_id: The ``x-wix-request-id`` of the answer.
        status: The status of the answer; None while the call is running and if no answer was sent.
        visitor_id: The visitor whose token the call carried, or whose tokens the answer carries.
        matched: Whether the fake knows the route.
        under_way: Whether the call has not ended yet.

    Concurrency: read it from any thread. Its last four attributes change until the call has ended.
    Cancellation: nothing in it waits.

    """

    method: str
    path: str
    query: Mapping[str, str] = field(repr=_without_secret_parameters)
    headers: Headers = field(repr=_without_secrets)
    body: bytes = field(repr=False)
    received_at: float
    request_id: str
    json: Any = field(init=False, repr=False)
    fields: Mapping[str, Any] = field(init=False, repr=False)
    grant_type: str | None = field(init=False)
    status: int | None = None
    visitor_id: str | None = None
    matched: bool = True
    under_way: bool = field(default=True, repr=False)

    def __attrs_post_init__(self) -> None:
        self.json = _parse_json(self.body)
        self.fields = self._parse_fields()
        self.grant_type = self._find_grant_type()

    def _parse_fields(self) -> Mapping[str, Any]:
        if isinstance(self.json, dict):
            return self.json
        if self.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            return dict(parse_qsl(self.body.decode(errors="replace")))
        return {}

    def _find_grant_type(self) -> str | None:
        if self.path != TOKEN_PATH:
            return None
        grant = self.fields.get("grantType", self.fields.get("grant_type"))
        return grant if isinstance(grant, str) else None

    @property
    def size(self) -> int:
        """About how many bytes the request had."""
        return len(self.body) + sum(len(name) + len(value) for name, value in self.headers.raw)

    @property
    def is_token_call(self) -> bool:
        """Whether the call asks for tokens."""
        return self.path == TOKEN_PATH

    @property
    def is_api_call(self) -> bool:
        """Whether the call is for the API rather than for ``/oauth2/…`` or a hosted page."""
        return not self.path.startswith(("/oauth2/", HOSTED))


@define(kw_only=True, eq=False)
class CallLog:
    """The calls, and how many ran at the same time. Safe from any thread.

    Attributes:
        limit: How many calls are kept, the last ones; None keeps all. With a limit, they are also fewer if their
            requests are together larger than ``KEPT_BYTES``.
        on_end: Called with each call that has ended, under the lock.

    """

    lock: RLock
    limit: int | None = None
    on_end: Callable[[Call], None] | None = None
    calls: deque[Call] = field(factory=deque)
    _bytes: int = 0
    _under_way: Counter[str] = field(factory=Counter)
    _peaks: Counter[str] = field(factory=Counter)

    def arrived(self, call: Call) -> None:
        """Adds a call."""
        with self.lock:
            self.calls.append(call)
            self._under_way[call.path] += 1
            self._peaks[call.path] = max(self._peaks[call.path], self._under_way[call.path])
            if self.limit is not None:
                self._bytes += call.size
                self._trim(self.limit)

    def _trim(self, limit: int) -> None:
        while len(self.calls) > limit or (self._bytes > KEPT_BYTES and len(self.calls) > 1):
            self._bytes -= self.calls.popleft().size
        if len(self._peaks) > limit:
            self._peaks = Counter(self._under_way)

    def ended(self, call: Call, *, status: int | None = None) -> None:
        """Ends a call with the status of its answer, or None without an answer. A second call changes nothing."""
        with self.lock:
            if call.under_way:
                call.under_way = False
                call.status = status
                self._under_way[call.path] -= 1
                if not self._under_way[call.path]:
                    del self._under_way[call.path]
                if self.on_end is not None:
                    self.on_end(call)

    def peak(self, path: str) -> int:
        """The largest number of calls of this path that ran at the same time."""
        with self.lock:
            return self._peaks[path]

    def reset(self) -> None:
        """Removes all calls, also those that are still running."""
        with self.lock:
            self.calls.clear()
            self._bytes = 0
            self._peaks = Counter(self._under_way)


def _parse_json(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return None
