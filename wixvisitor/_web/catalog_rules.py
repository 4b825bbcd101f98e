"""Which requests the catalogue's visitor may make: only those that read what all browsers see alike. Pure.

Rule 1, LISTED: the path, without the base URL's own, is on the list, however it is spelt; the origin is allowed.
Rule 2, READING: GET, or a POST whose last segment says that it reads. Nothing overrides method, path or host.
Rule 3, NO CREDENTIALS: the caller sets no Authorization and no cookie. The token is the only credential sent.
Rule 4, NO FURTHER: no redirect is followed, since its target may break the other rules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import httpx

from wixvisitor._http.origins import Origins
from wixvisitor._wire.catalog import READING_POSTS, CatalogPaths, segments_of
from wixvisitor._wire.redaction import redact
from wixvisitor.errors import ConfigurationError

CURE: Final = (
    "The catalogue's visitor only reads what all browsers see alike; for anything else use the browser's own "
    "visitor: CurrentVisitor (FastAPI) or get_visitor"
)

_ARGUMENTS: Final = ("content", "json", "params", "headers", "timeout", "follow_redirects")
# Names without case and punctuation: "_method", "X-HTTP-Method-Override", "X_Method_Override", "$httpMethod" ...
_METHODS: Final = frozenset({"method", "httpmethod", "methodoverride", "httpmethodoverride"})
# Headers by which a caller could change the request's visitor, its target, or where its body ends.
_HEADERS: Final = frozenset(
    {
        *("authorization", "proxyauthorization", "cookie", "cookie2"),
        *("host", "forwarded", "xforwardedhost", "xforwardedprefix", "xforwardeduri", "xforwardedpath"),
        *("xoriginalurl", "xoriginaluri", "xoriginalhost", "xrewriteurl", "xoverrideurl"),
        *("connection", "contentlength", "expect", "te", "trailer", "transferencoding", "upgrade"),
    }
)


class CatalogRules:
    """The rules of one app.

    Args:
        origins: the pool's.
        paths: what may be read.

    Raises:
        ConfigurationError: by every method, if the request does more than read the catalogue; it names the cure.
    """

    __slots__ = ("_base", "_origins", "_paths")

    def __init__(self, origins: Origins, paths: Sequence[str]) -> None:
        self._origins = origins
        self._paths = CatalogPaths(paths)
        self._base = segments_of(_path(origins.base))

    def check_arguments(self, method: Any, arguments: Mapping[str, Any]) -> None:
        """Checks the caller's arguments, before a request is built from them."""
        for name in arguments:
            if name not in _ARGUMENTS:
                raise refusal(f"{name}= cannot be used for the catalogue")
        if arguments.get("follow_redirects"):
            raise refusal("follow_redirects: the catalogue's visitor follows no redirects")
        if not isinstance(method, str) or method.upper() not in ("GET", "POST"):
            raise refusal(f"method: expected GET or POST, not {method!r:.40}")
        headers = _headers(arguments.get("headers"))
        for name in headers:
            if _letters(name) in _HEADERS:
                raise refusal(f"headers: {name} cannot be used for the catalogue")
        kind = headers.get("content-type", "application/json")
        if kind.partition(";")[0].strip().lower() != "application/json":
            raise refusal("headers: the catalogue takes JSON only")

    def check(self, request: Any) -> None:
        """Checks the request as it will be sent, the client's own headers and parameters included."""
        url = request.url
        self._check_origin(url)
        check_method_stays(request)
        segments = self._segments(url)
        if not self._paths.cover(segments):
            raise refusal(f"{redact(_path(url))!r:.200} is not below one of catalog_paths")
        if request.method == "POST" and segments[-1] not in READING_POSTS:
            raise refusal(
                f"POST {redact(_path(url))!r:.200} may change something: {', '.join(sorted(READING_POSTS))} do not"
            )

    def _check_origin(self, url: Any) -> None:
        if not self._origins.allow(url) or url.userinfo:
            raise refusal("url: its origin is neither that of base_url nor one of allowed_origins")

    def _segments(self, url: Any) -> tuple[str, ...]:
        """Returns the path's segments without the base URL's own."""
        segments = segments_of(_path(url))
        base = self._base if self._origins.is_base(url) else ()
        if segments is None or base is None:
            raise refusal(f"{redact(_path(url))!r:.200} can be read in more than one way; spell it plainly")
        if segments[: len(base)] != base:
            raise refusal(f"{redact(_path(url))!r:.200} is not below base_url")
        return segments[len(base) :]


def refusal(reason: str) -> ConfigurationError:
    """Returns the error for a request that the catalogue's visitor may not make."""
    return ConfigurationError(f"{reason}. {CURE}.")


def _headers(given: Any) -> httpx.Headers:
    raw = getattr(given, "raw", given)  # httpx2's headers are no type that httpx knows
    try:
        return httpx.Headers(raw)
    except (TypeError, ValueError, AttributeError):  # UnicodeError is a ValueError; their texts quote the headers
        raise refusal("headers: expected a mapping or pairs, as httpx takes them") from None


def check_method_stays(request: Any) -> None:
    """Raises if a header or a parameter of the request may override its method.

    Raises:
        ConfigurationError: there is one.
    """
    for name in request.headers:
        if _letters(name).removeprefix("x") in _METHODS:
            raise refusal(f"The header {name} may override the method")
    for name, _ in parse_qsl(_query(request.url), keep_blank_values=True):
        if _letters(unquote(unquote(name))).removeprefix("x") in _METHODS:
            raise refusal(f"The parameter {name!r:.40} may override the method")


def _letters(name: str) -> str:
    """Returns a name without case and punctuation, as servers compare names that treat ``-`` and ``_`` alike."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _path(url: Any) -> str:
    path: bytes = url.raw_path
    return path.partition(b"?")[0].decode("latin-1")


def _query(url: Any) -> str:
    query: bytes = url.query
    return query.decode("latin-1").replace(";", "&")  # some servers separate parameters by a semicolon, too
