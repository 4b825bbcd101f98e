"""The origins to which a visitor's token may be sent. Pure."""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterable
from typing import Any, Final

import httpx

from wixvisitor._wire.redaction import redact
from wixvisitor.errors import ConfigurationError

_KEPT: Final = 512  # URLs in the cache; parsing a URL takes longer than the rest of a session's work for a request
_MAX_PORT: Final = 65_535
_MAX: Final = 65_536  # characters; httpx accepts no longer URL, and no longer part of one
_PORTS: Final = {"https": 443, "http": 80}
DEFAULT_BASE_URL: Final = "https://www.wixapis.com"


def chosen_base_url(base_url: str | None, client: object) -> str:
    """Returns the base URL: the given one, else the client's own, else Wix's.

    Args:
        base_url: the caller's.
        client: a client of httpx or httpx2. A function that makes clients, and None, have no base URL.

    Raises:
        ConfigurationError: both are given and differ, or the client's is no origin that a token may be sent to.
    """
    own = own_base_url(client)
    if own is None:
        return DEFAULT_BASE_URL if base_url is None else base_url
    if base_url is None:
        _checked(own, "client: its base_url")
        return own
    check_same_base(_checked(base_url, "base_url"), own)
    return base_url


def own_base_url(client: object) -> str | None:
    """Returns the base URL that the client was made with, None if it has none."""
    if not isinstance(getattr(type(client), "base_url", None), property):
        return None
    return str(getattr(client, "base_url")) or None  # noqa: B009 - of httpx or httpx2, whose types are unrelated


def check_same_base(base: httpx.URL, own: str | None) -> None:
    """Checks that a client's base URL is the session's: same origin, and same path but for a slash at the end.

    Wix's own address says no more than none: it is the default, and the clients of ``FakeWix`` have it.

    Raises:
        ConfigurationError: it is another one.
    """
    if own is None or own.rstrip("/") == DEFAULT_BASE_URL:
        return
    url = _checked(own, "client: its base_url")
    if (_origin(url), _prefix(url)) != (_origin(base), _prefix(base)):
        raise ConfigurationError(
            f"base_url: it is {redact(str(base))}, but the client was made with base_url={redact(own)}; give both the "
            "same, or only one of them"
        )


def _prefix(url: httpx.URL) -> bytes:
    return url.raw_path.rstrip(b"/")


class Origins:
    """The origins to which a token may be sent: the base URL's and the allowed ones (RFC 6454: scheme, host, port).

    Raises:
        ConfigurationError: one of them is not a URL, or it is plain http and not to a loopback address.
    """

    __slots__ = ("_allowed", "_joined", "_prefixes", "base")

    def __init__(self, base_url: str, allowed_origins: Iterable[str] = ()) -> None:
        if isinstance(allowed_origins, str | bytes) or not isinstance(allowed_origins, Iterable):
            raise ConfigurationError(
                "allowed_origins: expected a list or tuple of origins, such as ('https://edge.wixapis.com',)"
            )
        self.base = _checked(base_url, "base_url")
        all_of_them = (self.base, *(_checked(origin, "allowed_origins") for origin in allowed_origins))
        origins = list(map(_origin, all_of_them))
        as_text = [(scheme, host.decode("ascii"), port) for scheme, host, port in origins]  # as in aiohttp's URLs
        self._allowed = frozenset([*origins, *as_text])
        self._prefixes = [(_origin(url), prefix) for url in all_of_them if (prefix := _plain_path(url).rstrip("/"))]
        self._joined = functools.lru_cache(_KEPT)(functools.partial(_join, self.base))

    def allow(self, url: Any) -> bool:
        """Whether the token may be sent to this URL of httpx, httpx2 or aiohttp (``yarl.URL``)."""
        return _origin(url) in self._allowed

    def is_base(self, url: Any) -> bool:
        """Whether this URL of httpx or httpx2 has the base URL's origin. Its path may be any."""
        return _origin(url) == _origin(self.base)

    @property
    def base_origin(self) -> str:
        """The base URL's origin as text, without a user name, a password or a path."""
        return f"{self.base.scheme}://{self.base.netloc.decode('ascii')}"

    def check_client(self, client: object) -> None:
        """Checks a client that a function has made: it has no base URL of its own, or the same one.

        Raises:
            ConfigurationError: it has another one.
        """
        check_same_base(self.base, own_base_url(client))

    def paths_of(self, url: Any) -> list[str]:
        """Returns the paths that Wix may receive for this URL: its path, and what follows each given URL's own path.

        A reverse proxy in front of Wix usually removes its own prefix. The paths are decoded, with single slashes.
        """
        origin, path = _origin(url), _plain_path(url)
        own = [prefix for place, prefix in self._prefixes if place == origin and path.startswith(f"{prefix}/")]
        return [path, *(path[len(prefix) :] for prefix in own)]

    def absolute(self, url: str | Any) -> str:
        """Returns an absolute URL unchanged, and joins a relative one to the base URL as httpx does.

        Raises:
            ConfigurationError: ``url`` is neither a text nor a URL object of httpx, or it is not a valid URL.
        """
        if not isinstance(url, str) and type(url).__name__ != "URL":
            raise ConfigurationError(f"url: expected a URL as a text, not {type(url).__name__}")
        return self._joined(str(url))


def _join(base: httpx.URL, url: str) -> str:
    target = _parsed(url, "url")
    if not target.is_absolute_url:
        path = base.raw_path.rstrip(b"/") + b"/" + target.raw_path.lstrip(b"/")
        target = _parsed(base, "url", raw_path=path)
    text = str(target)
    if len(text) > _MAX:  # checked once more, because joining and encoding make it longer
        raise ConfigurationError("url: URL too long")
    return text


def _parsed(url: str | httpx.URL, name: str, **parts: Any) -> httpx.URL:
    try:
        parsed = httpx.URL(url, **parts)
        parsed.raw_host  # noqa: B018 - encoding the host raises if it holds an IPv6 zone that is not ASCII
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"{name}: {redact(str(error))}") from None
    except TypeError:  # httpx's own message would quote the value
        raise ConfigurationError(f"{name}: expected a URL as a text, not {type(url).__name__}") from None
    except UnicodeError:
        raise ConfigurationError(f"{name}: it contains characters that a URL cannot contain") from None
    return parsed


def _checked(text: str, name: str) -> httpx.URL:
    url = _parsed(text, name)
    if not url.is_absolute_url or url.scheme not in _PORTS or not _is_plain(url):
        host = url.raw_host.decode("ascii")  # not url.host, which fails for some hosts with "xn--"
        got = redact(f"{url.scheme}://{host}") if host else "a text without a host"
        raise ConfigurationError(f"{name}: expected an origin like https://www.wixapis.com, got {got}")
    if url.port is not None and url.port > _MAX_PORT:
        raise ConfigurationError(f"{name}: {url.port} is no port; the largest is {_MAX_PORT}")
    if url.scheme == "http" and not _is_loopback(url.raw_host.decode("ascii")):
        raise ConfigurationError(f"{name}: a token is sent over plain http only to a loopback address; use https")
    return url


def _plain_path(url: Any) -> str:
    return re.sub("/+", "/", url.path)


def _is_plain(url: httpx.URL) -> bool:
    """Whether the URL has only scheme, host, port and path. A host with ``%`` is not valid."""
    return not (url.userinfo or url.query or url.fragment or b"%" in url.raw_host)


def _origin(url: Any) -> tuple[str, Any, int | None]:
    return url.scheme, url.raw_host, url.port or _PORTS.get(url.scheme)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
