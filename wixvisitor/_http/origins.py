"""Which origins may see a visitor's token. Pure."""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterable
from typing import Any, Final

import httpx

from wixvisitor._wire.redaction import redact
from wixvisitor.errors import ConfigurationError

_KEPT: Final = 512  # URLs that are not parsed again; parsing one takes longer than all else that a session does
_MAX: Final = 65_536  # characters of a URL, and of each of its parts, that httpx takes
_PORTS: Final = {"https": 443, "http": 80}


class Origins:
    """The base URL's origin and the allowed ones (RFC 6454: scheme, host and port).

    Raises:
        ConfigurationError: one of them is no URL, or plain http to anything but this machine.
    """

    __slots__ = ("_allowed", "_joined", "_prefixes", "base")

    def __init__(self, base_url: str, allowed_origins: Iterable[str] = ()) -> None:
        if isinstance(allowed_origins, str | bytes) or not isinstance(allowed_origins, Iterable):
            raise ConfigurationError("allowed_origins: expected several origins; put the one into a tuple")
        self.base = _checked(base_url, "base_url")
        all_of_them = (self.base, *(_checked(origin, "allowed_origins") for origin in allowed_origins))
        origins = list(map(_origin, all_of_them))
        as_text = [(scheme, host.decode("ascii"), port) for scheme, host, port in origins]  # as aiohttp's URLs say it
        self._allowed = frozenset([*origins, *as_text])
        self._prefixes = [(_origin(url), prefix) for url in all_of_them if (prefix := _plain_path(url).rstrip("/"))]
        self._joined = functools.lru_cache(_KEPT)(functools.partial(_join, self.base))

    def allow(self, url: Any) -> bool:
        """Whether the token may go to this URL, which is httpx's, httpx2's or aiohttp's (``yarl.URL``)."""
        return _origin(url) in self._allowed

    def is_base(self, url: Any) -> bool:
        """Whether this (httpx or httpx2) URL is of the base URL's origin, whose path it may begin with."""
        return _origin(url) == _origin(self.base)

    def paths_of(self, url: Any) -> list[str]:
        """Returns the path as it may arrive at Wix: behind each given URL that it is below, and as it is.

        A reverse proxy before Wix usually takes its own part away. Slashes are single, and nothing is encoded.
        """
        origin, path = _origin(url), _plain_path(url)
        own = [prefix for place, prefix in self._prefixes if place == origin and path.startswith(f"{prefix}/")]
        return [path, *(path[len(prefix) :] for prefix in own)]

    def absolute(self, url: str | Any) -> str:
        """Returns the URL itself if it is absolute, else below the base URL, as httpx joins them.

        Raises:
            ConfigurationError: it is no URL, neither as a text nor as httpx's object.
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
    if len(text) > _MAX:  # now that it is joined and encoded
        raise ConfigurationError("url: URL too long")
    return text


def _parsed(url: str | httpx.URL, name: str, **parts: Any) -> httpx.URL:
    try:
        parsed = httpx.URL(url, **parts)
        parsed.raw_host  # noqa: B018 - encodes it, which an IPv6 zone that is no ASCII does not survive
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"{name}: {redact(str(error))}") from None
    except TypeError:  # it quotes what was given
        raise ConfigurationError(f"{name}: expected a URL as a text, not {type(url).__name__}") from None
    except UnicodeError:
        raise ConfigurationError(f"{name}: it holds characters that no URL has") from None
    return parsed


def _checked(text: str, name: str) -> httpx.URL:
    url = _parsed(text, name)
    if not url.is_absolute_url or url.scheme not in _PORTS or not _is_plain(url):
        host = url.raw_host.decode("ascii")  # of url.host, not every "xn--…" can be decoded
        got = redact(f"{url.scheme}://{host}") if host else "something else"
        raise ConfigurationError(f"{name}: expected an origin like https://www.wixapis.com, got {got}")
    if url.scheme == "http" and not _is_loopback(url.raw_host.decode("ascii")):
        raise ConfigurationError(f"{name}: a token does not travel over plain http except on loopback; use https")
    return url


def _plain_path(url: Any) -> str:
    return re.sub("/+", "/", url.path)


def _is_plain(url: httpx.URL) -> bool:
    """Whether it has no more than scheme, host, port and path. A ``%`` in a host is a character that no host has."""
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
