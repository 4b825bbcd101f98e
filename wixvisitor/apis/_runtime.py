"""What the generated modules need: how a call is sent through a session, repeated and answered."""

from __future__ import annotations

import functools
import importlib
import inspect
import random
import sys
import time
import warnings
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import anyio

from wixvisitor._checks import checked_retries
from wixvisitor._wire.api_errors import raise_for_error
from wixvisitor._wire.json_text import parsed_object
from wixvisitor._wire.token_endpoint import REQUEST_ID_HEADER, read_retry_after
from wixvisitor.apis._encoding import given, joined, path_with, query_of
from wixvisitor.apis._paging import paged
from wixvisitor.errors import WixAPIError

if TYPE_CHECKING:
    import httpx

    from wixvisitor._session import VisitorSession
    from wixvisitor._web.catalog_reader import CatalogReader

    Visitor = VisitorSession
    Reader = VisitorSession | CatalogReader

__all__ = ["deprecated", "joined", "paged", "read", "types_of", "write"]

P = ParamSpec("P")
T = TypeVar("T")

MAX_RETRIES: Final = 2
_FIRST_PAUSE: Final = 0.5  # seconds; doubled for each further one
_LONGEST_WAIT: Final = 10.0  # seconds that a reading call waits for a Retry-After


async def write(
    visitor: Any, method: str, path: str, *, json: dict[str, Any] | None = None, params: dict[str, Any] | None = None
) -> Any:
    """Sends a call that changes something, once, and returns the answer's JSON object.

    Args:
        visitor: a session.
        method: the HTTP method.
        path: with ``{places}`` in the arguments.
        json: the arguments, where they are the body; None stands for one that was left out.
        params: the same, where they are query parameters.

    Raises:
        ConfigurationError: an argument cannot be a part of the path; nothing was sent.
        WixAPIError: the status is not 2xx, or the answer is no JSON object.
        What ``visitor.request`` raises.
    """
    url, arguments = _sent(path, json, params)
    return _answer(await visitor.request(method, url, **arguments))


async def read(
    visitor: Any,
    method: str,
    path: str,
    *,
    max_retries: int | None,
    json: dict[str, Any] | None = None,
    params: dict[str, Any] | None = None,
) -> Any:
    """Sends a call that only reads, and sends it again after a connection error, a 503 or a short 429.

    Args: as ``write``; ``max_retries``: how often it is sent again; None: as often as the session's ``max_retries``.
    Raises: as ``write``.
    Cancellation: also ends a pause between two attempts.
    """
    url, arguments = _sent(path, json, params)
    left = _retries_of(visitor) if max_retries is None else checked_retries(max_retries)
    for attempt in range(left):
        try:
            response = await visitor.request(method, url, **arguments)
        except Exception as error:
            if not _is_connection_error(error):
                raise
            pause = _back_off(attempt)
        else:
            wanted = _pause_after(response, attempt)
            if wanted is None:
                return _answer(response)
            pause = wanted
        await anyio.sleep(pause)
    return _answer(await visitor.request(method, url, **arguments))


def _retries_of(visitor: Any) -> int:
    """Returns the session's own ``max_retries``. A mock has none."""
    own = getattr(visitor, "max_retries", MAX_RETRIES)
    return own if isinstance(own, int) else MAX_RETRIES


def _sent(path: str, json: dict[str, Any] | None, params: dict[str, Any] | None) -> tuple[str, dict[str, Any]]:
    """Returns the URL and the arguments of ``request``."""
    payload = given(json or params or {})
    url = path_with(path, payload)
    if json is not None:
        return url, {"json": payload}
    query = query_of(payload)
    return url, {"params": query} if query else {}


def _answer(response: httpx.Response) -> dict[str, Any]:
    raise_for_error(response)
    if not response.content:
        return {}
    answer = parsed_object(response.text)
    if answer is None:
        raise WixAPIError(
            "the answer is no JSON object",
            status_code=response.status_code,
            request_id=response.headers.get(REQUEST_ID_HEADER),
        )
    return answer


def _back_off(attempt: int) -> float:
    """Returns seconds to wait after the attempt with this number; the first is 0."""
    return _FIRST_PAUSE * 2.0**attempt * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, protects nothing


def _pause_after(response: httpx.Response, attempt: int) -> float | None:
    """Returns seconds after which a call with this answer is sent again; None if it is not."""
    if response.status_code not in (429, 503):
        return None
    wanted = read_retry_after(response.headers.get("retry-after"), time.time())
    if wanted is not None:
        return wanted if wanted <= _LONGEST_WAIT else None
    return _back_off(attempt) if response.status_code == 503 else None


def _is_connection_error(error: Exception) -> bool:
    """Whether httpx or httpx2 could not connect, or lost the connection. A read timeout is not retried: it was long."""
    kinds = ("NetworkError", "RemoteProtocolError", "ConnectTimeout", "ProxyError")
    families = [sys.modules[name] for name in ("httpx", "httpx2") if name in sys.modules]
    return isinstance(error, tuple(getattr(family, kind) for family in families for kind in kinds))


class _Types:
    """A module of types that is imported when something looks at annotations, and never before."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._name), name)


def types_of(name: str) -> Any:
    """Returns a stand-in for this module of types. ``typing.get_type_hints`` finds the types in it."""
    return _Types(name)


if TYPE_CHECKING:
    from typing_extensions import deprecated  # what checkers and editors know (PEP 702)
else:

    def deprecated(
        message: str,
    ) -> Callable[[Callable[P, Coroutine[Any, Any, T]]], Callable[P, Coroutine[Any, Any, T]]]:
        """Marks a function that Wix will remove, as ``warnings.deprecated`` of Python 3.13 does (PEP 702)."""

        def mark(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
            @functools.wraps(function)
            def warns(*args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
                warnings.warn(message, DeprecationWarning, stacklevel=2)  # at the call; it may be awaited elsewhere
                return function(*args, **kwargs)

            if sys.version_info >= (3, 12):
                inspect.markcoroutinefunction(warns)
            warns.__deprecated__ = message
            return warns

        return mark


def __getattr__(name: str) -> Any:
    """Returns what annotations name: ``Visitor`` and ``Reader``."""
    if name not in ("Visitor", "Reader"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from wixvisitor._session import VisitorSession  # noqa: PLC0415 - takes long to import

    if name == "Visitor":
        return VisitorSession
    from wixvisitor._web.catalog_reader import CatalogReader  # noqa: PLC0415 - as above

    return VisitorSession | CatalogReader
